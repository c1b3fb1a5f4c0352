"""Rows become bytes and rows again: JSON Lines and CSV."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup.cli.table import columns
from statuslookup.cli.table.encodings import Csv, JsonLines
from statuslookup.cli.table.unpacking import InputError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LINES = st.text(st.sampled_from('ab"\n\r,'), max_size=8)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
def test_csv_that_was_written_is_read_again(cells: list[tuple[str, str]]) -> None:
    names = ["state", "error"]
    encoding = Csv(names)
    written = encoding.header + b"".join(encoding.encode({"state": one, "error": two}) for one, two in cells)
    records = list(encoding.records(io.BytesIO(written)))
    assert records[0] == b"state,error\n"
    assert [tuple(encoding.decode(record).values()) for record in records[1:]] == cells


@given(LINES | TEXTS, LINES | TEXTS, st.data())
def test_a_torn_record_is_not_complete(one: str, two: str, data: st.DataObject) -> None:
    # More columns than the texts can have commas, as in every output of a check.
    names = ["note", *columns.SMSFIRE.names, "error"]
    for encoding in (Csv(names), JsonLines()):
        record = encoding.encode({"note": one, "error": two})
        header = [encoding.header] if encoding.header else []
        whole = [*header, record]
        size = data.draw(st.integers(0, len(record) - 1))
        assert list(encoding.records(io.BytesIO(b"".join(header) + record[:size]))) == header
        assert list(encoding.records(io.BytesIO(b"".join(whole) + record[:size]))) == whole


def test_a_torn_header_is_not_complete() -> None:
    encoding = Csv(['a"\nb'])
    assert encoding.header == b'"a""\nb"\n'
    for size in range(9):
        records = list(encoding.records(io.BytesIO(encoding.header[:size])))
        assert records == [encoding.header] * (size == 8), size


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
    assert json.loads(JsonLines().encode({"a": half})) == {"a": half}
    assert Csv(["a"]).encode({"a": half}) == b"\\ud800\n"


@pytest.mark.parametrize("record", [b"[]\n", b"{}\n", b"nonsense\n", b'{"state": null}\n'])
def test_what_is_no_row_of_a_check_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        JsonLines().decode(record)
