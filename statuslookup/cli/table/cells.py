"""What Python's CSV reader does not bound or explain: a quote that is not closed, and how long a cell is."""

import csv
from collections.abc import Generator, Iterator
from contextlib import contextmanager

MOST_OPEN_CHARACTERS = 2**17
_MOST_CELL_CHARACTERS = 2**31 - 1
_WHAT_TO_DO = 'close it, or write a quote inside quotes as ""'

OPEN_QUOTE = f"a quote is not closed; {_WHAT_TO_DO}"


def open_quote_in(first: int, last: int) -> str:
    """Return what is wrong with the record of these lines."""
    if first == last:
        return OPEN_QUOTE
    return (
        f"a quote of the row that begins in line {first} is not closed, or not at the end of its cell; no row"
        f" up to line {last} was looked up; {_WHAT_TO_DO}"
    )


class OpenQuoteError(ValueError):
    """A quote is open for so long that nobody can have meant it."""


class RecordLines:
    """The lines of a CSV record, for a reader that asks for one more only while a quote is open."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._asked = 0
        self._open_characters = 0

    @property
    def has_open_quote(self) -> bool:
        """True if the record did not end with its first line."""
        return self._asked > 1

    def begin(self) -> None:
        """Say that what comes next is another record."""
        self._asked = self._open_characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        # Every row after a stray quote is lost up to here, so this is far less than a reader could hold.
        if self._open_characters > MOST_OPEN_CHARACTERS:
            raise OpenQuoteError
        self._asked += 1
        line = next(self._lines)
        if self.has_open_quote:
            self._open_characters += len(line)
        return line


@contextmanager
def large_cells() -> Generator[None]:
    """Let a cell of CSV be as long as its line, until the block ends.

    Python's own bound, 128 KiB, is there for those who read what has no bounds; lines have one here, and
    a line that a check wrote itself may be longer. It is one for the whole process, so whoever owns that
    decides.
    """
    before = csv.field_size_limit(_MOST_CELL_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)
