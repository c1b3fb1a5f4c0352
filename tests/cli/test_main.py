"""How every command ends: its exit code, and one line that says why."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import statuslookup
from statuslookup import RetryPolicy
from statuslookup.cli import check as check_module
from statuslookup.cli.providers import ENTRIES
from statuslookup.sandbox import Sandbox
from tests.support.commands import CREDENTIALS, run
from tests.support.processes import environment, finish, start


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
    assert code("greenapi", "STORY1", "--api-url", url) == 0
    sandbox.instances[1101000001].quota = 0
    assert code("greenapi", "STORY1", "--api-url", url) == 4
    sandbox.fault = lambda _: 404
    assert code("smsfire", "1", "--base-url", url) == 1


@pytest.mark.parametrize("command", ["get", "check"])
def test_a_provider_that_cannot_be_reached_or_always_fails_is_5(
    url: str, command: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_module, "_PATIENT", RetryPolicy(attempts=1))
    sandbox.fault = lambda _: 503
    argument = "1" if command == "get" else "-"
    for address, problem in (
        ("http://127.0.0.1:9", "no connection could be made"),
        (url, "the server failed (status 503)"),
    ):
        options = ("--base-url", address, "--rate", "off", "--timeout", "0.5")
        result = run(command, "smsfire", argument, *options, input="1\n")
        assert result.exit_code == 5
        assert problem in result.stderr


def test_a_provider_that_fails_once_among_answers_is_1(url: str, sandbox: Sandbox) -> None:
    answered = iter([None])
    sandbox.instances[1101000001].fault = lambda _: next(answered, 503)
    options = ("--rate", "off", "--timeout", "0.5")
    result = run("get", "greenapi", "STORY1", "STORY2", "--api-url", url, *options)
    assert result.exit_code == 1
    assert "the server failed (status 503)" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize(
    ("arguments", "closed", "exit_code", "problem"),
    [
        (["get", "smsfire", "1"], ">&-", 2, "stdout is closed"),
        (["check", "smsfire", "-"], ">&-", 2, "stdout is closed; write to a file: -o FILE"),
        (["check", "smsfire", "-"], "<&-", 2, "stdin is closed"),
        (["watch", "smsfire", "-"], ">&-", 2, "stdout is closed"),
        (["watch", "smsfire", "-"], "<&-", 2, "stdin is closed"),
        (["watch", "smsfire", "-"], ">/dev/full", 1, "A watch with a file (--store FILE) can go on."),
        (["check", "smsfire", "-", "-o", "/dev/full"], ">&-", 1, "written to /dev/full. Repeat the command."),
    ],
)
def test_a_closed_stream_is_one_line(
    url: str, arguments: list[str], closed: str, exit_code: int, problem: str
) -> None:
    command = [sys.executable, "-m", "statuslookup", *arguments, "--base-url", url]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    done = subprocess.run(
        shell, env=environment(**CREDENTIALS), input="1\n", stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert done.returncode == exit_code
    assert done.stderr.endswith(f"{problem}\n")
    assert "Traceback" not in done.stderr


# --- extras ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "argument", "extras"),
    [
        ("click", "demo", "cli,sandbox"),
        ("rich", "--help", "cli"),
        ("starlette", "demo", "cli,sandbox"),
        ("uvicorn", "sandbox", "cli,sandbox"),
    ],
)
def test_without_an_extra_one_line_says_what_to_install(module: str, argument: str, extras: str) -> None:
    exit_code, output, errors = finish(start(argument, code=f"sys.modules[{module!r}] = None"))
    assert (exit_code, output) == (2, "")
    assert errors.count("\n") == 1
    assert errors.endswith(f'pip install "statuslookup[{extras}]"\n')


@pytest.mark.parametrize("module", ["statuslookup.cli.main", "statuslookup.sandbox"])
def test_a_broken_part_of_our_own_is_not_taken_for_a_missing_extra(module: str) -> None:
    exit_code, _, errors = finish(start("demo", code=f"sys.modules[{module!r}] = None"))
    assert exit_code == 1
    assert f"import of {module} halted" in errors


# --- help -----------------------------------------------------------------------------------------


def test_the_version_is_the_packages() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"statuslookup, version {statuslookup.__version__}\n")


def test_what_each_command_does_fits_into_its_line() -> None:
    listed = run("--help").output.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == ["check", "demo", "fleet", "get", "sandbox", "watch"]
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("command", ["check", "get", "sandbox"])
def test_help_has_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Examples:\n    statuslookup {command} " in result.output
    assert "\b" not in result.output


@pytest.mark.parametrize("command", ["check", "get"])
def test_help_names_every_provider_by_its_word(command: str) -> None:
    text = " ".join(run(command, "--help").output.split())
    assert f"{{{'|'.join(map(str, ENTRIES))}}}" in text
    for entry in ENTRIES:
        assert entry.variables in text
        assert f" {entry.url_option} URL " in text
    assert not re.search(r"\bgreen\b[^.]", text)


def test_help_and_documents_name_the_columns_that_the_answer_replaces() -> None:
    help_text = run("check", "--help").output.partition("Other columns")[2].partition("Examples")[0]
    pages = [Path("README.md"), *Path("docs").glob("*.md")]
    documents = "".join(page.read_text(encoding="utf-8") for page in pages)
    for entry in ENTRIES:
        for name in {*entry.columns.names, "error", "line"} - {*entry.keys.columns}:
            assert re.search(rf"\b{name}\b", help_text), name
            assert f"`{name}`" in documents, name
