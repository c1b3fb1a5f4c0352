"""The demo as a user runs it: a process of its own, with a terminal and without."""

import contextlib
import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from click.testing import CliRunner

from statuslookup import CustomId, DeliveryState, MessageStatus, RateLimit
from statuslookup.cli import demo as demo_module
from statuslookup.cli.demo_tracking import Tracking
from statuslookup.cli.main import commands
from statuslookup.sandbox import Sandbox, Step
from tests.support.demos import STATES_OF_400, demo, figures, states
from tests.support.processes import finish, needs_terminals, on_terminal, read_terminal, start

# --- the table ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def piped() -> tuple[int, str, str]:
    return demo("--messages", "400")


def test_the_table_says_what_became_of_every_message_and_what_it_took(piped: tuple[int, str, str]) -> None:
    exit_code, table, _ = piped
    assert exit_code == 0
    assert states(table) == STATES_OF_400
    values = figures(table)
    assert values["Requests made"] == "2"
    assert values["Keys a request"] == "200.0"
    assert values["Rejections"] == "0"
    assert values["One lookup a request would take"] == "3 min 20 s"
    seconds = float(values["Elapsed"].removesuffix(" s"))
    # Two requests, half a second apart, on a machine that may be busy.
    assert 0.5 <= seconds < 20
    # Both figures are rounded.
    assert 400 / (seconds + 0.06) <= float(values["Lookups a second"]) <= 400 / (seconds - 0.06)


def test_piped_output_is_plain_text_in_80_columns(piped: tuple[int, str, str]) -> None:
    _, table, errors = piped
    for output in (table, errors):
        assert all(character.isprintable() or character == "\n" for character in output)
        assert all(len(line) <= 80 for line in output.splitlines())
    assert errors.splitlines() == [
        "Looking up 400 messages at once, each in a coroutine of its own.",
        "The sandbox answers as SMSFire does: 2 requests a second, 50 ms away.",
        "Beside that 1 story, each in 2 coroutines.",
        "The sandbox answers as GREEN-API does: 1 request a second.",
        "Now 300 messages live their lives, 40 times as fast.",
        "A webhook tells of each change, but 3 in 10 get lost; a StatusTracker knows.",
    ]


def test_green_api_has_a_table_of_its_own(piped: tuple[int, str, str]) -> None:
    tables = piped[1]
    assert tables.index("SMSFire, 400 messages") < tables.index("GREEN-API, 1 story")
    values = figures(tables, "GREEN-API")
    assert states(tables, "GREEN-API") == {"SENT": 1, "DELIVERED": 8, "READ": 21, "unknown": 0}
    # Two coroutines asked for the same story at once.
    assert (values["Requests made"], values["Keys a request"], values["Rejections"]) == ("1", "1.0", "0")
    assert values["One lookup a request would take"] == "2.0 s"


def test_the_tracker_knows_every_end_although_webhooks_get_lost(piped: tuple[int, str, str]) -> None:
    tables = piped[1]
    assert tables.index("GREEN-API, 1 story") < tables.index("Tracking, 300 messages")
    values = figures(tables, "Tracking")
    found = states(tables, "Tracking")
    assert sum(found.values()) == 300
    assert {"SENT", "PENDING"}.isdisjoint(found)
    assert found["unknown"] == 0
    assert found["EXPIRED"] > 0
    assert int(values["Webhooks lost"]) > 100
    assert int(values["Ends by webhook"]) + int(values["Ends by lookup"]) == 300
    assert int(values["Ends by lookup"]) > 30
    # A few seconds; how much more is the machine's affair.
    assert float(values["Elapsed"].removesuffix(" s")) < 20


