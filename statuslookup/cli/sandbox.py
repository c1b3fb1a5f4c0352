"""The command ``sandbox``."""

import asyncio
import errno
import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from .._urls import is_loopback
from .display import reason_of, say
from .interrupts import run_async
from .options import needs_extras
from .providers import ENTRIES

if TYPE_CHECKING:
    from ..sandbox import Campaign, Posted

_SPEED = 10
# Somebody has to paste what is printed, and what was sent before is nearly all over by then.
_SECONDS_OF_SENDING = 60.0
_MOST_SENT_A_SECOND = 50

_HELP = f"""Run an imitation of {" and ".join(entry.brand for entry in ENTRIES)} until Ctrl-C.

Its messages are invented: {", and ".join(entry.invented for entry in ENTRIES)}. It needs no
account, and nothing leaves this machine.

With --webhooks, the messages of {" and ".join(entry.brand for entry in ENTRIES if entry.send)} live:
they are sent for a minute ({_MOST_SENT_A_SECOND} a second at most), and accepted, delivered and read as in a
campaign on a bad day. Each change is posted to the URL, but 3 in 10 get lost, and others come twice,
late or in the wrong order. What nobody receives is lost, too: nothing is posted again. 'watch --listen'
can receive them if the path is a secret of 16 characters or more; the command is printed.

\b
Examples:
  statuslookup sandbox --port 8080
  statuslookup sandbox --port 8080 --no-limit --messages 100000
  statuslookup sandbox --webhooks http://127.0.0.1:8080/only-for-trying-it-out
"""


def _target(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    with needs_extras("The sandbox"):
        from ..sandbox._webhooks import poster
    try:
        poster(value)
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None
    return value


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
@click.option("--webhooks", metavar="URL", callback=_target, help="Have messages live, and post each change.")
@click.option(
    "--speed",
    type=click.IntRange(1, 1000),
    help=f"How many times as fast they live; without it, {_SPEED} times.",
)
@click.pass_context
def sandbox(
    context: click.Context,
    /,
    port: int,
    host: str,
    messages: int,
    no_limit: bool,
    webhooks: str | None,
    speed: int | None,
) -> None:
    if speed is not None and webhooks is None:
        raise click.UsageError("--speed is for messages that live: add --webhooks URL")
    with needs_extras("The sandbox"):
        from ..sandbox import Campaign, Sandbox
    imitation = Sandbox(rate_limit=None) if no_limit else Sandbox()
    for entry in ENTRIES:
        if webhooks is None or entry.send is None:
            entry.invent(imitation, messages, not no_limit)
    try:
        served_at = context.with_resource(imitation.serve(host, port))
    except OSError as error:
        what = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
        problem = f"{host}, port {port}: {reason_of(error)}; choose another {what} with --{what}"
        raise click.ClickException(problem) from error
    url = _url_for_this_machine(served_at)
    click.echo(url)
    click.echo(_how_to_use(url, messages, webhooks), err=True)
    campaign = Campaign(imitation)
    try:
        run_async(lambda: _live(campaign, messages, webhooks, speed or _SPEED))
    finally:
        if webhooks is not None:
            say(_in_words(campaign.posted))


async def _live(campaign: "Campaign", messages: int, webhooks: str | None, speed: int) -> None:
    """Send the messages that live, if webhooks tell of them, and let time go on until the command ends."""
    async with campaign.playing(webhooks, speed=speed):
        if webhooks is not None:
            for number in range(1, messages + 1):
                for entry in ENTRIES:
                    if entry.send is not None:
                        entry.send(campaign, number)
                await asyncio.sleep(max(_SECONDS_OF_SENDING / messages, 1 / _MOST_SENT_A_SECOND))
        # It raises what went wrong in the campaign.
        await campaign.finish()
        await asyncio.Event().wait()


def _in_words(posted: "Posted") -> str:
    return (
        f"Webhooks: {posted.requests:,} posted, {posted.delivered:,} of them taken;"
        f" {posted.lost:,} lost on the way, {posted.repeated:,} doubled."
    )


def _url_for_this_machine(url: str) -> str:
    """Return the URL with the loopback address, if it is one of all addresses."""
    for every, loopback in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        url = url.replace(every, loopback)
    return url


def _how_to_use(url: str, messages: int, webhooks: str | None = None) -> str:
    if not is_loopback(urlsplit(url).hostname or ""):
        return f"""\
The sandbox answers at {url} until Ctrl-C. statuslookup gives credentials to an http URL only at
127.0.0.1, ::1 or localhost, so it needs something in between that speaks https.
"""
    text = f"The sandbox answers at {url} until Ctrl-C. From another shell:\n"
    listener = None if webhooks is None else _listener_of(webhooks)
    for entry in ENTRIES:
        commands = [command.format(url=url, messages=messages) for command in entry.trial]
        if listener is not None and entry.send is not None:
            commands.insert(1, entry.trial_of_webhooks.format(messages=messages, **listener))
        text += "".join(f"\n  {command}" for command in commands) + "\n"
    return f"{text}\nA program that makes its provider with from_env() is led here by the same variables.\n"


def _listener_of(webhooks: str) -> dict[str, str] | None:
    """Return where a watch has to listen, and its secret, to receive what is posted there, if one can."""
    from ..webhooks import _checked_secret

    parts = urlsplit(webhooks)
    _, _, secret = webhooks.partition(f"{parts.netloc}/")
    try:
        _checked_secret(secret)
    except ValueError:
        return None
    host = parts.hostname or ""
    place = f"{f'[{host}]' if ':' in host else host}:{parts.port or 80}"
    return {"place": shlex.quote(place), "secret": shlex.quote(secret)}
