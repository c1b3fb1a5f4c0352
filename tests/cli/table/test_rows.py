"""What a check reads and writes: formats in, formats out, no network."""

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup import CustomId, DeliveryState, GreenAPI, MessageStatus, Receipt, SMSFire, StatusStatistic
from statuslookup.cli.table.cells import large_cells
from statuslookup.cli.table.results import (
    GREENAPI_FIELDS,
    SMSFIRE_FIELDS,
    Csv,
    JsonLines,
    Results,
    Tally,
    state_of_statistic,
)
from statuslookup.cli.table.rows import (
    Input,
    InputError,
    Keys,
    Lines,
    Row,
    greenapi_keys,
    smsfire_keys,
)

SMSFIRE = smsfire_keys(SMSFire("t").check, custom_ids=False)
GREEN = greenapi_keys(GreenAPI(1, "t").check)


def read(content: bytes | str, keys: Keys[Any] = SMSFIRE, **options: Any) -> Input[Any]:
    data = content.encode() if isinstance(content, str) else content
    return Input(Lines(io.BytesIO(data).read), keys, **options)


def rows(content: bytes | str, keys: Keys[Any] = SMSFIRE, **options: Any) -> list[Row[Any]]:
    return list(read(content, keys, **options).rows)


def keys_of(content: bytes | str, keys: Keys[Any] = SMSFIRE, **options: Any) -> list[Any]:
    return [row.key for row in rows(content, keys, **options)]


# --- formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "format"),
    [
        ("1\n2\n", "keys"),
        ("id\n1\n", "csv"),
        ("phone;ID\n55;1\n", "csv"),
        ("phone\tcustomId\n55\tx\n", "csv"),
        ('{"id": 1}\n', "jsonl"),
        ("\n \n1\n", "keys"),
        ("", "keys"),
        ("\n\n", "keys"),
    ],
)
def test_the_first_line_says_the_format(content: str, format: str) -> None:
    assert read(content).format == format


def test_the_name_and_the_option_say_the_format_too() -> None:
    assert read('"a",b\n', name="x.JSONL").format == "jsonl"
    assert keys_of("id\n7\n", format="keys") == [CustomId("id"), 7]
    with pytest.raises(InputError, match="no key column"):
        read("42\n43\n", name="x.csv")
    assert keys_of("a,b\n", GREEN, name="x.txt") == ["a,b"]


@pytest.mark.parametrize("content", ["name,phone\n1,2\n", "name;phone\n", '"na\nme",x\n'])
def test_a_header_without_a_key_column_says_which_there_may_be(content: str) -> None:
    with pytest.raises(InputError, match="id, customId, custom_id"):
        rows(content)


def test_one_key_a_line() -> None:
    assert keys_of("1\n 2 \n\nabc\r\ncustom:3\n0042\n5") == [1, 2, CustomId("abc"), CustomId("3"), 42, 5]
    custom_ids = smsfire_keys(SMSFire("t").check, custom_ids=True)
    found = keys_of("1\nabc\n", custom_ids)
    assert found == [CustomId("1"), CustomId("abc")]
    assert all(isinstance(key, CustomId) for key in found)
    assert keys_of("BAE5\n7\n", GREEN) == ["BAE5", "7"]


def test_csv_carries_all_columns() -> None:
    (row,) = rows('name,id,note\n"Ann, B.",7,"a\nb"\n')
    assert (row.key, row.values) == (7, {"name": "Ann, B.", "id": "7", "note": "a\nb"})


def test_the_id_counts_before_the_custom_id_unless_it_is_empty() -> None:
    assert keys_of("custom_id,id\nx,1\ny,\n,2\n") == [1, CustomId("y"), 2]
    assert keys_of('{"customId": "x", "id": null}\n{"customId": "x", "id": 3}\n') == [CustomId("x"), 3]


@pytest.mark.parametrize("name", ["idMessage", "id_message", "IDMESSAGE", " idMessage ", "id"])
def test_the_columns_of_greenapi(name: str) -> None:
    assert keys_of(f"{name},n\nBAE5,1\n", GREEN) == ["BAE5"]


