"""What messages cost, and the simulation of the benchmarks, in small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from benchmarks.tracker import A_DAY, LOADS, TRACKER, plot, simulate, tables
from benchmarks.tracker_costs import ROOT


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")
def test_100_000_open_messages_fit_into_a_small_process() -> None:
    # The goal for the whole process; `python -m benchmarks.tracker --ledger` measures the rest.
    command = [sys.executable, "-m", "benchmarks.tracker_costs", "open"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    ((_, _, figure),) = json.loads(done.stdout)
    assert int(figure.split()[0]) <= 120


def test_the_simulation_in_small() -> None:
    a_day = {case.name: simulate(evolve(case, messages=150)) for case in A_DAY}
    loads = {case.name: simulate(evolve(case, messages=150)) for case in LOADS}
    for name, run in (a_day | loads).items():
        assert (run.messages, run.wrong) == (150, 0), name
    ours = a_day[TRACKER]
    assert ours.requests < a_day["the same, without filling"].requests
    assert ours.know(0.9) <= 25
    page = "\n".join(tables(a_day, loads, [("memory", "400 B", "254 B")]))
    assert all(f"| {name} |" in page for name in a_day | loads)
    image = plot(a_day)
    assert image.count("<circle") == 2 * len(a_day)
    assert "prefers-color-scheme: dark" in image
