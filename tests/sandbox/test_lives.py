"""What becomes of the messages of a campaign: shares, times, and what a curve may be."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from statuslookup import DeliveryState
from statuslookup.sandbox import DeliveryCurve, Step

PENDING, SENT, DELIVERED, READ = (DeliveryState(name) for name in ("PENDING", "SENT", "DELIVERED", "READ"))
ALWAYS: Any = {"fail": 0.0, "expire": 0.0, "expire_early": 0.0, "stay_sent": 0.0}


def lives(curve: DeliveryCurve, count: int = 10_000, *, seed: int = 1) -> list[tuple[Step, ...]]:
    random = Random(seed)
    return [curve.life(100.0, random) for _ in range(count)]


def test_the_shares_of_the_default_curve() -> None:
    ends = Counter(life[-1].state for life in lives(DeliveryCurve()))
    assert ends.total() == 10_000
    refused, undelivered = ends[DeliveryState.REJECTED], ends[DeliveryState.UNDELIVERED]
    assert 140 < refused + undelivered < 260
    assert min(refused, undelivered) > 60
    assert 150 < ends[DeliveryState.EXPIRED] < 250
    assert 240 < ends[SENT] < 360
    delivered = ends[DELIVERED] + ends[READ]
    assert 9_200 < delivered < 9_400
    assert 0.68 < ends[READ] / delivered < 0.72


def test_when_messages_are_delivered() -> None:
    waits = sorted(life[2].at - life[1].at for life in lives(DeliveryCurve(**ALWAYS)))
    assert len(waits) == 10_000
    assert 1.8 < waits[int(0.43 * len(waits))] < 2.2
    shares = [sum(least <= wait <= most for wait in waits) / len(waits) for least, most in SPANS]
    assert shares == pytest.approx([0.86, 0.08, 0.05, 0.01], abs=0.01)


SPANS = [(0.5, 8.0), (60.0, 1_800.0), (3_600.0, 43_200.0), (72_000.0, 108_000.0)]


def test_a_life_only_goes_forward() -> None:
    for life in lives(DeliveryCurve(), 2000):
        assert life[0] == Step(100.0, PENDING)
        times = [step.at for step in life]
        assert times == sorted(times)
        assert len(set(times)) == len(times)
        assert len({step.state for step in life}) == len(life)


def test_what_expires_does_so_after_a_day_or_early() -> None:
    expired = [life for life in lives(DeliveryCurve()) if life[-1].state is DeliveryState.EXPIRED]
    waits = Counter(life[-1].at - life[0].at == 86_400.0 for life in expired)
    assert 60 < waits[True] < 140
    assert all(len(life) == 2 for life in expired)
    assert all(10 <= life[1].at - 100 <= 600 for life in expired if life[1].at < 10_000)


def test_a_seed_draws_the_same_lives_and_another_share_leaves_the_others_be() -> None:
    assert lives(DeliveryCurve(), 500) == lives(DeliveryCurve(), 500)
    assert lives(DeliveryCurve(), 500) != lives(DeliveryCurve(), 500, seed=2)
    read, unread = lives(DeliveryCurve(**ALWAYS, reads=1.0)), lives(DeliveryCurve(**ALWAYS, reads=0.0))
    assert [life[:3] for life in read] == unread
    assert {len(life) for life in read} == {4}


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"fail": 1.5}, ValueError, "fail must be 0 to 1, not 1.5"),
        ({"reads": "all"}, TypeError, "reads is a share from 0 to 1, not str"),
        ({"fail": 0.6, "expire": 0.6}, ValueError, "the shares of what is not delivered add up to 1.24"),
        ({"accepted": 2.0}, TypeError, "accepted is a span of seconds: the least and the most"),
        ({"read": (0.0, 2.0)}, ValueError, "read must be above 0 and finite, not 0"),
        ({"early": (3.0, 2.0)}, ValueError, "early must be 3 or more and finite, not 2"),
        ({"delivered": ()}, TypeError, "delivered is a tuple of pairs: a share, and the span of its seconds"),
        ({"delivered": (1.0,)}, TypeError, "delivered is a tuple of pairs"),
        (
            {"delivered": ((0.5, (1.0, 2.0)),)},
            ValueError,
            "the shares in delivered must add up to 1, not 0.5",
        ),
        ({"delivered": ((1.0, 2.0),)}, TypeError, "delivered is a span of seconds"),
    ],
)
def test_a_curve_that_cannot_be_is_refused(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        DeliveryCurve(**options)