def test_json_lines() -> None:
    found = rows('{"id": 1, "x": [1, {"y": null}]}\n\n{"id": "0002"}\n{"customId": "é"}\n{"id": 000003}')
    assert [row.key for row in found] == [1, 2, None, 3]
    assert found[0].values["x"] == [1, {"y": None}]
    assert [row.line for row in found] == [1, 3, 4, 5]


def test_names_of_columns_are_made_unique() -> None:
    source = read("id,,id,note,note\n1,a,2,b,c\n")
    assert source.columns == ["id", "column_2", "id_2", "note", "note_2"]
    assert [row.key for row in source.rows] == [1]


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("id\n1\nx\n2\n", 3, "an id is digits"),
        ("id\n1\n-5\n2\n", 3, "an id is digits"),
        ("id,n\n1,\n,\n2,\n", 3, "has no key"),
        ("id,n\n1,\n2,3,4\n2,\n", 3, "3 cells, and the header has 2"),
        ("id\n1\n" + "9" * 50 + "\n2\n", 3, "at most 40 digits"),
        ("id\n1\n" + "9" * 5000 + "\n2\n", 3, "no id has 5,000 digits"),
        ("1\n" + "9" * 5000 + "\n2\n", 2, "no id has 5,000 digits"),
        ("id\n1\na\rb\n2\n", 3, "not CSV"),
        ('id\n1\n"7"x\n2\n', 3, "not CSV"),
        ("customId\na\na b\nb\n", 3, "a customId has"),
        ('{"id": 1}\n{"id": tru}\n{"id": 2}\n', 2, "not JSON"),
        ('{"id": 1}\n[1]\n{"id": 2}\n', 2, "not a JSON object"),
        ('{"id": 1}\n{"id": true}\n{"id": 2}\n', 2, "neither a text nor an integer"),
        ('{"id": 1}\n{"id": 1.5}\n{"id": 2}\n', 2, "neither a text nor an integer"),
        ('{"id": 1}\n{"x": 1}\n{"id": 2}\n', 2, "has no key"),
        ('{"id": 1}\n{"id": 2, "x": 1e999}\n{"id": 2}\n', 2, "too large"),
        ('{"id": 1}\n{"id": 2, "x": [{"y": -1e999}]}\n{"id": 2}\n', 2, "too large"),
        ('{"id": 1}\n{"id": 2, "x": NaN}\n{"id": 2}\n', 2, "NaN is not JSON"),
        ('{"id": 1}\n{"id": ' + "1" * 5000 + '}\n{"id": 2}\n', 2, "line 2: an integer has too many digits"),
        ("1\nnot a key\n2\n", 2, "a customId has"),
    ],
)
def test_a_bad_row_has_an_error_with_its_line_and_the_rest_goes_on(
    content: str, line: int, problem: str
) -> None:
    before, bad, after = rows(content)
    assert (before.error, after.error) == (None, None)
    assert bad.key is None
    assert bad.line == line
    assert bad.error is not None
    assert bad.error.startswith(f"line {line}: ")
    assert problem in bad.error


@pytest.mark.parametrize(
    ("torn", "last"),
    [('2,"torn\n3,\n4,\n', 5), ('2,"torn\n3,\n4,"x"\n5,\n', 5), ('2,"a\nb","torn\n4,\n', 5)],
    ids=["to the end", "to the next quote", "after a good one"],
)
def test_a_quote_that_is_not_closed_is_a_row_that_names_all_its_lines(torn: str, last: int) -> None:
    first, bad, *others = rows(f"id,n\n1,\n{torn}")
    assert first.key == 1
    assert bad.error == (
        f"lines 3 to {last}: a quote of the row that begins in line 3 is not closed, or not at the end of"
        f" its cell; no row up to line {last}"
        ' was looked up; close it, or write a quote inside quotes as ""'
    )
    assert [row.key for row in others] == [5] * ("5," in torn)


def test_a_quote_that_is_not_closed_in_the_last_line_or_the_header_says_what_to_do() -> None:
    *_, bad = rows('id,n\n1,\n2,"torn')
    assert bad.error == 'line 3: a quote is not closed; close it, or write a quote inside quotes as ""'
    with pytest.raises(InputError, match="the header is not CSV: a quote is not closed; close it"):
        rows('id,"n\n1,\n')


