"""A pacer by examples: spaced, windowed, the credit, and the choice between the two."""

import math
from typing import Any

import pytest

from statuslookup import RateLimit, Response
from statuslookup._limits.pacer import Pacer, Pacing
from tests.support.turns import FOUND, LOST, TWO_A_SECOND, Driver, too_many

# --- spaced ---------------------------------------------------------------------------------------


def test_spaced_the_next_request_goes_an_interval_after_the_reply() -> None:
    drive = Driver(pacing="spaced")
    grant = drive.go()
    assert drive.pacer.next_at == math.inf
    drive.hear(grant, at=3.0)
    assert drive.pacer.next_at == 3.5
    assert (drive.pacer.held_until, drive.pacer.rate, drive.pacer.in_flight) == (3.5, 2.0, 0)


def test_nothing_is_saved_up_while_idle() -> None:
    drive = Driver()
    drive.take()
    drive.now = 60.0
    assert drive.take(3) == [60.0, 60.5, 61.0]


@pytest.mark.parametrize("pacing", ["spaced", "windowed"])
def test_a_request_without_a_response_may_have_been_counted_until_it_failed(pacing: Pacing) -> None:
    drive = Driver(RateLimit(1), pacing=pacing)
    drive.take(20, takes=0.2)
    grant = drive.go()
    failed_at = drive.now + 7
    drive.hear(grant, LOST, at=failed_at)
    assert drive.pacer.next_at == failed_at + 1.0


@pytest.mark.parametrize("pacing", ["spaced", "windowed"])
def test_a_grant_that_is_not_used_costs_nothing(pacing: Pacing) -> None:
    drive = Driver(pacing=pacing)
    drive.take(takes=0.1)
    before = drive.pacer.next_at
    for _ in range(3):
        drive.pacer.unused(drive.go())
    assert (drive.pacer.next_at, drive.pacer.in_flight) == (before, 0)


def test_nor_does_one_after_which_another_went_give_that_ones_time_back() -> None:
    drive = Driver(pacing="windowed")
    unused, used = drive.go(), drive.go()
    drive.pacer.unused(unused)
    assert drive.pacer.next_at == used.at + 0.5


# --- windowed -------------------------------------------------------------------------------------


def test_windowed_as_many_requests_are_under_way_as_the_limit_says_an_interval_apart() -> None:
    drive = Driver(RateLimit(3), pacing="windowed")
    grants = [drive.go() for _ in range(3)]
    assert [grant.at for grant in grants] == pytest.approx([0, 1 / 3, 2 / 3])
    assert drive.pacer.next_at == math.inf
    # Each place is free a period after its own reply.
    drive.hear(grants[1], at=5.0)
    assert drive.pacer.next_at == 6.0
    drive.hear(grants[0], at=5.5)
    assert drive.pacer.next_at == 6.0
    drive.go()
    assert drive.pacer.next_at == 6.5


def test_windowed_a_failure_keeps_its_place_for_a_period() -> None:
    drive = Driver(pacing="windowed")
    first, second = drive.go(), drive.go()
    drive.hear(second, LOST, at=0.6)
    drive.hear(first, at=0.7)
    assert drive.pacer.next_at == 1.6


def test_places_are_free_in_the_order_of_the_replies_whatever_the_credit() -> None:
    drive = Driver(pacing="windowed")
    drive.take(21, takes=0.9)
    first, second = drive.go(), drive.go()
    drive.hear(first, LOST, at=drive.now + 0.5)
    failed_at = drive.now
    # The rate is halved to one place, which the failed one holds longer than this one, less its credit.
    drive.hear(second, too_many(0.0), at=failed_at + 0.01)
    assert drive.pacer.next_at == failed_at + 1.0


@pytest.mark.parametrize(
    ("limit", "places", "interval", "period"),
    [
        (RateLimit(2), 2, 0.5, 1.0),
        (RateLimit(1), 1, 1.0, 1.0),
        (RateLimit(0.5), 1, 2.0, 2.0),
        (RateLimit(1.5), 1, 1.0, 1.0),
        (RateLimit(2.75, per=2.0), 2, 1.0, 2.0),
        (RateLimit(3, per=2.0), 3, 2 / 3, 2.0),
    ],
)
def test_a_part_of_a_request_is_none_and_less_than_one_is_one_in_a_longer_time(
    limit: RateLimit, places: int, interval: float, period: float
) -> None:
    drive = Driver(limit, pacing="windowed")
    assert drive.pacer.rate == pytest.approx(1 / interval)
    grants = [drive.go() for _ in range(places)]
    assert drive.pacer.next_at == math.inf
    drive.hear(grants[0], at=100.0)
    assert drive.pacer.next_at == pytest.approx(100.0 + period)


