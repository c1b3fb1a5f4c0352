"""The sandbox's SMSFire half: messages, searches, and what is added."""

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from statuslookup import DeliveryState, MessageStatus, RateLimit
from statuslookup.sandbox import Sandbox
from tests.support.refusals import not_refused_so, refusal
from tests.support.smsfire_requests import SEARCH, ask, codes_at, found, open_client, search, unlimited
from tests.support.virtual_time import HandClock

SENT = datetime(2021, 8, 6, 9, 58, 53, tzinfo=timezone(timedelta(hours=-3)))
CHANGED = SENT + timedelta(seconds=9)


# --- one message ----------------------------------------------------------------------------------


async def test_one_message_has_the_documented_fields_in_the_documented_order() -> None:
    sandbox = unlimited()
    sandbox.add_message(1, custom_id="firezap0001", sent_date=SENT, status_date=CHANGED)
    response = await ask(sandbox)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert list(response.json().items()) == [
        ("instanceToken", "499893c21b1b467970b2n58dcak6009d92d9dscx1"),
        ("id", 1),
        ("customId", "firezap0001"),
        ("messageType", "TEXT"),
        ("country", "55"),
        ("phone", "5511944556677"),
        ("statusCode", 2),
        ("statusName", "DELIVERED"),
        ("statusDate", "2021-08-06T09:59:02-0300"),
        ("sentDate", "2021-08-06T09:58:53-0300"),
    ]


async def test_what_a_message_does_not_have_is_left_out() -> None:
    sandbox = unlimited()
    sandbox.add(MessageStatus(id=7, status_code=0))
    assert (await ask(sandbox, "7")).json() == {"id": 7, "statusCode": 0}
    sandbox.add_message(8)
    assert "customId" not in (await ask(sandbox, "8")).json()


async def test_dates_of_any_zone_are_written_without_a_colon_in_the_offset() -> None:
    sandbox = unlimited()
    india = timezone(timedelta(hours=5, minutes=30))
    sandbox.add(
        MessageStatus(
            id=1,
            sent_date=datetime(2026, 1, 2, 3, 4, 5, 999999, tzinfo=UTC),
            status_date=datetime(2026, 1, 2, 3, 4, 5, tzinfo=india),
        )
    )
    item = (await ask(sandbox)).json()
    assert (item["sentDate"], item["statusDate"]) == ("2026-01-02T03:04:05+0000", "2026-01-02T03:04:05+0530")


async def test_an_id_is_found_with_and_without_leading_zeros() -> None:
    sandbox = unlimited()
    sandbox.add_message(1)
    for key in ("1", "000001", "0" * 39 + "1"):
        assert (await ask(sandbox, key)).json()["id"] == 1


async def test_an_unknown_message_is_204_without_a_body() -> None:
    sandbox = unlimited()
    sandbox.add_message(1)
    for key in ("2", "nobody", "²", "-1", "1" * 5000, "0" * 40 + "1"):
        response = await ask(sandbox, key)
        assert (response.status_code, response.content) == (204, b""), key
        assert "content-length" not in response.headers


async def test_an_id_goes_before_a_custom_id_that_looks_like_it() -> None:
    sandbox = unlimited()
    sandbox.add_message(5, custom_id="0007")
    assert (await ask(sandbox, "0007")).json()["id"] == 5
    sandbox.add_message(7)
    assert (await ask(sandbox, "0007")).json()["id"] == 7


async def test_a_message_may_be_called_search() -> None:
    sandbox = unlimited()
    sandbox.add_message(5, custom_id="search")
    assert (await ask(sandbox, "search")).json()["id"] == 5


async def test_of_one_custom_id_the_message_sent_last_is_answered() -> None:
    sandbox = unlimited()
    sandbox.add_message(1, custom_id="a", sent_date=SENT)
    sandbox.add_message(2, custom_id="a", sent_date=SENT + timedelta(hours=1))
    sandbox.add_message(3, custom_id="a", sent_date=SENT)
    sandbox.add(MessageStatus(id=4, custom_id="a"))
    assert (await ask(sandbox, "a")).json()["id"] == 2


