"""Measure the library and its peers, and write tables and plots: ``python -m benchmarks``."""

import argparse
import os
from pathlib import Path
from typing import Final

from .goals import goals_of
from .peers import BY_GET
from .plots import plots_of
from .runner import load, run_scenario, save, version_before
from .scenarios import SCENARIOS
from .tables import document, goals_table

RESULTS: Final = Path(__file__).parent / "results"
_QUICK_SIZE: Final = 1000


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the library and its peers on this machine, which should do nothing else.",
        epilog=f"The scenarios: {', '.join(SCENARIOS)}.",
    )
    parser.add_argument(
        "--only", nargs="+", choices=SCENARIOS, metavar="SCENARIO", help="not all; the others' results stay"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (default: 5)")
    parser.add_argument("--messages", type=int, default=100_000, help="of a scenario (default: 100000)")
    parser.add_argument("--before", default="", metavar="COMMIT", help="compare with this version, too")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="FOLDER", help="where they are written"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one small round, several runs at once: to see that all works"
    )
    chosen = parser.parse_args()
    if chosen.rounds < 1 or chosen.messages < _QUICK_SIZE:
        parser.error(f"at least 1 round and {_QUICK_SIZE} messages")
    return chosen


def main() -> None:
    chosen = options()
    size, rounds, at_once = chosen.messages, chosen.rounds, 1
    if chosen.quick:
        size, rounds, at_once = min(size, _QUICK_SIZE), 1, os.cpu_count() or 1
    chosen.results.mkdir(parents=True, exist_ok=True)
    figures = chosen.results / "figures.json"
    found = load(figures)
    with version_before(chosen.before) as before:
        for name in chosen.only or SCENARIOS:
            found[name] = run_scenario(
                SCENARIOS[name], size=size, rounds=rounds, before=before, at_once=at_once
            )
            save(figures, found)
    goals = goals_of(found)
    tables = document(SCENARIOS, found, goals)
    (chosen.results / "tables.md").write_text(tables, encoding="utf-8")
    for name, image in plots_of(found, BY_GET).items():
        (chosen.results / name).write_text(image, encoding="utf-8")
    print("\n".join(goals_table(goals)))


if __name__ == "__main__":
    main()