@pytest.mark.parametrize("before", ["2,", "2," + "x" * 500_000 + ","], ids=["short", "long"])
def test_a_quote_that_is_not_closed_costs_no_more_than_128_kib_of_rows(before: str) -> None:
    good = [f"{id:04},{'x' * 90}" for id in range(3, 10_000)]
    with large_cells():
        bad, *others = rows(f'id,n,o\n{before}"torn\n' + "\n".join(good))
    assert bad.error is not None
    assert "is not closed" in bad.error
    assert [row.key for row in others] == list(range(others[0].line, 10_000))
    assert others[0].line == 3 + 2**17 // len(f"{good[-1]}\n") + 1


def test_many_quotes_that_are_not_closed_are_read_in_linear_time() -> None:
    found = rows("id,n\n" + '",a","b\n' * 200_000)
    assert all("is not closed" in (row.error or "") for row in found)
    assert found[-1].line > 100_000


@pytest.mark.parametrize(
    "cell",
    ["x" * 200_000, "x" * (2**20 - 10), "x" * 500_000 + "\n" + "y" * 500_000, "x\n" * 65_000],
    ids=["200,000", "a line", "two lines", "many lines"],
)
def test_a_cell_may_be_as_long_as_a_line(cell: str) -> None:
    with large_cells():
        first, long, last = rows(f'id,n\n1,\n2,"{cell}"\n3,\n')
    assert (first.key, long.key, last.key) == (1, 2, 3)
    assert long.values["n"] == cell


def test_the_bound_of_a_cell_is_the_old_one_afterwards() -> None:
    before = csv.field_size_limit()
    with large_cells():
        assert csv.field_size_limit() > before
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("before", "begun", "after"),
    [
        ("1\n", "", "3\n"),
        ("id,n\n1,\n", "2,", "3,\n"),
        ("id,n\n1,\n", '2,"', "3,\n"),
        ('{"id": 1}\n', '{"id": "', '{"id": 3}\n'),
    ],
    ids=["keys", "csv", "quoted", "jsonl"],
)
@pytest.mark.parametrize("size", [2**20 + 1, 3_000_000])
def test_a_line_that_is_too_long_is_a_bad_row_and_the_rest_goes_on(
    before: str, begun: str, after: str, size: int
) -> None:
    content = f"{before}{begun.ljust(size - 1, '2')}\n{after}"
    first, bad, last = rows(content)
    number = 1 + before.count("\n")
    assert (first.key, bad.key, last.key) == (1, None, 3)
    assert (bad.line, last.line) == (number, number + 1)
    assert bad.error == f"line {number}: it is longer than 1,048,576 bytes"
    assert last.end == len(content)


def test_a_line_may_have_a_mebibyte_and_the_last_one_no_end() -> None:
    first, second, bad = rows("custom:x\n" + "2" * (2**20 - 1) + "\n" + "3" * 2_000_000)
    assert first.key == "x"
    assert second.error is not None
    assert "longer" not in second.error
    assert bad.error == "line 3: it is longer than 1,048,576 bytes"


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    most = 0

    def read(size: int) -> bytes:
        nonlocal most
        most = max(most, tracemalloc.get_traced_memory()[0])
        return chunks.pop() if chunks else b""

    chunks = [b"2" * 65536] * 1000
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="it is longer than"):
            Input(Lines(read), SMSFIRE)
    finally:
        tracemalloc.stop()
    assert most < 4 * 2**20


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\xff\xfei\x00d\x00", "UTF-16"),
        (b'[{"id": 1}]', "a JSON array"),
        (b'{\n  "id": 1\n}\n', r"JSON over several lines; write one object a line \(jq -c \. does that\)"),
        (b"PK\x03\x04\x14\x00\n", "a spreadsheet or a zip file; save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "a spreadsheet"),
    ],
)
def test_what_cannot_be_read_at_all_says_why(content: bytes, match: str) -> None:
    with pytest.raises(InputError, match=match):
        rows(content)


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert keys_of(b"\xef\xbb\xbfid,n\n1,\n") == [1]
    assert keys_of(b"\xef\xbb\xbf1\n2\n") == [1, 2]
    assert keys_of(b'\xef\xbb\xbf{"id": 1}\n') == [1]


