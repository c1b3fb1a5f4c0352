"""Which base URLs credentials may go to, and what a host is."""

from hypothesis import given
from hypothesis import strategies as st

from statuslookup._urls import checked_base_url, host_of, is_loopback
from tests.support.refusals import not_refused, refusal


def checked(url: str) -> str:
    return checked_base_url(url, parameter="base_url")


def test_https_anywhere_and_http_to_this_machine() -> None:
    good = {
        "https://api.example.com": "https://api.example.com",
        "https://api.example.com//": "https://api.example.com",
        "https://api.example.com:8443/v2/": "https://api.example.com:8443/v2",
        "HTTPS://api.example.com": "HTTPS://api.example.com",
        "https://[2001:db8::1]:443": "https://[2001:db8::1]:443",
        "http://LOCALHOST": "http://LOCALHOST",
        "http://api.localhost": "http://api.localhost",
        "http://127.8.9.10:1/": "http://127.8.9.10:1",
        "http://[::1]:8000": "http://[::1]:8000",
    }
    assert {url: checked(url) for url in good} == good


def test_plain_http_to_elsewhere_is_refused() -> None:
    urls = [
        *("http://api.example.com", "http://0.0.0.0", "http://10.0.0.1", "http://[::]", "http://[fe80::1]"),
        *("http://localhost.example.com", "http://notlocalhost", "http://127.0.0.1.example.com"),
        *("http://2130706433", "http://127.1", "http://example.com:127", "http://localhost."),
        "HTTP://example.com",
    ]
    expected = "ValueError: base_url must be https: over http, anybody on the way could read"
    assert not_refused(checked, urls, expected) == []


def test_what_is_no_web_address_is_refused() -> None:
    urls = ["", "api.example.com", "https://", "https:///v2", "ftp://localhost", "://a", "ws://localhost"]
    assert not_refused(checked, urls, "ValueError: base_url must be an https URL with a host") == []


def test_what_could_hold_a_secret_or_mislead_is_refused_without_being_shown() -> None:
    urls = [
        *("https://user:canary@example.com", "https://user@example.com", "https://@example.com"),
        *("https://example.com?token=canary", "https://example.com/#canary", "https://example.com?"),
        *("http://localhost@example.com", "http://localhost:80@example.com", "http://localhost#@example.com"),
    ]
    expected = "ValueError: base_url must hold no user, query or fragment"
    assert not_refused(checked, urls, expected) == []
    assert not any("canary" in refusal(checked, url) for url in urls)


def test_what_no_request_can_be_sent_to_is_refused_by_name() -> None:
    ports = ["https://example.com:99999", "https://example.com:http", "https://[::1"]
    assert not_refused(checked, ports, "ValueError: base_url is no URL: ") == []
    # A password with a slash in it ends the host, and makes what is before the slash a port.
    hidden = ["https://u:canary/x@h", "https://[canary]", "https://u:canary/x@h:1", "https://h:canary"]
    assert not_refused(checked, hidden, "ValueError: base_url is no URL: ") == []
    assert not any("canary" in refusal(checked, url) for url in hidden)
    characters = [
        *(" https://example.com", "https://exam\nple.com", "https://example.com\n", "https://exa mple.com"),
        *("http://localhost\\@example.com", "http://example.com\\.localhost", "https://exämple.com"),
    ]
    expected = "ValueError: base_url must hold only characters that a URL may have"
    assert not_refused(checked, characters, expected) == []


def test_what_is_no_text_is_a_type_error() -> None:
    urls = [None, 7, b"https://example.com"]
    assert not_refused(checked, urls, "TypeError: base_url is a str, not ") == []


def test_the_error_names_the_parameter() -> None:
    said = refusal(checked_base_url, "nonsense", parameter="api_url")
    assert said == "ValueError: api_url must be an https URL with a host"


@given(st.text(max_size=40) | st.text("htps:/.@#?[]%\\localhost127 ", max_size=30).map("http://{}".format))
def test_any_text_is_a_base_url_or_a_value_error(url: str) -> None:
    if refusal(checked, url):
        return
    good = checked(url)
    assert not good.endswith("/")
    assert checked(good) == good
    assert host_of(good)


def test_this_machine_is_known_by_its_name_alone() -> None:
    assert all(map(is_loopback, ["localhost", "a.localhost", "127.0.0.1", "127.255.255.254", "::1"]))
    assert not any(map(is_loopback, ["", "localhost.", "alocalhost", "128.0.0.1", "::", "0.0.0.0"]))  # noqa: S104 # no address to listen at


def test_a_host_is_the_same_in_every_spelling() -> None:
    hosts = {
        "https://api.example.com": "api.example.com:443",
        "https://API.Example.com/v2": "api.example.com:443",
        "https://api.example.com:443": "api.example.com:443",
        "https://api.example.com:": "api.example.com:443",
        "https://api.example.com.": "api.example.com:443",
        "https://api.example.com:8443": "api.example.com:8443",
        "http://localhost": "localhost:80",
        "http://[::1]:8000": "::1:8000",
    }
    assert {url: host_of(url) for url in hosts} == hosts
