"""The command ``sandbox``."""

import signal

import pytest

from statuslookup.cli.providers import ENTRIES
from statuslookup.cli.sandbox import _how_to_use
from statuslookup.sandbox import Sandbox
from tests.support.commands import run
from tests.support.processes import finish, needs_signals, start


@needs_signals
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 # that is what is tested
def test_the_sandbox_says_where_it_is_and_answers(host: str) -> None:
    process = start("sandbox", "--messages", "10", "--no-limit", "--host", host)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    try:
        assert run("get", "smsfire", "1", "custom:campaign-000010", "--base-url", url).exit_code == 0
        assert run("get", "greenapi", "STORY01", "--api-url", url).exit_code == 0
    finally:
        process.send_signal(signal.SIGINT)
    exit_code, output, errors = finish(process)
    assert (exit_code, output) == (130, "")
    for entry in ENTRIES:
        commands = "".join(f"  {command}\n" for command in entry.trial).format(url=url, messages=10)
        assert f"\n\n{commands}\n" in errors
    assert f"GREEN_API_URL={url}\n  statuslookup get greenapi STORY01\n" in errors
    assert errors.endswith("\nInterrupted.\n")


@pytest.mark.parametrize("has_limit", [True, False])
def test_it_has_messages_of_every_state_and_stories(has_limit: bool) -> None:
    sandbox = Sandbox()
    for entry in ENTRIES:
        entry.invent(sandbox, 10, has_limit)
    assert len(sandbox.messages) == 10
    assert len({message.state for message in sandbox.messages.values()}) == 7
    (instance,) = sandbox.instances.values()
    assert (len(instance.statistics), instance.rate_limit is not None) == (10, has_limit)


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
