"""The quick way to read an item of SMSFire's and the careful one say the same of everything."""

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
from statuslookup.providers.smsfire import reading
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


def carefully(call: Callable[[], list[Any]]) -> list[Any]:
    with patch.object(reading, "_read_documented", lambda _: None):
        return call()


def test_every_item_and_every_body_is_read_alike_by_both_ways(pytestconfig: pytest.Config) -> None:
    examples = pytestconfig.getoption("chaos") // 8

    @given(ITEMS | VALUES)
    @example(SMSFIRE_ITEM)
    @settings(max_examples=examples)
    def check_item(item: Any) -> None:
        assert read_by(reading.read, item) == read_by(reading._read_carefully, item)

    @given(st.lists(ITEMS | VALUES, max_size=4) | ITEMS)
    @settings(max_examples=examples // 4)
    def check_body(body: Any) -> None:
        text = json.dumps(body).encode()
        for call in (partial(parsed, body), partial(parsed, text), partial(found, text)):
            assert call() == carefully(call)

    check_item()
    check_body()


def test_a_documented_item_takes_the_quick_way_and_one_that_is_not_does_not() -> None:
    assert reading._read_documented(SMSFIRE_ITEM) is not None
    assert reading._read_documented({**SMSFIRE_ITEM, "sentDate": DATES[0]}) is None