def test_with_a_limit_of_one_spaced_and_windowed_are_the_same() -> None:
    one, other = (Driver(RateLimit(1), pacing=pacing) for pacing in ("spaced", "windowed"))
    for takes in [0.2] * 30 + [5.0, 0.1, 0.1]:
        assert one.take(takes=takes) == other.take(takes=takes)


# --- the credit -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "credit"), [(4, 0.0), (5, 0.025), (10, 0.05), (19, 0.095), (20, 0.1), (25, 0.1)]
)
@pytest.mark.parametrize(("pacing", "after"), [("spaced", 0.5), ("windowed", 1.0)])
def test_half_the_smallest_round_trip_is_credited_a_part_of_it_for_each_of_the_first_twenty(
    pacing: Pacing, after: float, samples: int, credit: float
) -> None:
    drive = Driver(pacing=pacing)
    # The first one is no sample: it opened a connection.
    drive.take(samples, takes=0.2)
    if pacing == "windowed":
        # One of the two places stays taken.
        drive.go()
    drive.take(takes=0.2)
    assert drive.wait == pytest.approx(after - credit)


def test_a_quicker_answer_makes_the_credit_smaller_at_once() -> None:
    drive = Driver()
    drive.take(30, takes=0.2)
    drive.take(takes=0.01)
    assert drive.wait == pytest.approx(0.5 - 0.005)


def test_neither_a_failure_nor_a_new_connection_is_a_sample() -> None:
    drive = Driver()
    drive.take(21, takes=0.2)
    drive.take(takes=0.12, reply=Response(200, opened_connection=True))
    assert drive.wait == pytest.approx(0.5 - 0.1)
    drive.take(takes=0.01, reply=LOST)
    drive.take(takes=0.2)
    assert drive.wait == pytest.approx(0.5 - 0.1)


@pytest.mark.parametrize(("limit", "pause", "forgotten"), [(2, 2.9, False), (2, 3.1, True), (0.1, 9, False)])
def test_a_break_forgets_the_credit(limit: float, pause: float, forgotten: bool) -> None:
    drive = Driver(RateLimit(limit))
    drive.take(30, takes=0.2)
    drive.now += pause
    drive.take(takes=0.2)
    assert drive.wait == pytest.approx(1 / limit - (0.0 if forgotten else 0.1))


def test_lookups_far_apart_earn_no_credit_and_choose_nothing_for_each_opens_a_connection() -> None:
    drive = Driver()
    for _ in range(30):
        drive.take(takes=0.9)
        drive.now += 10
    drive.take(takes=0.9)
    assert not drive.pacer.is_windowed
    assert drive.wait == pytest.approx(0.5)


def test_other_connections_earn_their_own_credit() -> None:
    drive = Driver()
    drive.take(30, takes=0.2)
    drive.pacer.change_connections()
    drive.take(takes=0.2)
    assert drive.wait == pytest.approx(0.5)


# --- the choice -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("round_trip", "windowed"), [(0.65, False), (0.68, True), (0.9, True)])
def test_spaced_is_kept_to_while_it_reaches_three_fifths_of_the_limit(
    round_trip: float, windowed: bool
) -> None:
    # Half of the round trip is credited: at 2 / 3 of a second, the share is 0.5 / (0.5 + 1 / 3).
    drive = Driver()
    drive.take(10, takes=round_trip)
    assert not drive.pacer.is_windowed
    drive.take(30, takes=round_trip)
    assert drive.pacer.is_windowed == windowed


@pytest.mark.parametrize(("round_trip", "windowed"), [(0.55, True), (0.52, False)])
def test_windowed_is_kept_to_while_spaced_would_reach_barely_more(round_trip: float, windowed: bool) -> None:
    drive = Driver()
    drive.take(2, takes=round_trip)
    drive.take(19, takes=1.5)
    assert drive.pacer.is_windowed
    drive.take(40, takes=round_trip)
    assert drive.pacer.is_windowed == windowed


