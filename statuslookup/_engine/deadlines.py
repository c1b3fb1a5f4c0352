"""Ends waits whose time is up."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from .._clock import Clock, Timer

_NOT_RUNNING: Final = 1.0

WaiterT = TypeVar("WaiterT")
ValueT = TypeVar("ValueT")


class Deadline(Generic[WaiterT, ValueT]):
    """The end of all waits that began in one turn of the event loop with one timeout."""

    __slots__ = ("_timer", "due", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[WaiterT, ValueT] = {}
        self.due = 0.0
        self._timer: Timer | None = None

    def start(self, clock: Clock, delay: float, end: Callable[..., None], timeout: float) -> None:
        if self.waiting:
            self.due = clock.time() + delay
            self._timer = clock.call_later(delay, end, self, timeout)

    def discard(self, waiter: WaiterT) -> None:
        """Forget the waiter, if it is still waited for; without any, no timer is left."""
        waiting = self.waiting
        waiting.pop(waiter, None)
        if not waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Deadlines(Generic[WaiterT, ValueT]):
    """Calls ``expire`` with the waits whose timeout has passed since the turn of the loop they began in.

    One timer serves all waits of a turn, and no time is read for any of them, because a timer for each of
    many thousand lookups would cost as much as half of all the rest. ``call_soon`` says when a turn is over.

    A deadline that comes late by more than a second shows that the process did not run for as long: it was
    stopped, or the machine slept. Nobody could be answered in that time, so the deadline moves by it.
    """

    def __init__(
        self,
        clock: Clock,
        call_soon: Callable[[Callable[[], None]], object],
        expire: Callable[[dict[WaiterT, ValueT], float], None],
    ) -> None:
        self._clock = clock
        self._call_soon = call_soon
        self._expire = expire
        self._this_turn: dict[float, Deadline[WaiterT, ValueT]] = {}

    def of_this_turn(self, timeout: float) -> Deadline[WaiterT, ValueT]:
        """Return the deadline of the waits that begin now; put a waiter into its ``waiting``."""
        deadline = self._this_turn.get(timeout)
        if deadline is None:
            if not self._this_turn:
                self._call_soon(self._end_turn)
            deadline = self._this_turn[timeout] = Deadline()
        return deadline

    def _end_turn(self) -> None:
        ended, self._this_turn = self._this_turn, {}
        for timeout, deadline in ended.items():
            deadline.start(self._clock, timeout, self._end, timeout)

    def _end(self, deadline: Deadline[WaiterT, ValueT], timeout: float) -> None:
        late = self._clock.time() - deadline.due
        if late > _NOT_RUNNING:
            deadline.start(self._clock, min(late, timeout), self._end, timeout)
            return
        waiting, deadline.waiting = deadline.waiting, {}
        self._expire(waiting, timeout)
