"""``python -m statuslookup`` in a process of its own, with a terminal and without."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

needs_terminals = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent SIGINT")


# A shell may start the tests with SIGINT ignored, and the demo would inherit that.
PRELUDE = "import os, runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
RUN = "runpy.run_module('statuslookup', run_name='__main__', alter_sys=True)"


def environment(**changes: str) -> dict[str, str]:
    """Return an environment in which nothing but ``changes`` says how output looks."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "STATUSLOOKUP_FLEET", "TERM")
        and not name.startswith(("PYTHON", "TTY_"))
    }
    return kept | {"PYTHONPATH": os.getcwd(), "PYTHONIOENCODING": "utf-8", "TERM": "xterm-256color"} | changes


def start(*arguments: str, code: str = "", **options: Any) -> "subprocess.Popen[str]":
    """Start ``python -m statuslookup`` in a process that runs ``code`` first."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = {"env": environment(), "encoding": "utf-8"} | streams | options
    command = [sys.executable, "-W", "error", "-c", f"{PRELUDE}\n{code}\n{RUN}", *arguments]
    return subprocess.Popen(command, **options)


def finish(process: "subprocess.Popen[str]", *, within: float = 60) -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr."""
    with process:
        try:
            output, errors = process.communicate(timeout=within)
        finally:
            process.kill()
    return process.returncode, output, errors


def read_terminal(terminal: int, until: str = "", *, encoding: str = "utf-8") -> str:
    """Return what a terminal shows up to a text, or up to its end."""
    shown = b""
    while not until or until.encode() not in shown:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            # Linux says EIO where others say that it is the end.
            break
        if not chunk:
            break
        shown += chunk
    return shown.decode(encoding)


@contextlib.contextmanager
def on_terminal(*arguments: str, columns: int = 80, **options: Any) -> Iterator[Any]:
    """Start it with every stream that ``options`` does not name on a terminal of so many columns."""
    import pty
    import termios

    terminal, its_end = pty.openpty()
    try:
        termios.tcsetwinsize(its_end, (24, columns))
        streams = {"stdin": its_end, "stdout": its_end, "stderr": its_end}
        with start(*arguments, **streams | options) as process:
            os.close(its_end)
            try:
                yield process, terminal
            finally:
                process.kill()
    finally:
        os.close(terminal)
