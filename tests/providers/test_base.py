"""What every HTTP response means, whoever the provider is."""

from typing import Any

import pytest
from attrs import evolve

from statuslookup import (
    AuthenticationError,
    DecodeError,
    ForbiddenError,
    QuotaExceededError,
    RateLimitedError,
    RejectedError,
    Response,
    ResponseError,
    ServerError,
)
from statuslookup.providers import error_of, items_of


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (199, ResponseError, "check the base URL"),
        (200, None, ""),
        (299, None, ""),
        (300, ResponseError, "check the base URL"),
        (400, RejectedError, "check the key"),
        (401, AuthenticationError, "check them"),
        (403, AuthenticationError, "check them"),
        (429, RateLimitedError, "something else may be using the same rate limit"),
        (466, QuotaExceededError, "quota"),
        (498, RejectedError, "check the key"),
        (499, ServerError, "ask again later"),
        (500, ServerError, "ask again later"),
        (999, ServerError, "ask again later"),
    ],
)
def test_each_status_means_one_error_that_says_what_to_do(
    code: int, kind: type[ResponseError] | None, advice: str
) -> None:
    error = error_of(Response(code, b"canary", 1.5), provider="P")
    if kind is None or error is None:
        assert (error, kind) == (None, None)
        return
    assert type(error) is kind
    assert (error.status_code, error.provider) == (code, "P")
    assert str(error).startswith("P: ")
    assert str(code) in str(error)
    assert advice in str(error)
    assert "canary" not in str(error) + repr(vars(error))
    assert "will not help" not in str(error)


@pytest.mark.parametrize(
    "refusal",
    [
        Response(403, b"{}", follows_success=True),
        Response(403, b"<html>canary</html>"),
        Response(403, b"\xef\xbb\xbf\r\n <!DOCTYPE html>"),
        Response(403, b"<html>", follows_success=True),
    ],
    ids=["after a success", "HTML", "HTML after a byte order mark", "both"],
)
def test_a_403_that_may_come_from_a_firewall_says_so_and_may_pass(refusal: Response) -> None:
    error = error_of(refusal, provider="P")
    assert type(error) is ForbiddenError
    assert (error.status_code, error.is_transient, error.ends_all) == (403, True, False)
    assert "the credentials, or by something in between such as a firewall" in str(error)
    assert "canary" not in str(error)


def test_a_refusal_of_the_credentials_alone_stays_one() -> None:
    for refusal in (
        Response(403),
        Response(403, b'{"error": "<html>"}'),
        Response(401, b"<html>"),
        Response(401, b"{}", follows_success=True),
    ):
        assert type(error_of(refusal, provider="P")) is AuthenticationError


def test_every_other_status_means_what_its_neighbours_do() -> None:
    """Between the borders above, nothing changes but at the codes that are named there."""
    named = {401, 403, 429, 466}
    for codes, kind in (
        (range(100, 200), ResponseError),
        (range(200, 300), type(None)),
        (range(300, 400), ResponseError),
        (range(400, 499), RejectedError),
        (range(499, 600), ServerError),
    ):
        kinds = {code: type(error_of(Response(code), provider="P")) for code in codes if code not in named}
        assert {code: found for code, found in kinds.items() if found is not kind} == {}


@pytest.mark.parametrize("refusal", [Response(429), Response(503), Response(499), Response(403, b"<html>")])
def test_what_may_pass_keeps_the_pause_that_was_asked_for(refusal: Response) -> None:
    for seconds in (None, 0.0, 2.5):
        error = error_of(evolve(refusal, retry_after=seconds), provider="P")
        assert error is not None
        assert (error.retry_after, error.is_transient) == (seconds, True)


def test_the_items_of_a_body_are_an_array_or_one_object() -> None:
    body = b'[{"a": 1,},]'
    bodies: list[Any] = [
        body,
        bytearray(body),
        memoryview(body),
        body.decode(),
        b'{"a": 1}',
        {"a": 1},
        [{"a": 1}],
    ]
    for one in bodies:
        assert items_of(one, provider="P") == [{"a": 1}]
    assert items_of(b"[]", provider="P") == []


def test_what_holds_no_items_is_a_decode_error_that_says_what_it_was() -> None:
    with pytest.raises(DecodeError, match=r"^P: the response cannot be read: not JSON at character 0$"):
        items_of(b"canary", provider="P")
    with pytest.raises(DecodeError, match=r"^P: the webhook is neither an object nor an array$"):
        items_of(b"7", provider="P", what="webhook")


def test_a_body_with_too_many_values_is_not_read() -> None:
    assert len(items_of(b"[%b1]" % (b"1," * 9), provider="P", most_values=10)) == 10
    for body in (b"[%b1]" % (b"1," * 10), b"[" * 11, b"{" * 11, b"[]," * 6, b'"' * 41):
        with pytest.raises(DecodeError, match=r"^P: the response cannot be read: more than 10 values$"):
            items_of(body, provider="P", most_values=10)
