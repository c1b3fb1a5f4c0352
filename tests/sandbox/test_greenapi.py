"""The sandbox's GREEN-API half: instances, their limits and quotas, and what the documents show."""

import json
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any

import httpx
import pytest

from statuslookup import DeliveryState, RateLimit, Receipt, StatusStatistic
from statuslookup.sandbox import Sandbox
from tests.support.greenapi_requests import (
    DELIVERED,
    ID,
    READ,
    SENT,
    STORY,
    ask,
    client_of,
    counts,
    unlimited,
)
from tests.support.refusals import not_refused_so, refusal

SEEN_AT = datetime.fromtimestamp(1587129319, UTC)


# The example of "GetStatusStatistic".
DOCUMENTED = (
    Receipt(participant="11001234567@c.us", timestamp=SEEN_AT, status="read", state=READ),
    Receipt(participant="71234567891@c.us", timestamp=SEEN_AT, status="read", state=READ),
)


# --- answers --------------------------------------------------------------------------------------


async def test_a_statistic_has_the_documented_fields_in_the_documented_order() -> None:
    sandbox = Sandbox()
    sandbox.add_instance().add_statistic(STORY, *DOCUMENTED)
    response = await ask(sandbox)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert [list(item.items()) for item in response.json()] == [
        [("timestamp", 1587129319), ("participant", "11001234567@c.us"), ("status", "read")],
        [("timestamp", 1587129319), ("participant", "71234567891@c.us"), ("status", "read")],
    ]


async def test_an_unknown_key_is_an_empty_array() -> None:
    sandbox = Sandbox()
    sandbox.add_instance().add_statistic(STORY, READ)
    response = await ask(sandbox, "another")
    assert (response.status_code, response.content) == (200, b"[]")


async def test_a_key_may_hold_anything() -> None:
    sandbox = Sandbox()
    sandbox.add_instance().add_statistic("a b&c=é/%2F+", READ)
    assert len((await ask(sandbox, "a b&c=é/%2F+")).json()) == 1


async def test_trailing_commas_are_where_the_documents_have_them() -> None:
    sandbox = Sandbox(trailing_commas=True)
    instance = sandbox.add_instance(rate_limit=None)
    instance.add_statistic(STORY, *DOCUMENTED)
    instance.add_statistic("nobody")
    text = (await ask(sandbox)).text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    assert text.endswith('"read",},]')
    assert text.count(",}") == 2
    assert (await ask(sandbox, "nobody")).text == "[]"


async def test_array_participants_are_those_with_one_timestamp_and_status_in_a_row() -> None:
    sandbox = Sandbox(array_participants=True)
    other = Receipt(participant="3@c.us", timestamp=SEEN_AT, state=SENT)
    sandbox.add_instance().add_statistic(STORY, *DOCUMENTED, other)
    assert [(item["participant"], item["status"]) for item in (await ask(sandbox)).json()] == [
        (["11001234567@c.us", "71234567891@c.us"], "read"),
        (["3@c.us"], "sent"),
    ]


@pytest.mark.virtual_time
async def test_the_client_reads_every_way_of_writing() -> None:
    for trailing_commas, array_participants in product([True, False], repeat=2):
        sandbox = Sandbox(trailing_commas=trailing_commas, array_participants=array_participants)
        other = Receipt(participant="3@c.us", state=SENT)
        added = sandbox.add_instance().add_statistic(STORY, *DOCUMENTED, other)
        async with client_of(sandbox) as client:
            assert await client.get(STORY) == added
            assert await client.get("unknown") == StatusStatistic(id_message="unknown")


async def test_a_state_has_green_apis_word() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance(rate_limit=None)
    before = datetime.now(UTC).replace(microsecond=0)
    for state in (SENT, DELIVERED, READ, DeliveryState.FAILED):
        (receipt,) = instance.add_statistic(STORY, state).receipts
        assert (receipt.state, receipt.status) == (state, state.lower())
        assert receipt.timestamp is not None
        assert before <= receipt.timestamp <= datetime.now(UTC)
        (item,) = (await ask(sandbox)).json()
        assert (item["status"], item["timestamp"]) == (state.lower(), receipt.timestamp.timestamp())


