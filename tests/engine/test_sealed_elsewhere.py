"""Keys that are sealed or settled because of what came from elsewhere, and what would be sealed next."""

import asyncio

from statuslookup._engine.lanes import Batch, Lanes
from statuslookup._engine.open_keys import OpenKeys

Answers = dict[int, "asyncio.Future[int | None]"]


class Queue:
    """Open keys in lanes, each with a future that waits for it."""

    def __init__(self) -> None:
        self.lanes: Lanes[int, int] = Lanes()
        self.open_keys: OpenKeys[int, int] = OpenKeys(self.lanes, asyncio.get_running_loop().call_soon)
        self.answers: Answers = {}

    def join(self, *keys: int) -> None:
        self._join(keys, self.lanes.first)

    def join_bulk(self, *keys: int) -> None:
        self._join(keys, self.lanes.open_lane(lambda: None))

    def _join(self, keys: tuple[int, ...], lane: object) -> None:
        for key in keys:
            answer: asyncio.Future[int | None] = asyncio.Future()
            self.answers[key] = answer
            self.open_keys.join(key, answer, lane)  # type: ignore[arg-type] # a lane of these lanes

    def seal_keys(self, *keys: int) -> list[int]:
        batch: Batch[int, int] = Batch([])
        self.lanes.seal_keys(self.open_keys.queued(keys), batch)
        assert all(open_key.batch is batch for open_key in batch.open_keys)
        return batch.keys()

    def seal(self, most: int) -> list[int]:
        return self.lanes.seal(most).keys()


async def test_the_front_is_what_would_be_sealed_next_and_stays_queued() -> None:
    queue = Queue()
    queue.join(1, 2, 3)
    queue.join_bulk(11, 12, 13, 14)
    queue.join_bulk(21)
    assert queue.lanes.front(3) == ([1, 2, 3], [11, 21, 12])
    assert queue.lanes.front(10) == ([1, 2, 3], [11, 21, 12, 13, 14])
    assert queue.lanes.front(0) == ([], [])
    assert (queue.lanes.queued, queue.seal(8)) == (8, [1, 2, 3, 11, 12, 21, 13, 14])
    assert queue.lanes.front(3) == ([], [])


async def test_keys_are_sealed_wherever_they_stand_and_the_others_keep_their_order() -> None:
    queue = Queue()
    queue.join(*range(10))
    queue.join_bulk(20, 21, 22)
    assert sorted(queue.seal_keys(3, 21, 8, 99)) == [3, 8, 21]
    assert queue.lanes.queued == 10
    assert queue.seal_keys(3, 99) == []
    assert queue.lanes.front(10) == ([0, 1, 2, 4, 5, 6, 7, 9], [20, 22])
    assert queue.seal(100) == [0, 1, 2, 4, 5, 6, 7, 9, 20, 22]
    assert queue.lanes.queued == 0


async def test_keys_that_have_left_are_neither_at_the_front_nor_sealed() -> None:
    queue = Queue()
    queue.join(1, 2, 3, 4, 5)
    for key in (1, 3):
        queue.open_keys.leave(key, queue.answers[key])
    assert queue.lanes.front(10) == ([2, 4, 5], [])
    assert queue.seal_keys(1, 4) == [4]
    assert queue.seal(10) == [2, 5]


async def test_a_key_that_was_sealed_elsewhere_can_be_put_back_to_its_old_place() -> None:
    queue = Queue()
    queue.join(1, 2, 3)
    batch: Batch[int, int] = Batch([])
    queue.lanes.seal_keys(queue.open_keys.queued([2]), batch)
    assert queue.open_keys.put_back(batch.open_keys, now=1.0) == 1
    assert queue.seal(10) == [2, 1, 3]


async def test_a_lane_whose_last_keys_are_sealed_has_no_turn_any_more() -> None:
    queue = Queue()
    capacity: list[int] = []
    lane = queue.lanes.open_lane(lambda: capacity.append(1))
    queue._join((1, 2), lane)
    assert queue.seal_keys(2, 1) == [2, 1]
    assert (lane.length, capacity, queue.seal(5)) == (0, [1], [])
    queue._join((3,), lane)
    assert queue.seal(5) == [3]
