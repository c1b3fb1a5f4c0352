"""What asks the sandbox's GREEN-API half."""

from typing import Any

import httpx

from statuslookup import DeliveryState, GreenAPI, StatusClient, StatusStatistic
from statuslookup.sandbox import Instance, Sandbox
from tests.support.virtual_time import HandClock, LoopClock

ID = 1101000001
STORY = "BAE57C4EEC000000"
SENT, DELIVERED, READ = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ


def unlimited(**options: Any) -> Instance:
    return Sandbox(**options).add_instance(rate_limit=None)


async def ask(
    sandbox: Sandbox,
    id_message: str | None = STORY,
    *,
    id_instance: object = ID,
    rest: str = "/getStatusStatistic/sandbox",
    method: str = "GET",
) -> httpx.Response:
    transport = httpx.ASGITransport(app=sandbox)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        params = {} if id_message is None else {"idMessage": id_message}
        return await client.request(method, f"/waInstance{id_instance}{rest}", params=params)


async def codes_at(sandbox: Sandbox, clock: HandClock, times: list[float], **options: Any) -> list[int]:
    """Ask once at each of the times, and return the status codes."""
    codes = []
    for clock.now in times:
        codes.append((await ask(sandbox, **options)).status_code)
    return codes


def counts(account: Sandbox | Instance) -> tuple[int, int, int, int]:
    return account.requests, account.answered, account.rejections, account.keys


def client_of(sandbox: Sandbox, **options: Any) -> StatusClient[str, StatusStatistic]:
    provider = GreenAPI(ID, options.pop("token", "sandbox"), api_url="http://localhost")
    return StatusClient(provider, transport=httpx.ASGITransport(sandbox), clock=LoopClock(), **options)
