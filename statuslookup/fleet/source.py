"""A client's batches where processes share a queue: the slot brings the keys, whoever waits for them."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Generic, Self, cast

from .._clock import Clock
from .._engine.lanes import Batch, Lane, Lanes, OpenKey
from .._engine.source import Asker
from .._limits.limiter import Reply
from .._model import AnswerT, KeyT
from ..errors import StatusLookupError
from ..providers.base import SharedProvider
from .errands import Report
from .identity import Identity
from .link import Link
from .outcomes import Messages
from .pacing import SharedPacer
from .shared_queue import SharedQueue
from .slot import FOLLOW_UP, Taken
from .worker import Worker

logger = logging.getLogger("statuslookup")

_MOST_FENCES_BEHIND: Final = 100


class NotedLane(Lane[KeyT, AnswerT]):
    """A lane that says when keys came or left."""

    __slots__ = ("_note",)

    def __init__(
        self,
        note: Callable[[], None],
        on_capacity: Callable[[], object] | None = None,
        turns: "OrderedDict[Lane[KeyT, AnswerT], None] | None" = None,
    ) -> None:
        super().__init__(on_capacity, turns)
        self._note = note

    def append(self, open_key: OpenKey[KeyT, AnswerT], *, is_first: bool = False) -> None:
        super().append(open_key, is_first=is_first)
        self._note()

    def extend(self, open_keys: Sequence[OpenKey[KeyT, AnswerT]]) -> None:
        super().extend(open_keys)
        self._note()

    def drop(self, open_key: OpenKey[KeyT, AnswerT]) -> None:
        super().drop(open_key)
        self._note()


class NotedLanes(Lanes[KeyT, AnswerT]):
    """Lanes that say when a key came, changed its lane or left."""

    def __init__(self, note: Callable[[], None]) -> None:
        super().__init__()
        self._note = note
        self.first = NotedLane(note)

    def open_lane(self, on_capacity: Callable[[], object]) -> Lane[KeyT, AnswerT]:
        lane: Lane[KeyT, AnswerT] = NotedLane(self._note, on_capacity, self._turns)
        self._others[lane] = None
        return lane


class SharedBatch(Batch[KeyT, AnswerT]):
    """Keys that came with a slot, among them ``others``, which nobody here waits for."""

    __slots__ = ("fence", "others", "report", "told", "untold")

    def __init__(self, fence: int, texts: Mapping[KeyT, str]) -> None:
        super().__init__([])
        self.fence = fence
        self.others: dict[KeyT, None] = {}
        self.untold = dict(texts)
        """The keys that have no outcome yet, with their texts."""
        self.told: dict[KeyT, AnswerT | StatusLookupError | None] = {}
        """The outcomes that ``report`` tells."""
        self.report: Report | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for one of its keys, here or elsewhere."""
        return bool(self.others) or super().is_wanted

    def keys(self) -> list[KeyT]:
        return super().keys() + list(self.others)


