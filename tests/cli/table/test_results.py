"""The row that is written for a row, and the sums of all."""

from datetime import UTC, datetime
from typing import Any

import pytest

from statuslookup import DeliveryState, MessageStatus, StatusStatistic
from statuslookup.cli.providers import GREENAPI, SMSFIRE
from statuslookup.cli.table import columns
from statuslookup.cli.table.results import Results, Tally
from tests.support.tables import read, rows

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


# --- keys of the row, and of the answer -----------------------------------------------------------


def written(content: str, status: MessageStatus = STATUS, keys: Any = SMSFIRE.keys) -> dict[str, Any]:
    source = read(content, keys)
    results: Results[Any, MessageStatus] = Results(source.columns, columns.SMSFIRE)
    return results.found(next(source.rows), status)


def test_a_key_of_the_row_that_the_answer_contradicts_is_an_error_that_names_both() -> None:
    for name in ("custom_id", "customId", "CUSTOMID"):
        values = written(f"id,{name},phone,state\n7,c500,55,SENT\n")
        assert values["error"] == (
            f"line 2: the message with id 7 has custom_id c7, and the row has {name} c500; --key COLUMN says"
            " which column is the key"
        )
        assert (values["id"], values[name], values["phone"], values["state"]) == (7, "c500", "55", "SENT")
        assert values["status_code"] is None
    for other in ("c7", "'c7", '"=""c7"""', " c7 ", ""):
        assert written(f"id,custom_id\n007,{other}\n")["error"] is None
    assert written("id,custom_id\n7,no key\n")["error"] is not None
    assert written("id,custom_id\n7,c500\n", MessageStatus(id=7, state=DeliveryState.SENT))["error"] is None


def test_cells_of_keys_stay_whatever_the_answer_says_and_empty_ones_are_filled() -> None:
    assert written("ID,custom_id\n0007,\n")["ID"] == "0007"
    values = written("id,custom_id,phone\n1,c7,007\n", keys=SMSFIRE.keys.only("custom_id"))
    assert (values["id"], values["custom_id"], values["error"]) == ("1", "c7", None)
    values = written("id,phone\n,7\n", MessageStatus(id=7, phone="55"), keys=SMSFIRE.keys.only("phone"))
    assert (values["id"], values["phone"]) == (7, 7)
    assert written('{"id": "0007", "custom_id": "c7"}\n')["id"] == "0007"
    assert written('{"id": "7"}\n')["id"] == "7"
    assert written("0007\n")["id"] == "0007"
    assert written("7\n")["id"] == 7


def test_a_table_of_stories_has_an_id_of_its_own() -> None:
    source = read("id,idMessage,id_message\n1,BAE5,\n2,BAE5,BAE6\n", GREENAPI.keys)
    results: Results[str, StatusStatistic] = Results(source.columns, columns.GREENAPI)
    own, other = (results.found(row, StatusStatistic(id_message="BAE5")) for row in source.rows)
    assert (own["id"], own["idMessage"], own["id_message"], own["error"]) == ("1", "BAE5", "BAE5", None)
    assert other["id_message"] == "BAE6"
    assert "has id_message BAE5, and the row has id_message BAE6" in other["error"]


def test_a_state_is_the_same_with_blanks_around_it() -> None:
    tally = Tally()
    for state in ("DELIVERED ", " read", "Sent", "\u00a0EXPIRED"):
        (row,) = rows(f"id,state\n1,{state}\n")
        assert row.state is not None
        tally.add({"state": state})
    with pytest.raises(ValueError, match="none that there is"):
        tally.add({"state": "whatever"})
    assert tally.rows == 4
