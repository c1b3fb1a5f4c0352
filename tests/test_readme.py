"""The README's programs run as they are, against the sandbox where they would go to a provider."""

import subprocess
import sys

import pytest

from .readme import README, blocks, section

# Recipes run with their frameworks in tests of their own.
PROGRAMS = blocks(README.replace(section("Recipes"), ""), "python")

# The programs talk to the real provider. Here its address is the sandbox's, and so is the token.
PREAMBLE = """
import httpx, statuslookup
from statuslookup.sandbox import Sandbox
_sandbox = Sandbox(token="...")
for _id in range(1, 100):
    _sandbox.add_message(_id, custom_id=f"firezap{_id:04}")
_instance = _sandbox.add_instance(1101000001, "...")
_instance.add_statistic("BAE57C4EEC000000", statuslookup.DeliveryState.READ)
_own = statuslookup.StatusClient
def _client(provider, **options):
    options.setdefault("transport", httpx.ASGITransport(_sandbox))
    return _own(provider, **options)
statuslookup.StatusClient = _client
"""


@pytest.mark.parametrize("program", PROGRAMS, ids=[f"program{n}" for n in range(len(PROGRAMS))])
def test_a_program_runs(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PREAMBLE + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("heading", ["Try it", "Run the tests"])
def test_a_command_is_one_line(heading: str) -> None:
    (command,) = blocks(section(heading), "sh")
    assert command.count("\n") == 1
