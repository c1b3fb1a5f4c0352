"""JSON: strict first, then the two deviations that the providers' documents show, and nothing else."""

import json
import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NoReturn

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from statuslookup.providers import date, decode, fields, integer, reader, required, text, unix_time
from tests.support.refusals import not_refused, refusal

MEGABYTE = 1_000_000


def values(characters: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Return JSON as json.loads gives it, but no NaN, which is not equal to itself."""
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**30), 10**30)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(characters, max_size=20)
        | st.text('01,]} "\\[{', max_size=20),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
        max_leaves=20,
    )


VALUES = values(st.characters())

TOKENS = [
    *("0", "-0", "10", "1e05", "1.50", ",", ":", " ", "[]", "{}", "null", "true"),
    *('"a"', '"01,]"', '"\\""', '"\\\\"'),
]


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def strictly(body: str) -> Any:
    return json.loads(body, parse_constant=_refuse)


def loosen(value: Any, chance: random.Random) -> str:
    """Write a value with leading zeros, trailing commas and odd white space, here and there."""

    def gap() -> str:
        return chance.choice(["", "", " ", "\n\t ", "\r\n"])

    def comma(elements: list[str]) -> str:
        return gap() + "," + gap() if elements and chance.random() < 0.5 else gap()

    if isinstance(value, list):
        elements = [gap() + loosen(element, chance) for element in value]
        return "[" + ",".join(elements) + comma(elements) + "]"
    if isinstance(value, dict):
        elements = [
            f"{gap()}{json.dumps(key)}{gap()}:{gap()}{loosen(element, chance)}"
            for key, element in value.items()
        ]
        return "{" + ",".join(elements) + comma(elements) + "}"
    if type(value) is int and value >= 0:
        return "0" * chance.choice([0, 0, 1, 5]) + str(value)
    return json.dumps(value, ensure_ascii=chance.random() < 0.5)


# --- what is read ---------------------------------------------------------------------------------


@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_strict_json_is_read_as_the_standard_library_reads_it(
    value: Any, ensure_ascii: bool, indent: int | str | None
) -> None:
    body = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
    expected = json.loads(body)
    assert repr(decode(body)) == repr(expected)
    assert repr(decode(body.encode(errors="replace"))) == repr(json.loads(body.encode(errors="replace")))


@given(st.lists(st.sampled_from(TOKENS), max_size=5), st.sampled_from(["", "[]", "{}"]))
def test_whatever_is_strict_json_is_read_the_same(tokens: list[str], around: str) -> None:
    body = "".join(tokens).join(around) if around else "".join(tokens)
    try:
        expected = strictly(body)
    except ValueError:
        return
    assert repr(decode(body)) == repr(expected)


@given(values(st.characters(codec="utf-8")), st.integers())
def test_leading_zeros_and_trailing_commas_change_nothing(value: Any, seed: int) -> None:
    loose = loosen(value, random.Random(seed))
    assert repr(decode(loose)) == repr(value)
    assert repr(decode(loose.encode())) == repr(value)


@given(st.text('01,]} "\\[{:', max_size=30), st.text('01,]} "\\[{:', max_size=30))
def test_strings_are_untouched_beside_what_is_mended(key: str, value: str) -> None:
    body = f"{{{json.dumps(key)}: [{json.dumps(value)}, 0001,],}}"
    assert decode(body) == {key: [value, 1]}


def test_the_two_deviations() -> None:
    values: dict[str, Any] = {
        "000001": 1,
        "00": 0,
        "[00,000,01,10,0]": [0, 0, 1, 10, 0],
        '{"a":007}': {"a": 7},
        "[1,]": [1],
        "[1 , \n ]": [1],
        '{"a":1,}': {"a": 1},
        '[{"a":[],},]': [{"a": []}],
        '["01,]", 01,]': ["01,]", 1],
        r'["\",]01", 01]': ['",]01', 1],
        r'["\\", 01]': ["\\", 1],
        "[1.50, -0, 0.0, 1e05, 01]": [1.5, 0, 0.0, 1e5, 1],
    }
    assert {body: decode(body) for body in values} == values


# --- what is refused ------------------------------------------------------------------------------


def test_everything_else_is_refused() -> None:
    bodies = [
        *("", " ", ",", "[", "]", "{", '"', "'a'", "nul", "None", "True", "<html></html>", "a=1", "[1 2]"),
        *("[1,,]", "[,1]", "[1,,2]", '{"a"}', '{"a":}', '{"a":,}', "{a:1}", '{"a":1,,}', "{01:1}", "[]]"),
        *("[],", "[,]", "{,}", "[ , ]", "[01,[,]]", "-01", "+1", "01.5", "01e5", "0x1", "0o1", "1_000"),
        *("00.5", "01-1", "1.", ".5", "0 1", "[0 01]", "//a\n1", "/**/1", '"\t"', '"\\x"', '["a" "b",]'),
        *(
            "\ufeff\ufeff[]",
            "[]\ufeff",
            '{"a":1,}x',
            '"a\\',
            '["a,]',
            "[1,\u00a0]",
            "[\u00a01]",
            "\u0660\u0661",
            "[0\u0661]",
        ),
        "[1\u0663,]",
    ]
    assert not_refused(decode, bodies, "ValueError: not JSON at character ") == []
    for constant in ("NaN", "Infinity", "-Infinity"):
        assert refusal(decode, constant) == f"ValueError: {constant} is not JSON"
    assert refusal(decode, "[01,NaN]").startswith("ValueError: not JSON at character ")


def test_one_byte_order_mark_is_no_part_of_the_text() -> None:
    for body in ("\ufeff[007,]", b"\xef\xbb\xbf[007,]", bytearray(b"\xef\xbb\xbf[7]"), memoryview(b"[7]")):
        assert decode(body) == [7]
    assert decode(b'"\xef\xbb\xbf"') == "\ufeff"


def test_what_is_not_utf_8_is_refused() -> None:
    bodies = [b"\xff", b'"\xe9"', b"\xef\xbb", "[]".encode("utf-16"), b'"\xed\xa0\x80"']
    assert [refusal(decode, body) for body in bodies] == ["ValueError: not UTF-8"] * len(bodies)


@pytest.mark.parametrize("opening", ["[", '{"a":', "[[0001,", '[{"a":'])
def test_deep_nesting_is_refused(opening: str) -> None:
    with pytest.raises(ValueError, match=r"^nested too deeply$|^not JSON at character \d+$"):
        decode(opening * 30_000)


@given(
    st.binary(max_size=60) | st.text(max_size=60) | st.text('[]{},:"\\ 0123456789-+.eENaInfity', max_size=40)
)
def test_any_input_is_a_value_or_a_value_error_without_a_trace(body: bytes | str) -> None:
    problem: ValueError | None = None
    try:
        decode(body)
    except ValueError as error:
        problem = error
    assert type(problem) in (ValueError, type(None))
    assert problem is None or problem.__suppress_context__ or problem.__context__ is None


@given(st.text(min_size=3, max_size=40))
def test_the_text_of_an_error_does_not_quote_the_body(noise: str) -> None:
    body = f"canary{noise}"
    with pytest.raises(ValueError, match="not JSON") as caught:
        decode(body)
    assert "canary" not in str(caught.value)


# --- time -----------------------------------------------------------------------------------------

HOSTILE: dict[str, Callable[[int], str]] = {
    "zeros": lambda size: "0" * size,
    "zeros and a letter": lambda size: "0" * size + "x",
    "zeros and ones": lambda size: "0" * (size // 2) + "1" * (size // 2) + "x",
    "zero one": lambda size: "[" + "01" * (size // 2) + "]",
    "many zeros": lambda size: "[" + "00 " * (size // 3) + "]",
    "commas": lambda size: "[" + "," * size + "]",
    "commas and spaces": lambda size: "[1" + ", " * (size // 2) + "]",
    "one comma and spaces": lambda size: "[1," + " " * size + "x",
    "many commas and many spaces": lambda size: ("," + " " * 1000) * (size // 1001),
    "brackets and spaces": lambda size: ("[" + " " * 1000) * (size // 1001),
    "quotes": lambda size: '"' * size,
    "an open string": lambda size: '[01,"' + "a" * size,
    "escaped quotes": lambda size: '[01,"' + '\\"' * (size // 2),
    "backslashes": lambda size: '[01,"' + "\\" * (size + 1),
    "quote backslash": lambda size: '"\\' * (size // 2),
    "digits": lambda size: "[0" + "1" * size + "]",
    "dots": lambda size: "0." * (size // 2),
    "closing brackets": lambda size: ",]" * (size // 2),
    "good and bad": lambda size: "[" + '{"id":0001,"a":"b,]",},' * (size // 23) + "x]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_takes_linear_time(name: str) -> None:
    body = HOSTILE[name](MEGABYTE)
    assert MEGABYTE * 0.9 <= len(body) <= MEGABYTE * 1.1
    started = time.process_time()
    try:
        decode(body, most_values=MEGABYTE)
    except ValueError:
        pass
    # A quadratic search would take minutes; the linear one takes some hundredths of a second.
    assert time.process_time() - started < 2.0


def test_the_length_of_an_integer_is_bounded() -> None:
    assert decode("[" + "9" * 500 + ", 1" + "0" * 499 + "]") == [10**500 - 1, 10**499]
    for body in ("1" * 501, "-" + "1" * 500, "[01, " + "1" * 501 + "]"):
        assert not_refused(decode, [body], "ValueError: ") == []


def test_a_long_text_is_mended_to_its_end() -> None:
    """A match has 10,000 parts at most, wherever that leaves it."""
    for parts in range(9_996, 10_005):
        before = [1] * (parts // 2)
        text = f"[{'1,' * (parts // 2)}{' ' * (parts % 2)}007, 0{',' * (parts % 2)}]"
        assert decode(text) == [*before, 7, 0]


def test_the_work_on_a_text_is_bounded_by_the_values_that_it_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted, because seconds depend on the machine."""
    mended: list[str] = []
    whole = fields._mended

    def counted(match: re.Match[str]) -> str:
        mended.append(match[0])
        return whole(match)

    monkeypatch.setattr(fields, "_mended", counted)
    for name, hostile in HOSTILE.items():
        mended.clear()
        try:
            decode(hostile(MEGABYTE), most_values=1000)
        except ValueError:
            pass
        assert len(mended) <= 500 + MEGABYTE // 10_000, name


# --- readings -------------------------------------------------------------------------------------


def test_an_integer_is_a_number_or_its_digits() -> None:
    good = {1: 1, 0: 0, -1: -1, "1": 1, "0001": 1, "9" * 40: 10**40 - 1, None: None, "": None}
    assert {value: integer(value) for value in good} == good
    texts = ["-1", "+1", " 1", "1 ", "1.0", "x", "\u0661", "²", "9" * 41]
    others = [*texts, True, False, 1.0, 1.5, [], {}, [1]]
    assert not_refused(integer, others, "ValueError: is not an integer") == []


def test_a_text_is_a_string_or_an_integer() -> None:
    good = {"a": "a", "": "", 55: "55", -1: "-1", None: None, "\ud800": "\ud800"}
    assert {value: text(value) for value in good} == good
    assert not_refused(text, [True, 1.5, [], {}, ["a"]], "ValueError: is not a text") == []


def test_a_unix_time_is_a_moment_in_utc() -> None:
    moment = datetime(2020, 4, 17, 13, 15, 19, tzinfo=UTC)
    assert (unix_time(1587129319), unix_time("1587129319")) == (moment, moment)
    assert (unix_time(None), unix_time("")) == (None, None)
    assert not_refused(unix_time, ["soon", 1.5, True], "ValueError: is not an integer") == []
    assert not_refused(unix_time, [10**18, -(10**18), 10**400], "ValueError: is not a UNIX time") == []


BRASILIA = timezone(timedelta(hours=-3))


def test_a_date_has_an_offset() -> None:
    good = {
        "2021-08-06T09:59:02-0300": datetime(2021, 8, 6, 9, 59, 2, tzinfo=BRASILIA),
        "2021-08-06T09:59:02-03:00": datetime(2021, 8, 6, 9, 59, 2, tzinfo=BRASILIA),
        "2021-08-06T12:59:02Z": datetime(2021, 8, 6, 12, 59, 2, tzinfo=UTC),
        "2021-08-06 12:59:02.5+0000": datetime(2021, 8, 6, 12, 59, 2, 500_000, tzinfo=UTC),
        "0001-01-01T00:00:00+23:59": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59))),
    }
    assert {value: repr(date(value)) for value in good} == {value: repr(good[value]) for value in good}
    assert (date(""), date(None)) == (None, None)


