"""Providers from the environment and from a login: what is read, and what is said to be missing."""

import base64
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statuslookup import GreenAPI, RateLimit, SMSFire
from tests.support.refusals import refusal

SMSFIRE = ("SMSFIRE_TOKEN", "SMSFIRE_USER", "SMSFIRE_PASSWORD", "SMSFIRE_URL")
GREEN_API = ("GREEN_API_ID_INSTANCE", "GREEN_API_TOKEN", "GREEN_API_URL")
COMPLETE = {
    "GREEN_API_ID_INSTANCE": "1101000001",
    "GREEN_API_TOKEN": "abc",
    "GREEN_API_URL": "https://1101.api.greenapi.com/",
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SMSFIRE, *GREEN_API):
        monkeypatch.delenv(name, raising=False)


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in COMPLETE.items() if name not in names}


# --- SMSFire --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "token"),
    [
        ({"SMSFIRE_TOKEN": "dG9rZW4="}, "dG9rZW4="),
        ({"SMSFIRE_USER": "user", "SMSFIRE_PASSWORD": "pass:word"}, "dXNlcjpwYXNzOndvcmQ="),
        ({"SMSFIRE_TOKEN": "", "SMSFIRE_USER": "user", "SMSFIRE_PASSWORD": "p"}, "dXNlcjpw"),
        ({"SMSFIRE_TOKEN": "dG9rZW4=", "SMSFIRE_USER": "user", "SMSFIRE_PASSWORD": "p"}, "dG9rZW4="),
        ({"SMSFIRE_TOKEN": "dG9rZW4=", "SMSFIRE_USER": "user"}, "dG9rZW4="),
    ],
)
def test_smsfire_takes_the_token_or_else_the_login(
    environ: dict[str, str], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SMSFire.from_env(environ).secret.reveal() == token
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert SMSFire.from_env().secret.reveal() == token


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, "SMSFIRE_TOKEN"),
        ({"SMSFIRE_URL": "https://a.test"}, "SMSFIRE_TOKEN"),
        ({"SMSFIRE_TOKEN": ""}, "SMSFIRE_TOKEN"),
        ({"SMSFIRE_USER": "user"}, "SMSFIRE_PASSWORD"),
        ({"SMSFIRE_USER": "user", "SMSFIRE_PASSWORD": ""}, "SMSFIRE_PASSWORD"),
        ({"SMSFIRE_PASSWORD": "canary"}, "SMSFIRE_USER"),
        ({"SMSFIRE_TOKEN": "", "SMSFIRE_PASSWORD": "canary"}, "SMSFIRE_USER"),
    ],
)
def test_what_smsfire_lacks_is_named(environ: dict[str, str], missing: str) -> None:
    with pytest.raises(ValueError, match=f"^the environment variables? {missing} must be set") as caught:
        SMSFire.from_env(environ)
    assert "canary" not in str(caught.value)


def test_nothing_at_all_names_both_ways() -> None:
    with pytest.raises(ValueError, match="SMSFIRE_TOKEN must be set, or SMSFIRE_USER and SMSFIRE_PASSWORD"):
        SMSFire.from_env()


def test_a_given_environment_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSFIRE_TOKEN", "dG9rZW4=")
    with pytest.raises(ValueError, match="SMSFIRE_TOKEN"):
        SMSFire.from_env({})


@pytest.mark.parametrize(
    "login", [{"SMSFIRE_TOKEN": "dG9rZW4="}, {"SMSFIRE_USER": "user", "SMSFIRE_PASSWORD": "p"}], ids=str
)
def test_smsfire_is_where_the_environment_says_unless_an_option_does(login: dict[str, str]) -> None:
    assert SMSFire.from_env(login).base_url == SMSFire("token").base_url
    environ = {**login, "SMSFIRE_URL": "http://127.0.0.1:8080/"}
    assert SMSFire.from_env(environ).base_url == "http://127.0.0.1:8080"
    assert SMSFire.from_env(environ, base_url="https://a.test").base_url == "https://a.test"


@pytest.mark.parametrize(
    "environ", [{"SMSFIRE_TOKEN": "dG9rZW4="}, {"SMSFIRE_USER": "u", "SMSFIRE_PASSWORD": "p"}]
)
def test_options_are_those_of_the_class(environ: dict[str, str]) -> None:
    provider = SMSFire.from_env(environ, max_batch=7, rate_limit=RateLimit(1), base_url="https://a.test")
    assert (provider.max_batch, provider.rate_limit) == (7, RateLimit(1))
    assert provider.base_url == "https://a.test"
    with pytest.raises(TypeError):
        SMSFire.from_env(environ, colour="red")


