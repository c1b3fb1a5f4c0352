"""Ctrl-C and SIGTERM, mostly while the demo runs."""

import asyncio
import contextlib
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from statuslookup.cli.interrupts import code_of, run_async
from statuslookup.cli.main import commands
from tests.support.commands import CREDENTIALS
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
import asyncio
from statuslookup import StatusClient
from statuslookup.cli import interrupts
from statuslookup.sandbox import Sandbox

respond, get, close = Sandbox._respond, StatusClient.get, StatusClient.aclose

def respond_and_interrupt(self, *arguments):
    if self.requests == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return respond(self, *arguments)

async def get_and_interrupt(self, key):
    try:
        return await get(self, key)
    except asyncio.CancelledError:
        os.kill(os.getpid(), signal.SIGINT)
        raise

async def close_and_say_so(self):
    await close(self)
    sys.stderr.write("Closed.\\n")

# To give all of them up may take a busy machine longer than the command waits before it says that it closes.
interrupts._MOMENT = 60
Sandbox._respond = respond_and_interrupt
StatusClient.get, StatusClient.aclose = get_and_interrupt, close_and_say_so
"""
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
    assert process.stderr.readline() == "Closing. One more Ctrl-C or SIGTERM ends it at once.\n"
    process.send_signal(signal.SIGINT)
    assert finish(process, within=20) == (130, "", "Interrupted.\n")


@needs_signals
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whose_reader_stalls_is_ended_by_the_second_signal(
    number: signal.Signals, expected: int, tmp_path: Path
) -> None:
    """The event loop waits for the reader of stdout, so it cancels nothing, and cannot say that it closes."""
    code = """
from statuslookup.cli import interrupts
from statuslookup.cli.table.sinks import StreamSink

interrupts._MOMENT = 0.2

def stall(self, data):
    print("Stalled.", file=sys.stderr, flush=True)
    os.read(os.pipe()[0], 1)

StreamSink.write = stall
"""
    # Not a key, so that its row is written without a lookup.
    (tmp_path / "in").write_text("1 2\n")
    arguments = ["check", "smsfire", str(tmp_path / "in"), "--input-format", "keys"]
    process = start(*arguments, code=code, env=environment(**CREDENTIALS))
    assert process.stderr is not None
    assert process.stderr.readline() == "Stalled.\n"
    process.send_signal(number)
    # One that comes right after it is part of the same wish.
    process.send_signal(number)
    # Far more than its moment: a busy machine may let it hear the first one late.
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(number)
    assert finish(process, within=20) == (expected, "", "Interrupted.\n")


@needs_signals
def test_both_signals_are_heard_again_after_a_run() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    result = CliRunner().invoke(commands, ["demo", "--messages", "1"])
    assert result.exit_code == 0, result.output
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


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


@needs_signals
def test_sigterm_is_told_from_ctrl_c() -> None:
    async def wait() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        await asyncio.Event().wait()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            run_async(wait)
        assert (code_of(caught.value), code_of(KeyboardInterrupt())) == (143, 130)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- a terminal -----------------------------------------------------------------------------------


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
