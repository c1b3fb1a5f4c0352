"""GREEN-API's exchange, driven by hand: requests out, responses in, no socket and no clock."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statuslookup import (
    DecodeError,
    DeliveryState,
    InstanceError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    Receipt,
    RejectedError,
    Request,
    Response,
    ResponseError,
    ServerError,
    StatusStatistic,
)
from statuslookup.providers import greenapi
from tests.support.greenapi_exchanges import (
    BROKEN,
    GREEN_API,
    KEY,
    TOKEN,
    WORDS,
    AnyOutcome,
    failure,
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


# --- responses that say no ------------------------------------------------------------------------


def test_what_is_no_list_of_receipts_is_a_decode_error() -> None:
    for body in (
        *(b"", b"<html><body>Welcome</body></html>", b'[{"participant": "1@c.us", "sta', b"null", b"\xff"),
        *(b"[" * 100_000, b'{"message": "no such method"}', b'[{"status": "read"}, 7]'),
    ):
        error = failure(Response(200, body))
        assert type(error) is DecodeError, body
        assert str(error).startswith("GREEN-API: the response ")


def test_problems_are_named_once() -> None:
    error = failure(ok(*[{"status": "read"}] * 1000))
    assert isinstance(error, DecodeError)
    assert error.problems == ("participant is missing", "and 990 more")
    some = statistic(*[{"status": "read"}] * 1000, {"participant": "1@c.us"})
    assert (len(some.receipts), some.problems) == (1, ("participant is missing", "and 990 more"))
    error = failure(ok({"participant": "1@c.us"}, *[{"status": "read"}] * 9_000))
    assert "more than 1,000 receipts that cannot be read: participant is missing; and 991 more" in str(error)


def test_more_receipts_than_a_story_can_have_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {"participant": ["1@c.us"] * 9_999}
    assert len(statistic(many, {"participant": "2@c.us"}).receipts) == 10_000
    monkeypatch.setattr(greenapi, "_read_receipt", lambda _: pytest.fail("a receipt was read"))
    for items in ([many, 1, 1], [1] * 10_001):
        error = failure(ok(*items))
        assert str(error) == "GREEN-API: the response has more than 10,000 receipts"
    assert str(failure(ok(*[1] * 60_000))).endswith("more than 51,000 values")


def test_many_fields_beside_many_participants_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: a copy of all fields for each participant would take time by the square of a body's size."""
    read: list[int] = []
    whole = greenapi._read_receipt

    def counted(item: Any) -> Receipt:
        read.append(len(item))
        return whole(item)

    monkeypatch.setattr(greenapi, "_read_receipt", counted)
    others = {f"k{number}": 0 for number in range(9_000)}
    some = statistic({**others, "participant": ["1@c.us"] * 9_000, "status": "read", "timestamp": 1})
    assert {one.state for one in some.receipts} == {DeliveryState.READ}
    assert (len(some.receipts), read) == (9_000, [3])


def test_a_status_that_says_no_is_its_error() -> None:
    for code in (302, 400, 403, 404, 429, 466, 500):
        error = failure(Response(code, b"canary", 2.0))
        assert isinstance(error, ResponseError)
        assert (error.status_code, error.provider) == (code, "GREEN-API")
        assert "canary" not in repr(vars(error)) + str(error)
        assert not isinstance(error, RateLimitedError) or error.retry_after == 2.0


NOT_SERVED = [
    "instance account not authorized",
    "Instance account is expired. Renew your instance from personal area",
    "Instance is deleted",
    "Instance is not authorized",
]
STARTING = ["instance in starting process try later", "instance is starting or not authorized"]


def said(words: str) -> list[Response]:
    """Return what says something in all the ways that were seen, and in some that may come."""
    objects = [{name: words} for name in ("message", "reason", "error")]
    texts = [json.dumps(value) for value in (*objects, {"status": False, "message": words}, words)]
    return [Response(400, text.encode()) for text in (*texts, words, f"\ufeff {words.upper()}\r\n")]


