"""What the answers of each provider add to a row: one entry a column, in the order of the output."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Generic

from attrs import frozen

from ..._model import AnswerT, DeliveryState, MessageStatus, StatusStatistic


@frozen
class Columns(Generic[AnswerT]):
    """The columns of one provider."""

    value_of: Mapping[str, Callable[[AnswerT], Any]]
    """What reads each column from an answer. ``state`` is among them, ``None`` where nothing is known."""

    field_of_key: Mapping[str, str]
    """Which of them a key column of the input (in lower case) is the same as."""

    @property
    def names(self) -> Sequence[str]:
        return list(self.value_of)

    def state_of(self, answer: AnswerT | None) -> DeliveryState | None:
        """Return the state of an answer, ``None`` if nothing is known."""
        state: DeliveryState | None = None if answer is None else self.value_of["state"](answer)
        return state

    def of(self, answer: AnswerT) -> dict[str, Any]:
        """Return the values of an answer: what JSON can hold."""
        return {name: _plain(value_of(answer)) for name, value_of in self.value_of.items()}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _count_of(state: DeliveryState) -> Callable[[StatusStatistic], int]:
    return lambda statistic: statistic.counts.get(state, 0)


def _receipts(statistic: StatusStatistic) -> list[dict[str, Any]]:
    names = ("participant", "state", "status", "timestamp")
    return [{name: _plain(getattr(receipt, name)) for name in names} for receipt in statistic.receipts]


# Without the instance's token: no message is found by it, and a result is a file that people pass on.
SMSFIRE: Columns[MessageStatus] = Columns(
    {
        "id": attrgetter("id"),
        "custom_id": attrgetter("custom_id"),
        "state": attrgetter("state"),
        "status_code": attrgetter("status_code"),
        "status_name": attrgetter("status_name"),
        "status_date": attrgetter("status_date"),
        "sent_date": attrgetter("sent_date"),
        "message_type": attrgetter("message_type"),
        "country": attrgetter("country"),
        "phone": attrgetter("phone"),
        "problems": lambda status: list(status.problems) or None,
    },
    field_of_key={"id": "id", "customid": "custom_id", "custom_id": "custom_id"},
)
GREENAPI: Columns[StatusStatistic] = Columns(
    {
        "id_message": attrgetter("id_message"),
        "state": attrgetter("state"),
        "recipients": lambda statistic: len(statistic.receipts),
        "sent": _count_of(DeliveryState.SENT),
        "delivered": _count_of(DeliveryState.DELIVERED),
        "read": _count_of(DeliveryState.READ),
        "failed": _count_of(DeliveryState.FAILED),
        "receipts": _receipts,
        "problems": lambda statistic: list(statistic.problems),
    },
    # Not "id", which is the table's own where the key has a column.
    field_of_key={"idmessage": "id_message", "id_message": "id_message"},
)
