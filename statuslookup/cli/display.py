"""What the commands show to people: the progress bar, the summary, the table."""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any

from attrs import frozen
from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .._clock import SYSTEM_CLOCK
from .._model import ClientStats, DeliveryState, MessageStatus, StatusStatistic
from .table.results import Tally

_BAR_WIDTH = 20
_CHART_WIDTH = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_GOOD = frozenset({DeliveryState.DELIVERED, DeliveryState.READ})


@frozen(kw_only=True)
class Progressed:
    """How far a check is."""

    rows: int
    """The rows that are done, by this run or an earlier one."""
    before: int
    """The rows of an earlier run."""
    bytes: int


def progress(
    console: Console,
    look: Callable[[], Progressed],
    *,
    name: str,
    total_bytes: int | None,
    is_wanted: bool = True,
    clock: Callable[[], float] = SYSTEM_CLOCK.time,
) -> AbstractContextManager[object]:
    """Show a progress bar on a terminal, and nothing elsewhere."""
    if not (is_wanted and can_show_bars(console)):
        return nullcontext()
    return CheckProgress(console, look, name=name, total_bytes=total_bytes, clock=clock)


def can_show_bars(console: Console) -> bool:
    """Tell whether somebody looks at the console."""
    # FORCE_COLOR makes a file a terminal to rich, and a bar in a log is a nuisance all the same.
    return console.is_interactive and console.file.isatty()


class CheckProgress(Progress):
    """A progress bar that looks for itself how far the check is."""

    def __init__(
        self,
        console: Console,
        look: Callable[[], Progressed],
        *,
        name: str,
        total_bytes: int | None,
        clock: Callable[[], float],
        **options: Any,
    ) -> None:
        self._look = look
        self._clock = clock
        self._started_at = clock()
        super().__init__(
            TextColumn(name),
            BarColumn(_BAR_WIDTH),
            TextColumn("{task.fields[rows]}"),
            TextColumn("{task.fields[rate]}"),
            TimeColumn(),
            console=console,
            get_time=clock,
            **options,
        )
        self.add_task("", total=total_bytes, completed=look().bytes, rows="", rate="")

    def get_renderables(self) -> Iterable[RenderableType]:
        # Called ten times a second. Answers come in bursts, and from an update for each single one the
        # pace between bursts, and so the time left, could not be told.
        done = self._look()
        seconds = self._clock() - self._started_at
        rate = (done.rows - done.before) / seconds if seconds > 0.5 else 0.0
        for task in self.task_ids:
            self.update(
                task,
                completed=done.bytes,
                rows=counted(done.rows, "row"),
                rate=f"{rate:,.0f} a second" if rate else "",
            )
        yield from super().get_renderables()


class TimeColumn(ProgressColumn):
    """The time that is left, and at the end the time that it took."""

    def render(self, task: Task) -> Text:
        if task.finished_time is not None:
            return Text(duration(task.finished_time))
        left = task.time_remaining
        return Text("" if left is None else f"{duration(left, digits=0)} left")


def summary_of(tally: Tally, stats: ClientStats, *, name: str, seconds: float) -> Table:
    """Return what a check ends with; it fits into 80 columns and needs neither colours nor Unicode."""
    counts: list[tuple[str, int, str]] = [
        (state.value, tally.states[state], colour_of(state))
        for state in DeliveryState
        if state in tally.states
    ]
    counts += [("unknown", tally.unknown, colour_of(None)), ("failed", tally.failed, "bold red")]
    table = chart_of(f"{name}, {counted(tally.rows, 'row')}", "row", counts, total=tally.rows)
    table.add_section()
    if tally.before:
        table.add_row("Done before", f"{tally.before:,}")
    if tally.skipped:
        table.add_row("Skipped, final already", f"{tally.skipped:,}")
    add_requests(table, stats)
    table.add_row("Elapsed", duration(seconds), style="bold")
    return table


def chart_of(
    title: str, noun: str, counts: Sequence[tuple[str, int, str]], *, total: int | None = None
) -> Table:
    """Return a table with a bar for each label, count and colour; ``total`` is the sum unless it is given."""
    total = sum(count for _, count, _ in counts) if total is None else total
    most = max(count for _, count, _ in counts)
    table = Table(box=box.SIMPLE_HEAD, title=title)
    table.add_column("State")
    table.add_column(_plural(noun).capitalize(), justify="right")
    table.add_column("Share", justify="right")
    table.add_column(width=_CHART_WIDTH)
    for label, count, colour in counts:
        share = f"{count / total:.1%}" if total else ""
        table.add_row(label, f"{count:,}", share, _bar(count / most if most else 0.0, colour))
    return table


def add_requests(table: Table, stats: ClientStats) -> None:
    """Add what the lookups cost."""
    table.add_row("Requests made", f"{stats.requests:,}")
    table.add_row("Keys a request", f"{stats.keys_per_request:.1f}")
    table.add_row("Rejections", Text(f"{stats.rejections:,}", "bold red" if stats.rejections else "green"))


def table_of(rows: Sequence[tuple[str, object]]) -> Table:
    """Return a table of keys and what became of them: a status, ``None``, or an error."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("Message", "State", "Status", "Since", "Recipient"):
        # Whoever looks for a message needs its whole key; elsewhere the end of it would be cut off.
        table.add_column(name, overflow="fold")
    for key, end in rows:
        if isinstance(end, MessageStatus):
            status = " ".join(str(part) for part in (end.status_code, end.status_name) if part is not None)
            since = _date(end.status_date)
            table.add_row(_text(key), _state(end.state), _text(status), since, _text(end.phone or ""))
        elif isinstance(end, StatusStatistic) and end.receipts:
            for receipt in end.receipts:
                state, status, since = receipt.state, receipt.status or "", _date(receipt.timestamp)
                table.add_row(_text(key), _state(state), _text(status), since, _text(receipt.participant))
        elif isinstance(end, Exception):
            table.add_row(_text(key), Text("failed", "bold red"), _text(str(end)))
        else:
            table.add_row(_text(key), Text("unknown", colour_of(None)))
    return table


def _text(text: str) -> Text:
    """Return a text of others as it is, but without what would command the terminal."""
    return Text(_CONTROL.sub("", text))


def _state(state: DeliveryState) -> Text:
    return Text(state.value, colour_of(state))


def _date(date: datetime | None) -> str:
    return "" if date is None else date.isoformat(sep=" ", timespec="seconds")


def _bar(length: float, colour: str) -> RenderableType:
    """Return a bar of a chart; ``length`` is its share of the longest one."""
    if not length:
        return ""
    width = max(1, round(length * _CHART_WIDTH))
    # A progress bar that is full, because rich can draw it in ASCII too.
    return ProgressBar(total=1, completed=1, width=width, finished_style=colour)


def colour_of(state: DeliveryState | None) -> str:
    """Return the colour of a state; ``None`` is an unknown message."""
    if state is None:
        return "bright_black"
    if state in _GOOD:
        return "green"
    return "red" if state.is_final else "yellow"


def counted(count: int, noun: str) -> str:
    """Return a count and its noun, in the plural where that is due."""
    return f"{count:,} {noun if count == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    return f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"


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
