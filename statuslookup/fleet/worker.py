"""What talks to Redis for one client: says what waits here, takes the slot, and tells what came of it."""

import asyncio
import logging
import math
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Final, Generic

from .._clock import Clock
from .._model import KeyT
from ..errors import ClosedError, FleetError, StatusLookupError
from .announcements import Announcements, Changes
from .errands import Owner, Report, Turn
from .link import Link
from .pacing import SharedPacer, aged
from .shared_queue import SharedQueue
from .slot import ANNOUNCE, Taken, Wait
from .turns import Turns

logger = logging.getLogger("statuslookup")

_RENEWALS_A_LEASE: Final = 4
# For this part of a lease, a renewal waits for an announcement that is due soon: one call does both.
_PATIENCE: Final = 1 / 8
_SAY_ALL_AGAIN_AFTER: Final = 5.0


class Worker(Generic[KeyT]):
    """Makes one call at a time, and each when it is due; its task ends when there is nothing to do.

    - Reports go first: what was learned must be known before anything is asked anew.
    - A turn takes the slot when ``Turns`` says so, first come, first served within this process.
    - What waits here is said at once while the slot is free, else shortly before it is.
    - The lease is renewed while something of this process stands in Redis.
    """

    def __init__(
        self,
        link: Link,
        queue: SharedQueue,
        owner: Owner[KeyT],
        pacer: SharedPacer,
        *,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._link = link
        self._queue = queue
        self._owner = owner
        self._pacer = pacer
        self._clock = clock
        self._loop = loop
        self.turns = Turns(queue.process, random)
        self.announcements: Announcements[KeyT] = Announcements()
        self._waiting: deque[Turn] = deque()
        self._reports: deque[Report] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_heard = False
        """Whether the task has seen to it that it hears what others say."""
        self._poked: asyncio.Future[None] | None = None
        self._has_news = False
        """Whether keys were queued or left since they were last announced."""
        self._is_noted = False
        self._was_freed = False
        """Whether the slot was said to be free since Redis was last asked for it."""
        self._called_at = self._said_all_at = -math.inf
        self.is_finishing = False
        """Whether no new exchange may begin; those that have begun go on."""
        self._is_leaving = False

    # --- what it is given to do -----------------------------------------------------------------------

    def note(self) -> None:
        """Take note that keys were queued, changed lanes or left."""
        self._has_news = True
        if not self._is_noted:
            # Whatever else comes in this turn of the loop goes in the same call.
            self._is_noted = True
            self._loop.call_soon(self._say_news)

    def _say_news(self) -> None:
        self._is_noted = False
        for turn in self._waiting:
            turn.not_before = -math.inf
        self.poke()

    def ask(self, most: int) -> Turn:
        """Queue for the slot, behind all others of this process."""
        turn = Turn(most, self._loop.create_future())
        self._waiting.append(turn)
        self.poke()
        return turn

    def withdraw(self, turn: Turn) -> None:
        """Leave the queue; what was taken meanwhile is given back."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.taken.done() and not turn.taken.cancelled() and turn.taken.exception() is None:
            self.give_back(turn.taken.result())

    def give_back(self, taken: Taken) -> None:
        """Give a slot back in which nothing was sent."""
        self.report(Report(taken.fence, None, self._clock.time(), back=taken.keys))

    def report(self, report: Report) -> None:
        self._reports.append(report)
        self.poke()

    def hear_turn(self, *, is_free: bool, process: int, seconds: float, beside: float) -> None:
        self.turns.hear_turn(
            is_free=is_free,
            process=process,
            seconds=seconds,
            beside=beside,
            lease=self._queue.lease,
            now=self._clock.time(),
        )
        if is_free:
            self._was_freed = True
            for turn in self._waiting:
                turn.not_before = -math.inf
        elif process != self._queue.process:
            self._owner.note_overtaken()
        self.poke()

    def say_all_again(self) -> None:
        """Take note that words were lost, of others or of this process: say everything again."""
        self.announcements.doubt()
        self.note()

    # --- its task -------------------------------------------------------------------------------------

    def poke(self) -> None:
        """See to it that what is to be done now is done."""
        if self._poked is not None:
            if not self._poked.done():
                self._poked.set_result(None)
        elif self._task is None and self._has_work() and not self._loop.is_closed():
            # Not by the loop's task factory: an eager task would begin in the middle of the caller.
            self._task = asyncio.Task(self._run(), loop=self._loop, context=Context())
            self._task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            # It was cancelled from outside before it began, so it could not say so itself.
            self._task = None
            self._give_up(_cut_off())

    def _has_work(self) -> bool:
        if self._is_leaving:
            return bool(self._reports)
        return bool(
            self._reports
            or self._waiting
            or self.announcements
            or self._owner.is_needed
            or (self._has_news and not self._owner.is_paused and any(self._owner.front()))
        )

    async def _run(self) -> None:
        try:
            while self._has_work():
                try:
                    await self._step()
                except FleetError as problem:
                    self._fail(problem)
        except asyncio.CancelledError:
            # From outside: nobody else would go on, and who waits for the slot would wait for ever.
            self._give_up(_cut_off())
            raise
        except Exception as error:
            logger.error("lookups ended by a bug in the fleet", exc_info=error)
            self._give_up(error)
        finally:
            self._task = None
            self._is_heard = False
            self._queue.rest()

    async def _step(self) -> None:
        if self._reports:
            if not self._is_leaving:
                await self._link.pause()
            await self._tell(self._reports[0])
        elif await self._is_connected():
            now = self._clock.time()
            due, turn = self._next(now)
            if due > now:
                await self._sleep(due - now)
                return
            changes, self._has_news = self._changes(now), False
            if turn is not None or now >= self._renewal_at or changes:
                await self._take(turn, changes, now)

    async def _is_connected(self) -> bool:
        """Wait until Redis is there and all is heard; ``False`` if something else came to be done."""
        if self._is_heard and self._queue.is_listening and not self._link.is_down:
            return True
        connecting = asyncio.Task(self._connect(), loop=self._loop, context=Context())
        self._poked = self._loop.create_future()
        try:
            await asyncio.wait({connecting, self._poked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._poked = None
            if not connecting.done():
                connecting.cancel()
        if not connecting.done():
            return False
        await connecting
        self._is_heard = True
        return True

    async def _connect(self) -> None:
        await self._link.pause()
        await self._queue.listen()

    async def _sleep(self, seconds: float) -> None:
        self._poked = poked = self._loop.create_future()
        timer = self._clock.call_later(seconds, self.poke)
        try:
            await poked
        finally:
            timer.cancel()
            self._poked = None

    @property
    def _renewal_at(self) -> float:
        return self._called_at + self._queue.lease / _RENEWALS_A_LEASE

    def _next(self, now: float) -> tuple[float, Turn | None]:
        """Return when the next call is due, and for whom."""
        due = self._renewal_at
        if self._has_news and not self._owner.is_paused:
            announce_at = self.turns.announce_at()
            is_near = due < announce_at <= due + _PATIENCE * self._queue.lease
            due = announce_at if is_near else min(due, announce_at)
        for turn in self._waiting:
            at = max(turn.not_before, self._try_at(turn, now))
            if at <= now:
                return now, turn
            due = min(due, at)
        return due, None

    def _try_at(self, turn: Turn, now: float) -> float:
        if self.is_finishing and not turn.is_follow_up:
            return math.inf
        pacer, is_alone = self._pacer, self._pacer.is_alone(now)
        if pacer.in_flight and is_alone:
            return pacer.next_at
        at = self.turns.try_at(is_alone=is_alone, is_follow_up=turn.is_follow_up)
        return max(at, pacer.next_at) if pacer.in_flight else at

    async def _take(self, turn: Turn | None, changes: Changes[KeyT], now: float) -> None:
        had_said, text = bool(self.announcements), self._owner.text
        self._was_freed = False
        reply = await self._queue.take(
            self._pacer.terms(now),
            ANNOUNCE if turn is None else turn.most,
            first=list(map(text, changes.first)),
            bulk=list(map(text, changes.bulk)),
            gone=list(map(text, changes.gone)),
        )
        self.announcements.said(changes)
        if had_said and self._queue.was_away:
            # As after a freeze: what this process waits for was dropped with its lease.
            self.say_all_again()
        self._called_at = now
        now = self._clock.time()
        if isinstance(reply, Taken):
            self._hand_over(reply, turn)
        else:
            self._wait(reply, turn, now)

    def _changes(self, now: float) -> Changes[KeyT]:
        if now - self._said_all_at > _SAY_ALL_AGAIN_AFTER:
            self.announcements.doubt()
            self._said_all_at = now
        is_paused = self._owner.is_paused
        first, bulk = ([], []) if is_paused else self._owner.front()
        return self.announcements.changes(first, bulk, self._owner.wanted, is_all=not is_paused)

    def _hand_over(self, taken: Taken, turn: Turn | None) -> None:
        if turn is None or turn.taken.done():
            # It has left meanwhile; somebody else here may want the same.
            is_follow_up = not taken.keys
            # Who was cancelled this very moment has not left the queue yet.
            here = (each for each in self._waiting if not each.taken.done())
            turn = next((each for each in here if each.is_follow_up == is_follow_up), None)
        if turn is None:
            self.give_back(taken)
        else:
            self._waiting.remove(turn)
            turn.taken.set_result(taken)

    def _wait(self, reply: Wait, turn: Turn | None, now: float) -> None:
        if reply.why == "idle":
            self.turns.hear_reply("idle", 0.0, now)
            if turn is not None and not (self._has_news or self._was_freed):
                # What came, or came back, while Redis was asked is not among what it looked for.
                turn.not_before = now + reply.seconds
            self._owner.note_idle()
            return
        if not (reply.why == "busy" and self._was_freed):
            # A "busy" that comes after "free" may be the older of the two, and is not believed then: if it is
            # the newer one, whoever took the slot says so.
            self.turns.hear_reply(reply.why, reply.seconds, now)
        if reply.why == "pace":
            self._pacer.go_on_from(reply.pace, now)
        elif reply.why == "forgotten":
            self.announcements.doubt()
            self._has_news = True

    async def _tell(self, report: Report) -> None:
        report.is_open = False
        payload = None if self._queue.is_alone else report.write()
        self._reports.remove(report)
        now = self._clock.time()
        sent = None if report.sent is None else aged(report.sent, now - report.made_at)
        try:
            told, back = report.told, report.back
            is_owed = await self._queue.done(report.fence, sent, told=told, back=back, payload=payload)
            if is_owed:
                # Another process has come since this one last asked.
                await self._queue.done(None, None, told=told, payload=report.write())
        except FleetError:
            # The slot has passed to others by now, who ask for these keys again.
            self.announcements.withdraw(self._owner.keys_of([*report.told, *report.back]))
            raise
        except asyncio.CancelledError:
            # From outside: whether others have to hear of it is not known any more.
            self._queue.let_go()
            raise
        if report.fence is not None:
            wait = 0.0 if sent is None else max(sent.pause, sent.freeze)
            beside = min(wait, max(0.0, self._pacer.next_at - self._clock.time()))
            self.hear_turn(is_free=True, process=self._queue.process, seconds=wait, beside=beside)

    # --- what goes wrong ------------------------------------------------------------------------------

    def _fail(self, problem: FleetError) -> None:
        """Forget what Redis knew; what may pass is tried again, anything else ends all that waits."""
        self.announcements.doubt()
        self._has_news = True
        if not problem.is_transient or self._is_leaving:
            self._give_up(problem)
            return
        if not (self._reports or self._waiting or self._owner.is_needed or any(self._owner.front())):
            self.announcements.forget()

    def _give_up(self, problem: Exception) -> None:
        waiting = list(self._waiting)
        self._waiting.clear()
        if self._reports:
            # As long as this process lives, nobody else would ask for what it has taken, or have its slot.
            self._queue.let_go()
        self._reports = deque(report for report in self._reports if report.fence is not None)
        self.announcements.forget()
        self._has_news = False
        for turn in waiting:
            if not turn.taken.done():
                error = problem.fresh() if isinstance(problem, StatusLookupError) else problem
                turn.taken.set_exception(error)
                # Whoever waited may be gone before it can take the error.
                turn.taken.exception()

    # --- the end --------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Say what is left to say, give everything back, and end."""
        self._is_leaving = True
        self.poke()
        task = self._task
        try:
            if task is not None:
                await asyncio.wait({task})
        finally:
            if task is not None:
                task.cancel()
            try:
                await self._queue.leave(gone=list(map(self._owner.text, self.announcements.all())))
            except FleetError:
                # The lease ends by itself.
                pass
            finally:
                await self._link.aclose()


def _cut_off() -> ClosedError:
    return ClosedError("the lookup was cut off: what talks to Redis for it was cancelled")
