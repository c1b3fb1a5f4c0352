"""GREEN-API's keys, and the provider itself."""

from typing import Any

import pytest

from statuslookup import CustomId, GreenAPI, RateLimit
from tests.support.greenapi_exchanges import GREEN_API, KEY


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


@pytest.mark.parametrize("id_instance", ["", "seven", "-1", "1.0", "٣", "1 "])
def test_an_instance_is_digits(id_instance: Any) -> None:
    with pytest.raises(ValueError, match="id_instance must be the digits"):
        GreenAPI(id_instance, "token")


def test_an_instance_is_not_negative() -> None:
    with pytest.raises(ValueError, match="id_instance must be 0 or more, not -1"):
        GreenAPI(-1, "token")


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
