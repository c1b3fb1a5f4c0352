"""The scripts against a model of the queue, and against what no order of calls, deaths and losses may do.

What the interleavings take for the scripts has to do the same.
"""

import asyncio
import itertools
import math
from collections.abc import Awaitable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from statuslookup.fleet.link import Link
from statuslookup.fleet.shared_queue import SharedQueue
from statuslookup.fleet.slot import ANNOUNCE, FOLLOW_UP, LeftPace, Sent, Taken, Terms, Wait
from tests.support.members import Heard, identity
from tests.support.played_redis import PlayedRedis
from tests.support.queue_model import Queue, Slots
from tests.support.redis_servers import RedisServer
from tests.support.timed_scripts import TimedLink
from tests.support.virtual_time import ManualClock

INTERVAL, PERIOD, PLACES, LEASE = 0.5, 1.0, 2, 2.0
PACE = LeftPace(0, None)
MOST = 3

who = st.integers(0, 2)
some_keys = st.lists(st.sampled_from("abcdef"), max_size=4, unique=True)


class Fleet(RuleBasedStateMachine):
    """Three members of one account, in any order of what they may do and of what may befall them."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(1_700_000_000.0)
        self.link = self.connect()
        self.forget()
        self.numbers = itertools.count(1)
        self.members = [self.new_member() for _ in range(3)]
        self.queue = Queue()
        self.slots = Slots(INTERVAL, PERIOD, PLACES)
        self.leases: dict[int, float] = {}
        self.held: dict[int, tuple[SharedQueue, list[str]]] = {}
        """Who holds which slot, and the keys that came with it."""

    def connect(self) -> Link:
        self.redis = Redis.from_url(self.url, protocol=2)
        return TimedLink(self.redis, self.clock)

    def forget(self) -> None:
        """Let Redis lose all that it has."""
        self.run(self.redis.flushall())

    def new_member(self) -> SharedQueue:
        number = next(self.numbers)
        return SharedQueue(self.link, identity(), Heard(), lease=LEASE, process=number)

    def run(self, call: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        self.run(self.link.aclose())
        self.run(self.redis.aclose())
        self.loop.close()

    @property
    def now(self) -> float:
        return self.clock.time()

    @property
    def living(self) -> set[int]:
        return {process for process, ends_at in self.leases.items() if ends_at > self.now}

    # --- what a member does ---------------------------------------------------------------------------

    def take(
        self, member: SharedQueue, most: int, *, is_alone: bool = True, loses: bool = False, **said: list[str]
    ) -> Taken | Wait:
        # Two calls are never one, and Redis's time is its order.
        self.clock.stop(0.01)
        keys: dict[str, Any] = {"first": [], "bulk": [], "gone": []} | said
        knows = set(member._held)
        self.slots.lapse(self.leases, self.now)
        process = member.process
        has_lost = member._losses > member._losses_said
        was_away = process not in self.living or has_lost
        for request in list(self.slots.requests):
            if request.process == process and request.ends_at == math.inf and request.fence not in knows:
                was_away = True
                if has_lost:
                    # It may have been sent.
                    request.ends_at = self.now
                else:
                    # The reply of its grant was lost.
                    self.slots.unsent(request.fence)
        self.leases[process] = self.now + LEASE
        if was_away:
            self.queue.give_back(process)
        self.queue.say(process, self.living, **keys)
        terms = Terms(interval=INTERVAL, period=PERIOD, places=PLACES, is_alone=is_alone)
        reply: Taken | Wait = self.run(member.take(terms, most, **keys))
        if isinstance(reply, Wait) and reply.why != "idle":
            return reply
        expected = self.queue.take(process, most, self.living) if most > 0 else []
        if isinstance(reply, Wait):
            assert expected == []
            return reply
        assert reply.keys == expected
        assert bool(reply.keys) == (most > 0)
        self.slots.grant(reply.fence, process, is_alone=is_alone, now=self.now)
        for other in self.members:
            # They hear that it was taken.
            other._hear_turn(f"taken {reply.fence} {process} 0 0".encode())
        if loses:
            del member._held[reply.fence]
        else:
            self.held[reply.fence] = member, reply.keys
        return reply

    @rule(who=who, first=some_keys, bulk=some_keys, gone=some_keys)
    def announce(self, who: int, first: list[str], bulk: list[str], gone: list[str]) -> None:
        reply = self.take(self.members[who], ANNOUNCE, first=first, bulk=bulk, gone=gone)
        assert isinstance(reply, Wait)

    @rule(who=who, first=some_keys, most=st.integers(1, MOST), is_alone=st.booleans(), loses=st.booleans())
    def ask(self, who: int, first: list[str], most: int, is_alone: bool, loses: bool) -> None:
        self.take(self.members[who], most, is_alone=is_alone, loses=loses, first=first)

    @rule(who=who, is_alone=st.booleans())
    def follow_up(self, who: int, is_alone: bool) -> None:
        self.take(self.members[who], FOLLOW_UP, is_alone=is_alone)

    @rule(who=who, is_alone=st.booleans())
    def ask_until_it_is_granted(self, who: int, is_alone: bool) -> None:
        """Where all others are silent, what is said of the wait holds."""
        member = self.members[who]
        for _ in range(5):
            reply = self.take(member, MOST, is_alone=is_alone)
            if isinstance(reply, Taken) or reply.why == "idle":
                return
            assert 0 < reply.seconds <= 2 * LEASE + PERIOD + 2 or member._held
            self.pass_time(reply.seconds + 1e-6)
            for fence in list(member._held):
                self.tell(fence, share=1.0, is_sent=True, again=False)
        raise AssertionError(f"the slot was never free: {reply}")

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        share=st.sampled_from([0.0, 0.5, 1.0]),
        is_sent=st.booleans(),
        again=st.booleans(),
        is_quiet=st.booleans(),
    )
    def end(self, data: st.DataObject, share: float, is_sent: bool, again: bool, is_quiet: bool) -> None:
        fence = data.draw(st.sampled_from(sorted(self.held)))
        self.tell(fence, share=share, is_sent=is_sent, again=again, is_quiet=is_quiet)

    def tell(self, fence: int, *, share: float, is_sent: bool, again: bool, is_quiet: bool = False) -> None:
        member, keys = self.held.pop(fence)
        told, back = keys[: round(len(keys) * share)], keys[round(len(keys) * share) :]
        self.slots.lapse(self.leases, self.now)
        sent = Sent(pause=INTERVAL, period=PERIOD, pace=PACE) if is_sent else None
        request = self.slots.find(fence)
        if request is not None:
            if is_sent:
                # Late or not: by now it was counted.
                request.ends_at = self.now + 0.01
            else:
                self.slots.unsent(fence)
        others = self.queue.others_told(member.process, set(told))
        self.queue.told(member.process, set(told))
        self.queue.give_back(member.process, set(back))
        self.clock.stop(0.01)
        for _ in range(1 + again):
            payload = None if is_quiet else b""
            is_owed = self.run(member.done(fence, sent, told=told, back=back, payload=payload))
            # Nobody who lives or waits goes without a message.
            assert is_owed or not (is_quiet and told and (others or self.living - {member.process}))
        if is_owed:
            self.run(member.done(None, None, told=told))

    # --- what befalls them ----------------------------------------------------------------------------

    @rule(who=who)
    def lose_track(self, who: int) -> None:
        """Claim no slot any more, as where what was said of one cannot be said."""
        member = self.members[who]
        member._held.clear()
        member.let_go()
        self.held = {fence: held for fence, held in self.held.items() if held[0] is not member}

    @rule(seconds=st.sampled_from([0.01, 0.3, 0.5, 0.6, 1.0, 1.9, 2.5]))
    def pass_time(self, seconds: float) -> None:
        self.clock.stop(seconds)

    @rule(who=who)
    def kill(self, who: int) -> None:
        dead = self.members[who]
        self.members[who] = self.new_member()
        self.members[who]._seen = dead._seen
        self.held = {fence: held for fence, held in self.held.items() if held[0] is not dead}

    @rule()
    def lose_everything(self) -> None:
        self.slots.lapse(self.leases, self.now)
        self.forget()
        self.queue.entries.clear()
        self.leases.clear()
        for request in self.slots.requests:
            # A holder may go on until its lease would have ended.
            request.ends_at = min(request.ends_at, self.now + LEASE)
            request.is_forgotten = not request.is_alone

    @invariant()
    def all_ends(self) -> None:
        async def ends() -> list[int]:
            return [await self.redis.pttl(name) for name in await self.redis.keys("*")]

        assert all(milliseconds > 0 for milliseconds in self.run(ends()))


class OnPlayedRedis(Fleet):
    """The same members on the scripts in plain Python."""

    def connect(self) -> Link:
        self.played = PlayedRedis(latency=0.0, now=lambda: 1000 * self.clock.time())
        self.redis = self.played
        return Link(self.played, clock=self.clock)

    def forget(self) -> None:
        self.played.lose_all()

    def all_ends(self) -> None:
        """It keeps no keys that could end."""


def compare_with_model(fleet: type[Fleet], examples: int) -> None:
    thoroughly = settings(
        max_examples=examples, stateful_step_count=40, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(fleet, settings=thoroughly)


def test_scripts_do_what_the_model_does(shared_server: RedisServer, pytestconfig: pytest.Config) -> None:
    class OnServer(Fleet):
        url = shared_server.url

    compare_with_model(OnServer, pytestconfig.getoption("chaos") // 400)


def test_what_the_interleavings_take_for_the_scripts_does_what_the_model_does(
    pytestconfig: pytest.Config,
) -> None:
    compare_with_model(OnPlayedRedis, pytestconfig.getoption("chaos") // 400)
