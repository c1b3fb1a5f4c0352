"""A campaign and a provider in simulated time, and the ways of asking that are compared on them."""

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from statistics import fmean, quantiles
from typing import Any, Final, Protocol, TypeAlias

from attrs import define, field, frozen

from statuslookup import DeliveryState, MessageStatus, Schedule, SMSFire
from statuslookup.sandbox import DeliveryCurve
from statuslookup.tracker.calendar import GRID
from statuslookup.tracker.ledger import Ledger

DAY: Final = 86_400.0
SECONDS_A_ROUND: Final = 0.1
INTERVAL: Final = 1 / 1.85
"""How often a request can go: the limit of 2 a second, as far as a way of 50 ms leaves it."""
MOST: Final = 200
_BEGIN: Final = datetime(2026, 11, 27, tzinfo=UTC)
_PROVIDER: Final = SMSFire("token")
_LONGEST_HELD_BACK: Final = 300.0

Life: TypeAlias = tuple[Sequence[float], Sequence[MessageStatus]]
"""The times at which a message changes, and what it is from then on."""


@frozen(kw_only=True)
class Webhooks:
    """Which share of the webhooks is lost, doubled, late (by up to 5 minutes) or held back."""

    lost: float = 0.3
    doubled: float = 0.1
    late: float = 0.1
    held_back: float = 0.1

    def times(self, at: float, following: float, random: Random) -> Iterator[float]:
        if random.random() < self.lost:
            return
        for _ in range(1 + (random.random() < self.doubled)):
            late = random.uniform(0, 300) if random.random() < self.late else 0.0
            is_held_back = random.random() < self.held_back
            yield at + late + (min(following - at + 1, _LONGEST_HELD_BACK) if is_held_back else 0.0)


NONE: Final = Webhooks(lost=1.0)


class Way(Protocol):
    """A way of asking: what it is told, and what it wants to know next."""

    def track(self, key: int, now: float) -> None: ...
    def feed(self, status: MessageStatus, now: float) -> list[int]: ...
    def due(self) -> float | None: ...
    def take(self, now: float) -> list[int]: ...
    def answer(self, key: int, status: MessageStatus, now: float) -> bool: ...
    def end(self, key: int) -> MessageStatus | None:
        """Return the status of a message that is over, and forget it; ``None`` if it is not."""
        ...

    def late(self, now: float) -> list[float]:
        """Return how late the keys are that the next request carries because they are due."""
        ...


class OurWay:
    """The real ledger."""

    def __init__(self, schedule: Schedule, until: DeliveryState, *, is_filled: bool = True) -> None:
        self.ledger: Ledger[Any, MessageStatus] = Ledger(_PROVIDER, schedule)
        self._until = until
        self._is_filled = is_filled

    def track(self, key: int, now: float) -> None:
        self.ledger.track(key, self._until, now)

    def feed(self, status: MessageStatus, now: float) -> list[int]:
        moved: list[int] = []
        self.ledger.feed((status,), now, moved)
        return moved

    def due(self) -> float | None:
        return self.ledger.first_due()

    def take(self, now: float) -> list[int]:
        if self._is_filled:
            return self.ledger.take(MOST)
        keys = self.ledger._calendar.take(MOST, now)
        for key in keys:
            self.ledger._entries[key].place = None
        return keys

    def answer(self, key: int, status: MessageStatus, now: float) -> bool:
        return self.ledger.answer(key, status, now)

    def end(self, key: int) -> MessageStatus | None:
        entry = self.ledger.get(key)
        if entry is None or not entry.is_over:
            return None
        self.ledger.forget(key)
        return entry.status

    def late(self, now: float) -> list[float]:
        late: list[float] = []
        for number, place in sorted(self.ledger._calendar._places.items()):
            if number * GRID > now or len(late) >= MOST:
                break
            late += [now - number * GRID] * min(len(place), MOST - len(late))
        return late


class ByAge:
    """Asks for each message at ages that are fixed, whatever webhooks say of it: a ladder, or a poll."""

    def __init__(self, following: Callable[[float, float], float], until: DeliveryState) -> None:
        self._following = following
        self._until = until
        self._born: dict[int, float] = {}
        self._known: dict[int, MessageStatus] = {}
        self._dues: list[tuple[float, int]] = []
        self._give_up = Schedule().give_up

    def track(self, key: int, now: float) -> None:
        self._born[key] = now
        self._put(key, now)

    def _put(self, key: int, now: float) -> None:
        heapq.heappush(self._dues, (now + self._following(now - self._born[key], now), key))

    def feed(self, status: MessageStatus, now: float) -> list[int]:
        return [status.id] if status.id in self._born and self._advance(status) else []

    def _advance(self, status: MessageStatus) -> bool:
        advanced = SMSFire.advance(self._known.get(status.id), status)
        if advanced is not None:
            self._known[status.id] = advanced
        return advanced is not None

    def due(self) -> float | None:
        while self._dues and self._dues[0][1] not in self._born:
            heapq.heappop(self._dues)
        return self._dues[0][0] if self._dues else None

    def take(self, now: float) -> list[int]:
        keys: list[int] = []
        while len(keys) < MOST and (due := self.due()) is not None and due <= now:
            keys.append(heapq.heappop(self._dues)[1])
        return keys

    def answer(self, key: int, status: MessageStatus, now: float) -> bool:
        if key not in self._born:
            return False
        self._advance(status)
        if now - self._born[key] >= self._give_up:
            # It is over, whatever it is.
            self._born[key] = -1.0
        else:
            self._put(key, now)
        return True

    def end(self, key: int) -> MessageStatus | None:
        known = self._known.get(key)
        if key not in self._born or known is None:
            return None
        if self._born[key] >= 0 and not SMSFire.reached(known, self._until):
            return None
        del self._born[key]
        return self._known.pop(key)

    def late(self, now: float) -> list[float]:
        return []


