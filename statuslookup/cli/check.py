"""The command ``check``."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic

import click
from attrs import define, field
from rich.console import Console

from .._client import StatusClient
from .._clock import SYSTEM_CLOCK
from .._engine.retry import RetryPolicy
from .._model import AnswerT, KeyT
from ..errors import StatusLookupError
from ..providers import Provider
from . import interrupts
from .clients import client_of
from .display import Bar, bars, counted, reason_of, say, summary_of
from .exit_codes import EXIT_CODES, FAILED, USAGE, exit_code_of_end
from .inputs import file_argument, keys_of, opened, source_of, usage_errors
from .options import (
    CREDENTIALS,
    arguments_of,
    has_hidden_fleet,
    provider_argument,
    provider_of,
    provider_options,
    timeout_option,
)
from .providers import ENTRIES, Entry
from .table.cells import large_cells
from .table.check import Check
from .table.encodings import Csv, Encoding
from .table.keys import Keys, plain
from .table.output import encoding_of
from .table.reading import Opened
from .table.results import ERROR, LINE, STATE, Results
from .table.resume import Resumed, ResumeError
from .table.rows import Input
from .table.sinks import FileSink, Sink, stdout_sink
from .table.unpacking import InputError
from .table_options import table_options

# A check of hours should survive a network that is away for some seconds.
_PATIENT = RetryPolicy(attempts=6)


def _of_each(names_of: Callable[[Entry[Any, Any]], Iterable[str]]) -> str:
    """Return some names of each provider, in words."""
    return "; ".join(f"{', '.join(names_of(entry))} ({entry.brand})" for entry in ENTRIES)


_KEY_COLUMNS = _of_each(lambda entry: entry.keys.shown_columns)
_ANSWER_COLUMNS = _of_each(
    lambda entry: [name for name in entry.columns.names if name not in entry.keys.columns]
)

_HELP = f"""Look up every message of FILE ('-' is stdin), and write one row for each.

FILE is CSV with a header that names a key column, JSON Lines with such a field, or one key a line: digits
are ids, others customIds. The key columns are: {_KEY_COLUMNS}; or any other with --key. Other columns are
carried through, except that the answer replaces those that have the name of a field of its own:
{_ANSWER_COLUMNS}; {ERROR}, and {LINE} with --unordered. A row that fails has an 'error', an unknown message
has no 'state'. CSV is written with the delimiter, the line ends and the byte order mark of FILE.

\b
Examples:
  statuslookup check smsfire campaign.csv -o result.csv
  statuslookup check smsfire campaign.csv -o result.csv --resume
  statuslookup check smsfire result.csv --only-open -o later.csv
  cut -f1 ids.txt | statuslookup check smsfire - | grep UNDELIVERED
  statuslookup check greenapi stories.txt --env-file green.env -o stories.jsonl