@pytest.mark.parametrize(("messages", "stories"), [(1, 1), (799, 1), (800, 2), (4799, 11), (100_000, 12)])
def test_stories_take_no_longer_than_the_campaign(messages: int, stories: int) -> None:
    sandbox = Sandbox()
    keys, expected = demo_module._add_stories(sandbox.add_instance(), messages)
    assert len(set(keys)) == len(keys) == stories
    # All but the twelfth are known.
    assert len(sandbox.instances[1101000001].statistics) == min(stories, 11)
    assert expected[None] == (stories == 12)
    requests_to_smsfire = -(-messages // 200)
    assert stories - 1 <= (requests_to_smsfire - 1) / 2


@pytest.mark.long
def test_the_default_size_takes_thirteen_seconds_and_no_rejection() -> None:
    exit_code, tables, errors = demo()
    assert exit_code == 0, errors
    assert "Beside that 12 stories, each in 2 coroutines.\n" in errors
    for provider, requests in (("SMSFire", "25"), ("GREEN-API", "12")):
        values = figures(tables, provider)
        assert (values["Requests made"], values["Rejections"]) == (requests, "0")
        # Eleven or twelve seconds between the requests; how much more is the machine's affair.
        assert 11 <= float(values["Elapsed"].removesuffix(" s")) < 40
    assert states(tables, "GREEN-API")["unknown"] == 1


def test_a_campaign_of_a_hundred_has_every_state_for_both_kinds_of_key() -> None:
    sandbox = Sandbox()
    keys, expected = demo_module._add_campaign(sandbox, 100)
    by_id = {id: message.state for id, message in sandbox.messages.items()}
    by_custom_id = {message.custom_id: message.state for message in sandbox.messages.values()}
    found: Mapping[bool, list[DeliveryState | None]] = {True: [], False: []}
    for key in keys:
        found[isinstance(key, str)].append(by_custom_id.get(key) if isinstance(key, str) else by_id.get(key))
    every = set(DeliveryState) - {DeliveryState.FAILED, DeliveryState.UNKNOWN} | {None}
    for kind in found.values():
        assert len(kind) == 50
        assert set(kind) == every
    assert expected.total() == 100


def test_output_that_cannot_be_unicode_is_ascii() -> None:
    exit_code, table, errors = demo("--messages", "100", PYTHONIOENCODING="ascii")
    assert exit_code == 0, errors
    assert table.isascii()
    assert sum(states(table).values()) == 100


def test_a_single_message_is_enough() -> None:
    exit_code, table, errors = demo("--messages", "1")
    assert exit_code == 0, errors
    assert errors.startswith("Looking up 1 message at once")
    values = figures(table)
    assert (values["READ"], values["unknown"], values["Requests made"]) == ("1", "0", "1")


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["0", "100001", "1.5"])
def test_a_bad_number_of_messages_is_a_usage_error(value: str) -> None:
    result = CliRunner().invoke(commands, ["demo", "--messages", value])
    assert result.exit_code == 2
    assert "Invalid value for '--messages'" in result.output


def test_the_help_does_not_need_the_sandboxs_extra() -> None:
    exit_code, output, _ = demo("--help", code="sys.modules['starlette'] = sys.modules['uvicorn'] = None")
    assert exit_code == 0
    assert "--messages" in output