LADDER: Final = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)


def by_ladder(age: float, _: float) -> float:
    """Return how long to wait: up a ladder of ages, and then an hour each time."""
    return next((step - age for step in LADDER if step > age + 1), 3_600.0)


def every(seconds: float) -> Callable[[float, float], float]:
    """Ask for all that is open at once, every so many seconds."""
    return lambda _, now: seconds - now % seconds


@define(kw_only=True)
class Run:
    """What came of one way of asking, in one campaign."""

    messages: int
    requests: int = 0
    keys: int = 0
    wrong: int = 0
    most_open: int = 0
    seconds: float = 0.0
    delays: list[float] = field(factory=list, repr=False)
    late: list[float] = field(factory=list, repr=False)
    by_lookup: list[float] = field(factory=list, repr=False)
    asked_at: list[float] = field(factory=list, repr=False)

    def know(self, share: float) -> float:
        """Return within how many seconds that share of the ends was known."""
        return quantiles(self.delays, n=1000)[round(share * 1000) - 1]

    @property
    def mean(self) -> float:
        return fmean(self.delays)

    @property
    def peak(self) -> float:
        """Return the most requests a second, over ten minutes."""
        most, first = 0, 0
        for last, at in enumerate(self.asked_at):
            while at - self.asked_at[first] > 600:
                first += 1
            most = max(most, last - first + 1)
        return most / 600


class Simulation:
    """Messages live and webhooks come, in the order of time; requests go as the limit lets them."""

    def __init__(
        self, way: Way, sends: Iterable[float], webhooks: Webhooks, until: DeliveryState, seed: int
    ) -> None:
        self._way = way
        self._sends = iter(sends)
        self._webhooks = webhooks
        self._until = until
        self._random = Random(seed)
        self._curve = DeliveryCurve()
        self._lives: dict[int, Life] = {}
        self._events: list[tuple[float, int, int, MessageStatus | None]] = []
        self._order = count()
        self.run = Run(messages=0)

    def result(self) -> Run:
        self._send_next(0)
        way, events, run = self._way, self._events, self.run
        now, free_at = 0.0, 0.0
        while True:
            due = way.due()
            asks_at = math.inf if due is None else max(due, free_at)
            if events and events[0][0] <= asks_at:
                now, _, key, status = heapq.heappop(events)
                self._happen(key, status, now)
            elif due is None:
                break
            else:
                now = max(now, asks_at)
                free_at = now + max(SECONDS_A_ROUND, INTERVAL)
                self._ask(now)
        run.seconds = now
        return run

    def _send_next(self, key: int) -> None:
        at = next(self._sends, None)
        if at is not None:
            heapq.heappush(self._events, (at, next(self._order), key, None))

    def _happen(self, key: int, status: MessageStatus | None, now: float) -> None:
        """Let a webhook come, or a message be sent, if there is no status."""
        if status is not None:
            for moved in self._way.feed(status, now):
                self._end(moved, now)
            return
        self.run.messages += 1
        steps = self._curve.life(now, self._random)
        times = [step.at for step in steps]
        statuses = [_status(key, step.state, step.at) for step in steps]
        self._lives[key] = times, statuses
        self._way.track(key, now)
        self.run.most_open = max(self.run.most_open, len(self._lives))
        for place in range(1, len(times)):
            if statuses[place].state is not DeliveryState.EXPIRED:
                following = times[place + 1] if place + 1 < len(times) else math.inf
                for at in self._webhooks.times(times[place], following, self._random):
                    heapq.heappush(self._events, (at, next(self._order), key, statuses[place]))
        self._send_next(key + 1)

    def _ask(self, now: float) -> None:
        way, run = self._way, self.run
        run.late += way.late(now)
        keys = way.take(now)
        run.requests += 1
        run.keys += len(keys)
        run.asked_at.append(now)
        counted_at, answered_at = now + SECONDS_A_ROUND / 2, now + SECONDS_A_ROUND
        # Webhooks that overtake the answer come before it.
        while self._events and self._events[0][0] <= answered_at:
            at, _, key, status = heapq.heappop(self._events)
            self._happen(key, status, at)
        for key in keys:
            life = self._lives.get(key)
            if life is not None:
                times, statuses = life
                if way.answer(key, statuses[bisect_right(times, counted_at) - 1], answered_at):
                    self._end(key, answered_at, by_lookup=True)

    def _end(self, key: int, now: float, *, by_lookup: bool = False) -> None:
        status = self._way.end(key)
        if status is None:
            return
        times, statuses = self._lives.pop(key)
        for at, wanted in zip(times, statuses, strict=True):
            if SMSFire.reached(wanted, self._until):
                self.run.delays.append(now - at)
                if by_lookup:
                    self.run.by_lookup.append(now - at)
                self.run.wrong += status.state not in (wanted.state, DeliveryState.READ)
                return
        # It ends nowhere, and was given up with what it had.
        self.run.wrong += status is not statuses[-1]


def _status(key: int, state: DeliveryState, at: float) -> MessageStatus:
    return MessageStatus(id=key, state=state, status_date=_BEGIN + timedelta(seconds=int(at)))


def evenly(messages: int, seconds: float, seed: int) -> Iterator[float]:
    """Yield the times of so many messages, each at any moment as likely, in their order."""
    random = Random(seed)
    at = 0.0
    for left in range(messages, 0, -1):
        # The first of so many moments in what is left of the time.
        at += (seconds - at) * (1 - random.random() ** (1 / left))
        yield at