async def test_what_a_receipt_does_not_have_is_left_out_and_raw_words_are_kept() -> None:
    sandbox = Sandbox()
    bare, raw = Receipt(participant="1"), Receipt(participant="2", status="seenTwice")
    sandbox.add_instance().add_statistic(STORY, bare, raw)
    assert (await ask(sandbox)).json() == [{"participant": "1"}, {"participant": "2", "status": "seenTwice"}]


async def test_invented_recipients_differ() -> None:
    statistic = unlimited().add_statistic(STORY, READ, READ, SENT)
    assert len({receipt.participant for receipt in statistic.receipts}) == 3


async def test_adding_a_key_again_replaces_its_statistic() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    instance.add_statistic(STORY, SENT, SENT)
    instance.add(StatusStatistic(id_message=STORY, receipts=DOCUMENTED[:1]))
    assert [item["status"] for item in (await ask(sandbox)).json()] == ["read"]
    assert list(instance.statistics) == [STORY]
    with pytest.raises(TypeError):
        instance.statistics["x"] = instance.statistics[STORY]  # type: ignore[index] # the point of the test


async def test_a_state_can_be_changed_for_one_recipient_and_for_all() -> None:
    instance = unlimited()
    instance.add_statistic(STORY, SENT, SENT)
    first = instance.statistics[STORY].receipts[0].participant
    changed = instance.change_state(STORY, READ, participant=first)
    assert [(one.state, one.status) for one in changed.receipts] == [(READ, "read"), (SENT, "sent")]
    assert changed is instance.statistics[STORY]
    assert instance.change_state(STORY, DELIVERED).counts == {DELIVERED: 2}


# --- gates ----------------------------------------------------------------------------------------


async def test_a_wrong_token_is_401_and_counted() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance(rate_limit=None)
    method = "/getStatusStatistic"
    wrong = ["Sandbox", "sandbox2", "s%C3%A9cret"]
    rests = ["", "/", method, f"{method}/", "/sandbox/getStatusStatistic", *(f"{method}/{t}" for t in wrong)]
    assert {rest: (await ask(sandbox, rest=rest)).status_code for rest in rests} == dict.fromkeys(rests, 401)
    assert counts(instance) == (len(rests), 0, 0, 0)


async def test_a_wrong_instance_is_401_and_counted_nowhere() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    for id_instance in (1101000002, 110100000, "1" * 20, "0"):
        response = await ask(sandbox, id_instance=id_instance)
        assert (response.status_code, response.json()) == (401, {"error": "unauthorized"})
    assert counts(instance) == counts(sandbox) == (0, 0, 0, 0)


async def test_other_paths_and_methods_are_refused() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance(rate_limit=None)
    for rest in (
        "/getStateInstance/sandbox",
        "/getStatusStatistic/sandbox/more",
        "/getStatusStatistic/sandbox/",
    ):
        assert (await ask(sandbox, rest=rest)).status_code == 404
    assert (await ask(sandbox, method="POST")).status_code == 405
    assert counts(instance) == (4, 0, 0, 0)


async def test_without_a_key_it_is_400() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance(quota=0, rate_limit=None)
    assert [(await ask(sandbox, id_message)).status_code for id_message in (None, "")] == [400, 400]
    assert counts(instance) == (2, 0, 0, 0)


async def test_a_path_that_is_not_green_apis_is_smsfires() -> None:
    sandbox = Sandbox(rate_limit=None)
    sandbox.add_instance()
    transport = httpx.ASGITransport(app=sandbox)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for path in ("/waInstance", "/waInstanceX/getStatusStatistic/sandbox", "/wa"):
            assert (await client.get(path)).status_code == 401
    assert sandbox.requests == 3


async def test_it_answers_below_a_path_of_its_own() -> None:
    sandbox = Sandbox()
    sandbox.add_instance().add_statistic(STORY, READ)
    transport = httpx.ASGITransport(app=sandbox, root_path="/green")
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost/green") as client:
        response = await client.get(f"/waInstance{ID}/getStatusStatistic/sandbox?idMessage={STORY}")
    assert response.status_code == 200
    assert len(response.json()) == 1


