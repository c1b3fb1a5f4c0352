"""The error tree: who is whose child, what an error says, and that copies share nothing."""

import copy
import pickle
from typing import Any

import pytest

from statuslookup import (
    AuthenticationError,
    ClosedError,
    DecodeError,
    FleetError,
    ForbiddenError,
    IncompleteError,
    InstanceError,
    LookupTimeoutError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    RejectedError,
    ResponseError,
    ServerError,
    StatusLookupError,
    StoreError,
    StoreLockedError,
    TransportError,
    WaitTimeoutError,
    WrongLoopError,
    errors,
)

ERRORS: list[StatusLookupError] = [
    StatusLookupError("something"),
    ProviderError("something", provider="P"),
    TransportError("no answer", provider="P"),
    ResponseError("said no", provider="P", status_code=399),
    AuthenticationError("refused", provider="P", status_code=401),
    ForbiddenError("refused", provider="P", status_code=403, retry_after=2.0),
    InstanceError("expired", provider="P", status_code=400),
    RateLimitedError("too many", provider="P", retry_after=1.5),
    QuotaExceededError("used up", provider="P", used=10, total=10),
    RejectedError("refused", provider="P", status_code=400),
    ServerError("failed", provider="P", status_code=500),
    DecodeError("unreadable", provider="P", problems=("id is missing", "statusDate is not a date")),
    LookupTimeoutError(60, queued=1, paced=2, in_flight=57),
    IncompleteError({1: None}, {2: ClosedError("closed")}),
    WaitTimeoutError(5, last_failure=ServerError("failed", provider="P", status_code=500)),
    StoreError("the disk is full"),
    StoreLockedError("another process"),
    FleetError("Redis at redis:6379 refuses the password"),
    WrongLoopError("another loop"),
    ClosedError("closed"),
]

PARENTS: dict[type[StatusLookupError], type[Exception]] = {
    StatusLookupError: Exception,
    ProviderError: StatusLookupError,
    TransportError: ProviderError,
    ResponseError: ProviderError,
    AuthenticationError: ResponseError,
    ForbiddenError: ResponseError,
    InstanceError: ResponseError,
    RateLimitedError: ResponseError,
    QuotaExceededError: ResponseError,
    RejectedError: ResponseError,
    ServerError: ResponseError,
    DecodeError: ProviderError,
    LookupTimeoutError: StatusLookupError,
    IncompleteError: StatusLookupError,
    WaitTimeoutError: StatusLookupError,
    StoreError: StatusLookupError,
    StoreLockedError: StoreError,
    FleetError: StatusLookupError,
    WrongLoopError: StatusLookupError,
    ClosedError: StatusLookupError,
}

each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


def content(error: StatusLookupError) -> dict[str, Any]:
    """Return what an error says, in a form that compares by value also for the errors inside it."""
    attributes = {name: value for name, value in vars(error).items() if name != "__notes__"}
    if isinstance(error, IncompleteError):
        attributes["errors"] = {key: content(inner) for key, inner in error.errors.items()}
    if isinstance(error, WaitTimeoutError) and error.last_failure is not None:
        attributes["last_failure"] = content(error.last_failure)
    return {"type": type(error), "text": str(error), "args": error.args, **attributes}


def test_the_tree_is_the_one_that_is_drawn() -> None:
    assert {cls: cls.__base__ for cls in PARENTS} == PARENTS
    assert {cls.__name__ for cls in PARENTS} == set(errors.__all__)
    assert {type(error) for error in ERRORS} == set(PARENTS)


def test_the_drawing_shows_each_error_below_its_parent() -> None:
    drawing = (errors.__doc__ or "").split("::")[1].split("\n\n")[1]
    parents = {}
    above: list[str] = []
    for line in drawing.splitlines():
        words = line.strip(" │├└").split("(")[0].split()
        if words:
            depth = (len(line) - len(line.lstrip(" │├└")) - 4) // 2
            del above[depth:]
            parents[words[0]] = above[-1] if above else "Exception"
            above.append(words[0])
    assert parents == {cls.__name__: parent.__name__ for cls, parent in PARENTS.items()}


def test_what_an_error_means_for_the_next_lookup_is_what_the_drawing_says() -> None:
    transient = {TransportError, ForbiddenError, RateLimitedError, ServerError, LookupTimeoutError}
    transient |= {WaitTimeoutError, StoreLockedError}
    ending = {AuthenticationError, InstanceError, QuotaExceededError, ClosedError}
    assert {cls for cls in PARENTS if cls.is_transient} == transient
    assert {cls for cls in PARENTS if cls.ends_all} == ending
    meaning = (errors.__doc__ or "").split("Asking again later")[1].split("\n\n")[0]
    again, ends = meaning.split("Every other key")
    assert {cls for cls in PARENTS if f"``{cls.__name__}``" in again} == transient
    assert {cls for cls in PARENTS if f"``{cls.__name__}``" in ends} == ending


