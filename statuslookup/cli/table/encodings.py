"""What a check writes: one row for each row of the input, as JSON Lines or CSV, and the way back."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeAlias

from attrs import frozen

from ..._model import AnswerT, CustomId, DeliveryState, KeyT, MessageStatus, StatusStatistic
from .rows import InputError, Row, unique

_MORE = "more"
_LINE = "line"
_ERROR = "error"
_OTHER_COLUMNS = "it has other columns than this check would write"
# Whole cells, each with its comma, and then the beginning of one; a quote is only where a cell begins.
_BEGUN_RECORD = re.compile(
    rb"""(?:(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+),)*+(?:"[^"]*+(?:""[^"]*+)*+"?|[^",\r\n]*+)"""
)

# Without the instance's token: no message is found by it, and a result is a file that people pass on.
_SMSFIRE_FIELDS = (
    "id",
    "custom_id",
    "state",
    "status_code",
    "status_name",
    "status_date",
    "sent_date",
    "message_type",
    "country",
    "phone",
)
_GREENAPI_FIELDS = (
    "id_message",
    "state",
    "recipients",
    "sent",
    "delivered",
    "read",
    "failed",
    "receipts",
    "problems",
)
# From the one who is least far: a story is as far as its last recipient.
_PROGRESS = (
    DeliveryState.UNKNOWN,
    DeliveryState.PENDING,
    DeliveryState.SENT,
    DeliveryState.FAILED,
    DeliveryState.DELIVERED,
    DeliveryState.READ,
)


@frozen(kw_only=True)
class Fields(Generic[AnswerT]):
    """What the answers of one provider have, by the names of columns."""

    names: Sequence[str]
    of: Callable[[AnswerT], dict[str, Any]]
    """Return the fields; their ``state`` is ``None`` if the answer says that nothing is known."""


def _smsfire_fields(status: MessageStatus) -> dict[str, Any]:
    return {name: _plain(getattr(status, name)) for name in _SMSFIRE_FIELDS}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _greenapi_fields(statistic: StatusStatistic) -> dict[str, Any]:
    counts = statistic.counts
    receipts = [
        {
            "participant": receipt.participant,
            "state": receipt.state,
            "status": receipt.status,
            "timestamp": _plain(receipt.timestamp),
        }
        for receipt in statistic.receipts
    ]
    return {
        "id_message": statistic.id_message,
        "state": state_of_statistic(statistic),
        "recipients": len(statistic.receipts),
        "sent": counts.get(DeliveryState.SENT, 0),
        "delivered": counts.get(DeliveryState.DELIVERED, 0),
        "read": counts.get(DeliveryState.READ, 0),
        "failed": counts.get(DeliveryState.FAILED, 0),
        "receipts": receipts,
        "problems": list(statistic.problems),
    }


def state_of_statistic(statistic: StatusStatistic) -> DeliveryState | None:
    """Return the state of the recipient who is least far, or ``None`` if nothing is known of any."""
    counts = statistic.counts
    if statistic.problems:
        return DeliveryState.UNKNOWN
    return next((state for state in _PROGRESS if state in counts), None)


SMSFIRE_FIELDS: Fields[MessageStatus] = Fields(names=_SMSFIRE_FIELDS, of=_smsfire_fields)
GREENAPI_FIELDS: Fields[StatusStatistic] = Fields(names=_GREENAPI_FIELDS, of=_greenapi_fields)


class Results(Generic[KeyT, AnswerT]):
    """Makes an output row of an input row and what became of its key.

    All that the input carries comes first, then the answer's fields, then ``error``. Where a column of the
    input has the name of a field, it takes what the answer says, and stays as it is where that says nothing.
    """

    def __init__(self, columns: Sequence[str], fields: Fields[AnswerT], *, with_line: bool = False) -> None:
        self._fields = fields
        self._with_line = with_line
        added = [name for name in (*fields.names, _ERROR) if name not in columns]
        first = [_LINE] if with_line and _LINE not in columns else []
        self.names = [*first, *columns, *added]

    def found(self, row: Row[KeyT], answer: AnswerT | None) -> tuple[dict[str, Any], DeliveryState | None]:
        """Return the row of a key that was looked up, and the message's state, ``None`` if it is unknown."""
        values = self._with_key(row)
        state: DeliveryState | None = None
        if answer is not None:
            fields = self._fields.of(answer)
            state = fields["state"]
            values.update((name, value) for name, value in fields.items() if value is not None)
        values["state"], values[_ERROR] = state, None
        return values, state

    def failed(self, row: Row[KeyT], error: str) -> dict[str, Any]:
        """Return the row of a key that could not be looked up; the state that was last known stays."""
        values = self._with_key(row)
        values[_ERROR] = error
        return values

    def skipped(self, row: Row[KeyT]) -> dict[str, Any]:
        """Return the row of a key that was not asked for: as it came."""
        return self._begun(row)

    def _begun(self, row: Row[KeyT]) -> dict[str, Any]:
        values = dict.fromkeys(self.names)
        values.update(row.values)
        if self._with_line:
            values[_LINE] = row.line
        return values

    def _with_key(self, row: Row[KeyT]) -> dict[str, Any]:
        values = self._begun(row)
        if row.column is not None and row.key is not None:
            values[row.column] = str(row.key) if isinstance(row.key, CustomId) else row.key
        return values


class JsonLines:
    """One JSON object a line."""

    header = b""

    def __init__(self, names: Sequence[str]) -> None:
        self._encoder = json.JSONEncoder(ensure_ascii=False)

    def encode(self, values: Mapping[str, Any]) -> bytes:
        try:
            return (self._encoder.encode(values) + "\n").encode()
        except UnicodeEncodeError:
            # Half a character, which JSON can escape and UTF-8 cannot hold.
            return (json.dumps(values) + "\n").encode()

    @staticmethod
    def records(lines: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the complete records; an unfinished last one is left out.

        What is left at the end and cannot be the beginning of a record is an ``InputError``.
        """
        for line in lines:
            if line.endswith(b"\n"):
                yield line
            elif not line.startswith(b"{"):
                raise InputError("its end is no row of this check")

    def decode(self, record: bytes) -> dict[str, Any]:
        """Return the values of a record; raise a ``ValueError`` if it is none of this output."""
        values = json.loads(record)
        if not isinstance(values, dict) or _ERROR not in values or "state" not in values:
            raise ValueError("not a row of a check")
        return values


class Csv:
    """Comma-separated values with a header; what is no text or number is JSON in its cell."""

    def __init__(self, names: Sequence[str], *, more: bool = False) -> None:
        """With ``more``, fields beyond ``names`` are allowed, and go as JSON into a column of their own."""
        self._buffer = io.StringIO()
        # Only characters of the line terminator are quoted, so it has to have both.
        self._writer = csv.writer(self._buffer, lineterminator="\r\n")
        self._names = names
        self._has_more = more
        self._columns = unique([*names, _MORE]) if more else names
        self.header = self._encode(self._columns)

    def encode(self, values: Mapping[str, Any]) -> bytes:
        cells = [_cell(values.get(name)) for name in self._names]
        if self._has_more:
            rest = {name: value for name, value in values.items() if name not in self._names}
            cells.append(json.dumps(rest, ensure_ascii=False) if rest else "")
        return self._encode(cells)

    def _encode(self, cells: Iterable[str]) -> bytes:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._writer.writerow(cells)
        return (self._buffer.getvalue()[:-2] + "\n").encode(errors="backslashreplace")

    def records(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the complete records, the header first; an unfinished last one is left out.

        Another header, or what is left at the end and cannot be the beginning of one record, is an
        ``InputError``.
        """
        lines_of_record: list[bytes] = []
        number, quotes = 0, 0
        for line in lines:
            lines_of_record.append(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0 and line.endswith(b"\n"):
                record = b"".join(lines_of_record)
                if number == 0 and record != self.header:
                    raise InputError(_OTHER_COLUMNS)
                yield record
                number += 1
                lines_of_record.clear()
        begun = b"".join(lines_of_record)
        if number == 0:
            if not self.header.startswith(begun):
                raise InputError(_OTHER_COLUMNS)
        # A cell may have any number of lines, but none that are rows by themselves.
        elif not _BEGUN_RECORD.fullmatch(begun) or any(map(self._is_record, lines_of_record[1:])):
            raise InputError(f"its row {number} has a quote that is not closed")

    def _is_record(self, line: bytes) -> bool:
        try:
            return _BEGUN_RECORD.fullmatch(line.removesuffix(b"\n")) is not None and bool(self.decode(line))
        except ValueError:
            return False

    def decode(self, record: bytes) -> dict[str, Any]:
        """Return the values of a record; raise a ``ValueError`` if it is none of this output."""
        try:
            cells = next(csv.reader(io.StringIO(record.decode(), newline=""), strict=True))
        except csv.Error as error:
            raise ValueError(str(error)) from None
        return dict(zip(self._columns, cells, strict=True))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


Encoding: TypeAlias = JsonLines | Csv


class Tally:
    """How many rows there are of each kind."""

    def __init__(self) -> None:
        self.states: dict[DeliveryState, int] = {}
        self.unknown = 0
        self.failed = 0
        self.skipped = 0
        self.before = 0

    @property
    def rows(self) -> int:
        """All rows, the ones of an earlier run too."""
        return sum(self.states.values()) + self.unknown + self.failed

    def add_state(self, state: DeliveryState | None) -> None:
        """Count a row whose message is in that state, or unknown."""
        if state is None:
            self.unknown += 1
        else:
            self.states[state] = self.states.get(state, 0) + 1

    def add(self, values: Mapping[str, Any]) -> None:
        """Count a row by what it says itself."""
        if values.get(_ERROR):
            self.failed += 1
        else:
            state = values.get("state")
            self.add_state(DeliveryState(state.upper()) if state else None)


def line_of(values: Mapping[str, Any]) -> int:
    """Return the line of the input that an unordered row is about."""
    return int(values[_LINE])


def is_about(values: Mapping[str, Any], row: Row[KeyT]) -> bool:
    """True if what was written can be about the row of the input."""
    if row.column is None or row.column not in values:
        return True
    key = row.values.get(row.column) if row.key is None else row.key
    return str(values[row.column]).strip() == str(key).strip()
