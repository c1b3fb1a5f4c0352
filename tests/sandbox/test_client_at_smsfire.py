"""Lookups at SMSFire as the sandbox plays it, in virtual time."""

import asyncio
from typing import Any

import pytest

from statuslookup import AuthenticationError, CustomId
from tests.support.fakes import now
from tests.support.sandboxes import sandbox_of, smsfire_client

pytestmark = pytest.mark.virtual_time


async def test_concurrent_lookups_ride_together() -> None:
    sandbox = sandbox_of(range(1, 1001), latency=0.05)
    async with smsfire_client(sandbox) as client:
        started = now()
        statuses = await asyncio.gather(*(client.get(id) for id in range(1, 1001)))
        elapsed = now() - started
    assert [status.id for status in statuses if status] == list(range(1, 1001))
    assert (sandbox.requests, sandbox.rejections) == (5, 0)
    assert elapsed == pytest.approx(4 * 0.55 + 0.05, rel=0.02)


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        ("abc", TypeError, r"CustomId\('abc'\)"),
        (True, TypeError, "bool"),
        (1.0, TypeError, "float"),
        (None, TypeError, "NoneType"),
        (b"1", TypeError, "bytes"),
        ([], TypeError, "list"),
        (-1, ValueError, "not negative"),
        (10**40, ValueError, "40 digits"),
    ],
)
async def test_a_bad_key_is_refused_before_anything_is_queued(
    key: Any, error: type[Exception], text: str
) -> None:
    sandbox = sandbox_of([1])
    async with smsfire_client(sandbox) as client:
        with pytest.raises(error, match=text):
            await client.get(key)
        with pytest.raises(error, match=text):
            await client.get_many([1, key])
        stats = client.stats()
        await asyncio.sleep(10)
    assert (stats.lookups, stats.queued, sandbox.requests) == (0, 0, 0)


async def test_get_many_returns_exactly_the_keys_in_their_order() -> None:
    sandbox = sandbox_of([])
    for id in range(1, 301):
        sandbox.add_message(id, custom_id=f"c{id}")
    keys: list[int | CustomId] = [key for id in range(500, 0, -1) for key in (id, CustomId(f"c{id}"))]
    async with smsfire_client(sandbox) as client:
        found = await client.get_many([*keys, *keys[:7]])
    assert list(found) == keys
    for key, status in found.items():
        number = int(key.removeprefix("c")) if isinstance(key, str) else key
        assert (status.id if status else None) == (number if number <= 300 else None)


async def test_refused_credentials_end_every_lookup_by_an_error_of_its_own() -> None:
    sandbox = sandbox_of(range(1, 6))
    right, sandbox._authorization = sandbox._authorization, b"Basic other"
    async with smsfire_client(sandbox) as client:
        errors = await asyncio.gather(
            *(client.get(1 + number % 5) for number in range(20)), return_exceptions=True
        )
        assert [type(error) for error in errors] == [AuthenticationError] * 20
        assert len({id(error) for error in errors}) == 20
        assert sandbox.requests == 1
        sandbox._authorization = right
        assert await client.get(1) == sandbox.messages[1]
