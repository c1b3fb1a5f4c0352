"""What GREEN-API's exchange makes of responses that say no, and of those that say nothing readable."""

import json
from typing import Any

import pytest

from statuslookup import (
    DecodeError,
    DeliveryState,
    InstanceError,
    QuotaExceededError,
    RateLimitedError,
    Receipt,
    RejectedError,
    Response,
    ResponseError,
    ServerError,
)
from statuslookup.providers.greenapi import provider as greenapi
from tests.support.greenapi_exchanges import (
    TOKEN,
    failure,
    ok,
    statistic,
)


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
