"""Campaigns that live: what the sandbox knows at each time, and which webhooks come, how and when."""

import asyncio
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from statuslookup import DeliveryState, GreenAPI, SMSFire
from statuslookup.sandbox import Campaign, DeliveryCurve, Mishaps, Posted, Sandbox, Step
from tests.support.receivers import DELIVERED, EXPIRED, FAILED, PENDING, READ, SENT, Receiver

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
SURE = DeliveryCurve(
    accepted=(1.0, 1.0),
    delivered=((1.0, (2.0, 2.0)),),
    read=(10.0, 10.0),
    reads=1.0,
    fail=0.0,
    expire=0.0,
    expire_early=0.0,
    stay_sent=0.0,
)
NONE = Mishaps()


def campaign(sandbox: Sandbox | None = None, **options: Any) -> Campaign:
    options = {"curve": SURE, "webhooks": NONE, "begin": BEGIN, **options}
    return Campaign(Sandbox() if sandbox is None else sandbox, random=Random(1), **options)


def told(webhooks: list[bytes]) -> list[tuple[int, DeliveryState]]:
    return [(status.id, status.state) for body in webhooks for status in SMSFire.parse_webhook(body)]


# --- by hand --------------------------------------------------------------------------------------


def test_a_message_goes_through_its_states_and_a_webhook_tells_of_each_change() -> None:
    sandbox = Sandbox()
    sent = campaign(sandbox)
    assert sent.is_over
    life = sent.send(1, custom_id="order-17")
    assert life == (Step(0.0, PENDING), Step(1.0, SENT), Step(3.0, DELIVERED), Step(13.0, READ))
    assert sandbox.messages[1].state is PENDING
    assert sent.advance(0.9) == []
    assert told(sent.advance(1.0)) == [(1, SENT)]
    assert told(sent.advance(3.5)) == [(1, DELIVERED)]
    message = sandbox.messages[1]
    assert (message.custom_id, message.state, message.status_code) == ("order-17", DELIVERED, 2)
    assert (message.sent_date, message.status_date) == (BEGIN, BEGIN + timedelta(seconds=3))
    assert not sent.is_over
    (webhook,) = sent.advance(100.0)
    assert SMSFire.parse_webhook(webhook) == [sandbox.messages[1]]
    assert sent.is_over
    assert sent.now == 100.0
    assert sent.posted == Posted(lost=0, repeated=0, requests=3, delivered=3)


def test_a_message_that_is_sent_later_is_not_known_before() -> None:
    sandbox = Sandbox()
    later = campaign(sandbox)
    later.advance(50.0)
    life = later.send(1, after=10.0)
    assert life[0] == Step(60.0, PENDING)
    later.advance(59.0)
    assert 1 not in sandbox.messages
    later.advance(60.0)
    assert sandbox.messages[1].state is PENDING
    assert sandbox.messages[1].sent_date == BEGIN + timedelta(seconds=60)


def test_expired_is_known_and_told_by_no_webhook() -> None:
    sandbox = Sandbox()
    silent = campaign(sandbox, curve=DeliveryCurve(expire=1.0, fail=0.0, expire_early=0.0, stay_sent=0.0))
    silent.send(1)
    assert silent.advance(200_000.0) == []
    assert sandbox.messages[1].state is EXPIRED
    assert silent.is_over


def test_what_somebody_changes_meanwhile_is_left_for_post_webhooks() -> None:
    sandbox = Sandbox()
    own = campaign(sandbox)
    own.send(1)
    sandbox.add_message(2, state=PENDING)
    sandbox.change_state(2, SENT)
    assert [id for id, _ in told(own.advance(2.0))] == [1]
    assert len(sandbox._take_webhooks()) == 1


def test_a_story_is_told_recipient_by_recipient_in_the_words_of_green_api() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    story = campaign(sandbox, curve=DeliveryCurve(fail=0.2))
    lives = story.publish(instance, "STORY", recipients=200)
    assert len(lives) == 200
    assert "STORY" not in instance.statistics
    webhooks = story.advance(400_000.0)
    statistic = instance.statistics["STORY"]
    # What expires in SMSFire's queue is never sent here.
    known = {participant: life[-1].state for participant, life in lives.items() if life}
    assert {receipt.participant: receipt.state for receipt in statistic.receipts} == known
    assert set(known.values()) == {SENT, DELIVERED, READ, FAILED}
    assert len(webhooks) == sum(len(life) for life in lives.values())
    last = {}
    for body in webhooks:
        ((receipt,),) = [told.receipts for told in GreenAPI.parse_webhook(body)]
        last[receipt.participant] = receipt.state
    assert last == known
    assert json.loads(webhooks[0])["typeWebhook"] == "outgoingMessageStatus"


# --- mishaps --------------------------------------------------------------------------------------


