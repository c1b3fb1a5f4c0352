"""The command ``watch``."""

import asyncio
import sys
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, NoReturn

import click
from attrs import define, field
from rich.console import Console, RenderableType

from .._client import StatusClient
from .._clock import SYSTEM_CLOCK
from .._model import AnswerT, DeliveryState, KeyT
from ..errors import StatusLookupError
from ..providers import Provider
from ..tracker import Change, Schedule, SQLiteStore, StatusTracker
from ..tracker.rows import key_of_text, text_of_key
from . import interrupts
from .clients import client_of
from .display import counted, say
from .exit_codes import EXIT_CODES, FAILED, USAGE, exit_code_of
from .inputs import file_argument, keys_of, opened, source_of, usage_errors
from .kept_store import KeptStore
from .listening import Listener, listen_option, listener_at
from .options import CREDENTIALS, provider_argument, provider_of, provider_options, seconds_option
from .providers import Entry
from .table.cells import large_cells
from .table.encodings import JsonLines
from .table.reading import Opened, chunks_of
from .table.rows import Input
from .table.sinks import Sink, stdout_sink
from .table.unpacking import InputError
from .table_options import input_options
from .watch_display import News, Progress, live, picture_of, summary_of

_ENDS = {"sent": DeliveryState.SENT, "delivered": DeliveryState.DELIVERED, "read": DeliveryState.READ}
_DEFAULT = Schedule()
# How often it is asked whether lookups can go on at all.
_LOOK_SECONDS = 0.2

_HELP = f"""Track every message of FILE ('-' is stdin) until it has reached its end, and write each change.

FILE is read as 'check' reads it. A change is a line of JSON: the key, the answer's columns, and 'is_over'. A
terminal gets a table of how far it is instead. What webhooks do not tell is looked up: at once, and again
after as long a silence as a message is old. A message is over once it is delivered (--until), failed, or was
unknown for --grace seconds; after --give-up seconds it is let go, which counts as a failure unless it is
delivered.

With --store, what is known survives Ctrl-C, a crash and a restart: repeat the command to go on. One file
belongs to one watch.

\b
Examples:
  statuslookup watch smsfire campaign.csv > changes.jsonl
  statuslookup watch smsfire campaign.csv --until read --store campaign.db
  statuslookup watch smsfire campaign.csv --listen 127.0.0.1:8080
  statuslookup watch greenapi stories.txt --first 60 --give-up 90000

{CREDENTIALS}
"""


@click.command(help=_HELP, short_help="Track the messages of a file to their end.", epilog=EXIT_CODES)
@provider_argument
@file_argument
@click.option(
    "--until",
    type=click.Choice(list(_ENDS)),
    default="delivered",
    show_default=True,
    help="What a message has to reach, if it does not fail.",
)
@click.option("--store", type=click.Path(dir_okay=False), help="Keep what is known in this file, and go on.")
@listen_option
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on a terminal too.")
@seconds_option("--first", _DEFAULT.first, "Look up again after a silence of so long at least.")
@seconds_option("--grace", _DEFAULT.grace, "For so long, an unknown message may still become known.")
@seconds_option("--give-up", _DEFAULT.give_up, "Let go of a message after so long.")
@input_options
@provider_options
@click.pass_context
def watch(context: click.Context, /, entry: Entry[Any, Any], file: str, **options: Any) -> None:
    provider = provider_of(entry, **options)
    keys = keys_of(entry, options)
    if sys.stdout is None:
        raise click.UsageError("stdout is closed")
    context.with_resource(large_cells())
    input = opened(context, file)
    with usage_errors(input):
        source = source_of(input, keys, provider, options)
    job = _job_of(context, entry, provider, source, input, options)
    job.run()
    context.exit(FAILED if job.is_incomplete else 0)


