"""Runs scenarios: a fresh process for each run, the contenders interleaved within a round."""

import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import attrs

from . import server
from .scenario import Figures, Job, Runs, Scenario, is_installed

_MOST_SECONDS: Final = 900


@attrs.frozen(kw_only=True)
class Found:
    """What the runs of one scenario measured, and under which conditions."""

    size: int
    rounds: int
    python: str
    runs: Runs


@contextmanager
def version_before(commit: str) -> Iterator[str]:
    """Yield a folder with the library as it was at a commit; nothing for no commit."""
    if not commit:
        yield ""
        return
    command = ["git", "archive", commit, "statuslookup"]
    archive = subprocess.run(command, cwd=server.ROOT, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 # a commit of the clone
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        yield folder


def run_once(scenario: Scenario, contender: str, job: Job, before: str) -> Figures:
    """Measure one contender in a process of its own, against a server in one of its own."""
    if not scenario.has_server:
        return _run_process(scenario, contender, job, before)
    with server.serving() as url:
        figures = _run_process(scenario, contender, attrs.evolve(job, url=url), before)
        return figures | server.counts(url)


def _run_process(scenario: Scenario, contender: str, job: Job, before: str) -> Figures:
    folder = before if scenario.contenders[contender].is_before else ""
    command = [sys.executable, "-m", "benchmarks.one_run", folder, scenario.name, contender]
    done = subprocess.run(  # noqa: S603 # a file of this folder
        [*command, json.dumps(attrs.asdict(job))],
        cwd=server.ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=_MOST_SECONDS,
    )
    figures: Figures = json.loads(done.stdout)
    return figures


def run_scenario(scenario: Scenario, *, size: int, rounds: int, before: str, at_once: int = 1) -> Found:
    """Measure all contenders that are installed, round by round, each round from another one on.

    Up to ``at_once`` runs are under way; where nothing is timed, as many as there are processors.
    """
    names = [
        name
        for name, contender in scenario.contenders.items()
        if is_installed(contender) and (before or not contender.is_before)
    ]
    rounds = min(rounds, scenario.most_rounds)
    runs: dict[str, list[Figures]] = {name: [{}] * rounds for name in names}

    def run(place: tuple[int, str]) -> None:
        number, name = place
        job = Job(size=size, round=number)
        runs[name][number] = run_once(scenario, name, job, before)
        print(f"{scenario.name}, round {number + 1} of {rounds}: {name}", file=sys.stderr)

    places = [
        (number, names[(place + number) % len(names)])
        for number in range(rounds)
        for place in range(len(names))
    ]
    with ThreadPoolExecutor(at_once if scenario.is_timed else os.cpu_count()) as pool:
        # All of them, so that an error is raised here.
        list(pool.map(run, places))
    return Found(size=size, rounds=rounds, python=platform.python_version(), runs=runs)


def load(path: Path) -> dict[str, Found]:
    """Return what was measured before, by the names of the scenarios."""
    if not path.exists():
        return {}
    known: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {name: Found(**found) for name, found in known.items()}


def _rounded(_: object, __: object, value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def save(path: Path, found: Mapping[str, Found]) -> None:
    plain = {name: attrs.asdict(each, value_serializer=_rounded) for name, each in found.items()}
    path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
