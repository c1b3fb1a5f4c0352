"""What becomes of each row: the row that is written for it, and the sums of a whole table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Generic

from ..._model import AnswerT, DeliveryState, KeyT
from .columns import Columns
from .keys import plain
from .rows import Row, state_in

LINE = "line"
STATE = "state"
ERROR = "error"


class Results(Generic[KeyT, AnswerT]):
    """Makes an output row of an input row and what became of its key.

    All that the input carries comes first, then the answer's columns, then ``error``. Where a column of the
    input has the name of one of those, it takes what the answer says, and stays as it is where that says
    nothing, or where it holds a key: another table is joined by that. ``with_line``, each row has the
    ``line`` of the input that it is about, and needs no order.
    """

    def __init__(self, names: Sequence[str], columns: Columns[AnswerT], *, with_line: bool = False) -> None:
        """``names`` are the columns of the input."""
        self.with_line = with_line
        self._columns = columns
        added = [name for name in (*columns.names, ERROR) if name not in names]
        first = [LINE] if with_line and LINE not in names else []
        self.names = [*first, *names, *added]

    def found(self, row: Row[KeyT], answer: AnswerT | None) -> dict[str, Any]:
        """Return the row of a key that was looked up; without a state if the message is unknown.

        If the answer contradicts another key of the row, it is a row with an error.
        """
        said = {} if answer is None else self._columns.of(answer)
        if (problem := self._contradiction(row, said)) is not None:
            return self.failed(row, problem)
        values = self.skipped(row)
        for name, value in said.items():
            is_key = name == row.column or name in self._columns.field_of_key.values()
            if value is not None and not (is_key and values[name] not in (None, "")):
                values[name] = value
        values[STATE], values[ERROR] = said.get(STATE), None
        return values

    def _contradiction(self, row: Row[KeyT], said: Mapping[str, Any]) -> str | None:
        for column, key in row.rivals.items():
            field = self._columns.field_of_key.get(plain(column))
            if field is not None and said.get(field) not in (None, key):
                return (
                    f"line {row.line}: the message with {row.column} {row.key} has {field} {said[field]}, and"
                    f" the row has {column} {row.values[column]}; --key COLUMN says which column is the key"
                )
        return None

    def failed(self, row: Row[KeyT], error: str) -> dict[str, Any]:
        """Return the row of a key that could not be looked up; the state that was last known stays."""
        return self.skipped(row) | {ERROR: error}

    def skipped(self, row: Row[KeyT]) -> dict[str, Any]:
        """Return the row of a key that was not asked for: as it came."""
        values = dict.fromkeys(self.names)
        values.update(row.values)
        if self.with_line:
            values[LINE] = row.line
        return values


class Tally:
    """How many rows there are of each kind."""

    def __init__(self) -> None:
        self.states: Counter[DeliveryState | None] = Counter()
        """How many messages are in each state; ``None`` are the unknown ones."""
        self.failed = 0
        self.skipped = 0
        self.before = 0
        """How many of all rows an earlier run wrote."""

    @property
    def rows(self) -> int:
        """All rows, the ones of an earlier run too."""
        return self.states.total() + self.failed

    def add(self, values: Mapping[str, Any]) -> None:
        """Count a row by what it says itself; a state that is none is a ``ValueError``."""
        if values.get(ERROR):
            self.failed += 1
        else:
            state = state_in(values)
            if state is None and values.get(STATE):
                raise ValueError("the state is none that there is")
            self.states[state] += 1