def in_process(
    monkeypatch: pytest.MonkeyPatch, sandbox: type[Sandbox], messages: int = 100
) -> tuple[int, str]:
    monkeypatch.setattr("statuslookup.sandbox.Sandbox", sandbox)
    result = CliRunner().invoke(commands, ["demo", "--messages", str(messages)])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("provider", "count", "seen"),
    [
        ("SMSFire", "requests", "2 and 0"),
        ("SMSFire", "rejections", "1 and 1"),
        ("GREEN-API", "requests", "2 and 0"),
    ],
)
def test_what_the_sandbox_counted_otherwise_is_said(
    monkeypatch: pytest.MonkeyPatch, provider: str, count: str, seen: str
) -> None:
    class MoreSeen(Sandbox):
        @contextlib.contextmanager
        def serve(self, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
            with super().serve(host, port) as url:
                yield url
            account: Any = self if provider == "SMSFire" else self.instances[1101000001]
            setattr(account, count, getattr(account, count) + 1)

    exit_code, output = in_process(monkeypatch, MoreSeen)
    assert exit_code == 1
    assert f"Error: {provider}: the client counted 1 request and 0 rejections, the sandbox {seen}\n" in output
    assert states(output)["READ"] == 45


def test_a_rejection_that_both_sides_saw_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(Sandbox):
        def __init__(self, *, latency: float) -> None:
            super().__init__(latency=latency, retry_after=0.1)
            self.fault = {1: 429}.get

    exit_code, output = in_process(monkeypatch, Strict)
    assert exit_code == 0, output
    values = figures(output)
    assert (values["Requests made"], values["Rejections"], values["Keys a request"]) == ("2", "1", "100.0")


def test_an_end_that_is_not_the_true_one_is_said() -> None:
    tracking = Tracking(Sandbox())
    key = CustomId("order-001")
    tracking._lives[key] = (Step(0.0, DeliveryState.PENDING), Step(1.0, DeliveryState.REJECTED))
    ended = "Tracking: order-001 ended as REJECTED, and the tracker says otherwise"
    for state in (DeliveryState.DELIVERED, DeliveryState.PENDING):
        tracking._ends[key] = MessageStatus(id=1, state=state)
        assert tracking.disagreement() == ended
    tracking._ends[key] = None
    assert tracking.disagreement() == ended
    tracking._ends[key] = MessageStatus(id=1, state=DeliveryState.REJECTED)
    assert tracking.disagreement() is None


def test_answers_that_are_not_what_the_sandbox_was_given_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(Sandbox):
        def add_message(self, id: int, **options: Any) -> MessageStatus:
            if id == 7:
                options["state"] = DeliveryState.PENDING
            return super().add_message(id, **options)

    exit_code, output = in_process(monkeypatch, Forgetful)
    assert exit_code == 1
    assert (
        "Error: SMSFire: the states that were looked up are not the ones that the sandbox was given\n"
        in output
    )


def test_a_lookup_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Sandbox):
        def __init__(self, *, latency: float) -> None:
            super().__init__(latency=latency, token="another", rate_limit=RateLimit(100))

    exit_code, output = in_process(monkeypatch, Refusing, messages=1000)
    assert exit_code == 1
    assert output.splitlines()[4:] == [
        "Error: SMSFire: the credentials were refused (status 401); check them"
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
def test_a_reader_that_has_gone_is_no_news() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        exit_code, _, errors = finish(start("demo", "--messages", "100", stdout=write))
    finally:
        os.close(write)
    assert exit_code == 1
    assert len(errors.splitlines()) == 4, errors


def test_a_broken_pipe_is_no_news_with_a_rich_that_raises_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Sandbox):
        def __init__(self, *, latency: float) -> None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert in_process(monkeypatch, Broken) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        exit_code, _, errors = finish(start("demo", "--messages", "100", stdout=full))
    assert exit_code == 1
    assert errors.splitlines()[4:] == ["Error: No space left on device"]


# --- a terminal -----------------------------------------------------------------------------------


@needs_terminals
def test_a_terminal_gets_a_progress_bar_and_colours() -> None:
    with on_terminal("demo", "--messages", "600") as (process, terminal):
        shown = read_terminal(terminal)
        assert process.wait(30) == 0, shown
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    # It is drawn ten times a second, so of the two stages on a busy machine one may be missed.
    assert "200 of 600 1 request " in plain or "400 of 600 2 requests" in plain
    assert "600 of 600 3 requests" in plain
    assert re.search(r"GREEN-API +━+ 1 of 1 +1 request ", plain)
    assert states(plain, "GREEN-API")["READ"] == 21
    assert sum(states(plain).values()) == 600
    assert "\x1b[32m" in shown
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", plain))


@needs_terminals
def test_the_bar_is_on_stderr_and_the_table_on_stdout() -> None:
    with on_terminal("demo", "--messages", "400", stdout=subprocess.PIPE) as (process, terminal):
        shown = read_terminal(terminal)
        table = process.stdout.read()
        assert process.wait(30) == 0, shown
    assert "400 of 400" in shown
    assert "Requests made" not in shown
    assert states(table) == STATES_OF_400
    assert all(character.isprintable() or character == "\n" for character in table)


def test_a_log_gets_no_bar_even_if_it_wants_colours() -> None:
    exit_code, table, errors = demo("--messages", "100", FORCE_COLOR="1")
    assert exit_code == 0
    assert "\x1b[" in table
    assert len(errors.splitlines()) == 6
    assert " of 100" not in errors
