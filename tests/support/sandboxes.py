"""The sandbox in virtual time, and clients of SMSFire that talk to it."""

from collections.abc import Iterable
from typing import Any

import httpx

from statuslookup import RateLimit, SMSFire, StatusClient
from statuslookup.sandbox import Sandbox
from tests.support.virtual_time import LoopClock


def smsfire_client(sandbox: Sandbox, **options: Any) -> StatusClient[Any, Any]:
    provider = SMSFire(
        options.pop("token", "sandbox"),
        base_url="http://localhost",
        rate_limit=options.pop("rate_limit", RateLimit(2)),
    )
    return StatusClient(provider, transport=httpx.ASGITransport(sandbox), clock=LoopClock(), **options)


def sandbox_of(ids: Iterable[int], **options: Any) -> Sandbox:
    sandbox = Sandbox(**options)
    for id in ids:
        sandbox.add_message(id)
    return sandbox
