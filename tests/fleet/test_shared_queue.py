"""One member's view of the slot: what is cancelled, lost, late or foreign does no harm."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from statuslookup import FleetError
from statuslookup.fleet.slot import ANNOUNCE, LeftPace, Sent, Taken, Terms, Wait
from tests.support.fleets import until
from tests.support.members import NO_PACE, SENT, SHORT_LEASE, TERMS, Fleet, identity, taken, whole_database
from tests.support.redis_servers import RedisServer
from tests.support.virtual_time import ManualClock


def test_two_members_have_numbers_of_their_own(fleet: Fleet) -> None:
    assert len({fleet.member().process for _ in range(100)}) == 100


async def test_what_a_cancelled_caller_is_granted_is_given_back(fleet: Fleet) -> None:
    one, two = fleet.member(), fleet.member()
    await two.take(TERMS, ANNOUNCE, first=["1"])
    for ticks in range(12):
        asking = asyncio.ensure_future(one.take(TERMS, 200))
        for _ in range(ticks):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        if not asking.cancelled():
            # It was through already.
            reply = asking.result()
            if isinstance(reply, Wait):
                # What one before it was granted is not given back yet.
                assert reply.why == "busy"
            else:
                await one.done(reply.fence, None, back=reply.keys)
    while one._link._calls:
        await asyncio.wait(one._link._calls)
    assert one._held == {}
    assert (await taken(two)).keys == ["1"]


async def test_calls_of_one_member_come_one_after_the_other(fleet: Fleet) -> None:
    one = fleet.member()
    replies = await asyncio.gather(*(one.take(TERMS, 200, first=[f"{key}"]) for key in range(20)))
    (had,) = (reply for reply in replies if isinstance(reply, Taken))
    # The grant was not taken for one whose reply was lost.
    assert not one.is_late(had.fence)
    assert {reply.why for reply in replies if isinstance(reply, Wait)} == {"busy"}


async def test_done_is_repeated_until_redis_is_back(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    server.start()
    async with Fleet(server.url) as fleet:
        one, two = fleet.member(), fleet.member()
        had = await taken(one, "1")
        await two.listen()
        server.pause()
        telling = asyncio.ensure_future(one.done(had.fence, SENT, told=["1"], payload=b"1 is known"))
        await asyncio.sleep(0.05)
        telling.cancel()
        server.go_on()
        # Where Redis was paused for longer than a call may take, it is told twice.
        await until(lambda: b"1 is known" in fleet.heard[two.process].payloads)
        while one._link._calls:
            await asyncio.wait(one._link._calls)
        assert one._held == {}


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_slot_whose_return_is_cut_off_is_free_an_interval_later(
    timed_fleet: Fleet, leaves: bool
) -> None:
    """As by a program that cancels every task, before the call began."""
    one, two = timed_fleet.member(), timed_fleet.member()
    had = await taken(one, "1")
    timed_fleet.pass_time(0.2)
    telling = asyncio.ensure_future(one.done(had.fence, SENT, told=["1"]))
    await asyncio.sleep(0)
    (call,) = one._link._calls
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    assert one._held == {}
    await (one.leave() if leaves else one.take(TERMS, ANNOUNCE))
    # Something was sent, and counted by now.
    reply = await two.take(TERMS, 200, first=["2"])
    assert isinstance(reply, Wait)
    assert reply.seconds == pytest.approx(TERMS.interval, abs=0.01)
    timed_fleet.pass_time(TERMS.interval)
    assert (await taken(two)).keys == ["1", "2"][leaves:]


async def test_done_gives_up_when_the_lease_has_ended(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    server.start()
    async with Fleet(server.url, lease=SHORT_LEASE) as fleet:
        one = fleet.member()
        had = await taken(one, "1")
        server.stop()
        with pytest.raises(FleetError) as caught:
            await one.done(had.fence, SENT, told=["1"])
        assert caught.value.is_transient
        assert one.is_late(had.fence)
        assert one._held == {}


async def test_a_slot_is_late_three_quarters_of_a_lease_after_it_was_asked_for(server: RedisServer) -> None:
    clock = ManualClock()
    async with Fleet(server.url, lease=2.0, clock=clock) as fleet:
        one = fleet.member()
        had = await taken(one, "1")
        clock.stop(1.49)
        assert not one.is_late(had.fence)
        clock.stop(0.02)
        assert one.is_late(had.fence)
        # A process that says in time that it lives goes on holding it.
        await one.take(TERMS, ANNOUNCE)
        assert not one.is_late(had.fence)
        await one.done(had.fence, SENT, told=["1"])
        assert one.is_late(had.fence)


async def test_a_fence_that_others_speak_of_is_known(fleet: Fleet, redis: Redis) -> None:
    one, two = fleet.member(), fleet.member()
    await two.listen()
    await taken(one, "1")
    await until(lambda: fleet.heard[two.process].turns == [(False, one.process)])
    await redis.flushall()
    # This one has never sent anything.
    reply = await two.take(TERMS, 200, first=["2"])
    assert isinstance(reply, Wait)
    assert reply.why == "forgotten"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"taken",
        b"taken 1 2",
        b"taken 1 2 3",
        b"taken -1 2 3 4",
        b"taken 1 2 -3 4",
        b"taken 1 2 3 -4",
        b"taken 1e3 2 3 4",
        b"taken 9007199254740993 2 3 4",
        b"taken " + b"9" * 5000 + b" 2 3 4",
        b"stolen 1 2 3 4",
        b"free \xff 2 3 4",
        "taken \u0661 2 3".encode(),
    ],
)
async def test_what_nobody_of_ours_says_is_not_heard(fleet: Fleet, message: bytes) -> None:
    one = fleet.member()
    one.hear(identity().turns, message)
    one.hear("statuslookup:else", b"taken 1 2 3 4")
    assert fleet.heard[one.process].turns == []
    assert one._seen == 0


async def test_a_pace_that_was_left_comes_with_every_reply(timed_fleet: Fleet) -> None:
    one, two = timed_fleet.member(), timed_fleet.member()
    had = await taken(one, "1")
    assert had.pace == LeftPace(0, None)
    frozen = Sent(pause=0.05, period=0.1, freeze=0.5, pace=LeftPace(1, 0.0))
    await one.done(had.fence, frozen, told=["1"])
    paced = await two.take(TERMS, 200, first=["2"])
    assert isinstance(paced, Wait)
    assert paced.why == "paced"
    assert SENT.pause < paced.seconds <= frozen.freeze
    assert paced.pace.rung == 1
    assert paced.pace.calm == pytest.approx(0.0, abs=0.01)
    timed_fleet.pass_time(frozen.freeze)
    # To go on from it is asked of who asks when the slot is free, not of everybody all the time.
    told = await two.take(TERMS, 200)
    assert isinstance(told, Wait)
    assert told.why == "pace"
    assert isinstance(await two.take(TERMS, 200), Taken)


async def test_who_does_not_know_the_pace_is_told_before_it_is_granted_anything(fleet: Fleet) -> None:
    one, two = fleet.member(), fleet.member()
    had = await taken(one, "1")
    await one.done(had.fence, Sent(pause=0.0, period=0.0, pace=LeftPace(2, 0.0)), told=["1"])
    await asyncio.sleep(TERMS.interval)
    reply = await two.take(TERMS, 200, first=["2"])
    assert isinstance(reply, Wait)
    assert (reply.why, reply.seconds, reply.pace.rung) == ("pace", 0.0, 2)
    assert isinstance(await two.take(TERMS, 200), Taken)


async def test_a_pace_that_stays_is_not_moved_by_the_ways(timed_fleet: Fleet, redis: Redis) -> None:
    one = timed_fleet.member()
    had = await taken(one, "1")
    await one.done(had.fence, Sent(pause=0.0, period=0.0, pace=LeftPace(1, 0.0)), told=["1"])
    before = await redis.hget(identity().slot, "calm")
    for _ in range(3):
        timed_fleet.pass_time(TERMS.interval)
        had = await taken(one, "1")
        assert had.pace.calm is not None
        timed_fleet.pass_time(0.02)
        left = LeftPace(1, had.pace.calm + 0.02)
        await one.done(had.fence, Sent(pause=0.0, period=0.0, pace=left), told=["1"])
    assert await redis.hget(identity().slot, "calm") == before


async def test_an_older_pace_replaces_no_newer_one(fleet: Fleet) -> None:
    """Of two requests that are under way together, one is rejected: the other's holder does not know it."""
    beside = Terms(interval=0.0, period=0.1, places=4, is_alone=False)
    one, two = fleet.member(), fleet.member()
    first = await one.take(beside, 1, first=["1", "2"])
    second = await two.take(beside, 1)
    assert isinstance(first, Taken)
    assert isinstance(second, Taken)
    await one.done(first.fence, Sent(pause=0.0, period=0.1, pace=LeftPace(3, 0.0)), told=first.keys)
    await two.done(second.fence, Sent(pause=0.0, period=0.1, pace=NO_PACE), told=second.keys)
    assert (await one.take(TERMS, ANNOUNCE)).pace.rung == 3
    await two.done(second.fence, Sent(pause=0.0, period=0.1, pace=LeftPace(0, 50.0)))
    assert (await one.take(TERMS, ANNOUNCE)).pace.rung == 3


