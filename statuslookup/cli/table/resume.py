"""What an earlier run of a check has written already."""

from collections.abc import Mapping
from typing import Any

from ..._model import KeyT
from .lines import InputError
from .results import LINE, Tally
from .rows import Row


class Resumed:
    """Which rows of the input an earlier run wrote, and how many of each kind; none to begin with."""

    def __init__(self, *, with_line: bool = False) -> None:
        """``with_line``, the rows have the line of the input that they are about, and any order."""
        self.tally = Tally()
        self._with_line = with_line
        self._last: Mapping[str, Any] = {}
        self._lines = bytearray()

    @property
    def rows(self) -> int:
        return self.tally.before

    def add(self, values: Mapping[str, Any]) -> None:
        """Take note of a row that is there; what is none raises a ``ValueError`` or ``KeyError``."""
        self.tally.add(values)
        self.tally.before += 1
        self._last = values
        if self._with_line:
            byte, bit = divmod(int(values[LINE]), 8)
            self._lines.extend(bytes(max(0, byte + 1 - len(self._lines))))
            self._lines[byte] |= 1 << bit

    def has(self, row: Row[KeyT], place: int) -> bool:
        """True if the row is there; ``place`` is its number among the rows of the input, from 0."""
        if self._with_line:
            byte, bit = divmod(row.line, 8)
            return byte < len(self._lines) and bool(self._lines[byte] >> bit & 1)
        if place == self.rows - 1 and not _is_about(self._last, row):
            raise InputError(
                f"it is not about this input: its row {self.rows} has another key than line {row.line}"
                " of the input"
            )
        return place < self.rows


def _is_about(values: Mapping[str, Any], row: Row[KeyT]) -> bool:
    """True if what was written can be about the row of the input."""
    if row.column is None or row.column not in values:
        return True
    key = row.values.get(row.column) if row.key is None else row.key
    return str(values[row.column]).strip() == str(key).strip()
