"""``sandbox --webhooks``: messages that live, and what is posted of them."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from random import Random

import pytest

from statuslookup import DeliveryState
from statuslookup.cli import sandbox as sandbox_command
from statuslookup.cli.providers import ENTRIES
from statuslookup.cli.sandbox import _how_to_use, _live
from statuslookup.sandbox import Campaign, Mishaps, Sandbox
from tests.support.commands import run
from tests.support.pages import DOCS, fences_of
from tests.support.processes import environment, finish, needs_signals, start
from tests.support.redis_servers import free_port

SECRET = "only-for-trying-it-out"
NOWHERE = f"http://127.0.0.1:9/{SECRET}"


@pytest.fixture
def silent() -> Iterator[str]:
    """Where webhooks are taken, and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{SECRET}"


@contextlib.contextmanager
def pasted(lines: str) -> Iterator["subprocess.Popen[str]"]:
    """Run lines as a shell does into which they are pasted, and end them with all that they started."""
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-e", "-c", f"trap : TERM; {lines}"],
        env=environment(PATH=path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        finish(process)


def end(process: "subprocess.Popen[str]") -> str:
    """End all that lines have started as a service manager does, and return what that says on stderr."""
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    return errors


def first_trial(process: "subprocess.Popen[str]") -> str:
    """Return the first commands that the sandbox prints, the line that leads to it and the next one."""
    assert process.stderr is not None
    while process.stderr.readline() != "\n":
        pass
    return process.stderr.readline() + process.stderr.readline()


# --- two shells -----------------------------------------------------------------------------------


@needs_signals
def test_two_pasted_lines_show_a_tracker_that_hears_webhooks() -> None:
    """The first one as it stands on the page, but for the port, and for more messages in a shorter time."""
    (line,) = [
        fence.text
        for fence in fences_of(DOCS / "webhooks.md")
        if fence.text.startswith("statuslookup sandbox")
    ]
    line = line.replace(":8080/", f":{free_port()}/")
    with pasted(f"{line.rstrip()} --messages 3000 --no-limit") as sandbox:
        commands = first_trial(sandbox)
        assert "| STATUSLOOKUP_WEBHOOK_SECRET=" in commands
        with pasted(commands) as watch:
            assert watch.stdout is not None
            ends = 0
            while ends < 150:
                change = watch.stdout.readline()
                assert change, "the watch has ended"
                ends += json.loads(change)["is_over"]
            errors = end(watch)
        said = end(sandbox)
    (by_webhook,) = re.findall(r"Ends by webhook +(\d+)", errors)
    assert int(by_webhook) > 20, errors
    (posted, taken, lost, doubled) = re.findall(
        r"^Webhooks: (\S+) posted, (\S+) of them taken; (\S+) lost on the way, (\S+) doubled\.$", said, re.M
    )[0]
    assert int(posted) >= int(taken) >= int(by_webhook)
    assert int(lost) > int(doubled) > 0
    assert said.endswith("\nInterrupted.\n")


# --- how it lives, and ends -----------------------------------------------------------------------


@needs_signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("has_webhooks", [True, False])
def test_a_signal_ends_it_and_it_says_what_it_posted(
    has_webhooks: bool, number: signal.Signals, code: int, silent: str
) -> None:
    arguments = ["--webhooks", silent, "--speed", "1000"] * has_webhooks
    process = start("sandbox", "--messages", "3000", *arguments)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    first_trial(process)
    # Nobody answers what is posted; what was sent can be looked up.
    for _ in range(20):
        if run("get", "smsfire", "2", "--base-url", url).exit_code == 0:
            break
    else:
        raise AssertionError("no message was sent")
    process.send_signal(number)
    exit_code, output, errors = finish(process, within=30)
    assert (exit_code, output) == (code, "")
    assert errors.endswith("Interrupted.\n")
    assert "Traceback" not in errors
    said = re.findall(r"^Webhooks: .*$", errors, re.M)
    if has_webhooks:
        assert len(said) == 1
        assert " posted, 0 of them taken; " in said[0]
    else:
        assert said == []


@pytest.mark.virtual_time
@pytest.mark.parametrize(("messages", "seconds"), [(10, 54.0), (1_000, 59.94), (6_000, 119.98)])
async def test_messages_are_sent_for_a_minute_or_as_long_as_it_takes(messages: int, seconds: float) -> None:
    sandbox = Sandbox()
    campaign = Campaign(sandbox, webhooks=Mishaps(lose=1.0), random=Random(7))
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    living = asyncio.create_task(_live(campaign, messages, NOWHERE, 10))
    await asyncio.sleep(seconds - 0.01)
    assert len(sandbox.messages) == messages - 1
    await asyncio.sleep(0.02)
    assert list(sandbox.messages) == list(range(1, messages + 1))
    assert loop.time() - started_at == pytest.approx(seconds + 0.01)
    assert campaign.now == pytest.approx(10 * (seconds + 0.01), rel=1e-3)
    assert sandbox.messages[2].custom_id == "campaign-000002"
    # In the campaign's time, that is the last message's first minute.
    await asyncio.sleep(6)
    over = [message for message in sandbox.messages.values() if message.state is DeliveryState.DELIVERED]
    assert len(over) > messages // 4
    assert not living.done()
    living.cancel()
    with pytest.raises(asyncio.CancelledError):
        await living


@pytest.mark.parametrize(("arguments", "expected"), [((), 10), (("--speed", "3"), 3)])
def test_they_live_ten_times_as_fast_or_as_it_is_said(
    arguments: tuple[str, ...], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived: list[tuple[int, str | None, int]] = []

    async def live(_: Campaign, messages: int, webhooks: str | None, speed: int) -> None:
        lived.append((messages, webhooks, speed))

    monkeypatch.setattr(sandbox_command, "_live", live)
    assert run("sandbox", "--webhooks", NOWHERE, "--messages", "5", *arguments).exit_code == 0
    assert lived == [(5, NOWHERE, expected)]


# --- what is refused, and what is printed ---------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://127.0.0.1:8080/a", "this machine only: http://127.0.0.1:<port>/<path>, no user, no https"),
        ("http://example.com/a", "this machine only: http://127.0.0.1:<port>/<path>, no user, no https"),
        ("127.0.0.1:8080", "this machine only: http://127.0.0.1:<port>/<path>, no user, no https"),
        ("http://127.0.0.1:99999/a", "this machine only: http://127.0.0.1:<port>/<path>, no user, no https"),
        ("http://[::1/a", "this machine only: http://127.0.0.1:<port>/<path>, no user, no https"),
        ("http://127.0.0.1:8080/a b", "the URL must hold only characters that a URL may have"),
    ],
)
def test_a_url_that_is_elsewhere_is_refused_before_anything_is_served(url: str, said: str) -> None:
    result = run("sandbox", "--webhooks", url)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = re.findall(r"^Error: Invalid value for '--webhooks': (.*)\n\Z", result.stderr, re.M)
    assert line.endswith(said)


