"""A fleet in which something happens before each step of the event loop in turn."""

import asyncio
import random
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from attrs import define, field

from statuslookup import (
    ClosedError,
    RateLimit,
    RetryPolicy,
    StatusClient,
    StatusLookupError,
)
from statuslookup.fleet import RedisFleet, shared_queue
from statuslookup.providers.base import Exchange
from tests.support.fakes import FakeServer, Tens, other_tasks
from tests.support.interleavings import Call, Event, Explorer, Play, Stage, event
from tests.support.played_redis import PlayedRedis
from tests.support.virtual_time import LoopClock

INTERVAL = 0.5
LEASE = 2.0


class SharedTens(Tens):
    """Tens that travel."""

    def __init__(self, rate_limit: RateLimit | None = RateLimit(2)) -> None:  # noqa: B008 # frozen
        super().__init__(max_batch=2, rate_limit=rate_limit)
        self.budget = "tens"

    def key_to_text(self, key: int) -> str:
        return str(key)

    def key_from_text(self, text: str) -> int:
        return int(text)

    def answer_to_json(self, answer: int) -> Any:
        return answer

    def answer_from_json(self, value: Any) -> int:
        return int(value)


@pytest.fixture(autouse=True)
def _numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes have the same numbers in each run."""
    monkeypatch.setattr(shared_queue, "secrets", SimpleNamespace(randbelow=random.randrange))


class Twice(SharedTens):
    """Asks once more for the last key of a batch, so that an exchange needs a further slot."""

    def exchange(self, keys: Sequence[int]) -> Exchange[int, int]:
        *first, last = keys
        outcomes = yield from super().exchange(keys)
        yield {key: outcomes[key] for key in first}
        return (yield from super().exchange([last]))


@define
class Fleet:
    """Two members on one Redis, and what each is asked for."""

    stage: Stage
    redis: PlayedRedis = field(factory=PlayedRedis)
    server: FakeServer = field(factory=FakeServer)
    clients: list[StatusClient[int, int]] = field(factory=list)
    lookups: dict[str, Call] = field(factory=dict)
    members: dict[str, int] = field(factory=dict)
    """Which member was asked."""
    are_excused: set[int] = field(factory=set)
    """The members whose lookups may end at this moment, because what they need was cut off."""
    closing: dict[int, asyncio.Task[None]] = field(factory=dict)
    patience: float = 1.4
    """How many seconds the lookups may take."""
    is_unlimited: bool = False
    has_lost_all: bool = False
    """Whether Redis has forgotten who sends: then a process that has heard of nobody sends, too."""

    def __attrs_post_init__(self) -> None:
        self.stage.scene = self

    async def open(self, provider: SharedTens) -> None:
        self.is_unlimited = provider.rate_limit is None
        for _ in range(2):
            client = StatusClient(
                provider,
                fleet=RedisFleet(self.redis),
                transport=self.server,
                clock=LoopClock(),
                linger=0.0,
                retry=RetryPolicy(attempts=3, backoff=0.1, max_backoff=0.2),
            )
            self.clients.append(client)

    def ask(self, name: str, member: int, *keys: int) -> None:
        client = self.clients[member]
        call: Any = client.get(keys[0]) if len(keys) == 1 else client.get_many(keys)
        expected = 10 * keys[0] if len(keys) == 1 else {key: 10 * key for key in keys}
        lookup = self.lookups[name] = Call(asyncio.ensure_future(call), expected, keys)
        self.members[name] = member
        if member in self.closing or member in self.are_excused:
            lookup.excuses += (ClosedError,)

    def join(self, member: int, key: int) -> None:
        """Ask for a key more, which may need a request of its own."""
        self.ask(f"x{len(self.lookups)}", member, key)
        self.patience += 0.7

    # --- what happens ---------------------------------------------------------------------------------

    def cancel(self, name: str) -> None:
        if name in self.lookups:
            lookup = self.lookups[name]
            if lookup.task.cancel():
                lookup.excuses += (asyncio.CancelledError,)

    def expire(self, name: str) -> None:
        """Let the deadline of a call for one key come."""
        lookup = self.lookups.get(name)
        engine = self.clients[self.members.get(name, 0)]._engine
        if lookup is None or engine is None or lookup.task.done():
            return
        answer = lookup.task._fut_waiter  # type: ignore[attr-defined] # what the call waits for
        if answer is not None and not answer.done():
            engine._expire({answer: lookup.keys[0]}, 60.0)
            lookup.excuses += (StatusLookupError,)

    def close(self, member: int) -> None:
        self.excuse(member)
        if member not in self.closing:
            self.closing[member] = asyncio.ensure_future(self.clients[member].aclose())

    def cancel_closing(self) -> None:
        for task in self.closing.values():
            task.cancel()

    def cut_off(self, member: int) -> None:
        """Cancel what talks to Redis, as a program that cancels every task does."""
        engine: Any = self.clients[member]._engine
        task = None if engine is None else engine._source.worker._task
        if task is not None and not task.done():
            self.excuse_for_now(member)
            task.cancel()

    def cut_all_off(self) -> None:
        """Cancel every task but the callers', as a careless program does."""
        callers = {self.stage.main, *(lookup.task for lookup in self.lookups.values())}
        for task in asyncio.all_tasks() - callers:
            task.cancel()
        for member in (0, 1):
            self.excuse_for_now(member)

    def excuse(self, member: int) -> None:
        for name, lookup in self.lookups.items():
            if self.members[name] == member:
                lookup.excuses += (ClosedError,)

    def excuse_for_now(self, member: int) -> None:
        """Let also those lookups of a member end that come before it knows that it was cut off."""
        self.excuse(member)
        self.are_excused.add(member)
        self.stage.loop.call_later(0.001, self.are_excused.discard, member)
        self.patience += LEASE + 2 * INTERVAL

    def lose_reply(self) -> None:
        self.redis.losses += 1
        self.patience += LEASE + 2 * INTERVAL

    def go_away(self, seconds: float) -> None:
        self.redis.is_away = True
        self.redis.cut()
        asyncio.get_running_loop().call_later(seconds, setattr, self.redis, "is_away", False)
        self.patience += seconds + 1.0 + LEASE + 2 * INTERVAL

    def cut(self) -> None:
        """Let what is on its way to the members be lost: what it told is asked for again."""
        self.redis.cut()
        self.patience += 1.0 + 2 * INTERVAL

    def restart(self) -> None:
        """Let Redis lose all that it knows."""
        self.has_lost_all = True
        self.redis.lose_all()
        self.redis.cut()
        self.patience += 1.0 + LEASE + 2 * INTERVAL

    def forget_scripts(self) -> None:
        self.redis.knows_scripts = False

    def answer_once(self, outcome: int | Exception) -> None:
        number = self.server.answered + 1
        self.server.outcome = lambda n: outcome if n == number else 200
        self.patience += 6.0

    def hear_strange_words(self) -> None:
        """Let anybody who may publish say what cannot be so."""
        channels = {channel for each in self.redis.listeners for channel in each.channels}
        for channel in channels:
            for word in (b"free 9 99 0 0", b"taken 8 98 0 0", b"free x", b"\xff" * 40):
                self.redis.publish_now(channel, word)
        self.patience += LEASE + 2 * INTERVAL

    def die_with_the_slot(self) -> None:
        """Let a third process take the slot with all that waits, and be killed."""
        self.redis.take_as_another(LEASE)
        self.patience += LEASE + 2 * INTERVAL

    # --- the end --------------------------------------------------------------------------------------

    async def finish(self) -> None:
        try:
            await self.check()
        finally:
            for client in self.clients:
                await client.aclose()

    async def check(self) -> None:
        loop = asyncio.get_running_loop()
        # What happens meanwhile may take more patience.
        while open_tasks := [lookup.task for lookup in self.lookups.values() if not lookup.task.done()]:
            left = self.stage.began_at + self.patience - loop.time()
            if left <= 0:
                break
            await asyncio.wait(open_tasks, timeout=left)
        self.stage.end()
        for name, lookup in self.lookups.items():
            lookup.check(name)
        await asyncio.sleep(0.01)
        for member, client in enumerate(self.clients):
            if member not in self.closing:
                async with asyncio.timeout(max(1.5, self.patience)):
                    assert await client.get(90 + member) == 900 + 10 * member
        await self.rest()
        for client in self.clients:
            await client.aclose()
        await asyncio.gather(*self.closing.values(), return_exceptions=True)
        gaps = (
            [1.0]
            if self.has_lost_all or self.is_unlimited
            else [after - before for before, after in pairwise(self.server.times)]
        )
        assert min(gaps, default=1.0) >= INTERVAL - 1e-6 - self.server.latency, self.server.times
        data = self.redis.data
        assert data.alive == {}, data.alive
        assert [place for place in data.places if place.is_under_way] == []
        assert data.queue == {}, data.queue
        assert self.redis.listeners == [], "somebody still listens"

    async def rest(self) -> None:
        """See that nothing runs any more soon after the last lookup."""
        await asyncio.sleep(3 * LEASE + 6)
        tasks = other_tasks()
        assert tasks == set(), f"at rest: {tasks}"
        assert self.stage.timers == [], f"at rest: {self.stage.timers}"
        for client in self.clients:
            stats = client.stats()
            assert (stats.queued, stats.in_flight) == (0, 0)


