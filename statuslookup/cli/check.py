"""The command ``check``."""

import os
import shlex
import signal
import stat
import sys
from collections.abc import Awaitable, Callable
from io import FileIO
from typing import Any

import click
from attrs import frozen
from rich.console import Console

from .._client import StatusClient
from .._clock import SYSTEM_CLOCK
from .._engine.retry import RetryPolicy
from ..errors import StatusLookupError
from .display import Progressed, counted, progress, summary_of
from .exit_codes import EXIT_CODES, FAILED, INTERRUPTED, USAGE, exit_code_of
from .options import PROVIDERS, Service, arguments_of, provider_options, service_of
from .table.cells import large_cells
from .table.check import Check
from .table.files import FileSink, Resumed, Sink, StreamSink, naming
from .table.results import Csv, Encoding, JsonLines, Results, Tally
from .table.rows import Input, InputError, Lines

_SPREADSHEETS = (".xlsx", ".xls", ".ods")

Runner = Callable[[Callable[[], Awaitable[None]]], None]

# A check of hours should survive a network that is away for some seconds.
_PATIENT = RetryPolicy(attempts=6)


def _output(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the file to write to, ``None`` for stdout."""
    if value == "":
        raise click.BadParameter("the name of the file is empty; '-' is stdout", param=parameter)
    if value is not None and value.lower().endswith(_SPREADSHEETS):
        raise click.BadParameter(
            f"{value}: spreadsheets are not written; name a .csv file, which they can open", param=parameter
        )
    return None if value == "-" else value


@click.command(epilog=EXIT_CODES)
@click.argument("provider", type=click.Choice(PROVIDERS))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    callback=_output,
    help="Write to this file, not to stdout ('-').",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["jsonl", "csv"]),
    help="How to write; without it, the name of the output says so, or else it is jsonl.",
)
@click.option(
    "--input-format",
    type=click.Choice(["csv", "jsonl", "keys"]),
    help="How to read; without it, the first line says so.",
)
@click.option("--custom-ids", is_flag=True, help="One key a line: digits are customIds too, not ids.")
@click.option("--unordered", is_flag=True, help="Write rows as they come; each has its 'line' of the input.")
@click.option("--resume", is_flag=True, help="Go on after the rows that are in the output already.")
@click.option("--only-open", is_flag=True, help="Copy rows whose 'state' is final, and ask for the others.")
@provider_options
@click.pass_context
def check(context: click.Context, /, provider: str, file: str, **options: Any) -> None:
    """Look up every message of FILE ('-' is stdin), and write one row for each.

    FILE is CSV with a header that names id, customId or custom_id (SMSFire) or idMessage (GREEN-API), JSON
    Lines with such fields, or one key a line: digits are ids, others customIds. Other columns are carried
    through, except that the answer replaces those that have the name of a field of its own: state,
    status_code, status_name, status_date, sent_date, message_type, country and phone (SMSFire), state,
    recipients, sent, delivered, read, failed, receipts and problems (GREEN-API), error, and line with
    --unordered. A row that fails has an 'error', an unknown message has no 'state'.

    \b
    Examples:
      statuslookup check smsfire campaign.csv -o result.csv
      statuslookup check smsfire campaign.csv -o result.csv --resume
      statuslookup check smsfire result.csv --only-open -o later.csv
      cut -f1 ids.txt | statuslookup check smsfire - | grep UNDELIVERED
      statuslookup check green stories.txt --env-file green.env -o stories.jsonl

    The credentials come from the environment or from --env-file: SMSFIRE_TOKEN, or SMSFIRE_USER and
    SMSFIRE_PASSWORD; GREEN_API_ID_INSTANCE, GREEN_API_TOKEN and GREEN_API_URL.
    """
    service = service_of(provider, **options)
    if options["custom_ids"] and provider != "smsfire":
        raise click.UsageError("--custom-ids is SMSFire's")
    if options["resume"] and options["output"] is None:
        raise click.UsageError("--resume needs the output file to go on with: -o FILE")
    context.with_resource(large_cells())
    try:
        job = _Job(file, service, options)
    except InputError as error:
        raise click.UsageError(f"{_shown(file)}: {error}") from None
    job.run(context.obj)
    if job.can_be_asked_again:
        again = _again(provider, **options)
        click.echo(f"To ask again for rows without a final state: {again}", err=True)
    if job.check.tally.unknown or job.check.tally.failed:
        context.exit(FAILED)


def _again(provider: str, *, output: str, output_format: str | None, **options: Any) -> str:
    """Return the command that asks for what is open in the output."""
    ending = os.path.splitext(output)[1]
    command = ["statuslookup", "check", provider, output, "--only-open"]
    if output_format is not None:
        command += ["--format", output_format]
    if output_format == "csv" and ending.lower() in (".jsonl", ".ndjson"):
        # Its name would be believed.
        command += ["--input-format", "csv"]
    return shlex.join([*command, *arguments_of(options), "-o", f"ANOTHER{ending}"])


def _shown(file: str) -> str:
    return "stdin" if file == "-" else file


@frozen
class _Opened:
    read: Callable[[int], bytes | None]
    descriptor: int | None = None
    size: int | None = None
    may_block: bool = False


def _open(file: str) -> _Opened:
    if file == "-":
        if sys.stdin is None:
            raise click.UsageError("stdin is closed")
        stream = sys.stdin.buffer
        try:
            raw = FileIO(stream.fileno(), closefd=False)
        except OSError:
            return _Opened(_reader_of(stream.read, file))
        if sys.platform != "win32":
            # Whoever lent it may have made it non-blocking: it would seem to end where nothing has come yet.
            os.set_blocking(raw.fileno(), True)
    else:
        try:
            raw = FileIO(file)
        except OSError as error:
            raise click.UsageError(f"{file}: {error.strerror}") from error
    click.get_current_context().with_resource(raw)
    status = os.fstat(raw.fileno())
    is_regular = stat.S_ISREG(status.st_mode)
    size = status.st_size if is_regular else None
    return _Opened(_reader_of(raw.read, file), raw.fileno(), size, not is_regular)


def _reader_of(read: Callable[[int], bytes | None], file: str) -> Callable[[int], bytes | None]:
    def read_named(size: int) -> bytes | None:
        with naming(_shown(file)):
            return read(size)

    return read_named


class _Job:
    """One run of ``check``."""

    def __init__(self, file: str, service: Service, options: dict[str, Any]) -> None:
        self._service = service
        self._output: str | None = options["output"]
        self._err = Console(stderr=True)
        self._opened = opened = _open(file)
        keys = service.keys(custom_ids=options["custom_ids"])
        name = "" if file == "-" else file
        self._source = source = Input(Lines(opened.read), keys, format=options["input_format"], name=name)
        if options["custom_ids"] and not source.is_empty and source.format != "keys":
            raise InputError("--custom-ids is for one key a line; name the column custom_id instead")
        has_states = source.format == "jsonl" or "state" in source.columns
        if options["only_open"] and not source.is_empty and not has_states:
            raise InputError("--only-open needs a column 'state'")
        results: Results[Any, Any] = Results(source.columns, service.fields, with_line=options["unordered"])
        encoding = self._encoding(options["output_format"], results.names)
        tally, resumed = Tally(), Resumed()
        sink = self._open_sink(encoding, resume=options["resume"])
        if options["resume"] and isinstance(sink, FileSink):
            try:
                resumed = sink.resume(tally, with_line=options["unordered"])
            except InputError as error:
                raise click.UsageError(self._why_not_resumed(error)) from None
        self.check = Check(
            source,
            results,
            encoding,
            sink,
            resumed=resumed,
            tally=tally,
            ordered=not options["unordered"],
            only_open=options["only_open"],
            may_block=opened.may_block,
            batch=service.provider.max_batch,
        )
        self._client: StatusClient[Any, Any] = StatusClient(
            service.provider, timeout=options["timeout"], retry=_PATIENT
        )

    def _encoding(self, format: str | None, names: list[str]) -> Encoding:
        if format == "csv" or (format is None and (self._output or "").lower().endswith(".csv")):
            return Csv(names, more=self._source.format == "jsonl")
        return JsonLines(names)

    def _open_sink(self, encoding: Encoding, *, resume: bool) -> Sink:
        if self._output is None:
            if sys.stdout is None:
                raise click.UsageError("stdout is closed; write to a file: -o FILE")
            return StreamSink(sys.stdout.buffer, encoding)
        try:
            sink = FileSink(self._output, encoding, resume=resume)
        except OSError as error:
            raise click.UsageError(f"{self._output}: {error.strerror}") from error
        click.get_current_context().call_on_close(sink.close)
        if self._opened.descriptor is not None and sink.is_same(self._opened.descriptor):
            raise click.UsageError("the output is the input; choose another file")
        if resume and not sink.is_regular:
            raise click.UsageError(f"--resume needs a file, and {self._output} is none")
        return sink

    def run(self, run: Runner) -> None:
        started_at = SYSTEM_CLOCK.time()
        # Rows on the same terminal would run through the bar.
        is_wanted = self._output is not None or not sys.stdout.isatty()
        name, size = self._service.provider.name, self._opened.size
        try:
            with progress(self._err, self._look, name=name, total_bytes=size, is_wanted=is_wanted):
                run(self._look_up)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._show_what_is_done(started_at)
            click.echo(f"Interrupted: {self._how_to_resume()}", err=True)
            click.get_current_context().exit(INTERRUPTED)
        except StatusLookupError as error:
            self._show_what_is_done(started_at)
            click.echo(f"Error: {error}\n{self._how_to_resume()}", err=True)
            click.get_current_context().exit(exit_code_of(error))
        except InputError as error:
            # It is about the file to resume, and would be the same again.
            click.echo(f"Error: {self._why_not_resumed(error)}", err=True)
            click.get_current_context().exit(USAGE)
        except OSError as error:
            error.add_note(self._how_to_resume())
            raise
        self._show_summary(started_at)
        if not self.check.tally.rows:
            click.echo("The input is empty: it has no rows.", err=True)

    @property
    def can_be_asked_again(self) -> bool:
        """True if a row in a file failed that has a key."""
        is_file = self._output is not None and os.path.isfile(self._output)
        return is_file and self.check.tally.failed > self._source.keyless

    async def _look_up(self) -> None:
        async with self._client as client:
            await self.check.run(client)

    def _look(self) -> Progressed:
        tally = self.check.tally
        return Progressed(rows=tally.rows, before=tally.before, bytes=self.check.bytes_done)

    def _show_what_is_done(self, started_at: float) -> None:
        # Before the first row there is nothing to sum up, and noughts would hide the reason.
        if self.check.written:
            self._show_summary(started_at)

    def _show_summary(self, started_at: float) -> None:
        seconds = SYSTEM_CLOCK.time() - started_at
        name = self._service.provider.name
        self._err.print(summary_of(self.check.tally, self._client.stats(), name=name, seconds=seconds))
        line = self._source.lines.first_latin1
        if line is not None:
            click.echo(f"Line {line} is not UTF-8; such lines were read as Latin-1.", err=True)

    def _why_not_resumed(self, error: InputError) -> str:
        return f"{self._output} cannot be resumed: {error}; choose another file with -o"

    def _how_to_resume(self) -> str:
        done = counted(self.check.written, "row")
        if self._output is None:
            return f"stdout got {done}. A check that writes to a file (-o FILE) can be resumed."
        if not self.check.written:
            # The file may hold an older check, which must not be taken for the beginning of this one.
            return f"Nothing was written to {self._output}. Repeat the command."
        return f"{self._output} has {done}. To go on, repeat the command with --resume."