async def test_of_messages_sent_together_the_last_one_added_is_answered() -> None:
    sandbox = unlimited()
    sandbox.add_message(2, custom_id="a", sent_date=SENT)
    sandbox.add_message(1, custom_id="a", sent_date=SENT)
    sandbox.add_message(2, custom_id="a", sent_date=SENT, state=DeliveryState.READ)
    assert (await ask(sandbox, "a")).json()["id"] == 1


# --- many messages --------------------------------------------------------------------------------


async def test_a_search_answers_in_the_order_asked_with_each_message_once() -> None:
    sandbox = unlimited()
    sandbox.add_message(1, custom_id="a")
    sandbox.add_message(2, custom_id="b")
    sandbox.add_message(3)
    sandbox.add_message(4, custom_id="a")
    body = {"ids": ["0003", 2, "2", 99], "customIds": ["a", "b", "nobody", "a"]}
    assert found(await search(sandbox, body)) == [3, 2, 1, 4]


async def test_a_search_takes_ids_and_custom_ids_for_what_they_say_they_are() -> None:
    sandbox = unlimited()
    sandbox.add_message(1, custom_id="2")
    sandbox.add_message(2)
    assert found(await search(sandbox, {"customIds": ["2"]})) == [1]
    assert found(await search(sandbox, {"ids": ["2"]})) == [2]


async def test_a_search_that_finds_nothing_is_204_without_a_body() -> None:
    sandbox = unlimited()
    sandbox.add_message(1)
    bodies: list[dict[str, Any]] = [{}, {"ids": []}, {"ids": [9, -1], "customIds": ["nobody"]}]
    for body in bodies:
        response = await search(sandbox, body)
        assert (response.status_code, response.content) == (204, b"")


async def test_the_cap_is_on_what_is_returned_not_on_what_is_asked() -> None:
    sandbox = unlimited()
    for id in range(1, 301):
        sandbox.add_message(id, custom_id="all")
    assert found(await search(sandbox, {"customIds": ["all"]})) == list(range(1, 201))
    assert found(await search(sandbox, {"ids": list(range(101, 1001))})) == list(range(101, 301))
    assert found(await search(sandbox, {"ids": [*range(1000, 2000), 5]})) == [5]
    assert len(found(await search(sandbox, {"ids": [300] * 250, "customIds": ["all"]}))) == 200


async def test_the_cap_can_be_chosen() -> None:
    sandbox = unlimited(max_items=2)
    for id in range(3):
        sandbox.add_message(id, custom_id="all")
    assert found(await search(sandbox, {"ids": [2, 1, 0]})) == [2, 1]
    assert found(await search(sandbox, {"ids": [2], "customIds": ["all"]})) == [2, 0]


async def test_a_body_that_is_not_a_search_is_400() -> None:
    sandbox = unlimited()
    sandbox.add_message(1)
    contents = [
        *(b"", b"{", b"\xff\xfe\xfd", b"[" * 200_000, b"[]", b'"ids"', b'{"ids": "1"}', b'{"ids": null}'),
        *(b'{"customIds": {"a": 1}}', b'{"customIds": [1]}', b'{"customIds": [["a"]]}'),
        *(b'{"ids": ["a"]}', b'{"ids": [true]}', b'{"ids": [1.0]}', b'{"ids": [null]}'),
        *(b'{"ids": ["%b"]}' % (b"1" * 5000), b'{"ids": [%b]}' % (b"1" * 5000)),
    ]
    async with open_client(sandbox) as client:
        for content in contents:
            assert (await client.post(SEARCH, content=content)).status_code == 400, content[:24]
    assert (sandbox.requests, sandbox.answered, sandbox.keys) == (len(contents), 0, 0)


async def test_leading_zeros_print_ids_as_the_documents_do() -> None:
    sandbox = unlimited(leading_zeros=True)
    sandbox.add_message(1, instance_token='"id":1')
    sandbox.add_message(1_234_567)
    one = await ask(sandbox)
    assert '"id":000001,' in one.text
    with pytest.raises(json.JSONDecodeError):
        one.json()
    assert json.loads(one.text.replace("000001", "1"))["instanceToken"] == '"id":1'
    many = await search(sandbox, {"ids": [1, 1_234_567]})
    assert '"id":000001,' in many.text
    assert '"id":1234567,' in many.text
    with pytest.raises(json.JSONDecodeError):
        many.json()


