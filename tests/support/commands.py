"""The commands with credentials of the sandbox: in this process, in one of their own, on a terminal."""

import json
import subprocess
from contextlib import AbstractContextManager
from typing import Any

from click.testing import CliRunner, Result

from statuslookup.cli.main import commands
from tests.support.processes import environment, on_terminal, start

CREDENTIALS = {
    "SMSFIRE_TOKEN": "sandbox",
    "GREEN_API_ID_INSTANCE": "1101000001",
    "GREEN_API_TOKEN": "sandbox",
}


_UNSET = dict.fromkeys(("GREEN_API_URL", "SMSFIRE_USER", "STATUSLOOKUP_FLEET"))


def run(*arguments: str, input: str | bytes | None = None, **changes: str | None) -> Result:
    env: dict[str, str | None] = {**CREDENTIALS, **_UNSET, **changes}
    return CliRunner().invoke(commands, arguments, input=input, env=env)


def run_check(url: str, *arguments: str, input: str | None = None) -> Result:
    """Check a file or, as ``-``, what comes through stdin, at SMSFire without a limit."""
    return run("check", "smsfire", *arguments, "--base-url", url, "--rate", "off", input=input)


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def ids(count: int) -> str:
    return "".join(f"{id}\n" for id in range(1, count + 1))


def check(*arguments: str, url: str, rate: str = "off", **options: Any) -> "subprocess.Popen[str]":
    env = environment(**CREDENTIALS)
    return start("check", "smsfire", *arguments, "--base-url", url, "--rate", rate, env=env, **options)


def show(*arguments: str, stdin: int = subprocess.DEVNULL, **changes: str) -> AbstractContextManager[Any]:
    """Start a command on a terminal that is wide enough for a whole row."""
    return on_terminal(*arguments, columns=100, stdin=stdin, env=environment(**CREDENTIALS, **changes))
