"""A check that is killed again and again ends with the same file."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checks import sandbox_of
from tests.support.processes import environment

ROWS, KILLS = 4000, 6


@pytest.fixture
def served() -> Iterator[str]:
    sandbox = sandbox_of(ROWS, latency=0.06)
    with sandbox.serve() as url:
        yield url


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("name", "delimiter", "end", "encoding"),
    [
        ("out.jsonl", ",", "\n", "utf-8"),
        ("out.csv", ";", "\r\n", "utf-8-sig"),
        ("out.tsv", "|", "\r", "cp1252"),
    ],
)
@pytest.mark.long
def test_a_check_killed_at_random_moments_ends_with_the_same_file(
    served: str, tmp_path: Path, name: str, delimiter: str, end: str, encoding: str
) -> None:
    numbers, chance = list(range(1, ROWS + 1)), random.Random(7)
    chance.shuffle(numbers)
    source, path, expected = tmp_path / "in.csv", tmp_path / name, tmp_path / f"whole.{name}"
    rows = (f'{id}{delimiter}"=ã\n{id}"{end}' for id in numbers)
    source.write_bytes((f"id{delimiter}note{end}" + "".join(rows)).encode(encoding))
    variables = environment(SMSFIRE_TOKEN="sandbox")
    command = [sys.executable, "-m", "statuslookup", "check", "smsfire", str(source)]
    command += ["--base-url", served, "--rate", "off", *["--csv-safe"] * (name != "out.jsonl"), "-o"]
    subprocess.run([*command, str(expected)], env=variables, check=True, capture_output=True)
    size, kills = expected.stat().st_size, 0
    moments = sorted(chance.randrange(size) for _ in range(KILLS))
    for moment in moments:
        with subprocess.Popen(
            [*command, str(path), "--resume"], env=variables, stderr=subprocess.PIPE
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
    # Where this process got no turn for long, one or another was done before it could be killed.
    assert kills >= KILLS // 2
    done = subprocess.run([*command, str(path), "--resume"], env=variables, check=True, capture_output=True)
    assert path.read_bytes() == expected.read_bytes()
    assert b"4,000 rows" in done.stderr
