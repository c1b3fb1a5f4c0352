"""The command ``fleet``."""

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .._wire import Secret
from ..errors import FleetError
from .clients import fleet_of
from .display import say
from .exit_codes import exit_code_of
from .interrupts import ignore, run_async
from .options import FLEET_VARIABLE, env_file_option, secret_text
from .table.terminal import escaped

if TYPE_CHECKING:
    from ..fleet import RedisFleet
    from ..fleet.look import Budget, Look

_EACH_SECONDS = 1.0

_HELP = f"""Show who lives in the fleets on a Redis, who has the slot, and what waits, until Ctrl-C.

URL is redis://, rediss:// or unix://; without it, {FLEET_VARIABLE} of the environment or of --env-file says
where. All users of a machine see command lines, so a URL with a password does not belong there. It reads, and
changes nothing. Beside what the fleet itself may do, the user at Redis needs +scan and +zcount.

A budget is what a provider counts together, an account one token there; both are hashes. A process that
waits for nothing is not listed. On a terminal it is a table that is drawn anew each second; elsewhere, or
with --json, one line of JSON.

\b
Examples:
  statuslookup fleet redis://127.0.0.1:6379
  statuslookup fleet --json | jq '.budgets[].processes'
"""


@click.command(help=_HELP, short_help="Show which processes share a limit, and what waits.")
@click.argument("url", required=False, callback=secret_text)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON on a terminal too.")
@env_file_option
@click.pass_context
def fleet(context: click.Context, /, url: Secret | None, as_json: bool, env_file: str | None) -> None:
    shared = fleet_of({"fleet": url, "fleet_name": "default", "env_file": env_file})
    if shared is None:
        raise click.UsageError(f"pass the URL of a Redis, or set {FLEET_VARIABLE}")
    if sys.stdout is None:
        raise click.UsageError("stdout is closed")
    is_live = sys.stdout.isatty() and not as_json
    try:
        if is_live:
            run_async(lambda: _show(shared, Console()))
        else:
            click.echo(json.dumps(_plain(run_async(lambda: _once(shared)))))
    except FleetError as error:
        say(f"Error: {error}")
        context.exit(exit_code_of(error))
    except KeyboardInterrupt:
        if not is_live:
            raise
        # Until then it was to show.
        ignore()


async def _once(fleet: "RedisFleet") -> "Look":
    from ..fleet.look import look

    async with aclosing(fleet._link()) as link:
        return await look(link)


async def _show(fleet: "RedisFleet", console: Console) -> None:
    """Show it until it is cancelled; a Redis that is away is said, and asked again, once it was there."""
    from ..fleet.look import look

    async with aclosing(fleet._link()) as link:
        shown = picture_of(await look(link))
        with Live(shown, console=console, auto_refresh=False, transient=False) as live:
            while True:
                live.update(shown, refresh=True)
                await asyncio.sleep(_EACH_SECONDS)
                try:
                    shown = picture_of(await look(link))
                except FleetError as error:
                    if error.ends_all:
                        raise
                    shown = Text(escaped(str(error)), "bold red")


# --- what is shown --------------------------------------------------------------------------------


def picture_of(look: "Look") -> RenderableType:
    """Return a table of the budgets and their accounts; it fits into 80 columns and needs no Unicode."""
    at = f"{datetime.now().astimezone():%H:%M:%S}"
    title = Text(f"{look.where}, {at}", "bold")
    notes = [] if look.is_whole else [Text("There is so much else that not all was looked at.", "yellow")]
    if not look.budgets:
        return Group(title, Text("No fleet has been here in the last day."), *notes)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("Budget")
    table.add_column("Alive", justify="right")
    table.add_column("Slot")
    table.add_column("Account")
    for name in ("get", "Bulk", "Sent"):
        table.add_column(name, justify="right")
    for budget in look.budgets:
        cells = [budget.name[:8], f"{len(budget.processes):,}", _slot_of(budget)]
        for account in budget.accounts:
            counts = (f"{count:,}" for count in (account.first, account.bulk, account.taken))
            table.add_row(*cells, account.name[:8], *counts)
            cells = ["", "", ""]
        if not budget.accounts:
            table.add_row(*cells, "nothing waits")
    return Group(title, table, *notes)


def _slot_of(budget: "Budget") -> str:
    """Say who has the slot, and for how long, or when anybody can; then the part of the rate after a 429."""
    if budget.senders:
        first, others = budget.senders[0], len(budget.senders) - 1
        text = f"{first.process}, {first.seconds:.1f} s" + (f", and {others} more" if others else "")
    else:
        text = f"free in {budget.ready_in:.1f} s" if budget.ready_in else "free"
    return text + (f", 1/{2 ** min(budget.slowed, 30)}" if budget.slowed else "")


def _plain(look: "Look") -> Mapping[str, Any]:
    """Return it as JSON has it."""
    return {
        "where": look.where,
        "is_whole": look.is_whole,
        "budgets": [
            {
                "name": budget.name,
                "processes": [
                    {"number": number, "lease_seconds": round(seconds, 3)}
                    for number, seconds in budget.processes.items()
                ],
                "senders": [asdict(sender) for sender in budget.senders],
                "ready_in": round(budget.ready_in, 3),
                "slowed": budget.slowed,
                "accounts": [asdict(account) for account in budget.accounts],
            }
            for budget in look.budgets
        ],
    }
