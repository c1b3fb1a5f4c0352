"""The webhooks that the sandbox posts: which are due, what becomes of them, and how they travel."""

import asyncio
import json
import re
from collections import Counter
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from statuslookup import DeliveryState, GreenAPI, MessageStatus, Receipt, SMSFire
from statuslookup.sandbox import Instance, Posted, Sandbox
from tests.support.receivers import DELIVERED, EXPIRED, FAILED, PENDING, READ, SENT, Receiver, changed

# --- what is due ----------------------------------------------------------------------------------


async def test_each_change_of_a_message_is_one_webhook_in_the_format_of_a_lookup() -> None:
    sandbox, receiver = Sandbox(), Receiver()
    sandbox.add_message(1, custom_id="a", state=PENDING)
    expected = [sandbox.change_state(1, state) for state in (SENT, DELIVERED, READ)]
    assert await sandbox.post_webhooks(receiver) == Posted(lost=0, repeated=0, requests=3, delivered=3)
    assert [SMSFire.parse_webhook(body) for body in receiver.bodies] == [[message] for message in expected]
    assert [message.state for message in expected] == [SENT, DELIVERED, READ]
    assert expected[2].custom_id == "a"
    assert all(json.loads(body).keys() >= {"statusCode", "statusName"} for body in receiver.bodies)


async def test_leading_zeros_are_in_webhooks_too() -> None:
    sandbox, receiver = Sandbox(leading_zeros=True), Receiver()
    sandbox.add_message(1, state=PENDING)
    sandbox.change_state(1, SENT)
    await sandbox.post_webhooks(receiver)
    assert b'"id":000001,' in receiver.bodies[0]


async def test_what_is_posted_is_not_posted_again() -> None:
    sandbox, receiver = changed(2), Receiver()
    assert (await sandbox.post_webhooks(receiver)).requests == 2
    assert (await sandbox.post_webhooks(receiver)).requests == 0
    sandbox.change_state(1, READ)
    assert (await sandbox.post_webhooks(receiver)).requests == 1
    assert receiver.ids == [0, 1, 1]


async def test_only_another_status_is_a_change() -> None:
    sandbox, receiver = Sandbox(), Receiver()
    sandbox.add_message(1, state=SENT)
    sandbox.add_message(1, state=SENT, phone="551")
    sandbox.change_state(1, SENT)
    assert (await sandbox.post_webhooks(receiver)).requests == 0
    sandbox.add_message(1, state=DELIVERED)
    sandbox.add(MessageStatus(id=1, status_code=77, status_name="NEW"))
    sandbox.add(MessageStatus(id=1, status_code=77, status_name="NEWER"))
    assert (await sandbox.post_webhooks(receiver)).requests == 3


async def test_expired_is_never_posted() -> None:
    sandbox, receiver = Sandbox(), Receiver()
    expired = [MessageStatus(id=10, state=EXPIRED), MessageStatus(id=11, status_code=5)]
    for message in (*expired, MessageStatus(id=12, status_name="EXPIRED")):
        sandbox.add_message(message.id, state=SENT)
        sandbox.add(message)
    sandbox.add_message(2, state=SENT)
    sandbox.change_state(2, EXPIRED)
    assert (await sandbox.post_webhooks(receiver)).requests == 0
    assert sandbox.messages[2].state is EXPIRED
    # What comes after it is posted again.
    sandbox.change_state(2, READ)
    await sandbox.post_webhooks(receiver)
    assert receiver.ids == [2]


def test_only_a_message_that_was_added_can_change() -> None:
    sandbox = Sandbox()
    with pytest.raises(ValueError, match="no message has the id 1: add it first"):
        sandbox.change_state(1, READ)
    with pytest.raises(ValueError, match="SMSFire has no state"):
        changed().change_state(0, FAILED)


