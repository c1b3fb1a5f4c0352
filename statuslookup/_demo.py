"""The demo: a campaign is looked up at the sandbox over real HTTP, and a table says what that took."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic

from attrs import frozen
from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ._client import StatusClient
from ._clock import SYSTEM_CLOCK
from ._model import AnswerT, ClientStats, CustomId, DeliveryState, KeyT, RateLimit
from ._provider import Provider
from .sandbox import Sandbox
from .smsfire import MessageKey, SMSFire

States = Counter[DeliveryState | None]
"""How many messages are in each state; ``None`` are the unknown ones."""

_LATENCY = 0.05
_BAR_WIDTH = 24
_CHART_WIDTH = 20
_GOOD = frozenset({DeliveryState.DELIVERED, DeliveryState.READ})

# A hundred messages of a campaign. Each state has two at least: one to ask by id and one by customId.
_CAMPAIGN: Sequence[DeliveryState | None] = (
    *(DeliveryState.READ,) * 45,
    *(DeliveryState.DELIVERED,) * 30,
    *(DeliveryState.SENT,) * 9,
    *(DeliveryState.PENDING,) * 5,
    *(DeliveryState.UNDELIVERED,) * 4,
    *(DeliveryState.EXPIRED,) * 3,
    *(DeliveryState.REJECTED,) * 2,
    *(None,) * 2,
)
# It has no divisor in common with 100, so that every hundred messages in a row have every state, mixed.
_STRIDE = 37


def run_smsfire(
    messages: int,
    *,
    out: Console,
    err: Console,
    run: "Callable[[Callable[[], Awaitable[Report]]], Report]",
) -> str | None:
    """Look the campaign up, write the table to ``out``, and return what is wrong with it, if anything.

    ``run`` runs an async function to its end.
    """
    sandbox = Sandbox(latency=_LATENCY)
    keys, expected = _add_campaign(sandbox, messages)
    with sandbox.serve() as url:
        provider = SMSFire("sandbox", base_url=url)
        err.print(
            f"Looking up {_counted(messages, 'message')} at once, each in a coroutine of its own.\n"
            f"The sandbox answers as {provider.name} does: {_in_words(provider.rate_limit)},"
            f" {_LATENCY * 1000:.0f} ms away.",
            highlight=False,
        )
        lookups = Lookups(provider, keys, state_of=lambda status: status.state)
        with _progress(lookups, err):
            report = run(lookups.run)
    out.print(table_of(report))
    return _disagreement(report, sandbox, expected)


def _add_campaign(sandbox: Sandbox, messages: int) -> tuple[list[MessageKey], States]:
    """Make a campaign known to the sandbox; return its keys, half of each kind, and what they should give."""
    keys: list[MessageKey] = []
    expected: States = Counter()
    for id in range(1, messages + 1):
        state = _CAMPAIGN[id * _STRIDE % len(_CAMPAIGN)]
        custom_id = CustomId(f"campaign-{id:06d}")
        if state is not None:
            sandbox.add_message(id, custom_id=custom_id, state=state)
        keys.append(custom_id if id % 2 else id)
        expected[state] += 1
    return keys, expected


def _disagreement(report: "Report", sandbox: Sandbox, expected: States) -> str | None:
    stats = report.stats
    if (stats.requests, stats.rejections) != (sandbox.requests, sandbox.rejections):
        return (
            f"the client counted {_counted(stats.requests, 'request')} and"
            f" {_counted(stats.rejections, 'rejection')}, the sandbox {sandbox.requests} and"
            f" {sandbox.rejections}"
        )
    if report.states != expected:
        return "the states that were looked up are not the ones that the sandbox was given"
    return None


@frozen(kw_only=True)
class Report:
    """What became of the messages, and what it took to learn it."""

    provider: str
    rate_limit: RateLimit | None
    states: States
    seconds: float
    stats: ClientStats


class Lookups(Generic[KeyT, AnswerT]):
    """Looks up keys at one provider as a bot does: each in a coroutine of its own, all at once."""

    def __init__(
        self,
        provider: Provider[KeyT, AnswerT],
        keys: Sequence[KeyT],
        *,
        state_of: Callable[[AnswerT], DeliveryState],
    ) -> None:
        self.provider = provider
        self.keys = keys
        self.states: States = Counter()
        self._state_of = state_of
        # The last ones of many messages wait for minutes, and that is what they are here to show.
        self._client = StatusClient(provider, timeout=None)

    @property
    def stats(self) -> ClientStats:
        return self._client.stats()

    async def run(self) -> Report:
        async with self._client:
            started_at = SYSTEM_CLOCK.time()
            await asyncio.gather(*map(self._look_up, self.keys))
            seconds = SYSTEM_CLOCK.time() - started_at
        return Report(
            provider=self.provider.name,
            rate_limit=self.provider.rate_limit,
            states=self.states,
            seconds=seconds,
            stats=self.stats,
        )

    async def _look_up(self, key: KeyT) -> None:
        answer = await self._client.get(key)
        self.states[None if answer is None else self._state_of(answer)] += 1


def _progress(lookups: Lookups[KeyT, AnswerT], console: Console) -> AbstractContextManager[object]:
    # FORCE_COLOR makes a file a terminal to rich, and a bar in a log is a nuisance all the same.
    is_terminal = console.is_interactive and console.file.isatty()
    return _LookupProgress(lookups, console) if is_terminal else nullcontext()


class _LookupProgress(Progress, Generic[KeyT, AnswerT]):
    """A progress bar that looks for itself how far the lookups are."""

    def __init__(self, lookups: Lookups[KeyT, AnswerT], console: Console) -> None:
        self._lookups = lookups
        super().__init__(
            TextColumn(lookups.provider.name),
            BarColumn(_BAR_WIDTH),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            TextColumn("{task.fields[requests]}"),
            _TimeColumn(),
            console=console,
        )
        self.add_task("", total=len(lookups.keys), requests="")

    def get_renderables(self) -> Iterable[RenderableType]:
        # Called ten times a second. Answers come in bursts, and from an update for each single one the
        # pace between bursts, and so the time left, could not be told.
        done, requests = self._lookups.states.total(), _counted(self._lookups.stats.requests, "request")
        for task in self.task_ids:
            self.update(task, completed=done, requests=requests)
        yield from super().get_renderables()


class _TimeColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.finished_time is not None:
            return Text(_duration(task.finished_time))
        left = task.time_remaining
        return Text("" if left is None else f"{_duration(left, digits=0)} left")


def table_of(report: Report) -> Table:
    """Return what the demo ends with; it fits into 80 columns and needs neither colours nor Unicode."""
    stats, limit = report.stats, report.rate_limit
    messages, most = report.states.total(), max(report.states.values())
    table = Table(box=box.SIMPLE_HEAD, title=f"{report.provider}, {_counted(messages, 'message')}")
    table.add_column("State")
    table.add_column("Messages", justify="right")
    table.add_column("Share", justify="right")
    table.add_column(width=_CHART_WIDTH)
    for state in (*DeliveryState, None):
        count = report.states[state]
        # Every provider can leave a message unknown, but none has every state.
        if count or state is None:
            bar = _bar(count / most, _colour_of(state))
            table.add_row(state or "unknown", f"{count:,}", f"{count / messages:.1%}", bar)
    table.add_section()
    table.add_row("Requests made", f"{stats.requests:,}")
    table.add_row("Keys a request", f"{stats.keys_per_request:.1f}")
    table.add_row("Rejections", Text(f"{stats.rejections:,}", "bold red" if stats.rejections else "green"))
    table.add_row("Lookups a second", f"{messages / report.seconds:,.1f}")
    table.add_row("Elapsed", _duration(report.seconds), style="bold")
    if limit is not None:
        table.add_row("One lookup a request would take", _duration(messages * limit.interval))
    return table


def _bar(length: float, colour: str) -> RenderableType:
    if not length:
        return ""
    width = max(1, round(length * _CHART_WIDTH))
    # A progress bar that is full, because rich can draw it in ASCII too.
    return ProgressBar(total=1, completed=1, width=width, finished_style=colour)


def _colour_of(state: DeliveryState | None) -> str:
    if state is None:
        return "bright_black"
    if state in _GOOD:
        return "green"
    return "red" if state.is_final else "yellow"


def _in_words(limit: RateLimit | None) -> str:
    return "no limit" if limit is None else f"{1 / limit.interval:g} requests a second"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _duration(seconds: float, *, digits: int = 1) -> str:
    if seconds < 59.5:
        return f"{seconds:.{digits}f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest} s"
