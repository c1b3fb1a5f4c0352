"""A file with messages becomes rows: CSV, JSON Lines, or one key a line. No I/O of its own."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Generic, Literal, TypeAlias, cast

from attrs import frozen

from ..._model import CustomId, DeliveryState, KeyT
from ...providers.fields import decode
from .cells import OPEN_QUOTE, OpenQuoteError, RecordLines, open_quote_in

InputFormat: TypeAlias = Literal["csv", "jsonl", "keys"]

_CHUNK = 65536
_MOST_LINE_BYTES = 2**20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Of a zip file, which newer spreadsheets are, and of the container of the older ones.
_BINARY_MARKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_DELIMITERS = ",;\t"
_CUSTOM = "custom:"


class InputError(ValueError):
    """The input cannot be read at all, or the file to resume is not about it."""


class LongLineError(InputError):
    """A line is too long to be kept; the next one can be read."""

    def __init__(self) -> None:
        super().__init__(f"it is longer than {_MOST_LINE_BYTES:,} bytes")


@frozen(kw_only=True)
class Keys(Generic[KeyT]):
    """How the keys of one provider are written in files."""

    columns: Mapping[str, Callable[[str], KeyT]]
    """What reads the key from a column of that name (in lower case); the first that holds one counts."""
    shown_columns: str
    """The columns as people write them."""
    in_line: Callable[[str], tuple[str, KeyT]]
    """The column and the key of one key a line."""
    of_argument: Callable[[str], tuple[str, KeyT]]
    """The column and the key of an argument, where nothing but the text itself says which kind it is."""
    column_of_bad: str
    """The column of one key a line that is none."""
    check: Callable[[KeyT], KeyT]

    def named_in(self, names: Sequence[str]) -> list[str]:
        """Return those of the names that name a key, the ones that count first at the beginning."""
        places = {column: place for place, column in enumerate(self.columns)}
        named = [name for name in names if _plain(name) in places]
        return sorted(named, key=lambda name: places[_plain(name)])

    def read(self, column: str, text: str) -> KeyT:
        """Return the key, or raise a ``ValueError`` that says what is wrong with it."""
        return self.check(self.columns[_plain(column)](text))


def _plain(name: str) -> str:
    return name.strip().lower()


def smsfire_keys(check: Callable[[int | CustomId], int | CustomId], *, custom_ids: bool) -> Keys[Any]:
    """Return how SMSFire's ids and customIds are written."""

    def in_line(text: str) -> tuple[str, int | CustomId]:
        if text.startswith(_CUSTOM):
            return "custom_id", CustomId(text.removeprefix(_CUSTOM))
        if custom_ids or not _is_digits(text):
            return "custom_id", CustomId(text)
        return "id", check(_id(text))

    def of_argument(text: str) -> tuple[str, int | CustomId]:
        if not text.startswith(_CUSTOM) and not _is_digits(text):
            raise ValueError(f"{text[:60]!r} is no id; a customId is written {_CUSTOM}{text[:60]}")
        return in_line(text)

    return Keys(
        columns={"id": _id, "customid": CustomId, "custom_id": CustomId},
        shown_columns="id, customId, custom_id",
        in_line=in_line,
        of_argument=of_argument,
        column_of_bad="custom_id",
        check=check,
    )


def greenapi_keys(check: Callable[[str], str]) -> Keys[str]:
    """Return how GREEN-API's idMessages are written."""

    def in_line(text: str) -> tuple[str, str]:
        return "id_message", check(text)

    return Keys(
        columns={"idmessage": str, "id_message": str, "id": str},
        shown_columns="idMessage, id_message, id",
        in_line=in_line,
        of_argument=in_line,
        column_of_bad="id_message",
        check=check,
    )


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _id(text: str) -> int:
    if not _is_digits(text):
        raise ValueError(f"an id is digits, and this is {text[:60]!r}")
    if len(text) > 1000:
        raise ValueError(f"no id has {len(text):,} digits")
    return int(text)


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


class Lines:
    """The lines of what ``read`` gives, as text: UTF-8, and a line that is not, Latin-1."""

    def __init__(self, read: Callable[[int], bytes | None]) -> None:
        self._read = read
        self._lines = self._split()
        self.before_read: Callable[[], None] = lambda: None
        """Called before each reading, which may take its time."""
        self.number = 0
        self.bytes = 0
        self.first_latin1: int | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, dropped = next(self._lines)
        self.number += 1
        self.bytes += dropped + len(line)
        if self.number == 1 and line.startswith(_BINARY_MARKS):
            raise InputError("it is a spreadsheet or a zip file; save it as CSV")
        if dropped + len(line) > _MOST_LINE_BYTES:
            raise LongLineError
        if self.number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise InputError("it is UTF-16; save it as UTF-8")
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.first_latin1 = self.first_latin1 or self.number
            return line.decode("latin-1")

    def _split(self) -> Iterator[tuple[bytes, int]]:
        """Yield each line, and how many bytes at its beginning were dropped because it is too long."""
        rest, dropped = b"", 0
        while True:
            self.before_read()
            chunk = self._read(_CHUNK)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line + b"\n", dropped
                dropped = 0
            if len(rest) > _MOST_LINE_BYTES:
                rest, dropped = b"", dropped + len(rest)
        if rest or dropped:
            yield rest, dropped