async def play(stage: Stage, provider: SharedTens | None = None, **options: Any) -> None:
    """Equal and other keys at both members, in two batches."""
    fleet = Fleet(stage, **options)
    await fleet.open(provider or SharedTens())
    stage.begin()
    fleet.ask("a1", 0, 1)
    await asyncio.sleep(0.005)
    fleet.ask("b1", 1, 1)
    fleet.ask("b2", 1, 2)
    await asyncio.sleep(0.1)
    fleet.ask("a2", 0, 2, 3)
    await fleet.finish()


async def play_twice(stage: Stage) -> None:
    """As before, with two requests for each batch."""
    await play(stage, Twice(), patience=3.2)


async def play_unlimited(stage: Stage) -> None:
    """As before, without a limit: several requests are under way."""
    await play(stage, SharedTens(None))


async def play_with_quick_messages(stage: Stage) -> None:
    """As at first, but what is published is here before the replies of calls that were made earlier."""
    await play(stage, redis=PlayedRedis(message_latency=0.001))


async def play_with_slow_messages(stage: Stage) -> None:
    await play(stage, redis=PlayedRedis(message_latency=0.03))


async def play_for_newcomers(stage: Stage) -> None:
    """One member works, and there is a step every other millisecond for another one to come in."""
    fleet = Fleet(stage, redis=PlayedRedis(message_latency=0.001))
    await fleet.open(SharedTens())
    # So that who works knows of the other one, which rests by then.
    await fleet.clients[1].get(5)
    await asyncio.sleep(1.0)
    stage.begin()
    fleet.ask("a1", 0, 1)
    for _ in range(60):
        await asyncio.sleep(0.002)
    await fleet.finish()