def test_a_change_is_dated_now_and_keeps_the_rest() -> None:
    sandbox = Sandbox()
    long_ago = datetime(2021, 8, 6, tzinfo=UTC)
    sandbox.add_message(1, custom_id="a", phone="551", sent_date=long_ago, status_date=long_ago)
    message = sandbox.change_state(1, READ)
    assert (message.custom_id, message.phone, message.sent_date) == ("a", "551", long_ago)
    assert (message.status_code, message.status_name) == (6, "READ")
    assert message.status_date is not None
    assert (datetime.now(UTC) - message.status_date).total_seconds() < 10
    assert sandbox.messages[1] is message


def instance_with(*receipts: Receipt | DeliveryState) -> tuple[Sandbox, Instance]:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    instance.add_statistic("story", *receipts)
    return sandbox, instance


async def test_each_changed_receipt_is_one_outgoing_message_status() -> None:
    sandbox, instance = instance_with(SENT, SENT)
    receiver = Receiver()
    first, second = instance.change_state("story", READ).receipts
    assert (await sandbox.post_webhooks(receiver)).delivered == 2
    assert first.timestamp is not None
    assert json.loads(receiver.bodies[0]) == {
        "typeWebhook": "outgoingMessageStatus",
        "chatId": first.participant,
        "instanceData": {"idInstance": 1101000001, "wid": "79876543210@c.us", "typeInstance": "whatsapp"},
        "timestamp": first.timestamp.timestamp(),
        "idMessage": "story",
        "status": "read",
        "sendByApi": True,
    }
    parsed = [statistic for body in receiver.bodies for statistic in GreenAPI.parse_webhook(body)]
    assert [statistic.receipts for statistic in parsed] == [(first,), (second,)]
    assert {statistic.id_message for statistic in parsed} == {"story"}


async def test_receipts_that_are_added_are_changes_and_the_first_ones_are_not() -> None:
    sandbox, instance = instance_with(SENT)
    receiver = Receiver()
    assert (await sandbox.post_webhooks(receiver)).requests == 0
    known = instance.statistics["story"].receipts
    failed = Receipt(participant="2@c.us", state=FAILED, description="no WhatsApp")
    instance.add_statistic("story", *known, failed)
    assert (await sandbox.post_webhooks(receiver)).requests == 1
    (statistic,) = GreenAPI.parse_webhook(receiver.bodies[0])
    assert statistic.receipts == (
        Receipt(participant="2@c.us", status="failed", state=FAILED, description="no WhatsApp"),
    )


async def test_the_sandbox_posts_for_both_providers_in_the_order_of_the_changes() -> None:
    sandbox, instance = instance_with(SENT)
    receiver = Receiver()
    sandbox.add_message(1, state=SENT)
    sandbox.change_state(1, DELIVERED)
    instance.change_state("story", READ)
    sandbox.change_state(1, READ)
    await sandbox.post_webhooks(receiver)
    kinds = ["typeWebhook" in json.loads(body) for body in receiver.bodies]
    assert kinds == [False, True, False]


async def test_an_instance_posts_its_own_and_leaves_the_others_be() -> None:
    sandbox, instance = instance_with(SENT)
    other = sandbox.add_instance(7)
    other.add_statistic("other", SENT)
    sandbox.add_message(1, state=SENT)
    for _ in range(2):
        sandbox.change_state(1, DELIVERED)
        instance.change_state("story", READ)
        other.change_state("other", READ)
    receiver = Receiver()
    assert (await other.post_webhooks(receiver)).requests == 1
    assert json.loads(receiver.bodies[0])["idMessage"] == "other"
    assert (await instance.post_webhooks(receiver)).requests == 1
    assert (await sandbox.post_webhooks(receiver)).requests == 1


# --- mishaps --------------------------------------------------------------------------------------


async def test_all_lost() -> None:
    sandbox, receiver = changed(5), Receiver()
    assert await sandbox.post_webhooks(receiver, lose=1.0) == Posted(
        lost=5, repeated=0, requests=0, delivered=0
    )
    assert receiver.bodies == []


async def test_all_repeated() -> None:
    sandbox, receiver = changed(3), Receiver()
    posted = await sandbox.post_webhooks(receiver, repeat=1.0)
    assert posted == Posted(lost=0, repeated=3, requests=6, delivered=6)
    assert receiver.ids == [0, 0, 1, 1, 2, 2]


