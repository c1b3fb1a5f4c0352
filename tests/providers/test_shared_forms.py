"""Keys and answers as the processes of a fleet share them: nothing is lost, and nothing else is read."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup import CustomId, DeliveryState, GreenAPI, MessageStatus, Receipt, SMSFire, StatusStatistic
from statuslookup.providers import SharedProvider

SMSFIRE: SharedProvider[Any, MessageStatus] = SMSFire("token")
GREENAPI: SharedProvider[str, StatusStatistic] = GreenAPI(1101, "token")

texts = st.none() | st.text(max_size=5)
dates = st.none() | st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3)), timezone(timedelta(minutes=330))])
)
problems = st.lists(st.text(max_size=5), max_size=2).map(tuple)
states = st.sampled_from(DeliveryState)
statuses = st.builds(
    MessageStatus,
    id=st.integers(min_value=0),
    custom_id=texts,
    instance_token=texts,
    message_type=texts,
    country=texts,
    phone=texts,
    status_code=st.none() | st.integers(),
    status_name=texts,
    status_date=dates,
    sent_date=dates,
    state=states,
    problems=problems,
)
receipts = st.builds(
    Receipt,
    participant=st.text(max_size=5),
    timestamp=dates,
    status=texts,
    description=texts,
    state=states,
    problems=problems,
)
statistics = st.builds(
    StatusStatistic,
    id_message=st.text(max_size=5),
    receipts=st.lists(receipts, max_size=3).map(tuple),
    problems=problems,
)


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@given(statuses)
def test_a_status_of_smsfire_comes_back_as_it_was(status: MessageStatus) -> None:
    assert SMSFIRE.answer_from_json(through_json(SMSFIRE.answer_to_json(status))) == status


@given(statistics)
def test_a_statistic_of_greenapi_comes_back_as_it_was(statistic: StatusStatistic) -> None:
    found = GREENAPI.answer_from_json(through_json(GREENAPI.answer_to_json(statistic)))
    assert found == statistic
    assert all(type(receipt) is Receipt for receipt in found.receipts)


def test_no_field_is_forgotten() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    status = MessageStatus(
        **{  # type: ignore[arg-type] # one value for fields of several types
            field.name: now if "date" in field.name else 7 if field.name in ("id", "status_code") else "x"
            for field in attrs.fields(MessageStatus)
            if field.name not in ("state", "problems")
        },
        state=DeliveryState.READ,
        problems=("p",),
    )
    assert set(SMSFIRE.answer_to_json(status)) == {field.name for field in attrs.fields(MessageStatus)}


KEYS = [0, 42, 10**39, CustomId("42"), CustomId("a.b_c-d"), CustomId("."), CustomId("x" * 40)]


def test_the_text_of_a_key_names_it_and_no_other() -> None:
    written = [SMSFIRE.key_to_text(key) for key in KEYS]
    assert len(set(written)) == len(KEYS)
    assert all(text.isprintable() for text in written)
    read = [SMSFIRE.key_from_text(text) for text in written]
    assert read == KEYS
    assert [type(key) for key in read] == [type(key) for key in KEYS]
    assert GREENAPI.key_from_text(GREENAPI.key_to_text("BAE5 :x")) == "BAE5 :x"


@pytest.mark.parametrize(
    "text", ["", ":", "-1", "x", "1 ", "\u0661", "1" * 41, ":a b", ":" + "x" * 41, "4_2"]
)
def test_a_text_that_names_no_key_of_smsfire_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"key|customId"):
        SMSFIRE.key_from_text(text)


@pytest.mark.parametrize("text", ["", "a\nb", "x" * 257])
def test_a_text_that_names_no_key_of_greenapi_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="idMessage"):
        GREENAPI.key_from_text(text)


HOSTILE: list[Any] = [
    *(None, 1, "x", [], {}, {"id": None}, {"id": "x"}, {"id": []}, {"id": 1, "status_date": 7}),
    *({"id": 1, "status_date": "2026-01-01T00:00:00"}, {"id": 1, "problems": 7}, {"id_message": []}),
    *(
        {"id_message": "x", "receipts": 7},
        {"id_message": "x", "receipts": [7]},
        {"id": 1, "status_code": "x"},
    ),
]


@pytest.mark.parametrize("value", HOSTILE, ids=str)
@pytest.mark.parametrize("provider", [SMSFIRE, GREENAPI], ids=["SMSFire", "GreenAPI"])
def test_what_is_no_answer_is_refused_or_an_answer(provider: SharedProvider[Any, Any], value: Any) -> None:
    """Only who has the account's token can say it, so what a field holds need not be doubted further."""
    found: object = None
    try:
        found = provider.answer_from_json(value)
    except ValueError as error:
        found = error
    assert isinstance(found, MessageStatus | StatusStatistic) or "a shared" in str(found)
    assert getattr(found, "__context__", None) is None


def test_what_another_release_says_beside_is_ignored() -> None:
    found = SMSFIRE.answer_from_json({"id": 1, "state": "BLESSED", "colour": "blue"})
    assert found == MessageStatus(id=1)
