"""SMSFire's keys, and the provider itself."""

import enum
import pickle

import pytest

from statuslookup import CustomId, MessageKey, RateLimit, SMSFire
from tests.support.refusals import not_refused, refusal
from tests.support.smsfire_exchanges import SMSFIRE, first_request, searched

# --- keys -----------------------------------------------------------------------------------------


def test_a_good_key_is_returned() -> None:
    keys: list[MessageKey] = [0, 1, 10**40 - 1, CustomId("a"), CustomId("1"), CustomId("x" * 40)]
    assert [SMSFIRE.check(key) for key in keys] == keys


def test_a_bad_key_is_refused_with_what_to_write_instead() -> None:
    plain = "TypeError: a plain str could be an id or a customId: write"
    assert refusal(SMSFIRE.check, "42") == f"{plain} int('42') or CustomId('42')"
    assert refusal(SMSFIRE.check, "order-17") == f"{plain} CustomId('order-17')"
    assert "CustomId('')" in refusal(SMSFIRE.check, "")
    assert len(refusal(SMSFIRE.check, "x" * 10**6)) < 300
    others = [True, None, b"1", 1.0, [1]]
    assert not_refused(SMSFIRE.check, others, "TypeError: an SMSFire key is an int or a CustomId, not ") == []
    negative = [-1, -(10**4400)]
    assert not_refused(SMSFIRE.check, negative, "ValueError: an SMSFire id is not negative") == []
    long = [10**40, 10**4400]
    assert not_refused(SMSFIRE.check, long, "ValueError: an SMSFire id has at most 40 digits") == []


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


def test_a_bad_token_is_refused_without_being_shown() -> None:
    tokens = ["", "Basic canary", "canary\n", "canary\r\nX: y", "canáry", " canary", "canary\x00"]
    expected = "ValueError: token must be SMSFire's token alone"
    assert not_refused(SMSFire, tokens, expected) == []
    assert not any("can" in refusal(SMSFire, token) for token in tokens)
    assert not_refused(SMSFire, [None, b"canary", 1], "TypeError: token is a str, not ") == []


@pytest.mark.parametrize(
    ("token", "flaw"),
    [
        ("canary\n", "there is a line break in it"),
        ("canary\r\n", "there is a line break in it"),
        ('"canary"', "there are quotes in it"),
        ("'canary'", "there are quotes in it"),
        ("<TOKEN>", "this is what stands for it in an example"),
        ("ana:canary", "from_login(user, password) takes, and SMSFIRE_USER with SMSFIRE_PASSWORD"),
        ("Basic canary", "no spaces, no 'Basic ' before it"),
        ("", "it is empty"),
    ],
)
def test_what_was_copied_along_with_a_token_or_in_its_place_is_named(token: str, flaw: str) -> None:
    assert refusal(SMSFire, token).endswith(flaw)
    assert refusal(SMSFire.from_env, {"SMSFIRE_TOKEN": token}).endswith(flaw if token else "instead")


def test_a_line_break_at_the_end_of_a_login_is_named() -> None:
    for login in (("ana\n", "x"), ("ana", "x\r\n"), ("a\nna", "x")):
        environ = dict(zip(("SMSFIRE_USER", "SMSFIRE_PASSWORD"), login, strict=True))
        for said in (refusal(SMSFire.from_login, *login), refusal(SMSFire.from_env, environ)):
            assert said == "ValueError: user and password must hold no line break"


def test_a_batch_has_1_to_200_keys() -> None:
    def provider(max_batch: int) -> SMSFire:
        return SMSFire("t", max_batch=max_batch)

    assert [provider(most).max_batch for most in (1, 200)] == [1, 200]
    assert not_refused(provider, [0, -1, 201], "ValueError: max_batch must be 1 to 200, not ") == []
    assert not_refused(provider, [1.5, "5", True, None], "TypeError: max_batch is an int, not ") == []


def test_a_rate_limit_is_a_rate_limit() -> None:
    assert "rate_limit is a RateLimit or None, not int" in refusal(SMSFire, "t", rate_limit=2)


def test_credentials_do_not_go_over_plain_http() -> None:
    with pytest.raises(ValueError, match="base_url must be https"):
        SMSFire("t", base_url="http://api-v2.smsfire.com.br")
    assert SMSFire("t", base_url="http://localhost:1/").base_url == "http://localhost:1"


def test_one_host_is_one_budget_whatever_the_token() -> None:
    budget = SMSFire("t", base_url="https://EXAMPLE.com/v2", rate_limit=None).budget
    assert budget == SMSFire("u", base_url="https://example.com").budget
    assert budget != SMSFIRE.budget
    assert hash(budget) == hash(SMSFire("u", base_url="https://example.com").budget)
