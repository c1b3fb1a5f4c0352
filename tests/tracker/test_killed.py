"""A tracker's process is killed again and again: no message is forgotten, and no end told differently."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import IO

import pytest

from tests.support.processes import environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

KEYS = 1_000


@contextmanager
def started(path: Path, *numbers: int) -> "Iterator[IO[str]]":
    """Run a process, and kill it at the end; yield its output."""
    command = [sys.executable, "-m", "tests.support.tracked_process", str(path), *map(str, numbers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), encoding="utf-8") as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()


def test_nothing_is_forgotten_when_the_process_is_killed(
    tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = 50 if pytestconfig.getoption("chaos") > 20_000 else 6
    random = Random(5)
    path = tmp_path / "messages.db"
    tracked: set[int] = set()
    told: dict[int, list[str]] = {}

    def take_in(output: str) -> None:
        for line in output.splitlines():
            match line.split():
                case ["tracked", key]:
                    tracked.add(int(key))
                case ["told", key, state]:
                    told.setdefault(int(key), []).append(state)

    survived = []
    for kill in range(kills + 1):
        first = max(tracked, default=-1) + 1
        count = KEYS // 2 if kill == 0 else KEYS // 2 // kills
        with started(path, first, count, kill) as output:
            # Its first words come when the store is loaded.
            opened = output.readline().split()
            assert opened[0] == "open"
            survived.append(int(opened[1]))
            # The first one tracks half of all before it is killed; the others are killed sooner or later.
            while kill == 0 and len(tracked) < count:
                take_in(output.readline())
            time.sleep(random.uniform(0.0, 0.15))
            os.kill(int(opened[2]), signal.SIGKILL)
            take_in(output.read())
    with started(path, max(tracked) + 1, 0, 0) as output:
        words = output.read()
    take_in(words)
    assert words.endswith("done\n")
    assert tracked <= told.keys()
    for key, states in told.items():
        assert set(states) == {"UNDELIVERED" if key % 5 == 0 else "DELIVERED"}
    again = sum(len(states) - 1 for states in told.values())
    with capsys.disabled():
        print(
            f"\n{kills + 1} kills, {len(tracked):,} messages tracked, {survived[1]:,} found after the first"
            f" kill: all told, {again} of them again"
        )