async def test_clients_with_unlike_limits_each_keep_their_own(fleet: Fleet) -> None:
    quick, slow = fleet.member(), fleet.member()
    had = await taken(quick, "1")
    await quick.done(had.fence, SENT, told=["1"])
    terms = Terms(interval=10.0, period=10.0, places=1)
    reply = await slow.take(terms, 200, first=["2"])
    assert isinstance(reply, Wait)
    assert 5.0 < reply.seconds <= 10.0


@pytest.mark.parametrize(
    "key", ["ü", '"', "\\", "\x00", "\n", "1:2", "{x}", "a/b", "😀", "x" * 5000, " ", "%d"]
)
async def test_any_text_can_be_a_key(fleet: Fleet, key: str) -> None:
    one, two = fleet.member(), fleet.member()
    assert (await taken(one, key)).keys == [key]
    await one.leave(gone=[key])
    await two.take(TERMS, ANNOUNCE, bulk=[key, "other"])
    await two.take(TERMS, ANNOUNCE, first=[key])
    await asyncio.sleep(TERMS.interval)
    reply = await taken(two)
    assert reply.keys == [key, "other"]
    await two.done(reply.fence, SENT, told=[key, "other"])


async def test_half_a_surrogate_is_refused_before_anything_is_sent(fleet: Fleet, redis: Redis) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        await fleet.member().take(TERMS, ANNOUNCE, first=["\ud800"])
    assert await redis.keys("*") == []


