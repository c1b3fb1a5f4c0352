"""The group of the commands, and how every one of them ends. Data goes to stdout, all else to stderr."""

import errno
import io
import os
import sys
from typing import Any

import click

import statuslookup

from ..errors import StatusLookupError
from . import interrupts
from .check import check
from .demo import demo
from .display import reason_of, say
from .fleet import fleet
from .get import get
from .sandbox import sandbox
from .watch import watch


class _Commands(click.Group):
    """Ends every command alike: what went wrong is one line on stderr and an exit code, no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        _show_what_can_be_shown()
        try:
            return self._invoke(ctx)
        except click.ClickException as error:
            # It may name a file, or quote what stands in one.
            shown = io.StringIO()
            error.show(shown)
            say(shown.getvalue().rstrip("\n"))
            ctx.exit(error.exit_code)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            interrupts.ignore()
            click.echo("Interrupted.", err=True)
            ctx.exit(interrupts.code_of(interruption))
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


def _show_what_can_be_shown() -> None:
    """Have stdout show ``?`` for a character that its encoding does not have; stderr does so by itself."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _give_up_stdout_if_broken() -> None:
    """Keep Python from failing at its very end once more, with what could not be written to a full disk."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Commands)
@click.version_option(statuslookup.__version__, prog_name="statuslookup")
def commands() -> None:
    """Look up what became of WhatsApp messages, as fast as the provider's rules allow."""


for _command in (check, get, watch, fleet, sandbox, demo):
    commands.add_command(_command)