@each_error
def test_a_fresh_error_says_the_same_and_shares_no_trace(error: StatusLookupError) -> None:
    original = copy.copy(error)
    try:
        try:
            raise KeyError("context")
        except KeyError as context:
            raise original from context
    except StatusLookupError as raised:
        raised.add_note("a note of one caller")
    fresh = original.fresh()
    assert fresh is not original
    assert content(fresh) == content(error)
    assert (fresh.__traceback__, fresh.__cause__, fresh.__context__) == (None, None, None)
    assert not hasattr(fresh, "__notes__")
    fresh.add_note("a note of another caller")
    assert original.__notes__ == ["a note of one caller"]


@each_error
def test_an_error_survives_pickles_and_copies(error: StatusLookupError) -> None:
    noted = error.fresh()
    noted.add_note("seen")
    pickles = [pickle.dumps(noted, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    twins = [pickle.loads(each) for each in pickles]  # noqa: S301 # our own
    for twin in (*twins, copy.copy(noted), copy.deepcopy(noted)):
        assert content(twin) == content(error)
        assert twin.__notes__ == ["seen"]


def test_every_error_says_something_and_a_providers_begins_with_its_name() -> None:
    assert all(map(str, ERRORS))
    of_providers = [error for error in ERRORS if isinstance(error, ProviderError)]
    assert {(str(error)[:3], error.provider, error.attempts) for error in of_providers} == {("P: ", "P", 1)}


def test_attempts_are_said_when_there_was_more_than_one() -> None:
    error = TransportError("no answer", provider="P")
    assert str(error) == "P: no answer"
    error.attempts = 4
    assert str(error) == "P: no answer (after 4 attempts)"
    assert str(error.fresh()) == "P: no answer (after 4 attempts)"


def test_numbers_are_attributes() -> None:
    assert RateLimitedError("x", provider="P").status_code == 429
    assert RateLimitedError("x", provider="P").retry_after is None
    assert RateLimitedError("x", provider="P", retry_after=2.0).retry_after == 2.0
    quota = QuotaExceededError("x", provider="P", used=3, total=4)
    assert (quota.status_code, quota.used, quota.total) == (466, 3, 4)
    assert QuotaExceededError("x", provider="P").used is None


def test_a_fleet_error_is_transient_or_ends_all() -> None:
    refused = FleetError("Redis at redis:6379 refuses the password")
    assert (refused.is_transient, refused.ends_all) == (False, True)
    unreachable = FleetError("Redis at redis:6379 cannot be reached", is_transient=True).fresh()
    assert (unreachable.is_transient, unreachable.ends_all) == (True, False)


def test_a_decode_error_lists_its_problems() -> None:
    error = DecodeError("unreadable", provider="P", problems=("a is missing", "b is empty"))
    assert str(error) == "P: unreadable: a is missing; b is empty"
    assert error.problems == ("a is missing", "b is empty")
    assert str(DecodeError("unreadable", provider="P")) == "P: unreadable"


def test_a_timeout_says_where_the_time_went() -> None:
    error = LookupTimeoutError(2.5, queued=0.25, paced=1.5, in_flight=0.75)
    assert str(error) == (
        "no status within 2.5 s: 0.25 s queued, 1.50 s waiting for the rate limit, 0.75 s in flight"
    )
    assert (error.timeout, error.queued, error.paced, error.in_flight) == (2.5, 0.25, 1.5, 0.75)
    assert error.last_failure is None


def test_a_timeout_says_why_the_last_attempt_failed() -> None:
    failure = TransportError("no connection could be made", provider="P")
    failure.attempts = 3
    error = LookupTimeoutError(2.0, queued=1.5, paced=0.5, in_flight=0.0, last_failure=failure)
    assert str(error).endswith(
        "0.00 s in flight; it had failed before: P: no connection could be made (after 3 attempts)"
    )
    assert error.last_failure is failure
    fresh = error.fresh()
    assert str(fresh) == str(error)
    assert str(fresh.last_failure) == str(failure)
    assert fresh.last_failure is not failure
    assert str(pickle.loads(pickle.dumps(error)).last_failure) == str(failure)  # noqa: S301 # our own


def test_an_incomplete_error_keeps_what_was_found() -> None:
    failed = ServerError("the server failed", provider="P", status_code=502)
    error = IncompleteError({1: None, 2: "found"}, {3: failed})
    assert error.statuses == {1: None, 2: "found"}
    assert error.errors == {3: failed}
    assert str(error).startswith("1 of 3 lookups failed, the first with ServerError: P: the server failed")
    assert ".statuses" in str(error)


def test_what_is_said_of_problems_is_bounded() -> None:
    for problems, said in (
        ((), ()),
        (("a", "a", "b"), ("a", "b")),
        (tuple("abcdefghij"), tuple("abcdefghij")),
        (tuple("abcdefghijk"), (*"abcdefghij", "and 1 more")),
        (("a",) * 500_000, ("a", "and 499,990 more")),
    ):
        error = DecodeError("unreadable", provider="P", problems=problems)
        assert error.problems == said
        assert str(error) == f"P: unreadable{': ' if said else ''}{'; '.join(said)}"
    assert DecodeError("unreadable", provider="P", problems=["a"], unread=7).problems == ("a", "and 7 more")