def test_a_subclass_makes_itself() -> None:
    class Mine(SMSFire):
        pass

    assert type(Mine.from_env({"SMSFIRE_TOKEN": "dG9rZW4="})) is Mine
    assert type(Mine.from_login("user", "password")) is Mine


# --- the login ------------------------------------------------------------------------------------


@given(st.text(min_size=1), st.text(min_size=1))
@example("usuário", "sênha:é𝄞")
@example("user", ":")
@example("user\x00", " ")
def test_a_login_is_base64_of_utf_8(user: str, password: str) -> None:
    try:
        whole = f"{user}:{password}".encode()
    except UnicodeEncodeError:
        whole = None
    if whole is None or ":" in user or set(user + password) & set("\r\n"):
        with pytest.raises(ValueError, match=r"^user "):
            SMSFire.from_login(user, password)
        return
    token = SMSFire.from_login(user, password).secret.reveal()
    assert base64.b64decode(token, validate=True) == whole
    assert token.isascii()


def test_a_bad_login_is_refused_without_being_shown() -> None:
    colon = "ValueError: user must hold no colon: it is what parts the user from the password"
    empty = "ValueError: user and password must not be empty"
    kinds = "TypeError: user and password are str, not NoneType and str"
    refusals: dict[tuple[Any, str], str] = {
        **{(user, "canary"): colon for user in ("us:er", ":", "user:")},
        **dict.fromkeys([("", "p"), ("u", ""), ("", "")], empty),
        (None, "canary"): kinds,
    }
    assert {login: refusal(SMSFire.from_login, *login) for login in refusals} == refusals
    assert "not str and bytes" in refusal(SMSFire.from_login, "u", b"p")
    assert refusal(SMSFire.from_env, {"SMSFIRE_USER": "us:er", "SMSFIRE_PASSWORD": "canary"}) == colon


def test_a_password_that_is_not_utf_8_is_refused_and_not_kept() -> None:
    # What an environment variable in another encoding looks like.
    with pytest.raises(ValueError, match="must be text that can be written in UTF-8") as caught:
        SMSFire.from_env({"SMSFIRE_USER": "user", "SMSFIRE_PASSWORD": "canary\udcff"})
    assert type(caught.value) is ValueError
    assert caught.value.__context__ is None
    assert "canary" not in repr(caught.value)


# --- GREEN-API ------------------------------------------------------------------------------------


def check_complete(provider: GreenAPI) -> None:
    assert provider.id_instance == 1101000001
    assert provider.secret.reveal() == "abc"
    assert provider.base_url == "https://1101.api.greenapi.com"


def test_green_api_takes_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    check_complete(GreenAPI.from_env(COMPLETE))
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    check_complete(GreenAPI.from_env())


@pytest.mark.parametrize(
    "missing",
    [
        *(("GREEN_API_ID_INSTANCE",), ("GREEN_API_TOKEN",), ("GREEN_API_URL",)),
        *(("GREEN_API_ID_INSTANCE", "GREEN_API_URL"), GREEN_API),
    ],
)
def test_all_that_green_api_lacks_is_named(missing: tuple[str, ...]) -> None:
    variables = "variable" if len(missing) == 1 else "variables"
    *others, last = missing
    listed = f"{', '.join(others)} and {last}" if others else last
    text = f"^the environment {variables} {listed} must be set$"
    with pytest.raises(ValueError, match=text):
        GreenAPI.from_env(without(*missing))
    with pytest.raises(ValueError, match=text):
        GreenAPI.from_env({**COMPLETE, **dict.fromkeys(missing, "")})


def test_the_url_may_be_an_option_instead() -> None:
    assert GreenAPI.from_env(without("GREEN_API_URL"), api_url="https://a.test").base_url == "https://a.test"
    assert GreenAPI.from_env(COMPLETE, api_url="https://a.test").base_url == "https://a.test"
    assert GreenAPI.from_env(COMPLETE, rate_limit=None).rate_limit is None


def test_what_the_class_refuses_is_refused_in_the_environment() -> None:
    said = refusal(GreenAPI.from_env, {**COMPLETE, "GREEN_API_ID_INSTANCE": "seven"})
    assert said.startswith("ValueError: id_instance must be the digits")
    said = refusal(GreenAPI.from_env, {**COMPLETE, "GREEN_API_URL": "http://1101.api.greenapi.com"})
    assert said.startswith("ValueError: api_url must be https")
