"""A look shows who lives, who has the slot and what waits; it only reads, and believes nothing foreign."""

from typing import Any

import pytest
from redis.asyncio import Redis

from statuslookup import FleetError
from statuslookup.fleet.link import Link
from statuslookup.fleet.look import Account, Look, look
from statuslookup.fleet.slot import ANNOUNCE
from tests.fleet.test_redis_setups import ACL
from tests.support.members import SENT, TERMS, Fleet, identity, whole_database
from tests.support.pages import DOCS
from tests.support.redis_servers import RedisServer

LEASE = 30.0
RIGHTS = ["+scan", "+zcount", "+time", "+hmget", "+zrangebyscore", "+hello", "+auth", "+select", "+client"]


async def looked(url: str) -> Look:
    link = Link(url)
    try:
        return await look(link)
    finally:
        await link.aclose()


async def test_it_shows_who_lives_and_has_the_slot_and_what_waits(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as redis, Fleet(redis, lease=LEASE) as fleet:
        one, two = fleet.member("a", process=1), fleet.member("b", process=2)
        await one.take(TERMS, ANNOUNCE, first=["1"], bulk=["2", "3", "4"])
        await two.take(TERMS, ANNOUNCE, bulk=["1", "2"])
        taken: Any = await one.take(TERMS, 2)
        (budget,) = (seen := await looked(server.url)).budgets
        assert (seen.is_whole, seen.where) == (True, f"127.0.0.1:{server.port}/0")
        assert budget.processes.keys() == {1, 2}
        assert all(0 < seconds <= LEASE for seconds in budget.processes.values())
        assert [sender.process for sender in budget.senders] == [1]
        assert 0 <= budget.senders[0].seconds < LEASE
        assert budget.slowed == 0
        names = {identity(account).queue.rpartition(":")[2]: account for account in "ab"}
        shown = {names[account.name]: account for account in budget.accounts}
        assert {name: (each.first, each.bulk, each.taken) for name, each in shown.items()} == {
            "a": (0, 2, 2),
            "b": (0, 2, 0),
        }
        await one.done(taken.fence, SENT, told=taken.keys)
        (budget,) = (await looked(server.url)).budgets
        assert budget.senders == []
        assert 0 <= budget.ready_in <= SENT.pause


async def test_it_changes_nothing_and_needs_few_rights(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as redis, Fleet(redis, lease=LEASE) as fleet:
        await fleet.member().take(TERMS, 1, first=["1", "2"])
        before = await whole_database(server.url)
        await redis.acl_setuser(
            "looker", enabled=True, passwords="+hunter2", keys=["statuslookup:*"], commands=RIGHTS
        )
        try:
            seen = await looked(server.url.replace("//", "//looker:hunter2@"))
        finally:
            await redis.acl_deluser("looker")
        assert [len(budget.processes) for budget in seen.budgets] == [1]
        assert await whole_database(server.url) == before


def test_the_page_names_the_rights_that_tests_run_with() -> None:
    page = " ".join((DOCS / "fleet.md").read_text(encoding="utf-8").split())
    assert f"ACL SETUSER lookups on >password {ACL}" in page
    needed = set(RIGHTS) | {"+ping"}
    assert needed <= set(page.partition("so a user with only")[2].partition("will do")[0].strip("` ").split())


async def test_a_redis_without_a_fleet_shows_none(server: RedisServer) -> None:
    assert (await looked(server.url)).budgets == []


async def test_the_dead_are_not_shown(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as redis:
        slot = identity().slot
        await redis.zadd(f"{slot}:alive", {"1": 1})
        await redis.hset(slot, "places", "1 1 sent 1.000")
        (budget,) = (await looked(server.url)).budgets
        assert (budget.processes, budget.senders) == ({}, [])


async def test_what_is_foreign_is_passed_over(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as redis:
        await redis.set("statuslookup:{abc", "no name of ours")
        await redis.set("statuslookup:{xyz}", "nor this")
        await redis.set("statuslookup:{a1}", "no hash")
        await redis.set("statuslookup:{a1}:alive", "no sorted set")
        await redis.set("statuslookup:{a1}:1:b1", "no queue")
        fields: Any = {"places": "x" * 200 + " 1 2 sent 3", "next": "1e999", "ready": "nan", "rung": "-1"}
        await redis.hset("statuslookup:{a2}", mapping=fields)
        await redis.zadd("statuslookup:{a2}:alive", {"not a number": 1e300, "7" * 40: 1e300})
        first, second = (await looked(server.url)).budgets
        assert first.accounts == [Account("b1", 0, 0, 0)]
        for budget in (first, second):
            assert (budget.processes, budget.senders, budget.ready_in, budget.slowed) == ({}, [], 0, 0)


async def test_it_ends_although_there_is_much_else(server: RedisServer, monkeypatch: Any) -> None:
    async with Redis.from_url(server.url) as redis:
        await redis.mset({f"other:{number}": 1 for number in range(5_000)})
        assert (await looked(server.url)).is_whole
        monkeypatch.setattr("statuslookup.fleet.look._MOST_SCANS", 2)
        assert not (await looked(server.url)).is_whole


async def test_a_redis_that_is_away_is_an_error_without_a_password(server: RedisServer) -> None:
    with pytest.raises(FleetError, match="cannot be reached") as caught:
        await looked("redis://user:hunter2@127.0.0.1:1/0")
    assert caught.value.is_transient
    with pytest.raises(FleetError, match="refused the user") as refused:
        await looked(server.url.replace("//", "//nobody:hunter2@"))
    assert "hunter2" not in f"{caught.value}{refused.value!r}"
    assert refused.value.ends_all
    assert refused.value.__context__ is None
