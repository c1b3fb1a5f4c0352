"""Trackers in processes of their own under faults, as ``benchmarks.tracker_soak`` does them for an hour."""

import pytest

from benchmarks.tracker_soak import Result, soak
from statuslookup.sandbox import DeliveryCurve
from tests.support.redis_servers import binaries

IN_SECONDS = DeliveryCurve(
    accepted=(0.1, 0.3),
    delivered=((1.0, (0.1, 2.0)),),
    read=(0.1, 2.0),
    fail=0.1,
    expire=0.0,
    expire_early=0.0,
    stay_sent=0.0,
)


@pytest.mark.skipif(not binaries(), reason="there is no server of Redis that can run here")
@pytest.mark.long
async def test_no_message_is_forgotten_and_no_end_told_wrong_under_fire() -> None:
    result = await soak(8, per_second=10.0, pause=0.7, curve=IN_SECONDS, faults=["kill", "FLUSHALL"])
    assert result.problems() == []
    assert result.messages > 30
    assert result.killed >= 1


def test_what_is_not_as_it_should_be_is_a_problem() -> None:
    assert Result().problems() == []
    bad = Result(forgotten=1, wrong=["key-1 told as ['SENT']"], rejections=1, growth=100.0)
    assert len(bad.problems()) == 4
