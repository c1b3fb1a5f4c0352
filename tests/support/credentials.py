"""Both providers' credentials, which no test may find anywhere but at the server, and their clients."""

import base64
from typing import Any, Protocol, TypeAlias

import pytest

from statuslookup import GreenAPI, RetryPolicy, SMSFire, StatusClient

# Constants of the module, and never a test's local: tracebacks show locals.
PASSWORD = "canary-Passw0rd/+?"
SMSFIRE_TOKEN = base64.b64encode(f"canary-user:{PASSWORD}".encode()).decode()
GREEN_API_TOKEN = "canaryd75b3a66374942c5b3c019c698abc2067e1515"
FORMS = (PASSWORD, SMSFIRE_TOKEN, GREEN_API_TOKEN)

AnyClient: TypeAlias = StatusClient[Any, Any]
AnyProvider: TypeAlias = SMSFire | GreenAPI


def leaks(shown: object) -> bool:
    text = shown if isinstance(shown, str) else repr(shown)
    return any(form in text for form in FORMS)


class Case(Protocol):
    key: Any
    wire: bytes

    def provider(self, base_url: str) -> AnyProvider: ...


class SMSFireCase:
    key = 1
    wire = b"Authorization: Basic " + SMSFIRE_TOKEN.encode()

    def __repr__(self) -> str:
        return "SMSFire"

    def provider(self, base_url: str) -> SMSFire:
        return SMSFire.from_login("canary-user", PASSWORD, base_url=base_url, rate_limit=None)


class GreenAPICase:
    key = "BAE57C4EEC000000"
    wire = (
        b"/waInstance7/getStatusStatistic/" + GREEN_API_TOKEN.encode() + b"?idMessage=BAE57C4EEC000000 HTTP"
    )

    def __repr__(self) -> str:
        return "GREEN-API"

    def provider(self, base_url: str) -> GreenAPI:
        return GreenAPI(7, GREEN_API_TOKEN, api_url=base_url, rate_limit=None)


BOTH = pytest.mark.parametrize("case", [SMSFireCase(), GreenAPICase()], ids=repr)


def new_client(provider: AnyProvider, timeout: float = 10.0, **options: Any) -> AnyClient:
    client: AnyClient = StatusClient(
        provider,
        timeout=timeout,
        linger=0,
        retry=RetryPolicy(attempts=2, backoff=0.0),
        **options,
    )
    return client
