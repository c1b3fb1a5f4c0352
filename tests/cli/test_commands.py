"""The commands as a user runs them: processes of their own, a sandbox on a socket, a terminal."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

import statuslookup
from statuslookup import (
    DeliveryState,
    MessageStatus,
    Receipt,
    RetryPolicy,
    StatusLookupError,
    StatusStatistic,
)
from statuslookup._model import ClientStats
from statuslookup.cli.display import duration, summary_of, table_of
from statuslookup.cli.get import _how_to_use
from statuslookup.cli.options import read_env_file
from statuslookup.cli.table.results import GREENAPI_FIELDS, SMSFIRE_FIELDS, Tally
from statuslookup.sandbox import Sandbox
from tests.support.commands import CREDENTIALS, rows, run, show
from tests.support.processes import environment, finish, needs_signals, needs_terminals, read_terminal, start

# --- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["get", "check"])
def test_exit_codes_say_why(url: str, command: str, sandbox: Sandbox) -> None:
    def code(provider: str, key: str, option: str, address: str, **changes: str | None) -> int:
        argument = key if command == "get" else "-"
        result = run(command, provider, argument, option, address, input=f"{key}\n", **changes)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.stderr
        return result.exit_code

    assert code("smsfire", "1", "--base-url", url) == 0
    assert code("smsfire", "99999", "--base-url", url) == 1
    assert code("smsfire", "1", "--base-url", url, SMSFIRE_TOKEN=None) == 2
    assert code("smsfire", "1", "--base-url", url, SMSFIRE_TOKEN="wrong") == 3
    assert code("green", "STORY1", "--api-url", url) == 0
    sandbox.instances[1101000001].quota = 0
    assert code("green", "STORY1", "--api-url", url) == 4
    sandbox.fault = lambda _: 404
    assert code("smsfire", "1", "--base-url", url) == 1


@pytest.mark.parametrize("command", ["get", "check"])
def test_a_provider_that_cannot_be_reached_is_5(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from statuslookup.cli import check as check_module

    monkeypatch.setattr(check_module, "_PATIENT", RetryPolicy(attempts=1))
    result = run(
        command, "smsfire", "1" if command == "get" else "-", "--base-url", "http://127.0.0.1:9", input="1\n"
    )
    assert result.exit_code == 5
    assert "no connection could be made" in result.stderr


@pytest.mark.parametrize("command", ["get", "check"])
def test_a_provider_that_always_fails_is_5(
    url: str, command: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from statuslookup.cli import check as check_module

    monkeypatch.setattr(check_module, "_PATIENT", RetryPolicy(attempts=1))
    sandbox.fault = lambda _: 503
    argument = "1" if command == "get" else "-"
    options = ("--rate", "off", "--timeout", "0.5")
    result = run(command, "smsfire", argument, "--base-url", url, *options, input="1\n")
    assert result.exit_code == 5
    assert "the server failed (status 503)" in result.stderr


def test_a_provider_that_fails_once_among_answers_is_1(url: str, sandbox: Sandbox) -> None:
    answered = iter([None])
    sandbox.instances[1101000001].fault = lambda _: next(answered, 503)
    options = ("--rate", "off", "--timeout", "0.5")
    result = run("get", "green", "STORY1", "STORY2", "--api-url", url, *options)
    assert result.exit_code == 1
    assert "the server failed (status 503)" in result.stderr


# --- credentials ----------------------------------------------------------------------------------


def test_an_env_file_has_the_credentials(url: str, tmp_path: Path) -> None:
    path = tmp_path / "green.env"
    path.write_text(
        "# account\nexport GREEN_API_ID_INSTANCE='1101000001'\n\nGREEN_API_TOKEN = \"sandbox\"\n"
        f"GREEN_API_URL={url}\n"
    )
    nothing: dict[str, str | None] = {"GREEN_API_ID_INSTANCE": None, "GREEN_API_TOKEN": "of another account"}
    result = run("get", "green", "STORY1", "--env-file", str(path), **nothing)
    assert result.exit_code == 0, result.stderr


def test_a_bad_env_file_is_told_by_its_line_and_not_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text("SMSFIRE_USER=me\nhunter2\n")
    result = run("get", "smsfire", "1", "--env-file", str(path))
    assert result.exit_code == 2
    assert "line 2 is not NAME=value" in result.stderr
    assert "hunter2" not in result.output
    path.write_bytes(b"SMSFIRE_TOKEN=\xff\n")
    assert "it is not UTF-8" in run("get", "smsfire", "1", "--env-file", str(path)).stderr


def test_quotes_of_an_env_file_are_taken_off_in_pairs(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text("A=\"b'\nC='d'\nE=\nF='\n")
    assert read_env_file(str(path)) == {"A": "\"b'", "C": "d", "E": "", "F": "'"}


def test_missing_credentials_are_named() -> None:
    result = run("get", "green", "X", GREEN_API_TOKEN=None)
    assert result.exit_code == 2
    assert "GREEN_API_TOKEN" in result.stderr


# --- get ------------------------------------------------------------------------------------------


def test_get_writes_json_lines_where_there_is_no_terminal(url: str) -> None:
    result = run("get", "smsfire", "3", "custom:c1", "9999", "3", "--base-url", url)
    assert [(row["id"], row["custom_id"], row["state"]) for row in rows(result.stdout)] == [
        (3, "c3", "READ"),
        (1, "c1", "SENT"),
        (9999, None, None),
    ]
    assert result.exit_code == 1


def test_get_of_a_story(url: str) -> None:
    result = run("get", "green", "STORY1", "--api-url", url)
    assert (result.exit_code, rows(result.stdout)[0]["recipients"]) == (0, 2)
    assert run("get", "green", "UNKNOWN", "--api-url", url).exit_code == 1


@pytest.mark.parametrize("key", ["c1", "-1x", "custom:", "custom:a b", "1" * 41, "1" * 5000, ""])
def test_a_bad_key_says_how_to_write_it(url: str, key: str) -> None:
    result = run("get", "smsfire", "--base-url", url, "--", key)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "KEY" in result.stderr


# --- Ctrl-C ---------------------------------------------------------------------------------------


@needs_signals
@pytest.mark.parametrize("command", ["get", "check"])
def test_ctrl_c_while_a_host_name_is_looked_up_says_so_and_the_next_one_ends_it(
    command: str, tmp_path: Path
) -> None:
    code = """
