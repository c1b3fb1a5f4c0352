"""The way to Redis: calls that nobody can cancel, what its errors mean, and trying again."""

import asyncio
import gc
import hashlib
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from statuslookup import FleetError
from statuslookup.fleet.link import Link
from statuslookup.fleet.scripts import Script
from tests.support.fakes import ticks
from tests.support.redis_servers import RedisServer
from tests.support.virtual_time import ManualClock

FOR_LONG = "local n = 0 for i = 1, 3e6 do n = n + i end return ARGV[1]"


def script(text: str) -> Script:
    return Script("a test's", text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ECHO = script("return ARGV[1]")


@pytest.fixture
async def link(server: RedisServer) -> AsyncIterator[Link]:
    link = Link(server.url)
    yield link
    await link.aclose()


async def run(link: Link, text: str = "return ARGV[1]", *arguments: str) -> Any:
    return await link.start(link.run(script(text), ("{x}",), *(arguments or ("42",))))


async def test_a_script_is_loaded_when_redis_does_not_know_it(link: Link, server: RedisServer) -> None:
    async with Redis.from_url(server.url) as redis:
        assert await run(link) == b"42"
        await redis.script_flush()
        assert await run(link) == b"42"
        assert await redis.script_exists(ECHO.sha) == [True]


async def test_a_cancelled_caller_leaves_no_foreign_reply(link: Link) -> None:
    callers = []
    for number in range(50):
        caller = asyncio.ensure_future(asyncio.shield(link.start(link.run(ECHO, (), f"cancelled {number}"))))
        callers.append(caller)
        await asyncio.sleep(0)
        if number % 2:
            caller.cancel()
        assert await run(link, "return ARGV[1]", f"{number}") == f"{number}".encode()
    replies = await asyncio.gather(*callers, return_exceptions=True)
    assert replies[::2] == [f"cancelled {number}".encode() for number in range(0, 50, 2)]


async def test_closing_waits_for_what_was_called(server: RedisServer) -> None:
    link = Link(server.url, timeout=30)
    call = link.start(link.run(script(FOR_LONG), (), "42"))
    await asyncio.sleep(0)
    await link.aclose()
    assert call.result() == b"42"


async def test_a_lent_client_stays_open(server: RedisServer) -> None:
    async with Redis.from_url(server.url, protocol=3) as redis:
        link = Link(redis)
        assert await run(link) == b"42"
        await link.aclose()
        assert await redis.ping()


@pytest.mark.parametrize(
    ("redis", "error", "says"),
    [
        ("http://user:hunter2@host", ValueError, "redis://"),
        ("redis://:hunter/2@host", ValueError, "%2F"),
        ("redis://host:6379/0?socket_timeout=hunter2", ValueError, "redis://"),
        ("redis://host/0?no_such_option=hunter2", ValueError, "redis://"),
        ("redis://host/0?decode_responses=true", ValueError, "decode_responses"),
        (object(), TypeError, "builtins.object"),
    ],
)
def test_what_is_no_redis_is_refused(redis: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        Link(redis)
    assert "hunter" not in "".join(traceback.format_exception(caught.value))


async def test_a_client_that_gives_texts_is_refused(server: RedisServer) -> None:
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        with pytest.raises(ValueError, match="decode_responses"):
            Link(redis)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://user:hunter2@some.host:7000/3", "some.host:7000/3"),
        ("rediss://:hunter2@some.host", "some.host:6379/0"),
        ("redis://[::1]:7000", "[::1]:7000/0"),
        ("unix://user:hunter2@/run/redis.sock?db=2", "/run/redis.sock/2"),
    ],
)
async def test_redis_is_named_without_user_and_password(url: str, where: str) -> None:
    link = Link(url)
    assert repr(link) == f"<Link to {where}>"
    await link.aclose()


async def test_sentinel_is_named() -> None:
    from redis.asyncio.sentinel import Sentinel

    sentinel: Any = Sentinel([("localhost", 1)])  # type: ignore[no-untyped-call] # redis-py has no types here
    link = Link(sentinel.master_for("primary", password="hunter2"))
    assert link.where == "primary of Sentinel"


@pytest.mark.skipif(not hasattr(RedisCluster, "pubsub"), reason="this redis-py has no pub/sub of a cluster")
async def test_a_cluster_is_named() -> None:
    assert Link(RedisCluster("localhost", 1, password="hunter2")).where == "a cluster"


@pytest.mark.skipif(hasattr(RedisCluster, "pubsub"), reason="this redis-py has pub/sub of a cluster")
async def test_a_cluster_that_cannot_subscribe_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot subscribe"):
        Link(RedisCluster("localhost", 1))


async def test_a_redis_that_is_away_is_a_problem_that_may_pass(
    new_server: Callable[..., RedisServer],
) -> None:
    server = new_server()
    link = Link(f"redis://user:hunter2@127.0.0.1:{server.port}/0")
    with pytest.raises(FleetError, match=rf"Redis at 127.0.0.1:{server.port}/0 cannot be reached") as caught:
        await run(link)
    assert caught.value.is_transient
    assert link.is_down
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "hunter2" not in "".join(shown.format())
    await link.aclose()


