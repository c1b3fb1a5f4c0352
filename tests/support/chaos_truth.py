"""What became of each message of a chaotic server, at every moment."""

import time
from array import array
from datetime import UTC, datetime, timedelta
from typing import Final

from statuslookup import DeliveryState, MessageKey, MessageStatus

SENT_DATE: Final = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
STATES: Final = (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.DELIVERED)
NAMES: Final = ("PENDING", "ACCEPTED", "DELIVERED")
DATES: Final = tuple(SENT_DATE + timedelta(minutes=code) for code in range(3))
WIRE_DATES: Final = tuple(date.strftime("%Y-%m-%dT%H:%M:%S+0000") for date in DATES)


class Truth:
    """What became of each message, and since when; a message goes from PENDING to SENT to DELIVERED.

    It belongs to the server's thread. What was true once stays readable from any other, and it takes no
    more memory with time.
    """

    def __init__(self, messages: int) -> None:
        self.messages = messages
        self._code = bytearray(messages)
        self._changed_at = array("d", [float("inf")]) * (2 * messages)
        self.changes = 0

    def advance(self, index: int) -> None:
        code = self._code[index]
        if code < 2:
            self._changed_at[2 * index + code] = time.monotonic()
            self._code[index] = code + 1
            self.changes += 1

    def code(self, index: int) -> int:
        return self._code[index]

    def code_at(self, index: int, moment: float) -> int:
        """Return the status code that was true at the moment."""
        return sum(self._changed_at[2 * index + code] <= moment for code in range(2))

    def custom_id(self, index: int) -> str | None:
        """Return a customId: some messages have none, some have one that is the id of another message."""
        if index % 7 == 6:
            return None
        if index % 4 == 3:
            return str((index + 1) % self.messages + 1)
        return f"campaign-{index}"

    def index_of(self, key: MessageKey) -> int | None:
        """Return the index of the message that the key means, if there is one."""
        if isinstance(key, str):
            if key.isdigit():
                index = (int(key) - 2) % self.messages
            else:
                name, _, digits = key.partition("-")
                index = int(digits) if name == "campaign" else 0
            return index if index < self.messages and self.custom_id(index) == key else None
        return key - 1 if 0 < key <= self.messages else None

    def expected(self, index: int, code: int, request: int) -> MessageStatus:
        return MessageStatus(
            id=index + 1,
            custom_id=self.custom_id(index),
            instance_token=str(request),
            message_type="TEXT",
            country="55",
            phone=f"55{index:011d}",
            status_code=code,
            status_name=NAMES[code],
            status_date=DATES[code],
            sent_date=SENT_DATE,
            state=STATES[code],
        )
