"""What the commands show on a terminal, of whatever kind, when a text is hostile or merely foreign."""

import os
from pathlib import Path

import pytest

from statuslookup import MessageStatus
from statuslookup.sandbox import Sandbox
from tests.support.commands import CREDENTIALS, run, run_check, show
from tests.support.processes import environment, needs_terminals, on_terminal, read_terminal

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202e\u2028a"
ESCAPED = r"\u001b]0;owned\u0007\u001b[2J\u009b31m\u007f\u202e\u2028a"


@pytest.fixture
def hostile(sandbox: Sandbox) -> str:
    """Return the id of a message whose texts would command a terminal."""
    sandbox.add(MessageStatus(id=7001, status_code=2, status_name=HOSTILE, phone=HOSTILE))
    return "7001"


@needs_terminals
@pytest.mark.parametrize(
    "arguments",
    [["get", "smsfire", "ID"], ["get", "smsfire", "ID", "--json"], ["watch", "smsfire", "FILE", "--json"]]
    + [["check", "smsfire", "FILE", *more] for more in ([], ["--format", "csv"], ["-o", "/dev/stdout"])],
    ids=" ".join,
)
def test_what_would_command_a_terminal_is_escaped_there(
    url: str, tmp_path: Path, hostile: str, arguments: list[str]
) -> None:
    (tmp_path / "in.csv").write_text(f"id,mine\n{hostile},{HOSTILE}\n", encoding="utf-8")
    given = {"ID": hostile, "FILE": str(tmp_path / "in.csv")}
    arguments = [given.get(argument, argument) for argument in arguments]
    options = ("--base-url", url, "--rate", "off")
    with on_terminal(*arguments, *options, columns=500, env=environment(**CREDENTIALS)) as (_, terminal):
        shown = read_terminal(terminal)
    assert ESCAPED in shown, shown
    assert not set("\x9b\x7f\u202e\u2028") & set(shown)
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown


@pytest.mark.parametrize("arguments", [["get", "smsfire", "7001"], ["check", "smsfire", "-"]], ids=" ".join)
def test_elsewhere_it_is_as_it_came(url: str, hostile: str, arguments: list[str]) -> None:
    result = run(*arguments, "--base-url", url, "--rate", "off", input=f"{hostile}\n")
    assert "\x9b31m\x7f\u202e\u2028a" in result.stdout


@pytest.mark.skipif(os.name == "nt", reason="a file's name has no control characters there")
@pytest.mark.parametrize("option", ["input", "output", "env"])
def test_a_files_name_commands_no_terminal(url: str, tmp_path: Path, option: str) -> None:
    name = str(tmp_path / "\x1b[2Jx\u202e")
    arguments = {
        "input": [name],
        "output": ["-", "-o", f"{name}/y"],
        "env": ["-", "--env-file", name],
    }
    result = run_check(url, *arguments[option], input="1\n")
    assert result.exit_code == 2
    assert r"x\u202e" in result.stderr
    assert "\x1b" not in result.stderr


@needs_terminals
@pytest.mark.parametrize("arguments", [["get"], ["get", "--json"], ["check"]], ids=" ".join)
def test_a_terminal_that_is_not_utf8_shows_a_question_mark(
    url: str, tmp_path: Path, sandbox: Sandbox, arguments: list[str]
) -> None:
    sandbox.add(MessageStatus(id=7002, status_code=2, status_name="Não entregue → “fila” ✓"))
    (tmp_path / "in").write_text("7002\n")
    key = "7002" if "get" in arguments else str(tmp_path / "in")
    command = (arguments[0], "smsfire", key, *arguments[1:], "--base-url", url, "--rate", "off")
    with show(*command, PYTHONIOENCODING="cp1252", COLUMNS="300") as (process, terminal):
        shown = read_terminal(terminal, encoding="cp1252")
        assert process.wait(30) == 0, shown
    assert "Não entregue ? “fila” ?" in shown
    assert "Traceback" not in shown