def test_after_a_change_to_spaced_what_is_under_way_is_waited_for() -> None:
    drive = Driver()
    drive.take(11, takes=0.9)
    first, second = drive.go(), drive.go()
    # The 429 halves the rate as well.
    drive.hear(first, too_many(0.0), at=drive.now + 0.1)
    assert not drive.pacer.is_windowed
    assert drive.pacer.next_at == math.inf
    drive.hear(second, LOST, at=drive.now + 2.0)
    assert drive.wait == pytest.approx(1.0)


def test_a_429_while_windowed_leads_back_to_spaced_for_ten_minutes() -> None:
    drive = Driver()
    drive.take(11, takes=0.9)
    drive.take(takes=0.9, reply=too_many())
    rejected_at = drive.now
    while not drive.pacer.is_windowed:
        drive.take(takes=0.9)
        assert drive.now < rejected_at + 700
        if drive.now < rejected_at + 600:
            # Nor does a request that hangs lead to it.
            grant = drive.go()
            assert drive.pacer.next_at >= rejected_at + 600
            drive.pacer.unused(grant)
    assert 600 <= drive.now - rejected_at <= 620


def test_a_break_leads_back_to_spaced_for_connections_are_opened_anew() -> None:
    drive = Driver()
    drive.take(11, takes=0.9)
    drive.now += 2.9
    drive.take(takes=0.9)
    assert drive.pacer.is_windowed
    hanging = drive.go()
    drive.now += 9
    drive.take(takes=0.9)
    # It is no break while a reply is long in coming.
    assert drive.pacer.is_windowed
    drive.hear(hanging)
    drive.now += 3.1
    drive.take(takes=0.9)
    assert not drive.pacer.is_windowed


@pytest.mark.parametrize("reply", [too_many(), FOUND])
def test_what_was_chosen_by_hand_stays(reply: Response) -> None:
    spaced, windowed = Driver(pacing="spaced"), Driver(pacing="windowed")
    spaced.take(30, takes=5.0)
    windowed.take(30, takes=0.01)
    spaced.take(reply=reply)
    windowed.take(reply=reply)
    assert (spaced.pacer.is_windowed, windowed.pacer.is_windowed) == (False, True)


@pytest.mark.parametrize(
    ("limit", "patience", "ten_take"), [(2, 1.5, 9 * 1.005), (3, 1.0, 4 * 1.005 + 1 / 3), (100, 1.0, 0.09)]
)
def test_a_request_that_takes_unusually_long_takes_its_own_place_only(
    limit: int, patience: float, ten_take: float
) -> None:
    drive = Driver(RateLimit(limit))
    drive.take(21, takes=0.01)
    hanging = drive.go()
    assert drive.wait == pytest.approx(patience)
    moments = drive.take(10, takes=0.01)
    # All other places go on being used, each for a period.
    assert moments[-1] - moments[0] == pytest.approx(ten_take)
    drive.hear(hanging)
    following = drive.go()
    assert drive.pacer.next_at >= following.at + patience


def test_with_a_limit_of_one_there_is_no_other_place() -> None:
    drive = Driver(RateLimit(1))
    drive.go()
    assert drive.pacer.next_at == math.inf


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"limit": 2}, TypeError, "limit is a RateLimit, not int"),
        ({"pacing": "fast"}, ValueError, 'pacing must be "auto", "spaced" or "windowed", not \'fast\'$'),
        ({"pacing": "answers"}, ValueError, "not 'answers'; it is called \"spaced\" now"),
        ({"pacing": "grants"}, ValueError, 'not \'grants\'; .* write "auto" or "windowed"'),
        ({"max_freeze": 0}, ValueError, "max_freeze must be above 0 and finite, not 0"),
        ({"max_freeze": math.inf}, ValueError, "max_freeze must be above 0 and finite, not inf"),
        ({"max_freeze": math.nan}, ValueError, "max_freeze must be above 0 and finite, not nan"),
        ({"max_freeze": True}, TypeError, "max_freeze is a number of seconds, not bool"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Pacer(**{"limit": TWO_A_SECOND, **arguments})