def test_speed_alone_is_refused() -> None:
    result = run("sandbox", "--speed", "2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith("Error: --speed is for messages that live: add --webhooks URL\n")


@pytest.mark.parametrize(
    ("webhooks", "command"),
    [
        (f"http://127.0.0.1:8090/{SECRET}", f"{SECRET} statuslookup watch smsfire - --listen 127.0.0.1:8090"),
        (f"http://[::1]:8090/{SECRET}", f"{SECRET} statuslookup watch smsfire - --listen '[::1]:8090'"),
        (
            f"http://{{a}}.localhost:1/{SECRET}",
            f"{SECRET} statuslookup watch smsfire - --listen '{{a}}.localhost:1'",
        ),
        (f"http://localhost/{SECRET}", f"{SECRET} statuslookup watch smsfire - --listen localhost:80"),
    ],
)
def test_the_watch_that_fits_is_printed(webhooks: str, command: str) -> None:
    text = _how_to_use("http://127.0.0.1:8080", 12, webhooks)
    assert f"\n  seq 12 | STATUSLOOKUP_WEBHOOK_SECRET={command}\n" in text


@pytest.mark.parametrize("path", ["", "/", "/hooks", f"/hooks/{SECRET}", f"/{SECRET}?a=1", f"/{SECRET}#a"])
def test_no_watch_is_printed_for_what_none_can_receive(path: str) -> None:
    text = _how_to_use("http://127.0.0.1:8080", 12, f"http://127.0.0.1:8090{path}")
    assert "statuslookup watch" not in text
    assert "statuslookup check" in text
    assert "watch" not in _how_to_use("http://127.0.0.1:8080", 12)


def test_webhooks_are_those_of_one_provider() -> None:
    """A receiver reads those of one; the other one's messages stay as they are invented."""
    assert [entry.word for entry in ENTRIES if entry.send is not None] == ["smsfire"]
