"""Ctrl-C: the first one cancels what runs, which cleans up undisturbed; one more ends what takes too long."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import click

from .exit_codes import INTERRUPTED

ResultT = TypeVar("ResultT")

_MOMENT = 2.0


def run_async(function: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Run the function in an event loop; the first Ctrl-C cancels it, and it can clean up undisturbed.

    If that takes longer than a moment, a line says so, and one more Ctrl-C ends the process at once. What was
    cancelled ends as a ``KeyboardInterrupt``, and no Ctrl-C is heard any more.
    """
    run = _Run(function)
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or not _is_main_thread():
        return asyncio.run(run.main())
    signal.signal(signal.SIGINT, run.interrupt)
    is_cancelled = False
    try:
        return asyncio.run(run.main())
    except asyncio.CancelledError:
        is_cancelled = True
        raise KeyboardInterrupt from None
    finally:
        # Who is told of the Ctrl-C can say so undisturbed. One that came too late to change anything must
        # not make the next one deaf.
        if not is_cancelled:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore() -> None:
    """Let no further Ctrl-C get in the way of saying that there was one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Run(Generic[ResultT]):
    """A function in an event loop, and what each Ctrl-C does to it."""

    def __init__(self, function: Callable[[], Awaitable[ResultT]]) -> None:
        self._function = function
        self._task: asyncio.Task[ResultT] | None = None
        self._is_interrupted = False
        self._is_late = False

    async def main(self) -> ResultT:
        self._task = asyncio.current_task()
        if self._is_interrupted:
            raise asyncio.CancelledError
        return await self._function()

    def interrupt(self, *_: Any) -> None:
        # It raises nothing, because an exception in the middle of an import, or of making an event loop,
        # leaves files open. Who holds Ctrl-C down would break the clean-up, too.
        if self._is_late:
            _end_at_once()
        # Before anything is called, because the next Ctrl-C can come in the middle of any call.
        is_first, self._is_interrupted = not self._is_interrupted, True
        task = self._task
        if is_first and task is not None and not task.get_loop().is_closed():
            task.get_loop().call_soon_threadsafe(self._cancel, task)

    def _cancel(self, task: "asyncio.Task[ResultT]") -> None:
        task.cancel()
        # What a thread does cannot be cancelled, and asyncio waits for it: that may be a host's address.
        task.get_loop().call_later(_MOMENT, self._say_that_it_is_closing)

    def _say_that_it_is_closing(self) -> None:
        self._is_late = True
        click.echo("Closing. Ctrl-C once more ends it at once.", err=True)


def _end_at_once() -> None:
    # Past Python's own streams, which may be in the middle of something. The progress bar hid the cursor.
    try:
        os.write(2, b"\x1b[?25hInterrupted.\n" if os.isatty(2) else b"Interrupted.\n")
    finally:
        os._exit(INTERRUPTED)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
