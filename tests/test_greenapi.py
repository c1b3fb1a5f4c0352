"""GREEN-API's exchange, driven by hand: requests out, answers in, no socket and no clock."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statuslookup import (
    AuthenticationError,
    CustomId,
    DecodeError,
    DeliveryState,
    GreenAPI,
    ProviderError,
    QuotaExceededError,
    RateLimit,
    RateLimitedError,
    Receipt,
    RejectedError,
    ResponseError,
    ServerError,
    StatusLookupError,
    StatusStatistic,
    TransportError,
)
from statuslookup._wire import PLACEHOLDER, Request, Response

End: TypeAlias = StatusStatistic | StatusLookupError | None

TOKEN = "canaryd75b3a66374942c5b3c019c698abc2067e1515"
GREEN_API = GreenAPI(1101000001, TOKEN)
KEY = "BAE57C4EEC000000"
BROKEN = TransportError("the connection broke", provider="GREEN-API")


def look_up(keys: Sequence[str], *replies: Response | ProviderError) -> tuple[list[Request], dict[str, End]]:
    """Return the requests for the keys and their ends, after exactly these replies."""
    exchange = GREEN_API.exchange(keys)
    requests = [next(exchange)]
    for reply in replies:
        try:
            requests.append(
                exchange.throw(reply) if isinstance(reply, ProviderError) else exchange.send(reply)
            )
        except StopIteration as end:
            assert len(requests) == len(replies)
            return requests, end.value
    raise AssertionError("the exchange asked for more")


def end_of(reply: Response | ProviderError) -> End:
    return look_up([KEY], reply)[1][KEY]


def ok(*items: Any) -> Response:
    return Response(200, json.dumps(items).encode())


def statistic(*items: Any) -> StatusStatistic:
    end = end_of(ok(*items))
    assert isinstance(end, StatusStatistic), repr(end)
    return end


def receipt(**fields: Any) -> Receipt:
    """Return what becomes of an item with these fields."""
    (only,) = statistic({"participant": "1@c.us", **fields}).receipts
    return only


def failure(reply: Response) -> ProviderError:
    end = end_of(reply)
    assert isinstance(end, ProviderError), repr(end)
    return end


# --- requests -------------------------------------------------------------------------------------


def test_a_request_is_the_documented_one_with_a_placeholder() -> None:
    assert next(GREEN_API.exchange([KEY])) == Request(
        "GET",
        f"/waInstance1101000001/getStatusStatistic/{PLACEHOLDER}",
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
    assert PLACEHOLDER not in query
    assert not set(query) & set("#?/ ")


def test_one_request_a_key_in_their_order() -> None:
    requests, ends = look_up(["a", "b", "c"], ok(), BROKEN, ok({"participant": "1@c.us"}))
    assert [request.query for request in requests] == ["idMessage=a", "idMessage=b", "idMessage=c"]
    assert ends["a"] == StatusStatistic(id_message="a")
    assert ends["b"] is BROKEN
    assert ends["c"] == StatusStatistic(id_message="c", receipts=(Receipt(participant="1@c.us"),))


# --- receipts -------------------------------------------------------------------------------------


def test_an_empty_list_is_a_statistic_without_receipts() -> None:
    empty = statistic()
    assert empty == StatusStatistic(id_message=KEY)
    assert empty.counts == {}


def test_no_content_is_a_statistic_without_receipts() -> None:
    assert end_of(Response(204)) == StatusStatistic(id_message=KEY)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("sent", DeliveryState.SENT),
        ("delivered", DeliveryState.DELIVERED),
        ("read", DeliveryState.READ),
        ("failed", DeliveryState.FAILED),
        ("noAccount", DeliveryState.FAILED),
        ("notInGroup", DeliveryState.FAILED),
        ("yellowCard", DeliveryState.FAILED),
        ("seen", DeliveryState.UNKNOWN),
        ("READ", DeliveryState.UNKNOWN),
        ("", DeliveryState.UNKNOWN),
    ],
)
def test_a_status_has_a_state_and_keeps_its_word(status: str, state: DeliveryState) -> None:
    one = receipt(status=status)
    assert (one.status, one.state) == (status, state)


def test_a_missing_status_is_unknown() -> None:
    assert receipt() == Receipt(participant="1@c.us", state=DeliveryState.UNKNOWN)
    assert receipt(status=None) == Receipt(participant="1@c.us")


@pytest.mark.parametrize("timestamp", [1587129319, "1587129319"])
def test_a_timestamp_is_an_aware_moment_in_utc(timestamp: object) -> None:
    moment = receipt(timestamp=timestamp).timestamp
    assert moment == datetime(2020, 4, 17, 13, 15, 19, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize("fields", [{}, {"timestamp": None}, {"timestamp": ""}])
def test_a_timestamp_may_be_absent(fields: dict[str, Any]) -> None:
    assert receipt(**fields).timestamp is None


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
    bad = [{"status": "read"}, {**good, "timestamp": "soon"}, {**good, "status": ["read"]}, 7, None]
    some = statistic(good, *bad, good)
    assert len(some.receipts) == 2
    assert some.problems == (
        "participant is missing",
        "timestamp is not an integer",
        "status is not a text",
        "an item is not an object but a number",
        "an item is not an object but null",
    )


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
    end = end_of(Response(200, b'{"participant": "1@c.us"}'))
    assert end == StatusStatistic(id_message=KEY, receipts=(Receipt(participant="1@c.us"),))


# --- answers that say no --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Welcome</body></html>",
        b'[{"participant": "1@c.us", "sta',
        b"null",
        b'"ok"',
        b"7",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"message": "no such method"}',
        b'[{"status": "read"}, 7]',
    ],
)
def test_what_is_no_list_of_receipts_is_a_decode_error(body: bytes) -> None:
    error = failure(Response(200, body))
    assert type(error) is DecodeError
    assert error.provider == "GREEN-API"
    assert str(error).startswith("GREEN-API: ")


def test_problems_are_named_once() -> None:
    error = failure(ok(*[{"status": "read"}] * 1000))
    assert isinstance(error, DecodeError)
    assert error.problems == ("participant is missing",)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (302, ResponseError),
        (400, RejectedError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, RejectedError),
        (429, RateLimitedError),
        (466, QuotaExceededError),
        (499, ServerError),
        (500, ServerError),
        (502, ServerError),
    ],
)
def test_a_status_is_its_error(code: int, expected: type[ResponseError]) -> None:
    error = failure(Response(code, b"canary", 2.0))
    assert type(error) is expected
    assert error.status_code == code
    assert "canary" not in repr(vars(error)) + str(error)
    if isinstance(error, RateLimitedError):
        assert error.retry_after == 2.0


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


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"invokeStatus": 7}', b'{"invokeStatus": {"used": []}}']
)
def test_a_used_up_quota_may_be_of_other_words(body: bytes) -> None:
    error = failure(Response(466, body))
    assert isinstance(error, QuotaExceededError)
    assert (error.used, error.total, error.description) == (None, None, None)


def test_a_quotas_description_that_quotes_the_url_is_kept_without_the_token() -> None:
    error = quota_error(description=f"GET /waInstance1/getStatusStatistic/{TOKEN} and {TOKEN}")
    assert error.description == "GET /waInstance1/getStatusStatistic/*** and ***"


# --- keys, and the provider itself ----------------------------------------------------------------


@pytest.mark.parametrize("key", [KEY, "a", "x" * 256, "3EB0 C767", "é", CustomId("a")])
def test_printable_texts_are_keys(key: str) -> None:
    assert GREEN_API.check(key) == key


@pytest.mark.parametrize("key", ["", "x" * 257, "a\nb", "\x00", "a\u2028b", "\ud800", "\u200b"])
def test_other_texts_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="an idMessage is 1 to 256 printable characters"):
        GREEN_API.check(key)


@pytest.mark.parametrize("key", [7, None, b"a", True, ["a"]])
def test_what_is_no_text_is_refused(key: Any) -> None:
    with pytest.raises(TypeError, match=f"the idMessage, a str, not {type(key).__name__}"):
        GREEN_API.check(key)


def test_one_key_a_request_and_one_request_a_second() -> None:
    assert GREEN_API.max_batch == 1
    assert GREEN_API.rate_limit == RateLimit(1, per=1.0)
    assert GREEN_API.base_url == "https://api.green-api.com"
    assert GreenAPI(1, "t", rate_limit=None).rate_limit is None


def test_an_instance_is_one_budget_whatever_the_token() -> None:
    url = "https://1101.api.greenapi.com"
    budget = GreenAPI("1101000001", "other", api_url=f"{url}/", rate_limit=None).budget
    assert budget == GreenAPI(1101000001, "token", api_url=url).budget
    assert hash(budget) == hash(GreenAPI(1101000001, "token", api_url=url).budget)
    assert budget != GreenAPI(1101000002, "other", api_url=url).budget


@pytest.mark.parametrize("id_instance", ["", "seven", "-1", "1.0", "٣", "1 ", -1])
def test_an_instance_is_digits(id_instance: Any) -> None:
    with pytest.raises(ValueError, match="id_instance must be the digits"):
        GreenAPI(id_instance, "token")


@pytest.mark.parametrize("id_instance", [None, 1.0, True, b"1"])
def test_an_instance_is_a_number_or_its_text(id_instance: Any) -> None:
    with pytest.raises(TypeError, match="id_instance is an int"):
        GreenAPI(id_instance, "token")


@pytest.mark.parametrize("token", ["", "a b", "a/b", "a?b", "a%2Fb", "é", "a\n", "***", "../x"])
def test_a_token_is_letters_and_digits(token: str) -> None:
    with pytest.raises(ValueError, match=r"^api_token_instance must be GREEN-API's token alone") as caught:
        GreenAPI(1, token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("token", [None, 7, b"token"])
def test_a_token_is_a_text(token: Any) -> None:
    with pytest.raises(TypeError, match=f"api_token_instance is a str, not {type(token).__name__}"):
        GreenAPI(1, token)


def test_the_api_url_is_checked_by_its_name() -> None:
    with pytest.raises(ValueError, match="api_url must be https"):
        GreenAPI(1, "token", api_url="http://api.green-api.com")


def test_the_repr_says_which_instance() -> None:
    assert repr(GREEN_API) == (
        "<GreenAPI 1101000001 at https://api.green-api.com rate_limit=RateLimit(limit=1, per=1.0)>"
    )


def test_the_docstring_says_what_it_is_not_about() -> None:
    first_line = (GreenAPI.__doc__ or "").splitlines()[0]
    assert "story" in first_line
    assert "chat messages" in first_line


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


def check_end(end: End) -> None:
    if isinstance(end, StatusStatistic):
        assert end.id_message == KEY
        assert all(type(one.participant) is str for one in end.receipts)
        assert all(one.timestamp is None or one.timestamp.tzinfo is UTC for one in end.receipts)
        assert sum(end.counts.values()) == len(end.receipts)
    else:
        assert isinstance(end, DecodeError)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_statistic_or_a_decode_error(body: bytes) -> None:
    check_end(end_of(Response(200, body)))


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
    check_end(end_of(Response(200, body)))


@given(STATUSES, JSON | st.builds(lambda inner: {"invokeStatus": inner}, JSON))
def test_any_answer_is_an_end(status: int, value: Any) -> None:
    end = end_of(Response(status, json.dumps(value).encode()))
    assert isinstance(end, StatusStatistic | ProviderError)
