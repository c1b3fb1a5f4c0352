"""The figures that the library is built to: exact in virtual time, and roughly over a real socket.

``python -m benchmarks.waiting`` measures them over a real socket on a machine that does nothing else.
"""

from typing import get_args

import httpx
import pytest

from benchmarks.waiting import AT_ONCE, LATENCY, MOST_AT_ONCE, MOST_P99, RATES, all_at_once, one_by_one, p99
from statuslookup import MessageKey, MessageStatus, SMSFire, StatusClient
from statuslookup.sandbox import Counting, Sandbox
from tests.support.virtual_time import LoopClock


def sandbox_of(counting: Counting) -> Sandbox:
    sandbox = Sandbox(latency=LATENCY, counting=counting)
    for id in range(AT_ONCE):
        sandbox.add_message(id)
    return sandbox


def in_virtual_time(sandbox: Sandbox) -> StatusClient[MessageKey, MessageStatus]:
    provider = SMSFire("sandbox", base_url="http://localhost")
    return StatusClient(provider, transport=httpx.ASGITransport(sandbox), clock=LoopClock())


@pytest.mark.virtual_time
@pytest.mark.parametrize("counting", get_args(Counting))
async def test_lookups_at_once_take_as_few_requests_as_can_be(counting: Counting) -> None:
    sandbox = sandbox_of(counting)
    async with in_virtual_time(sandbox) as client:
        assert await all_at_once(client, AT_ONCE) <= MOST_AT_ONCE
    assert (sandbox.requests, sandbox.rejections) == (10, 0)


@pytest.mark.virtual_time
@pytest.mark.parametrize("counting", get_args(Counting))
@pytest.mark.parametrize("rate", RATES)
async def test_lookups_one_by_one_wait_for_one_slot(rate: float, counting: Counting) -> None:
    sandbox = sandbox_of(counting)
    async with in_virtual_time(sandbox) as client:
        assert p99(await one_by_one(client, rate, 20)) <= MOST_P99
    assert sandbox.rejections == 0


async def test_lookups_over_a_socket() -> None:
    # What is spaced is within both windows, too.
    sandbox = sandbox_of("spacing")
    with sandbox.serve() as base_url:
        async with StatusClient(SMSFire("sandbox", base_url=base_url)) as client:
            # Far above the figure: another program on the machine is no fault of the client's.
            assert await all_at_once(client, AT_ONCE) <= 6 * MOST_AT_ONCE
    assert (sandbox.requests, sandbox.rejections) == (10, 0)
