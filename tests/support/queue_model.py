"""What the queue and the slot of a fleet are, in plain Python: to be compared with what the scripts do."""

import math
from typing import Literal

from attrs import define, field

Band = Literal["front", "first", "bulk", "taken"]
_ORDER: tuple[Band, ...] = ("front", "first", "bulk", "taken")


@define
class Entry:
    """A key that one process waits for."""

    process: int
    key: str
    band: Band
    since: int
    """Which of all changes put it there."""
    taken_by: int = 0

    @property
    def member(self) -> str:
        return f"{self.process:013d}:{self.key}"

    @property
    def place(self) -> tuple[int, int, int, str]:
        # What was taken together has one score, so the members' own order decides.
        since = 0 if self.band == "taken" else self.since
        return _ORDER.index(self.band), self.taken_by, since, self.member


@define
class Queue:
    """The keys that wait, and who waits for them."""

    entries: dict[tuple[int, str], Entry] = field(factory=dict)
    changes: int = 0

    def _put(self, entry: Entry, band: Band, taken_by: int = 0) -> None:
        self.changes += 1
        entry.band, entry.since, entry.taken_by = band, self.changes, taken_by

    def _in_order(self, *bands: Band) -> list[Entry]:
        return sorted(
            (entry for entry in self.entries.values() if entry.band in bands), key=lambda entry: entry.place
        )

    def give_back(self, taker: int, keys: set[str] | None = None) -> None:
        """Put what a process has taken before all others, or those of it that are named."""
        for entry in self._in_order("taken"):
            if entry.taken_by == taker and (keys is None or entry.key in keys):
                self._put(entry, "front")

    def others_told(self, taker: int, keys: set[str]) -> set[int]:
        """Return who else waits for those of the keys that a process has taken."""
        taken = (entry for entry in self._in_order("taken") if entry.taken_by == taker and entry.key in keys)
        return {entry.process for entry in taken} - {taker}

    def told(self, taker: int, keys: set[str]) -> None:
        for entry in self._in_order("taken"):
            if entry.taken_by == taker and entry.key in keys:
                del self.entries[entry.process, entry.key]

    def _takers(self, living: set[int]) -> dict[str, int]:
        """Return who has taken which key; what the dead have taken goes to the front."""
        for entry in self._in_order("taken"):
            if entry.taken_by not in living:
                self._put(entry, "front")
        return {entry.key: entry.taken_by for entry in self._in_order("taken")}

    def say(
        self,
        process: int,
        living: set[int],
        *,
        first: list[str],
        bulk: list[str],
        gone: list[str],
    ) -> None:
        for key in gone:
            self.entries.pop((process, key), None)
        if not (first or bulk):
            return
        takers = self._takers(living)
        bands: tuple[tuple[list[str], Band], ...] = ((first, "first"), (bulk, "bulk"))
        for keys, band in bands:
            for key in keys:
                entry = self.entries.get((process, key))
                if entry is None:
                    self.entries[process, key] = entry = Entry(process, key, band, 0)
                    taker = takers.get(key)
                    self._put(entry, band if taker is None else "taken", taker or 0)
                elif band == "first" and entry.band == "bulk":
                    taker = takers.get(key)
                    self._put(entry, "first" if taker is None else "taken", taker or 0)

    def take(self, taker: int, most: int, living: set[int]) -> list[str]:
        takers = self._takers(living)
        keys: list[str] = []
        waiting = self._in_order("front", "first", "bulk")
        for entry in waiting:
            if entry.process not in living:
                continue
            if entry.key not in takers and entry.key not in keys and len(keys) < most:
                keys.append(entry.key)
        # As few as these are all looked at.
        for entry in waiting:
            if entry.process not in living:
                del self.entries[entry.process, entry.key]
            elif entry.key in keys:
                self._put(entry, "taken", taker)
        return keys


@define
class Request:
    """One grant, and until when what was sent in it may be counted."""

    fence: int
    process: int
    granted_at: float
    is_alone: bool
    ends_at: float = math.inf
    """When its reply came, or the lease of its process ended."""
    is_forgotten: bool = False
    """Whether Redis lost it while other requests were beside it."""


@define
class Slots:
    """Watches that no grant comes too early."""

    interval: float
    period: float
    places: int
    requests: list[Request] = field(factory=list)
    paused_until: float = -math.inf
    """For requests that go alone."""
    frozen_until: float = -math.inf

    def lapse(self, lease_ends: dict[int, float], now: float) -> None:
        for request in self.requests:
            lease_end = lease_ends.get(request.process, -math.inf)
            if request.ends_at == math.inf and lease_end <= now:
                request.ends_at = lease_end

    def grant(self, fence: int, process: int, *, is_alone: bool, now: float) -> None:
        early = now + 1e-6
        assert all(request.fence < fence for request in self.requests)
        assert early >= self.frozen_until, "before the end of a freeze"
        under_way = [request for request in self.requests if request.ends_at == math.inf]
        for request in self.requests:
            assert early >= request.granted_at + self.interval, "two grants are too close"
            if is_alone:
                assert early >= request.ends_at + self.interval, "too soon after a reply, or beside another"
        if is_alone:
            assert early >= self.paused_until
        held = [
            request
            for request in self.requests
            # How many there were, who goes alone does not ask: it would have to wait longer after every loss.
            if request.ends_at + self.period > early and not (is_alone and request.is_forgotten)
        ]
        assert len(held) < self.places, "more requests than a window may have"
        assert not (is_alone and under_way)
        self.requests.append(Request(fence, process, now, is_alone))

    def find(self, fence: int) -> Request | None:
        return next((request for request in self.requests if request.fence == fence), None)

    def unsent(self, fence: int) -> None:
        self.requests = [request for request in self.requests if request.fence != fence]