@pytest.mark.parametrize("words", STARTING)
def test_an_instance_that_is_starting_is_asked_again_like_a_server_that_fails(words: str) -> None:
    for reply in said(words):
        error = failure(reply)
        assert type(error) is ServerError
        assert (error.status_code, error.is_transient, error.ends_all) == (400, True, False)
        assert "the instance is starting" in str(error)


@pytest.mark.parametrize("words", NOT_SERVED)
def test_what_is_about_the_instance_ends_everything(words: str) -> None:
    for reply in (*said(words), Response(404), Response(404, b"<html>canary</html>")):
        error = failure(reply)
        assert type(error) is InstanceError
        assert (error.status_code, error.is_transient, error.ends_all) == (reply.status_code, False, True)
        assert "the instance is " in str(error)


def test_a_400_of_other_words_is_about_the_request_and_quotes_nothing() -> None:
    for words in (
        "bad request data",
        "canary: instance is deleted",
        "Validation failed. Details: 'idMessage' instance is deleted",
        "",
    ):
        for reply in (
            *said(words),
            Response(400, b'{"message": ["instance is deleted"]}'),
            Response(400, b"[1]"),
        ):
            error = failure(reply)
            assert type(error) is RejectedError
            assert not error.ends_all
            assert "canary" not in str(error) + repr(vars(error))
            assert "will not help" not in str(error)


def quota_error(**fields: Any) -> QuotaExceededError:
    error = failure(Response(466, json.dumps({"invokeStatus": fields}).encode()))
    assert isinstance(error, QuotaExceededError)
    return error


def test_a_used_up_quota_says_how_far() -> None:
    error = quota_error(
        method="getStatusStatistic",
        used=3,
        total="2",
        status="QUOTE_EXCEEDED",
        description="Monthly quota has been exceeded",
    )
    assert (error.used, error.total) == (3, 2)
    assert error.description == "Monthly quota has been exceeded"
    assert "quota" in str(error)


ALLOWED = {"method": "getstatusstatistic", "used": 67, "total": 0, "status": "QUOTE_ALLOWED"}
USED_UP = {
    "used": 3,
    "total": 3,
    "status": "CORRESPONDENTS_QUOTE_EXCEEDED",
    "description": "only these chats",
}


def test_the_quota_that_is_told_of_is_the_one_that_is_used_up() -> None:
    both = {"invokeStatus": ALLOWED, "correspondentsStatus": USED_UP}
    exchanged = {
        "invokeStatus": {**USED_UP, "status": "QUOTE_EXCEEDED"},
        "correspondentsStatus": {**ALLOWED, "status": "CORRESPONDENTS_QUOTE_ALLOWED"},
    }
    for body in (both, dict(reversed(both.items())), exchanged, {"correspondentsStatus": USED_UP}):
        error = failure(Response(466, b"\xef\xbb\xbf" + json.dumps(body).encode()))
        assert isinstance(error, QuotaExceededError)
        assert (error.used, error.total, error.description) == (3, 3, "only these chats")
        assert str(error).endswith("(status 466): 3 of 3, 'only these chats'")


def test_one_field_of_a_quota_that_cannot_be_read_costs_no_other() -> None:
    error = quota_error(used=[], total=7, status=None, description="why")
    assert (error.used, error.total, error.description) == (None, 7, "why")
    error = quota_error(used=3, total=7, description=["why"])
    assert (error.used, error.total, error.description) == (3, 7, None)
    assert len(quota_error(description="x" * 10**6).description or "") == 1000
    assert "\x1b" not in str(quota_error(description="\x1b[31m"))


def test_a_used_up_quota_may_be_of_other_words() -> None:
    for body in (b"", b"<html>", b"[]", b"{}", b'{"invokeStatus": 7}', b'{"invokeStatus": {"used": []}}'):
        error = failure(Response(466, body))
        assert isinstance(error, QuotaExceededError)
        assert (error.used, error.total, error.description) == (None, None, None)


def test_a_quotas_description_that_quotes_the_url_is_kept_without_the_token() -> None:
    error = quota_error(description=f"GET /waInstance1/getStatusStatistic/{TOKEN} and {TOKEN}")
    assert error.description == "GET /waInstance1/getStatusStatistic/*** and ***"


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
