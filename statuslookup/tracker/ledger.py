"""What is known of each message, and when to ask for it: pure, and told the time."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic

from .._model import RANKS, AnswerT, DeliveryState, KeyT
from ..providers.base import Trackable
from .calendar import GRID, Calendar, Place
from .values import Schedule


class Entry(Generic[KeyT, AnswerT]):
    """What is known of one message."""

    __slots__ = ("born", "is_over", "is_whole", "place", "status", "told", "until")

    def __init__(self, born: float, until: DeliveryState | None, *, is_whole: bool) -> None:
        self.born = born
        """When it was sent, or tracked, on the monotonic clock."""
        self.until = until
        """The furthest that anyone asked for; ``None`` while only callables wait for it."""
        self.status: AnswerT | None = None
        self.told: DeliveryState | None = None
        """The state that was handed over to the loop over all changes."""
        self.is_over = False
        self.is_whole = is_whole
        """Whether the status tells all there is to know, so that it can be the end."""
        self.place: Place[KeyT] | None = None
        """Where it is in a calendar; ``None`` while it is asked for."""


class Counts:
    """What happened since the ledger was made."""

    def __init__(self) -> None:
        self.fed = self.stale = self.strangers = self.asked = 0
        self.by_webhook = self.by_lookup = self.unknown = self.given_up = 0


def state_of(status: Any) -> DeliveryState | None:
    return None if status is None else status.state


class Ledger(Generic[KeyT, AnswerT]):
    """Keeps the messages that are tracked; news goes in, and the keys to ask for come out."""

    def __init__(self, provider: Trackable[KeyT, AnswerT], schedule: Schedule) -> None:
        self.counts = Counts()
        self.ends = 0
        """How many messages are over and not forgotten."""
        self._provider = provider
        self._schedule = schedule
        self._entries: dict[KeyT, Entry[KeyT, AnswerT]] = {}
        self._calendar: Calendar[KeyT] = Calendar()
        # When to let an end go that nobody takes.
        self._ends: Calendar[KeyT] = Calendar()
        # How many callables wait for a key: until they have what they want, its end is READ.
        self._eager: Counter[KeyT] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: KeyT) -> Entry[KeyT, AnswerT] | None:
        return self._entries.get(key)

    def keys(self) -> Iterable[KeyT]:
        return self._entries.keys()

    def open(self) -> Iterator[KeyT]:
        return iter([key for key, entry in self._entries.items() if not entry.is_over])

    def track(self, key: KeyT, until: DeliveryState | None, now: float, *, age: float | None = None) -> bool:
        """Track a message that is so many seconds old; return whether that is news to the store.

        ``until`` is ``None`` where a callable is to wait for it. One with a silence behind it is due at once.
        """
        entry = self._entries.get(key)
        if entry is None:
            age = min(age or 0.0, self._schedule.give_up)
            entry = Entry(now - age, until, is_whole=self._provider.webhooks_tell_all)
            self._entries[key] = entry
            if age < self._schedule.first:
                self._set_due(key, entry, now)
            else:
                entry.place = self._calendar.put_due((key,), now)
            return True
        if until is None or (entry.until is not None and RANKS[until] <= RANKS[entry.until]):
            return False
        entry.until = until
        self._judge(key, entry, now)
        return True

    def restore(self, messages: Iterable[tuple[KeyT, Entry[KeyT, AnswerT]]], now: float) -> None:
        """Take over messages of a store: the open ones are due at once, the youngest of them first."""
        open_keys: list[KeyT] = []
        for key, entry in sorted(messages, key=lambda message: message[1].born):
            if key in self._entries:
                continue
            entry.born = max(entry.born, now - self._schedule.give_up)
            self._entries[key] = entry
            if entry.until is not None and self.reaches(entry, entry.until):
                entry.is_over = True
                self.ends += 1
                entry.place = self._ends.put(key, now + self._schedule.give_up)
            else:
                open_keys.append(key)
        place = self._calendar.put_due(open_keys, now)
        for key in open_keys:
            self._entries[key].place = place

    def make_all_due(self, now: float) -> None:
        """Let every open message be due at once, the youngest first, as after a gap in time."""
        keys = sorted(self._calendar.take_all(), key=lambda key: self._entries[key].born)
        place = self._calendar.put_due(keys, now)
        for key in keys:
            self._entries[key].place = place

    def feed(self, statuses: Iterable[AnswerT], now: float, moved: list[KeyT]) -> None:
        """Take in what webhooks brought; add the keys that moved to ``moved``, also before it raises."""
        provider, counts = self._provider, self.counts
        # First, because one that is no status is refused with all others.
        news = [(status, provider.keys_of(status)) for status in statuses]
        is_whole = provider.webhooks_tell_all
        for status, keys in news:
            is_stranger = is_stale = True
            for key in keys:
                entry = self._entries.get(key)
                if entry is None:
                    continue
                is_stranger = False
                advanced = provider.advance(entry.status, status)
                if advanced is not None:
                    entry.status, entry.is_whole = advanced, is_whole
                    is_stale = False
                    moved.append(key)
                    self._judge(key, entry, now, is_webhook=True)
                elif not entry.is_over:
                    self._set_due(key, entry, now)
            if is_stranger:
                counts.strangers += 1
            elif is_stale:
                counts.stale += 1
            counts.fed += 1

    def first_due(self) -> float | None:
        """Return when the first open message is due; ``None`` if none is open, or all are asked for."""
        return self._calendar.first()

    def take(self, most: int) -> list[KeyT]:
        """Take out the keys that are due first, to ask for them: for each, ``answer`` or another follows."""
        keys = self._calendar.take(most)
        for key in keys:
            self._entries[key].place = None
        self.counts.asked += len(keys)
        return keys

    def answer(self, key: KeyT, status: AnswerT | None, now: float) -> bool:
        """Take in what a lookup said, ``None`` if the provider does not know it; return whether it moved."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        was_whole, was_over = entry.is_whole, entry.is_over
        advanced = None if status is None else self._provider.advance(entry.status, status)
        if advanced is not None:
            entry.status = advanced
        if status is not None:
            entry.is_whole = True
        if advanced is not None or not was_over:
            self._judge(key, entry, now, is_answer=True)
        return advanced is not None or entry.is_over != was_over or entry.is_whole != was_whole

    def fail(self, key: KeyT, now: float) -> bool:
        """A lookup of this key alone failed: it waits for its silence; return whether it was the last one."""
        entry = self._entries.get(key)
        if entry is None or entry.place is not None:
            return False
        if now < entry.born + self._schedule.give_up:
            self._set_due(key, entry, now)
            return False
        self._judge(key, entry, now, is_answer=True)
        return entry.is_over

    def put_back(self, keys: Iterable[KeyT], now: float) -> None:
        """A lookup failed as a whole: its keys stay due, but for those that news came of meanwhile."""
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None and entry.place is None:
                # Behind those that are due already: one that always fails must not hold up all others.
                entry.place = self._calendar.put(key, now)

    def wait(self, key: KeyT, now: float) -> None:
        """A callable waits for a key: until it has what it wants, the end is READ."""
        self._eager[key] += 1
        entry = self._entries.get(key)
        if entry is not None and entry.is_over:
            self._judge(key, entry, now)

    def leave(self, key: KeyT, now: float, *, is_let_go: bool) -> bool:
        """A callable waits no more; return whether the message is over for that.

        One that only callables waited for is then tracked to DELIVERED, or let go.
        """
        self._eager[key] -= 1
        if self._eager[key] > 0:
            return False
        del self._eager[key]
        entry = self._entries.get(key)
        if entry is None:
            return False
        if entry.until is None:
            if is_let_go and not entry.is_over:
                self.forget(key)
                return False
            entry.until = DeliveryState.DELIVERED
        was_over = entry.is_over
        if not was_over:
            self._judge(key, entry, now)
        return entry.is_over != was_over

    def reaches(self, entry: Entry[KeyT, AnswerT], until: DeliveryState) -> bool:
        """Tell whether a message is as far as ``until``, or failed, by news that tell all."""
        status = entry.status
        return status is not None and entry.is_whole and self._provider.reached(status, until)

    def forget(self, key: KeyT) -> None:
        """Let a message go: what comes of it from now on is about a stranger."""
        entry = self._entries.pop(key)
        self.ends -= entry.is_over
        if entry.place is not None:
            del entry.place[key]

    def expired(self, now: float) -> Sequence[KeyT]:
        """Return the ends that nobody took for so long that they are to be forgotten."""
        keys = self._ends.take(len(self._entries), now)
        for key in keys:
            self._entries[key].place = None
        return keys

    def keep(self, key: KeyT, now: float) -> None:
        """Keep an end that ``expired`` returned: somebody is about to take it."""
        self._entries[key].place = self._ends.put(key, now + self._schedule.longest)

    def overdue(self, now: float) -> int:
        return self._calendar.overdue(now)

    def _judge(
        self,
        key: KeyT,
        entry: Entry[KeyT, AnswerT],
        now: float,
        *,
        is_webhook: bool = False,
        is_answer: bool = False,
    ) -> None:
        """Say whether a message is over, after something was heard of it or somebody wants more of it."""
        counts, schedule = self.counts, self._schedule
        until = DeliveryState.READ if entry.until is None or key in self._eager else entry.until
        is_over = True
        if self.reaches(entry, until):
            if not entry.is_over:
                counts.by_webhook += is_webhook
                counts.by_lookup += is_answer
        elif is_answer and now >= entry.born + schedule.give_up:
            counts.given_up += not entry.is_over
        elif is_answer and entry.status is None and now >= entry.born + schedule.grace:
            counts.unknown += not entry.is_over
        else:
            is_over = False
        if is_over != entry.is_over:
            entry.is_over = is_over
            self.ends += 1 if is_over else -1
            if is_over:
                if entry.place is not None:
                    del entry.place[key]
                entry.place = self._ends.put(key, now + self._schedule.give_up)
                return
        elif is_over or not (is_webhook or is_answer):
            return
        self._set_due(key, entry, now)

    def _set_due(self, key: KeyT, entry: Entry[KeyT, AnswerT], now: float) -> None:
        # In full, because every webhook and every answer comes by here.
        silence = now - entry.born
        if silence < self._schedule.first:
            silence = self._schedule.first
        elif silence > self._schedule.longest:
            silence = self._schedule.longest
        due = now + silence
        # The last lookup goes when the time is over, and not as late as the silence ends.
        if now < entry.born + self._schedule.give_up < due:
            due = _end_of(entry.born, self._schedule.give_up)
        if entry.status is None and now < entry.born + self._schedule.grace < due:
            due = _end_of(entry.born, self._schedule.grace)
        if entry.place is not None:
            del entry.place[key]
        entry.place = self._calendar.put(key, due)


def _end_of(born: float, age: float) -> float:
    """Return when a message is so old, or a thousandth later: last lookups of about one time go together."""
    step = GRID * max(1, age // (1000 * GRID))
    return math.ceil((born + age) / step) * step
