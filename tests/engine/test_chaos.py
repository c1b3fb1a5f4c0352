"""Many lookups through a server that does everything wrong: each ends once, with the truth or an error.

``pytest -s --chaos 1000000 tests/test_chaos.py`` does it with a million lookups and prints what happened.
The seed fixes what is asked and what the server does to its n-th request; how the two threads take turns
is up to the machine.
"""

import asyncio
import gc
import logging
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pytest

from statuslookup import (
    ClosedError,
    MessageStatus,
    RateLimit,
    RetryPolicy,
    SMSFire,
    StatusClient,
    StatusLookupError,
)
from tests.support.chaos_lookups import SEED, WINDOW, Chaos, Client
from tests.support.chaos_server import TOKEN, ChaosServer, Fault

WAVE: Final = 20_000


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lookups" in metafunc.fixturenames:
        lookups = metafunc.config.getoption("chaos")
        if metafunc.function is test_chaos_within_a_rate_limit:
            # It takes longer, and fewer than this would not meet with everything.
            lookups = max(lookups // 10, 5_000)
        limit = pytest.mark.timeout(300 + lookups / 500)
        metafunc.parametrize("lookups", [pytest.param(lookups, marks=limit)])


async def memory_at_rest() -> tuple[int, int]:
    """Return the blocks that are allocated and the objects that are tracked, garbage aside."""
    for _ in range(3):
        # The loop itself holds what it calls until the call is over.
        await asyncio.sleep(0)
    gc.collect()
    gc.collect()
    return sys.getallocatedblocks(), len(gc.get_objects())


def open_sockets() -> int:
    return sum(isinstance(thing, socket.socket) and thing.fileno() >= 0 for thing in gc.get_objects())


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what neither the client nor the server tells anybody."""
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 # that is the point
            await asyncio.sleep(0.01)


async def until_idle(client: Client) -> None:
    """Wait for the requests whose callers are all gone: they end on their own."""

    def is_idle() -> bool:
        stats = client.stats()
        return not stats.queued and not stats.in_flight and len(asyncio.all_tasks()) == 1

    await until(is_idle)


@pytest.fixture(autouse=True)
def _no_records(caplog: pytest.LogCaptureFixture) -> None:
    # pytest keeps every record, and here that would be a warning for nearly every fault.
    caplog.set_level(logging.ERROR, "statuslookup")


@contextmanager
def no_noise() -> Iterator[None]:
    """See that the event loop reports nothing, such as an error that was never retrieved."""
    reports: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(str(context)))
    yield
    gc.collect()
    assert reports == []


def new_client(server: ChaosServer, rate_limit: RateLimit | None) -> Client:
    provider = SMSFire(TOKEN, base_url=server.base_url, rate_limit=rate_limit)
    rng = random.Random(SEED)
    retry = RetryPolicy(attempts=3, backoff=0.005, max_backoff=0.03, random=rng.random)
    return StatusClient(provider, retry=retry, linger=0.002)


async def run(lookups: int, rate_limit: RateLimit | None, coroutines: int) -> None:
    server = ChaosServer(messages=max(lookups // 5, 2 * WINDOW), seed=SEED)
    # Other tests may have left some that nobody has collected yet.
    gc.collect()
    sockets = open_sockets()
    with no_noise(), server.serve():
        listening = open_sockets()
        async with new_client(server, rate_limit) as client:
            warm_up = Chaos(client, server, lookups // 20, seed=SEED - 1)
            await warm_up.ask(lookups // 20, coroutines)
            await until_idle(client)
            warm_up.check_all_ended_once()
            chaos = Chaos(client, server, lookups, seed=SEED)
            before = await memory_at_rest()
            began_at = time.perf_counter()
            # Waves that fill every request, and ebb away, for the calls that have to give way; then less
            # than a batch at a time; then single keys, which take another path.
            few = min(lookups // 20, 2000)
            flood = lookups - few - few // 4
            for crest in range(WAVE, flood + WAVE, WAVE):
                await chaos.ask(min(crest, flood), coroutines)
            await chaos.ask(lookups - few // 4, 40)
            await chaos.ask(lookups, 1)
            elapsed = time.perf_counter() - began_at
            await until_idle(client)
            stats = client.stats()
            after = await memory_at_rest()
            print_table(chaos, server, client, elapsed, before, after)

            chaos.check_all_ended_once()
            assert server.problems == []
            assert (stats.queued, stats.in_flight) == (0, 0)
            # Of a body that was not read to its end, asyncio ends httpcore's generators in tasks of its own.
            await until(lambda: len(asyncio.all_tasks()) == 1)
            rejections = server.faults[Fault.REJECTED] + server.faults[Fault.REJECTED_WITH_ADVICE]
            # A request that nobody waits for any more may be ended when its 429 is already on the way: more
            # often on a slow machine.
            assert 0.5 * rejections - 2 <= stats.rejections <= rejections
            check_memory(lookups, before, after, chaos.peaks)
            check_that_it_was_chaos(chaos, server, client)
        await until(lambda: not server.open_connections)
        gc.collect()
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert open_sockets() == listening
    gc.collect()
    assert open_sockets() == sockets


def check_memory(lookups: int, before: tuple[int, int], after: tuple[int, int], peaks: Sequence[int]) -> None:
    for was, now in zip(before, after, strict=True):
        # Not one object in a hundred lookups may stay.
        assert now - was <= 2000 + lookups // 100
    # While it runs, it does not hold more with every lookup.
    early, late = (peak - before[0] for peak in peaks)
    assert late <= 1.5 * early + 20_000


def check_that_it_was_chaos(chaos: Chaos, server: ChaosServer, client: Client) -> None:
    """See that everything really happened, for a test that tests nothing passes."""
    assert [fault for fault in Fault if not server.faults[fault]] == []
    ends = chaos.ends
    for expected in ("status", "None", "cancelled", "LookupTimeoutError", "DecodeError"):
        assert ends[expected] > 0
    assert ends["TransportError"] + ends["ServerError"] > 0
    assert ends["status"] > chaos.lookups / 3
    assert chaos.bulk_calls > 10
    assert chaos.joined_in_flight > 0 or chaos.lookups < 20_000
    assert server.requests_by_path > 10
    assert server.truth.changes > 1000
    stats = client.stats()
    assert stats.retries > 0
    assert stats.coalesced > 0


def print_table(
    chaos: Chaos,
    server: ChaosServer,
    client: Client,
    elapsed: float,
    before: tuple[int, int],
    after: tuple[int, int],
) -> None:
    stats = client.stats()
    rows: list[tuple[str, str]] = [("lookups", f"{chaos.lookups:,}")]
    rows += [(f"  ended by {how}", f"{count:,}") for how, count in chaos.ends.most_common()]
    rows += [
        ("  joined a request under way", f"{chaos.joined_in_flight:,}"),
        ("calls for many keys", f"{chaos.bulk_calls:,}"),
        ("requests, warm-up included", f"{stats.requests:,}"),
        ("  by path", f"{server.requests_by_path:,}"),
    ]
    rows += [(f"  {fault}", f"{server.faults[fault]:,}") for fault in Fault]
    rows += [
        ("keys a request", f"{stats.keys_per_request:.1f}"),
        ("keys asked again", f"{stats.retries:,}"),
        ("lookups that joined another", f"{stats.coalesced:,}"),
        ("statuses that changed", f"{server.truth.changes:,}"),
        ("connections", f"{server.connections:,}"),
        ("blocks of memory before", f"{before[0]:,}"),
        ("  at most in either half", " and ".join(f"{peak:,}" for peak in chaos.peaks)),
        ("  after", f"{after[0]:,}"),
        ("objects before, after", f"{before[1]:,}, {after[1]:,}"),
        ("seconds", f"{elapsed:.1f}"),
        ("lookups a second", f"{chaos.lookups / elapsed:,.0f}"),
    ]
    if sys.platform == "linux":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        rows.append(("MiB of memory at most, so far", f"{peak:,}"))
    print()
    for name, value in rows:
        print(f"{name:42}{value:>20}")
    for violation in chaos.violations:
        print(violation)


@pytest.mark.long
async def test_chaos(lookups: int) -> None:
    """Without a limit: up to four requests are under way, and fail in any order."""
    await run(lookups, None, coroutines=4000)


@pytest.mark.every_loop
@pytest.mark.long
async def test_chaos_within_a_rate_limit(lookups: int) -> None:
    """Through the token bucket, one at a time; the 429s take its rate down to a thousand a second."""
    await run(lookups, RateLimit(1280, per=0.02), coroutines=1000)


@pytest.mark.long
async def test_closing_under_fire() -> None:
    """Closed in the middle, whatever is under way: every lookup ends at once, and no connection is left."""
    server = ChaosServer(messages=2 * WINDOW, seed=SEED)
    rng = random.Random(SEED)
    closed = 0
    with no_noise(), server.serve():
        sockets = open_sockets()
        for _ in range(40):
            client = new_client(server, None if rng.random() < 0.5 else RateLimit(1280, per=0.02))
            keys = rng.sample(range(1, server.truth.messages), 2000)
            lookups = [asyncio.create_task(client.get(key)) for key in keys[:1000]]
            bulk = asyncio.create_task(client.get_many(keys[500:]))
            await asyncio.sleep(rng.uniform(0, 0.1))
            async with asyncio.timeout(60):
                await client.aclose()
                ends = await asyncio.gather(*lookups, bulk, return_exceptions=True)
            del lookups, bulk
            closed += sum(isinstance(end, ClosedError) for end in ends)
            assert {type(end) for end in ends if not isinstance(end, StatusLookupError)} <= {
                MessageStatus,
                dict,
            }
            # Of a body that was not read to its end, asyncio ends httpcore's generators in tasks of its own.
            await until(lambda: len(asyncio.all_tasks()) == 1)
            await until(lambda: not server.open_connections)
        gc.collect()
        assert open_sockets() == sockets
    assert closed > 1000
    assert server.problems == []