class FleetSource(Generic[KeyT, AnswerT]):
    """Announces the keys that wait here, and gives batches of whatever waits anywhere."""

    def __init__(
        self,
        provider: SharedProvider[KeyT, AnswerT],
        link: Link,
        identity: Identity,
        *,
        lease: float,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._provider = provider
        self._most_announced = 2 * provider.max_batch
        self._link = link
        self.clock = clock
        self._loop = loop
        self.queue = SharedQueue(link, identity, self, lease=lease)
        self.pacer = SharedPacer(provider.rate_limit)
        self.worker: Worker[KeyT] = Worker(link, self.queue, self, self.pacer, clock=clock, loop=loop)
        self._messages = Messages(provider, self.queue.process, identity.mac_key)
        self.lanes: Lanes[KeyT, AnswerT] = NotedLanes(self.worker.note)
        self._batches: dict[SharedBatch[KeyT, AnswerT], None] = {}
        self._over: asyncio.Future[None] | None = None
        self._asker: Asker[KeyT, AnswerT]
        self.wants_turn = False
        self.told = 0

    @property
    def problem(self) -> StatusLookupError | None:
        """Why Redis cannot be used at this moment."""
        return self._link.problem

    def begin(self, asker: Asker[KeyT, AnswerT]) -> None:
        self._asker = asker

    # --- what the dispatcher asks and tells -----------------------------------------------------------

    def grant(self, most: int) -> "FleetGrant[KeyT, AnswerT]":
        return FleetGrant(self, most)

    def slot(self, batch: Batch[KeyT, AnswerT]) -> "FleetSlot[KeyT, AnswerT]":
        return FleetSlot(self, cast("SharedBatch[KeyT, AnswerT]", batch))

    def seal(self, taken: Taken) -> SharedBatch[KeyT, AnswerT]:
        """Return the batch of a slot: those of its keys that are queued here, and the others."""
        texts, useless = self._read(taken.keys)
        batch: SharedBatch[KeyT, AnswerT] = SharedBatch(taken.fence, texts)
        self._asker.seal(texts, batch)
        batch.others = dict.fromkeys(texts.keys() - {open_key.key for open_key in batch.open_keys})
        if useless:
            self._report_of(batch).told += useless
        self._batches[batch] = None
        self.wants_turn = not self.worker.is_finishing
        return batch

    def _read(self, texts: Iterable[str]) -> tuple[dict[KeyT, str], list[str]]:
        """Return the keys that the texts name, and those that name none: nobody of ours wrote them."""
        keys: dict[KeyT, str] = {}
        useless: list[str] = []
        for text in texts:
            try:
                keys[self._provider.key_from_text(text)] = text
            except Exception:  # noqa: BLE001 # a provider of somebody's own may raise anything
                useless.append(text)
        return keys, useless

    def tell(
        self, batch: Batch[KeyT, AnswerT], outcomes: Mapping[KeyT, AnswerT | StatusLookupError | None]
    ) -> None:
        batch = cast("SharedBatch[KeyT, AnswerT]", batch)
        told = [key for key in outcomes if key in batch.untold]
        if not told:
            return
        report = self._report_of(batch)
        texts = [batch.untold.pop(key) for key in told]
        report.told += texts
        batch.told |= {key: outcomes[key] for key in told}
        self.worker.announcements.told(told)
        if batch.others:
            others = [key for key in told if key in batch.others]
            for key in others:
                del batch.others[key]
            # Somebody here may have asked for them while they were under way.
            self._asker.hear({key: outcomes[key] for key in others})

    def over(self, batch: Batch[KeyT, AnswerT]) -> None:
        batch = cast("SharedBatch[KeyT, AnswerT]", batch)
        if batch.untold:
            self._report_of(batch).back += batch.untold.values()
        batch.others.clear()
        self._batches.pop(batch, None)
        if (
            self._over is not None
            and not self._over.done()
            and not any(each.others for each in self._batches)
        ):
            self._over.set_result(None)
        self.worker.note()

    def report_slot(self, batch: SharedBatch[KeyT, AnswerT], report: Report) -> None:
        """Tell that the slot of a batch is free again, with what is told of the batch right after."""
        told: dict[KeyT, AnswerT | StatusLookupError | None] = {}
        batch.report, batch.told = report, told
        report.write = partial(self._write, batch.fence, told)
        self.worker.report(report)

    def _report_of(self, batch: SharedBatch[KeyT, AnswerT]) -> Report:
        report = batch.report
        if report is None or not report.is_open:
            report = Report(None, None, self.clock.time())
            self.report_slot(batch, report)
        return report

    def _write(self, fence: int, told: Mapping[KeyT, AnswerT | StatusLookupError | None]) -> bytes:
        try:
            return self._messages.write(fence, told) if told else b""
        except Exception as error:  # a provider of somebody's own may raise anything
            logger.error("what others wait for cannot be told", exc_info=error)
            return b""

    async def finish(self) -> None:
        self.worker.is_finishing = True
        self.wants_turn = False
        if any(batch.others for batch in self._batches):
            self._over = over = self._loop.create_future()
            timer = self.clock.call_later(self.queue.lease, _end, over)
            try:
                await over
            finally:
                timer.cancel()

    async def leave(self) -> None:
        await self.worker.leave()

    # --- what the worker asks and tells ---------------------------------------------------------------

    @property
    def is_needed(self) -> bool:
        return bool(self._batches)

    @property
    def is_paused(self) -> bool:
        return self._asker.is_paused

    def front(self) -> tuple[list[KeyT], list[KeyT]]:
        return self.lanes.front(self._most_announced)

    def wanted(self, keys: Iterable[KeyT]) -> set[KeyT]:
        keys = set(keys)
        wanted = set(self._asker.queued(keys))
        for batch in self._batches:
            wanted |= batch.untold.keys() & keys
        return wanted

    def text(self, key: KeyT) -> str:
        return self._provider.key_to_text(key)

    def keys_of(self, texts: Iterable[str]) -> Iterable[KeyT]:
        return self._read(texts)[0]

    def note_idle(self) -> None:
        self.wants_turn = False
        self._loop.call_soon(self._asker.rest)

    def note_overtaken(self) -> None:
        self.wants_turn = False
        self._loop.call_soon(self._asker.rest)

    # --- what is heard --------------------------------------------------------------------------------

    def hear_turn(self, *, is_free: bool, process: int, seconds: float, beside: float) -> None:
        self.worker.hear_turn(is_free=is_free, process=process, seconds=seconds, beside=beside)

    def hear_outcomes(self, payload: bytes) -> None:
        if not self.queue.has_asked:
            # Nobody can tell here whether it is new. If it is of a key that is just being announced, whose
            # reply it has overtaken, that key has left the queue again.
            if self.lanes.queued:
                self.worker.say_all_again()
            return
        told = self._messages.read(payload, self._asker.queued)
        # What was learned so long ago is no news, even if it is true: somebody may have kept the message.
        if told is not None and told.fence >= self.queue.seen - _MOST_FENCES_BEHIND:
            self.worker.turns.hear_member(told.process)
            self.worker.announcements.heard(told.keys)
            self.told += self._asker.hear(told.outcomes)
            self.worker.poke()

    def reconnected(self) -> None:
        self.worker.say_all_again()


class FleetSlot(Generic[KeyT, AnswerT]):
    """The right to send one more request for a batch."""

    def __init__(self, source: FleetSource[KeyT, AnswerT], batch: SharedBatch[KeyT, AnswerT]) -> None:
        self._source = source
        self._batch = batch
        self._taken: Taken | None = None

    @property
    def is_late(self) -> bool:
        """Whether the lease may have ended: another process may send by now."""
        return self._taken is None or self._source.queue.is_late(self._taken.fence)

    def done(self, reply: Reply) -> None:
        source, taken = self._source, self._taken
        if taken is not None:
            self._taken = None
            now = source.clock.time()
            sent = source.pacer.done(self._grant, reply, now)
            source.report_slot(self._batch, Report(taken.fence, sent, now))

    async def __aenter__(self) -> Self:
        self._let_go(await self._take(FOLLOW_UP))
        return self

    async def _take(self, most: int) -> Taken:
        worker = self._source.worker
        turn = worker.ask(most)
        try:
            return await turn.taken
        except BaseException:
            worker.withdraw(turn)
            raise

    def _let_go(self, taken: Taken) -> None:
        self._taken = taken
        self._grant = self._source.pacer.grant(taken.pace, self._source.clock.time())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        taken = self._taken
        if taken is not None:
            self._taken = None
            self._source.pacer.unused(self._grant)
            self._source.report_slot(self._batch, Report(taken.fence, None, self._source.clock.time()))


class FleetGrant(FleetSlot[KeyT, AnswerT]):
    """A slot, and the keys that came with it."""

    batch: Batch[KeyT, AnswerT]

    def __init__(self, source: FleetSource[KeyT, AnswerT], most: int) -> None:
        self._source = source
        self._most = most
        self._taken = None

    async def __aenter__(self) -> Self:
        while True:
            taken = await self._take(self._most)
            self.batch = self._batch = self._source.seal(taken)
            if self._batch.untold:
                self._let_go(taken)
                return self
            # None of its keys was one.
            self._source.report_slot(self._batch, Report(taken.fence, None, self._source.clock.time()))
            self._source.over(self._batch)


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
