"""What all providers share: what a status means, which base URLs are let through, what a host is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup import (
    AuthenticationError,
    QuotaExceededError,
    RateLimitedError,
    RejectedError,
    ResponseError,
    ServerError,
)
from statuslookup._urls import checked_base_url, host_of
from statuslookup._wire import Response
from statuslookup.providers import error_of


def checked(url: str) -> str:
    return checked_base_url(url, parameter="base_url")


# --- statuses -------------------------------------------------------------------------------------


def expected_error(code: int) -> type[ResponseError] | None:
    """The tree of the errors, as a table."""
    if 200 <= code <= 299:
        return None
    named = {
        401: AuthenticationError,
        403: AuthenticationError,
        429: RateLimitedError,
        466: QuotaExceededError,
        499: ServerError,
    }
    if code in named:
        return named[code]
    return RejectedError if 400 <= code <= 498 else ServerError if code >= 500 else ResponseError


@pytest.mark.parametrize("code", [*range(100, 104), *range(200, 600), 999])
def test_each_status_means_one_error(code: int) -> None:
    error = error_of(Response(code, b"canary", 1.5), provider="P")
    expected = expected_error(code)
    if expected is None:
        assert error is None
        return
    assert type(error) is expected
    assert error.status_code == code
    assert error.provider == "P"
    assert str(error).startswith("P: ")
    assert str(code) in str(error)
    assert "canary" not in str(error)
    assert "canary" not in repr(vars(error))


@pytest.mark.parametrize("seconds", [None, 0.0, 2.5])
def test_a_429_keeps_what_the_provider_asked_for(seconds: float | None) -> None:
    error = error_of(Response(429, b"", seconds), provider="P")
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (302, "check the base URL"),
        (400, "asking again will not help"),
        (401, "check them"),
        (403, "check them"),
        (429, "something else may be using the same rate limit"),
        (466, "quota"),
        (503, "ask again later"),
    ],
)
def test_an_error_says_what_to_do(code: int, advice: str) -> None:
    assert advice in str(error_of(Response(code), provider="P"))


# --- base URLs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("https://api.example.com//", "https://api.example.com"),
        ("https://api.example.com:8443/v2/", "https://api.example.com:8443/v2"),
        ("HTTPS://api.example.com", "HTTPS://api.example.com"),
        ("https://[2001:db8::1]:443", "https://[2001:db8::1]:443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://LOCALHOST", "http://LOCALHOST"),
        ("http://api.localhost", "http://api.localhost"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
        ("http://127.8.9.10", "http://127.8.9.10"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_https_anywhere_and_http_to_this_machine(url: str, expected: str) -> None:
    assert checked(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("http://api.example.com", "http://0.0.0.0", "http://10.0.0.1", "http://[::]", "http://[fe80::1]"),
        *("http://localhost.example.com", "http://notlocalhost", "http://127.0.0.1.example.com"),
        *(
            "http://2130706433",
            "http://127.1",
            "http://example.com:127",
            "http://localhost.",
            "HTTP://example.com",
        ),
    ],
)
def test_plain_http_to_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"^base_url must be https: over http, anybody on the way could read"
    ):
        checked(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "https://",
        "https:///v2",
        "ftp://localhost",
        "file:///a",
        "://a",
        "ws://localhost",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url must be an https URL with a host$"):
        checked(url)


@pytest.mark.parametrize(
    "url",
    [
        *("https://user:canary@example.com", "https://user@example.com", "https://@example.com"),
        *(
            "https://example.com?token=canary",
            "https://example.com/#canary",
            "http://localhost\\@example.com",
        ),
        *("http://localhost@example.com", "http://localhost:80@example.com", "http://localhost#@example.com"),
    ],
)
def test_what_could_hold_a_secret_or_mislead_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url ") as caught:
        checked(url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("https://example.com:99999", "https://example.com:http", "https://[::1", "https://example.com?"),
        *("https://example.com/#", " https://example.com", "https://exam\nple.com", "https://example.com\n"),
        *("http://example.com\\.localhost", "https://exa mple.com"),
    ],
)
def test_what_no_request_can_be_sent_to_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url "):
        checked(url)


@pytest.mark.parametrize("url", [None, 7, b"https://example.com"])
def test_what_is_no_text_is_a_type_error(url: Any) -> None:
    with pytest.raises(TypeError, match=f"^base_url is a str, not {type(url).__name__}$"):
        checked(url)


def test_the_error_names_the_parameter() -> None:
    with pytest.raises(ValueError, match=r"^api_url must be an https URL"):
        checked_base_url("nonsense", parameter="api_url")


@given(st.text(max_size=40) | st.text("htps:/.@#?[]%\\localhost127 ", max_size=30).map("http://{}".format))
def test_any_text_is_a_base_url_or_a_value_error(url: str) -> None:
    try:
        good = checked(url)
    except ValueError:
        return
    assert not good.endswith("/")
    assert checked(good) == good
    assert host_of(good)


# --- hosts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.com", "api.example.com:443"),
        ("https://API.Example.com/v2", "api.example.com:443"),
        ("https://api.example.com:8443", "api.example.com:8443"),
        ("http://[::1]:8000", "::1:8000"),
    ],
)
def test_a_host_is_compared_as_dns_does(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    "url",
    ["https://example.com:443", "https://example.com:", "https://example.com."],
    ids=["443", "empty", "dot"],
)
def test_a_host_is_the_same_in_every_spelling(url: str) -> None:
    assert host_of(url) == host_of("https://example.com")