async def test_a_redis_that_comes_back_is_used_again(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    server.start()
    link = Link(server.url)
    assert await run(link) == b"42"
    server.stop()
    with pytest.raises(FleetError):
        await run(link)
    server.start()
    await link.pause()
    assert await run(link) == b"42"
    assert not link.is_down
    await link.aclose()


async def test_a_redis_that_stalls_is_not_waited_for(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    server.start()
    link = Link(server.url, timeout=1.0)
    assert await run(link) == b"42"
    server.pause()
    with pytest.raises(FleetError, match="no answer in time") as caught:
        await run(link)
    assert caught.value.is_transient
    server.go_on()
    # What it said in the meantime was for somebody else.
    assert await run(link, "return ARGV[1]", "43") == b"43"
    await link.aclose()


async def test_pauses_grow_and_end_with_a_success(server: RedisServer) -> None:
    clock = ManualClock()
    link = Link(server.url, clock=clock, random=lambda: 1.0)
    pauses = []
    for _ in range(7):
        link.note_failure(FleetError("away", is_transient=True))
        # All that failed together failed once.
        link.note_failure(FleetError("away", is_transient=True))
        began = clock.time()
        waiting = asyncio.ensure_future(link.pause())
        await ticks()
        for _ in range(200):
            clock.advance(0.01)
            await ticks()
            if waiting.done():
                break
        pauses.append(round(clock.time() - began, 2))
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0], abs=0.02)
    await run(link)
    await asyncio.wait_for(link.pause(), 10)
    assert clock.timers == 0
    await link.aclose()


@pytest.mark.parametrize("user", ["default", "nobody"])
async def test_a_wrong_password_is_told_at_once(new_server: Callable[..., RedisServer], user: str) -> None:
    server = new_server(requirepass="right")
    server.start()
    link = Link(f"redis://{user}:hunter2@127.0.0.1:{server.port}/0")
    with pytest.raises(FleetError, match="refused the user or the password") as caught:
        await run(link)
    assert caught.value.ends_all
    assert not caught.value.is_transient
    await link.aclose()
    link = Link(server.url)
    with pytest.raises(FleetError, match="refused the user or the password"):
        await run(link)
    await link.aclose()


async def test_rights_that_are_missing_are_told_at_once(new_server: Callable[..., RedisServer]) -> None:
    server = new_server(user="shy on >hunter2 ~* &* +@connection +get")
    server.start()
    link = Link(f"redis://shy:hunter2@127.0.0.1:{server.port}/0")
    with pytest.raises(FleetError, match="does not let this user do what a fleet needs") as caught:
        await run(link)
    assert caught.value.ends_all
    assert "shy" not in str(caught.value)
    await link.aclose()


@pytest.mark.parametrize(
    ("text", "is_transient", "says"),
    [
        ("return redis.call('GET', ARGV[1])", None, ""),
        ("redis.call('SET', ARGV[1], 1) return redis.call('ZCARD', ARGV[1])", False, "something else"),
        ("return redis.call('NO_SUCH')", False, "Lua scripts that may call TIME"),
        ("return redis.error_reply('OOM no memory left')", True, "OOM"),
        ("return redis.error_reply('READONLY a replica')", True, "READONLY"),
        ("return redis.error_reply('LOADING the data')", True, "cannot be reached|not ready"),
        ("return redis.error_reply('TRYAGAIN later')", True, "is not ready"),
        ("return redis.error_reply('MOVED 1 127.0.0.1:1')", False, "RedisCluster"),
        ("return redis.error_reply('CLUSTERDOWN the cluster')", True, "."),
        ("return redis.error_reply('MASTERDOWN a link')", True, "."),
        ("return redis.error_reply('NOREPLICAS are good')", True, "NOREPLICAS"),
        ("return redis.error_reply('NOPERM this user')", False, "does not let this user"),
    ],
)
async def test_what_redis_refuses(link: Link, text: str, is_transient: bool | None, says: str) -> None:
    if is_transient is None:
        assert await run(link, text) is None
        return
    with pytest.raises(FleetError, match=says) as caught:
        await run(link, text)
    assert caught.value.is_transient is is_transient
    assert link.where in str(caught.value)


async def test_a_redis_that_is_full_may_have_room_later(new_server: Callable[..., RedisServer]) -> None:
    server = new_server(maxmemory=1)
    server.start()
    link = Link(server.url)
    with pytest.raises(FleetError) as caught:
        await run(link, "return redis.call('SET', 'x', 1)")
    assert caught.value.is_transient
    await link.aclose()


async def test_a_call_that_was_cut_off_is_not_repeated_by_redis_py() -> None:
    calls = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        while line := await reader.readline():
            if line.strip() == b"EVALSHA":
                calls += 1
                break
            if line.strip() == b"CLIENT":
                writer.write(b"+OK\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as silent:
        link = Link(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}")
        with pytest.raises(FleetError, match="cannot be reached"):
            await run(link)
        await link.aclose()
    assert calls == 1


async def test_nothing_is_left_over(server: RedisServer, no_noise: None) -> None:
    link = Link(server.url)
    link.start(link.run(script("return redis.call('NO_SUCH')"), ()))
    await link.aclose()
    del link
    gc.collect()
