"""The benchmarks, in small: every scenario runs, what is not true is noticed, and what is shown is whole."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from benchmarks.at_limit import at_once, optimum, simulate
from benchmarks.goals import goals_of
from benchmarks.ours import by_floor, by_statuslookup
from benchmarks.peers import BY_GET, PACKAGES, WAYS, Get
from benchmarks.runner import load
from benchmarks.scenario import Contender, Target, is_installed
from benchmarks.scenarios import SCENARIOS
from benchmarks.server import COUNTINGS, LATENCY, ROOT, Answers, serving
from benchmarks.without_limit import custom_ids, distinct, five_at_once, from_coroutines
from statuslookup import RateLimit
from statuslookup.sandbox import Counting
from statuslookup.sandbox._counting import WINDOWS

SOME = ("from-memory", "pending")
"""Quick ones that differ much; .ci/run has all of them run in small."""


def test_a_run_in_small_measures_and_shows_what_it_was_asked_for(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", *SOME, "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = load(tmp_path / "figures.json")
    assert list(found) == list(SOME)
    tables = (tmp_path / "tables.md").read_text(encoding="utf-8")
    for name in SOME:
        scenario = SCENARIOS[name]
        measured = {
            name for name, each in scenario.contenders.items() if is_installed(each) and not each.is_before
        }
        assert set(found[name].runs) == measured
        assert f"<!-- {name} -->" in tables
    assert goals_of(found)


@pytest.mark.parametrize("name", ["statuslookup", "floor", *WAYS])
def test_everyone_answers_every_key(name: str) -> None:
    if not is_installed(Contender(lambda _: {}, PACKAGES.get(name, ""))):
        pytest.skip("a peer that is not installed is left out of the benchmarks, too")
    way = {"statuslookup": by_statuslookup, "floor": by_floor, **WAYS}[name]

    async def ask(url: str) -> None:
        async with way(Target(url=url)) as get:
            for asked in (distinct, five_at_once, custom_ids)[: 2 if name == "floor" else 3]:
                await from_coroutines(get, *asked(500 if name != BY_GET else 50))

    with serving() as url:
        asyncio.run(ask(url))


@asynccontextmanager
async def _always_the_first(_: Target) -> AsyncIterator[Get]:
    async with by_statuslookup(_) as get:
        yield lambda _: get(1)


def test_a_wrong_answer_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="asked for 2, and got"):
        simulate(_always_the_first, "spacing", at_once(2), seed=1)


@pytest.mark.parametrize("counting", COUNTINGS)
def test_the_server_counts_as_the_sandbox_does(counting: Counting) -> None:
    chance, answers, window = Random(5), Answers(counting), WINDOWS[counting]()
    now, admitted = 0.0, 0
    for _ in range(1000):
        now += chance.choice((0.0, 0.1, 0.5, chance.random()))
        status, _ = answers.respond(now, "/whatsapp/status/1", b"")
        assert (status == 200) == window.admit(now, RateLimit(2, per=1.0), count_rejected=False)
        admitted += status == 200
    assert admitted > 100
    assert answers.rejections == 1000 - admitted > 100


def test_the_optimum_sends_an_interval_apart_what_has_come() -> None:
    taken, requests = optimum([0.0] * 401)
    assert taken == pytest.approx([LATENCY] * 200 + [0.5 + LATENCY] * 200 + [1 + LATENCY])
    assert requests == 3
    taken, requests = optimum([0.0, 0.1, 0.4, 3.0])
    assert taken == pytest.approx([LATENCY, 0.4 + LATENCY, 0.1 + LATENCY, LATENCY])
    assert requests == 3
