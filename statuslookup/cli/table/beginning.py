"""What the first lines say of an input: its format, its delimiter, and which column has the keys."""

import csv
import io
import re
from itertools import islice
from typing import Any, Generic, Literal, TypeAlias

from attrs import frozen

from ..._model import KeyT
from .cells import MOST_OPEN_CHARACTERS
from .keys import Keys
from .lines import Lines
from .unpacking import InputError

InputFormat: TypeAlias = Literal["csv", "jsonl", "keys"]

_DELIMITERS = ",;\t"
_HINT = re.compile(r'"?sep=([!#-/:-@\[-`{-~\t])"?')


@frozen(kw_only=True)
class Beginning(Generic[KeyT]):
    """What was found at the beginning of an input."""

    line: str
    """The first line that holds something; nothing if there is none."""
    format: InputFormat
    keys: Keys[KeyT]
    """How its keys are written."""
    delimiter: str
    header_taken: str | None
    """The first line, if it was taken for a header although it names no key column."""


def begin_of(lines: Lines, keys: Keys[KeyT], format: InputFormat | None, name: str) -> Beginning[KeyT]:
    """Read the first line, and return what it says; ``format`` is known already, or ``None``.

    What is nothing that a check can read is an ``InputError``.
    """
    # Excel's own line, sep=;, is not written again: behind it, Excel does not see a byte order mark.
    lines_with_text = (line for line in lines if line.strip())
    first = next(lines_with_text, "")
    hint = _HINT.fullmatch(first.rstrip("\r\n")) if format in (None, "csv") else None
    if hint is not None:
        first, format = next(lines_with_text, ""), "csv"
    _refuse_no_table(first)
    delimiter = hint[1] if hint is not None else _delimiter_of(_whole_header(first, lines), keys)
    header_taken = None
    if delimiter is None and format in (None, "csv") and _is_header(first, lines, keys):
        header_taken = first.strip().strip('"')
        keys = keys.only(header_taken)
    format = format or _format_of(first, name, keys, delimiter)
    if format != "csv":
        delimiter = ","
    return Beginning(
        line=first,
        format=format,
        keys=keys,
        delimiter=delimiter or max(_DELIMITERS, key=first.count),
        header_taken=header_taken if format == "csv" else None,
    )


def _refuse_no_table(first: str) -> None:
    """Raise an ``InputError`` if the first line shows that it is nothing that a check can read."""
    begin = first.lstrip()
    if begin.startswith("["):
        raise InputError("it is a JSON array; write one object a line (jq -c '.[]' does that)")
    if begin.rstrip() == "{":
        raise InputError("it is JSON over several lines; write one object a line (jq -c . does that)")
    if begin.startswith("<"):
        raise InputError("it is HTML or XML, whatever its name says; save it as CSV")
    if "\0" in first:
        raise InputError("it is no text, or UTF-16 without a mark, which --encoding utf-16-le reads")


def _format_of(first: str, name: str, keys: Keys[Any], delimiter: str | None) -> InputFormat:
    ending = name.lower().removesuffix(".gz").rpartition(".")[2]
    if ending in ("jsonl", "ndjson") or first.lstrip().startswith("{"):
        return "jsonl"
    if ending in ("csv", "tsv", "tab") or delimiter or keys.chosen is not None:
        return "csv"
    looks_like_cells = any(character in first for character in _DELIMITERS + '"')
    if looks_like_cells and ending != "txt" and not keys.is_id(first.strip()):
        return "csv"
    return "keys"


def _whole_header(first: str, lines: Lines) -> str:
    """Return the first line, and those behind it that belong to its names: a quoted one may have several."""
    ahead, parts, quotes, size = lines.ahead(), [first], first.count('"'), 0
    while quotes % 2 and size < MOST_OPEN_CHARACTERS and (line := next(ahead, None)) is not None:
        parts.append(line)
        quotes += line.count('"')
        size += len(line)
    return "".join(parts)


def _delimiter_of(header: str, keys: Keys[Any]) -> str | None:
    """Return the delimiter with which the header names a key column, and most others."""
    columns: dict[str, int] = {}
    for delimiter in _DELIMITERS + "|":
        try:
            names = next(csv.reader(io.StringIO(header, newline=""), delimiter=delimiter, strict=True), [])
        except csv.Error:
            continue
        if keys.named_in(names):
            columns[delimiter] = len(names)
    return max(columns, key=columns.__getitem__, default=None)


def _is_header(first: str, lines: Lines, keys: Keys[Any]) -> bool:
    """True if the first line is a name by itself, and all lines below it that have come are ids."""
    name = first.strip().strip('"')
    if (
        keys.chosen is not None
        or not name
        or any(map(str.isdigit, name))
        or set(name) & set(_DELIMITERS + '{"')
    ):
        return False
    come = islice(lines.ahead(), max(lines.come, 1))
    below = [text for line in come if (text := line.strip().strip('"'))]
    return bool(below) and all(map(keys.is_id, below))