# --- misuse ---------------------------------------------------------------------------------------


def test_a_wrong_argument_says_what_to_do() -> None:
    sandbox = Sandbox()
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"id_instance": "1"}, "TypeError: id_instance is an int, not str"),
        ({"id_instance": True}, "TypeError: id_instance is an int, not bool"),
        ({"id_instance": 0}, "ValueError: id_instance must be 1 or more, not 0"),
        ({"api_token_instance": 5}, "TypeError: api_token_instance is a str, not int"),
        ({"api_token_instance": ""}, "ValueError: api_token_instance must be letters and digits"),
        ({"api_token_instance": "sé/cret"}, "ValueError: api_token_instance must be letters and digits"),
        ({"rate_limit": 1}, "TypeError: rate_limit is a RateLimit or None, not int"),
        ({"rate_limit": RateLimit(0.5)}, "ValueError: a fixed_window counts whole requests, not 0.5"),
        ({"quota": "many"}, "TypeError: quota is an int or None, not str"),
        ({"quota": True}, "TypeError: quota is an int or None, not bool"),
    ]
    assert not_refused_so(sandbox.add_instance, refusals) == []
    assert "cret" not in refusal(sandbox.add_instance, api_token_instance="sé/cret")
    assert not sandbox.instances


def test_an_instance_is_added_once() -> None:
    sandbox = Sandbox()
    first = sandbox.add_instance()
    with pytest.raises(ValueError, match="the instance 1101000001 is there already"):
        sandbox.add_instance()
    assert sandbox.instances == {ID: first}
    assert first.id_instance == ID


def test_what_green_api_could_not_have_is_refused() -> None:
    instance = unlimited()
    receipts: list[tuple[Any, str]] = [
        (DeliveryState.EXPIRED, "use one of SENT, DELIVERED, READ, FAILED"),
        (Receipt(participant="1", state=DeliveryState.PENDING), "ValueError: GREEN-API has no state"),
        ("read", "TypeError: a receipt is a Receipt or a DeliveryState, not str"),
        (Receipt(participant="1", timestamp=datetime(2026, 1, 1)), "give it a tzinfo"),
    ]
    for receipt, text in receipts:
        assert text in refusal(instance.add_statistic, STORY, receipt)
    number: Any = 5
    statistics: list[tuple[Any, str]] = [
        (STORY, "TypeError: a statistic is a StatusStatistic, not str"),
        (StatusStatistic(id_message=""), "ValueError: an idMessage is not empty"),
        (StatusStatistic(id_message=number), "TypeError: an idMessage is a str, not int"),
    ]
    for statistic, text in statistics:
        assert refusal(instance.add, statistic) == text
    assert not instance.statistics


def test_only_what_was_added_can_change() -> None:
    instance = unlimited()
    with pytest.raises(ValueError, match="no statistic has the idMessage 'x': add it first"):
        instance.change_state("x", READ)
    instance.add_statistic(STORY, SENT)
    with pytest.raises(ValueError, match="no such recipient 'nobody'"):
        instance.change_state(STORY, READ, participant="nobody")
    with pytest.raises(ValueError, match="GREEN-API has no state"):
        instance.change_state(STORY, DeliveryState.EXPIRED)


def test_the_repr_shows_state_and_no_token() -> None:
    instance = Sandbox().add_instance(api_token_instance="secret")
    instance.add_statistic(STORY, READ)
    assert repr(instance) == (
        "<Instance 1101000001 RateLimit(limit=1, per=1.0): 1 statistics, 0 requests, 0 rejections>"
    )


def test_dates_of_any_zone_are_unix_times() -> None:
    instance = unlimited()
    india = timezone(timedelta(hours=5, minutes=30))
    receipt = Receipt(participant="1", timestamp=SEEN_AT.astimezone(india), state=READ)
    instance.add_statistic(STORY, receipt)
    assert instance.statistics[STORY].receipts[0].timestamp == SEEN_AT
