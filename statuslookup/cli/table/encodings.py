"""Rows become bytes, as JSON Lines or CSV, and the way back."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TypeAlias

from .dialect import Dialect
from .results import ERROR, STATE
from .resume import ResumeError
from .rows import unique
from .unpacking import UTF8_MARK

_MORE = "more"
_PLAIN = Dialect()
_OTHER_COLUMNS = "it has other columns than this check would write"
# What a spreadsheet takes for a formula, or for what comes before one; the wide ones are Japanese.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)*(?:[eE][+-]?[0-9]+)?")


class JsonLines:
    """One JSON object a line."""

    header = b""

    def __init__(self) -> None:
        self._encoder = json.JSONEncoder(ensure_ascii=False)

    def encode(self, values: Mapping[str, Any]) -> bytes:
        try:
            return (self._encoder.encode(values) + "\n").encode()
        except UnicodeEncodeError:
            # Half a character, which JSON can escape and UTF-8 cannot hold.
            return (json.dumps(values) + "\n").encode()

    @staticmethod
    def records(file: BinaryIO) -> Iterator[bytes]:
        """Yield the complete records; an unfinished last one is left out.

        What is left at the end and cannot be the beginning of a record is a ``ResumeError``.
        """
        for line in file:
            if line.endswith(b"\n"):
                yield line
            elif not line.startswith(b"{"):
                raise ResumeError("its end is no row of this check")

    def decode(self, record: bytes) -> dict[str, Any]:
        """Return the values of a record; raise a ``ValueError`` if it is none of this output."""
        values = json.loads(record)
        if not isinstance(values, dict) or ERROR not in values or STATE not in values:
            raise ValueError("not a row of a check")
        return values


class Csv:
    """Values with a header, in the dialect of the input; what is no text or number is JSON in its cell."""

    def __init__(
        self,
        names: Sequence[str],
        dialect: Dialect = _PLAIN,
        *,
        more: bool = False,
        is_safe: bool = False,
    ) -> None:
        """With ``more``, fields beyond ``names`` are allowed, and go as JSON into a column of their own.

        ``is_safe``, a text that a spreadsheet would take for a formula has an apostrophe before it.
        """
        self._buffer = io.StringIO()
        # Only characters of the line terminator are quoted, so it has to have both.
        self._writer = csv.writer(self._buffer, delimiter=dialect.delimiter, lineterminator="\r\n")
        self._names = names
        self._dialect = dialect
        self._has_more = more
        self._is_safe = is_safe
        self._begun_record = _begun_record(dialect)
        self._columns = unique([*names, _MORE]) if more else names
        self._header = self._encode(self._columns)
        self.header = UTF8_MARK * dialect.has_mark + self._header

    def encode(self, values: Mapping[str, Any]) -> bytes:
        cells = [_cell(values.get(name)) for name in self._names]
        if self._has_more:
            rest = {name: value for name, value in values.items() if name not in self._names}
            cells.append(json.dumps(rest, ensure_ascii=False) if rest else "")
        return self._encode(cells)

    def _encode(self, cells: Iterable[str]) -> bytes:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._writer.writerow(map(_safe, cells) if self._is_safe else cells)
        return (self._buffer.getvalue()[:-2] + self._dialect.line_end).encode(errors="backslashreplace")

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the complete records, the header first; an unfinished last one is left out.

        Another header, or what is left at the end and cannot be the beginning of one record, is a
        ``ResumeError``. The byte order mark may be there or not.
        """
        headers = (UTF8_MARK + self._header, self._header)
        begin = file.read(len(headers[0]))
        header = next((header for header in headers if begin.startswith(header)), None)
        if header is not None:
            yield header
            file.seek(len(header))
            yield from self._rows(file)
        elif not any(header.startswith(begin) for header in headers):
            raise ResumeError(_OTHER_COLUMNS)

    def _rows(self, file: BinaryIO) -> Iterator[bytes]:
        end = self._dialect.line_end.encode()
        lines_of_record: list[bytes] = []
        number, quotes = 1, 0
        for line in _lines_of(file, self._dialect.line_end):
            lines_of_record.append(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0 and line.endswith(end):
                yield b"".join(lines_of_record)
                number += 1
                lines_of_record.clear()
        begun = b"".join(lines_of_record)
        # A cell may have any number of lines, but none that are rows by themselves.
        if not self._begun_record.fullmatch(begun) or any(map(self._is_record, lines_of_record[1:])):
            raise ResumeError(f"its row {number} has a quote that is not closed")

    def _is_record(self, line: bytes) -> bool:
        begun = line.removesuffix(self._dialect.line_end.encode())
        try:
            return self._begun_record.fullmatch(begun) is not None and bool(self.decode(line))
        except ValueError:
            return False

    def decode(self, record: bytes) -> dict[str, Any]:
        """Return the values of a record; raise a ``ValueError`` if it is none of this output."""
        try:
            text = io.StringIO(record.decode(), newline="")
            cells = next(csv.reader(text, delimiter=self._dialect.delimiter, strict=True))
        except csv.Error as error:
            raise ValueError(str(error)) from None
        return dict(zip(self._columns, cells, strict=True))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _safe(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _lines_of(file: BinaryIO, end: str) -> Iterator[bytes]:
    """Yield the lines that end with just that."""
    # As Latin-1, each byte is a character, and the same byte again.
    for line in io.TextIOWrapper(file, "latin-1", newline=end):
        yield line.encode("latin-1")


def _begun_record(dialect: Dialect) -> re.Pattern[bytes]:
    """Return what the beginning of a record looks like."""
    delimiter = re.escape(dialect.delimiter)
    # A quote is only where a cell begins.
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{delimiter}\r\n]*+)'
    begun = rf'(?:"[^"]*+(?:""[^"]*+)*+"?|[^"{delimiter}\r\n]*+)'
    torn_end = r"\r?" if dialect.line_end == "\r\n" else ""
    return re.compile(f"(?:{cell}{delimiter})*+{begun}{torn_end}".encode())


Encoding: TypeAlias = JsonLines | Csv