def arrivals(mishaps: Mishaps, count: int = 2000) -> list[tuple[float, int, DeliveryState]]:
    """Return when which webhook came."""
    lossy = campaign(webhooks=mishaps)
    for id in range(count):
        lossy.send(id)
    came = []
    while not lossy.is_over:
        at = lossy.now + 1.0
        came += [(at, id, state) for id, state in told(lossy.advance(at))]
    posted = lossy.posted
    assert posted.requests == len(came) == 3 * count - posted.lost + posted.repeated
    return came


def test_a_share_is_lost_and_a_share_comes_twice() -> None:
    came = Counter((id, state) for _, id, state in arrivals(Mishaps(lose=0.3, repeat=0.1)))
    assert set(came.values()) == {1, 2}
    assert 0.27 < 1 - len(came) / 6000 < 0.33
    assert 0.08 < (came.total() - len(came)) / len(came) < 0.12


def test_a_share_comes_late() -> None:
    came = arrivals(Mishaps(delay=0.1, delay_by=(100.0, 300.0)))
    due = {SENT: 1.0, DELIVERED: 3.0, READ: 13.0}
    late = [at - due[state] for at, _, state in came if at > due[state]]
    assert 0.08 < len(late) / len(came) < 0.12
    assert min(late) >= 100
    assert max(late) <= 301


def test_what_is_held_back_comes_after_the_next_change() -> None:
    order: defaultdict[int, list[DeliveryState]] = defaultdict(list)
    last = {}
    for at, id, state in arrivals(Mishaps(reorder=1.0)):
        order[id].append(state)
        last[state] = at
    assert all(sorted(states) == sorted((SENT, DELIVERED, READ)) for states in order.values())
    assert last == {SENT: 4.0, DELIVERED: 14.0, READ: 313.0}


def test_the_defaults_are_those_of_bad_days_and_a_seed_repeats_them() -> None:
    def run(seed: int) -> tuple[list[bytes], Posted]:
        bad = Campaign(Sandbox(), random=Random(seed), begin=BEGIN)
        for id in range(1000):
            bad.send(id, after=id * 10.0)
        return bad.advance(400_000.0), bad.posted

    webhooks, posted = run(3)
    assert run(3) == (webhooks, posted)
    assert run(4) != (webhooks, posted)
    assert 0.25 < posted.lost / (posted.requests + posted.lost - posted.repeated) < 0.35
    assert posted.repeated > 100


# --- with the event loop's time -------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_a_campaign_plays_in_the_loops_time_as_fast_as_it_is_told() -> None:
    loop, sandbox = asyncio.get_running_loop(), Sandbox()
    came: list[tuple[float, DeliveryState]] = []
    playing = campaign(sandbox)
    playing.send(1)
    begin = loop.time()

    def hand(body: bytes) -> None:
        ((_, state),) = told([body])
        came.append((loop.time() - begin, state))

    async with playing.playing(hand=hand, speed=10.0):
        await asyncio.sleep(0.2)
        assert playing.now == pytest.approx(2.0)
        playing.send(2)
        assert sandbox.messages[2].state is PENDING
        await playing.finish()
        assert playing.is_over
        assert sandbox.messages[2].state is READ
    assert [state for _, state in came] == [SENT, DELIVERED, SENT, DELIVERED, READ, READ]
    assert [at for at, _ in came] == pytest.approx([0.1, 0.3, 0.3, 0.5, 1.3, 1.5])
    assert playing.posted.delivered == 6


@pytest.mark.virtual_time
async def test_between_two_plays_the_time_stands_still() -> None:
    sandbox = Sandbox()
    twice = campaign(sandbox)
    twice.send(1)
    async with twice.playing():
        await asyncio.sleep(2)
    await asyncio.sleep(100)
    assert twice.now == pytest.approx(2.0)
    assert sandbox.messages[1].state is SENT
    async with twice.playing():
        await asyncio.sleep(2)
        assert sandbox.messages[1].state is DELIVERED
    # Nobody had registered a webhook.
    assert twice.posted.requests == 0


@pytest.mark.virtual_time
async def test_a_long_campaign_of_the_default_curve_is_true_at_its_end() -> None:
    sandbox = Sandbox()
    receiver = Receiver()
    long = Campaign(sandbox, random=Random(5))
    lives = {}
    async with long.playing(receiver):
        for id in range(300):
            lives[id] = long.send(id)
            await asyncio.sleep(60)
        await long.finish()
    assert {id: message.state for id, message in sandbox.messages.items()} == {
        id: life[-1].state for id, life in lives.items()
    }
    assert long.posted.delivered == len(receiver.bodies) > 300


@pytest.mark.virtual_time
async def test_a_slow_receiver_holds_up_no_other_webhook_and_gets_none_again() -> None:
    receiver = Receiver(seconds=5.0)
    slow = campaign()
    for id in range(50):
        slow.send(id)
    begin = asyncio.get_running_loop().time()
    async with slow.playing(receiver):
        await slow.finish()
    assert {round(at - begin) for at in receiver.times} == {1, 3, 13}
    assert slow.posted == Posted(lost=0, repeated=0, requests=150, delivered=0)