async def test_all_held_back_come_in_reverse_order() -> None:
    receiver = Receiver()
    await changed(4).post_webhooks(receiver, reorder=1.0)
    assert receiver.ids == [3, 2, 1, 0]


@pytest.mark.virtual_time
async def test_all_delayed_come_within_their_seconds() -> None:
    receiver = Receiver()
    start = asyncio.get_running_loop().time()
    await changed(200).post_webhooks(receiver, delay=1.0, delay_by=(10.0, 20.0), random=Random(1))
    late = [time - start for time in receiver.times]
    assert 10 <= min(late) < 10.5
    assert 19.5 < max(late) <= 20
    assert late == sorted(late)
    assert receiver.ids != list(range(200))


@pytest.mark.virtual_time
async def test_without_mishaps_all_come_at_once_and_in_order() -> None:
    receiver = Receiver()
    start = asyncio.get_running_loop().time()
    await changed(50).post_webhooks(receiver)
    assert receiver.ids == list(range(50))
    assert set(receiver.times) == {start}


@pytest.mark.virtual_time
async def test_shares_are_kept_and_a_seed_chooses_the_same_ones() -> None:
    async def run(seed: int, **shares: Any) -> tuple[Posted, Receiver]:
        receiver = Receiver()
        return await changed(2000).post_webhooks(receiver, random=Random(seed), **shares), receiver

    start = asyncio.get_running_loop().time()
    posted, receiver = await run(5, lose=0.2, repeat=0.1, reorder=0.1, delay=0.25)
    assert 330 < posted.lost < 470
    assert 110 < posted.repeated < 210
    assert posted.requests == 2000 - posted.lost + posted.repeated == len(receiver.bodies)
    times = Counter(receiver.ids)
    assert set(times.values()) == {1, 2}
    assert list(times.values()).count(2) == posted.repeated
    assert 0.2 < sum(time > start for time in receiver.times) / posted.requests < 0.3
    in_time = [id for id, time in zip(receiver.ids, receiver.times, strict=True) if time == start]
    turn = max(range(len(in_time)), key=in_time.__getitem__)
    # The held-back ones come last, and the latest of them first.
    assert in_time[turn:] == sorted(in_time[turn:], reverse=True)
    assert 0.05 < len(in_time[turn + 1 :]) / len(in_time) < 0.15

    again, same = await run(5, lose=0.2, repeat=0.1, reorder=0.1, delay=0.25)
    assert (again, same.ids) == (posted, receiver.ids)
    _, other = await run(6, lose=0.2, repeat=0.1, reorder=0.1, delay=0.25)
    assert set(other.ids) != set(receiver.ids)
    _, only_lost = await run(5, lose=0.2)
    assert set(only_lost.ids) == set(receiver.ids)


async def test_without_a_seed_chance_differs() -> None:
    seen = set()
    for _ in range(5):
        receiver = Receiver()
        await changed(100).post_webhooks(receiver, lose=0.5)
        seen.add(tuple(receiver.ids))
    assert len(seen) == 5