def test_nothing_else_is_a_date() -> None:
    texts = [
        *("2021-08-06T09:59:02", "2021-08-06", "today", "2021-13-01T00:00:00Z", "0000-01-01T00:00:00Z"),
        *("2021-08-06T09:59:02+2400", "\ud800", " ", "\x00", "2021-08-06T25:00:00Z"),
    ]
    expected = "ValueError: is not an ISO 8601 date with an offset"
    assert not_refused(date, [*texts, 1628254742, 1.5, True, False, [], {}], expected) == []


@given(st.text() | VALUES)
def test_a_reading_gives_a_value_or_a_value_error(value: Any) -> None:
    for read in (integer, text, date, unix_time, required(integer), required(text), required(date)):
        said = refusal(read, value, None)
        assert re.fullmatch(r"(ValueError: is (empty|not an? [\w ]+))?", said)


# --- a reader -------------------------------------------------------------------------------------


@frozen
class Thing:
    number: int
    name: str | None = None


read_thing = reader(Thing, {"number": ("theNumber", required(integer)), "name": ("theName", text)})


def test_a_reader_takes_the_wire_names_and_ignores_the_rest() -> None:
    assert read_thing({"theNumber": "0012", "theName": 5, "other": object(), "number": 9}) == Thing(12, "5")
    assert read_thing({"theNumber": 1}) == Thing(1)
    assert read_thing({"theNumber": 1, "theName": None}) == Thing(1)


