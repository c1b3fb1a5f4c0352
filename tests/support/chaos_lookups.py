"""Lookups that check their own ends: what was asked, when, and what may come of it."""

import asyncio
import random
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from attrs import evolve

from statuslookup import (
    ClosedError,
    CustomId,
    IncompleteError,
    MessageKey,
    MessageStatus,
    StatusClient,
    StatusLookupError,
)
from tests.support.chaos_server import ChaosServer

SEED: Final = 20261121
WINDOW: Final = 5_000
"""How many neighbouring messages are asked for at a time; the window moves on as the lookups do."""


BULK_CALLS: Final = 20
"""How many calls for many keys are open at a time."""


SHOWN_VIOLATIONS: Final = 20
Client = StatusClient[MessageKey, MessageStatus]


class Chaos:
    """Asks, gives up, and checks every end; what must not be is collected in ``violations``."""

    def __init__(self, client: Client, server: ChaosServer, lookups: int, seed: int) -> None:
        self.lookups = lookups
        self.ends: Counter[str] = Counter()
        self.violations: list[str] = []
        self.bulk_calls = 0
        self.by_id = 0
        self.joined_in_flight = 0
        # The most blocks of Python's allocator that the whole process held in either half of the lookups.
        self.peaks = [0, 0]
        self._client = client
        self._server = server
        self._random = random.Random(seed)
        self._begun = 0
        self._bulk_calls_open = 0
        self._times_ended = bytearray(lookups)
        # The last request whose answer was given to a lookup of the key: by id and by customId.
        self._given = array("l", [0]) * (2 * server.truth.messages)

    @property
    def ended(self) -> int:
        return sum(self.ends.values())

    async def ask(self, most: int, coroutines: int) -> None:
        """Begin lookups until ``most`` have begun, this many at a time, and wait for their ends."""
        most = min(most, self.lookups)
        bulk_calls = BULK_CALLS if coroutines > 1 else 0
        await asyncio.gather(*(self._ask_until(most, bulk_calls) for _ in range(coroutines)))

    async def _ask_until(self, most: int, bulk_calls: int) -> None:
        chance = self._random.random
        while self._begun < most:
            # A few calls at a time are for many keys. They give way to the others, so more of them would
            # only pile up until the wave is over.
            is_bulk = self._bulk_calls_open < bulk_calls and chance() < 0.01
            is_pair = not is_bulk and chance() < 0.03
            # Small enough that a short run has more than a handful of them.
            most_keys = min(1000, 3 + self.lookups // 100)
            count = self._random.randint(3, most_keys) if is_bulk else 1 + is_pair
            count = min(count, most - self._begun)
            numbers = range(self._begun, self._begun + count)
            self._begun += count
            if count == 2:
                await self._cancel_the_second_when_the_first_ends(*numbers)
                continue
            keys = [self._choose_key(number) for number in numbers]
            self.bulk_calls += is_bulk
            self._bulk_calls_open += is_bulk
            call = self._get_many(numbers, keys) if is_bulk else self._get(numbers[0], keys[0])
            if chance() < (0.3 if is_bulk else 0.1):
                await self._cancel_at_a_random_moment(call, numbers)
            else:
                await call
            self._bulk_calls_open -= is_bulk

    def _choose_key(self, number: int) -> MessageKey:
        rng, truth = self._random, self._server.truth
        if rng.random() < 0.1:
            unknown = rng.randrange(1000)
            return rng.choice(
                (truth.messages + 1 + unknown, CustomId(f"unknown-{unknown}"), CustomId("9" * 12))
            )
        index = number * (truth.messages - WINDOW) // self.lookups + rng.randrange(WINDOW)
        custom_id = truth.custom_id(index)
        if custom_id is None or rng.random() < 0.6:
            return index + 1
        return CustomId(custom_id)

    def _choose_timeout(self) -> float | None:
        chance = self._random.random()
        if chance < 0.1:
            # From a thousandth of a second to two seconds, short ones as often as long ones.
            return float(10 ** self._random.uniform(-3, 0.3))
        return None if chance < 0.15 else self._random.choice((30.0, 40.0, 50.0))

    async def _cancel_at_a_random_moment(self, call: Any, numbers: range) -> None:
        task = asyncio.create_task(call)
        is_given = False

        def cancel() -> None:
            nonlocal is_given
            is_given = task.cancel()

        delay = 0.0 if self._random.random() < 0.1 else 10 ** self._random.uniform(-4, 0)
        timer = asyncio.get_running_loop().call_later(delay, cancel)
        await asyncio.wait([task])
        timer.cancel()
        self._check_cancelled(task, numbers, is_given=is_given)

    async def _cancel_the_second_when_the_first_ends(self, first: int, second: int) -> None:
        """Ask for one key twice, and cancel one lookup when its answer is there but it did not run yet."""
        key = self._choose_key(first)
        task = asyncio.create_task(self._get(second, key))
        await self._get(first, key)
        is_given = task.cancel()
        await asyncio.wait([task])
        self._check_cancelled(task, range(second, second + 1), is_given=is_given)

    def _check_cancelled(self, task: "asyncio.Task[None]", numbers: range, *, is_given: bool) -> None:
        """See that a lookup that was told to stop did, and no other."""
        if task.cancelled() and is_given:
            for number in numbers:
                self._end(number, "cancelled")
        elif task.cancelled() or is_given:
            self._complain(f"{numbers}: cancelled {task.cancelled()}, but was told to {is_given}")
        else:
            task.result()

    async def _get(self, number: int, key: MessageKey) -> None:
        given_before = self._last_given(key)
        asked_at = time.monotonic()
        end: MessageStatus | BaseException | None
        try:
            end = await self._client.get(key, timeout=self._choose_timeout())
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 # which ones may come is what is tested
            end = error
        self._check(number, key, end, asked_at, given_before)

    async def _get_many(self, numbers: range, keys: Sequence[MessageKey]) -> None:
        given_before = [self._last_given(key) for key in keys]
        asked_at = time.monotonic()
        ends: dict[MessageKey, Any]
        try:
            ends = dict(await self._client.get_many(keys, timeout=self._choose_timeout()))
            if list(ends) != list(dict.fromkeys(keys)):
                self._complain(f"{numbers}: get_many gave other keys, or another order")
        except asyncio.CancelledError:
            raise
        except IncompleteError as error:
            ends = {**error.statuses, **error.errors}
            if set(ends) != set(keys) or len(ends) < len(error.statuses) + len(error.errors):
                self._complain(f"{numbers}: IncompleteError does not name each key once")
        except BaseException as error:  # noqa: BLE001 # which ones may come is what is tested
            ends = dict.fromkeys(keys, error)
        for number, key, before in zip(numbers, keys, given_before, strict=True):
            self._check(number, key, ends.get(key), asked_at, before)

    def _place(self, key: MessageKey) -> int | None:
        index = self._server.truth.index_of(key)
        return None if index is None else 2 * index + isinstance(key, str)

    def _last_given(self, key: MessageKey) -> int:
        place = self._place(key)
        return 0 if place is None else self._given[place]

    def _check(
        self,
        number: int,
        key: MessageKey,
        end: MessageStatus | BaseException | None,
        asked_at: float,
        given_before: int,
    ) -> None:
        index = self._server.truth.index_of(key)
        if isinstance(end, MessageStatus):
            self._end(number, "status")
            if index is None:
                self._complain(f"{number}: a status for the unknown {key!r}: {end}")
            else:
                self._check_status(number, key, index, end, asked_at, given_before)
        elif end is None:
            self._end(number, "None")
            if index is not None:
                self._complain(f"{number}: None for the known {key!r}")
        else:
            self._end(number, type(end).__name__)
            if not isinstance(end, StatusLookupError) or isinstance(end, ClosedError | IncompleteError):
                self._complain(f"{number}: {end!r}")

    def _check_status(
        self,
        number: int,
        key: MessageKey,
        index: int,
        status: MessageStatus,
        asked_at: float,
        given_before: int,
    ) -> None:
        """See that the status was true between the asking and the answer.

        A lookup may join a request that is under way already, so its asking is the earlier one of two
        moments: when it was called, and when the request that was answered reached the server. An answer
        that somebody got for the key before this lookup was called is none of its own: it was over.
        """
        server = self._server
        request = int(status.instance_token or 0)
        arrived_at, answered_at = server.arrived_at[request], server.answered_at[request]
        self.joined_in_flight += arrived_at < asked_at
        if not 0 < arrived_at <= answered_at <= time.monotonic():
            self._complain(f"{number}: {key!r} got its status from an answer that was not whole")
            return
        truth = server.truth
        earliest, latest = truth.code_at(index, arrived_at), truth.code_at(index, answered_at)
        possible = [truth.expected(index, code, request) for code in range(earliest, latest + 1)]
        if status.problems:
            possible = [evolve(each, status_date=None, problems=status.problems) for each in possible]
        if status not in possible:
            self._complain(f"{number}: {key!r} is {status}, but true was one of {possible}")
        if request <= given_before:
            self._complain(f"{number}: {key!r} was given the answer to request {request} after it was over")
        place = 2 * index + isinstance(key, str)
        self._given[place] = max(request, self._given[place])

    def _end(self, number: int, how: str) -> None:
        self.ends[how] += 1
        self._times_ended[number] += 1
        if self._times_ended[number] > 1:
            self._complain(f"{number}: ended twice, now by {how}")
        if number % 50 == 0:
            half = number * 2 // self.lookups
            self.peaks[half] = max(self.peaks[half], sys.getallocatedblocks())

    def _complain(self, violation: str) -> None:
        if len(self.violations) < SHOWN_VIOLATIONS:
            self.violations.append(violation)

    def check_all_ended_once(self) -> None:
        assert self.violations == []
        assert self._begun == self.ended == self.lookups
        assert self._times_ended.count(1) == self.lookups