def _job_of(
    context: click.Context,
    entry: Entry[KeyT, AnswerT],
    provider: Provider[KeyT, AnswerT],
    source: Input[KeyT],
    input: Opened,
    options: Mapping[str, Any],
) -> "_Job[KeyT, AnswerT]":
    until, path = _ENDS[options["until"]], options["store"]
    is_table = sys.stdout.isatty() and not options["as_json"]
    try:
        return _Job(
            context=context,
            entry=entry,
            source=source,
            input=input,
            client=client_of(provider, options),
            schedule=Schedule(
                first=options["first"],
                longest=max(_DEFAULT.longest, options["first"]),
                grace=options["grace"],
                give_up=options["give_up"],
            ),
            until=until,
            store=None if path is None else KeptStore(SQLiteStore(path), until),
            store_name=path,
            listener=listener_at(context, options["listen"], **options),
            sink=None if is_table else stdout_sink(JsonLines()),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@define(kw_only=True, eq=False)
class _Job(Generic[KeyT, AnswerT]):
    """A watch that is run once, and what it says of itself on stderr."""

    context: click.Context
    entry: Entry[KeyT, AnswerT]
    source: Input[KeyT]
    input: Opened
    client: StatusClient[KeyT, AnswerT]
    schedule: Schedule
    until: DeliveryState
    store: KeptStore | None
    store_name: str | None
    listener: Listener | None
    sink: Sink | None
    """Where changes are written to; ``None`` if a terminal shows them in a table."""
    _tracker: StatusTracker[KeyT, AnswerT] | None = field(init=False, default=None)
    _progress: Progress = field(init=False, factory=Progress)
    _open: dict[KeyT, None] = field(init=False, factory=dict)
    """The messages that are not over yet, in the order of the input."""
    _err: Console = field(init=False, factory=lambda: Console(stderr=True))
    _started_at: float = field(init=False, factory=SYSTEM_CLOCK.time)
    _failure: str | None = field(init=False, default=None)

    @property
    def is_incomplete(self) -> bool:
        """True if a row had no key, a message is unknown, or was let go before it came to anything."""
        counts = self._progress.counts
        is_let_go = any(
            count and state is not None and not (state.is_final or state is self.until)
            for state, count in counts.items()
        )
        return bool(counts[None] or self.source.keyless or is_let_go)

    def run(self) -> None:
        """Watch the whole input, and say what came of it; whatever ends it early ends the command."""
        if self.listener is not None:
            say(self.listener.in_words())
        # Lines on the same terminal would run through the table.
        is_wanted = self.sink is None or not sys.stdout.isatty()
        try:
            with live(self._err, self._picture, is_wanted=is_wanted):
                interrupts.run_async(self._watch)
        except KeyboardInterrupt as interruption:
            interrupts.ignore()
            self._end(f"Interrupted. {self._how_to_go_on()}", interrupts.code_of(interruption))
        except StatusLookupError as error:
            lines = [f"Error: {error}", *getattr(error, "__notes__", []), self._how_to_go_on()]
            self._end("\n".join(lines), exit_code_of(error))
        except InputError as error:
            self._end(f"Error: {self.input.name or 'stdin'}: {error}", USAGE)
        except OSError as error:
            error.add_note(self._how_to_go_on())
            raise
        self._show_summary()

    # --- tracking ---------------------------------------------------------------------------------

    async def _watch(self) -> None:
        asked = await self._read()
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(self.client)
            tracker = StatusTracker(client, schedule=self.schedule, store=self.store)
            try:
                await stack.enter_async_context(tracker)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            self._tracker = tracker
            self._begin(asked, tracker)
            if not self._open:
                return
            if self.listener is not None:
                await stack.enter_async_context(self.listener.serving(tracker))
            # Nobody says when they were sent. What had a silence behind it is asked for at once.
            since = datetime.now(UTC) - timedelta(seconds=self.schedule.first)
            await tracker.track(*self._open, until=self.until, since=since)
            await _first_of(self._follow(tracker), self._fail_with(tracker))

    async def _read(self) -> dict[KeyT, None]:
        """Return the keys of the input, each once; rows without one are said."""
        asked: dict[KeyT, None] = {}
        async for chunk in chunks_of(self.source, may_block=self.input.size is None):
            for row in chunk:
                if row.key is None:
                    say(f"{self.input.name or 'stdin'}: {row.error}")
                else:
                    asked[row.key] = None
        return asked

    def _begin(self, asked: Iterable[KeyT], tracker: StatusTracker[KeyT, AnswerT]) -> None:
        """Take note of what an earlier watch saw, and of what is open: in the input, and in the store."""
        self._open = dict.fromkeys(asked)
        store = self.store
        if store is not None:
            for key in tracker.open():
                self._open[key] = None
            for text, state in {**store.told, **store.over}.items():
                self._progress.know(text, state)
            for text in store.over:
                self._open.pop(key_of_text(text), None)
            self._progress.before = self._progress.over = len(store.over)
        self._progress.total = len(self._open) + self._progress.over
        if not self._progress.total:
            say("The input is empty: it has no messages.")
        elif not self._open:
            say(f"All messages are over already: {self.store_name} has their ends.")

    async def _follow(self, tracker: StatusTracker[KeyT, AnswerT]) -> None:
        closing: asyncio.Task[None] | None = None
        async for change in tracker.changes():
            await self._take(change)
            if not self._open and closing is None:
                # The loop goes on, because a change counts as told once it asks for the next one.
                closing = asyncio.create_task(tracker.aclose())
        if closing is not None:
            await closing

    async def _fail_with(self, tracker: StatusTracker[KeyT, AnswerT]) -> NoReturn:
        """Wait for a failure after which no lookup can succeed, and raise it; say what else goes wrong."""
        said: str | None = None
        while True:
            failure = tracker.stats().last_failure
            if failure is not None and (failure.ends_all or self._is_in_vain(failure)):
                raise failure
            self._failure = None if failure is None else str(failure)
            if self._failure is not None and self._failure != said:
                said = self._failure
                if not self._err.is_terminal:
                    say(f"A lookup failed, and will be repeated: {said}")
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_in_vain(self, failure: StatusLookupError) -> bool:
        """True if asking again will not help, nothing was ever heard, and no webhook will tell."""
        return not failure.is_transient and not self._progress.counts.total() and self.listener is None

    async def _take(self, change: Change[KeyT, AnswerT]) -> None:
        key, status = change.key, change.status
        if key not in self._open:
            return
        state = self.entry.columns.state_of(status)
        if self.sink is not None:
            named = {self.entry.keys.column_of(key): key}
            values = {} if status is None else self.entry.columns.of(status)
            line = named | {"state": None} | values | named | {"is_over": change.is_over}
            # In a thread: whoever reads slowly must not keep webhooks and the store waiting.
            await asyncio.to_thread(self.sink.write, self.sink.encoding.encode(line))
        if change.is_over:
            del self._open[key]
            if self.store is not None:
                self.store.end(text_of_key(key), state)
        self._progress.take(News(text_of_key(key), state, change.is_over))

    # --- what is said -----------------------------------------------------------------------------

    def _picture(self) -> RenderableType:
        return picture_of(self._summary(), self._progress, self._failure)

    def _summary(self) -> Any:
        return summary_of(
            self._progress,
            None if self._tracker is None else self._tracker.stats(),
            self.client.stats(),
            name=self.entry.brand,
            seconds=SYSTEM_CLOCK.time() - self._started_at,
            listens=self.listener is not None,
        )

    def _show_summary(self) -> None:
        if self._progress.total:
            self._err.print(self._summary())

    def _end(self, text: str, exit_code: int) -> None:
        self._show_summary()
        say(text)
        self.context.exit(exit_code)

    def _how_to_go_on(self) -> str:
        if self._tracker is None:
            # The input or the store cannot be read, or it was interrupted before it had begun.
            return "Nothing was watched."
        left = f"{counted(len(self._open), 'message')} of {self._progress.total:,} not over yet."
        if self.store_name is None:
            return f"{left} A watch with a file (--store FILE) can go on."
        return f"{left} To go on, repeat the command: {self.store_name} has what is known."


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until the first one ends, raise what it raises, and cancel the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
