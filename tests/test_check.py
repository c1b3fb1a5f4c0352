"""The check as an engine: order, bounds, resuming, and what ends it."""

import asyncio
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from statuslookup import (
    AuthenticationError,
    DeliveryState,
    LookupTimeoutError,
    MessageStatus,
    RetryPolicy,
    SMSFire,
    StatusClient,
    TransportError,
)
from statuslookup import _check as check_room
from statuslookup._check import Check
from statuslookup._files import FileSink, Resumed, StreamSink
from statuslookup._results import SMSFIRE_FIELDS, Csv, Encoding, JsonLines, Results, Tally
from statuslookup._rows import Input, InputError, Lines, smsfire_keys
from statuslookup.sandbox import Sandbox

from .virtual_time import LoopClock

STATES = (DeliveryState.READ, DeliveryState.SENT, DeliveryState.REJECTED)
Out = list[dict[str, Any]]


def sandbox_of(messages: int, latency: float = 0.05) -> Sandbox:
    sandbox = Sandbox(rate_limit=None, latency=latency)
    for id in range(1, messages + 1):
        sandbox.add_message(id, custom_id=f"c{id}", state=STATES[id % 3])
    return sandbox


def client_of(sandbox: Any, token: str = "sandbox", **options: Any) -> StatusClient[Any, MessageStatus]:
    provider = SMSFire(token, base_url="http://localhost", rate_limit=None)
    transport, retry = httpx.ASGITransport(sandbox), RetryPolicy(attempts=1)
    return StatusClient(provider, transport=transport, clock=LoopClock(), retry=retry, **options)


def source_of(content: str) -> Input[Any]:
    keys = smsfire_keys(SMSFire("t").check, custom_ids=False)
    return Input(Lines(io.BytesIO(content.encode()).read), keys)


def check_of(source: Input[Any], out: io.BytesIO, **options: Any) -> Check[Any, MessageStatus]:
    is_unordered = not options.get("ordered", True)
    results: Results[Any, MessageStatus] = Results(source.columns, SMSFIRE_FIELDS, with_line=is_unordered)
    encoding = JsonLines(results.names)
    return Check(source, results, encoding, StreamSink(out, encoding), **options)


def written(out: io.BytesIO) -> Out:
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def checked(content: str, sandbox: Sandbox, **options: Any) -> tuple[Out, Check[Any, MessageStatus]]:
    out = io.BytesIO()
    check = check_of(source_of(content), out, **options)
    async with client_of(sandbox) as client:
        await check.run(client)
    assert not check._waiting
    assert not check._in_order
    return written(out), check


def ids(count: int, first: int = 1) -> str:
    return "".join(f"{id}\n" for id in range(first, first + count))


# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_one_row_for_each_in_the_order_of_the_input() -> None:
    numbers = list(range(1, 1201))
    random.Random(1).shuffle(numbers)
    sandbox = sandbox_of(1000)
    found, check = await checked("".join(f"{id}\n" for id in numbers), sandbox)
    assert [row["id"] for row in found] == numbers
    assert all((row["state"] is None) == (row["id"] > 1000) for row in found)
    assert (check.tally.unknown, check.tally.rows, check.written) == (200, 1200, 1200)
    assert check.tally.states == {state: 333 + (state is STATES[1]) for state in STATES}


@pytest.mark.virtual_time
@pytest.mark.parametrize("may_block", [False, True])
async def test_bad_repeated_and_both_kinds_of_keys_have_their_own_rows(may_block: bool) -> None:
    content = "id,customId,n\n1,,a\nx,,b\n1,,c\n,c2,d\n1,,e\n,,f\n"
    found, check = await checked(content, sandbox_of(5), may_block=may_block)
    assert [(row["n"], row["id"], row["state"]) for row in found] == [
        ("a", 1, "SENT"),
        ("b", "x", None),
        ("c", 1, "SENT"),
        ("d", 2, "REJECTED"),
        ("e", 1, "SENT"),
        ("f", "", None),
    ]
    assert [row["error"] and row["error"][:6] for row in found] == [
        None,
        "line 3",
        None,
        None,
        None,
        "line 7",
    ]
    assert (check.tally.failed, check.bytes_done) == (2, len(content))


@pytest.mark.virtual_time
async def test_unordered_rows_say_which_they_are() -> None:
    found, _ = await checked("1\nbad key\n" + ids(400), sandbox_of(400), ordered=False)
    assert sorted(row["line"] for row in found) == list(range(1, 403))
    assert found[0]["line"] == 2
    assert all(row["id"] == row["line"] - 2 for row in found if row["line"] > 2)


