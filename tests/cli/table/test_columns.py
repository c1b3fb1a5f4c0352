"""What each provider's answers add to a row."""

from datetime import UTC, datetime

import attrs

from statuslookup import DeliveryState, MessageStatus, Receipt, StatusStatistic
from statuslookup.cli.table import columns

RECEIPTS = (
    Receipt(
        participant="a@c.us",
        state=DeliveryState.READ,
        status="read",
        timestamp=datetime(2026, 1, 2, tzinfo=UTC),
    ),
    Receipt(participant="b@c.us", state=DeliveryState.SENT, status="sent"),
)


def test_every_field_of_a_status_but_a_token_is_written() -> None:
    status = MessageStatus(id=7, sent_date=datetime(2026, 1, 2, tzinfo=UTC), state=DeliveryState.SENT)
    fields = {field.name for field in attrs.fields(MessageStatus)}
    assert set(columns.SMSFIRE.names) == fields - {"instance_token"}
    values = columns.SMSFIRE.of(status)
    assert list(values) == list(columns.SMSFIRE.names)
    assert (values["id"], values["state"], values["phone"]) == (7, "SENT", None)
    assert values["sent_date"] == "2026-01-02T00:00:00+00:00"


def test_a_story_is_its_receipts_and_how_many_there_are_of_each() -> None:
    statistic = StatusStatistic(id_message="B", receipts=RECEIPTS, problems=("x",))
    values = columns.GREENAPI.of(statistic)
    assert list(values) == list(columns.GREENAPI.names)
    assert list(values.values())[:7] == ["B", "UNKNOWN", 2, 1, 0, 1, 0]
    assert [list(receipt.values()) for receipt in values["receipts"]] == [
        ["a@c.us", "READ", "read", "2026-01-02T00:00:00+00:00"],
        ["b@c.us", "SENT", "sent", None],
    ]
    assert values["problems"] == ["x"]


def test_nothing_known_is_no_state() -> None:
    assert columns.GREENAPI.state_of(StatusStatistic(id_message="B")) is None
    assert columns.GREENAPI.state_of(StatusStatistic(id_message="B", receipts=RECEIPTS)) is DeliveryState.SENT
    assert columns.GREENAPI.state_of(None) is None
