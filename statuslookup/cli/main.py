"""The command line. Data goes to stdout, everything else to stderr."""

import asyncio
import errno
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
from rich.console import Console

import statuslookup

from ..errors import StatusLookupError
from .check import check
from .display import reason_of
from .exit_codes import INTERRUPTED
from .get import get, sandbox
from .options import needs_extras

ResultT = TypeVar("ResultT")

_MOST_DEMO_MESSAGES = 100_000
_MOMENT = 2.0


class _Commands(click.Group):
    """Ends every command alike: what went wrong is one line on stderr and an exit code, no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except StatusLookupError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                # Whoever read the output has seen enough; click ends the process quietly.
                raise
            _give_up_stdout_if_broken()
            # Its notes say how to go on.
            lines = [reason_of(error), *getattr(error, "__notes__", [])]
            raise click.ClickException("\n".join(lines)) from error


def _give_up_stdout_if_broken() -> None:
    """Keep Python from failing at its very end once more, with what could not be written to a full disk."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_async(function: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Run the function in an event loop; the first Ctrl-C cancels it, and it can clean up undisturbed.

    If that takes longer than a moment, a line says so, and one more Ctrl-C ends the process at once.
    """
    task: asyncio.Task[ResultT] | None = None
    interrupted = False
    is_late = False

    async def main() -> ResultT:
        nonlocal task
        task = asyncio.current_task()
        if interrupted:
            raise asyncio.CancelledError
        return await function()

    def interrupt(*_: Any) -> None:
        # It raises nothing, because an exception in the middle of an import, or of making an event loop,
        # leaves files open. Who holds Ctrl-C down would break the clean-up, too.
        nonlocal interrupted
        if is_late:
            _end_at_once()
        # Before anything is called, because the next Ctrl-C can come in the middle of any call.
        is_first, interrupted = not interrupted, True
        if is_first and task is not None and not task.get_loop().is_closed():
            task.get_loop().call_soon_threadsafe(cancel, task)

    def cancel(task: "asyncio.Task[ResultT]") -> None:
        task.cancel()
        # What a thread does cannot be cancelled, and asyncio waits for it: that may be a host's address.
        task.get_loop().call_later(_MOMENT, say_that_it_is_closing)

    def say_that_it_is_closing() -> None:
        nonlocal is_late
        is_late = True
        click.echo("Closing. Ctrl-C once more ends it at once.", err=True)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or not _is_main_thread():
        return asyncio.run(main())
    signal.signal(signal.SIGINT, interrupt)
    is_cancelled = False
    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        is_cancelled = True
        raise KeyboardInterrupt from None
    finally:
        # Who is told of the Ctrl-C can say so undisturbed. One that came too late to change anything must
        # not make the next one deaf.
        if not is_cancelled:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_at_once() -> None:
    # Past Python's own streams, which may be in the middle of something. The progress bar hid the cursor.
    try:
        os.write(2, b"\x1b[?25hInterrupted.\n" if os.isatty(2) else b"Interrupted.\n")
    finally:
        os._exit(INTERRUPTED)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@click.group(cls=_Commands, context_settings={"obj": run_async})
@click.version_option(statuslookup.__version__, prog_name="statuslookup")
def commands() -> None:
    """Look up what became of WhatsApp messages, as fast as the provider's rules allow."""


for _command in (check, get, sandbox):
    commands.add_command(_command)


@commands.command()
@click.option(
    "--messages",
    type=click.IntRange(1, _MOST_DEMO_MESSAGES),
    default=5000,
    show_default=True,
    help="How many messages to look up at SMSFire.",
)
def demo(messages: int) -> None:
    """Look up a campaign and some stories at a sandbox on this machine.

    The sandbox answers as SMSFire does, over HTTP: 2 requests a second, 50 ms away. Beside that it answers
    as GREEN-API does, 1 request a second, for one story in 400 messages, 12 at most. Nothing leaves this
    machine, and no account is needed. The result goes to stdout, the progress to stderr.
    """
    with needs_extras("The demo"):
        from .demo import run_demo
    problem = run_demo(messages, out=Console(), err=Console(stderr=True), run=run_async)
    if problem is not None:
        raise click.ClickException(problem)
