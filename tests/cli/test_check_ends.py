"""What ends a check early, and what does not: answers that are none, pauses, a second check."""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import HTMLResponse, JSONResponse, Response

from statuslookup.sandbox import Sandbox
from tests.support.checks import sandbox_of
from tests.support.commands import CREDENTIALS, check, ids, rows, run, run_check
from tests.support.processes import environment, finish, needs_signals, start


class Altered(Sandbox):
    """A sandbox whose response to a request, by its number from 1, may be another one."""

    response_to: Callable[[int], Response | None] = staticmethod(lambda _: None)
    received = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.received += 1
            if (response := self.response_to(self.received)) is not None:
                return await response(scope, receive, send)
        return await super().__call__(scope, receive, send)


@contextmanager
def altered(messages: int, response_to: Callable[[int], Response | None]) -> Iterator[tuple[Altered, str]]:
    sandbox = Altered(rate_limit=None)
    sandbox.response_to = response_to
    sandbox.add_instance(rate_limit=None)
    for id in range(1, messages + 1):
        sandbox.add_message(id)
    with sandbox.serve() as url:
        yield sandbox, url


# --- how to go on ---------------------------------------------------------------------------------


def test_what_ends_a_check_says_how_to_go_on(url: str, tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.fault = lambda number: 401 if number > 2 else None
    out = tmp_path / "out.jsonl"
    (tmp_path / "in").write_text(ids(3000))
    arguments = (str(tmp_path / "in"), "-o", str(out))
    result = run_check(url, *arguments)
    assert result.exit_code == 3
    done = len(rows(out.read_text()))
    assert result.stderr.endswith(f"{out} has {done} rows. To go on, repeat the command with --resume.\n")
    sandbox.fault = None
    assert run_check(url, *arguments, "--resume").exit_code == 0
    assert [row["id"] for row in rows(out.read_text())] == list(range(1, 3001))


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_check_that_wrote_nothing_is_not_to_be_resumed(
    url: str, tmp_path: Path, sandbox: Sandbox, resume: list[str]
) -> None:
    sandbox.fault = lambda _: 401
    out = tmp_path / "out.csv"
    arguments = ("-", "-o", str(out))
    if not resume:
        out.write_text("the result of yesterday\n")
    result = run_check(url, *arguments, *resume, input=ids(3))
    assert result.exit_code == 3
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 2
    assert result.stderr.endswith(f"Nothing was written to {out}. Repeat the command.\n")
    assert out.read_text() == ("" if resume else "the result of yesterday\n")


@pytest.mark.parametrize(
    ("there", "input", "problem"),
    [
        ("", "7\n8\n", "its row 2 has another key than line 2 of the input"),
        ("", "1\n", "more rows than this input"),
        ("my notes\n", "1\n2\n", "its row 3 is not one of this check"),
    ],
)
def test_a_file_that_cannot_be_resumed_is_named_and_not_to_be_resumed(
    url: str, tmp_path: Path, there: str, input: str, problem: str
) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ("-", "-o", str(out))
    assert run_check(url, *arguments, input=ids(2)).exit_code == 0
    with out.open("a") as file:
        file.write(there)
    result = run_check(url, *arguments, "--resume", input=input)
    assert result.exit_code == 2
    assert f"Error: {out} cannot be resumed: " in result.stderr
    assert result.stderr.endswith(f"{problem}; choose another file with -o\n")
    assert "repeat" not in result.stderr.lower()


# --- 429 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "get"])
@pytest.mark.parametrize("retry_after", [None, 30.0])
def test_a_provider_that_only_answers_429_is_5_and_said(command: str, retry_after: float | None) -> None:
    sandbox = Sandbox(rate_limit=None, retry_after=retry_after)
    sandbox.fault = lambda _: 429
    arguments = ["-"] if command == "check" else [str(id) for id in range(1, 301)]
    with sandbox.serve() as url:
        options = ("--base-url", url, "--timeout", "3")
        result = run(command, "smsfire", *arguments, *options, input=ids(300))
    assert result.exit_code == 5
    assert "429" in result.stderr.splitlines()[0]
    if command == "check":
        assert result.stdout == ""
    # Each error of its own says so, also of keys that were never sent.
    errors = [row["error"] for row in rows(result.stdout)]
    assert all("429" in error for error in errors)
    if retry_after is not None:
        said = [error for error in (*errors, result.stderr) if "no status within" in error]
        assert all("waiting for the rate limit, 0.00 s in flight" in error for error in said)
        assert not any(" 3.00 s queued" in error for error in said)


# --- quotas ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "get", "get --json"])
def test_a_quota_that_is_used_up_is_said_with_its_counts_and_the_providers_words(command: str) -> None:
    quota = {
        "method": "getstatusstatistic",
        "used": 1003,
        "total": 1000,
        "status": "QUOTE_EXCEEDED",
        "description": "\x1b[2J only these chats",
    }
    name, *more = command.split()
    with altered(0, lambda _: JSONResponse({"invokeStatus": quota}, status_code=466)) as (_, url):
        argument = "-" if name == "check" else "STORY1"
        result = run(name, "greenapi", argument, "--api-url", url, *more, input="STORY1\n")
    assert result.exit_code == 4
    assert not set("\n\x1b") & set(result.stderr.splitlines()[0])
    for text in [result.stderr, *(row["error"] for row in rows(result.stdout))]:
        assert re.search("GREEN-API: the plan's quota is used up .*1003 of 1000.* only these", text), text


# --- a firewall -----------------------------------------------------------------------------------


def test_a_firewall_that_steps_in_once_does_not_end_a_check(tmp_path: Path) -> None:
    page, out = HTMLResponse("<h1>Forbidden</h1>", status_code=403), tmp_path / "out.jsonl"
    with altered(1000, {2: page}.get) as (sandbox, url):
        result = run_check(url, "-", "-o", str(out), input=ids(1000))
    assert result.exit_code == 0, result.stderr
    assert [row["state"] for row in rows(out.read_text())] == ["DELIVERED"] * 1000
    assert sandbox.received == 6


# --- no answers -----------------------------------------------------------------------------------

ANSWERLESS: dict[str, Callable[[], Response]] = {
    "400": lambda: JSONResponse({}, status_code=400),
    "404": lambda: JSONResponse({}, status_code=404),
    "302": lambda: Response(status_code=302, headers={"Location": "/login"}),
    "login page": lambda: HTMLResponse("<form>"),
}


@pytest.mark.parametrize("kind", ANSWERLESS)
@pytest.mark.parametrize(("answered", "written", "most"), [(0, 0, 60), (3, 600, 500)])
def test_three_batches_without_one_answer_end_a_check_that_can_be_resumed(
    tmp_path: Path, kind: str, answered: int, written: int, most: int
) -> None:
    out = tmp_path / "out.jsonl"
    (tmp_path / "in").write_text(ids(6000))
    arguments = (str(tmp_path / "in"), "-o", str(out))
    with altered(6000, lambda number: None if number <= answered else ANSWERLESS[kind]()) as (sandbox, url):
        result = run_check(url, *arguments)
        assert result.exit_code == 5
        assert "No answer came for 600 keys in a row." in result.stderr
        assert len(rows(out.read_text())) == written
        # Refused batches are divided, and without a limit many were under way.
        assert sandbox.received < most
        sandbox.response_to = lambda _: None
        assert run_check(url, *arguments, *(["--resume"] if written else [])).exit_code == 0
    assert [(row["id"], row["error"]) for row in rows(out.read_text())] == [
        (id, None) for id in range(1, 6001)
    ]


@pytest.mark.parametrize("kind", ["400", "302", "login page"])
def test_ten_stories_without_one_answer_end_a_check(kind: str) -> None:
    with altered(0, lambda number: None if number <= 3 else ANSWERLESS[kind]()) as (sandbox, url):
        options = ("--api-url", url, "--rate", "off")
        result = run("check", "greenapi", "-", *options, input="".join(f"S{n}\n" for n in range(100)))
    assert result.exit_code == 5
    assert "No answer came for 10 keys in a row." in result.stderr
    # Up to four are under way, and which come first is open: what was asked before an answer is known.
    written = rows(result.stdout)
    assert sum(row["error"] is None for row in written) == 3
    assert len(written) <= 3 + 3
    assert sandbox.received < 30


def test_fewer_without_an_answer_are_rows_that_failed(url: str, sandbox: Sandbox) -> None:
    sandbox.fault = lambda _: 404
    result = run_check(url, "-", input=ids(599))
    assert result.exit_code == 1
    assert all("status 404" in row["error"] for row in rows(result.stdout))
    assert len(rows(result.stdout)) == 599


@needs_signals
def test_failures_in_a_row_are_counted_where_keys_come_one_by_one() -> None:
    with altered(0, lambda _: JSONResponse({}, status_code=400)) as (_, url):
        command = ("check", "greenapi", "-", "--api-url", url, "--rate", "off")
        process = start(*command, stdin=subprocess.PIPE, env=environment(**CREDENTIALS))
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(9):
            process.stdin.write(f"S{number}\n")
            process.stdin.flush()
            # Whoever feeds it sees each row before the next key.
            assert "status 400" in process.stdout.readline()
        process.stdin.write("S9\n")
        process.stdin.flush()
        exit_code, output, errors = finish(process, within=30)
    assert (exit_code, output) == (5, "")
    assert "No answer came for 10 keys in a row." in errors


# --- time in which the process does not run ------------------------------------------------------


@needs_signals
@pytest.mark.long
def test_a_check_that_is_stopped_for_longer_than_its_timeout_loses_no_row(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    (tmp_path / "in").write_text(ids(1600))
    sandbox = sandbox_of(1600, latency=0.2)
    with sandbox.serve() as url:
        process = check(str(tmp_path / "in"), "-o", str(out), "--timeout", "2", url=url, rate="4")
        until(lambda: sandbox.requests >= 3)
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        process.send_signal(signal.SIGCONT)
        exit_code, _, errors = finish(process)
    assert exit_code == 0, errors
    assert [row["error"] for row in rows(out.read_text())] == [None] * 1600


# --- two checks -----------------------------------------------------------------------------------


@needs_signals
@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["anew", "resumed"])
def test_an_output_that_another_check_writes_to_is_refused(tmp_path: Path, resume: list[str]) -> None:
    out = tmp_path / "out.jsonl"
    (tmp_path / "in").write_text(ids(2000))
    (tmp_path / "link").symlink_to(out)
    sandbox = sandbox_of(2000, latency=0.1)
    with sandbox.serve() as url:
        first = check(str(tmp_path / "in"), "-o", str(out), url=url, rate="4")
        until(lambda: out.exists() and out.stat().st_size > 0)
        for name in (out, tmp_path / "link"):
            result = run_check(url, "-", "-o", str(name), *resume, input=ids(3))
            assert result.exit_code == 2
            assert f"Error: {name}: another check writes to it; choose another file" in result.stderr
        exit_code, _, errors = finish(first)
        assert exit_code == 0, errors
        assert [row["id"] for row in rows(out.read_text())] == list(range(1, 2001))
        # It ended, so its lock did.
        assert run_check(url, "-", "-o", str(out), input=ids(3)).exit_code == 0


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
