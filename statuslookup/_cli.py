"""The command line. Data goes to stdout, everything else to stderr."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import click
from rich.console import Console

from ._check_command import check
from ._commands import get, sandbox
from .errors import StatusLookupError

ResultT = TypeVar("ResultT")

_INTERRUPTED = 130
_MOST_DEMO_MESSAGES = 100_000


class _Commands(click.Group):
    """Ends every command alike: what went wrong is one line on stderr and an exit code, no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)
        except StatusLookupError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                # Whoever read the output has seen enough; click ends the process quietly.
                raise
            _give_up_stdout_if_broken()
            raise click.ClickException(str(error)) from error


def _give_up_stdout_if_broken() -> None:
    """Keep Python from failing at its very end once more, with what could not be written to a full disk."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_async(function: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Run the function in an event loop; the first Ctrl-C cancels it, and it can clean up undisturbed."""

    async def main() -> ResultT:
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt) or threading.current_thread() is not threading.main_thread():
            return await function()

        def interrupt_once(*arguments: Any) -> None:
            # Who holds Ctrl-C down would break the clean-up, and get tracebacks from all parts of it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            interrupt(*arguments)

        signal.signal(signal.SIGINT, interrupt_once)
        try:
            return await function()
        finally:
            if signal.getsignal(signal.SIGINT) is interrupt_once:
                signal.signal(signal.SIGINT, interrupt)

    return anyio.run(main)


class _MissingExtra(click.ClickException):
    exit_code = 2


@click.group(cls=_Commands, context_settings={"obj": run_async})
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
    try:
        from ._demo import run_demo
    except ImportError as error:
        # The sandbox says itself that what it needs is missing. Anything else is a bug, and shows as one.
        if not isinstance(error.__cause__, ImportError):
            raise
        raise _MissingExtra('The demo needs its extras: pip install "statuslookup[cli,sandbox]"') from error
    problem = run_demo(messages, out=Console(), err=Console(stderr=True), run=run_async)
    if problem is not None:
        raise click.ClickException(problem)
