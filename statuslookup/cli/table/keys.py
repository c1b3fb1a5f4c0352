"""How the keys of a provider are written in files and arguments, and how other programs dress them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Generic

from attrs import evolve, frozen

from ..._model import KeyT

# An apostrophe, which marks a text for Excel, and a formula whose result is a text, or its quotes alone.
_DRESSED = re.compile(r"'?=?\"(.*)\"|'(.*)", re.DOTALL)
# A float has decimals, which are noughts; three of them could be a thousand.
_WHOLE = re.compile(r"([0-9]+)(?:[.,]0{1,2})?")
_ROUNDED = re.compile(r"[0-9]+(?:[.,][0-9]+)?[eE]\+[0-9]+")


@frozen(kw_only=True)
class Keys(Generic[KeyT]):
    """How the keys of one provider are written; the provider itself checks them."""

    columns: Mapping[str, Callable[[str], KeyT]]
    """What reads the key from a column of that name (in lower case); the first that holds one counts."""
    shown_columns: Sequence[str]
    """The columns as people write them."""
    in_line: Callable[[str], tuple[str, KeyT]]
    """The column and the key of one key a line."""
    of_argument: Callable[[str], tuple[str, KeyT]]
    """The column and the key of an argument, where nothing but the text itself says which kind it is."""
    column_of: Callable[[KeyT], str]
    """The column of a key that came without one; an answer has it, too."""
    column_of_bad: str
    """The column of one key a line that is none."""
    is_id: Callable[[str], bool]
    """True of a text that is an id, and nothing that a person would call a column."""
    chosen: str | None = None
    """The only column that counts, if somebody said which."""

    def only(self, column: str) -> "Keys[KeyT]":
        """Return these keys for a table where they are in that column, whatever it is called."""
        name = plain(column)
        read = self.columns.get(name, lambda text: self.in_line(text)[1])
        return evolve(self, columns={name: read}, shown_columns=(column,), chosen=column)

    def named_in(self, names: Sequence[str]) -> list[str]:
        """Return those of the names that name a key, the ones that count first at the beginning."""
        if self.chosen is not None and self.chosen in names:
            return [self.chosen]
        places = {column: place for place, column in enumerate(self.columns)}
        named = [name for name in names if plain(name) in places]
        return sorted(named, key=lambda name: places[plain(name)])

    def read(self, column: str, text: str) -> KeyT:
        """Return the key, or raise a ``ValueError`` that says what is wrong with it."""
        return self.columns[plain(column)](text)


def plain(name: str) -> str:
    """Return the name of a column as it is compared."""
    return name.strip().lower()


def undressed(text: str) -> str:
    """Return a key without what another program wrote around it, to have it taken for a text."""
    match = _DRESSED.fullmatch(text)
    return text if match is None else (match[1] or match[2] or "").strip()


def rounded(text: str) -> ValueError:
    """Return what is wrong with a number such as ``1.23457E+11``."""
    return ValueError(f"a spreadsheet has rounded it, the digits are lost: {text[:60]!r}")


def whole_number(text: str) -> int | None:
    """Return the number, if the text is one without a sign, also as ``42.0``; ``None`` if it is none.

    One that was rounded is a ``ValueError``.
    """
    text = undressed(text)
    match = _WHOLE.fullmatch(text)
    if match is None:
        if _ROUNDED.fullmatch(text):
            raise rounded(text)
        return None
    if len(text) > 1000:
        raise ValueError(f"no id has {len(text):,} digits")
    return int(match[1])
