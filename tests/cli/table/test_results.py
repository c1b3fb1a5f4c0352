"""The row that is written for a row, and the sums of all."""

from datetime import UTC, datetime
from typing import Any

from statuslookup import DeliveryState, MessageStatus
from statuslookup.cli.table import columns
from statuslookup.cli.table.results import Results, Tally
from tests.support.tables import rows

STATUS = MessageStatus(
    id=7,
    custom_id="c7",
    status_code=2,
    status_name="DELIVERED",
    sent_date=datetime(2026, 1, 2, tzinfo=UTC),
    state=DeliveryState.DELIVERED,
)


def test_a_row_keeps_its_columns_and_takes_the_answers_fields() -> None:
    (row,) = rows("name,id,phone,error\nAnn,0007,55,old\n")
    results: Results[Any, MessageStatus] = Results(["name", "id", "phone", "error"], columns.SMSFIRE)
    values = results.found(row, STATUS)
    assert values["state"] is DeliveryState.DELIVERED
    assert list(values)[:4] == ["name", "id", "phone", "error"]
    assert (values["name"], values["id"], values["custom_id"], values["error"]) == ("Ann", "0007", "c7", None)
    assert values["phone"] == "55"
    assert values["sent_date"] == "2026-01-02T00:00:00+00:00"


def test_an_unknown_message_has_no_state_and_a_failed_one_keeps_the_last_known() -> None:
    (row,) = rows("id,state\n7,SENT\n")
    results: Results[Any, MessageStatus] = Results(["id", "state"], columns.SMSFIRE)
    values = results.found(row, None)
    assert (values["state"], values["error"], values["id"]) == (None, None, 7)
    values = results.failed(row, "no")
    assert (values["state"], values["error"]) == ("SENT", "no")
    assert results.skipped(row)["id"] == 7


def test_a_tally_counts_a_row_once() -> None:
    tally = Tally()
    for values in ({"state": "READ"}, {"state": None}, {"state": "SENT", "error": "x"}, {"state": "READ"}):
        tally.add(values)
    assert (tally.states, tally.failed, tally.rows) == ({DeliveryState.READ: 2, None: 1}, 1, 4)
