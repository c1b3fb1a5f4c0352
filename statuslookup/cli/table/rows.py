"""A file with messages becomes rows: CSV, JSON Lines, or one key a line. No I/O of its own."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Generic

from attrs import frozen

from ..._model import DeliveryState, KeyT
from ...providers import decode
from .beginning import InputFormat, begin_of
from .cells import OPEN_QUOTE, OpenQuoteError, RecordLines, open_quote_in
from .dialect import Dialect
from .keys import Keys, rounded
from .lines import Lines, LongLineError
from .unpacking import InputError

# No spreadsheet has more. Each row holds them all, however short its line is.
_MOST_COLUMNS = 16_384
_NONE: Mapping[str, Any] = MappingProxyType({})


@frozen(kw_only=True, eq=False)
class Row(Generic[KeyT]):
    """One row of the input: its key, or what is wrong with it, and all that it carries."""

    line: int
    """The number of its first line, from 1."""
    end: int
    """How many bytes of the input it and all before it have."""
    values: dict[str, Any]
    column: str | None = None
    key: KeyT | None = None
    rivals: Mapping[str, KeyT | None] = _NONE
    """What its other key columns name; ``None`` is no key."""
    error: str | None = None

    @property
    def state(self) -> DeliveryState | None:
        """The last known state that it carries, if any."""
        return state_in(self.values)


_STATES: Mapping[str, DeliveryState] = {state.value: state for state in DeliveryState}


def state_in(values: Mapping[str, Any]) -> DeliveryState | None:
    """Return the state that a row has, however it is written, ``None`` if it has none."""
    state = values.get("state")
    return _STATES.get(state.strip().upper()) if isinstance(state, str) else None


class Input(Generic[KeyT]):
    """The rows of an input, in order; what format it has is seen from its first line.

    ``keys`` says how keys are written, and ``check`` is the provider's.
    """

    def __init__(
        self,
        lines: Lines,
        keys: Keys[KeyT],
        check: Callable[[KeyT], KeyT],
        *,
        format: InputFormat | None = None,
        name: str = "",
    ) -> None:
        self.lines = lines
        self.rows: Iterator[Row[KeyT]]
        self.keyless = 0
        """How many of the rows so far have no key that could be asked for."""
        self.columns: list[str] = []
        self._check = check
        begin = begin_of(lines, keys, format, name)
        self.is_empty = not begin.line
        self.format = begin.format
        self.keys = begin.keys
        """How its keys are written."""
        self.header_taken = begin.header_taken
        """The first line, if it was taken for a header although it names no key column."""
        source = chain([begin.line] if begin.line else [], lines)
        if self.format == "csv":
            self.rows = self._csv_rows(source, begin.delimiter)
        elif self.format == "jsonl":
            self.rows = rows = self._line_rows(source, self._jsonl_row)
            if (one := next(rows, None)) is not None:
                self.columns = list(one.values)
                self.rows = chain([one], rows)
        else:
            self.rows = self._line_rows(source, self._key_row)
        self.dialect = Dialect(begin.delimiter, lines.end or "\n", has_mark=lines.has_mark)
        """How a table of CSV is to be written, to be like it."""

    def _csv_rows(self, source: Iterator[str], delimiter: str) -> Iterator[Row[KeyT]]:
        """Read the header at once, and return the rows behind it."""
        record = RecordLines(source)
        records = csv.reader(record, delimiter=delimiter, strict=True)
        try:
            names = next(records, [])
        except (csv.Error, OpenQuoteError) as error:
            problem = OPEN_QUOTE if record.has_open_quote else error
            raise InputError(f"the header is not CSV: {problem}") from None
        if len(names) > _MOST_COLUMNS:
            raise InputError(
                f"the header has {len(names):,} columns, and no spreadsheet more than {_MOST_COLUMNS:,}"
            )
        self.columns = unique(names)
        if not self.is_empty and not self.keys.named_in(self.columns):
            there = ", ".join(map(repr, names[:10]))[:200]
            if self.keys.chosen is not None:
                raise InputError(f"the header has no column {self.keys.chosen!r}: it has {there}")
            wanted = ", ".join(self.keys.shown_columns)
            raise InputError(
                f"the header names no key column (one of {wanted}): it has {there};"
                " --key COLUMN says which one it is"
            )
        return self._rows_below(record, records)

    def _rows_below(self, record: RecordLines, records: Iterator[list[str]]) -> Iterator[Row[KeyT]]:
        columns, key_columns = self.columns, self.keys.named_in(self.columns)
        while True:
            line = self.lines.number + 1
            record.begin()
            try:
                cells = next(records, None)
            except (csv.Error, LongLineError, OpenQuoteError) as error:
                yield self._torn_row(line, error, has_open_quote=record.has_open_quote)
                continue
            if cells is None:
                return
            if not any(map(str.strip, cells)):
                continue
            values: dict[str, Any] = dict.fromkeys(columns, "")
            values.update(zip(columns, cells, strict=False))
            if any(cells[len(columns) :]):
                problem = f"{len(cells)} cells, and the header has {len(columns)}"
                yield self._bad_row(problem, line=line, values=values)
            else:
                yield self._row(line, values, key_columns)

    def _torn_row(self, line: int, error: Exception, *, has_open_quote: bool) -> Row[KeyT]:
        if isinstance(error, LongLineError):
            problem = str(error)
        elif has_open_quote:
            problem = open_quote_in(line, self.lines.number)
        else:
            problem = f"not CSV: {error}"
        return self._bad_row(problem, line=line, last=self.lines.number)

    def _line_rows(self, source: Iterator[str], row_of: Callable[[str], Row[KeyT]]) -> Iterator[Row[KeyT]]:
        """Yield a row for each line that holds something."""
        while True:
            try:
                line = next(source, None)
            except LongLineError as error:
                yield self._bad_row(error)
                continue
            if line is None:
                return
            if line.strip():
                yield row_of(line)

    def _jsonl_row(self, line: str) -> Row[KeyT]:
        try:
            values = _object_of(line)
        except ValueError as error:
            return self._bad_row(error)
        key_columns = self.keys.named_in(list(values))
        return self._row(self.lines.number, values, key_columns, source=line)

    def _key_row(self, line: str) -> Row[KeyT]:
        text = line.strip()
        try:
            column, key = self.keys.in_line(text)
            key = self._check(key)
        except ValueError as error:
            column = self.keys.column_of_bad
            return self._bad_row(error, values={column: text}, column=column)
        # Another list is compared with what stands here, leading zeros and all.
        value = key if isinstance(key, str) or str(key) == text else text
        return Row(
            line=self.lines.number, end=self.lines.position, values={column: value}, column=column, key=key
        )

    def _row(
        self, line: int, values: dict[str, Any], key_columns: Sequence[str], *, source: str = ""
    ) -> Row[KeyT]:
        """Return the row of the first key column that holds something."""
        named = [column for column in key_columns if not _is_blank(values[column])]
        if not named:
            return self._bad_row("it has no key", line=line, values=values)
        column, *others = named
        try:
            key = self._key_in(column, values[column], source)
        except ValueError as error:
            return self._bad_row(error, line=line, values=values, column=column)
        rivals: dict[str, KeyT | None] = {}
        for other in others:
            try:
                rivals[other] = self._key_in(other, values[other], source)
            except ValueError:
                rivals[other] = None
        if not source and not isinstance(key, str) and str(key) == values[column]:
            # A cell of CSV does not say that it is a number.
            values[column] = key
        end = self.lines.position
        return Row(line=line, end=end, values=values, column=column, key=key, rivals=rivals)

    def _key_in(self, column: str, value: object, source: str) -> KeyT:
        """Return the key that a value is, or raise a ``ValueError``; ``source`` is its line of JSON."""
        if isinstance(value, float) and value.is_integer():
            text = f"{value:.0f}"
            if text not in source:
                raise rounded(str(value))
        # Exactly these, because a bool is an int to Python.
        elif type(value) in (str, int):
            text = str(value).strip()
        else:
            raise ValueError(f"{column} is neither a text nor an integer")
        return self._check(self.keys.read(column, text))

    def _bad_row(
        self,
        problem: object,
        *,
        line: int | None = None,
        last: int | None = None,
        values: dict[str, Any] | None = None,
        column: str | None = None,
    ) -> Row[KeyT]:
        """Return a row without a key: of the line that was read last, or from the given one to ``last``."""
        self.keyless += 1
        line = self.lines.number if line is None else line
        where = f"line {line}" if last in (None, line) else f"lines {line} to {last}"
        error = f"{where}: {problem}"
        return Row(line=line, end=self.lines.position, values=values or {}, column=column, error=error)


def _object_of(line: str) -> dict[str, Any]:
    """Return the JSON object of a line, or raise a ``ValueError`` that says why it is none."""
    values = decode(line)
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    inner: list[Any] = [values]
    while inner:
        value = inner.pop()
        if isinstance(value, dict | list):
            inner += value.values() if isinstance(value, dict) else value
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a number is too large")
    return values


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def unique(names: Sequence[str]) -> list[str]:
    """Return the names of columns, none of them empty or repeated."""
    unique: dict[str, None] = {}
    # Where to go on counting: from 2 each time, a header of one name again and again would take hours.
    numbers: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        wanted = name.strip() or f"column_{place}"
        candidate, number = wanted, numbers.get(wanted, 2)
        while candidate in unique:
            candidate, number = f"{wanted}_{number}", number + 1
        unique[candidate], numbers[wanted] = None, number
    return list(unique)
