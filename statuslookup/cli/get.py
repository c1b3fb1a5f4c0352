"""The commands ``get`` and ``sandbox``."""

import errno
import sys
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
from rich.console import Console

from .._client import StatusClient
from .._model import DeliveryState
from .._urls import is_loopback
from ..errors import IncompleteError, StatusLookupError
from .check import Runner
from .display import reason_of, table_of
from .exit_codes import EXIT_CODES, FAILED, REFUSED, UNREACHABLE, USED_UP, exit_code_of
from .options import PROVIDERS, Service, needs_extras, provider_options, service_of
from .table.files import naming
from .table.results import JsonLines, Results
from .table.rows import Row

if TYPE_CHECKING:
    from ..sandbox import Sandbox

_STATES = (
    DeliveryState.READ,
    DeliveryState.DELIVERED,
    DeliveryState.SENT,
    DeliveryState.PENDING,
    DeliveryState.UNDELIVERED,
    DeliveryState.EXPIRED,
    DeliveryState.REJECTED,
)


@click.command(epilog=EXIT_CODES)
@click.argument("provider", type=click.Choice(PROVIDERS))
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on a terminal too.")
@provider_options
@click.pass_context
def get(
    context: click.Context, /, provider: str, keys: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Look up some messages: a table on a terminal, JSON Lines elsewhere.

    A KEY is SMSFire's id, or custom: and a customId, or GREEN-API's idMessage.

    \b
    Examples:
      statuslookup get smsfire 42 custom:firezap0001
      statuslookup get green BAE57C4EEC000000 --json | jq .receipts

    The credentials come from the environment or from --env-file: SMSFIRE_TOKEN, or SMSFIRE_USER and
    SMSFIRE_PASSWORD; GREEN_API_ID_INSTANCE, GREEN_API_TOKEN and GREEN_API_URL.
    """
    service = service_of(provider, **options)
    if sys.stdout is None:
        raise click.UsageError("stdout is closed")
    read = service.keys().of_argument
    try:
        wanted = {key: (text, column) for text in keys for column, key in [read(text)]}
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="KEY") from None
    ends: dict[Any, Any] = {}
    run: Runner = context.obj

    async def look_up() -> None:
        async with StatusClient(service.provider, timeout=options["timeout"]) as client:
            try:
                ends.update(await client.get_many(wanted))
            except IncompleteError as error:
                ends.update({**error.statuses, **error.errors})

    run(look_up)
    results = _Ends(service, {key: ends[key] for key in wanted}, wanted)
    if as_json or not sys.stdout.isatty():
        with naming("stdout"):
            results.write_json()
    else:
        Console().print(results.table())
    context.exit(results.report())


class _Ends:
    """What became of some keys."""

    def __init__(self, service: Service, ends: dict[Any, Any], wanted: dict[Any, tuple[str, str]]) -> None:
        """``wanted`` is how each key was written, and its column."""
        self._ends = ends
        self._wanted = wanted
        self._results: Results[Any, Any] = Results([], service.fields)

    def write_json(self) -> None:
        encoding, stdout = JsonLines(self._results.names), sys.stdout.buffer
        for number, (key, end) in enumerate(self._ends.items(), 1):
            _, column = self._wanted[key]
            row = Row(line=number, end=0, values={}, column=column, key=key)
            if isinstance(end, StatusLookupError):
                stdout.write(encoding.encode(self._results.failed(row, str(end))))
            else:
                stdout.write(encoding.encode(self._results.found(row, end)[0]))
        stdout.flush()

    def table(self) -> Any:
        return table_of([(self._wanted[key][0], end) for key, end in self._ends.items()])

    def report(self) -> int:
        """Say on stderr what failed, and return the exit code."""
        errors = [end for end in self._ends.values() if isinstance(end, StatusLookupError)]
        for text in dict.fromkeys(f"Error: {error}" for error in errors):
            click.echo(text, err=True)
        if errors:
            has_answers = len(errors) < len(self._ends)
            codes = [
                FAILED if has_answers and error.is_transient else exit_code_of(error) for error in errors
            ]
            return next((code for code in (REFUSED, USED_UP, UNREACHABLE) if code in codes), FAILED)
        is_unknown = [end is None or not getattr(end, "receipts", True) for end in self._ends.values()]
        return FAILED if any(is_unknown) else 0


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; without it, any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--messages",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    help="How many messages SMSFire has.",
)
@click.option("--no-limit", is_flag=True, help="Keep no rate limit: never answer 429.")
@click.pass_context
def sandbox(context: click.Context, /, port: int, host: str, messages: int, no_limit: bool) -> None:
    """Run an imitation of SMSFire and GREEN-API until Ctrl-C.

    Its messages are invented: ids from 1, customIds campaign-000001 and so on, and ten stories of
    GREEN-API, STORY01 to STORY10. It needs no account, and nothing leaves this machine.

    \b
    Examples:
      statuslookup sandbox --port 8080
      statuslookup sandbox --port 8080 --no-limit --messages 100000
    """
    with needs_extras("The sandbox"):
        from ..sandbox import Sandbox
    imitation = Sandbox(rate_limit=None) if no_limit else Sandbox()
    _fill(imitation, messages, no_limit=no_limit)
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


def _fill(imitation: "Sandbox", messages: int, *, no_limit: bool) -> None:
    for id in range(1, messages + 1):
        imitation.add_message(id, custom_id=f"campaign-{id:06d}", state=_STATES[id % len(_STATES)])
    instance = imitation.add_instance(rate_limit=None) if no_limit else imitation.add_instance()
    sent, delivered, read = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ
    for number in range(1, 11):
        instance.add_statistic(f"STORY{number:02d}", *[read] * number, delivered, *[sent] * (number % 3))


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
    return f"""\
The sandbox answers at {url} until Ctrl-C. From another shell:

  export SMSFIRE_TOKEN=sandbox
  statuslookup get smsfire 1 custom:campaign-000002 --base-url {url}
  seq {messages} | statuslookup check smsfire - --base-url {url}

  export GREEN_API_ID_INSTANCE=1101000001 GREEN_API_TOKEN=sandbox
  statuslookup get green STORY01 --api-url {url}
"""
