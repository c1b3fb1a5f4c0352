"""What the output of a check is like: its name and the input say so."""

import codecs
import os
from collections.abc import Sequence
from typing import Any, Literal

from attrs import evolve

from .dialect import Dialect
from .encodings import Csv, Encoding, JsonLines
from .reading import Opened
from .rows import Input

_TABS = (".tsv", ".tab")
_REFUSED = {
    **dict.fromkeys(
        (".xlsx", ".xls", ".ods"), "spreadsheets are not written; name a .csv file, which they can open"
    ),
    ".json": "JSON is written one object a line; name a .jsonl file ('jq -s .' makes one document of it)",
    **dict.fromkeys((".gz", ".zip"), "nothing is written packed; leave that ending out"),
}


def refused(name: str) -> str | None:
    """Return what is wrong with the name of an output, ``None`` if nothing is."""
    return _REFUSED.get(_ending_of(name))


def encoding_of(
    source: Input[Any],
    opened: Opened,
    names: Sequence[str],
    *,
    output: str = "",
    format: Literal["csv", "jsonl"] | None = None,
    is_safe: bool = False,
) -> Encoding:
    """Return how rows with these names are written to the output, nothing for stdout."""
    ending = _ending_of(output)
    if format == "jsonl" or (format is None and ending not in (".csv", *_TABS)):
        return JsonLines()
    dialect = _dialect_of(source, ending, named=_ending_of(opened.name))
    if output and not dialect.has_mark and _is_for_a_mark(source, opened):
        dialect = evolve(dialect, has_mark=True)
    return Csv(names, dialect, more=source.format == "jsonl", is_safe=is_safe)


def _ending_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _dialect_of(source: Input[Any], ending: str, *, named: str) -> Dialect:
    """Return the dialect of the input, but for a delimiter that would belie the name of the output."""
    delimiter = source.dialect.delimiter
    if ending in _TABS:
        delimiter = "\t"
    elif ending == ".csv" and delimiter == "\t" and named != ".csv":
        delimiter = ","
    return evolve(source.dialect, delimiter=delimiter)


def _is_for_a_mark(source: Input[Any], opened: Opened) -> bool:
    """True if what wrote the input, and will open the output, takes UTF-8 for that only with its mark."""
    encoding, is_utf8 = source.lines.encoding, opened.is_utf8()
    if encoding is not None:
        return codecs.lookup(encoding).name not in ("utf-8", "ascii")
    return not (source.lines.is_utf8_ahead() if is_utf8 is None else is_utf8)
