"""GREEN-API's exchange, driven by hand: requests out, responses in, no socket and no clock."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from hypothesis import example, given
from hypothesis import strategies as st

from statuslookup import (
    DecodeError,
    DeliveryState,
    ProviderError,
    Receipt,
    Request,
    Response,
    StatusStatistic,
)
from tests.support.greenapi_exchanges import (
    BROKEN,
    GREEN_API,
    KEY,
    TOKEN,
    WORDS,
    AnyOutcome,
    look_up,
    ok,
    outcome_of,
    receipt,
    statistic,
)

# --- requests -------------------------------------------------------------------------------------


def test_a_request_is_the_documented_one_with_a_placeholder() -> None:
    assert next(GREEN_API.exchange([KEY])) == Request(
        "GET",
        "/waInstance1101000001/getStatusStatistic/***",
        query=f"idMessage={KEY}",
    )


def test_the_token_is_in_no_request() -> None:
    assert TOKEN not in repr(next(GREEN_API.exchange([KEY])))
    assert GREEN_API.secret.reveal() == TOKEN


@given(st.text(min_size=1, max_size=256).filter(str.isprintable))
@example("a&idMessage=b#c?d=e+f %20/../\\;é𝄞")
@example("***")
def test_any_key_arrives_as_it_is(key: str) -> None:
    query = next(GREEN_API.exchange([GREEN_API.check(key)])).query
    assert parse_qsl(query, strict_parsing=True, keep_blank_values=True) == [("idMessage", key)]
    assert query.isascii()
    assert "***" not in query
    assert not set(query) & set("#?/ ")


def test_one_request_a_key_in_their_order() -> None:
    requests, outcomes = look_up(["a", "b", "c"], ok(), BROKEN, ok({"participant": "1@c.us"}))
    assert [request.query for request in requests] == ["idMessage=a", "idMessage=b", "idMessage=c"]
    assert outcomes["a"] == StatusStatistic(id_message="a")
    assert outcomes["b"] is BROKEN
    assert outcomes["c"] == StatusStatistic(id_message="c", receipts=(Receipt(participant="1@c.us"),))


# --- receipts -------------------------------------------------------------------------------------


def test_an_empty_list_is_a_statistic_without_receipts() -> None:
    empty = statistic()
    assert empty == StatusStatistic(id_message=KEY)
    assert empty.counts == {}


def test_no_content_is_a_statistic_without_receipts() -> None:
    assert outcome_of(Response(204)) == StatusStatistic(id_message=KEY)


def test_a_status_has_a_state_and_keeps_its_word() -> None:
    for word, state in WORDS.items():
        one = receipt(status=word)
        assert (one.status, one.state) == (word, state)


def test_a_missing_status_is_unknown() -> None:
    assert receipt() == Receipt(participant="1@c.us", state=DeliveryState.UNKNOWN)
    assert receipt(status=None) == Receipt(participant="1@c.us")


def test_a_timestamp_is_an_aware_moment_in_utc_or_absent() -> None:
    for timestamp in (1587129319, "1587129319"):
        moment = receipt(timestamp=timestamp).timestamp
        assert moment == datetime(2020, 4, 17, 13, 15, 19, tzinfo=UTC)
        assert moment.tzinfo is UTC
    assert receipt(timestamp=None).timestamp is receipt(timestamp="").timestamp is None


def test_an_array_of_participants_is_one_receipt_each() -> None:
    both = statistic({"participant": ["1@c.us", "2@c.us"], "status": "read", "timestamp": 1})
    moment = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert both.receipts == tuple(
        Receipt(participant=participant, status="read", state=DeliveryState.READ, timestamp=moment)
        for participant in ("1@c.us", "2@c.us")
    )
    assert both.problems == ()


def test_an_array_may_be_empty() -> None:
    assert statistic({"participant": [], "status": "read"}) == StatusStatistic(id_message=KEY)


def test_a_bad_participant_takes_no_other_along() -> None:
    some = statistic({"participant": ["1@c.us", None, ["x"], "2@c.us"]}, {"participant": "3@c.us"})
    assert [one.participant for one in some.receipts] == ["1@c.us", "2@c.us", "3@c.us"]
    assert some.problems == ("participant is empty", "participant is not a text")


def test_a_bad_receipt_takes_no_other_along() -> None:
    good = {"participant": "1@c.us", "status": "read"}
    bad = [{"status": "read"}, {**good, "status": ["read"]}, 7, None]
    some = statistic(good, *bad, good)
    assert len(some.receipts) == 2
    assert some.problems == (
        "participant is missing",
        "status is not a text",
        "an item is not an object but a number",
        "an item is not an object but null",
    )


def test_a_bad_timestamp_costs_no_receipt_its_state() -> None:
    timestamps: list[Any] = ["soon", 10**18, 1.5, False, []]
    for timestamp in timestamps:
        for participant in ("1@c.us", ["1@c.us"]):
            some = statistic({"participant": participant, "status": "read", "timestamp": timestamp})
            (one,) = some.receipts
            assert (one.state, one.timestamp, some.problems) == (DeliveryState.READ, None, ())
            assert [problem.split()[0] for problem in one.problems] == ["timestamp"]


def test_a_bad_status_of_many_participants_is_a_problem_of_each() -> None:
    some = statistic({"participant": ["1@c.us", "2@c.us"], "status": []}, {"participant": "3@c.us"})
    assert [one.participant for one in some.receipts] == ["3@c.us"]
    assert some.problems == ("status is not a text",)
    assert statistic({"participant": [], "status": []}) == StatusStatistic(id_message=KEY)


def test_further_fields_are_ignored_whatever_they_are() -> None:
    assert receipt(status="read", description={"a": []}, name=None) == receipt(status="read")


def test_the_counts_are_by_state() -> None:
    words = ["read", "sent", "read", "delivered", "read", "seen", "failed", "noAccount"]
    counted = statistic(*({"participant": "1@c.us", "status": word} for word in words))
    assert counted.counts == {
        DeliveryState.READ: 3,
        DeliveryState.SENT: 1,
        DeliveryState.DELIVERED: 1,
        DeliveryState.UNKNOWN: 1,
        DeliveryState.FAILED: 2,
    }


def test_one_object_is_one_receipt() -> None:
    outcome = outcome_of(Response(200, b'{"participant": "1@c.us"}'))
    assert outcome == StatusStatistic(id_message=KEY, receipts=(Receipt(participant="1@c.us"),))


# --- anything at all ------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["participant", "timestamp", "status", "description"]) | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
STATUSES = st.sampled_from([200, 200, 200, 204, 466, 429, 500])


def check_outcome(outcome: AnyOutcome) -> None:
    if isinstance(outcome, StatusStatistic):
        assert outcome.id_message == KEY
        assert all(type(one.participant) is str for one in outcome.receipts)
        assert all(one.timestamp is None or one.timestamp.tzinfo is UTC for one in outcome.receipts)
        assert sum(outcome.counts.values()) == len(outcome.receipts)
    else:
        assert isinstance(outcome, DecodeError)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_statistic_or_a_decode_error(body: bytes) -> None:
    check_outcome(outcome_of(Response(200, body)))


@given(JSON)
@example([{"participant": ["a"], "timestamp": 10**18}])
@example([{"participant": "a", "timestamp": -(10**18)}])
@example([{"participant": 10**5000}])
@example([{"participant": "\ud800", "status": "\udfff"}])
def test_any_json_is_a_statistic_or_a_decode_error(value: Any) -> None:
    try:
        body = json.dumps(value).encode()
    except ValueError:
        return  # An integer that Python does not write.
    check_outcome(outcome_of(Response(200, body)))


@given(STATUSES, JSON | st.builds(lambda inner: {"invokeStatus": inner}, JSON))
def test_any_response_is_an_outcome(status: int, value: Any) -> None:
    outcome = outcome_of(Response(status, json.dumps(value).encode()))
    assert isinstance(outcome, StatusStatistic | ProviderError)
