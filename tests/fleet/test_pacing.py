"""What a holder's own pacer asks of the slot, and what it makes of a reply."""

import math

from statuslookup import RateLimit, Response, TransportError
from statuslookup.fleet.pacing import SharedPacer, aged
from statuslookup.fleet.slot import LeftPace, Sent, Terms

NO_PACE = LeftPace(0, None)


def seconds(sent: Sent) -> list[float]:
    return [round(each, 6) for each in (sent.pause, sent.period, sent.freeze)]


def test_without_a_limit_nothing_waits_and_four_go_at_once() -> None:
    pacer = SharedPacer(None)
    assert pacer.terms(1.0) == Terms(interval=0, period=0, places=4, is_alone=False)
    grant = pacer.grant(NO_PACE, 1.0)
    assert pacer.done(grant, Response(200), 1.1) == Sent(pause=0, period=0, pace=NO_PACE)
    pacer.unused(grant)
    assert (pacer.in_flight, pacer.next_at) == (0, -math.inf)


def test_the_next_request_goes_an_interval_after_the_answer() -> None:
    pacer = SharedPacer(RateLimit(2))
    assert pacer.terms(1.0) == Terms(interval=0.5, period=1.0, places=2, is_alone=True)
    sent = pacer.done(pacer.grant(NO_PACE, 1.0), Response(200), 1.1)
    assert sent == Sent(pause=0.5, period=1.0, freeze=0.0, pace=NO_PACE)


def test_after_a_lost_reply_it_counts_from_when_that_was_known() -> None:
    pacer = SharedPacer(RateLimit(2))
    sent = pacer.done(pacer.grant(NO_PACE, 1.0), TransportError("x", provider="P"), 1.3)
    assert seconds(sent) == [0.5, 1.0, 0.0]


def test_a_429_freezes_and_leaves_a_slower_pace() -> None:
    pacer = SharedPacer(RateLimit(2))
    sent = pacer.done(pacer.grant(NO_PACE, 1.0), Response(429, retry_after=3.0), 1.2)
    assert (seconds(sent), sent.pace) == ([1.0, 1.0, 3.0], LeftPace(1, 0.0))


def test_another_goes_on_from_the_pace_that_was_left() -> None:
    pacer = SharedPacer(RateLimit(2))
    pacer.go_on_from(LeftPace(1, 10.0), 100.0)
    assert pacer.terms(100.0).interval == 1.0
    sent = pacer.done(pacer.grant(LeftPace(1, 10.0), 100.0), Response(200), 100.1)
    assert (sent.pace.rung, round(sent.pace.calm or 0, 6)) == (1, 10.1)
    # After half a minute without a 429, the next grant tries the rate that was.
    sent = pacer.done(pacer.grant(LeftPace(1, 40.0), 130.0), Response(200), 130.1)
    assert (sent.pace.rung, round(sent.pace.calm or 0, 6)) == (0, 0.1)


def test_one_of_ours_that_hangs_does_not_hold_up_the_others() -> None:
    pacer = SharedPacer(RateLimit(2))
    pacer.grant(NO_PACE, 1.0)
    assert pacer.is_alone(1.5)
    assert pacer.next_at == 2.5
    assert not pacer.is_alone(2.5)
    assert pacer.terms(2.5).is_alone is False


def test_a_slot_in_which_nothing_was_sent_costs_nothing() -> None:
    pacer = SharedPacer(RateLimit(2))
    pacer.unused(pacer.grant(NO_PACE, 1.0))
    assert (pacer.in_flight, pacer.next_at) == (0, -math.inf)


def test_what_a_reply_means_gets_less_with_time() -> None:
    sent = Sent(pause=0.5, period=1.0, freeze=3.0, pace=LeftPace(1, 2.0))
    assert aged(sent, 1.0) == Sent(pause=0.0, period=0.0, freeze=2.0, pace=LeftPace(1, 3.0))
    assert aged(Sent(pause=0.0, period=0.0, pace=NO_PACE), 1.0).pace == NO_PACE