@pytest.mark.virtual_time
async def test_only_open_copies_rows_that_are_final() -> None:
    sandbox = sandbox_of(10)
    content = "id,state,x\n1,READ,a\n2,sent,b\n3,,c\n4,whatever,d\n5,EXPIRED,e\n"
    found, check = await checked(content, sandbox, only_open=True)
    assert [row["state"] for row in found] == ["READ", "REJECTED", "READ", "SENT", "EXPIRED"]
    assert found[0] == dict.fromkeys(found[0]) | {"id": "1", "state": "READ", "x": "a"}
    assert sandbox.keys == 3
    assert (check.tally.skipped, check.tally.rows) == (2, 5)


@pytest.mark.virtual_time
async def test_a_row_that_fails_has_an_error_and_the_rest_goes_on() -> None:
    sandbox = sandbox_of(1000)
    sandbox.fault = {2: 500}.get
    found, check = await checked(ids(1000), sandbox)
    failed = [row for row in found if row["error"]]
    assert [row["id"] for row in found] == list(range(1, 1001))
    assert (len(failed), check.tally.failed) == (200, 200)
    assert all("status 500" in row["error"] for row in failed)


@pytest.mark.virtual_time
async def test_an_empty_input_asks_nothing() -> None:
    sandbox = sandbox_of(1)
    assert (await checked("", sandbox))[0] == []
    assert sandbox.requests == 0


# --- bounds ---------------------------------------------------------------------------------------


class Stuck:
    """A sandbox whose answer to one key comes late."""

    def __init__(self, sandbox: Sandbox, key: bytes, seconds: float) -> None:
        self.sandbox, self.key, self.seconds = sandbox, key, seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        messages = [await receive()]
        if self.key in messages[0]["body"]:
            await asyncio.sleep(self.seconds)

        async def again() -> Any:
            return messages.pop() if messages else await receive()

        await self.sandbox(scope, again, send)


@pytest.mark.virtual_time
async def test_a_late_answer_holds_back_no_more_than_a_bounded_number_of_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_room, "_MOST_IN_ORDER", 1000)
    most = 0

    class Watched(Check[Any, MessageStatus]):
        def _take(self, outcome: Any) -> None:
            nonlocal most
            most = max(most, len(self._in_order))
            super()._take(outcome)

    source, out = source_of(ids(20_000)), io.BytesIO()
    results: Results[Any, MessageStatus] = Results(source.columns, SMSFIRE_FIELDS)
    encoding = JsonLines(results.names)
    check = Watched(source, results, encoding, StreamSink(out, encoding))
    async with client_of(Stuck(sandbox_of(20_000), b'"300"', 20.0)) as client:
        await check.run(client)
    assert [row["id"] for row in written(out)] == list(range(1, 20_001))
    assert most == 1000


@pytest.mark.virtual_time
async def test_rows_are_written_as_soon_as_they_are_known() -> None:
    out = io.BytesIO()
    check = check_of(source_of(ids(2000)), out)
    async with client_of(Stuck(sandbox_of(2000), b'"1999"', 100.0)) as client:
        task = asyncio.ensure_future(check.run(client))
        await asyncio.sleep(50)
        assert 1000 <= len(written(out)) < 2000
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_rows_of_a_pipe_are_asked_for_as_they_come() -> None:
    reading, writing = os.pipe()
    keys = smsfire_keys(SMSFire("t").check, custom_ids=False)
    out = io.BytesIO()
    try:
        os.write(writing, b"1\n2\n")
        source = Input(Lines(lambda size: os.read(reading, size)), keys)
        check = check_of(source, out, may_block=True)
        async with client_of(sandbox_of(5, latency=0)) as client:
            task = asyncio.ensure_future(check.run(client))
            for count, more in ((2, b"3\n"), (3, b"")):
                for _ in range(500):
                    if len(written(out)) == count:
                        break
                    await asyncio.sleep(0.01)
                assert len(written(out)) == count
                os.write(writing, more)
            os.close(writing)
            await task
    finally:
        os.close(reading)
    assert [row["id"] for row in written(out)] == [1, 2, 3]


