"""The command ``demo``: lookups at both providers, played by the sandbox over real HTTP."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

import click
from attrs import define, field
from rich.console import Console
from rich.table import Table

from .._client import StatusClient
from .._clock import SYSTEM_CLOCK
from .._model import AnswerT, CustomId, DeliveryState, KeyT, MessageKey
from ..providers import GreenAPI, Provider, SMSFire
from .demo_tracking import Tracking
from .display import Bar, add_elapsed, add_requests, bars, chart_of, counted, duration, rate_of
from .interrupts import run_async
from .options import needs_extras

if TYPE_CHECKING:
    from ..sandbox import Instance, Sandbox

States: TypeAlias = Counter[DeliveryState | None]
"""How many messages or receipts are in each state; ``None`` are the unknown ones."""

_MOST_MESSAGES = 100_000
_LATENCY = 0.05

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


@click.command(short_help="See it at work, without an account.")
@click.option(
    "--messages",
    type=click.IntRange(1, _MOST_MESSAGES),
    default=5000,
    show_default=True,
    help="How many messages to look up at SMSFire.",
)
def demo(messages: int) -> None:
    """Look up a campaign and some stories at a sandbox on this machine, and then track some messages.

    The sandbox answers as SMSFire does, over HTTP: 2 requests a second, 50 ms away. Beside that it answers
    as GREEN-API does, 1 request a second, for one story in 400 messages, 12 at most. At the end, 300
    messages live their lives, webhooks that tell of it get lost, and a tracker knows in the end. Nothing
    leaves this machine, and no account is needed. The result goes to stdout, the progress to stderr.
    """
    with needs_extras("The demo"):
        from ..sandbox import Sandbox
    out, err = Console(), Console(stderr=True)
    _show_lookups(Sandbox(latency=_LATENCY), messages, out, err)
    _show_tracking(Sandbox(latency=_LATENCY), messages, out, err)


def _show_lookups(sandbox: "Sandbox", messages: int, out: Console, err: Console) -> None:
    with sandbox.serve() as url:
        smsfire, greenapi = all_lookups = _lookups_at(sandbox, url, messages)
        err.print(
            f"Looking up {counted(messages, 'message')} at once, each in a coroutine of its own.\n"
            f"The sandbox answers as SMSFire does: {rate_of(smsfire.provider.rate_limit)},"
            f" {_LATENCY * 1000:.0f} ms away.\n"
            f"Beside that {counted(len(greenapi.keys), 'story')}, each in {greenapi.times} coroutines.\n"
            f"The sandbox answers as GREEN-API does: {rate_of(greenapi.provider.rate_limit)}.",
            highlight=False,
        )
        with bars(err, lambda: [lookups.bar() for lookups in all_lookups]):
            run_async(lambda: _run(all_lookups))
    for lookups in all_lookups:
        out.print(lookups.table())
    for lookups in all_lookups:
        if (problem := lookups.disagreement()) is not None:
            raise click.ClickException(problem)


def _show_tracking(sandbox: "Sandbox", messages: int, out: Console, err: Console) -> None:
    tracking = Tracking(sandbox)
    with sandbox.serve() as url:
        err.print(tracking.prepare(url, messages), highlight=False)
        with bars(err, lambda: [tracking.bar()]):
            run_async(tracking.run)
    out.print(tracking.table())
    if (problem := tracking.disagreement()) is not None:
        raise click.ClickException(problem)


def _lookups_at(sandbox: "Sandbox", url: str, messages: int) -> "Sequence[Lookups[Any, Any]]":
    """Return the lookups of a campaign and of some stories, both made known to the sandbox."""
    instance = sandbox.add_instance()
    keys, expected = _add_campaign(sandbox, messages)
    stories, expected_receipts = _add_stories(instance, messages)
    campaign = Lookups(
        provider=SMSFire("sandbox", base_url=url),
        keys=keys,
        noun="message",
        what_has_a_state="message",
        states_of=lambda status: [status.state],
        account=sandbox,
        expected=expected,
    )
    receipts = Lookups(
        provider=GreenAPI(instance.id_instance, "sandbox", api_url=url),
        keys=stories,
        noun="story",
        what_has_a_state="receipt",
        times=_COROUTINES_A_STORY,
        states_of=lambda statistic: [receipt.state for receipt in statistic.receipts] or [None],
        account=instance,
        expected=expected_receipts,
    )
    return campaign, receipts


def _add_campaign(sandbox: "Sandbox", messages: int) -> tuple[list[MessageKey], States]:
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


def _add_stories(instance: "Instance", messages: int) -> tuple[list[str], States]:
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


async def _run(all_lookups: "Sequence[Lookups[Any, Any]]") -> None:
    async with AsyncExitStack() as clients:
        for lookups in all_lookups:
            await clients.enter_async_context(lookups.client)
        await asyncio.gather(*(lookups.run() for lookups in all_lookups))


@define(kw_only=True, eq=False)
class Lookups(Generic[KeyT, AnswerT]):
    """Looks up keys at one provider as a bot does: each in ``times`` coroutines of its own, all at once."""

    provider: Provider[KeyT, AnswerT]
    keys: Sequence[KeyT]
    times: int = 1
    noun: str
    what_has_a_state: str
    states_of: Callable[[AnswerT], Iterable[DeliveryState | None]]
    account: "Sandbox | Instance"
    """What counts the requests at the other end."""
    expected: States
    """The states that the account was given."""
    client: StatusClient[KeyT, AnswerT] = field(init=False)
    _states: States = field(init=False, factory=Counter)
    _done: set[KeyT] = field(init=False, factory=set)
    _seconds: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        # The last ones of many messages wait for minutes, and that is what they are here to show.
        self.client = StatusClient(self.provider, timeout=None)

    async def run(self) -> None:
        started_at = SYSTEM_CLOCK.time()
        await asyncio.gather(*map(self._look_up, [*self.keys] * self.times))
        self._seconds = SYSTEM_CLOCK.time() - started_at

    async def _look_up(self, key: KeyT) -> None:
        answer = await self.client.get(key)
        if key not in self._done:
            self._done.add(key)
            self._states.update([None] if answer is None else self.states_of(answer))

    def bar(self) -> Bar:
        done, total = len(self._done), len(self.keys)
        requests = counted(self.client.stats().requests, "request")
        return Bar(self.provider.name, done, total, f"{done:,} of {total:,}", requests)

    def table(self) -> Table:
        """Return what the demo ends with; it fits into 80 columns and needs neither colours nor Unicode."""
        stats, limit = self.client.stats(), self.provider.rate_limit
        title = f"{self.provider.name}, {counted(len(self.keys), self.noun)}"
        table = chart_of(title, self.what_has_a_state, self._states)
        add_requests(table, stats)
        table.add_row("Lookups a second", f"{stats.lookups / self._seconds:,.1f}")
        add_elapsed(table, self._seconds)
        if limit is not None:
            table.add_row("One lookup a request would take", duration(stats.lookups * limit.interval))
        return table

    def disagreement(self) -> str | None:
        """Return what the two ends see differently, if anything."""
        stats, account, name = self.client.stats(), self.account, self.provider.name
        if (stats.requests, stats.rejections) != (account.requests, account.rejections):
            return (
                f"{name}: the client counted {counted(stats.requests, 'request')} and"
                f" {counted(stats.rejections, 'rejection')}, the sandbox {account.requests} and"
                f" {account.rejections}"
            )
        if self._states != self.expected:
            return f"{name}: the states that were looked up are not the ones that the sandbox was given"
        return None
