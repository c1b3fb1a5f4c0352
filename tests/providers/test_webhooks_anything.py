"""Whatever a webhook may be is a list of statuses, or a ``DecodeError``."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from statuslookup import (
    DecodeError,
    GreenAPI,
    MessageStatus,
    SMSFire,
    StatusStatistic,
)
from tests.support.webhooks import GREEN_API_ITEM, SMSFIRE_ITEM

NAMES = st.sampled_from([*SMSFIRE_ITEM, *GREEN_API_ITEM, "description"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["outgoingMessageStatus", "read", "DELIVERED", 10**18, "2021-08-06T09:59:02-0300"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=12,
)
NEAR_ONES = st.builds(
    lambda item, changes: {**item, **changes},
    st.sampled_from([SMSFIRE_ITEM, GREEN_API_ITEM]),
    st.dictionaries(NAMES, JSON, max_size=3),
)
CUT_ONES = st.builds(
    lambda item, start, end: json.dumps(item).encode()[start : start + end],
    st.sampled_from([SMSFIRE_ITEM, GREEN_API_ITEM]),
    st.integers(0, 30),
    st.integers(0, 400),
)


def check(body: Any) -> None:
    for parse, expected in (
        (SMSFire.parse_webhook, MessageStatus),
        (GreenAPI.parse_webhook, StatusStatistic),
    ):
        try:
            statuses: list[Any] = parse(body)
        except DecodeError:
            continue
        assert type(statuses) is list
        assert all(type(status) is expected for status in statuses)


@given(st.binary(max_size=200) | CUT_ONES)
def test_any_bytes_are_a_list_or_a_decode_error(body: bytes) -> None:
    check(body)


@given(st.text(max_size=200))
@example("[" * 100_000)
@example('{"id":' * 100_000)
@example('{"id": ' + "9" * 5000 + "}")
@example('{"id": 1e999}')
@example('{"id": "' + "9" * 41 + '"}')
@example("\ufeff[]")
def test_any_text_is_a_list_or_a_decode_error(body: str) -> None:
    check(body)


@given(JSON | NEAR_ONES | st.lists(NEAR_ONES, max_size=3))
@example({"id": 10**5000})
@example({**GREEN_API_ITEM, "chatId": 10**5000})
@example({**GREEN_API_ITEM, "chatId": "\ud800", "status": "\udfff"})
@example({**SMSFIRE_ITEM, "statusDate": "0001-01-01T00:00:00+2359"})
def test_any_json_is_a_list_or_a_decode_error(body: Any) -> None:
    check(body)
    try:
        text = json.dumps(body)
    except ValueError:
        return  # An integer that Python does not write.
    check(text)
