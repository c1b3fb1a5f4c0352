"""GREEN-API's keys, and the provider itself."""

import pytest

from statuslookup import CustomId, GreenAPI, RateLimit
from tests.support.greenapi_exchanges import GREEN_API, KEY
from tests.support.refusals import not_refused, refusal


def test_printable_texts_are_keys() -> None:
    keys = [KEY, "a", "x" * 256, "3EB0 C767", "é", CustomId("a")]
    assert [GREEN_API.check(key) for key in keys] == keys


def test_everything_else_is_refused() -> None:
    texts = ["", "x" * 257, "a\nb", "\x00", "a\u2028b", "\ud800", "\u200b"]
    expected = "ValueError: an idMessage is 1 to 256 printable characters, not "
    assert not_refused(GREEN_API.check, texts, expected) == []
    assert refusal(GREEN_API.check, "BAE5\u200b").endswith(r"not 'BAE5\u200b' (5 characters)")
    assert len(refusal(GREEN_API.check, "x" * 10**6)) < 200
    others = [7, None, b"a", True, ["a"]]
    expected = "TypeError: a GREEN-API key is the idMessage, a str, not "
    assert not_refused(GREEN_API.check, others, expected) == []


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


def test_an_instance_is_a_number_or_its_digits() -> None:
    def instance(id_instance: int | str) -> int:
        return GreenAPI(id_instance, "token").id_instance

    assert [instance(id_instance) for id_instance in (7, "7", "007", 0)] == [7, 7, 7, 0]
    texts = ["", "seven", "-1", "1.0", "٣", "1 "]
    assert not_refused(instance, texts, "ValueError: id_instance must be the digits") == []
    assert not_refused(instance, [-1], "ValueError: id_instance must be 0 or more, not -1") == []
    assert not_refused(instance, [None, 1.0, True, b"1"], "TypeError: id_instance is an int, not ") == []


def test_a_token_is_letters_and_digits() -> None:
    def secret(token: str) -> str:
        return GreenAPI(1, token).secret.reveal()

    assert secret("aZ09._~-") == "aZ09._~-"
    tokens = ["a b", "a/b", "a?b", "a%2Fb", "é", "***", "../x"]
    expected = "ValueError: api_token_instance must be GREEN-API's token alone: "
    assert [refusal(secret, token) for token in tokens] == [expected + "letters and digits"] * len(tokens)
    flaws = {"": "it is empty", "a\n": "a line break", '"a"': "quotes", "<TOKEN>": "an example"}
    assert {token: refusal(secret, token).startswith(expected) for token in flaws} == dict.fromkeys(
        flaws, True
    )
    assert [token for token, flaw in flaws.items() if flaw not in refusal(secret, token)] == []
    assert not_refused(secret, [None, 7, b"token"], "TypeError: api_token_instance is a str, not ") == []


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