# --- adding ---------------------------------------------------------------------------------------


async def test_a_state_has_smsfires_code_and_name() -> None:
    sandbox = unlimited()
    names = ["PENDING", "ACCEPTED", "DELIVERED", "UNDELIVERED", "REJECTED", "EXPIRED", "READ"]
    for code, name in enumerate(names):
        state = DeliveryState(name.replace("ACCEPTED", "SENT"))
        message = sandbox.add_message(1, state=state)
        assert (message.state, message.status_code, message.status_name) == (state, code, name)
        item = (await ask(sandbox)).json()
        assert (item["statusCode"], item["statusName"]) == (code, name)
    for state in (DeliveryState.FAILED, DeliveryState.UNKNOWN):
        assert "use one of PENDING, SENT" in refusal(sandbox.add_message, 1, state=state)


def test_an_added_message_is_dated_now_in_whole_seconds_and_keeps_its_sent_date() -> None:
    sandbox = Sandbox()
    before = datetime.now(UTC).replace(microsecond=0)
    first = sandbox.add_message(1)
    assert first.sent_date is not None
    assert before <= first.sent_date <= datetime.now(UTC)
    assert first.sent_date.microsecond == 0
    assert first.sent_date == first.status_date
    sandbox.add_message(2, sent_date=SENT, status_date=SENT)
    again = sandbox.add_message(2, state=DeliveryState.READ)
    assert again.sent_date == SENT
    assert again.status_date is not None
    assert again.status_date >= before


async def test_adding_an_id_again_replaces_the_message() -> None:
    sandbox = unlimited()
    sandbox.add_message(1, custom_id="a", state=DeliveryState.PENDING)
    sandbox.add_message(2, custom_id="a")
    sandbox.add_message(1, custom_id="a", state=DeliveryState.READ)
    response = await search(sandbox, {"customIds": ["a"]})
    assert [(item["id"], item["statusName"]) for item in response.json()] == [(1, "READ"), (2, "DELIVERED")]
    assert len(sandbox.messages) == 2


@pytest.mark.parametrize("new", ["b", None])
async def test_a_replaced_message_is_no_longer_found_by_its_old_custom_id(new: str | None) -> None:
    sandbox = unlimited()
    sandbox.add_message(1, custom_id="a")
    sandbox.add_message(2, custom_id="a")
    sandbox.add_message(1, custom_id=new)
    assert found(await search(sandbox, {"customIds": ["a"]})) == [2]
    sandbox.add_message(2, custom_id=None)
    assert (await ask(sandbox, "a")).status_code == 204
    assert (await search(sandbox, {"customIds": ["a"]})).status_code == 204
    assert (await ask(sandbox, "b")).status_code == (200 if new else 204)
    assert found(await search(sandbox, {"ids": [1]})) == [1]


def test_the_messages_can_be_read_and_not_written() -> None:
    sandbox = Sandbox()
    message = sandbox.add_message(3)
    other = MessageStatus(id=4)
    sandbox.add(other, MessageStatus(id=5))
    assert sandbox.messages[3] is message
    assert list(sandbox.messages) == [3, 4, 5]
    with pytest.raises(TypeError):
        sandbox.messages[3] = other  # type: ignore[index] # the mistake that is tested


def test_a_status_change_costs_the_same_however_often_a_custom_id_is_repeated() -> None:
    def seconds_for_changes(sandbox: Sandbox) -> float:
        messages = [MessageStatus(id=id, custom_id="a") for id in range(1000)]
        tries = []
        for _ in range(5):
            start = time.perf_counter()
            sandbox.add(*messages)
            tries.append(time.perf_counter() - start)
        return min(tries)

    few, many = Sandbox(), Sandbox()
    few.add(*(MessageStatus(id=id, custom_id="a") for id in range(1000)))
    many.add(*(MessageStatus(id=id, custom_id="a") for id in range(50_000, -1, -1)))
    # A search through 50,000 namesakes would make it some hundred times slower, not twenty.
    assert seconds_for_changes(many) < 20 * seconds_for_changes(few)