import socket, time

def hang(*arguments, **options):
    print("Asked.", file=sys.stderr, flush=True)
    time.sleep(60)

socket.getaddrinfo = hang
"""
    (tmp_path / "in").write_text("1\n")
    argument = "1" if command == "get" else str(tmp_path / "in")
    arguments = [command, "smsfire", argument, "--base-url", "https://provider.example"]
    process = start(*arguments, code=code, env=environment(**CREDENTIALS, NO_PROXY="*"))
    assert process.stderr is not None
    assert process.stderr.readline() == "Asked.\n"
    for _ in range(20):
        process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "Closing. Ctrl-C once more ends it at once.\n"
    process.send_signal(signal.SIGINT)
    assert finish(process, within=20) == (130, "", "Interrupted.\n")


# --- sandbox --------------------------------------------------------------------------------------


@needs_signals
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 # that is what is tested
def test_the_sandbox_says_where_it_is_and_answers(host: str) -> None:
    process = start("sandbox", "--messages", "10", "--no-limit", "--host", host)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    try:
        assert run("get", "smsfire", "1", "custom:campaign-000010", "--base-url", url).exit_code == 0
        assert run("get", "green", "STORY01", "--api-url", url).exit_code == 0
    finally:
        process.send_signal(signal.SIGINT)
    exit_code, output, errors = finish(process)
    assert (exit_code, output) == (130, "")
    assert f"statuslookup get smsfire 1 custom:campaign-000002 --base-url {url}" in errors
    assert errors.endswith("Interrupted.\n")


def test_only_commands_that_work_are_printed() -> None:
    assert "statuslookup get" in _how_to_use("http://[::1]:80", 1)
    elsewhere = _how_to_use("http://192.0.2.1:80", 1)
    assert "statuslookup get" not in elsewhere
    assert "https" in elsewhere


def test_a_port_that_is_taken_is_one_line(url: str) -> None:
    result = run("sandbox", "--port", url.rpartition(":")[2])
    assert result.exit_code == 1
    port = url.rpartition(":")[2]
    assert result.stderr.startswith(f"Error: 127.0.0.1, port {port}: ")
    assert result.stderr.endswith(" in use; choose another port with --port\n")


def test_a_host_that_is_none_is_one_line() -> None:
    result = run("sandbox", "--host", "192.0.2.1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: 192.0.2.1, port 0: ")
    assert "Errno" not in result.stderr
    assert result.stderr.endswith("choose another host with --host\n")


@pytest.mark.parametrize("module", ["starlette", "uvicorn"])
def test_the_sandbox_without_its_extra_says_what_to_install(module: str) -> None:
    exit_code, output, errors = finish(start("sandbox", code=f"sys.modules[{module!r}] = None"))
    assert (exit_code, output) == (2, "")
    assert errors.endswith('pip install "statuslookup[cli,sandbox]"\n')


# --- help and terminals ---------------------------------------------------------------------------


def test_the_version_is_the_packages() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"statuslookup, version {statuslookup.__version__}\n")


@pytest.mark.parametrize("command", ["check", "get", "sandbox"])
def test_help_has_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Examples:\n    statuslookup {command} " in result.output
    assert "\b" not in result.output


def test_help_and_readme_name_the_columns_that_the_answer_replaces() -> None:
    help_text = run("check", "--help").output.partition("Other columns")[2].partition("Examples")[0]
    readme = Path("README.md").read_text(encoding="utf-8").partition("Give your own columns")[2]
    for name in {*SMSFIRE_FIELDS.names, *GREENAPI_FIELDS.names, "error", "line"} - {
        "id",
        "custom_id",
        "id_message",
    }:
        assert re.search(rf"\b{name}\b", help_text), name
        assert f"`{name}`" in readme.partition("least far")[0], name


@needs_terminals
def test_get_shows_a_table_on_a_terminal(url: str) -> None:
    with show("get", "smsfire", "3", "custom:zzz", "--base-url", url) as (process, terminal):
        shown = read_terminal(terminal)
        assert process.wait(30) == 1
    assert "\x1b[32mREAD" in shown
    assert "unknown" in shown
    with show("get", "smsfire", "3", "--json", "--base-url", url) as (_, terminal):
        assert json.loads(read_terminal(terminal))["id"] == 3


@pytest.mark.parametrize("phone", ["[/x]", "[red]55", "\x1b]0;owned\x075\x1b[2J5", "5\n5\x9b2J\x7f", None])
def test_what_a_provider_says_is_shown_as_it_is_and_commands_no_terminal(phone: str | None) -> None:
    status = MessageStatus(id=1, phone=phone, status_name=phone)
    receipt = Receipt(participant=phone or "", status=phone)
    statistic = StatusStatistic(id_message="B", receipts=(receipt,))
    console = Console(file=io.StringIO(), width=200)
    console.print(table_of([("1", status), ("B", statistic), ("2", StatusLookupError(phone or ""))]))
    text = console.file.getvalue()  # type: ignore[attr-defined] # it is a StringIO
    assert text.count("".join(filter(str.isprintable, phone or ""))) >= 5
    assert all(character.isprintable() or character == "\n" for character in text)
    assert len(text.splitlines()) == 7


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize(
    ("arguments", "exit_code", "problem"),
    [
        (["get", "smsfire", "1"], 2, "stdout is closed"),
        (["check", "smsfire", "-"], 2, "stdout is closed; write to a file: -o FILE"),
        (
            ["check", "smsfire", "-", "-o", "/dev/full"],
            1,
            "Nothing was written to /dev/full. Repeat the command.",
        ),
    ],
)
def test_a_closed_stdout_is_one_line(url: str, arguments: list[str], exit_code: int, problem: str) -> None:
    command = [sys.executable, "-m", "statuslookup", *arguments, "--base-url", url]
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(
        shell, env=environment(**CREDENTIALS), input="1\n", stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert done.returncode == exit_code
    assert done.stderr.endswith(f"{problem}\n")
    assert "Traceback" not in done.stderr


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
    console = Console(file=io.StringIO(), width=80)
    console.print(table_of([(key, status)]))
    text = console.file.getvalue()  # type: ignore[attr-defined] # it is a StringIO
    lines = text.splitlines()
    width = lines[1].index("State")
    assert "".join(line[:width].strip() for line in lines[3:]) == key
    assert {"DELIVERED", phone} <= set(text.split())
    assert max(map(len, lines)) <= 80


@needs_terminals
def test_no_color_means_no_colours(url: str) -> None:
    arguments = ("get", "smsfire", "3", "--base-url", url)
    with show(*arguments, NO_COLOR="1") as (_, terminal):
        shown = read_terminal(terminal)
    assert "READ" in shown
    assert "\x1b[3" not in shown


@needs_terminals
def test_a_story_on_a_terminal_has_a_line_for_each_recipient(url: str) -> None:
    with show("get", "green", "STORY1", "--api-url", url) as (_, terminal):
        shown = read_terminal(terminal)
    assert shown.count("STORY1") == 2
    assert shown.count("@c.us") == 2


def test_a_summary_of_hours_fits_into_80_columns() -> None:
    tally = Tally()
    tally.states = dict.fromkeys(DeliveryState, 1_234_567)
    tally.before, tally.skipped = 5_000_000, 1_000_000
    console = Console(file=io.StringIO(), width=80)
    console.print(summary_of(tally, ClientStats(), name="GREEN-API", seconds=100_000))
    text = console.file.getvalue()  # type: ignore[attr-defined] # it is a StringIO
    assert "27 h 46 min" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.6, "1 min 0 s"), (3599.4, "59 min 59 s"), (3600, "1 h 0 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
