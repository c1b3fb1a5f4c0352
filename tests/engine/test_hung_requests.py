"""A request that hangs takes one of the provider's places, and no more."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from statuslookup import LookupTimeoutError, RateLimit, StatusClient
from tests.support.fakes import FakeServer, Tens, client_of

pytestmark = pytest.mark.virtual_time


class HangingServer(FakeServer):
    """Never answers the requests that ``hangs`` names."""

    def __init__(self, hangs: Callable[[int], bool]) -> None:
        super().__init__()
        self._hangs = hangs
        self.ended = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self._hangs(self.requests + 1):
            return await super().handle_async_request(request)
        self.batches.append([])
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1
        raise AssertionError


def longest_failure(answered: list[bool]) -> int:
    return max(map(len, "".join(".x"[not one] for one in answered).split(".")))


async def outcomes_of(client: StatusClient[int, int], keys: range) -> list[bool]:
    """Ask for one key after the other; return whether each had its answer."""
    answered: list[bool] = []
    for key in keys:
        try:
            answered.append(await client.get(key, timeout=2.0) == 10 * key)
        except LookupTimeoutError:
            answered.append(False)
    return answered


@pytest.mark.parametrize(
    ("limit", "most", "in_all"),
    [(RateLimit(2), 1, 1), (RateLimit(1), 3, 3), (RateLimit(10), 3, 3), (RateLimit(1, per=2.0), 3, 12)],
)
async def test_at_most_three_lookups_in_a_row_fail_when_one_request_hangs(
    limit: RateLimit, most: int, in_all: int
) -> None:
    server = HangingServer(lambda number: number == 2)
    async with client_of(server, Tens(rate_limit=limit)) as client:
        answered = await outcomes_of(client, range(21))
    assert answered[0]
    assert 1 <= longest_failure(answered) <= most
    assert answered.count(False) <= in_all
    assert server.ended == 1


async def test_a_request_that_hangs_without_a_deadline_leaves_the_other_places_to_the_others() -> None:
    server = HangingServer(lambda number: number == 2)
    async with client_of(server, timeout=None) as client:
        assert await client.get(0) == 0
        hung = asyncio.create_task(client.get(1))
        await asyncio.sleep(0.6)
        assert await outcomes_of(client, range(2, 12)) == [True] * 10
        hung.cancel()
        await asyncio.wait([hung])


async def test_callers_that_come_all_the_time_are_answered_beside_a_request_that_hangs() -> None:
    server = HangingServer(lambda number: number == 5)
    async with client_of(server) as client:

        async def ask(key: int) -> bool:
            await asyncio.sleep(key / 10)
            return (await outcomes_of(client, range(key, key + 1)))[0]

        answered = await asyncio.gather(*map(ask, range(300)))
    # Those who were in the request that hangs, and nobody else.
    assert answered.count(False) <= 6
