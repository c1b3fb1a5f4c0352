"""The command ``get``."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console

from .._client import StatusClient
from .._model import AnswerT, KeyT, Outcome
from ..errors import IncompleteError, StatusLookupError
from ..providers import Provider
from .clients import client_of
from .display import say, table_of
from .exit_codes import EXIT_CODES, FAILED, REFUSED, UNREACHABLE, USED_UP, exit_code_of
from .interrupts import run_async
from .options import CREDENTIALS, provider_argument, provider_of, provider_options, timeout_option
from .providers import ENTRIES, Entry
from .table.encodings import JsonLines
from .table.results import Results
from .table.rows import Row
from .table.sinks import stdout_sink

_HELP = f"""Look up some messages: a table on a terminal, JSON Lines elsewhere.

A KEY is {", or ".join(entry.key_in_words for entry in ENTRIES)}.

\b
Examples:
  statuslookup get smsfire 42 custom:firezap0001
  statuslookup get greenapi BAE57C4EEC000000 --json | jq .receipts

{CREDENTIALS}
"""


@click.command(help=_HELP, short_help="Look up single messages.", epilog=EXIT_CODES)
@provider_argument
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on a terminal too.")
@provider_options
@timeout_option
@click.pass_context
def get(
    context: click.Context, /, entry: Entry[Any, Any], keys: Sequence[str], as_json: bool, **options: Any
) -> None:
    provider = provider_of(entry, **options)
    if sys.stdout is None:
        raise click.UsageError("stdout is closed")
    asked = _read(entry, provider, keys)
    client = client_of(provider, options)
    outcomes = run_async(lambda: _look_up(client, list(asked)))
    if as_json or not sys.stdout.isatty():
        _write_json(entry, [(asked[outcome.key][1], outcome) for outcome in outcomes])
    else:
        Console().print(table_of([(asked[outcome.key][0], outcome) for outcome in outcomes], entry.lines_of))
    context.exit(_report(entry, outcomes))


def _read(
    entry: Entry[KeyT, AnswerT], provider: Provider[KeyT, AnswerT], texts: Sequence[str]
) -> dict[KeyT, tuple[str, Row[KeyT]]]:
    """Return each key with how it was written, and with the row that it would be in a file."""
    asked: dict[KeyT, tuple[str, Row[KeyT]]] = {}
    for number, text in enumerate(texts, 1):
        try:
            column, key = entry.keys.of_argument(text)
            key = provider.check(key)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="KEY") from None
        asked[key] = text, Row(line=number, end=0, values={column: key}, column=column, key=key)
    return asked


async def _look_up(opened: StatusClient[KeyT, AnswerT], keys: Sequence[KeyT]) -> list[Outcome[KeyT, AnswerT]]:
    statuses: Mapping[KeyT, AnswerT | None]
    errors: Mapping[KeyT, StatusLookupError] = {}
    async with opened as client:
        try:
            statuses = await client.get_many(keys)
        except IncompleteError as error:
            statuses, errors = error.statuses, error.errors
    return [Outcome(key, statuses.get(key), errors.get(key)) for key in keys]


def _write_json(
    entry: Entry[KeyT, AnswerT], answered: Iterable[tuple[Row[KeyT], Outcome[KeyT, AnswerT]]]
) -> None:
    results: Results[KeyT, AnswerT] = Results([], entry.columns)
    encoding = JsonLines()
    lines: list[bytes] = []
    for row, outcome in answered:
        if outcome.error is None:
            values = results.found(row, outcome.status)
        else:
            values = results.failed(row, str(outcome.error))
        lines.append(encoding.encode(values))
    stdout_sink(encoding).write(b"".join(lines))


def _report(entry: Entry[KeyT, AnswerT], outcomes: Sequence[Outcome[KeyT, AnswerT]]) -> int:
    """Say on stderr what failed, and return the exit code."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    for text in dict.fromkeys(f"Error: {error}" for error in errors):
        say(text)
    if errors:
        has_answers = len(errors) < len(outcomes)
        codes = [FAILED if has_answers and error.is_transient else exit_code_of(error) for error in errors]
        return next((code for code in (REFUSED, USED_UP, UNREACHABLE) if code in codes), FAILED)
    states = [entry.columns.state_of(outcome.status) for outcome in outcomes]
    return FAILED if None in states else 0
