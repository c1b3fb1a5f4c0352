"""A check that was ended, cut or killed: what is in its file, and how it goes on."""

import asyncio
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

import pytest

from statuslookup import AuthenticationError, MessageStatus
from statuslookup.cli.table.check import Check
from statuslookup.cli.table.files import FileSink, Resumed
from statuslookup.cli.table.results import SMSFIRE_FIELDS, Csv, Encoding, JsonLines, Results, Tally
from statuslookup.cli.table.rows import InputError
from statuslookup.sandbox import Sandbox
from tests.support.checks import client_of, sandbox_of, source_of

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
        ("something else\n", "1\n", "its row 1 is not one of this check"),
        ("something else", "1\n", "its end is no row"),
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


@pytest.mark.parametrize("there", ["name,phone\nAnn,55\n", "name,phone", 'na"me\nAnn\n'])
def test_a_csv_file_with_other_columns_is_refused_and_left_alone(tmp_path: Path, there: str) -> None:
    path = tmp_path / "out"
    path.write_text(there)
    with pytest.raises(InputError, match="other columns"):
        run_to_file("1\n", path, sandbox_of(1), csv=True)
    assert path.read_text() == there


@pytest.mark.parametrize("place", range(30))
def test_a_quote_too_many_is_refused_and_the_file_left_alone(tmp_path: Path, place: int) -> None:
    content, path = "id,note\n1,a\n2,b\n3,c\n", tmp_path / "out"
    sandbox = sandbox_of(3, latency=0)
    run_to_file(content, path, sandbox, csv=True)
    whole = path.read_bytes()
    second = whole.index(b"\n2,b") + 1
    damaged = whole[: second + place] + b'"' + whole[second + place :]
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="its row 2 "):
        run_to_file(content, path, sandbox, csv=True)
    assert path.read_bytes() == damaged


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
from statuslookup.cli.table.files import FileSink
from statuslookup.cli.table.results import JsonLines
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
