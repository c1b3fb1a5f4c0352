"""A pacer after a 429, and another one that goes on from it."""

import math

import pytest

from statuslookup import RateLimit
from statuslookup._limits.pacer import Pacer
from tests.support.turns import FOUND, TWO_A_SECOND, Driver, too_many


@pytest.mark.parametrize(
    ("asked", "freeze"), [(None, 1.1), (7.0, 7.0), (3600.0, 60.0), (math.inf, 60.0), (0.0, 1.0)]
)
def test_a_429_freezes_for_what_the_provider_asks_within_a_minute(asked: float | None, freeze: float) -> None:
    drive = Driver()
    drive.take(reply=too_many(asked))
    # The rate was halved as well, so a second is the least.
    assert (drive.wait, drive.pacer.held_until, drive.pacer.rejections) == (freeze, freeze, 1)


def test_the_longest_freeze_can_be_chosen() -> None:
    drive = Driver(max_freeze=5.0)
    drive.take(reply=too_many(3600.0))
    assert drive.wait == 5.0


@pytest.mark.parametrize(("limit", "rates"), [(2, [1, 1 / 2, 1 / 4, 1 / 8]), (5, [2, 1, 5 / 8, 5 / 16])])
def test_each_429_halves_the_rate_down_to_a_sixty_fourth(limit: int, rates: list[float]) -> None:
    drive = Driver(RateLimit(limit))
    found = []
    for _ in range(8):
        drive.take(reply=too_many())
        found.append(drive.pacer.rate)
    assert found[:4] == rates
    assert found[-2:] == [limit / 64] * 2


def test_429s_of_requests_that_were_under_way_together_halve_it_once() -> None:
    drive = Driver(RateLimit(4), pacing="windowed")
    grants = [drive.go() for _ in range(4)]
    for grant in grants:
        drive.hear(grant, too_many(), at=drive.now + 0.1)
    assert (drive.pacer.rejections, drive.pacer.rate) == (4, 2.0)
    drive.take(reply=too_many())
    assert drive.pacer.rate == 1.0


def test_after_thirty_calm_seconds_the_rate_goes_up_one_rung_and_never_above_the_limit() -> None:
    drive = Driver()
    drive.take(3, reply=too_many())
    rejected_at = drive.now
    rates: dict[float, float] = {}
    while drive.now - rejected_at < 200:
        grant = drive.go()
        rates.setdefault(drive.pacer.rate, drive.now - rejected_at)
        drive.hear(grant)
    assert list(rates) == [0.25, 0.5, 1.0, 2.0]
    for rung, rate in enumerate([0.5, 1.0, 2.0], 1):
        assert 30 * rung <= rates[rate] <= 30 * rung + 8


def test_a_429_starts_the_thirty_seconds_anew_and_a_probe_that_fails_goes_back_one_rung_only() -> None:
    drive = Driver()
    rates = []
    for pause, reply in [(0, too_many()), (25, too_many()), (25, FOUND), (6, FOUND), (31, too_many())]:
        drive.now += pause
        drive.take(reply=reply)
        rates.append(drive.pacer.rate)
    assert rates == [1.0, 0.5, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("halved_for", [1.0, 33.0, 65.0, 96.0])
def test_the_full_rate_is_back_within_forty_seconds_wherever_a_probe_fell(halved_for: float) -> None:
    drive = Driver()
    returns_at = 10 + halved_for
    counted: list[float] = []
    while drive.now < returns_at + 60:
        grant = drive.go()
        if 10 <= drive.now < returns_at and counted and drive.now - counted[-1] < 1.0:
            drive.hear(grant, too_many(), at=drive.now + 0.01)
        else:
            counted.append(drive.now)
            drive.hear(grant, at=drive.now + 0.01)
    assert sum(returns_at + 40 <= when < returns_at + 60 for when in counted) >= 0.95 * 40


def test_another_limit_counts_from_the_next_request_and_keeps_the_rung() -> None:
    drive = Driver()
    drive.take(reply=too_many())
    drive.pacer.limit = RateLimit(4)
    assert drive.pacer.rate == 2.0
    first, second = drive.take(2)
    assert second - first == 0.5


# --- going on -------------------------------------------------------------------------------------


def test_another_pacer_goes_on_from_where_one_stands() -> None:
    drive = Driver()
    drive.take(2, reply=too_many(20.0))
    following = Pacer(TWO_A_SECOND)
    following.go_on_from(drive.pacer.pace(drive.now))
    assert (following.next_at, following.rate) == (drive.pacer.next_at, 0.5)


def test_what_is_under_way_when_it_goes_on_counts_as_late_as_now() -> None:
    drive = Driver(RateLimit(4), pacing="windowed")
    assert drive.pacer.pace(0.0).ready_at == -math.inf
    *_, last = [drive.go() for _ in range(3)]
    # As if they were counted now, a quarter of a second apart from what follows, and from each other.
    assert drive.pacer.pace(60.0).ready_at == 60.75
    drive.pacer.abandon(60.0)
    # Whatever is said of it later is no news.
    drive.pacer.done(last, too_many(), 60.0)
    assert (drive.pacer.in_flight, drive.pacer.rejections, drive.pacer.pace(60.0).ready_at) == (0, 0, 60.75)
