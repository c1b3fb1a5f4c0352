"""What an earlier run of a check has written already."""

from collections.abc import Callable, Mapping
from typing import Any

from ..._model import KeyT
from .results import LINE, Tally
from .rows import Row
from .unpacking import InputError

_CHUNK = 1024


class ResumeError(InputError):
    """The file to resume is damaged, or not about the input."""


class Resumed:
    """Which rows of the input an earlier run wrote, and how many of each kind; none to begin with."""

    def __init__(self, *, with_line: bool = False) -> None:
        """``with_line``, the rows have the line of the input that they are about, and any order."""
        self.tally = Tally()
        self.left = 0
        """How many of the rows were not found in the input yet."""
        self._with_line = with_line
        self._last: Mapping[str, Any] = {}
        self._last_line = 0
        # Bits by the thousand, so that one line far behind all others costs nothing.
        self._lines: dict[int, int] = {}

    @property
    def rows(self) -> int:
        return self.tally.before

    def add(self, values: Mapping[str, Any]) -> None:
        """Take note of a row that is there; what is none raises a ``ValueError`` or ``KeyError``."""
        if self._with_line:
            self._last_line = _line_of(values)
            if self._has_line(self._last_line):
                raise ValueError("a line is there twice")
            chunk, bit = divmod(self._last_line, _CHUNK)
            self._lines[chunk] = self._lines.get(chunk, 0) | 1 << bit
        self.tally.add(values)
        self.tally.before += 1
        self.left += 1
        self._last = values

    def _has_line(self, line: int) -> bool:
        chunk, bit = divmod(line, _CHUNK)
        return bool(self._lines.get(chunk, 0) >> bit & 1)

    def has(self, row: Row[KeyT], place: int, as_written: Callable[[Row[KeyT]], Mapping[str, Any]]) -> bool:
        """True if the row is there; ``place`` is its number among the rows of the input, from 0.

        ``as_written`` returns what a row has become when it is read from the output.
        """
        is_last = row.line == self._last_line if self._with_line else place == self.rows - 1
        column = row.column if is_last and row.column in self._last else None
        if column is not None and self._last[column] != as_written(row)[column]:
            raise ResumeError(
                f"it is not about this input: its row {self.rows} has another key than line {row.line}"
                " of the input"
            )
        is_there = self._has_line(row.line) if self._with_line else place < self.rows
        self.left -= is_there
        return is_there


def _line_of(values: Mapping[str, Any]) -> int:
    line = values[LINE]
    if isinstance(line, bool) or not isinstance(line, str | int) or int(line) < 1:
        raise ValueError("the line is no number of a line")
    return int(line)
