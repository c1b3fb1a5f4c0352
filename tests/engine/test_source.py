"""The dispatcher asks its source, whoever that is: late slots, what is told, and turns without keys."""

import asyncio
from collections.abc import Mapping
from contextvars import copy_context
from typing import Any, Self

import pytest

from statuslookup import RetryPolicy, StatusLookupError
from statuslookup._engine.dispatcher import Dispatcher
from statuslookup._engine.lanes import Batch, Lanes
from statuslookup._engine.open_keys import OpenKeys
from statuslookup._engine.source import Asker
from statuslookup._http import Progress
from statuslookup._limits.limiter import Reply
from statuslookup._wire import Request, Response
from tests.support.fakes import Tens, ticks
from tests.support.virtual_time import LoopClock

pytestmark = pytest.mark.virtual_time


class Slot:
    def __init__(self, source: "Source", most: int = 0, *, is_late: bool = False) -> None:
        self.is_late = is_late
        self._source = source
        self._most = most
        self.batch: Batch[int, int]

    def done(self, reply: Reply) -> None:
        self._source.log.append("done")

    async def __aenter__(self) -> Self:
        self.batch = self._source.lanes.seal(self._most)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._source.log.append("left")


class Source:
    """Gives every grant at once, the first ``late`` ones too late, and writes down what it is told."""

    wants_turn = False
    told = 0
    problem = None

    def __init__(self, late: int = 0) -> None:
        self.lanes: Lanes[int, int] = Lanes()
        self.log: list[object] = []
        self._late = late

    def begin(self, asker: Asker[int, int]) -> None: ...

    def grant(self, most: int) -> Slot:
        self._late -= 1
        return Slot(self, most, is_late=self._late >= 0)

    def slot(self, batch: Batch[int, int]) -> Slot:
        return Slot(self)

    def tell(self, batch: Batch[int, int], outcomes: Mapping[int, int | StatusLookupError | None]) -> None:
        self.log.append(dict(outcomes))

    def over(self, batch: Batch[int, int]) -> None:
        self.log.append("over")

    async def finish(self) -> None: ...

    async def leave(self) -> None: ...


class Engine:
    """A dispatcher with a source of the test's own."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.requests: list[str] = []
        loop = asyncio.get_running_loop()
        self.open_keys: OpenKeys[int, int] = OpenKeys(source.lanes, loop.call_soon)
        self.dispatcher: Dispatcher[int, int] = Dispatcher(
            Tens(),
            source.lanes,
            self.open_keys,
            source,
            self.send,
            retry=RetryPolicy(),
            linger=0.0,
            clock=LoopClock(),
            context=copy_context(),
            loop=loop,
        )

    async def send(self, request: Request, progress: Progress) -> Response:
        self.requests.append(request.path)
        return Response(200)

    async def get(self, key: int) -> Any:
        answer: asyncio.Future[int | None] = asyncio.Future()
        self.open_keys.join(key, answer, self.source.lanes.first)
        self.dispatcher.wake()
        return await answer


async def test_what_a_reply_said_is_told_before_it_is_settled_and_the_end_of_the_exchange_is_too() -> None:
    engine = Engine(Source())
    assert await engine.get(1) == 10
    await ticks()
    assert engine.source.log == ["done", {1: 10}, "left", "over"]


async def test_in_a_slot_that_is_late_nothing_is_sent_and_its_keys_go_back() -> None:
    engine = Engine(Source(late=2))
    answers: list[int] = await asyncio.gather(engine.get(1), engine.get(2))
    assert answers == [10, 20]
    await ticks()
    assert engine.requests == ["/1,2"]
    assert engine.source.log == ["left", "over", "left", "over", "done", {1: 10, 2: 20}, "left", "over"]


async def test_a_source_that_wants_a_turn_is_asked_although_nothing_is_queued_here() -> None:
    source = Source()
    engine = Engine(source)
    engine.dispatcher.wake()
    assert not engine.dispatcher.is_set
    source.wants_turn = True
    engine.dispatcher.wake()
    engine.dispatcher.rest()
    assert engine.dispatcher.is_set
    source.wants_turn = False
    await asyncio.sleep(1)
    assert (engine.requests, engine.dispatcher.is_set, source.log) == ([], False, ["left", "over"])


async def test_what_was_heard_from_elsewhere_is_settled_here_and_not_told_again() -> None:
    engine = Engine(Source())
    answer: asyncio.Future[int | None] = asyncio.Future()
    engine.open_keys.join(1, answer, engine.source.lanes.first)
    batch: Batch[int, int] = Batch([])
    engine.source.lanes.seal_keys(engine.open_keys.queued([1]), batch)
    engine.dispatcher.hear(batch, {1: 10})
    assert await answer == 10
    assert engine.source.log == []
