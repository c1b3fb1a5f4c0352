"""What every HTTP response means, whoever the provider is."""

import pytest

from statuslookup import (
    AuthenticationError,
    DecodeError,
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
        (400, RejectedError, "asking again will not help"),
        (401, AuthenticationError, "check them"),
        (403, AuthenticationError, "check them"),
        (429, RateLimitedError, "something else may be using the same rate limit"),
        (466, QuotaExceededError, "quota"),
        (498, RejectedError, "asking again will not help"),
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


def test_a_429_keeps_what_the_provider_asked_for() -> None:
    for seconds in (None, 0.0, 2.5):
        error = error_of(Response(429, b"", seconds), provider="P")
        assert isinstance(error, RateLimitedError)
        assert error.retry_after == seconds


def test_the_items_of_a_body_are_an_array_or_one_object() -> None:
    for body in (b'[{"a": 1,},]', '[{"a": 1}]', {"a": 1}, [{"a": 1}], b'{"a": 1}'):
        assert items_of(body, provider="P") == [{"a": 1}]
    assert items_of(b"[]", provider="P") == []


def test_what_holds_no_items_is_a_decode_error_that_says_what_it_was() -> None:
    with pytest.raises(DecodeError, match=r"^P: the response cannot be read: not JSON at character 0$"):
        items_of(b"canary", provider="P")
    with pytest.raises(DecodeError, match=r"^P: the webhook is neither an object nor an array$"):
        items_of(b"7", provider="P", what="webhook")
