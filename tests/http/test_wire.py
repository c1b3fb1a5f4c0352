"""What travels: the secret that shows itself to nobody, and the seconds of a Retry-After."""

import copy
import math
import pickle
import sys
import time
from collections.abc import Iterator
from email.utils import format_datetime, formatdate
from types import FrameType

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup._wire import PLACEHOLDER, Request, Response, Secret, retry_after

NOW = 784111776.0  # Sun, 06 Nov 1994 08:49:36 GMT


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "BRT+3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# --- Secret ---------------------------------------------------------------------------------------


def test_a_secret_is_revealed_on_request_only() -> None:
    secret = Secret("canary")
    assert secret.reveal() == "canary"
    for shown in (repr(secret), str(secret), f"{secret}", "%s" % secret, ascii(secret), repr([secret])):  # noqa: UP031 # one of the ways to show it
        assert "canary" not in shown
        assert PLACEHOLDER in shown


def test_no_frame_holds_the_text_while_it_is_revealed() -> None:
    secret, frames, before = Secret("canary"), list[FrameType](), sys.gettrace()
    sys.settrace(lambda frame, event, argument: frames.append(frame))
    try:
        secret.reveal()
    finally:
        sys.settrace(before)
    assert frames == []


def test_a_secret_is_not_pickled_or_copied() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="a secret cannot be pickled; build the provider anew"):
            pickle.dumps(Secret("canary"), protocol)
    with pytest.raises(TypeError):
        copy.deepcopy(Secret("canary"))


def test_a_secret_has_no_dict_to_look_into() -> None:
    with pytest.raises(TypeError):
        vars(Secret("canary"))
    with pytest.raises(AttributeError):
        Secret("canary").note = "x"  # type: ignore[attr-defined] # the mistake under test


def test_requests_and_responses_are_frozen_values() -> None:
    assert Request("GET", "/a") == Request("GET", "/a", "", None, None)
    assert Response(204) == Response(204, b"", None)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Request("GET", "/a").path = "/b"  # type: ignore[misc] # the mistake under test


# --- Retry-After ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        *(
            None,
            "",
            " ",
            "soon",
            "-1",
            "-0.5",
            "+5",
            "1, 2",
            "1,5",
            "1s",
            "0x10",
            "1e3",
            "1E400",
            "nan",
            "inf",
        ),
        *("Infinity", ".", "1.", ".5", "1.5.5", "1_000", "\x00", "²", "½", "٣"),
    ],
)
def test_what_is_no_retry_after_counts_as_none(header: str | None) -> None:
    assert retry_after(header, NOW) is None


@pytest.mark.parametrize(("header", "seconds"), [("0", 0.0), ("5", 5.0), (" 120 ", 120.0), ("007", 7.0)])
def test_whole_seconds_are_taken_as_they_are(header: str, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(("header", "seconds"), [("0.0", 0.0), ("4.5", 4.5), (" 0.25 ", 0.25), ("1.10", 1.1)])
def test_so_are_fractions_of_seconds(header: str, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 1.0),
        ("Sun, 06 Nov 1994 05:50:36 -0300", 60.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 1.0),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:35 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_a_date_is_the_seconds_until_it_and_never_less_than_none(header: str, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.usefixtures("far_from_greenwich")
@pytest.mark.parametrize("header", ["Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 -0000"])
def test_a_date_without_a_zone_is_in_greenwich(header: str) -> None:
    assert retry_after(header, NOW) == 1.0


@given(st.integers(0, 10**9))
def test_a_formatted_date_comes_back_as_its_seconds(seconds: int) -> None:
    assert retry_after(formatdate(NOW + seconds, usegmt=True), NOW) == seconds


@given(st.datetimes(timezones=st.timezones()))
def test_any_date_is_a_number_of_seconds_or_none(date: object) -> None:
    seconds = retry_after(format_datetime(date), NOW)  # type: ignore[arg-type] # Hypothesis draws datetimes
    assert seconds is None or 0 <= seconds < math.inf


@given(
    st.text(max_size=40)
    | st.text("0123456789:+-, GMTSunNov", max_size=40)
    | st.from_regex(r"\A\w{3}, \d{1,3} (Jan|Feb|XYZ) \d{1,7} \d{1,3}:\d{1,3}:\d{1,3} ([+-]\d{1,9}|GMT)\Z")
)
def test_no_header_is_an_error(header: str) -> None:
    seconds = retry_after(header, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("header", ["9" * 400, "9" * 400 + ".5", "1" + "0" * 12 + ".5"])
def test_endless_digits_are_not_infinity(header: str) -> None:
    assert retry_after(header, NOW) == 1e12


@pytest.mark.parametrize(
    "header",
    [
        "Sun, 06 Nov 1994 08:49:37 +" + "9" * 30,
        "Sun, 06 Nov " + "9" * 30 + " 08:49:37 GMT",
        "Sun, 06 Nov 1994 " + "9" * 20 + ":49:00 GMT",
        "9" * 30 + " Nov 1994 08:49:37 GMT",
    ],
)
def test_a_date_of_absurd_numbers_counts_as_none(header: str) -> None:
    assert retry_after(header, NOW) is None
