"""The quick ways to read items of SMSFire's, with msgspec and without, say the same as the careful one."""

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from unittest.mock import patch

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from statuslookup import CustomId, DecodeError, MessageKey, MessageStatus, Response, SMSFire
from statuslookup.providers.smsfire import answers, quick, reading
from tests.support.smsfire_exchanges import Dialogue
from tests.support.webhooks import SMSFIRE_ITEM

DATES = [
    *("-0001-11-30T00:00:00-0306", "0000-00-00 00:00:00", "2021-08-06T09:59:02", "2021-W01-1T00Z"),
    *(
        "2021-08-06T09:59:02Z",
        "9999-12-31T23:59:59.999999+23:59",
        "0001-01-01T00:00:00+23:59",
        "20210806T09Z",
    ),
]
VALUES: st.SearchStrategy[Any] = (
    st.sampled_from([*DATES, *SMSFIRE_ITEM.values(), "READ", "ACCEPTED", "accepted", "", " ", "\ud800"])
    | st.sampled_from([None, True, False, 0, 1, 2.0, -1, 5, 6, 99, "2", "007", "9" * 41, 10**40, [], {}, [1]])
    | st.integers(-2, 8)
    | st.text(max_size=6)
    | st.floats()
)
ITEMS = st.builds(
    lambda changes, gone: {
        name: value for name, value in {**SMSFIRE_ITEM, **changes}.items() if name not in gone
    },
    st.dictionaries(st.sampled_from([*SMSFIRE_ITEM, "further"]), VALUES, max_size=3),
    st.sets(st.sampled_from([*SMSFIRE_ITEM]), max_size=2),
)


def told(statuses: Iterable[object]) -> list[Any]:
    """Return all that is told, in a form that also compares the types of values."""
    return [
        {
            field.name: (type(value := getattr(one, field.name)), repr(value))
            for field in attrs.fields(type(one))
        }
        if isinstance(one, MessageStatus)
        else (type(one), str(one))
        for one in statuses
    ]


def read_by(read: Callable[[Any], MessageStatus], item: Any) -> list[Any]:
    try:
        return told([read(item)])
    except ValueError as error:
        return told([error, error.__context__])


def parsed(body: Any) -> list[Any]:
    try:
        return told(SMSFire.parse_webhook(body))
    except DecodeError as error:
        return told([error])


def found(body: bytes) -> list[Any]:
    keys: list[MessageKey] = [1, 5, CustomId("firezap0001"), CustomId("READ")]
    return told(Dialogue(keys, lambda _: Response(200, body)).outcomes.values())


def without_msgspec(call: Callable[[], list[Any]]) -> list[Any]:
    with patch.object(quick, "_reader", lambda: None):
        return call()


def carefully(call: Callable[[], list[Any]]) -> list[Any]:
    with (
        patch.object(reading, "read_documented", lambda _: None),
        patch.object(answers, "read_documented", lambda _: None),
    ):
        return without_msgspec(call)


MENDED = [
    *(
        '"id":1',
        '"id":1.0',
        '"id":1e0',
        '"id":-0',
        '"id":01',
        '"id":true',
        '"id":"1"',
        '"id":null',
        '"id":NaN',
    ),
    *(f'"id":{"9" * digits}' for digits in (19, 20, 40, 41, 500, 501, 5000)),
    *(f'"further":{value}' for value in ("9" * 501, "9" * 5000, "[" * 5000, "Infinity", '"\\ud800"', "[{}]")),
    *('"id":5,"id":1', '"id":"x","id":1', '"phone":1,"phone":"2"', '"customId":"a","customId":null'),
    *('"phone":"\\ud800"', '"phone":"\\ud83d\\ude00"', '"phone":"\x01"', '"phone":"\xff"', '"phone":"\\x"'),
    *('"phone":"\\u00e9\\/"', '"statusCode":6', '"statusCode":-1', '"statusCode":2.5', '"customId":null'),
]
"""Parts of an item, as texts that a decoder may take amiss."""
ITEM_TEXT = json.dumps(SMSFIRE_ITEM)
TEXTS = st.builds(
    lambda before, items, after: b"".join(
        [before, ",".join(f"{ITEM_TEXT[:-1]},{part}}}" for part in items).encode("latin-1"), after]
    ),
    st.sampled_from([b"[", b"[", b"\xef\xbb\xbf[", b"\xff\xfe[", b" \n[", b"\x0b[", b"[,", b"", b'{"a":']),
    st.lists(st.sampled_from(MENDED), max_size=3),
    st.sampled_from(
        [b"]", b"]", b"] ", b",]", b"]]", b"]\x00", b"", b"\xc3]", b",0]", b"," + b"0," * 9_990 + b"0]"]
    ),
)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_item_and_every_body_is_read_alike_by_all_ways(pytestconfig: pytest.Config) -> None:
    examples = pytestconfig.getoption("chaos") // 8

    @given(ITEMS | VALUES)
    @example(SMSFIRE_ITEM)
    @settings(max_examples=examples)
    def check_item(item: Any) -> None:
        assert read_by(reading.read, item) == read_by(reading.read_carefully, item)

    @given(st.lists(ITEMS | VALUES, max_size=4) | ITEMS)
    @settings(max_examples=examples // 4)
    def check_body(body: Any) -> None:
        text = json.dumps(body).encode()
        for call in (partial(parsed, body), partial(parsed, text), partial(found, text)):
            assert call() == without_msgspec(call) == carefully(call)

    @given(TEXTS)
    @settings(max_examples=examples // 4)
    def check_text(text: bytes) -> None:
        call = partial(found, text)
        assert call() == without_msgspec(call) == carefully(call)

    check_item()
    check_body()
    check_text()


@pytest.mark.parametrize("part", MENDED, ids=lambda part: part[:20])
def test_odd_texts_are_read_alike_by_all_ways(part: str) -> None:
    call = partial(found, f"[{ITEM_TEXT},{ITEM_TEXT[:-1]},{part}}}]".encode("latin-1"))
    assert call() == without_msgspec(call) == carefully(call)


def test_a_documented_item_takes_the_quick_way_and_one_that_is_not_does_not() -> None:
    assert reading.read_documented(SMSFIRE_ITEM) is not None
    assert reading.read_documented({**SMSFIRE_ITEM, "sentDate": DATES[0]}) is None


def test_msgspec_reads_a_documented_body_and_no_other() -> None:
    pytest.importorskip("msgspec", reason="without it there is one way to read")
    read = partial(quick.read_quickly, most_values=100)
    documented, further = (
        json.dumps([SMSFIRE_ITEM]).encode(),
        json.dumps([{**SMSFIRE_ITEM, "further": 1}]).encode(),
    )
    assert told(read(documented) or []) == told([reading.read(SMSFIRE_ITEM)])
    assert read(b"[]") == []
    for other in (
        further,
        ITEM_TEXT.encode(),
        documented.replace(b"2021", b"0000"),
        b"",
        b"[" + b"0," * 100 + b"0]",
    ):
        assert read(other) is None
    assert without_msgspec(lambda: [read(documented)]) == [None]