async def test_misuse_is_refused_and_forgets_no_webhook() -> None:
    sandbox, receiver = changed(), Receiver()
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"lose": 1.1}, "ValueError: .*lose must be 0 to 1, not 1.1"),
        ({"repeat": -0.1}, "ValueError: .*repeat must be 0 to 1, not -0.1"),
        ({"reorder": "all"}, "TypeError: .*reorder is a share from 0 to 1, not str"),
        ({"delay": True}, "TypeError: .*delay is a share from 0 to 1, not bool"),
        ({"delay": float("nan")}, "ValueError: .*delay must be 0 to 1, not nan"),
        ({"delay_by": 3.0}, "TypeError: .*delay_by is a pair of seconds, the least and the most"),
        ({"delay_by": (2.0, 1.0)}, "ValueError: .*delay_by is a pair of seconds, the least and the most"),
        ({"delay_by": (-1.0, 1.0)}, "ValueError: .*delay_by is a pair"),
        ({"delay_by": (1.0, float("inf"))}, "ValueError: .*delay_by is a pair"),
        ({"target": 5}, "TypeError: .*posted to a URL or an ASGI app, not to int"),
        ({"target": b"http://127.0.0.1"}, "TypeError: .*not to bytes"),
        ({"target": "https://127.0.0.1/"}, "ValueError: .*posted to this machine only"),
        ({"target": "http://example.com/"}, "ValueError: .*posted to this machine only"),
        ({"target": "http://127.0.0.1.example.com/"}, "ValueError: .*posted to this machine only"),
        ({"target": "http://10.0.0.1/"}, "ValueError: .*posted to this machine only"),
        ({"target": "http://a:b@127.0.0.1/"}, "ValueError: .*no user, no https"),
        ({"target": "127.0.0.1:80"}, "ValueError: .*posted to this machine only"),
        ({"target": ""}, "ValueError: .*posted to this machine only"),
        ({"target": "http://127.0.0.1/a\r\nX: y"}, "ValueError: .*only characters that a URL may have"),
        ({"target": "http://127.0.0.1/a b"}, "ValueError: .*only characters that a URL may have"),
        ({"target": "http://127.0.0.1:many/"}, "ValueError: .*posted to this machine only"),
        ({"target": "http://127.0.0.1:65536/"}, "ValueError: .*posted to this machine only"),
        ({"target": "http://[::1/"}, "ValueError: .*posted to this machine only"),
        ({"target": "http://127.0.0.1/", "path": "/a"}, "ValueError: .*path is for an ASGI app"),
        ({"path": "a"}, "ValueError: .*path is for an ASGI app, and begins with '/'"),
    ]
    for options, text in refusals:
        with pytest.raises((TypeError, ValueError)) as raised:
            await sandbox.post_webhooks(**{"target": receiver} | options)
        assert re.match(text, f"{raised.type.__name__}: {raised.value}"), options
    assert (await sandbox.post_webhooks(receiver)).requests == 1


# --- two seconds ----------------------------------------------------------------------------------


@pytest.mark.virtual_time
@pytest.mark.parametrize(("seconds", "delivered"), [(1.99, 2), (2.01, 0)])
async def test_a_receiver_has_two_seconds(seconds: float, delivered: int) -> None:
    sandbox, receiver = changed(2), Receiver(seconds=seconds)
    start = asyncio.get_running_loop().time()
    posted = await sandbox.post_webhooks(receiver)
    assert (posted.requests, posted.delivered, posted.discarded) == (2, delivered, 2 - delivered)
    assert asyncio.get_running_loop().time() - start == pytest.approx(2 * min(seconds, 2.0))
    # Never resent.
    assert receiver.ids == [0, 1]
    assert (await sandbox.post_webhooks(Receiver())).requests == 0


@pytest.mark.virtual_time
async def test_an_app_that_reads_on_after_the_body_has_two_seconds_too() -> None:
    async def greedy(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            await receive()

    posted = await changed().post_webhooks(greedy)
    assert (posted.requests, posted.discarded) == (1, 1)


async def test_only_a_response_of_success_is_a_delivery() -> None:
    for status, delivered in ((200, 1), (299, 1), (300, 0), (500, 0)):
        posted = await changed().post_webhooks(Receiver(status=status))
        assert (posted.delivered, posted.discarded) == (delivered, 1 - delivered)


async def test_an_app_of_this_process_sees_a_post_of_json_and_its_bug_is_raised() -> None:
    receiver = Receiver()
    await changed().post_webhooks(receiver)
    request = Request(receiver.scopes[0])
    assert (request.method, request.url.path) == ("POST", "/")
    assert request.headers["content-type"] == "application/json"
    assert int(request.headers["content-length"]) == len(receiver.bodies[0])

    await changed().post_webhooks(receiver, path="/hooks/a b")
    assert (receiver.scopes[1]["path"], receiver.scopes[1]["raw_path"]) == ("/hooks/a b", b"/hooks/a%20b")

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await changed().post_webhooks(broken)
