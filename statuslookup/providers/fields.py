"""JSON as the providers write it, and how values are read from it."""

import json
import re
from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar, cast

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

ValueT = TypeVar("ValueT", bound=attrs.AttrsInstance)
Reading = Callable[[Any, object], Any]
"""Makes a field's value from JSON, or raises ``ValueError``; ``reader`` passes the field's type as well."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _checked_integer(digits: str) -> int:
    # Reading one takes time by the square of its length.
    if len(digits) > _MOST_DIGITS:
        raise ValueError("an integer has too many digits")
    return int(digits)


_MOST_DIGITS = 500
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
# It calls a function for each integer, so only a text that may have one that is too long is worth it: of so
# many digits in a row, every 50th character is one, ten times in a row.
_careful_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_checked_integer)
_EVERY = 50
_MAYBE_TOO_LONG = re.compile(f"[0-9]{{{_MOST_DIGITS // _EVERY}}}")

# All that is strict JSON, up to what the providers' own documents show beside it: zeros that lead an integer,
# and a comma that trails the last element. Each character has one way to be kept, and what comes after the
# group always matches, so that nothing is given back, and the search stays linear. The group is not
# possessive, because Python up to 3.11.4 repeats such a group wrongly (Debian 12 has 3.11.2); it has an end,
# because each repetition costs memory.
_LENIENT = re.compile(
    r"""
    ( (?:
        [^"A-Za-z0-9_.+\-,\[{]++
      # A word or a number, but no zeros that lead an integer.
      | (?!0[0-9]++(?![A-Za-z_.]))[A-Za-z0-9_.+-]++
      | "[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)      # a text, also one that never ends
      | ,(?!\s*+[\]}])
      | [\[{](?:\s*+,)?                            # a comma without an element before it is no JSON
    ){0,10000} )
    ( ,(?=\s*+[\]}]) | 0[0-9]++(?![A-Za-z_.]) | )
    """,
    re.DOTALL | re.VERBOSE,
)

MOST_VALUES = 100_000


def decode(body: bytes | bytearray | memoryview | str, *, most_values: int = MOST_VALUES) -> Any:
    """Return the value of a JSON text, which may have leading zeros and trailing commas.

    One byte order mark before it is dropped. Strict JSON is tried first. Anything else raises
    ``ValueError``, whose text does not quote the body; so does a text with more than ``most_values`` values,
    before any of it is read.
    """
    raw = body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body)
    try:
        text = body if isinstance(body, str) else raw.decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    text = text.removeprefix("\ufeff")
    if has_more_values(raw, most_values):
        raise ValueError(f"more than {most_values:,} values")
    decoder = _careful_decoder if _MAYBE_TOO_LONG.search(text[::_EVERY]) else _decoder
    try:
        return decoder.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        problem = (
            f"not JSON at character {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)
        )
    # The documents show fewer than one deviation for two values. A match without one has 10,000 parts.
    most = max(10, most_values // 2) + len(text) // 10_000
    mended = _LENIENT.sub(_mended, text, count=most)
    try:
        return _careful_decoder.decode(mended)
    except (ValueError, RecursionError):
        raise ValueError(problem) from None


def has_more_values(raw: bytes, most_values: int) -> bool:
    """Tell whether a JSON text has more values than that, before any of it is read."""
    # All marks in one go, which settles it for nearly every text.
    if len(raw) - len(raw.translate(None, b',[{"')) <= most_values:
        return False
    # A comma or a bracket goes before each value but the first; a name and a text have two quotes each.
    return sum(map(raw.count, (b",", b"[", b"{"))) > most_values or raw.count(b'"') > 4 * most_values


def _mended(match: re.Match[str]) -> str:
    kept: str = match[1]
    return kept + (match[2].lstrip("0") or "0") if match[2].startswith("0") else kept


def integer(value: Any, _: object = None) -> int | None:
    """Return an integer that is written as a number, or as digits in a string; "" and null are ``None``."""
    if type(value) is int:
        return value
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 40:
        return int(value)
    raise ValueError("is not an integer")


def text(value: Any, _: object = None) -> str | None:
    """Return a text; an integer is taken as its digits, null as ``None``."""
    if type(value) is str or value is None:
        return value
    if type(value) is int:
        return str(value)
    raise ValueError("is not a text")


def date(value: Any, _: object = None) -> datetime | None:
    """Return an ISO 8601 date with an offset; "" and null are ``None``."""
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("is not an ISO 8601 date with an offset")
    return moment


def unix_time(value: Any, _: object = None) -> datetime | None:
    """Return the date of a number of seconds since 1970 (UTC); "" and null are ``None``."""
    seconds = integer(value)
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ArithmeticError, OSError, ValueError):
        raise ValueError("is not a UNIX time") from None


def required(read: Reading) -> Reading:
    """Return a reading that refuses what ``read`` takes for absent."""

    def strict(value: Any, _: object = None) -> Any:
        found = read(value, _)
        if found is None:
            raise ValueError("is empty")
        return found

    return strict


def reader(
    cls: type[ValueT], fields: Mapping[str, tuple[str, Reading]], *, spare: Container[str] = ()
) -> Callable[[Any], ValueT]:
    """Return a function that makes a ``cls`` from a JSON object, or says in a ``ValueError`` why it cannot.

    ``fields`` gives the wire name and the reading of each attribute. What the object has beyond them is
    ignored; what it lacks takes the attribute's default. So does what cannot be read of the attributes that
    are to ``spare``, and the attribute ``problems`` of ``cls`` says so, one line each.
    """
    # cattrs' own validation in detail would make every good item half as slow again. A bad one is read a
    # second time instead, field by field.
    converter = Converter(detailed_validation=False)
    overrides = {name: override(rename=wire, struct_hook=read) for name, (wire, read) in fields.items()}
    for attribute in attrs.fields(cls):
        overrides.setdefault(attribute.name, override(omit=True))
    structure = make_dict_structure_fn(cls, converter, **overrides)  # type: ignore[arg-type] # cattrs types its own options and the overrides as one
    make = cast("Callable[..., ValueT]", cls)
    mandatory = {attribute.name for attribute in attrs.fields(cls) if attribute.default is attrs.NOTHING}

    def read_item(item: Any) -> ValueT:
        try:
            return structure(item, cls)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            pass
        # Out here, what it raises has no context.
        return read_again(item)

    def read_again(item: Any) -> ValueT:
        if not isinstance(item, dict):
            kind = _JSON_NAMES.get(type(item), "something else")
            raise ValueError(f"an item is not an object but {kind}")
        values: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for name, (wire, read) in fields.items():
            if wire in item:
                try:
                    values[name] = read(item[wire], None)
                except (ArithmeticError, TypeError, ValueError) as error:
                    problems[name] = f"{wire} {error}"
            elif name in mandatory:
                problems[name] = f"{wire} is missing"
        if any(name not in spare for name in problems):
            raise ValueError(", ".join(problems.values()))
        return make(**values, problems=tuple(problems.values()))

    return read_item


_JSON_NAMES = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
