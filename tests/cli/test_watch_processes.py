"""``watch`` in a process of its own: webhooks, Ctrl-C, SIGKILL, and terminals."""

import http.client
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from statuslookup import DeliveryState
from statuslookup.cli.listening import SECRET_VARIABLE
from statuslookup.sandbox import Sandbox
from tests.support.commands import CREDENTIALS, ids, show
from tests.support.processes import (
    environment,
    finish,
    needs_signals,
    needs_terminals,
    on_terminal,
    read_terminal,
    start,
)

SENT, DELIVERED, READ = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ
MESSAGES = 300


@pytest.fixture
def played() -> Iterator[tuple[Sandbox, str]]:
    sandbox = Sandbox(rate_limit=None)
    for id in range(1, MESSAGES + 1):
        sandbox.add_message(id, custom_id=f"c{id}", state=SENT)
    with sandbox.serve() as url:
        yield sandbox, url


@pytest.fixture
def campaign(tmp_path: Path) -> str:
    path = tmp_path / "campaign.txt"
    path.write_text(ids(MESSAGES))
    return str(path)


def watch(url: str, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
    env = environment(**CREDENTIALS, **changes)
    return start("watch", "smsfire", *arguments, "--base-url", url, "--rate", "off", env=env)


def line_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the watch has ended"
    change: dict[str, Any] = json.loads(line)
    return change


def post(url: str, body: object) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("POST", parts.path, json.dumps(body))
    status = connection.getresponse().status
    connection.close()
    return status


# --- webhooks -------------------------------------------------------------------------------------


def test_what_is_posted_is_a_change_at_once(played: tuple[Sandbox, str], tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("1\nc2\n")
    process = watch(played[1], str(keys), "--listen", "127.0.0.1:0", "--first", "1000")
    assert process.stderr is not None
    said = process.stderr.readline()
    (url,) = re.findall(
        r"Webhooks are received at (http://127\.0\.0\.1:\d+/\S{16,}) \(a new secret, shown only now\)", said
    )
    assert {line_of(process)["state"] for _ in range(2)} == {"SENT"}
    assert post(url.rsplit("/", 1)[0] + "/another-secret-entirely", {"id": 1, "statusCode": 2}) == 404
    assert post(url, {"id": 1, "statusCode": 2, "statusName": "DELIVERED"}) == 200
    first = line_of(process)
    assert (first["id"], first["state"], first["is_over"]) == (1, "DELIVERED", True)
    assert post(url, {"id": 2, "customId": "c2", "statusCode": 3}) == 200
    exit_code, rest, errors = finish(process)
    assert exit_code == 0, errors
    assert json.loads(rest)["state"] == "UNDELIVERED"
    assert re.search(r"Ends by webhook +2\b", errors)
    assert re.search(r"Ends by lookup +0\b", errors)


def test_a_secret_of_the_environment_is_shown_nowhere(played: tuple[Sandbox, str], tmp_path: Path) -> None:
    secret = "a-secret-of-the-environment"
    keys = tmp_path / "keys.txt"
    keys.write_text("1\n")
    process = watch(
        played[1], str(keys), "--listen", "127.0.0.1:0", "--first", "1000", **{SECRET_VARIABLE: secret}
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    (url,) = re.findall(rf"received at (http://\S+/)\*\*\* \(\*\*\* is {SECRET_VARIABLE}\)", said)
    assert line_of(process)["state"] == "SENT"
    assert post(url + secret, b"nonsense".decode()) == 400
    assert post(url + secret, {"id": 1, "statusCode": 2}) == 200
    exit_code, output, errors = finish(process)
    assert exit_code == 0
    assert secret not in said + output + errors


@pytest.mark.parametrize("module", ["starlette", "uvicorn"])
def test_without_what_listens_one_line_says_what_to_install(module: str, campaign: str) -> None:
    arguments = ("watch", "smsfire", campaign, "--base-url", "http://127.0.0.1:9", "--listen", "127.0.0.1:0")
    code = f"sys.modules[{module!r}] = None"
    exit_code, output, errors = finish(start(*arguments, code=code, env=environment(**CREDENTIALS)))
    assert (exit_code, output) == (2, "")
    assert errors == 'Error: --listen needs its extras: pip install "statuslookup[cli,webhooks]" uvicorn\n'


# --- Ctrl-C and SIGKILL ---------------------------------------------------------------------------


@needs_signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("has_store", [True, False])
def test_a_signal_says_how_to_go_on(
    has_store: bool,
    number: signal.Signals,
    code: int,
    played: tuple[Sandbox, str],
    campaign: str,
    tmp_path: Path,
) -> None:
    store = str(tmp_path / "campaign.db")
    process = watch(played[1], campaign, *["--store", store] * has_store)
    for _ in range(MESSAGES):
        line_of(process)
    process.send_signal(number)
    exit_code, output, errors = finish(process)
    assert (exit_code, output) == (code, "")
    assert f"Interrupted. {MESSAGES} messages of {MESSAGES} not over yet." in errors
    wanted = f"repeat the command: {store} has what is known" if has_store else "(--store FILE) can go on"
    assert wanted in errors
    assert "Traceback" not in errors


@needs_signals
def test_a_provider_that_is_away_is_asked_again_and_that_is_said(campaign: str) -> None:
    process = watch("http://127.0.0.1:9", campaign)
    assert process.stderr is not None
    said = process.stderr.readline()
    assert said.startswith("A lookup failed, and will be repeated: "), said
    process.send_signal(signal.SIGINT)
    exit_code, _, errors = finish(process)
    assert exit_code == 130
    assert "Nothing heard yet" in errors


@needs_signals
def test_a_watch_that_is_killed_goes_on_and_forgets_no_message(
    played: tuple[Sandbox, str], campaign: str, tmp_path: Path
) -> None:
    sandbox, url = played
    arguments = (campaign, "--store", str(tmp_path / "campaign.db"), "--first", "1")
    ends: dict[int, str] = {}

    def take(change: dict[str, Any]) -> None:
        if change["is_over"]:
            # What was told once is never told otherwise.
            assert ends.setdefault(change["id"], change["state"]) == change["state"]

    for kill, until in enumerate((100, 200), 1):
        for id in range(until - 99, until + 1):
            sandbox.change_state(id, DELIVERED if id % 2 else DeliveryState.REJECTED)
        process = watch(url, *arguments)
        # Every message is told of at first, and then no more than what has changed.
        for _ in range(40 * kill):
            take(line_of(process))
        # The first time in the middle of it, the second time when the store has what was told.
        time.sleep(2 * (kill - 1))
        process.kill()
        assert process.stdout is not None
        # Not what finish() returns: it begins behind what is buffered here.
        for line in process.stdout:
            # The last one may be torn.
            if line.endswith("\n"):
                take(json.loads(line))
        finish(process)
    for id in range(1, MESSAGES + 1):
        if sandbox.messages[id].state is SENT:
            sandbox.change_state(id, READ)
    sandbox.reset_counts()
    exit_code, output, errors = finish(watch(url, *arguments))
    assert exit_code == 0, errors
    for line in output.splitlines():
        take(json.loads(line))
    assert {id: message.state.value for id, message in sandbox.messages.items()} == ends
    # What was over, and told, is not asked for again.
    assert sandbox.keys < MESSAGES


def test_a_reader_that_does_not_read_holds_up_no_webhook(played: tuple[Sandbox, str], campaign: str) -> None:
    process = watch(played[1], campaign, "--listen", "127.0.0.1:0", "--first", "1000")
    assert process.stderr is not None
    (url,) = re.findall(r"http://\S+", process.stderr.readline())
    # More lines are due than a pipe takes.
    for _ in range(10):
        line_of(process)
    time.sleep(0.5)
    for id in range(1, MESSAGES + 1):
        assert post(url, {"id": id, "statusCode": 2}) == 200
    exit_code, output, errors = finish(process)
    assert exit_code == 0, errors
    # The first line may be the rest of one that was begun before, and it is of no end.
    lines = output.splitlines()[1:]
    ends = [change["id"] for line in lines if (change := json.loads(line))["is_over"]]
    assert sorted(ends) == list(range(1, MESSAGES + 1))


@needs_signals
def test_two_watches_of_one_store_are_refused(
    played: tuple[Sandbox, str], campaign: str, tmp_path: Path
) -> None:
    arguments = (campaign, "--store", str(tmp_path / "campaign.db"))
    first = watch(played[1], *arguments)
    line_of(first)
    begin = time.monotonic()
    exit_code, output, errors = finish(watch(played[1], *arguments))
    assert (exit_code, output) == (1, "")
    assert "another process tracks with this file" in errors
    assert time.monotonic() - begin < 20
    first.kill()
    finish(first)


# --- terminals ------------------------------------------------------------------------------------


@needs_terminals
def test_a_terminal_gets_a_table_and_no_lines(played: tuple[Sandbox, str], campaign: str) -> None:
    sandbox, url = played
    for id in range(1, MESSAGES):
        sandbox.change_state(id, DELIVERED)
    with show("watch", "smsfire", campaign, "--base-url", url, "--rate", "off", "--first", "1") as (
        process,
        terminal,
    ):
        shown = read_terminal(terminal, "Newest changes")
        shown += read_terminal(terminal, "over")
        sandbox.change_state(MESSAGES, READ)
        shown += read_terminal(terminal)
        assert process.wait(30) == 0, shown
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "Nothing heard yet" in plain or "SENT" in plain
    assert "SMSFire, 300 messages" in plain
    assert re.search(r"i:\d+ +DELIVERED +over", plain)
    assert re.search(r"Over +300 +100\.0%", plain)
    assert '"is_over"' not in plain


@needs_terminals
def test_lines_go_to_a_pipe_while_a_terminal_shows_the_table(
    played: tuple[Sandbox, str], tmp_path: Path
) -> None:
    sandbox, url = played
    # No more than fits into a pipe that is read only afterwards.
    keys = tmp_path / "keys.txt"
    keys.write_text(ids(20))
    for id in range(1, 21):
        sandbox.change_state(id, DELIVERED)
    arguments = ("watch", "smsfire", str(keys), "--base-url", url, "--rate", "off")
    with on_terminal(*arguments, columns=100, stdout=subprocess.PIPE, env=environment(**CREDENTIALS)) as (
        process,
        terminal,
    ):
        shown = read_terminal(terminal)
        output = process.stdout.read()
        assert process.wait(30) == 0, shown
    assert len(output.splitlines()) == 20
    assert "SMSFire, 20 messages" in shown
    assert "is_over" not in shown


@needs_terminals
def test_json_on_a_terminal_is_lines_without_a_table(played: tuple[Sandbox, str], tmp_path: Path) -> None:
    sandbox, url = played
    sandbox.change_state(1, DELIVERED)
    keys = tmp_path / "keys.txt"
    keys.write_text("1\n")
    with show("watch", "smsfire", str(keys), "--json", "--base-url", url, "--rate", "off") as (
        process,
        terminal,
    ):
        shown = read_terminal(terminal)
        assert process.wait(30) == 0, shown
    assert '"is_over": true' in shown
    assert "Newest changes" not in shown
    assert "\x1b[?25l" not in shown