{CREDENTIALS}
"""


@click.command(help=_HELP, short_help="Look up every message of a file.", epilog=EXIT_CODES)
@provider_argument
@file_argument
@table_options
@click.option("--unordered", is_flag=True, help="Write rows as they come; each has its 'line' of the input.")
@click.option("--resume", is_flag=True, help="Go on after the rows that are in the output already.")
@click.option("--only-open", is_flag=True, help="Copy rows whose 'state' is final, and ask for the others.")
@provider_options
@timeout_option
@click.pass_context
def check(context: click.Context, /, entry: Entry[Any, Any], file: str, **options: Any) -> None:
    provider = provider_of(entry, **options)
    keys = keys_of(entry, options)
    if options["resume"] and options["output"] is None:
        raise click.UsageError("--resume needs the output file to go on with: -o FILE")
    context.with_resource(large_cells())
    job = _job_of(context, entry, provider, keys, file, options)
    job.run()
    if job.can_be_asked_again:
        options["key"] = job.key
        how = " (with the same --fleet)" if has_hidden_fleet(options) else ""
        say(f"To ask again for rows without a final state{how}: {_again(entry, **options)}")
    context.exit(FAILED if job.has_unknown_or_failed else 0)


def _again(
    entry: Entry[Any, Any], *, output: str, output_format: str | None, key: str | None, **options: Any
) -> str:
    """Return the command that asks for what is open in the output."""
    ending = os.path.splitext(output)[1]
    command = ["statuslookup", "check", entry.word, output, "--only-open"]
    if output_format is not None:
        command += ["--format", output_format]
    if output_format == "csv" and ending.lower() in (".jsonl", ".ndjson"):
        # Its name would be believed.
        command += ["--input-format", "csv"]
    if key is not None:
        command += ["--key", key, *["--custom-ids"] * options["custom_ids"]]
    command += ["--csv-safe"] * options["csv_safe"]
    return shlex.join([*command, *arguments_of(options), "-o", f"ANOTHER{ending}"])


# --- from options to a job ------------------------------------------------------------------------


def _job_of(
    context: click.Context,
    entry: Entry[KeyT, AnswerT],
    provider: Provider[KeyT, AnswerT],
    keys: Keys[KeyT],
    file: str,
    options: Mapping[str, Any],
) -> "_Job[KeyT, AnswerT]":
    input = opened(context, file)
    if (key := options["key"]) is not None and plain(key) in (STATE, ERROR, LINE):
        raise click.UsageError(f"--key {key}: the check itself writes that column")
    with usage_errors(input):
        source = source_of(input, keys, provider, options)
        is_table = not source.is_empty and source.format != "jsonl"
        if options["only_open"] and is_table and STATE not in source.columns:
            raise InputError("--only-open needs a column 'state'")
    results: Results[KeyT, AnswerT] = Results(source.columns, entry.columns, with_line=options["unordered"])
    encoding = encoding_of(
        source,
        input,
        results.names,
        output=options["output"] or "",
        format=options["output_format"],
        is_safe=options["csv_safe"],
    )
    if options["csv_safe"] and not isinstance(encoding, Csv):
        raise click.UsageError("--csv-safe is for CSV: --format csv, or an output with such a name")
    sink, resumed = _opened_sink(context, encoding, input, options)
    check = Check(
        source,
        results,
        sink,
        resumed=resumed,
        only_open=options["only_open"],
        may_block=input.size is None,
        batch=provider.max_batch,
    )
    client = client_of(provider, options, retry=_PATIENT)
    return _Job(context, provider.name, source, check, client, input, options["output"])


def _opened_sink(
    context: click.Context, encoding: Encoding, input: Opened, options: Mapping[str, Any]
) -> tuple[Sink, Resumed]:
    output = options["output"]
    if output is None:
        if sys.stdout is None:
            raise click.UsageError("stdout is closed; write to a file: -o FILE")
        return stdout_sink(encoding), Resumed()
    try:
        sink = FileSink(output, encoding, resume=options["resume"])
    except OSError as error:
        raise click.UsageError(reason_of(error)) from error
    context.call_on_close(sink.close)
    if input.raw is not None and sink.is_same(input.raw.fileno()):
        raise click.UsageError("the output is the input; choose another file")
    if not options["resume"]:
        return sink, Resumed()
    if not sink.is_regular:
        raise click.UsageError(f"--resume needs a file, and {output} is none")
    try:
        return sink, sink.resume(with_line=options["unordered"])
    except ResumeError as error:
        raise click.UsageError(_why_not_resumed(output, error)) from None


def _why_not_resumed(output: str | None, error: ResumeError) -> str:
    return f"{output} cannot be resumed: {error}; choose another file with -o"


# --- the job --------------------------------------------------------------------------------------


@define(eq=False)
class _Job(Generic[KeyT, AnswerT]):
    """A check that is run once, and what it says of itself on stderr."""

    _context: click.Context
    _name: str
    _source: Input[KeyT]
    _check: Check[KeyT, AnswerT]
    _client: StatusClient[KeyT, AnswerT]
    _input: Opened
    _output: str | None
    _err: Console = field(init=False, factory=lambda: Console(stderr=True))
    _started_at: float = field(init=False, factory=SYSTEM_CLOCK.time)

    def run(self) -> None:
        """Look up the whole input, and say what came of it; whatever ends it early ends the command."""
        # Rows on the same terminal would run through the bar.
        is_wanted = self._output is not None or not sys.stdout.isatty()
        if (header := self._source.header_taken) is not None:
            say(
                f"The first line, {header!r}, is taken for a header (--input-format keys takes it for a key)."
            )
        try:
            with bars(self._err, lambda: [self._bar()], is_wanted=is_wanted):
                interrupts.run_async(self._look_up)
        except KeyboardInterrupt as interruption:
            interrupts.ignore()
            self._end(f"Interrupted: {self._how_to_resume()}", interrupts.code_of(interruption))
        except StatusLookupError as error:
            lines = [f"Error: {error}", *getattr(error, "__notes__", []), self._how_to_resume()]
            self._end("\n".join(lines), exit_code_of_end(error))
        except ResumeError as error:
            # It would be the same again.
            say(f"Error: {_why_not_resumed(self._output, error)}")
            self._context.exit(USAGE)
        except InputError as error:
            name = self._input.name or "stdin"
            self._end(f"Error: {name}: {error}\n{self._how_to_resume()}", USAGE)
        except OSError as error:
            error.add_note(self._how_to_resume())
            raise
        self._show_summary()
        if not self._check.tally.rows:
            say("The input is empty: it has no rows.")

    @property
    def can_be_asked_again(self) -> bool:
        """True if a row in a file failed that has a key."""
        is_file = self._output is not None and os.path.isfile(self._output)
        return is_file and self._check.tally.failed > self._source.keyless + self._check.contradicted

    @property
    def key(self) -> str | None:
        """The column of the key, if it is none that is known by its name."""
        return self._source.keys.chosen

    @property
    def has_unknown_or_failed(self) -> bool:
        tally = self._check.tally
        return bool(tally.states[None] or tally.failed)

    async def _look_up(self) -> None:
        async with self._client as client:
            await self._check.run(client)

    def _bar(self) -> Bar:
        tally = self._check.tally
        seconds = SYSTEM_CLOCK.time() - self._started_at
        rate = (tally.rows - tally.before) / seconds if seconds > 0.5 else 0.0
        return Bar(
            self._name,
            completed=self._check.bytes_done,
            total=self._input.size,
            done=counted(tally.rows, "row"),
            pace=f"{rate:,.0f} a second" if rate else "",
        )

    def _end(self, text: str, exit_code: int) -> None:
        # Before the first row there is nothing to sum up, and noughts would hide the reason.
        if self._check.written:
            self._show_summary()
        say(text)
        self._context.exit(exit_code)

    def _show_summary(self) -> None:
        seconds = SYSTEM_CLOCK.time() - self._started_at
        summary = summary_of(self._check.tally, self._client.stats(), name=self._name, seconds=seconds)
        self._err.print(summary)
        line = self._source.lines.first_windows
        if line is not None:
            what = "such lines were read as Windows-1252. If letters are wrong, say --encoding NAME."
            say(f"Line {line} is not UTF-8: {what}")

    def _how_to_resume(self) -> str:
        done = counted(self._check.written, "row")
        if self._output is None:
            return f"stdout got {done}. A check that writes to a file (-o FILE) can be resumed."
        if not self._check.written:
            # The file may hold an older check, which must not be taken for the beginning of this one.
            return f"Nothing was written to {self._output}. Repeat the command."
        return f"{self._output} has {done}. To go on, repeat the command with --resume."