def test_a_reader_says_each_problem_and_quotes_no_value() -> None:
    problems: list[tuple[Any, str]] = [
        ({}, "theNumber is missing"),
        ({"theNumber": None}, "theNumber is empty"),
        ({"theNumber": ""}, "theNumber is empty"),
        ({"theNumber": "x"}, "theNumber is not an integer"),
        ({"theNumber": 1, "theName": []}, "theName is not a text"),
        ({"theNumber": True, "theName": {}}, "theNumber is not an integer, theName is not a text"),
        ({"theName": 1.5}, "theNumber is missing, theName is not a text"),
        (None, "an item is not an object but null"),
        ([], "an item is not an object but an array"),
        ("theNumber", "an item is not an object but a string"),
        (1, "an item is not an object but a number"),
        (1.5, "an item is not an object but a number"),
        (True, "an item is not an object but a boolean"),
    ]
    said = [(item, refusal(read_thing, item)) for item, _ in problems]
    assert said == [(item, f"ValueError: {problem}") for item, problem in problems]
    with pytest.raises(ValueError, match="missing") as caught:
        read_thing({})
    assert caught.value.__context__ is None


@frozen
class Tolerant:
    number: int
    name: str | None = None
    size: int = 7
    problems: tuple[str, ...] = ()


read_tolerant = reader(
    Tolerant,
    {"number": ("theNumber", required(integer)), "name": ("theName", text), "size": ("theSize", integer)},
    spare={"name", "size"},
)


def test_a_reader_spares_what_matters_less_and_says_so() -> None:
    assert read_tolerant({"theNumber": 1, "theName": "a", "theSize": 2}) == Tolerant(1, "a", 2)
    assert read_tolerant({"theNumber": 1, "theName": [], "theSize": 2}) == Tolerant(
        1, None, 2, problems=("theName is not a text",)
    )
    assert read_tolerant({"theNumber": 1, "theName": [], "theSize": "x"}) == Tolerant(
        1, problems=("theName is not a text", "theSize is not an integer")
    )
    assert (
        refusal(read_tolerant, {"theName": []}) == "ValueError: theNumber is missing, theName is not a text"
    )


@given(VALUES | st.dictionaries(st.sampled_from(["theNumber", "theName", "x"]), VALUES))
def test_a_reader_gives_a_value_or_a_problem(item: Any) -> None:
    assert re.fullmatch(r"(ValueError: .+)?", refusal(read_thing, item))