@pytest.mark.virtual_time
async def test_at_most_a_hundred_are_under_way_at_once() -> None:
    receiver = Receiver(seconds=1.0)
    many = campaign()
    for id in range(150):
        many.send(id)
    begin = asyncio.get_running_loop().time()
    async with many.playing(receiver):
        await asyncio.sleep(2.5)
    assert Counter(round(at - begin) for at in receiver.times) == {1: 100, 2: 50}


@pytest.mark.virtual_time
@pytest.mark.parametrize("way", ["hand", "app"])
@pytest.mark.parametrize("waits", [True, False])
async def test_a_bug_of_the_receivers_is_raised(way: str, waits: bool) -> None:
    def broken(body: bytes) -> None:
        raise LookupError("mine")

    async def broken_app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("mine")

    target: Any = {"hand": broken} if way == "hand" else {"target": broken_app}
    ended = campaign()
    ended.send(1)
    with pytest.raises(LookupError, match="mine"):
        async with ended.playing(**target):
            await (ended.finish() if waits else asyncio.sleep(5))
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.virtual_time
async def test_nothing_runs_after_the_block_and_its_own_errors_come_as_they_are() -> None:
    ended = campaign()
    ended.send(1)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - what is raised inside the block is the test
        async with ended.playing(Receiver(seconds=1.0)):
            await asyncio.sleep(1.5)
            raise ZeroDivisionError
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert ended.posted == Posted(lost=0, repeated=0, requests=1, delivered=0)


async def test_webhooks_travel_over_a_socket() -> None:
    sandbox = Sandbox()
    quick = campaign(sandbox)
    for id in range(20):
        quick.send(id)
    with sandbox.serve() as url:
        # The sandbox is no receiver: it refuses, but it was reached.
        async with quick.playing(f"{url}/hooks", speed=50.0):
            await quick.finish()
    assert quick.posted == Posted(lost=0, repeated=0, requests=60, delivered=0)
    assert sandbox.requests == 60


# --- misuse ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"sandbox": 5}, TypeError, "sandbox is a Sandbox, not int"),
        ({"curve": 0.5}, TypeError, "curve is a DeliveryCurve, not float"),
        ({"webhooks": 0.3}, TypeError, "webhooks is a Mishaps, not float"),
        ({"random": 7}, TypeError, "random is a Random, not int"),
        ({"begin": 0.0}, TypeError, "begin is a datetime, not float"),
        ({"begin": datetime(2026, 1, 1)}, ValueError, "begin must be aware: give it a tzinfo"),
    ],
)
def test_a_campaign_of_something_else_is_refused(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Campaign(**{"sandbox": Sandbox()} | options)


def test_what_is_there_already_is_not_sent_again() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    again = campaign(sandbox)
    again.send(1)
    with pytest.raises(ValueError, match="the sandbox has a message 1 already"):
        again.send(1)
    instance.add_statistic("STORY")
    with pytest.raises(ValueError, match="the instance has a story 'STORY' already"):
        again.publish(instance, "STORY", recipients=1)
    wrong: list[tuple[Any, type[Exception]]] = [
        ({"id": "1"}, TypeError),
        ({"id": True}, TypeError),
        ({"id": 5, "after": "1"}, TypeError),
        ({"id": 5, "custom_id": 7}, TypeError),
        ({"id": -1}, ValueError),
        ({"id": 5, "after": -1.0}, ValueError),
        ({"id": 5, "custom_id": "a b"}, ValueError),
    ]
    for options, error in wrong:
        with pytest.raises(error, match=r" is a| must be | has 1 to 40"):
            again.send(**options)
    with pytest.raises(ValueError, match="recipients must be 1 or more, not 0"):
        again.publish(instance, "OTHER", recipients=0)
    with pytest.raises(TypeError, match="instance is an Instance, not Sandbox"):
        again.publish(sandbox, "OTHER", recipients=1)  # type: ignore[arg-type] # that is the point
    assert set(sandbox.messages) == {1}


async def test_time_is_moved_by_one_at_a_time_and_forward() -> None:
    own = campaign()
    own.advance(10.0)
    with pytest.raises(ValueError, match="to must be 10 or more and finite, not 9"):
        own.advance(9.0)
    with pytest.raises(RuntimeError, match="the campaign is not playing: nothing would ever end"):
        await own.finish()
    with pytest.raises(TypeError, match="webhooks go to a target or are handed over, not both"):
        async with own.playing(Receiver(), hand=print):
            pass
    with pytest.raises(TypeError, match="path is for a target"):
        async with own.playing(path="/hooks"):
            pass
    with pytest.raises(ValueError, match="speed must be above 0"):
        async with own.playing(speed=0.0):
            pass
    async with own.playing():
        with pytest.raises(RuntimeError, match="the campaign is playing: its time goes by itself"):
            own.advance(20.0)
        with pytest.raises(RuntimeError, match="the campaign is playing already"):
            async with own.playing():
                pass
        assert "playing at 10." in repr(own)
    assert "at rest" in repr(own)
