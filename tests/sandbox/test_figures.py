"""The figures that the library is built to: exact in simulated time, and roughly over a real socket.

``python -m benchmarks`` measures them on a machine that does nothing else.
"""

from typing import get_args

import pytest

from benchmarks.at_limit import AT_ONCE, arrivals, at_once, one_by_one, optimum, simulate
from benchmarks.ours import by_statuslookup
from benchmarks.server import LATENCY
from statuslookup import SMSFire, StatusClient
from statuslookup.sandbox import Counting, Sandbox

MOST_AT_ONCE = 1.12 * max(optimum([0.0] * AT_ONCE)[0])
MOST_P99 = 1.15 * 0.545


@pytest.mark.parametrize("counting", get_args(Counting))
def test_lookups_at_once_take_as_few_requests_as_can_be(counting: Counting) -> None:
    figures = simulate(by_statuslookup, counting, at_once(AT_ONCE), seed=1)
    assert figures["last"] <= MOST_AT_ONCE
    assert (figures["requests"], figures["keys"], figures["rejections"]) == (10, AT_ONCE, 0)


@pytest.mark.parametrize("counting", get_args(Counting))
@pytest.mark.parametrize("rate", [20, 100, 300])
def test_lookups_one_by_one_wait_for_one_slot(rate: float, counting: Counting) -> None:
    figures = simulate(by_statuslookup, counting, one_by_one(arrivals(rate, 20, seed=1)), seed=1)
    assert figures["p99"] <= MOST_P99
    assert figures["rejections"] == 0


@pytest.mark.parametrize("counting", get_args(Counting))
@pytest.mark.long
async def test_lookups_over_a_socket(counting: Counting) -> None:
    sandbox = Sandbox(latency=LATENCY, counting=counting)
    for id in range(1, AT_ONCE + 1):
        sandbox.add_message(id)
    with sandbox.serve() as base_url:
        async with StatusClient(SMSFire("sandbox", base_url=base_url)) as client:
            # Far above the figure: another program on the machine is no fault of the client's.
            assert max(await at_once(AT_ONCE)(client.get)) <= 6 * MOST_AT_ONCE
    assert (sandbox.requests, sandbox.rejections) == (10, 0)
