"""SMSFire's keys, and the provider itself."""

import enum
import pickle
from typing import Any

import pytest

from statuslookup import CustomId, MessageKey, RateLimit, SMSFire
from tests.support.exchanges import SMSFIRE, first_request, searched

# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [0, 1, 10**40 - 1, CustomId("a"), CustomId("1"), CustomId("x" * 40)])
def test_a_good_key_is_returned(key: MessageKey) -> None:
    assert SMSFIRE.check(key) == key


@pytest.mark.parametrize(
    ("key", "kind", "text"),
    [
        (
            "abc",
            TypeError,
            r"^a plain str could be an id or a customId: write int\('abc'\) or CustomId\('abc'\)$",
        ),
        ("", TypeError, "CustomId"),
        ("x" * 10**6, TypeError, r"^.{1,300}$"),
        (True, TypeError, "an SMSFire key is an int or a CustomId, not bool"),
        (None, TypeError, "an SMSFire key is an int or a CustomId, not NoneType"),
        (b"1", TypeError, "an SMSFire key is an int or a CustomId, not bytes"),
        (1.0, TypeError, "an SMSFire key is an int or a CustomId, not float"),
        ([1], TypeError, "an SMSFire key is an int or a CustomId, not list"),
        (-1, ValueError, "an SMSFire id is not negative"),
        (10**40, ValueError, "an SMSFire id has at most 40 digits"),
        (10**4400, ValueError, "an SMSFire id has at most 40 digits"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_bad_key_is_refused_with_what_to_write_instead(key: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        SMSFIRE.check(key)
    assert type(caught.value) is kind


def test_a_very_negative_id_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="an SMSFire id is not negative"):
        SMSFIRE.check(-(10**4400))


class Order(int, enum.Enum):
    ZEROTH = 0
    FIRST = 5


def test_an_int_with_a_name_of_its_own_is_sent_as_its_digits() -> None:
    assert SMSFIRE.check(Order.ZEROTH) == 0
    key = SMSFIRE.check(Order.FIRST)
    assert first_request([key]).path == "/whatsapp/status/5"
    assert searched(first_request([key, 7])) == {"ids": ["5", "7"]}


# --- the provider itself --------------------------------------------------------------------------


def test_the_defaults_are_the_documented_ones() -> None:
    assert SMSFIRE.base_url == "https://api-v2.smsfire.com.br"
    assert SMSFIRE.rate_limit == RateLimit(2, per=1.0)
    assert SMSFIRE.max_batch == 200
    assert SMSFIRE.secret.reveal() == "canary"


def test_the_token_is_in_no_text_and_no_pickle() -> None:
    for shown in (repr(SMSFIRE), str(SMSFIRE), f"{SMSFIRE}", repr(vars(SMSFIRE)), repr(SMSFIRE.budget)):
        assert "canary" not in shown
    with pytest.raises(TypeError, match="a secret cannot be pickled"):
        pickle.dumps(SMSFIRE)


@pytest.mark.parametrize(
    "token", ["", "Basic canary", "canary\n", "canary\r\nX: y", "canáry", " canary", "canary\x00"]
)
def test_a_bad_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError, match="token must be SMSFire's token alone") as caught:
        SMSFire(token)
    assert "canary" not in str(caught.value)
    assert "canáry" not in str(caught.value)


@pytest.mark.parametrize("token", [None, b"canary", 1])
def test_a_token_is_a_str(token: Any) -> None:
    with pytest.raises(TypeError, match=f"token is a str, not {type(token).__name__}"):
        SMSFire(token)


@pytest.mark.parametrize("max_batch", [0, -1, 201])
def test_a_batch_has_1_to_200_keys(max_batch: int) -> None:
    with pytest.raises(ValueError, match="max_batch must be 1 to 200"):
        SMSFire("t", max_batch=max_batch)


@pytest.mark.parametrize("max_batch", [1.5, "5", True, None])
def test_a_batch_is_counted_in_ints(max_batch: Any) -> None:
    with pytest.raises(TypeError, match="max_batch is an int"):
        SMSFire("t", max_batch=max_batch)


@pytest.mark.parametrize("rate_limit", [2, 2.0, "2", (2, 1)])
def test_a_rate_limit_is_a_rate_limit(rate_limit: Any) -> None:
    with pytest.raises(TypeError, match="rate_limit is a RateLimit or None"):
        SMSFire("t", rate_limit=rate_limit)


def test_credentials_do_not_go_over_plain_http() -> None:
    with pytest.raises(ValueError, match="base_url must be https"):
        SMSFire("t", base_url="http://api-v2.smsfire.com.br")
    assert SMSFire("t", base_url="http://localhost:1/").base_url == "http://localhost:1"


def test_one_host_is_one_budget_whatever_the_token() -> None:
    budget = SMSFire("t", base_url="https://EXAMPLE.com/v2", rate_limit=None).budget
    assert budget == SMSFire("u", base_url="https://example.com").budget
    assert budget != SMSFIRE.budget
    assert hash(budget) == hash(SMSFire("u", base_url="https://example.com").budget)