class Input(Generic[KeyT]):
    """The rows of an input, in order; what format it has is seen from its first line."""

    def __init__(
        self, lines: Lines, keys: Keys[KeyT], *, format: InputFormat | None = None, name: str = ""
    ) -> None:
        self.lines = lines
        self._keys = keys
        first = next((line for line in lines if line.strip()), "")
        self.is_empty = not first
        self.format = format or _format_of(first, name, keys)
        self._delimiter = ","
        source = chain([first] if first else [], lines)
        if self.format == "csv":
            self.columns = self._header(source, first)
            self.rows = self._csv_rows(source)
        elif self.format == "jsonl":
            rows = self._line_rows(source, self._jsonl_row)
            one = next(rows, None)
            self.columns = list(one.values) if one else []
            self.rows = rows if one is None else cast("Iterator[Row[KeyT]]", chain([one], rows))
        else:
            self.columns = []
            self.rows = self._line_rows(source, self._key_row)
        self.keyless = 0
        """How many of the rows so far have no key that could be asked for."""
        self.rows = self._counted(self.rows)

    def _counted(self, rows: Iterator[Row[KeyT]]) -> Iterator[Row[KeyT]]:
        for row in rows:
            self.keyless += row.key is None
            yield row

    def _header(self, source: Iterator[str], first: str) -> list[str]:
        self._delimiter = _delimiter_of(first, self._keys) or ","
        lines = RecordLines(source)
        try:
            names = next(csv.reader(lines, delimiter=self._delimiter, strict=True), [])
        except (csv.Error, OpenQuoteError) as error:
            problem = OPEN_QUOTE if lines.has_open_quote else error
            raise InputError(f"the header is not CSV: {problem}") from None
        if not self.is_empty and not self._keys.named_in(names):
            raise InputError(
                f"the header names no key column (one of {self._keys.shown_columns}): it has"
                f" {', '.join(map(repr, names[:10]))[:200]}"
            )
        return unique(names)

    def _csv_rows(self, source: Iterator[str]) -> Iterator[Row[KeyT]]:
        key_columns = self._keys.named_in(self.columns)
        record = RecordLines(source)
        reader = csv.reader(record, delimiter=self._delimiter, strict=True)
        lines, columns = self.lines, self.columns
        while True:
            line = lines.number + 1
            record.begin()
            try:
                cells = next(reader, None)
            except (csv.Error, LongLineError, OpenQuoteError) as error:
                where = f"line {line}" if line == lines.number else f"lines {line} to {lines.number}"
                if isinstance(error, LongLineError):
                    problem = str(error)
                elif record.has_open_quote:
                    problem = open_quote_in(line, lines.number)
                else:
                    problem = f"not CSV: {error}"
                yield Row(line=line, end=lines.bytes, values={}, error=f"{where}: {problem}")
                continue
            if cells is None:
                return
            if not cells:
                continue
            values: dict[str, Any] = dict.fromkeys(columns, "")
            values.update(zip(columns, cells, strict=False))
            if any(cells[len(columns) :]):
                problem = f"line {line}: {len(cells)} cells, and the header has {len(columns)}"
                yield Row(line=line, end=lines.bytes, values=values, error=problem)
            else:
                yield self._row(line, values, key_columns)

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
        except ValueError as error:
            column = self._keys.column_of_bad
            return self._bad_row(error, values={column: text}, column=column)
        number, end = self.lines.number, self.lines.bytes
        return Row(line=number, end=end, values={column: key}, column=column, key=key)

    def _bad_row(
        self, error: ValueError, *, values: dict[str, Any] | None = None, column: str | None = None
    ) -> Row[KeyT]:
        """Return the row of the line that was read last."""
        number, end = self.lines.number, self.lines.bytes
        return Row(line=number, end=end, values=values or {}, column=column, error=f"line {number}: {error}")

    def _row(self, line: int, values: dict[str, Any], key_columns: Sequence[str]) -> Row[KeyT]:
        """Return the row of the first key column that holds something."""
        for column in key_columns:
            value = values[column]
            if value is None or value == "":
                continue
            try:
                if isinstance(value, bool) or not isinstance(value, str | int):
                    raise ValueError(f"{column} is neither a text nor an integer")
                key = self._keys.read(column, str(value).strip())
            except ValueError as error:
                problem = f"line {line}: {error}"
                return Row(line=line, end=self.lines.bytes, values=values, column=column, error=problem)
            return Row(line=line, end=self.lines.bytes, values=values, column=column, key=key)
        return Row(line=line, end=self.lines.bytes, values=values, error=f"line {line}: it has no key")


def _object_of(line: str) -> dict[str, Any]:
    """Return the JSON object of a line, or raise a ``ValueError`` that says why it is none."""
    try:
        values = decode(line)
    except ValueError as error:
        # Python bounds them, and its words are about the interpreter.
        if "integer string conversion" in str(error):
            raise ValueError("an integer has too many digits") from None
        raise
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
