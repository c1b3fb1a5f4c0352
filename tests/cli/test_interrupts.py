"""The demo on a terminal, and when it is interrupted."""

import asyncio
import contextlib
import re
import signal
import subprocess

import pytest
from click.testing import CliRunner

from statuslookup.cli.main import commands, run_async
from tests.support.demos import STATES_OF_400, demo, states
from tests.support.processes import (
    environment,
    finish,
    needs_signals,
    needs_terminals,
    on_terminal,
    read_terminal,
    start,
)

# It would take fifty seconds, longer than any of these tests waits for its end.
LONG = ("demo", "--messages", "20000")


# --- Ctrl-C ---------------------------------------------------------------------------------------


@needs_signals
def test_an_interruption_at_the_beginning_is_one_line_and_130() -> None:
    process = start(*LONG)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Looking up 20,000 messages")
    for beginning in ("The sandbox", "Beside that", "The sandbox"):
        assert process.stderr.readline().startswith(beginning)
    process.send_signal(signal.SIGINT)
    assert finish(process, within=30) == (130, "", "Interrupted.\n")


@needs_signals
def test_an_interruption_before_the_event_loop_runs_is_one_line_and_130() -> None:
    code = """
import asyncio, threading

make = asyncio.events.new_event_loop

def interrupt_and_make():
    if threading.current_thread() is threading.main_thread():
        os.kill(os.getpid(), signal.SIGINT)
    return make()

asyncio.events.new_event_loop = interrupt_and_make
"""
    exit_code, output, errors = finish(start(*LONG, code=code), within=30)
    assert (exit_code, output) == (130, "")
    assert errors.splitlines()[4:] == ["Interrupted."]


@needs_signals
def test_an_interruption_in_the_middle_is_one_line_and_130_however_often_it_is_repeated() -> None:
    # The sandbox knows when that is; every lookup that is then given up interrupts once more. That the
    # client is closed all the same shows that nothing was torn apart.
    code = """
from statuslookup import StatusClient
from statuslookup._engine.lookup import SingleLookup
from statuslookup.sandbox import Sandbox

answer, withdraw, close = Sandbox._answer, SingleLookup.withdraw, StatusClient.aclose

def answer_and_interrupt(self, *arguments):
    if self.requests == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return answer(self, *arguments)

def withdraw_and_interrupt(self):
    os.kill(os.getpid(), signal.SIGINT)
    withdraw(self)

async def close_and_say_so(self):
    await close(self)
    sys.stderr.write("Closed.\\n")

Sandbox._answer, SingleLookup.withdraw = answer_and_interrupt, withdraw_and_interrupt
StatusClient.aclose = close_and_say_so
"""
    # Few enough to be given up before the command says that it takes long.
    exit_code, output, errors = finish(start("demo", "--messages", "2000", code=code), within=30)
    assert (exit_code, output) == (130, "")
    assert errors.splitlines()[4:] == ["Closed.", "Closed.", "Interrupted."]


@needs_signals
def test_an_interruption_while_it_says_so_changes_nothing() -> None:
    code = """
import click
from statuslookup.sandbox import Sandbox

echo = click.echo

def interrupt(*arguments, **options):
    os.kill(os.getpid(), signal.SIGINT)
    echo(*arguments, **options)

Sandbox.serve = click.echo = interrupt
"""
    assert finish(start("demo", code=code)) == (130, "", "Interrupted.\n")


@needs_signals
def test_ctrl_c_is_heard_again_after_a_run() -> None:
    before = signal.getsignal(signal.SIGINT)
    result = CliRunner().invoke(commands, ["demo", "--messages", "1"])
    assert result.exit_code == 0, result.output
    assert signal.getsignal(signal.SIGINT) is before


@needs_signals
@pytest.mark.parametrize("is_failing", [False, True])
def test_ctrl_c_is_heard_again_after_a_run_that_it_came_too_late_for(
    is_failing: bool,
) -> None:
    async def end_with_ctrl_c() -> str:
        # It runs after this task's last step.
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        if is_failing:
            raise LookupError
        return "result"

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(LookupError) if is_failing else contextlib.nullcontext():
            assert run_async(end_with_ctrl_c) == "result"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


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
def test_no_color_means_no_colours() -> None:
    with on_terminal("demo", "--messages", "100", env=environment(NO_COLOR="1")) as (process, terminal):
        shown = read_terminal(terminal)
        assert process.wait(30) == 0, shown
    assert "100 of 100" in shown
    assert not re.search(r"\x1b\[[0-9;]*\b(3[0-8]|4[0-8]|9[0-7])\b[0-9;]*m", shown)


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
    assert len(errors.splitlines()) == 4
    assert " of 100" not in errors


@needs_terminals
def test_an_interruption_gives_the_terminal_its_cursor_back() -> None:
    with on_terminal(*LONG) as (process, terminal):
        shown = read_terminal(terminal, until="00 of 20,000")
        process.send_signal(signal.SIGINT)
        shown += read_terminal(terminal)
        assert process.wait(30) == 130, shown
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert shown.endswith("Interrupted.\r\n")
