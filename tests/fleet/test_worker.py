"""What talks to Redis for one client: which calls it makes, and when, while little happens."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from attrs import define, field

from statuslookup import ClosedError, RateLimit
from statuslookup.fleet.errands import Report
from statuslookup.fleet.pacing import SharedPacer
from statuslookup.fleet.slot import ANNOUNCE, LeftPace, Taken, Wait
from statuslookup.fleet.worker import Worker
from tests.support.fakes import other_tasks
from tests.support.virtual_time import LoopClock

LEASE = 2.0
BUSY = Wait("busy", 30.0, LeftPace(0, None))
IDLE = Wait("idle", LEASE, LeftPace(0, None))
READY = Wait("ready", 0.0, LeftPace(0, None))


@define
class Owner:
    """Wants keys."""

    keys: list[int] = field(factory=list)
    is_needed: bool = False
    is_paused: bool = False

    def front(self) -> tuple[list[int], list[int]]:
        return self.keys, []

    def wanted(self, keys: Iterable[int]) -> list[int]:
        return list(set(keys) & set(self.keys))

    def text(self, key: int) -> str:
        return str(key)

    def keys_of(self, texts: Iterable[str]) -> list[int]:
        return list(map(int, texts))

    def note_idle(self) -> None: ...

    def note_overtaken(self) -> None: ...


@define
class Queue:
    """Answers as it is told to, and remembers what it was asked."""

    reply: Taken | Wait = BUSY
    process: int = 1
    lease: float = LEASE
    is_alone: bool = False
    was_away: bool = False
    is_listening: bool = True
    is_owed: bool = False
    seconds: float = 0.0
    """How far off Redis is."""
    takes: list[tuple[float, list[str]]] = field(factory=list)
    done_with: list[tuple[list[str], bytes | None]] = field(factory=list)
    has_let_go: bool = False

    async def listen(self) -> None:
        if not self.is_listening:
            await asyncio.Event().wait()

    def rest(self) -> None: ...

    async def take(self, terms: Any, most: int, *, first: Any, bulk: Any, gone: Any) -> Taken | Wait:
        self.takes.append((asyncio.get_running_loop().time(), list(first)))
        reply = READY if isinstance(self.reply, Taken) and most == ANNOUNCE else self.reply
        await asyncio.sleep(self.seconds)
        return reply

    async def done(self, fence: Any, sent: Any, *, told: Any, back: Any = (), payload: Any) -> bool:
        self.done_with.append((list(told), payload))
        await asyncio.sleep(self.seconds)
        return self.is_owed and payload is None

    def let_go(self) -> None:
        self.has_let_go = True

    async def leave(self, gone: Any) -> None: ...


class Link:
    """Is always there."""

    is_down = False

    async def pause(self) -> None: ...

    async def aclose(self) -> None: ...


def worker_of(queue: Queue, owner: Owner) -> "Worker[int]":
    link: Any = Link()
    shared: Any = queue
    pacer = SharedPacer(RateLimit(2))
    loop = asyncio.get_running_loop()
    return Worker(link, shared, owner, pacer, clock=LoopClock(), loop=loop)


async def moments_of(queue: Queue, owner: Owner, *, seconds: float, news_at: float) -> list[float]:
    """Return when Redis is called in so many seconds, by one whose first key is followed by a second one."""
    worker = worker_of(queue, owner)
    worker.note()
    began_at = asyncio.get_running_loop().time()
    await asyncio.sleep(news_at)
    owner.keys.append(2)
    worker.note()
    await asyncio.sleep(seconds - news_at)
    moments = [at - began_at for at, _ in queue.takes]
    await worker.leave()
    assert other_tasks() == set()
    return moments


@pytest.mark.virtual_time
async def test_a_lease_is_renewed_in_time() -> None:
    moments = await moments_of(Queue(), Owner([1]), seconds=10.1, news_at=10.05)
    assert moments == pytest.approx([LEASE / 4 * number for number in range(21)])


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("slot_in", "expected"),
    [
        # Said before the slot, which is soon after a renewal would be due: one call does both.
        (0.6, [0.0, 0.55]),
        (0.79, [0.0, 0.74]),
        # A renewal does not wait longer, and says what is new.
        (0.81, [0.0, 0.5]),
        # What is said sooner renews the lease, too.
        (0.4, [0.0, 0.35]),
    ],
)
async def test_one_call_says_what_is_new_and_renews_the_lease(slot_in: float, expected: list[float]) -> None:
    paced = Wait("paced", slot_in, LeftPace(0, None))
    moments = await moments_of(Queue(paced), Owner([1]), seconds=0.8, news_at=0.2)
    assert moments == pytest.approx(expected)


@pytest.mark.virtual_time
async def test_what_is_new_while_another_one_sends_is_said_before_long() -> None:
    """Its end will be heard, but may be put off by anybody who says that it was just taken."""
    queue, owner = Queue(), Owner([1])
    worker = worker_of(queue, owner)
    worker.note()
    await asyncio.sleep(0.1)
    owner.keys.append(2)
    worker.note()
    for _ in range(5):
        worker.hear_turn(is_free=False, process=9, seconds=0.0, beside=0.0)
        await asyncio.sleep(0.1)
    assert [said for _, said in queue.takes] == [["1"], ["2"]]
    await worker.leave()


@pytest.mark.virtual_time
async def test_what_was_said_is_said_again_where_the_lease_had_ended() -> None:
    queue, owner = Queue(), Owner([1, 2])
    worker = worker_of(queue, owner)
    worker.note()
    await asyncio.sleep(0.6)
    assert [said for _, said in queue.takes] == [["1", "2"], []]
    queue.was_away = True
    await asyncio.sleep(0.5)
    queue.was_away = False
    await asyncio.sleep(0.5)
    assert [said for _, said in queue.takes][2:] == [[], ["1", "2"]]
    await worker.leave()


@pytest.mark.virtual_time
async def test_who_begins_has_said_nothing_that_could_be_lost() -> None:
    queue, owner = Queue(was_away=True), Owner([1])
    worker = worker_of(queue, owner)
    worker.note()
    await asyncio.sleep(0.1)
    assert [said for _, said in queue.takes] == [["1"]]
    await worker.leave()


@pytest.mark.virtual_time
async def test_while_redis_is_away_no_tasks_pile_up() -> None:
    queue, owner = Queue(is_listening=False), Owner([1])
    worker = worker_of(queue, owner)
    for _ in range(50):
        worker.note()
        await asyncio.sleep(0.01)
    assert len(other_tasks()) <= 2
    await worker.leave()
    assert other_tasks() == set()


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("is_alone", "is_owed", "payloads"),
    [(False, False, [b"news"]), (True, False, [None]), (True, True, [None, b"news"])],
)
async def test_what_others_could_hear_is_written_once_and_only_then(
    is_alone: bool, is_owed: bool, payloads: list[bytes | None]
) -> None:
    queue = Queue(is_alone=is_alone, is_owed=is_owed)
    worker = worker_of(queue, Owner())
    written: list[int] = []

    def write() -> bytes:
        written.append(1)
        return b"news"

    worker.report(Report(7, None, 0.0, told=["1"], write=write))
    await asyncio.sleep(0.1)
    assert queue.done_with == [(["1"], payload) for payload in payloads]
    assert len(written) == payloads.count(b"news")
    await worker.leave()


@pytest.mark.virtual_time
async def test_a_key_that_comes_while_redis_says_that_nothing_waits_is_asked_for_at_once() -> None:
    queue, owner = Queue(IDLE, seconds=0.02), Owner()
    worker = worker_of(queue, owner)
    turn = worker.ask(200)
    await asyncio.sleep(0.01)
    assert [said for _, said in queue.takes] == [[]]
    # It is queued when Redis has looked already, and before its reply is here.
    owner.keys.append(1)
    worker.note()
    queue.reply = Taken(1, ["1"], LeftPace(0, None))
    taken = await asyncio.wait_for(turn.taken, LEASE / 2)
    assert taken.keys == ["1"]
    await worker.leave()


@pytest.mark.virtual_time
async def test_what_is_not_told_any_more_after_a_cut_may_be_asked_by_others() -> None:
    queue, owner = Queue(seconds=0.02), Owner()
    worker = worker_of(queue, owner)
    worker.report(Report(7, None, 0.0, told=["1"], write=lambda: b"1"))
    worker.report(Report(None, None, 0.0, told=["2"], write=lambda: b"2"))
    await asyncio.sleep(0.01)
    assert worker._task is not None
    # As by a program that cancels every task.
    worker._task.cancel()
    await asyncio.wait([worker._task])
    assert queue.has_let_go
    await worker.leave()


@pytest.mark.virtual_time
async def test_who_is_cut_off_while_it_learns_that_it_is_not_alone_lets_others_ask() -> None:
    """What was told is still in the queue, and nobody is left to tell it to the others."""
    queue, owner = Queue(is_alone=True, is_owed=True, seconds=0.02), Owner()
    worker = worker_of(queue, owner)
    worker.report(Report(7, None, 0.0, told=["1"], write=lambda: b"1"))
    await asyncio.sleep(0.01)
    assert worker._task is not None
    worker._task.cancel()
    await asyncio.wait([worker._task])
    assert queue.done_with == [(["1"], None)]
    assert queue.has_let_go
    await worker.leave()


@pytest.mark.virtual_time
async def test_where_redis_lost_writes_all_is_said_again() -> None:
    """As after the failover to a replica that had not heard everything, but still knows who lives."""
    queue, owner = Queue(Wait("forgotten", 0.2, LeftPace(0, None))), Owner([1])
    worker = worker_of(queue, owner)
    worker.note()
    await asyncio.sleep(0.01)
    queue.reply = BUSY
    await asyncio.sleep(0.2)
    assert [said for _, said in queue.takes] == [["1"], ["1"]]
    await worker.leave()


@pytest.mark.virtual_time
@pytest.mark.parametrize("others", [0, 1])
async def test_the_slot_of_who_is_cancelled_right_before_the_reply_is_for_others(others: int) -> None:
    queue, owner = Queue(Taken(7, ["1"], LeftPace(0, None)), seconds=0.02), Owner([1])
    worker = worker_of(queue, owner)
    turns = [worker.ask(200) for _ in range(1 + others)]
    await asyncio.sleep(0.01)
    # What Task.cancel() does at once; the task itself leaves the queue when it comes to it.
    turns[0].taken.cancel()
    await asyncio.sleep(0.011)
    worker.withdraw(turns[0])
    await asyncio.sleep(0.1)
    assert [turn.taken.result().fence for turn in turns[1:]] == [7] * others
    assert others or queue.done_with  # it is given back
    await worker.leave()


@pytest.mark.virtual_time
@pytest.mark.parametrize("reply", [BUSY, IDLE])
async def test_that_the_slot_is_free_counts_although_an_older_reply_comes_after_it(reply: Wait) -> None:
    """What is published comes on a connection of its own, so it may overtake a reply."""
    queue, owner = Queue(reply, seconds=0.02), Owner([1])
    worker = worker_of(queue, owner)
    turn = worker.ask(200)
    await asyncio.sleep(0.01)
    assert len(queue.takes) == 1
    # The holder is done right after Redis has answered that it is not.
    worker.hear_turn(is_free=True, process=9, seconds=0.1, beside=0.1)
    queue.reply = Taken(8, ["1"], LeftPace(0, None))
    await asyncio.wait_for(turn.taken, LEASE / 4)
    await worker.leave()


@pytest.mark.virtual_time
async def test_a_worker_whose_task_is_cancelled_before_it_began_works_for_the_next_one() -> None:
    """As by a program that cancels every task."""
    queue, owner = Queue(Taken(7, ["1"], LeftPace(0, None))), Owner([1])
    worker = worker_of(queue, owner)
    turn = worker.ask(200)
    assert worker._task is not None
    worker._task.cancel()
    with pytest.raises(ClosedError, match="was cut off"):
        await turn.taken
    turn = worker.ask(200)
    assert (await turn.taken).fence == 7
    await worker.leave()


@pytest.mark.virtual_time
async def test_what_is_doubted_in_a_pause_is_said_again_after_it() -> None:
    """In a pause, a renewal says nothing of what waits here."""
    queue, owner = Queue(), Owner([1])
    worker = worker_of(queue, owner)
    worker.note()
    await asyncio.sleep(0.1)
    owner.is_paused = True
    worker.say_all_again()
    await asyncio.sleep(LEASE / 4)
    owner.is_paused = False
    worker.note()
    await asyncio.sleep(LEASE / 4)
    assert [said for _, said in queue.takes] == [["1"], [], ["1"]]
    await worker.leave()
