"""The plain form of errors: what other processes may know of them, and nothing that is not on the list."""

import json
from typing import Any

import pytest

from statuslookup import ClosedError, DecodeError, ProviderError, ServerError, StatusLookupError
from statuslookup.fleet.plain_errors import of_plain_form, plain_form
from tests.client.test_errors import ERRORS, content

SHARED = [error for error in ERRORS if isinstance(error, ProviderError)]


@pytest.mark.parametrize("error", SHARED, ids=lambda error: type(error).__name__)
def test_an_error_of_a_provider_comes_back_as_it_was(error: ProviderError) -> None:
    found = of_plain_form(json.loads(json.dumps(plain_form(error))))
    assert content(found) == content(error)


def test_attempts_are_each_owners_own() -> None:
    error = ServerError("failed", provider="P", status_code=500)
    error.attempts = 4
    found = of_plain_form(plain_form(error))
    assert isinstance(found, ServerError)
    assert (found.attempts, str(found)) == (1, "P: failed")


class Own(ServerError):
    """An error of somebody's own."""


def test_a_class_that_is_not_on_the_list_is_told_as_the_nearest_one_that_is() -> None:
    assert type(of_plain_form(plain_form(Own("x", provider="P", status_code=503)))) is ServerError
    assert type(of_plain_form(plain_form(ClosedError("x")))) is StatusLookupError


def test_what_is_told_is_bounded() -> None:
    error = DecodeError("x" * 10**6, provider="P", problems=["y" * 10**6])
    assert len(json.dumps(plain_form(error))) < 10_000


@pytest.mark.parametrize(
    "value",
    [
        *(None, 7, "ServerError", [], {}, {"class": "ServerError"}, {"class": "Exception", "text": "x"}),
        *({"class": "IncompleteError", "text": "x"}, {"class": [], "text": "x"}, {"class": {}, "text": "x"}),
        {"class": "ServerError", "text": "x", "provider": "P"},
        {"class": "ServerError", "text": 7, "provider": "P", "status_code": 500, "retry_after": None},
        {"class": "ServerError", "text": "x", "provider": "P", "status_code": True, "retry_after": None},
        {"class": "DecodeError", "text": "x", "provider": "P", "problems": "all"},
        {"class": "os.system", "text": "x"},
    ],
    ids=str,
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="plain form"):
        of_plain_form(value)
