"""What asks the sandbox's SMSFire half, without a client of ours."""

from typing import Any

import httpx

from statuslookup.sandbox import Sandbox
from tests.support.virtual_time import HandClock

SEARCH = "/whatsapp/status/search"
HEADERS = {"Authorization": "Basic sandbox"}


def open_client(sandbox: Sandbox, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=sandbox), base_url="http://sandbox", headers=headers or HEADERS
    )


async def ask(sandbox: Sandbox, key: str = "1") -> httpx.Response:
    async with open_client(sandbox) as client:
        return await client.get(f"/whatsapp/status/{key}")


async def search(sandbox: Sandbox, body: object) -> httpx.Response:
    async with open_client(sandbox) as client:
        return await client.post(SEARCH, json=body)


def found(response: httpx.Response) -> list[int]:
    assert response.status_code == 200
    return [item["id"] for item in response.json()]


async def codes_at(sandbox: Sandbox, clock: HandClock, times: list[float]) -> list[int]:
    """Ask once at each of the times, and return the status codes."""
    codes = []
    for clock.now in times:
        codes.append((await ask(sandbox)).status_code)
    return codes


def unlimited(**options: Any) -> Sandbox:
    return Sandbox(rate_limit=None, **options)
