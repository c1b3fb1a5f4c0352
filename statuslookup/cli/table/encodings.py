"""Rows become bytes, as JSON Lines or CSV, and the way back."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from .lines import InputError
from .results import ERROR, STATE
from .rows import unique

_MORE = "more"
_OTHER_COLUMNS = "it has other columns than this check would write"
# Whole cells, each with its comma, and then the beginning of one; a quote is only where a cell begins.
_BEGUN_RECORD = re.compile(
    rb"""(?:(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+),)*+(?:"[^"]*+(?:""[^"]*+)*+"?|[^",\r\n]*+)"""
)


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
        if not isinstance(values, dict) or ERROR not in values or STATE not in values:
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
