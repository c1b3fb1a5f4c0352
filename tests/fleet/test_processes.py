"""Real processes at a strict server: as good as one, and nobody is harmed by one that is killed or stopped."""

import time
from collections.abc import Iterator

import pytest

from benchmarks.fleet_member import Findings, Orders
from benchmarks.fleet_processes import Processes
from benchmarks.fleet_soak import KEYS, LIMIT, Soak, soak
from statuslookup.sandbox import Sandbox
from statuslookup.sandbox._counting import Counting
from tests.support.fleets import FAR, quantile
from tests.support.redis_servers import RedisServer

# Longer with --chaos: each 20,000 are ten seconds.
SECONDS_A_CHAOS = 10 / 20_000


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    chaos: int = request.config.getoption("chaos")
    return max(5.0, chaos * SECONDS_A_CHAOS)


@pytest.fixture
def server(one_shared_server: RedisServer, redis_url: str) -> RedisServer:
    return one_shared_server


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Iterator[tuple[Sandbox, str]]:
    counting: Counting = getattr(request, "param", "spacing")
    sandbox = Sandbox(rate_limit=LIMIT, counting=counting, latency=FAR)
    for id in range(1, KEYS + 1):
        sandbox.add_message(id)
    with sandbox.serve() as url:
        yield sandbox, url


def assert_all_well(findings: list[Findings], sandbox: Sandbox) -> list[float]:
    """Return the latencies."""
    assert [(each.wrong, dict(each.errors), each.left_over) for each in findings] == [(0, {}, [])] * len(
        findings
    )
    assert sandbox.rejections == 0
    return [seconds for each in findings for seconds in each.latencies]


@pytest.mark.parametrize("sandbox", ["fixed_window", "sliding_window", "spacing"], indirect=True)
def test_several_processes_are_as_good_as_one(
    server: RedisServer, sandbox: tuple[Sandbox, str], seconds: float
) -> None:
    """One alone has half of its lookups after 0.32 s, and nearly all after 0.61 s."""
    strict, url = sandbox
    orders = Orders(redis=server.url, url=url, per_second=10, keys=KEYS)
    with Processes(orders) as fleet:
        fleet.start(4)
        assert all(process.number for process in fleet.alive)
        time.sleep(seconds)
        findings = fleet.end()
    latencies = assert_all_well(findings, strict)
    assert len(latencies) > 20 * seconds
    # Two processors here run four processes, a server and a Redis, and other tests.
    assert quantile(latencies, 0.5) < 0.5
    # A slot is an interval and a round trip, and each carries all that waits: some 25 keys.
    assert strict.requests < seconds * 2 + 5
    assert strict.keys / strict.requests > 10


def test_a_holder_that_is_killed_in_flight_holds_up_the_others_for_a_lease(
    server: RedisServer, sandbox: tuple[Sandbox, str], seconds: float
) -> None:
    strict, url = sandbox
    with Processes(Orders(redis=server.url, url=url, per_second=10, keys=KEYS)) as fleet:
        fleet.start(4)
        assert all(process.number for process in fleet.alive)
        under_fire = Soak(server, strict, fleet)
        for _ in range(max(1, int(seconds / 4))):
            time.sleep(2)
            under_fire.do("kill the holder")
            time.sleep(2)
        result = under_fire.end()
    assert result.killed >= 1
    latencies = assert_all_well(result.findings, strict)
    # A lease, two intervals and two round trips, on a machine that does other things as well.
    assert max(latencies) < 3.3 + 1.5


def test_under_all_faults_at_once_nothing_is_wrong_and_nothing_is_lost(seconds: float) -> None:
    result = soak(2 * seconds, processes=4, names=["kill", "stop", "cut", "FLUSHALL"], pause=2.0)
    assert result.problems(most_rejections=result.faults["FLUSHALL"]) == []
    assert result.answers > 20
    assert sum(result.faults.values()) >= 2


def test_a_redis_that_restarts_costs_nobody_a_lookup(seconds: float) -> None:
    result = soak(seconds, processes=3, names=["restart Redis"], pause=3.0)
    assert result.problems(most_rejections=result.faults["restart Redis"]) == []
    assert result.answers > 20
