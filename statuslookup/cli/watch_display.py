"""What a watch shows to people: how far it is, at a glance, while it runs and at its end."""

from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from attrs import define, field, frozen
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .._model import ClientStats, DeliveryState
from ..tracker import TrackerStats
from .display import add_elapsed, chart_of, colour_of, counted, shown

_NEWEST = 5
_FRAMES_A_SECOND = 4


@frozen
class News:
    """One change, as it is shown."""

    key: str
    state: DeliveryState | None
    """``None`` if the provider does not know the message."""
    is_over: bool


@define(eq=False)
class Progress:
    """How far a watch is: the state of each message, and the newest changes."""

    total: int = 0
    over: int = 0
    before: int = 0
    """How many of those that are over an earlier watch saw."""
    newest: deque[News] = field(factory=lambda: deque(maxlen=_NEWEST))
    counts: Counter[DeliveryState | None] = field(factory=Counter)
    """How many messages are in each state; ``None`` are the unknown ones."""
    _states: dict[str, DeliveryState | None] = field(factory=dict)

    def know(self, key: str, state: DeliveryState | None) -> None:
        """Take note of a state that was told before."""
        if key in self._states:
            self.counts[self._states[key]] -= 1
        self._states[key] = state
        self.counts[state] += 1

    def take(self, news: News) -> None:
        """Take note of a change."""
        self.know(news.key, news.state)
        self.over += news.is_over
        self.newest.appendleft(news)

    @property
    def silent(self) -> int:
        """How many messages nothing was heard of yet."""
        return self.total - len(self._states)


def live(
    console: Console, look: Callable[[], RenderableType], *, is_wanted: bool
) -> AbstractContextManager[object]:
    """Show what ``look`` gives on a terminal, always as it is now, and nothing elsewhere."""
    if is_wanted and console.is_interactive and console.file.isatty():
        return Live(get_renderable=look, console=console, refresh_per_second=_FRAMES_A_SECOND, transient=True)
    return nullcontext()


def summary_of(
    progress: Progress,
    tracker: TrackerStats | None,
    client: ClientStats,
    *,
    name: str,
    seconds: float,
    listens: bool,
) -> Table:
    """Return the states of all messages, and how they became known; it fits into 80 columns."""
    table = chart_of(f"{name}, {counted(progress.total, 'message')}", "message", progress.counts)
    if progress.silent:
        table.add_row("Nothing heard yet", f"{progress.silent:,}")
    table.add_row("Over", f"{progress.over:,}", f"{progress.over / max(1, progress.total):.1%}")
    if progress.before:
        table.add_row("Over before", f"{progress.before:,}")
    if tracker is not None:
        table.add_row("Overdue", f"{tracker.overdue:,}")
        if listens:
            table.add_row("Ends by webhook", f"{tracker.by_webhook:,}")
        table.add_row("Ends by lookup", f"{tracker.by_lookup:,}")
        if tracker.given_up:
            table.add_row("Given up", f"{tracker.given_up:,}")
    table.add_row("Requests made", f"{client.requests:,}")
    add_elapsed(table, seconds)
    return table


def picture_of(summary: Table, progress: Progress, failure: str | None) -> RenderableType:
    """Return the summary with the newest changes below it, and why the last lookup failed."""
    newest = Table(box=box.SIMPLE_HEAD, title="Newest changes")
    newest.add_column("Message", overflow="fold")
    newest.add_column("State")
    newest.add_column("")
    for news in progress.newest:
        state = Text("unknown" if news.state is None else news.state.value, colour_of(news.state))
        newest.add_row(shown(news.key), state, "over" if news.is_over else "")
    parts: list[RenderableType] = [summary]
    if progress.newest:
        parts.append(newest)
    if failure is not None:
        parts.append(Text.assemble(("The last lookup failed: ", "bold red"), shown(failure)))
    return Group(*parts)
