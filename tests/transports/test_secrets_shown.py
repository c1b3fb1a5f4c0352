"""A secret is not in what is shown, copied or pickled, nor in what misuse is told."""

import copy
import dataclasses
import inspect
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from statuslookup import GreenAPI, SMSFire
from statuslookup._http import Sender
from statuslookup._wire import Response
from tests.support.credentials import (
    BOTH,
    FORMS,
    GREEN_API_TOKEN,
    PASSWORD,
    SMSFIRE_TOKEN,
    AnyProvider,
    Case,
    new_client,
)
from tests.support.watch import Watch, texts_reachable_from

pytestmark = pytest.mark.usefixtures("no_environment")


# --- what is shown, copied and pickled ------------------------------------------------------------


def shown_by(value: object) -> Iterator[object]:
    """Yield what becomes of a value when it is shown, copied or taken apart; whatever refuses is left out."""
    attempts: list[Callable[[Any], object]] = [
        *(repr, str, ascii, "{}".format, "%s".__mod__, "%r".__mod__, "{!r:>9}".format, format),
        *(vars, dir, copy.copy, copy.deepcopy, attrs.asdict, attrs.astuple, dataclasses.asdict),
        lambda value: vars(copy.copy(value)),
        lambda value: vars(value.provider),
        lambda value: json.dumps(value, default=vars),
        lambda value: json.dumps(value, default=repr),
        lambda value: [pickle.dumps(value, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)],
        lambda value: value.__reduce_ex__(4),
        lambda value: [inspect.getmembers(each) for each in vars(value).values()],
    ]
    for attempt in attempts:
        try:
            yield attempt(value)
        except Exception as error:  # noqa: BLE001 # whatever the refusal is, it must not show the secret
            yield from texts_reachable_from(error)


@BOTH
async def test_nothing_shows_the_secret(case: Case, watch: Watch) -> None:
    provider = case.provider("http://127.0.0.1:1")
    client = new_client(provider)
    exchange: Any = provider.exchange([case.key])
    request = next(exchange)
    sender = Sender(provider="P", base_url="http://127.0.0.1:1", secret=provider.secret)
    values = [provider, client, client.stats(), provider.secret, request, sender, exchange, provider.budget]
    for value in values:
        for shown in shown_by(value):
            watch.add(shown)
    assert provider.secret.reveal() in FORMS
    exchange.close()
    await sender.aclose()
    await client.aclose()


@BOTH
def test_providers_and_clients_are_not_pickled(case: Case) -> None:
    provider = case.provider("http://127.0.0.1:1")
    for value in (provider, provider.secret, new_client(provider)):
        with pytest.raises(TypeError, match="cannot be pickled; build"):
            pickle.dumps(value)
        with pytest.raises(TypeError, match="cannot be pickled; build"):
            copy.deepcopy(value)


def test_an_answers_body_is_not_shown() -> None:
    assert "body" not in repr(Response(200, b"the body"))


# --- misuse ---------------------------------------------------------------------------------------

MISUSES: dict[str, Callable[[], object]] = {
    "a token with a space": lambda: SMSFire(f"Basic {SMSFIRE_TOKEN}"),
    "a token in bytes": lambda: SMSFire(SMSFIRE_TOKEN.encode()),  # type: ignore[arg-type] # the mistake under test
    "a token beyond ASCII": lambda: SMSFire(SMSFIRE_TOKEN + "é"),
    "a bad URL": lambda: SMSFire(SMSFIRE_TOKEN, base_url="ftp://api.test"),
    "a bad batch": lambda: SMSFire(SMSFIRE_TOKEN, max_batch=0),
    "a bad limit": lambda: SMSFire(SMSFIRE_TOKEN, rate_limit=2),  # type: ignore[arg-type] # the mistake under test
    "a bad option": lambda: SMSFire.from_login("user", PASSWORD, max_batch=0),
    "an unknown option": lambda: SMSFire.from_login("user", PASSWORD, colour="red"),
    "a colon": lambda: SMSFire.from_login("us:er", PASSWORD),
    "no user": lambda: SMSFire.from_login("", PASSWORD),
    "a password in bytes": lambda: SMSFire.from_login("user", PASSWORD.encode()),  # type: ignore[arg-type] # the mistake under test
    "a password that is no text": lambda: SMSFire.from_login("user", PASSWORD + "\udcff"),
    "a token with a slash": lambda: GreenAPI(7, GREEN_API_TOKEN + "/"),
    "a GREEN-API token in bytes": lambda: GreenAPI(7, GREEN_API_TOKEN.encode()),  # type: ignore[arg-type] # the mistake under test
    "a bad instance": lambda: GreenAPI("seven", GREEN_API_TOKEN),
    "an instance that is no number": lambda: GreenAPI(None, GREEN_API_TOKEN),  # type: ignore[arg-type] # the mistake under test
    "a bad API URL": lambda: GreenAPI(7, GREEN_API_TOKEN, api_url="nonsense"),
    "a bad GREEN-API limit": lambda: GreenAPI(7, GREEN_API_TOKEN, rate_limit=1),  # type: ignore[arg-type] # the mistake under test
    "an incomplete login": lambda: SMSFire.from_env({"SMSFIRE_PASSWORD": PASSWORD}),
    "a bad token in the environment": lambda: SMSFire.from_env({"SMSFIRE_TOKEN": f"{SMSFIRE_TOKEN}\n"}),
    "a bad option as well": lambda: SMSFire.from_env({"SMSFIRE_TOKEN": SMSFIRE_TOKEN}, max_batch=0),
    "an incomplete environment": lambda: GreenAPI.from_env({"GREEN_API_TOKEN": GREEN_API_TOKEN}),
}  # fmt: skip # one line each


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_keeps_the_secret(misuse: str, watch: Watch) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        MISUSES[misuse]()
    watch.add(caught.value)


@pytest.mark.parametrize("provider", [SMSFire, GreenAPI])
def test_the_process_environment_is_in_no_traceback(
    provider: type[AnyProvider], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSFIRE_PASSWORD", PASSWORD)
    monkeypatch.setenv("GREEN_API_TOKEN", GREEN_API_TOKEN)
    with pytest.raises(ValueError, match="must be set") as caught:
        provider.from_env()
    watch.add(caught.value)
