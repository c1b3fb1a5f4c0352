"""Ctrl-C and SIGTERM: the first one cancels what runs, which cleans up; one more ends what takes too long."""

import asyncio
import math
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

import click

from .._clock import SYSTEM_CLOCK
from .exit_codes import INTERRUPTED, TERMINATED

ResultT = TypeVar("ResultT")

_MOMENT = 2.0
# What is heard, and what handles it as long as nobody says otherwise.
_HEARD: Final[dict[signal.Signals, Any]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


class Terminated(KeyboardInterrupt):
    """What ran was cancelled by SIGTERM, with which service managers stop a process, and not by Ctrl-C."""


def run_async(function: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Run the function in an event loop; the first Ctrl-C or SIGTERM cancels it.

    It can clean up undisturbed. If that takes longer than a moment, one more ends the process at once, and a
    line says so, unless the event loop is held up. What was cancelled ends as a ``KeyboardInterrupt``, and
    neither is heard any more.
    """
    run = _Run(function)
    heard = [each for each, usual in _HEARD.items() if signal.getsignal(each) is usual]
    if not heard or not _is_main_thread():
        return asyncio.run(run.main())
    for each in heard:
        signal.signal(each, run.interrupt)
    is_cancelled = False
    try:
        return asyncio.run(run.main())
    except asyncio.CancelledError:
        is_cancelled = True
        raise (Terminated if run.code == TERMINATED else KeyboardInterrupt) from None
    finally:
        # Who is told of it can say so undisturbed. One that came too late to change anything must not make
        # the next one deaf.
        if not is_cancelled:
            for each in heard:
                signal.signal(each, _HEARD[each])


def ignore() -> None:
    """Let no further one get in the way of saying that there was one."""
    for each in _HEARD:
        signal.signal(each, signal.SIG_IGN)


def code_of(interruption: KeyboardInterrupt) -> int:
    """Return what the shell is told."""
    return TERMINATED if isinstance(interruption, Terminated) else INTERRUPTED


class _Run(Generic[ResultT]):
    """A function in an event loop, and what each Ctrl-C or SIGTERM does to it."""

    def __init__(self, function: Callable[[], Awaitable[ResultT]]) -> None:
        self._function = function
        self._task: asyncio.Task[ResultT] | None = None
        self._is_interrupted = False
        self._late_at = math.inf
        """From when on it takes too long, so that one more ends it."""
        self.code = INTERRUPTED
        """What the shell is to be told, by the signal that came first."""

    async def main(self) -> ResultT:
        self._task = asyncio.current_task()
        if self._is_interrupted:
            raise asyncio.CancelledError
        return await self._function()

    def interrupt(self, number: int, _: Any) -> None:
        # It raises nothing, because an exception in the middle of an import, or of making an event loop,
        # leaves files open. Who holds Ctrl-C down would break the clean-up, too.
        if SYSTEM_CLOCK.time() >= self._late_at:
            _end_at_once(self.code)
        # Before anything is called, because the next Ctrl-C can come in the middle of any call.
        is_first, self._is_interrupted = not self._is_interrupted, True
        if is_first:
            # Not by the event loop, which may be held up: by whoever reads stdout, and does not go on.
            self._late_at = SYSTEM_CLOCK.time() + _MOMENT
            self.code = TERMINATED if number == signal.SIGTERM else INTERRUPTED
        task = self._task
        if is_first and task is not None and not task.get_loop().is_closed():
            task.get_loop().call_soon_threadsafe(self._cancel, task)

    def _cancel(self, task: "asyncio.Task[ResultT]") -> None:
        task.cancel()
        self._late_at = SYSTEM_CLOCK.time() + _MOMENT
        # What a thread does cannot be cancelled, and asyncio waits for it: that may be a host's address.
        task.get_loop().call_later(_MOMENT, self._say_that_it_is_closing)

    def _say_that_it_is_closing(self) -> None:
        click.echo("Closing. One more Ctrl-C or SIGTERM ends it at once.", err=True)


def _end_at_once(code: int) -> None:
    # Past Python's own streams, which may be in the middle of something. The progress bar hid the cursor.
    try:
        os.write(2, b"\x1b[?25hInterrupted.\n" if os.isatty(2) else b"Interrupted.\n")
    finally:
        os._exit(code)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