def test_lines_that_are_not_utf8_are_latin1_and_others_stay_utf8() -> None:
    source = read("id,name\n1,São\n".encode() + "2,João\n".encode("latin-1"))
    assert [row.values["name"] for row in source.rows] == ["São", "João"]
    assert source.lines.first_latin1 == 3


def test_line_ends_of_windows_and_quoted_newlines() -> None:
    found = rows('id,n\r\n1,"a\r\nb"\r\n2,c\r\nx,\r\n')
    assert [row.values["n"] for row in found] == ["a\r\nb", "c", ""]
    assert found[2].error is not None
    assert found[2].error.startswith("line 5: ")


@pytest.mark.parametrize("content", [b"", b"\n\r\n \n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["", "x.csv", "x.jsonl"])
def test_an_empty_input_has_no_rows(content: bytes, name: str) -> None:
    source = read(content, name=name)
    assert list(source.rows) == []


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_an_input_error(content: bytes) -> None:
    try:
        source = read(content)
        for row in source.rows:
            assert (row.key is None) == (row.error is not None)
            assert row.end <= len(content)
    except InputError:
        pass


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=20))
def test_lines_do_not_depend_on_how_they_are_read(chunks: list[bytes]) -> None:
    def pieces() -> Iterator[bytes]:
        yield from chunks

    source = pieces()
    whole = b"".join(chunks)
    expected = [line.decode("latin-1") for line in io.BytesIO(whole)]
    try:
        lines = list(Lines(lambda _: next(source, b"")))
    except InputError:
        return
    assert len(lines) == len(expected)


# --- results --------------------------------------------------------------------------------------

STATUS = MessageStatus(
    id=7,
    custom_id="c7",
    status_code=2,
    status_name="DELIVERED",
    sent_date=datetime(2026, 1, 2, tzinfo=UTC),
    state=DeliveryState.DELIVERED,
)
RECEIPTS = (
    Receipt(
        participant="a@c.us",
        state=DeliveryState.READ,
        status="read",
        timestamp=datetime(2026, 1, 2, tzinfo=UTC),
    ),
    Receipt(participant="b@c.us", state=DeliveryState.SENT, status="sent"),
)


def test_every_field_of_the_answer_but_a_token_is_written() -> None:
    fields_of_status = {field.name for field in attrs.fields(MessageStatus)}
    assert set(SMSFIRE_FIELDS.names) == fields_of_status - {"instance_token"}
    assert list(SMSFIRE_FIELDS.of(STATUS)) == list(SMSFIRE_FIELDS.names)
    statistic = StatusStatistic(id_message="B", receipts=RECEIPTS)
    fields = GREENAPI_FIELDS.of(statistic)
    assert list(fields) == list(GREENAPI_FIELDS.names)
    assert fields["receipts"][0] == {
        "participant": "a@c.us",
        "state": "READ",
        "status": "read",
        "timestamp": "2026-01-02T00:00:00+00:00",
    }
    assert (fields["state"], fields["recipients"], fields["sent"], fields["read"]) == ("SENT", 2, 1, 1)


def test_a_story_is_as_far_as_its_last_recipient() -> None:
    assert state_of_statistic(StatusStatistic(id_message="B")) is None
    assert state_of_statistic(StatusStatistic(id_message="B", receipts=RECEIPTS[:1])) is DeliveryState.READ
    assert state_of_statistic(StatusStatistic(id_message="B", problems=("x",))) is DeliveryState.UNKNOWN


def test_a_row_keeps_its_columns_and_takes_the_answers_fields() -> None:
    (row,) = rows("name,id,phone,error\nAnn,0007,55,old\n")
    results: Results[Any, MessageStatus] = Results(["name", "id", "phone", "error"], SMSFIRE_FIELDS)
    values, state = results.found(row, STATUS)
    assert state is DeliveryState.DELIVERED
    assert list(values)[:4] == ["name", "id", "phone", "error"]
    assert (values["name"], values["id"], values["custom_id"], values["error"]) == ("Ann", 7, "c7", None)
    assert values["phone"] == "55"
    assert values["sent_date"] == "2026-01-02T00:00:00+00:00"