async def play_alone(stage: Stage) -> None:
    """One member works, and a second one comes at the end."""
    fleet = Fleet(stage)
    await fleet.open(SharedTens())
    stage.begin()
    fleet.ask("a1", 0, 1)
    fleet.ask("a2", 0, 1)
    await asyncio.sleep(0.12)
    fleet.ask("b1", 1, 1)
    fleet.ask("b2", 1, 2)
    await fleet.finish()


# Callers that leave, or are late: it is nobody else's business.
LEAVING: dict[str, Event] = {
    **{f"cancel {name}": event(Fleet.cancel, name) for name in ("a1", "b1", "b2", "a2")},
    **{f"deadline of {name}": event(Fleet.expire, name) for name in ("a1", "b1", "b2")},
    **{f"close {member}": event(Fleet.close, member) for member in (0, 1)},
}
OTHERS: dict[str, Event] = {
    "cancel closing": event(Fleet.cancel_closing),
    **{
        f"a call for {key} at {member}": event(Fleet.join, member, key) for key in (1, 4) for member in (0, 1)
    },
    "a lost reply": event(Fleet.lose_reply),
    "away shortly": event(Fleet.go_away, 0.3),
    "away for long": event(Fleet.go_away, 3.0),
    "a restart": event(Fleet.restart),
    "scripts forgotten": event(Fleet.forget_scripts),
    "subscriptions cut": event(Fleet.cut),
    "strange words": event(Fleet.hear_strange_words),
    "429": event(Fleet.answer_once, 429),
    "500": event(Fleet.answer_once, 500),
    "no answer": event(Fleet.answer_once, httpx.ReadError("cut")),
    "a dead holder": event(Fleet.die_with_the_slot),
}
# What only a program does that cancels tasks that are not its own.
CUTS: dict[str, Event] = {
    "cut all off": event(Fleet.cut_all_off),
    **{f"cut off {member}": event(Fleet.cut_off, member) for member in (0, 1)},
}
EVENTS = LEAVING | OTHERS | CUTS
PLAYS = (play_twice, play_unlimited, play_with_quick_messages, play_with_slow_messages, play_alone)


@pytest.mark.parametrize("name", EVENTS)
def test_one_event(name: str, is_thorough: bool) -> None:
    explorer = Explorer(play)
    explorer.try_each(name, EVENTS[name], every=1 if is_thorough else 3 if name in LEAVING else 6)
    explorer.check()


@pytest.mark.parametrize("play", PLAYS)
def test_one_event_elsewhere(play: Play, is_thorough: bool) -> None:
    explorer = Explorer(play)
    for name, happens in EVENTS.items():
        explorer.try_each(name, happens, every=1 if is_thorough else 43)
    explorer.check()


@pytest.mark.parametrize("key", [1, 4])
def test_a_newcomer_misses_nothing(key: int, is_thorough: bool) -> None:
    explorer = Explorer(play_for_newcomers)
    explorer.try_each("a call", event(Fleet.join, 1, key), every=1 if is_thorough else 2)
    explorer.check()


@pytest.mark.parametrize("play", [play, *PLAYS])
def test_two_events(play: Play, is_thorough: bool) -> None:
    explorer = Explorer(play)
    explorer.try_pairs(LEAVING | OTHERS, 10_000 if is_thorough else 50)
    explorer.check()
