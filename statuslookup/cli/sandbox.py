"""The command ``sandbox``."""

import errno
import threading
from urllib.parse import urlsplit

import click

from .._urls import is_loopback
from .display import reason_of
from .options import needs_extras
from .providers import ENTRIES

_HELP = f"""Run an imitation of {" and ".join(entry.brand for entry in ENTRIES)} until Ctrl-C.

Its messages are invented: {", and ".join(entry.invented for entry in ENTRIES)}. It needs no
account, and nothing leaves this machine.

\b
Examples:
  statuslookup sandbox --port 8080
  statuslookup sandbox --port 8080 --no-limit --messages 100000
"""


@click.command(help=_HELP, short_help="Imitate both providers on this machine.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; without it, any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--messages",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    help="How many messages there are, beside the stories.",
)
@click.option("--no-limit", is_flag=True, help="Keep no rate limit: never answer 429.")
@click.pass_context
def sandbox(context: click.Context, /, port: int, host: str, messages: int, no_limit: bool) -> None:
    with needs_extras("The sandbox"):
        from ..sandbox import Sandbox
    imitation = Sandbox(rate_limit=None) if no_limit else Sandbox()
    for entry in ENTRIES:
        entry.invent(imitation, messages, not no_limit)
    try:
        served_at = context.with_resource(imitation.serve(host, port))
    except OSError as error:
        what = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
        problem = f"{host}, port {port}: {reason_of(error)}; choose another {what} with --{what}"
        raise click.ClickException(problem) from error
    url = _url_for_this_machine(served_at)
    click.echo(url)
    click.echo(_how_to_use(url, messages), err=True)
    # A wait with an end is one that Ctrl-C can break on every system.
    stopped = threading.Event()
    while not stopped.wait(3600):
        pass


def _url_for_this_machine(url: str) -> str:
    """Return the URL with the loopback address, if it is one of all addresses."""
    for every, loopback in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        url = url.replace(every, loopback)
    return url


def _how_to_use(url: str, messages: int) -> str:
    if not is_loopback(urlsplit(url).hostname or ""):
        return f"""\
The sandbox answers at {url} until Ctrl-C. statuslookup gives credentials to an http URL only at
127.0.0.1, ::1 or localhost, so it needs something in between that speaks https.
"""
    text = f"The sandbox answers at {url} until Ctrl-C. From another shell:\n"
    for entry in ENTRIES:
        text += "".join(f"\n  {command}" for command in entry.trial).format(url=url, messages=messages) + "\n"
    return f"{text}\nA program that makes its provider with from_env() is led here by the same variables.\n"
