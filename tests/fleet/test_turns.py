"""When a process tries to take the slot: the last sender before its account, strangers before all."""

import math
from itertools import count

import pytest

from statuslookup.fleet.turns import Turns

LEASE = 2.0
ME, MATE, STRANGER = 1, 2, 3


def turns(random: float = 0.0) -> Turns:
    made = Turns(ME, lambda: random)
    made.hear_member(MATE)
    return made


def free(made: Turns, process: int, seconds: float = 0.5, now: float = 10.0) -> None:
    made.hear_turn(is_free=True, process=process, seconds=seconds, beside=seconds, lease=LEASE, now=now)


def take(made: Turns, process: int, seconds: float = 0.5, now: float = 10.0) -> None:
    made.hear_turn(is_free=False, process=process, seconds=seconds, beside=seconds, lease=LEASE, now=now)


def after(made: Turns, *, is_follow_up: bool = False, now: float = 10.0) -> float:
    return round(made.try_at(is_alone=True, is_follow_up=is_follow_up) - now, 6)


def test_who_knows_nothing_tries_at_once() -> None:
    assert turns().try_at(is_alone=True, is_follow_up=False) == -math.inf
    assert turns().announce_at() == -math.inf


def test_the_last_sender_goes_first_and_its_account_a_little_later() -> None:
    made = turns()
    free(made, ME)
    assert (after(made), made.is_last_sender) == (0.505, True)
    free(made, MATE)
    assert (after(made), made.is_last_sender) == (0.525, False)


def test_those_who_would_try_in_the_same_moment_are_parted() -> None:
    made = turns(random=0.5)
    free(made, MATE)
    assert after(made) == 0.5275


def test_after_a_stranger_the_last_sender_of_the_account_goes_first_and_before_the_stranger() -> None:
    made = turns()
    free(made, ME)
    free(made, STRANGER)
    assert after(made) == 0.5
    free(made, MATE)
    free(made, STRANGER)
    assert after(made) == 0.503


def test_an_account_leaves_more_of_the_beginning_while_another_one_sends() -> None:
    made = turns()
    free(made, STRANGER, now=10.0)
    free(made, ME, now=10.5)
    assert after(made, now=10.5) == 0.53
    free(made, MATE, now=14.9)
    assert after(made, now=14.9) == 0.55
    free(made, ME, now=15.0)
    assert after(made, now=15.0) == 0.505
    # It was one of its own, as it turns out.
    free(made, STRANGER, now=15.5)
    made.hear_member(STRANGER)
    free(made, ME, now=16.0)
    assert after(made, now=16.0) == 0.505


def test_who_proves_to_be_of_the_account_is_no_stranger() -> None:
    made = turns()
    free(made, STRANGER)
    made.hear_member(STRANGER)
    assert after(made) == 0.525


def test_a_follow_up_need_not_wait_behind_anothers_stream() -> None:
    made = turns()
    free(made, MATE)
    assert after(made, is_follow_up=True) == 0.5


def test_while_another_sends_a_request_that_goes_alone_waits_for_its_end() -> None:
    made = turns()
    take(made, MATE)
    assert after(made) == LEASE + 0.525
    assert round(made.try_at(is_alone=False, is_follow_up=False) - 10.0, 6) == 0.525
    assert made.announce_at() == 12.5
    free(made, MATE, now=10.2)
    assert after(made, now=10.2) == 0.525
    assert made.announce_at() == pytest.approx(10.65)


def test_what_redis_says_is_what_holds() -> None:
    made = turns()
    made.hear_reply("busy", 2.5, 10.0)
    assert made.announce_at() == 12.5
    made.hear_reply("paced", 0.2, 10.0)
    # Somebody sent a short time ago, and may go on.
    assert after(made) == 0.225
    assert made.announce_at() == pytest.approx(10.15)


@pytest.mark.parametrize("why", ["ready", "idle"])
def test_a_slot_that_nobody_takes_is_left_to_nobody(why: str) -> None:
    made = turns()
    free(made, MATE)
    made.hear_reply(why, 0.0, 10.0)
    assert after(made) == -math.inf
    assert made.announce_at() == -math.inf


def test_only_so_many_members_are_remembered() -> None:
    made = turns()
    numbers = count(100)
    for _ in range(2_000):
        made.hear_member(next(numbers))
    assert len(made._members) == 1_000
