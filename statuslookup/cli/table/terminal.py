"""What others wrote, as a terminal may show it."""

import json
import re
import unicodedata

# Invisible, they command the terminal, turn the text around, or make one text look like another.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# They are part of how people write: of emoji, and of Persian and Indian words.
_JOINERS = "\u200c\u200d"
_BYTE_ORDER_MARK = "\ufeff"
# What a table is made of, and is no command: a line's end and a tab.
_LAYOUT = re.compile("(\r?\n|\t)")


def escaped(text: str) -> str:
    """Return a text with an escape, as JSON has them, for each character that is not to be seen."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def escaped_lines(text: str) -> str:
    """Return a text of several lines, the same way; ends of lines and tabs stay."""
    return "".join(part if number % 2 else escaped(part) for number, part in enumerate(_LAYOUT.split(text)))


def for_terminal(rows: bytes, charset: str = "utf-8") -> bytes:
    """Return the bytes that show encoded rows on a terminal; ``?`` is what its charset does not have."""
    text = rows.decode("utf-8", "replace").removeprefix(_BYTE_ORDER_MARK)
    return escaped_lines(text).encode(charset, "replace")


def _escaped(character: str) -> str:
    if unicodedata.category(character) in _ESCAPED and character not in _JOINERS:
        return json.dumps(character)[1:-1]
    return character
