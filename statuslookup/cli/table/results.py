"""What becomes of each row: the row that is written for it, and the sums of a whole table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Generic

from ..._model import AnswerT, CustomId, DeliveryState, KeyT
from .columns import Columns
from .rows import Row

LINE = "line"
STATE = "state"
ERROR = "error"


class Results(Generic[KeyT, AnswerT]):
    """Makes an output row of an input row and what became of its key.

    All that the input carries comes first, then the answer's columns, then ``error``. Where a column of the
    input has the name of one of those, it takes what the answer says, and stays as it is where that says
    nothing. ``with_line``, each row has the ``line`` of the input that it is about, and needs no order.
    """

    def __init__(self, names: Sequence[str], columns: Columns[AnswerT], *, with_line: bool = False) -> None:
        """``names`` are the columns of the input."""
        self.with_line = with_line
        self._columns = columns
        added = [name for name in (*columns.names, ERROR) if name not in names]
        first = [LINE] if with_line and LINE not in names else []
        self.names = [*first, *names, *added]

    def found(self, row: Row[KeyT], answer: AnswerT | None) -> tuple[dict[str, Any], DeliveryState | None]:
        """Return the row of a key that was looked up, and the message's state, ``None`` if it is unknown."""
        values = self._with_key(row)
        said = {} if answer is None else self._columns.of(answer)
        values.update((name, value) for name, value in said.items() if value is not None)
        state: DeliveryState | None = said.get(STATE)
        values[STATE], values[ERROR] = state, None
        return values, state

    def failed(self, row: Row[KeyT], error: str) -> dict[str, Any]:
        """Return the row of a key that could not be looked up; the state that was last known stays."""
        values = self._with_key(row)
        values[ERROR] = error
        return values

    def skipped(self, row: Row[KeyT]) -> dict[str, Any]:
        """Return the row of a key that was not asked for: as it came."""
        values = dict.fromkeys(self.names)
        values.update(row.values)
        if self.with_line:
            values[LINE] = row.line
        return values

    def _with_key(self, row: Row[KeyT]) -> dict[str, Any]:
        values = self.skipped(row)
        if row.column is not None and row.key is not None:
            values[row.column] = str(row.key) if isinstance(row.key, CustomId) else row.key
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
            state = values.get(STATE)
            if state and not isinstance(state, str):
                raise ValueError("the state is no text")
            self.states[DeliveryState(state.upper()) if state else None] += 1
