"""An answer that very many wait for is handed out a few turns long, and meanwhile its key is open."""

import asyncio

import pytest

from statuslookup import ClosedError
from tests.support.fakes import FakeServer, Tens, client_of, ticks

pytestmark = pytest.mark.virtual_time

EACH = 40


async def test_everybody_has_the_answer_and_who_comes_meanwhile_shares_it() -> None:
    server = FakeServer()
    async with client_of(server, Tens(rate_limit=None)) as client:
        lookups = [asyncio.create_task(client.get(key)) for key in range(100) for _ in range(EACH)]
        await asyncio.wait(lookups, return_when=asyncio.FIRST_COMPLETED)
        assert not all(lookup.done() for lookup in lookups)
        assert await client.get(99) == 990
        assert await asyncio.gather(*lookups) == [10 * key for key in range(100) for _ in range(EACH)]
        assert (client.stats().in_flight, client.stats().coalesced) == (0, 100 * (EACH - 1) + 1)
    assert server.requests == 1


async def test_closing_in_between_ends_the_rest_and_who_leaves_harms_nobody() -> None:
    client = client_of(FakeServer(), Tens(rate_limit=None))
    lookups = [asyncio.create_task(client.get(key)) for key in range(100) for _ in range(EACH)]
    await asyncio.wait(lookups, return_when=asyncio.FIRST_COMPLETED)
    lookups[-1].cancel()
    await ticks(1)
    assert client.stats().in_flight > 0
    await client.aclose()
    outcomes = await asyncio.gather(*lookups, return_exceptions=True)
    kinds = [type(outcome) for outcome in outcomes]
    assert set(kinds) == {int, ClosedError, asyncio.CancelledError}
    assert kinds.count(asyncio.CancelledError) == 1
    assert all(
        outcome == 10 * (place // EACH) for place, outcome in enumerate(outcomes) if isinstance(outcome, int)
    )
