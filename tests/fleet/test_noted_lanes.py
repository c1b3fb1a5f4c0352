"""A fleet's source hears of every key that comes, changes its lane or leaves, whichever way it goes."""

import asyncio

from statuslookup import ClosedError
from statuslookup._engine.open_keys import OpenKeys
from statuslookup.fleet.source import NotedLanes
from tests.support.open_keys import Recorder


async def test_every_change_is_noted() -> None:
    notes: list[int] = []
    lanes: NotedLanes[int, int] = NotedLanes(lambda: notes.append(1))
    open_keys: OpenKeys[int, int] = OpenKeys(lanes, asyncio.get_running_loop().call_soon)
    bulk = lanes.open_lane(lambda: None)

    def noted() -> int:
        count = len(notes)
        notes.clear()
        return count

    one: asyncio.Future[int | None] = asyncio.Future()
    two: asyncio.Future[int | None] = asyncio.Future()
    open_keys.join(1, one, bulk)
    assert noted() == 1
    open_keys.join(1, two, lanes.first)
    assert noted() >= 1
    assert lanes.front(5) == ([1], [])
    batch = lanes.seal(5)
    assert noted() == 0
    open_keys.put_back(batch.open_keys, now=1.0)
    assert noted() == 1
    open_keys.leave(1, two)
    noted()
    open_keys.leave(1, one)
    assert noted() == 1
    open_keys.join(2, one, lanes.first)
    noted()
    open_keys.settle_queued(ClosedError("x"))
    assert noted() == 1
    assert lanes.queued == 0


async def test_keys_that_come_together_are_noted() -> None:
    """Nobody else would say so where the slot is waited for already: others would leave them out."""
    notes: list[int] = []
    lanes: NotedLanes[int, str] = NotedLanes(lambda: notes.append(1))
    open_keys: OpenKeys[int, str] = OpenKeys(lanes, asyncio.get_running_loop().call_soon)
    open_keys.join_all([1, 2, 3], Recorder(), lanes.open_lane(lambda: None))
    assert notes == [1]
    assert lanes.front(5) == ([], [1, 2, 3])
