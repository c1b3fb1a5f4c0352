"""Commands share a fleet with bots: how they are told, what goes wrong, and what ``fleet`` shows."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from statuslookup import SMSFire, StatusClient
from statuslookup.cli.main import commands
from statuslookup.fleet import RedisFleet
from statuslookup.sandbox import Sandbox
from tests.support.commands import CREDENTIALS, ids, rows, run
from tests.support.processes import environment, finish, needs_terminals, on_terminal, read_terminal, start
from tests.support.redis_servers import RedisServer

PASSWORD = "hunter2hunter2"
NOBODY = f"redis://lookups:{PASSWORD}@127.0.0.1:1/0"


def with_password(server: RedisServer) -> str:
    """Return the URL of a user that is none there."""
    return server.url.replace("//", f"//lookups:{PASSWORD}@")


def look(server: RedisServer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("fleet", server.url).stdout)
    return found


@pytest.fixture
def strict() -> "Iterator[tuple[Sandbox, str]]":
    """SMSFire as it is: 2 requests a second, by strict spacing."""
    sandbox = Sandbox(latency=0.05, counting="spacing")
    for id in range(1, 3001):
        sandbox.add_message(id)
    with sandbox.serve() as url:
        yield sandbox, url


# --- check and get --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["option", "environment", "file"])
def test_get_and_check_join_the_fleet(server: RedisServer, url: str, way: str, tmp_path: Path) -> None:
    arguments, changes = ["--base-url", url], {}
    if way == "option":
        arguments += ["--fleet", server.url]
    elif way == "environment":
        changes["STATUSLOOKUP_FLEET"] = server.url
    else:
        file = tmp_path / ".env"
        file.write_text(f"STATUSLOOKUP_FLEET={server.url}\n")
        arguments += ["--env-file", str(file)]
        changes["STATUSLOOKUP_FLEET"] = NOBODY  # the file counts before it
    got = run("get", "smsfire", "3", *arguments, **changes)
    assert (got.exit_code, rows(got.stdout)[0]["state"]) == (0, "READ")
    assert len(look(server)["budgets"]) == 1
    checked = run("check", "smsfire", "-", *arguments, input=ids(500), **changes)
    assert (checked.exit_code, len(rows(checked.stdout))) == (0, 500)
    (budget,) = look(server)["budgets"]
    assert budget["processes"] == []


def test_the_name_parts_fleets(server: RedisServer, url: str) -> None:
    for name in ("default", "office"):
        run("get", "smsfire", "3", "--base-url", url, "--fleet", server.url, "--fleet-name", name)
    assert len(look(server)["budgets"]) == 2
    result = run("get", "smsfire", "3", "--base-url", url, "--fleet", server.url, "--fleet-name", "")
    assert (result.exit_code, "name must be" in result.stderr) == (2, True)


def test_off_means_alone(url: str) -> None:
    result = run("get", "smsfire", "3", "--base-url", url, "--fleet", "off", STATUSLOOKUP_FLEET=NOBODY)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.long
def test_two_checks_share_one_limit(server: RedisServer, strict: "tuple[Sandbox, str]") -> None:
    """Each alone would send at the full rate, and both together be rejected."""
    sandbox, url = strict
    env = environment(**CREDENTIALS, STATUSLOOKUP_FLEET=server.url)
    command = ("check", "smsfire", "-", "--base-url", url)
    processes = [start(*command, stdin=subprocess.PIPE, env=env) for _ in range(2)]
    for number, process in enumerate(processes):
        assert process.stdin is not None
        process.stdin.write("".join(f"{id}\n" for id in range(1 + number * 600, 601 + number * 600)))
        process.stdin.close()
        process.stdin = None
    for process in processes:
        code, output, errors = finish(process)
        assert (code, len(rows(output))) == (0, 600), errors
    assert sandbox.rejections == 0
    assert sandbox.keys == 1200
    # Six full ones would do. A process's keys may come in between a batch's full turn.
    assert sandbox.requests <= 10


def test_a_redis_that_is_away_sends_nothing_and_says_so(strict: "tuple[Sandbox, str]") -> None:
    sandbox, url = strict
    # Long enough to be refused a connection on a busy machine, for that is what is then said.
    arguments = ("--base-url", url, "--timeout", "1.5")
    got = run("get", "smsfire", "3", *arguments, STATUSLOOKUP_FLEET=NOBODY)
    checked = run("check", "smsfire", "-", *arguments, input=ids(20), STATUSLOOKUP_FLEET=NOBODY)
    for result in (got, checked):
        assert (result.exit_code, "Redis at 127.0.0.1:1/0 cannot be reached" in result.stderr) == (5, True)
        assert PASSWORD not in result.output
    assert sandbox.requests == 0


def test_a_redis_that_refuses_ends_everything_at_once(
    server: RedisServer, strict: "tuple[Sandbox, str]"
) -> None:
    sandbox, url = strict
    began_at = time.monotonic()
    arguments = ("--base-url", url, "--fleet", with_password(server))
    for command, argument in (("get", "3"), ("check", "-")):
        result = run(command, "smsfire", argument, *arguments, input=ids(20))
        assert (result.exit_code, "refused the user or the password" in result.stderr) == (3, True)
        assert PASSWORD not in result.output
    assert time.monotonic() - began_at < 30
    assert sandbox.requests == 0


@pytest.mark.parametrize(
    "url", ["nonsense", f"http://lookups:{PASSWORD}@host", f"redis://u:{PASSWORD}/x@h:6"]
)
def test_what_is_no_url_is_a_usage_error(url: str) -> None:
    for arguments in (("get", "smsfire", "3", "--fleet", url), ("fleet", url)):
        result = run(*arguments)
        assert (result.exit_code, "the URL of Redis is" in result.stderr) == (2, True)
        assert PASSWORD not in result.output


def test_the_command_that_asks_again_shows_no_password(
    server: RedisServer, url: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    table = tmp_path / "keys.csv"
    table.write_text("id\n1\n2\n")
    base = ("check", "smsfire", str(table), "--base-url", url, "-o", str(tmp_path / "out.csv"))
    from starlette.responses import PlainTextResponse

    sandbox.fault = lambda number: PlainTextResponse("no", 400)
    shown = run(*base, "--fleet", server.url, "--fleet-name", "office").stderr
    assert f"--fleet {server.url} --fleet-name office" in shown
    hidden = run(*base, "--fleet", f"{server.url}?client_name={PASSWORD}").stderr
    assert "(with the same --fleet): statuslookup check" in hidden
    assert PASSWORD not in hidden


def test_without_the_extra_it_says_what_to_install(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("statuslookup.fleet")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    for arguments in (("get", "smsfire", "3", "--base-url", url), ("fleet",)):
        result = run(*arguments, STATUSLOOKUP_FLEET="redis://127.0.0.1:6379")
        assert result.exit_code == 2
        assert 'pip install "statuslookup[fleet]"' in result.stderr


def test_help_says_where_a_password_belongs() -> None:
    for command in ("get", "check", "fleet"):
        text = " ".join(run(command, "--help").stdout.split())
        assert "STATUSLOOKUP_FLEET" in text
        assert "a URL with a password" in text
    assert set(commands.commands) >= {"get", "check", "fleet"}


# --- fleet ----------------------------------------------------------------------------------------


def test_fleet_needs_to_know_where() -> None:
    for value in ("", None):
        result = run("fleet", STATUSLOOKUP_FLEET=value)
        assert (result.exit_code, "STATUSLOOKUP_FLEET" in result.stderr) == (2, True)


def test_fleet_says_what_is_wrong_with_redis(server: RedisServer) -> None:
    for url, code in ((NOBODY, 5), (with_password(server), 3)):
        result = run("fleet", STATUSLOOKUP_FLEET=url)
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.startswith("Error: Redis at 127.0.0.1:")
        assert PASSWORD not in result.stderr


async def test_fleet_shows_a_client_that_works(server: RedisServer, strict: "tuple[Sandbox, str]") -> None:
    fleet = RedisFleet(server.url)
    async with StatusClient(SMSFire("sandbox", base_url=strict[1]), fleet=fleet) as client:
        lookups = asyncio.ensure_future(client.get_many(range(1, 1001)))
        seen: list[Any] = []
        # Between two requests nothing may be announced for a moment.
        while not seen and not lookups.done():
            shown = await asyncio.to_thread(look, server)
            seen = [(budget, account) for budget in shown["budgets"] for account in budget["accounts"]]
        assert len(await lookups) == 1000
    ((budget, account),) = seen
    (process,) = budget["processes"]
    assert 0 < process["lease_seconds"] <= 2
    assert account["bulk"] + account["taken"] > 0
    assert set(shown) == {"where", "is_whole", "budgets"}


@needs_terminals
def test_fleet_is_a_table_on_a_terminal_until_ctrl_c(server: RedisServer, url: str) -> None:
    with on_terminal("fleet", server.url) as (process, terminal):
        assert "No fleet has been here" in read_terminal(terminal, "No fleet has been here in the last day.")
        run("get", "smsfire", "3", "--base-url", url, "--fleet", server.url)
        shown = read_terminal(terminal, "nothing waits")
        process.send_signal(2)
        shown += read_terminal(terminal)
        assert process.wait(30) == 0
    assert "free" in shown
    assert "Traceback" not in shown


@needs_terminals
def test_a_redis_that_went_away_meanwhile_is_said_and_asked_again(new_server: Any) -> None:
    server = new_server()
    server.start()
    with on_terminal("fleet", server.url) as (process, terminal):
        read_terminal(terminal, "No fleet")
        server.stop()
        read_terminal(terminal, "cannot be reached")
        server.start()
        read_terminal(terminal, "No fleet")
        process.send_signal(2)
        read_terminal(terminal)
        assert process.wait(30) == 0


def test_fleet_draws_every_row() -> None:
    """Two accounts of a budget, somebody with the slot, a rate that is halved, a Redis full of others."""
    from rich.console import Console

    from statuslookup.cli.fleet import picture_of
    from statuslookup.fleet.look import Account, Budget, Look, Sender

    accounts = [Account("aaaaaaaaaaaa", 1, 2000, 200), Account("bbbbbbbbbbbb", 0, 0, 0)]
    budget = Budget("cccccccccccc", {1: 1.0, 2**40: 2.0}, [Sender(2**40, 0.25)], 0.5, 2, accounts)
    console = Console(width=80, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(picture_of(Look("host:6379/0", [budget], is_whole=False)))
    shown = capture.get()
    for words in ("1099511627776, 0.2 s, 1/4", "aaaaaaaa", "bbbbbbbb", "2,000", "not all"):
        assert words in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
