"""Both providers' webhooks: whatever arrives is a list of statuses, or a ``DecodeError``."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from statuslookup import (
    DecodeError,
    DeliveryState,
    GreenAPI,
    MessageStatus,
    Receipt,
    SMSFire,
    StatusStatistic,
)
from tests.support.greenapi_exchanges import WORDS
from tests.support.webhooks import GREEN_API_ITEM, SMSFIRE_ITEM

Parse = Callable[[Any], list[Any]]
BOTH = pytest.mark.parametrize(
    "parse", [SMSFire.parse_webhook, GreenAPI.parse_webhook], ids=["SMSFire", "GREEN-API"]
)
ITEMS: list[Any] = [
    pytest.param(SMSFire.parse_webhook, SMSFIRE_ITEM, id="SMSFire"),
    pytest.param(GreenAPI.parse_webhook, GREEN_API_ITEM, id="GREEN-API"),
]
EITHER = pytest.mark.parametrize(("parse", "item"), ITEMS)


def smsfire(**fields: Any) -> MessageStatus:
    """Return what becomes of a webhook with these fields and an id."""
    (status,) = SMSFire.parse_webhook(json.dumps({"id": 1, **fields}))
    return status


def green_api(**fields: Any) -> Receipt:
    """Return the receipt of a webhook with these fields, its type and its idMessage."""
    body = {"typeWebhook": "outgoingMessageStatus", "idMessage": "BAE5", **fields}
    (statistic,) = GreenAPI.parse_webhook(json.dumps(body))
    assert statistic.id_message == "BAE5"
    (receipt,) = statistic.receipts
    return receipt


def without(item: dict[str, Any], name: str) -> dict[str, Any]:
    return {other: value for other, value in item.items() if other != name}


# --- both -----------------------------------------------------------------------------------------


@EITHER
def test_every_kind_of_body_says_the_same(parse: Parse, item: dict[str, Any]) -> None:
    expected = parse(item)
    assert len(expected) == 1
    text = json.dumps(item)
    texts: list[Any] = [text, f" \r\n{text}\n", f"[{text}]", f"[{text[:-1]},}},]", f"\ufeff{text}"]
    kinds: list[Any] = [
        str.encode,
        lambda text: bytearray(text.encode()),
        lambda text: memoryview(text.encode()),
    ]
    for body in (*texts, [item], *(kind(text) for kind in kinds for text in texts)):
        assert parse(body) == expected


@EITHER
def test_an_array_is_several_statuses_in_their_order(parse: Parse, item: dict[str, Any]) -> None:
    (one,) = parse(item)
    assert parse([item, item]) == [one, one]
    assert parse([]) == parse("[]") == []


@EITHER
def test_a_body_that_is_passed_is_not_changed(parse: Parse, item: dict[str, Any]) -> None:
    body = json.loads(json.dumps(item))
    parse(body)
    assert body == item


@EITHER
def test_extra_fields_are_ignored(parse: Parse, item: dict[str, Any]) -> None:
    extras: list[Any] = [None, [], {"a": 1}, "x", 1.5]
    for extra in extras:
        assert parse({**item, "further": extra, "": extra}) == parse(item)


@EITHER
def test_one_readable_item_is_enough(parse: Parse, item: dict[str, Any]) -> None:
    (one,) = parse(item)
    assert parse([item, {}, 7, item]) == parse([{}, item, item]) == [one, one]


@BOTH
def test_the_work_on_a_webhook_and_what_is_said_of_it_are_bounded(parse: Parse) -> None:
    for body, said in (
        (b"[" + b"1," * 499_999 + b"1]", "the webhook cannot be read: more than 10,000 values"),
        ([1] * 500_000, "; and 499,990 more"),
        (b" " * 1024 * 1024 + b"1", "the webhook is larger than 1,048,576 bytes"),
        ("\ufeff" * 1_100_000, "the webhook is larger than 1,048,576 bytes"),
    ):
        with pytest.raises(DecodeError) as caught:
            parse(body)
        assert str(caught.value).endswith(said)
        assert len(str(caught.value)) + len(str(caught.value.problems)) < 300


@EITHER
def test_a_webhook_has_at_most_a_thousand_items(parse: Parse, item: dict[str, Any]) -> None:
    assert len(parse([item] * 1000)) == 1000
    with pytest.raises(DecodeError, match="the webhook has more than 1,000 items"):
        parse([item] * 1001)


@BOTH
def test_a_foreign_body_is_a_decode_error(parse: Parse) -> None:
    texts = (b"", "", b"null", b"7", b'"text"', b"<html></html>", b"\xff", b"[{]", b"NaN")
    values: tuple[Any, ...] = (
        {},
        [{}],
        [[]],
        [7],
        [None],
        {"id": None},
        {"status": "read"},
        {"typeWebhook": 7},
    )
    for body in (*texts, *values, {"idMessage": "a"}):
        with pytest.raises(DecodeError, match=r"^(SMSFire|GREEN-API): the webhook "):
            parse(body)


@BOTH
def test_what_is_no_body_is_a_decode_error(parse: Parse) -> None:
    for body in (None, 7, 1.5, True):
        with pytest.raises(DecodeError, match="the webhook is neither an object nor an array"):
            parse(body)


async def _read() -> bytes:
    raise NotImplementedError


@BOTH
def test_what_no_framework_hands_over_is_misuse(parse: Parse) -> None:
    unawaited = _read()
    with pytest.raises(TypeError, match="a webhook is bytes, a str, a dict or a list, not coroutine"):
        parse(unawaited)
    unawaited.close()
    for body in (object(), {1}, ("a",)):
        with pytest.raises(TypeError, match="a webhook is bytes, a str, a dict or a list, not "):
            parse(body)


def test_the_other_providers_body_is_foreign() -> None:
    with pytest.raises(DecodeError, match="SMSFire"):
        SMSFire.parse_webhook(GREEN_API_ITEM)
    with pytest.raises(DecodeError, match="GREEN-API"):
        GreenAPI.parse_webhook(SMSFIRE_ITEM)


@EITHER
def test_an_error_does_not_quote_the_body(parse: Parse, item: dict[str, Any]) -> None:
    for body in (
        {"canary": "canary"},
        json.dumps({**item, "id": ["canary"], "status": ["canary"]}),
        "canary",
    ):
        with pytest.raises(DecodeError) as caught:
            parse(body)
        assert "canary" not in str(caught.value) + repr(vars(caught.value))


@EITHER
def test_a_webhook_is_read_in_less_than_a_millisecond(parse: Parse, item: dict[str, Any]) -> None:
    body = json.dumps(item).encode()
    parse(body)
    # The best of several, and of this thread alone: the machine may be doing other things as well.
    seconds = []
    for _ in range(50):
        started = time.thread_time()
        parse(body)
        seconds.append(time.thread_time() - started)
    assert min(seconds) < 0.001


# --- SMSFire --------------------------------------------------------------------------------------


def test_smsfires_webhook_is_a_message_status() -> None:
    moment = datetime(2021, 8, 6, 12, 59, 2, tzinfo=UTC)
    assert SMSFire.parse_webhook(SMSFIRE_ITEM) == [
        MessageStatus(
            id=1,
            custom_id="firezap0001",
            instance_token="an instance",
            message_type="TEXT",
            country="55",
            phone="5511944556677",
            status_code=2,
            status_name="DELIVERED",
            status_date=moment,
            sent_date=moment - timedelta(seconds=9),
            state=DeliveryState.DELIVERED,
        )
    ]


def test_smsfires_leading_zeros_are_read() -> None:
    assert SMSFire.parse_webhook('{"id": 000017, "statusCode": 05}') == [
        MessageStatus(id=17, status_code=5, state=DeliveryState.EXPIRED)
    ]


def test_any_field_of_smsfires_but_the_id_may_be_missing_or_null() -> None:
    for name in SMSFIRE_ITEM.keys() - {"id"}:
        (missing,) = SMSFire.parse_webhook(without(SMSFIRE_ITEM, name))
        assert missing.id == 1
        assert SMSFire.parse_webhook({**SMSFIRE_ITEM, name: None}) == [missing]
    bad_ids: list[Any] = [None, "", "x", [], {}, True, 1.5]
    for id in bad_ids:
        with pytest.raises(DecodeError, match="id "):
            SMSFire.parse_webhook({**SMSFIRE_ITEM, "id": id})


def test_smsfires_empty_and_unknown_statuses_are_kept() -> None:
    states = {
        ("", None): DeliveryState.UNKNOWN,
        ("NEW ONE", 77): DeliveryState.UNKNOWN,
        ("READ", 77): DeliveryState.READ,
        ("NEW ONE", 3): DeliveryState.UNDELIVERED,
        (None, "3"): DeliveryState.UNDELIVERED,
    }
    for (name, code), state in states.items():
        status = smsfire(statusName=name, statusCode=code)
        assert (status.state, status.status_name) == (state, name)


# --- GREEN-API ------------------------------------------------------------------------------------


def test_green_apis_webhook_is_a_statistic_with_one_receipt() -> None:
    assert GreenAPI.parse_webhook(GREEN_API_ITEM) == [
        StatusStatistic(
            id_message="BAE5367237E13A87",
            receipts=(
                Receipt(
                    participant="79876543210@c.us",
                    timestamp=datetime(2020, 4, 12, 14, 11, 30, tzinfo=UTC),
                    status="read",
                    state=DeliveryState.READ,
                ),
            ),
        )
    ]


def test_every_other_webhook_of_green_apis_gives_nothing() -> None:
    for kind in ("incomingMessageReceived", "stateInstanceChanged", "", "OutgoingMessageStatus", "new"):
        assert GreenAPI.parse_webhook({**GREEN_API_ITEM, "typeWebhook": kind}) == []
        assert GreenAPI.parse_webhook({"typeWebhook": kind}) == []


def test_a_notification_is_read_by_its_body() -> None:
    expected = GreenAPI.parse_webhook(GREEN_API_ITEM)
    notification = {"receiptId": 1, "body": GREEN_API_ITEM}
    assert (
        GreenAPI.parse_webhook(notification) == GreenAPI.parse_webhook(json.dumps(notification)) == expected
    )
    assert GreenAPI.parse_webhook([notification, GREEN_API_ITEM]) == expected * 2
    assert GreenAPI.parse_webhook({"receiptId": 1, "body": {"typeWebhook": "incomingMessageReceived"}}) == []
    assert GreenAPI.parse_webhook({**GREEN_API_ITEM, "body": {}}) == expected
    bodies: list[Any] = [{"receiptId": 1, "body": None}, {"receiptId": 1, "body": notification}, {"body": []}]
    for body in bodies:
        with pytest.raises(DecodeError, match="typeWebhook is missing"):
            GreenAPI.parse_webhook(body)


def test_a_webhook_about_something_else_is_readable_too() -> None:
    assert GreenAPI.parse_webhook([{"typeWebhook": "incomingMessageReceived"}, {}]) == []


def test_any_other_field_of_green_apis_may_be_missing_or_null() -> None:
    for name in GREEN_API_ITEM.keys() - {"typeWebhook", "idMessage"}:
        missing = GreenAPI.parse_webhook(without(GREEN_API_ITEM, name))
        assert missing[0].id_message == "BAE5367237E13A87"
        assert GreenAPI.parse_webhook({**GREEN_API_ITEM, name: None}) == missing


def test_a_webhook_without_a_chat_has_a_receipt_of_nobody() -> None:
    assert green_api(status="read") == Receipt(participant="", status="read", state=DeliveryState.READ)


def test_green_apis_webhook_needs_an_id_message() -> None:
    bad_ones: list[Any] = [None, "", 7, ["a"], {}]
    bodies = [{**GREEN_API_ITEM, "idMessage": id_message} for id_message in bad_ones]
    for body in (*bodies, without(GREEN_API_ITEM, "idMessage")):
        with pytest.raises(DecodeError, match="idMessage is no text, or empty"):
            GreenAPI.parse_webhook(body)


def test_green_apis_words_have_states_and_are_kept() -> None:
    for word, state in WORDS.items():
        receipt = green_api(status=word, description="why")
        assert (receipt.status, receipt.state, receipt.description) == (word, state, "why")


def test_green_apis_trailing_commas_are_read() -> None:
    body = b'[{"typeWebhook": "outgoingMessageStatus", "idMessage": "BAE5", "status": "sent",},]'
    assert GreenAPI.parse_webhook(body)[0].counts == {DeliveryState.SENT: 1}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"status": ["read"]}, "status is not a text"),
        ({"chatId": {}}, "chatId is not a text"),
    ],
)
def test_a_field_of_another_kind_is_a_decode_error_that_names_it(
    fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DecodeError, match=f"GREEN-API: the webhook is not GREEN-API's: {problem}") as caught:
        green_api(**fields)
    assert caught.value.problems == (problem,)


def test_a_bad_timestamp_of_green_apis_costs_no_state() -> None:
    for timestamp, problem in (("soon", "is not an integer"), (10**18, "is not a UNIX time")):
        assert green_api(status="read", timestamp=timestamp) == Receipt(
            participant="", status="read", state=DeliveryState.READ, problems=(f"timestamp {problem}",)
        )