# --- what ends it ---------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_refused_credentials_end_it_and_what_is_done_is_written() -> None:
    sandbox, out = sandbox_of(10_000), io.BytesIO()
    sandbox.fault = lambda number: 401 if number > 3 else None
    check = check_of(source_of(ids(10_000)), out)
    async with client_of(sandbox) as client:
        with pytest.raises(AuthenticationError):
            await check.run(client)
    assert [row["id"] for row in written(out)] == list(range(1, check.written + 1))
    assert 0 < check.written <= 600
    assert not any(row["error"] for row in written(out))


@pytest.mark.virtual_time
async def test_a_provider_that_is_gone_ends_it() -> None:
    class Gone:
        async def __call__(self, *_: Any) -> None:
            raise OSError("gone")

    out = io.BytesIO()
    async with client_of(Gone()) as client:
        with pytest.raises(TransportError):
            await check_of(source_of(ids(10_000)), out).run(client)
    assert written(out) == []


@pytest.mark.virtual_time
async def test_a_late_answer_is_a_rows_error_once_there_was_one_in_time() -> None:
    out = io.BytesIO()
    async with client_of(Stuck(sandbox_of(400), b'"300"', 1000.0), timeout=5.0) as client:
        await check_of(source_of(ids(400)), out).run(client)
    errors = [row["error"] for row in written(out)]
    assert errors[:200] == [None] * 200
    assert all(error.startswith("no status within 5 s") for error in errors[200:])


@pytest.mark.virtual_time
async def test_a_provider_that_never_answers_in_time_ends_it() -> None:
    out = io.BytesIO()
    async with client_of(Stuck(sandbox_of(1), b"ids", 1000.0), timeout=5.0) as client:
        with pytest.raises(LookupTimeoutError):
            await check_of(source_of(ids(400)), out).run(client)
    assert written(out) == []


@pytest.mark.virtual_time
@pytest.mark.parametrize("content", [ids(5000), "id,state\n" + "1,READ\n" * 100_000], ids=["asked", "copied"])
async def test_a_full_disk_ends_it_soon(content: str) -> None:
    class Full(io.BytesIO):
        tries = 0

        def write(self, data: Any) -> int:
            self.tries += 1
            raise OSError(28, "No space left on device")

    sandbox, out = sandbox_of(5000), Full()
    check = check_of(source_of(content), out, only_open=True)
    async with client_of(sandbox) as client:
        with pytest.raises(OSError, match="No space"):
            await check.run(client)
    assert out.tries == 1
    assert sandbox.requests < 20
    assert check.tally.rows <= 1600


# --- resuming -------------------------------------------------------------------------------------


def run_to_file(
    content: str, path: Path, sandbox: Sandbox, *, csv: bool = False, resume: bool = True, **options: Any
) -> Check[Any, MessageStatus]:
    source = source_of(content)
    is_unordered = not options.get("ordered", True)
    results: Results[Any, MessageStatus] = Results(source.columns, SMSFIRE_FIELDS, with_line=is_unordered)
    encoding: Encoding = Csv(results.names) if csv else JsonLines(results.names)
    sink = FileSink(str(path), encoding, resume=resume)
    tally = Tally()
    try:
        resumed = sink.resume(tally, with_line=is_unordered) if resume else Resumed()
        check = Check(source, results, encoding, sink, resumed=resumed, tally=tally, **options)

        async def run() -> None:
            async with client_of(sandbox, linger=0) as client:
                await check.run(client)

        asyncio.run(run())
    finally:
        sink.close()
    return check


@pytest.mark.parametrize("csv", [False, True], ids=["jsonl", "csv"])
def test_a_file_that_was_cut_anywhere_is_resumed_to_the_same_bytes(tmp_path: Path, csv: bool) -> None:
    content = 'id,note\n1,"a\nb"\nx,"""q"""\n2,São\n3,\n3,again\n'
    sandbox, path = sandbox_of(3, latency=0), tmp_path / "out"
    whole = run_to_file(content, path, sandbox, csv=csv)
    expected = path.read_bytes()
    for size in range(len(expected) + 1):
        path.write_bytes(expected[:size])
        check = run_to_file(content, path, sandbox, csv=csv)
        assert path.read_bytes() == expected, size
        assert vars(check.tally) == vars(whole.tally) | {"before": check.tally.before}
    assert check.tally.before == check.written == 5