def test_an_unknown_message_has_no_state_and_a_failed_one_keeps_the_last_known() -> None:
    (row,) = rows("id,state\n7,SENT\n")
    results: Results[Any, MessageStatus] = Results(["id", "state"], SMSFIRE_FIELDS)
    values, state = results.found(row, None)
    assert (values["state"], values["error"], values["id"], state) == (None, None, 7, None)
    values = results.failed(row, "no")
    assert (values["state"], values["error"]) == ("SENT", "no")
    assert results.skipped(row)["id"] == "7"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
def test_csv_that_was_written_is_read_again(cells: list[tuple[str, str]]) -> None:
    names = ["state", "error"]
    encoding = Csv(names)
    written = encoding.header + b"".join(encoding.encode({"state": one, "error": two}) for one, two in cells)
    records = list(encoding.records(io.BytesIO(written)))
    assert records[0] == b"state,error\n"
    assert [tuple(encoding.decode(record).values()) for record in records[1:]] == cells


LINES = st.text(st.sampled_from('ab"\n\r,'), max_size=8)


@given(LINES | TEXTS, LINES | TEXTS, st.data())
def test_a_torn_record_is_not_complete(one: str, two: str, data: st.DataObject) -> None:
    # More columns than the texts can have commas, as in every output of a check.
    names = ["note", *SMSFIRE_FIELDS.names, "error"]
    for encoding in (Csv(names), JsonLines(names)):
        record = encoding.encode({"note": one, "error": two})
        header = [encoding.header] if encoding.header else []
        whole = [*header, record]
        size = data.draw(st.integers(0, len(record) - 1))
        assert list(encoding.records(io.BytesIO(b"".join(header) + record[:size]))) == header
        assert list(encoding.records(io.BytesIO(b"".join(whole) + record[:size]))) == whole


@pytest.mark.parametrize("size", range(9))
def test_a_torn_header_is_not_complete(size: int) -> None:
    encoding = Csv(['a"\nb'])
    assert encoding.header == b'"a""\nb"\n'
    assert list(encoding.records(io.BytesIO(encoding.header[:size]))) == [encoding.header] * (size == 8)


@pytest.mark.parametrize(
    "end", [b'2,x"y,', b'2,"x"y,', b'2,"x\n3,y\n', b'2,"x\n3,y\n4,', b'"2",x\n"3,"y"\n'], ids=repr
)
def test_an_end_that_is_no_beginning_of_one_record_is_refused(end: bytes) -> None:
    encoding = Csv(["state", "error"])
    with pytest.raises(InputError, match=r"its row [123] has a quote that is not closed"):
        list(encoding.records(io.BytesIO(encoding.header + b"1,\n" + end)))


def test_a_long_end_is_read_in_linear_time() -> None:
    encoding = Csv(["state", "error"])
    torn = b'1,"' + b"a line\n" * 200_000
    assert list(encoding.records(io.BytesIO(encoding.header + torn))) == [encoding.header]


def test_csv_writes_lists_as_json_and_more_fields_into_their_own_column() -> None:
    encoding = Csv(["a", "b"], more=True)
    assert encoding.header == b"a,b,more\n"
    assert encoding.encode({"a": [1], "b": None, "c": "ã"}) == '[1],,"{""c"": ""ã""}"\n'.encode()


def test_the_column_for_more_fields_has_a_name_of_its_own() -> None:
    assert Csv(["a", "more"], more=True).header == b"a,more,more_2\n"


def test_half_a_character_is_written_all_the_same() -> None:
    half = json.loads('"\\ud800"')
    assert json.loads(JsonLines(["a"]).encode({"a": half})) == {"a": half}
    assert Csv(["a"]).encode({"a": half}) == b"\\ud800\n"


@pytest.mark.parametrize("record", [b"[]\n", b"{}\n", b"nonsense\n", b'{"state": null}\n'])
def test_what_is_no_row_of_a_check_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        JsonLines([]).decode(record)


def test_a_tally_counts_a_row_once() -> None:
    tally = Tally()
    for values in ({"state": "READ"}, {"state": None}, {"state": "SENT", "error": "x"}, {"state": "READ"}):
        tally.add(values)
    assert (tally.states, tally.unknown, tally.failed, tally.rows) == ({DeliveryState.READ: 2}, 1, 1, 4)
