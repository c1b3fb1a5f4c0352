"""What the commands show to people: progress bars, summaries, tables, and the words for figures."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

import click
from attrs import frozen
from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .._model import AnswerT, ClientStats, DeliveryState, KeyT, Outcome, RateLimit
from .providers import Line
from .table.results import Tally
from .table.terminal import escaped, escaped_lines

_BAR_WIDTH = 20
_GOOD = frozenset({DeliveryState.DELIVERED, DeliveryState.READ})
_BAD = "bold red"

# --- progress bars --------------------------------------------------------------------------------


@frozen
class Bar:
    """How far something is."""

    name: str
    completed: int
    total: int | None
    """Of what, if that is known."""
    done: str
    """What is done, in words."""
    pace: str
    """At what cost, or how fast, in words."""


def bars(
    console: Console, look: Callable[[], Sequence[Bar]], *, is_wanted: bool = True
) -> AbstractContextManager[object]:
    """Show progress bars on a terminal, and nothing elsewhere; ``look`` gives as many bars each time."""
    # FORCE_COLOR makes a file a terminal to rich, and a bar in a log is a nuisance all the same.
    if is_wanted and console.is_interactive and console.file.isatty():
        return LookingProgress(console, look)
    return nullcontext()


class LookingProgress(Progress):
    """Progress bars that look for themselves how far it is."""

    def __init__(self, console: Console, look: Callable[[], Sequence[Bar]]) -> None:
        self._look = look
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(_BAR_WIDTH),
            TextColumn("{task.fields[done]}"),
            TextColumn("{task.fields[pace]}"),
            _TimeColumn(),
            console=console,
        )
        for bar in look():
            self.add_task(bar.name, total=bar.total, completed=bar.completed, done="", pace="")

    def get_renderables(self) -> Iterable[RenderableType]:
        # Called ten times a second. Answers come in bursts, and from an update for each single one the
        # pace between bursts, and so the time left, could not be told. The first call comes from the
        # constructor, when there are no tasks yet.
        for task, bar in zip(self.task_ids, self._look(), strict=False):
            self.update(task, completed=bar.completed, done=bar.done, pace=bar.pace)
        yield from super().get_renderables()


class _TimeColumn(ProgressColumn):
    """The time that is left, and at the end the time that it took."""

    def render(self, task: Task) -> Text:
        if task.finished_time is not None:
            return Text(duration(task.finished_time))
        left = task.time_remaining
        return Text("" if left is None else f"{duration(left, digits=0)} left")


# --- summaries ------------------------------------------------------------------------------------


def summary_of(tally: Tally, stats: ClientStats, *, name: str, seconds: float) -> Table:
    """Return what a check ends with; it fits into 80 columns and needs neither colours nor Unicode."""
    table = chart_of(f"{name}, {counted(tally.rows, 'row')}", "row", tally.states, failed=tally.failed)
    if tally.before:
        table.add_row("Done before", f"{tally.before:,}")
    if tally.skipped:
        table.add_row("Skipped, final already", f"{tally.skipped:,}")
    add_requests(table, stats)
    add_elapsed(table, seconds)
    return table


def chart_of(
    title: str, noun: str, states: Counter[DeliveryState | None], *, failed: int | None = None
) -> Table:
    """Return a table with a bar for each state and, if it is given, for what failed; more rows may follow."""
    # Every provider can leave a key unknown, but none has every state.
    counts = [(state.value, states[state], colour_of(state)) for state in DeliveryState if states[state]]
    counts.append(("unknown", states[None], colour_of(None)))
    if failed is not None:
        counts.append(("failed", failed, _BAD))
    total, most = sum(count for _, count, _ in counts), max(count for _, count, _ in counts)
    table = Table(box=box.SIMPLE_HEAD, title=title)
    table.add_column("State")
    table.add_column(_plural(noun).capitalize(), justify="right")
    table.add_column("Share", justify="right")
    table.add_column(width=_BAR_WIDTH)
    for label, count, colour in counts:
        share = f"{count / total:.1%}" if total else ""
        table.add_row(label, f"{count:,}", share, _bar(count / most, colour) if count else "")
    table.add_section()
    return table


def _bar(length: float, colour: str) -> RenderableType:
    """Return a bar of a chart; ``length`` is its share of the longest one."""
    # A progress bar that is full, because rich can draw it in ASCII too.
    width = max(1, round(length * _BAR_WIDTH))
    return ProgressBar(total=1, completed=1, width=width, finished_style=colour)


def add_requests(table: Table, stats: ClientStats) -> None:
    """Add what the lookups cost."""
    table.add_row("Requests made", f"{stats.requests:,}")
    table.add_row("Keys a request", f"{stats.keys_per_request:.1f}")
    table.add_row("Rejections", Text(f"{stats.rejections:,}", _BAD if stats.rejections else "green"))


def add_elapsed(table: Table, seconds: float) -> None:
    """Add how long it took."""
    table.add_row("Elapsed", duration(seconds), style="bold")


# --- answers --------------------------------------------------------------------------------------


def table_of(
    rows: Iterable[tuple[str, Outcome[KeyT, AnswerT]]], lines_of: Callable[[AnswerT], Iterable[Line]]
) -> Table:
    """Return a table of keys, as they were written, and of what became of them."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("Message", "State", "Status", "Since", "Recipient"):
        # Whoever looks for a message needs its whole key; elsewhere the end of it would be cut off.
        table.add_column(name, overflow="fold")
    for key, outcome in rows:
        lines = [] if outcome.status is None else list(lines_of(outcome.status))
        for line in lines:
            state, since = Text(line.state.value, colour_of(line.state)), _date(line.since)
            table.add_row(shown(key), state, shown(line.status), since, shown(line.recipient))
        if outcome.error is not None:
            table.add_row(shown(key), Text("failed", _BAD), shown(str(outcome.error)))
        elif not lines:
            table.add_row(shown(key), Text("unknown", colour_of(None)))
    return table


def shown(text: str) -> Text:
    """Return a text of others as it is, with an escape for what would command the terminal."""
    return Text(escaped(text))


def _date(date: datetime | None) -> str:
    return "" if date is None else date.isoformat(sep=" ", timespec="seconds")


def colour_of(state: DeliveryState | None) -> str:
    """Return the colour of a state; ``None`` is an unknown message."""
    if state is None:
        return "bright_black"
    if state in _GOOD:
        return "green"
    return "red" if state.is_final else "yellow"


# --- words ----------------------------------------------------------------------------------------


def counted(count: int, noun: str) -> str:
    """Return a count and its noun, in the plural where that is due."""
    return f"{count:,} {noun if count == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    return f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"


def say(text: str) -> None:
    """Write lines to stderr; names of files and words of others in them command no terminal."""
    click.echo(escaped_lines(text), err=True)


def reason_of(error: OSError) -> str:
    """Return what the system says, and of which file, without its number."""
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"


def duration(seconds: float, *, digits: int = 1) -> str:
    """Return seconds as a text, also of hours."""
    if seconds < 59.5:
        return f"{seconds:.{digits}f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def rate_of(limit: RateLimit | None) -> str:
    """Return a rate limit as a text."""
    return "no limit" if limit is None else f"{counted(round(1 / limit.interval), 'request')} a second"