def test_an_unordered_file_is_resumed_by_its_lines(tmp_path: Path) -> None:
    content = "id\n3\nbad\n2\n1\n2\n"
    sandbox, path = sandbox_of(3, latency=0), tmp_path / "out"
    run_to_file(content, path, sandbox, ordered=False)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[3] + lines[1] + lines[0][:9])
    sandbox.reset_counts()
    run_to_file(content, path, sandbox, ordered=False)
    assert path.read_bytes().startswith(lines[3] + lines[1])
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(lines)
    assert sandbox.keys < 4


@pytest.mark.parametrize(
    ("there", "content", "problem"),
    [
        ("something else\n", "1\n", "row 1 of the file"),
        ('{"id": 5, "state": null, "error": null}\n', "1\n", "has another key than line 1"),
        ('{"id": 1, "state": null, "error": null}\n' * 2, "1\n", "more rows than this input"),
    ],
)
def test_a_file_that_is_not_this_checks_is_refused_and_left_alone(
    tmp_path: Path, there: str, content: str, problem: str
) -> None:
    path = tmp_path / "out"
    path.write_text(there)
    with pytest.raises(InputError, match=problem):
        run_to_file(content, path, sandbox_of(1))
    assert path.read_text() == there


def test_a_csv_file_with_other_columns_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("name,phone\nAnn,55\n")
    with pytest.raises(InputError, match="other columns"):
        run_to_file("1\n", path, sandbox_of(1), csv=True)
    assert path.read_text() == "name,phone\nAnn,55\n"


def test_what_was_there_stays_until_there_is_something_better(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("precious" * 1000)
    sandbox = sandbox_of(3)
    sandbox.fault = lambda _: 401
    with pytest.raises(AuthenticationError):
        run_to_file("1\n", path, sandbox, resume=False)
    assert path.read_text() == "precious" * 1000
    sandbox.fault = None
    run_to_file("1\n", path, sandbox, resume=False)
    assert json.loads(path.read_text())["id"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of a file's size")
def test_a_disk_that_fills_up_leaves_whole_rows(tmp_path: Path) -> None:
    program = """
import resource, sys
from statuslookup._files import FileSink
from statuslookup._results import JsonLines
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sink = FileSink(sys.argv[1], JsonLines([]), resume=False)
try:
    for _ in range(100):
        sink.write(b"x" * 149 + b"\\n" + b"x" * 149 + b"\\n")
except OSError as error:
    print(error.strerror)
"""
    path = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "File too large\n"
    assert path.read_bytes() == (b"x" * 149 + b"\n") * 6


# --- killed ---------------------------------------------------------------------------------------

ROWS, KILLS = 4000, 20


@pytest.fixture
def served() -> Iterator[str]:
    sandbox = sandbox_of(ROWS, latency=0.03)
    with sandbox.serve() as url:
        yield url


def environment() -> Mapping[str, str]:
    return os.environ | {"SMSFIRE_TOKEN": "sandbox"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_check_killed_at_random_moments_ends_with_the_same_file(
    served: str, tmp_path: Path, name: str
) -> None:
    numbers, chance = list(range(1, ROWS + 1)), random.Random(7)
    chance.shuffle(numbers)
    source, path, expected = tmp_path / "in.csv", tmp_path / name, tmp_path / f"whole.{name}"
    source.write_text("id,note\n" + "".join(f'{id},"note\n{id}"\n' for id in numbers), encoding="utf-8")
    command = [sys.executable, "-m", "statuslookup", "check", "smsfire", str(source)]
    command += ["--base-url", served, "--rate", "off", "-o"]
    subprocess.run([*command, str(expected)], env=environment(), check=True, capture_output=True)
    size, kills = expected.stat().st_size, 0
    moments = sorted(chance.randrange(size) for _ in range(KILLS))
    for moment in moments:
        with subprocess.Popen(
            [*command, str(path), "--resume"], env=environment(), stderr=subprocess.PIPE
        ) as process:
            # The moment is a size of the file, so that no machine is too fast or too slow for it.
            deadline = time.monotonic() + 30
            while process.poll() is None and time.monotonic() < deadline:
                if path.exists() and path.stat().st_size >= moment:
                    time.sleep(chance.random() * 0.005)
                    break
                time.sleep(0.0005)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        assert path.read_bytes() in (b"", expected.read_bytes()[: path.stat().st_size])
    assert kills >= KILLS - 3
    done = subprocess.run(
        [*command, str(path), "--resume"], env=environment(), check=True, capture_output=True
    )
    assert path.read_bytes() == expected.read_bytes()
    assert b"4,000 rows" in done.stderr
