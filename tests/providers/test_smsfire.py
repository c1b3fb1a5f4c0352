"""SMSFire's exchange, driven by hand: requests out, responses in, no socket and no clock."""

import itertools
from datetime import datetime
from typing import Any

import pytest

from statuslookup import CustomId, DeliveryState, MessageKey, MessageStatus, Request, Response
from tests.support.smsfire_exchanges import (
    KEYS,
    NOTHING_FOUND,
    Dialogue,
    ask,
    first_request,
    found_id,
    in_turn,
    item,
    ok,
    searched,
)

# --- which keys go by GET, which by POST ----------------------------------------------------------


def test_one_key_that_means_one_thing_goes_by_get() -> None:
    keys: list[MessageKey] = [
        0,
        1,
        10**40 - 1,
        *map(CustomId, ("firezap0001", "1a", "1.5", "-1", "...", ".a")),
    ]
    for key in keys:
        request = Request("GET", f"/whatsapp/status/{key}", authorization="Basic ***")
        assert first_request([key]) == request


def test_one_custom_id_that_could_be_an_id_or_a_path_goes_by_post() -> None:
    for key in ("1", "000001", "0" * 40, ".", "..", "search"):
        assert searched(first_request([CustomId(key)])) == {"customIds": [key]}


def test_many_keys_go_by_post_with_ids_as_strings_and_no_empty_list() -> None:
    assert searched(first_request([1, CustomId("1")])) == {"ids": ["1"], "customIds": ["1"]}
    assert searched(first_request([2, 1])) == {"ids": ["2", "1"]}
    request = first_request([CustomId("b"), CustomId("a")])
    assert searched(request) == {"customIds": ["b", "a"]}
    assert (request.authorization, request.query) == ("Basic ***", "")


def test_a_full_batch_is_one_request() -> None:
    keys = list(range(200))
    exchange = Dialogue(keys, in_turn(ok(*(item(key) for key in keys))))
    assert exchange.ids == {key: key for key in keys}
    assert len(searched(exchange.requests[0])["ids"]) == 200


def test_the_token_is_in_no_request() -> None:
    for keys in KEYS:
        assert "canary" not in repr(first_request(keys))


# --- what responses mean --------------------------------------------------------------------------


@pytest.mark.parametrize("keys", KEYS, ids=len)
def test_nothing_found_is_none_for_every_key(keys: list[MessageKey]) -> None:
    for reply in (NOTHING_FOUND, Response(200, b"[]"), Response(204, b"ignored")):
        assert ask(keys, reply) == dict.fromkeys(keys)


def test_one_message_may_come_as_an_object_or_in_an_array() -> None:
    for body in (b'{"id": 1, "statusCode": 2}', b'[{"id": 1, "statusCode": 2}]'):
        for keys in ([1], [1, 2]):
            outcome = ask(keys, Response(200, body))[1]
            assert isinstance(outcome, MessageStatus)
            assert outcome.state is DeliveryState.DELIVERED


def test_items_are_matched_in_any_order() -> None:
    for items in itertools.permutations([item(1, "x"), item(2, "a"), item(3)]):
        outcomes = Dialogue([3, CustomId("a"), 1, 4], in_turn(ok(*items))).ids
        assert outcomes == {3: 3, CustomId("a"): 2, 1: 1, 4: None}


def test_leading_zeros_are_the_same_id() -> None:
    for body in (b'{"id": 000001}', b'[{"id": 000001,},]', b'{"id": "000001"}'):
        assert found_id(ask([1], Response(200, body))[1]) == 1
        assert found_id(ask([1, 2], Response(200, body))[1]) == 1


def test_one_message_asked_by_id_and_by_custom_id_is_the_outcome_of_both() -> None:
    outcomes = Dialogue([1, CustomId("a")], in_turn(ok(item(1, "a")))).ids
    assert outcomes == {1: 1, CustomId("a"): 1}


def test_a_numeric_custom_id_is_not_the_id_of_the_same_digits() -> None:
    outcomes = Dialogue([5, CustomId("5")], in_turn(ok(item(77, "5"), item(5, "x")))).ids
    assert outcomes == {5: 5, CustomId("5"): 77}
    assert Dialogue([5, 6], in_turn(ok(item(77, "5")))).ids == {5: None, 6: None}
    names = [CustomId("5"), CustomId("6")]
    assert Dialogue(names, in_turn(ok(item(5)))).ids == dict.fromkeys(names)


def test_foreign_items_beside_all_that_were_asked_for_are_ignored() -> None:
    items = ok(item(9, "z"), item(1), item(2, "a"), item(8))
    assert Dialogue([1, CustomId("a")], in_turn(items)).ids == {1: 1, CustomId("a"): 2}


def test_a_custom_id_is_compared_letter_by_letter() -> None:
    names = [CustomId("a"), CustomId("b")]
    assert Dialogue(names, in_turn(ok(item(2, "A"), item(3, "b")), ok())).ids == {names[0]: None, names[1]: 3}


def test_all_documented_fields_are_read() -> None:
    status = ask(
        [7, 8],
        ok(
            item(
                "7",
                "c",
                "2021-08-06T09:58:53-0300",
                instanceToken="t",
                messageType="TEXT",
                country=55,
                phone=5511944556677,
                statusCode="2",
                statusName="DELIVERED",
                statusDate="2021-08-06T09:59:02-0300",
                somethingNew=[1],
            )
        ),
    )[7]
    zone = datetime.fromisoformat("2021-08-06T09:58:53-03:00").tzinfo
    assert status == MessageStatus(
        id=7,
        custom_id="c",
        instance_token="t",
        message_type="TEXT",
        country="55",
        phone="5511944556677",
        status_code=2,
        status_name="DELIVERED",
        status_date=datetime(2021, 8, 6, 9, 59, 2, tzinfo=zone),
        sent_date=datetime(2021, 8, 6, 9, 58, 53, tzinfo=zone),
        state=DeliveryState.DELIVERED,
    )


def test_a_state_comes_from_the_code_or_else_from_the_name() -> None:
    states: dict[tuple[Any, str | None], DeliveryState] = {
        (0, "PENDING"): DeliveryState.PENDING,
        (1, "ACCEPTED"): DeliveryState.SENT,
        (2, "DELIVERED"): DeliveryState.DELIVERED,
        (3, "UNDELIVERED"): DeliveryState.UNDELIVERED,
        (4, "REJECTED"): DeliveryState.REJECTED,
        (5, "EXPIRED"): DeliveryState.EXPIRED,
        (6, "READ"): DeliveryState.READ,
        (99, "read"): DeliveryState.READ,
        (2, None): DeliveryState.DELIVERED,
        ("2", "NONSENSE"): DeliveryState.DELIVERED,
        (None, "EXPIRED"): DeliveryState.EXPIRED,
        ("", "ACCEPTED"): DeliveryState.SENT,
        (99, "NONSENSE"): DeliveryState.UNKNOWN,
        (-1, ""): DeliveryState.UNKNOWN,
        (None, None): DeliveryState.UNKNOWN,
        (99, "UNKNOWN"): DeliveryState.UNKNOWN,
    }
    for (code, name), state in states.items():
        status = ask([1, 2], ok(item(1, statusCode=code, statusName=name)))[1]
        assert isinstance(status, MessageStatus)
        assert (status.state, status.status_name) == (state, name), (code, name)
        assert status.status_code == (int(code) if code not in (None, "") else None)