async def test_nothing_secret_is_in_redis(fleet: Fleet, server: RedisServer) -> None:
    one = fleet.member("4fe1-account-token")
    had = await taken(one, "42")
    await one.done(had.fence, SENT, payload=b"1 is known")
    text = repr(await whole_database(server.url))
    assert "42" in text
    for secret in ("4fe1", "account-token", "known", "Test", "test.example"):
        assert secret not in text


async def test_names_are_in_one_slot_of_a_cluster_and_only_the_queue_has_a_version() -> None:
    names = identity()
    tag = names.slot.removeprefix("statuslookup:")
    assert tag[0] == "{"
    assert tag[-1] == "}"
    assert names.alive == f"statuslookup:{tag}:alive"
    assert names.turns == f"statuslookup:{tag}:turns"
    assert names.queue.startswith(f"statuslookup:{tag}:1:")
    assert names.outcomes == f"{names.queue}:outcomes"
    other = identity("b")
    assert (other.slot, other.alive, other.turns) == (names.slot, names.alive, names.turns)
    assert other.queue != names.queue
    assert other.mac_key != names.mac_key
    assert identity(name="else").slot != names.slot
    assert identity(budget="else").slot != names.slot
    assert len(names.mac_key) == 32
    assert "mac_key" not in repr(names)


def test_a_budget_that_others_cannot_name_is_refused() -> None:
    budget: Any = ("SMSFire", object())
    with pytest.raises(TypeError, match=r"provider\.budget"):
        identity(budget=budget)
    with pytest.raises(TypeError, match="frozenset"):
        identity(budget=frozenset(["a"]))  # type: ignore[arg-type] # that is the test


async def test_what_could_not_be_told_may_be_asked_by_others(fleet: Fleet) -> None:
    """Redis refused it, as where rights are changed: the others need not wait until this process rests."""
    one, two = fleet.member(), fleet.member()
    await two.take(TERMS, ANNOUNCE, first=["2"])
    had = await taken(one)
    assert had.keys == ["2"]
    await one.done(had.fence, SENT)

    async def refused(*_: Any) -> Any:
        raise FleetError("refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one._link, "run", refused)
        with pytest.raises(FleetError):
            await one.done(None, None, told=["2"])
    await one.take(TERMS, ANNOUNCE)
    await asyncio.sleep(TERMS.period)
    assert (await taken(two)).keys == ["2"]
    # Said once, it is over: what is taken from now on stays taken.
    await asyncio.sleep(TERMS.period)
    await one.take(TERMS, ANNOUNCE)
    assert not one.was_away


async def test_what_is_let_go_while_a_call_is_under_way_is_said_by_the_next_one(fleet: Fleet) -> None:
    one = fleet.member()
    await one.take(TERMS, ANNOUNCE)
    run = one._link.run

    async def let_go_and_run(*arguments: Any) -> Any:
        one.let_go()
        return await run(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one._link, "run", let_go_and_run)
        await one.take(TERMS, ANNOUNCE)
    assert not one.was_away
    await one.take(TERMS, ANNOUNCE)
    assert one.was_away
    await one.take(TERMS, ANNOUNCE)
    assert not one.was_away


async def test_what_was_let_go_is_said_again_after_a_call_that_failed(fleet: Fleet) -> None:
    one = fleet.member()
    await one.take(TERMS, ANNOUNCE)
    one.let_go()

    async def refused(*_: Any) -> Any:
        raise FleetError("refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one._link, "run", refused)
        with pytest.raises(FleetError):
            await one.take(TERMS, ANNOUNCE)
    await one.take(TERMS, ANNOUNCE)
    assert one.was_away
