"""A file with messages becomes rows: CSV, JSON Lines, or one key a line. No I/O of its own."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Generic, Literal, TypeAlias

from attrs import frozen

from ..._model import DeliveryState, KeyT
from ...providers import decode
from .cells import OPEN_QUOTE, OpenQuoteError, RecordLines, open_quote_in
from .lines import InputError, Lines, LongLineError

InputFormat: TypeAlias = Literal["csv", "jsonl", "keys"]

_DELIMITERS = ",;\t"


@frozen(kw_only=True)
class Keys(Generic[KeyT]):
    """How the keys of one provider are written in files and arguments; the provider itself checks them."""

    columns: Mapping[str, Callable[[str], KeyT]]
    """What reads the key from a column of that name (in lower case); the first that holds one counts."""
    shown_columns: Sequence[str]
    """The columns as people write them."""
    in_line: Callable[[str], tuple[str, KeyT]]
    """The column and the key of one key a line."""
    of_argument: Callable[[str], tuple[str, KeyT]]
    """The column and the key of an argument, where nothing but the text itself says which kind it is."""
    column_of_bad: str
    """The column of one key a line that is none."""

    def named_in(self, names: Sequence[str]) -> list[str]:
        """Return those of the names that name a key, the ones that count first at the beginning."""
        places = {column: place for place, column in enumerate(self.columns)}
        named = [name for name in names if _plain(name) in places]
        return sorted(named, key=lambda name: places[_plain(name)])

    def read(self, column: str, text: str) -> KeyT:
        """Return the key, or raise a ``ValueError`` that says what is wrong with it."""
        return self.columns[_plain(column)](text)


def _plain(name: str) -> str:
    return name.strip().lower()


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
    error: str | None = None

    @property
    def state(self) -> DeliveryState | None:
        """The last known state that it carries, if any."""
        state = self.values.get("state")
        return _STATES.get(state.upper()) if isinstance(state, str) else None


_STATES: Mapping[str, DeliveryState] = {state.value: state for state in DeliveryState}


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
        self._keys = keys
        self._check = check
        first = next((line for line in lines if line.strip()), "")
        self.is_empty = not first
        self.format = format or _format_of(first, name, keys)
        source = chain([first] if first else [], lines)
        if self.format == "csv":
            self.rows = self._csv_rows(source, _delimiter_of(first, keys) or ",")
        elif self.format == "jsonl":
            self.rows = rows = self._line_rows(source, self._jsonl_row)
            if (one := next(rows, None)) is not None:
                self.columns = list(one.values)
                self.rows = chain([one], rows)
        else:
            self.rows = self._line_rows(source, self._key_row)

    def _csv_rows(self, source: Iterator[str], delimiter: str) -> Iterator[Row[KeyT]]:
        """Read the header at once, and return the rows behind it."""
        record = RecordLines(source)
        records = csv.reader(record, delimiter=delimiter, strict=True)
        try:
            names = next(records, [])
        except (csv.Error, OpenQuoteError) as error:
            problem = OPEN_QUOTE if record.has_open_quote else error
            raise InputError(f"the header is not CSV: {problem}") from None
        if not self.is_empty and not self._keys.named_in(names):
            raise InputError(
                f"the header names no key column (one of {', '.join(self._keys.shown_columns)}): it has"
                f" {', '.join(map(repr, names[:10]))[:200]}"
            )
        self.columns = unique(names)
        return self._rows_below(record, records)

    def _rows_below(self, record: RecordLines, records: Iterator[list[str]]) -> Iterator[Row[KeyT]]:
        columns, key_columns = self.columns, self._keys.named_in(self.columns)
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
            if not cells:
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
        return self._row(self.lines.number, values, self._keys.named_in(list(values)))

    def _key_row(self, line: str) -> Row[KeyT]:
        text = line.strip()
        try:
            column, key = self._keys.in_line(text)
            key = self._check(key)
        except ValueError as error:
            column = self._keys.column_of_bad
            return self._bad_row(error, values={column: text}, column=column)
        return self._good_row(self.lines.number, {column: key}, column, key)

    def _row(self, line: int, values: dict[str, Any], key_columns: Sequence[str]) -> Row[KeyT]:
        """Return the row of the first key column that holds something."""
        for column in key_columns:
            value = values[column]
            if value is None or value == "":
                continue
            try:
                # Exactly these, because a bool is an int to Python.
                if type(value) not in (str, int):
                    raise ValueError(f"{column} is neither a text nor an integer")
                key = self._check(self._keys.read(column, str(value).strip()))
            except ValueError as error:
                return self._bad_row(error, line=line, values=values, column=column)
            return self._good_row(line, values, column, key)
        return self._bad_row("it has no key", line=line, values=values)

    def _good_row(self, line: int, values: dict[str, Any], column: str, key: KeyT) -> Row[KeyT]:
        return Row(line=line, end=self.lines.bytes, values=values, column=column, key=key)

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
        return Row(line=line, end=self.lines.bytes, values=values or {}, column=column, error=error)


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


def _format_of(first: str, name: str, keys: Keys[Any]) -> InputFormat:
    ending = name.lower().rpartition(".")[2]
    if first.lstrip().startswith("["):
        raise InputError("it is a JSON array; write one object a line (jq -c '.[]' does that)")
    if first.strip() == "{":
        raise InputError("it is JSON over several lines; write one object a line (jq -c . does that)")
    if ending in ("jsonl", "ndjson") or first.lstrip().startswith("{"):
        return "jsonl"
    if ending in ("csv", "tsv") or _delimiter_of(first, keys):
        return "csv"
    if ending != "txt" and any(character in first for character in _DELIMITERS + '"'):
        return "csv"
    return "keys"


def _delimiter_of(header: str, keys: Keys[Any]) -> str | None:
    """Return the delimiter with which the header names a key column."""
    for delimiter in _DELIMITERS:
        # A name may be quoted, and what follows on the next line is not needed to find it.
        names = [name.strip().strip('"') for name in header.split(delimiter)]
        if keys.named_in(names):
            return delimiter
    return None


def unique(names: Sequence[str]) -> list[str]:
    """Return the names of columns, none of them empty or repeated."""
    unique: dict[str, None] = {}
    for place, name in enumerate(names, 1):
        wanted = name.strip() or f"column_{place}"
        candidate, number = wanted, 2
        while candidate in unique:
            candidate, number = f"{wanted}_{number}", number + 1
        unique[candidate] = None
    return list(unique)
