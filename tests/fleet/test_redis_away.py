"""Where Redis is away, refuses or forgets: nothing is sent, and every lookup ends in time."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from statuslookup import FleetError, LookupTimeoutError, StatusLookupError
from statuslookup.sandbox import Sandbox
from tests.support.fakes import other_tasks
from tests.support.fleets import Clients, timed
from tests.support.redis_servers import RedisServer

Strict = tuple[Sandbox, str]
NewServer = Callable[..., RedisServer]


async def error_of(lookup: Any) -> StatusLookupError:
    with pytest.raises(StatusLookupError) as caught:
        await lookup
    return caught.value


async def test_without_redis_nothing_is_sent_and_a_lookup_ends_at_its_deadline(strict: Strict) -> None:
    sandbox, url = strict
    async with Clients("redis://user:canary@127.0.0.1:1/2", url) as fleet:
        client = await fleet.smsfire()
        began_at = time.monotonic()
        # Long enough to be refused a connection on a busy machine, for that is what the error then says.
        errors = [await error_of(client.get(1, timeout=1.5)), await error_of(client.get(2, timeout=1.0))]
        assert 2.4 < time.monotonic() - began_at < 8.0
        for error in errors:
            assert isinstance(error, FleetError)
            assert (error.is_transient, error.ends_all) == (True, False)
            assert str(error).startswith("Redis at 127.0.0.1:1/2 cannot be reached")
            assert "canary" not in str(error)
        assert sandbox.requests == 0
    assert other_tasks() == set()


async def test_a_wrong_password_ends_all_lookups_at_once(strict: Strict, new_server: NewServer) -> None:
    sandbox, url = strict
    with new_server(requirepass="right") as server:
        wrong = f"redis://:canary@127.0.0.1:{server.port}"
        async with Clients(wrong, url) as fleet:
            client = await fleet.smsfire()
            began_at = time.monotonic()
            errors = await asyncio.gather(
                *(client.get(key) for key in range(1, 6)), client.get_many([7, 8]), return_exceptions=True
            )
            assert time.monotonic() - began_at < 15
            for error in errors[:-1]:
                assert isinstance(error, FleetError)
                assert (error.is_transient, error.ends_all) == (False, True)
                assert "canary" not in str(error)
            assert isinstance(errors[-1], Exception)
            assert sandbox.requests == 0
            # Whoever comes later hears it, too.
            assert isinstance(await error_of(client.get(9)), FleetError)
        async with Clients(f"redis://:right@127.0.0.1:{server.port}", url) as fleet:
            assert await (await fleet.smsfire()).get(1) is not None


async def test_a_user_without_rights_is_told_so(strict: Strict, new_server: NewServer) -> None:
    _, url = strict
    with new_server() as server:
        redis: Any
        async with Redis.from_url(server.url) as redis:
            await redis.execute_command(
                "ACL", "SETUSER", "poor", "on", ">p", "~*", "&*", "+@connection", "+evalsha"
            )
        async with Clients(f"redis://poor:p@127.0.0.1:{server.port}", url) as fleet:
            error = await error_of((await fleet.smsfire()).get(1))
            assert isinstance(error, FleetError)
            assert "rights" in str(error)


@pytest.mark.long
async def test_a_redis_that_restarts_empty_is_found_again(strict: Strict, new_server: NewServer) -> None:
    sandbox, url = strict
    with new_server() as server:
        async with Clients(server.url, url) as fleet:
            one, two = await fleet.several(2)
            await asyncio.gather(one.get(1), two.get(1))
            for round in range(2):
                server.stop()
                lookups = [asyncio.create_task(client.get(10 + round)) for client in (one, two)]
                await asyncio.sleep(0.3)
                server.start()
                back_at = time.monotonic()
                found = await asyncio.gather(*lookups)
                # A lease, an interval and what was paused, long before the lookups' own deadline.
                assert time.monotonic() - back_at < 20
                assert [getattr(status, "id", None) for status in found] == [10 + round] * 2
            assert sandbox.rejections == 0


async def test_a_redis_that_is_emptied_forgets_nobody(strict: Strict, redis_url: str) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url) as fleet:
        one, two = await fleet.several(2)
        await asyncio.gather(one.get(1), two.get(1))
        lookups = [asyncio.create_task(client.get(20)) for client in (one, two)]
        await asyncio.sleep(0.1)
        async with Redis.from_url(redis_url) as redis:
            await redis.flushall()
        assert await timed(asyncio.gather(*lookups)) < 20
        assert sandbox.rejections == 0


async def test_a_redis_that_stalls_holds_everybody_up_and_no_longer(
    strict: Strict, new_server: NewServer
) -> None:
    sandbox, url = strict
    with new_server() as server:
        async with Clients(server.url, url) as fleet:
            one, two = await fleet.several(2)
            await asyncio.gather(one.get(1), two.get(1))
            server.pause()
            try:
                error = await error_of(one.get(2, timeout=0.5))
                assert isinstance(error, FleetError | LookupTimeoutError)
            finally:
                server.go_on()
            found = await asyncio.gather(one.get(3), two.get(3))
            assert None not in found
            assert sandbox.rejections == 0
