"""The demo: lookups at both providers, played by the sandbox over real HTTP, and tables of what they took."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from typing import Any, Generic, TypeAlias

from attrs import frozen
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from .._client import StatusClient
from .._clock import SYSTEM_CLOCK
from .._model import AnswerT, ClientStats, CustomId, DeliveryState, KeyT, MessageKey, RateLimit
from ..providers import GreenAPI, Provider, SMSFire
from ..sandbox import Instance, Sandbox
from .display import TimeColumn, add_requests, can_show_bars, chart_of, colour_of, counted, duration

States: TypeAlias = Counter[DeliveryState | None]
"""How many messages or receipts are in each state; ``None`` are the unknown ones."""


_LATENCY = 0.05
_BAR_WIDTH = 24

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

# So few stories that, at 1 request a second, they take no longer than the campaign beside them.
_MESSAGES_A_STORY = 400
_MOST_STORIES = 12
_COROUTINES_A_STORY = 2


def run_demo(
    messages: int,
    *,
    out: Console,
    err: Console,
    run: "Callable[[Callable[[], Awaitable[Sequence[Report]]]], Sequence[Report]]",
) -> str | None:
    """Look up at both providers at once, write a table of each to ``out``, and return what is wrong.

    ``run`` runs an async function to its end.
    """
    sandbox = Sandbox(latency=_LATENCY)
    instance = sandbox.add_instance()
    keys, expected = _add_campaign(sandbox, messages)
    stories, expected_receipts = _add_stories(instance, messages)
    with sandbox.serve() as url:
        smsfire = Lookups(
            SMSFire("sandbox", base_url=url),
            keys,
            noun="message",
            states_of=lambda status: [status.state],
        )
        green_api = Lookups(
            GreenAPI(instance.id_instance, "sandbox", api_url=url),
            stories,
            noun="story",
            what_has_a_state="receipt",
            times=_COROUTINES_A_STORY,
            states_of=lambda statistic: [receipt.state for receipt in statistic.receipts] or [None],
        )
        err.print(
            f"Looking up {counted(messages, 'message')} at once, each in a coroutine of its own.\n"
            f"The sandbox answers as SMSFire does: {_in_words(smsfire.provider.rate_limit)},"
            f" {_LATENCY * 1000:.0f} ms away.\n"
            f"Beside that {counted(len(stories), 'story')}, each in {_COROUTINES_A_STORY} coroutines.\n"
            f"The sandbox answers as GREEN-API does: {_in_words(green_api.provider.rate_limit)}.",
            highlight=False,
        )
        all_lookups = (smsfire, green_api)
        with _progress(all_lookups, err):
            reports = run(lambda: _run_all(all_lookups))
    for report in reports:
        out.print(table_of(report))
    return _disagreement(reports[0], sandbox, expected) or _disagreement(
        reports[1], instance, expected_receipts
    )


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


def _add_stories(instance: Instance, messages: int) -> tuple[list[str], States]:
    """Make stories known to the instance; return their keys, and the receipts that they should give."""
    keys: list[str] = []
    expected: States = Counter()
    for number in range(1, max(1, min(messages // _MESSAGES_A_STORY, _MOST_STORIES)) + 1):
        key = f"BAE5{number:012X}"
        receipts = (
            *(DeliveryState.READ,) * (20 + number),
            *(DeliveryState.DELIVERED,) * 8,
            *(DeliveryState.SENT,) * (number % 4),
        )
        if number == _MOST_STORIES:
            expected[None] += 1
        else:
            instance.add_statistic(key, *receipts)
            expected.update(receipts)
        keys.append(key)
    return keys, expected


async def _run_all(all_lookups: "Sequence[Lookups[Any, Any]]") -> "Sequence[Report]":
    async with AsyncExitStack() as clients:
        for lookups in all_lookups:
            await clients.enter_async_context(lookups.client)
        return await asyncio.gather(*(lookups.run() for lookups in all_lookups))


def _disagreement(report: "Report", account: Sandbox | Instance, expected: States) -> str | None:
    stats = report.stats
    if (stats.requests, stats.rejections) != (account.requests, account.rejections):
        return (
            f"{report.provider}: the client counted {counted(stats.requests, 'request')} and"
            f" {counted(stats.rejections, 'rejection')}, the sandbox {account.requests} and"
            f" {account.rejections}"
        )
    if report.states != expected:
        return (
            f"{report.provider}: the states that were looked up are not the ones that the sandbox was given"
        )
    return None


@frozen(kw_only=True)
class Report:
    """What became of the messages, and what it took to learn it."""

    noun: str
    what_has_a_state: str
    keys: int
    provider: str
    rate_limit: RateLimit | None
    states: States
    seconds: float
    stats: ClientStats


class Lookups(Generic[KeyT, AnswerT]):
    """Looks up keys at one provider as a bot does: each in ``times`` coroutines of its own, all at once."""

    def __init__(
        self,
        provider: Provider[KeyT, AnswerT],
        keys: Sequence[KeyT],
        *,
        noun: str,
        what_has_a_state: str | None = None,
        times: int = 1,
        states_of: Callable[[AnswerT], Iterable[DeliveryState | None]],
    ) -> None:
        self.provider = provider
        self.keys = keys
        self.states: States = Counter()
        self.done: set[KeyT] = set()
        # The last ones of many messages wait for minutes, and that is what they are here to show.
        self.client = StatusClient(provider, timeout=None)
        self._noun = noun
        self._what_has_a_state = what_has_a_state or noun
        self._times = times
        self._states_of = states_of

    @property
    def stats(self) -> ClientStats:
        return self.client.stats()

    async def run(self) -> Report:
        started_at = SYSTEM_CLOCK.time()
        await asyncio.gather(*map(self._look_up, [*self.keys] * self._times))
        return Report(
            noun=self._noun,
            what_has_a_state=self._what_has_a_state,
            keys=len(self.keys),
            provider=self.provider.name,
            rate_limit=self.provider.rate_limit,
            states=self.states,
            seconds=SYSTEM_CLOCK.time() - started_at,
            stats=self.stats,
        )

    async def _look_up(self, key: KeyT) -> None:
        answer = await self.client.get(key)
        if key not in self.done:
            self.done.add(key)
            self.states.update([None] if answer is None else self._states_of(answer))


def _progress(all_lookups: Sequence[Lookups[Any, Any]], console: Console) -> AbstractContextManager[object]:
    return _LookupProgress(all_lookups, console) if can_show_bars(console) else nullcontext()


class _LookupProgress(Progress):
    """Progress bars that look for themselves how far the lookups are."""

    def __init__(self, all_lookups: Sequence[Lookups[Any, Any]], console: Console) -> None:
        self._lookups: dict[TaskID, Lookups[Any, Any]] = {}
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(_BAR_WIDTH),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            TextColumn("{task.fields[requests]}"),
            TimeColumn(),
            console=console,
        )
        for lookups in all_lookups:
            task = self.add_task(lookups.provider.name, total=len(lookups.keys), requests="")
            self._lookups[task] = lookups

    def get_renderables(self) -> Iterable[RenderableType]:
        for task, lookups in self._lookups.items():
            requests = counted(lookups.stats.requests, "request")
            self.update(task, completed=len(lookups.done), requests=requests)
        yield from super().get_renderables()


def table_of(report: Report) -> Table:
    """Return what the demo ends with; it fits into 80 columns and needs neither colours nor Unicode."""
    stats, limit = report.stats, report.rate_limit
    # Every provider can leave a key unknown, but none has every state.
    counts = [
        (state.value, count, colour_of(state)) for state in DeliveryState if (count := report.states[state])
    ]
    counts.append(("unknown", report.states[None], colour_of(None)))
    table = chart_of(
        f"{report.provider}, {counted(report.keys, report.noun)}", report.what_has_a_state, counts
    )
    table.add_section()
    add_requests(table, stats)
    table.add_row("Lookups a second", f"{stats.lookups / report.seconds:,.1f}")
    table.add_row("Elapsed", duration(report.seconds), style="bold")
    if limit is not None:
        table.add_row("One lookup a request would take", duration(stats.lookups * limit.interval))
    return table


def _in_words(limit: RateLimit | None) -> str:
    return "no limit" if limit is None else f"{counted(round(1 / limit.interval), 'request')} a second"
