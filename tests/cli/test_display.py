"""What is shown to people: tables, summaries, and the words for figures."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from statuslookup import (
    ClientStats,
    DeliveryState,
    MessageStatus,
    Outcome,
    RateLimit,
    Receipt,
    StatusLookupError,
    StatusStatistic,
)
from statuslookup.cli.display import counted, duration, rate_of, summary_of, table_of
from statuslookup.cli.providers import GREENAPI, SMSFIRE
from statuslookup.cli.table.results import Tally
from statuslookup.cli.table.terminal import escaped


def shown(renderable: object, width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(renderable)
    return file.getvalue()


@pytest.mark.parametrize("phone", ["[/x]", "[red]55", "\x1b]0;owned\x075\x1b[2J5", "5\n5\x9b2J\x7f", None])
def test_what_a_provider_says_is_shown_as_it_is_and_commands_no_terminal(phone: str | None) -> None:
    status = MessageStatus(id=1, phone=phone, status_name=phone)
    receipt = Receipt(participant=phone or "", status=phone)
    statistic = StatusStatistic(id_message="B", receipts=(receipt,))
    error = StatusLookupError(phone or "")
    text = shown(table_of([("1", Outcome(1, status)), ("2", Outcome(2, error=error))], SMSFIRE.lines_of), 200)
    text += shown(table_of([("B", Outcome("B", statistic))], GREENAPI.lines_of), 200)
    assert text.count(escaped(phone or "")) >= 5
    assert all(character.isprintable() or character == "\n" for character in text)
    assert len(text.splitlines()) == 11


def test_a_table_of_80_columns_has_the_whole_keys() -> None:
    key, phone = f"custom:campaign-{'0123456789' * 6}", "5511987654321"
    status = MessageStatus(
        id=1,
        phone=phone,
        status_code=2,
        status_name="DELIVERED",
        state=DeliveryState.DELIVERED,
        status_date=datetime(2026, 1, 2, tzinfo=UTC),
    )
    text = shown(table_of([(key, Outcome(1, status))], SMSFIRE.lines_of), 80)
    lines = text.splitlines()
    width = lines[1].index("State")
    assert "".join(line[:width].strip() for line in lines[3:]) == key
    assert {"2", "DELIVERED", phone} <= set(text.split())
    assert max(map(len, lines)) <= 80


def test_a_story_has_a_line_for_each_recipient_and_one_without_any_is_unknown() -> None:
    receipts = tuple(Receipt(participant=f"{name}@c.us", state=DeliveryState.READ) for name in "ab")
    known = StatusStatistic(id_message="A", receipts=receipts)
    unknown = StatusStatistic(id_message="B")
    rows = [("A", Outcome("A", known)), ("B", Outcome("B", unknown)), ("C", Outcome("C"))]
    lines = [line.split() for line in shown(table_of(rows, GREENAPI.lines_of), 80).splitlines()[3:]]
    assert [line for line in lines if line] == [
        ["A", "READ", "a@c.us"],
        ["A", "READ", "b@c.us"],
        ["B", "unknown"],
        ["C", "unknown"],
    ]


def test_a_summary_of_hours_fits_into_80_columns() -> None:
    tally = Tally()
    tally.states.update(dict.fromkeys(DeliveryState, 1_234_567))
    tally.before, tally.skipped = 5_000_000, 1_000_000
    text = shown(summary_of(tally, ClientStats(), name="GREEN-API", seconds=100_000), 80)
    assert "27 h 46 min" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.6, "1 min 0 s"), (3599.4, "59 min 59 s"), (3600, "1 h 0 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_and_rates() -> None:
    assert [counted(1, "story"), counted(1200, "story"), counted(0, "row")] == [
        "1 story",
        "1,200 stories",
        "0 rows",
    ]
    assert [rate_of(RateLimit(2)), rate_of(RateLimit(1)), rate_of(None)] == [
        "2 requests a second",
        "1 request a second",
        "no limit",
    ]
