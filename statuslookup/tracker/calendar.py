"""Which keys are due when, to a few seconds."""

import math
from collections.abc import Hashable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, Generic, TypeAlias, TypeVar

_KeyT = TypeVar("_KeyT", bound=Hashable)

GRID: Final = 5.0
"""Due times are rounded up to so many seconds, so that keys which are due together share a place."""

Place: TypeAlias = dict[_KeyT, None]
"""The keys that are due in one slot of the calendar; a key leaves by being deleted from it."""


class Calendar(Generic[_KeyT]):
    """Keys by their due time: to put one in, and to take one out, costs the same however many there are."""

    def __init__(self) -> None:
        self._places: dict[int, Place[_KeyT]] = {}
        self._order: list[int] = []

    def put(self, key: _KeyT, due: float) -> Place[_KeyT]:
        """Enter a key that is not in it; return its place."""
        number = -int(-due // GRID)
        place = self._places.get(number)
        if place is None:
            place = self._place(number)
        place[key] = None
        return place

    def put_due(self, keys: Iterable[_KeyT], now: float) -> Place[_KeyT]:
        """Enter keys that are due now; the last of them is taken first."""
        place = self._place(int(now // GRID))
        place.update(dict.fromkeys(keys))
        return place

    def _place(self, number: int) -> Place[_KeyT]:
        place = self._places.get(number)
        if place is None:
            place = self._places[number] = {}
            heappush(self._order, number)
        return place

    def first(self) -> float | None:
        """Return when the first key is due, or ``None`` if there is none."""
        while self._order and not self._places[self._order[0]]:
            del self._places[heappop(self._order)]
        return self._order[0] * GRID if self._order else None

    def take(self, most: int, until: float = math.inf) -> list[_KeyT]:
        """Take out the keys that are due first, but none that is due after ``until``."""
        taken: list[_KeyT] = []
        while len(taken) < most and (due := self.first()) is not None and due <= until:
            place = self._places[self._order[0]]
            # From the end: to find the first of a dict again and again takes time by the square of its size.
            taken += (place.popitem()[0] for _ in range(min(most - len(taken), len(place))))
        return taken

    def take_all(self) -> list[_KeyT]:
        """Take out every key."""
        keys = list(self)
        self._places, self._order = {}, []
        return keys

    def __iter__(self) -> Iterator[_KeyT]:
        for place in self._places.values():
            yield from place

    def overdue(self, now: float) -> int:
        """Return how many keys are due."""
        return sum(len(place) for number, place in self._places.items() if number * GRID <= now)