def test_a_message_that_smsfire_could_not_have_is_refused() -> None:
    sandbox = Sandbox()
    text: Any = "1"
    refusals: list[tuple[Any, str]] = [
        ({"id": 1}, "TypeError: a message is a MessageStatus, not dict"),
        (MessageStatus(id=True), "TypeError: the id of a message is an int, not bool"),
        (MessageStatus(id=text), "TypeError: the id of a message is an int, not str"),
        (MessageStatus(id=-1), "ValueError: the id of a message must be 0 or more, not -1"),
        (MessageStatus(id=1, custom_id="no spaces"), "ValueError: a customId has 1 to 40"),
        (MessageStatus(id=1, sent_date=datetime(2026, 1, 1)), "ValueError: the dates of a message"),
        (MessageStatus(id=1, status_date=datetime(2026, 1, 1)), "ValueError: the dates of a message"),
    ]
    for message, expected in refusals:
        assert refusal(sandbox.add, message).startswith(expected)
    assert not sandbox.messages


# --- misuse ---------------------------------------------------------------------------------------


def test_a_wrong_argument_says_what_to_do() -> None:
    token = "ValueError: token must be printable ASCII and not empty, or no header could carry it"
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"token": b"x"}, "TypeError: token is a str, not bytes"),
        ({"token": ""}, token),
        ({"token": "sécret"}, token),
        ({"token": "a\nb"}, token),
        ({"rate_limit": 2}, "TypeError: rate_limit is a RateLimit or None, not int"),
        (
            {"rate_limit": RateLimit(0.5)},
            "ValueError: a fixed_window counts whole requests, not 0.5: choose a longer",
        ),
        (
            {"rate_limit": RateLimit(1.5), "counting": "sliding_window"},
            "ValueError: a sliding_window counts whole",
        ),
        ({"counting": "leaky"}, "ValueError: counting is one of fixed_window, sliding_window, spacing"),
        ({"latency": "1"}, "TypeError: latency is a number of seconds, not str"),
        ({"latency": True}, "TypeError: latency is a number of seconds, not bool"),
        ({"latency": -1}, "ValueError: latency must be 0 or more and finite, not -1"),
        ({"latency": float("nan")}, "ValueError: latency must be 0 or more and finite, not nan"),
        ({"retry_after": float("inf")}, "ValueError: retry_after must be 0 or more and finite, not inf"),
        ({"max_items": 0}, "ValueError: max_items must be 1 or more, not 0"),
        ({"max_items": 1.0}, "TypeError: max_items is an int, not float"),
        ({"max_items": True}, "TypeError: max_items is an int, not bool"),
        ({"clock": 1.0}, "TypeError: clock is a function that returns seconds, not float"),
    ]
    assert not_refused_so(Sandbox, refusals) == []
    assert "sécret" not in refusal(Sandbox, token="sécret")


def test_a_wrong_limit_is_refused_while_it_runs_and_changes_nothing() -> None:
    sandbox = Sandbox()
    with pytest.raises(TypeError, match="rate_limit is a RateLimit or None"):
        sandbox.rate_limit = 2  # type: ignore[assignment] # the mistake that is tested
    with pytest.raises(ValueError, match="counts whole requests"):
        sandbox.rate_limit = RateLimit(2.5)
    assert sandbox.rate_limit == RateLimit(2, per=1.0)


async def test_spacing_takes_a_limit_below_one(clock: HandClock) -> None:
    sandbox = Sandbox(counting="spacing", rate_limit=RateLimit(0.5, per=1.0), clock=clock)
    assert await codes_at(sandbox, clock, [0.0, 1.9, 2.0]) == [204, 429, 204]


def test_the_repr_shows_state_and_no_token() -> None:
    sandbox = Sandbox(token="secret")
    sandbox.add_message(1)
    assert repr(sandbox) == (
        "<Sandbox fixed_window RateLimit(limit=2, per=1.0): 1 messages, 0 requests, 0 rejections>"
    )
