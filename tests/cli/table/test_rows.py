"""Rows of all formats, and what is no row."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup import CustomId
from statuslookup.cli.providers import GREENAPI, SMSFIRE
from statuslookup.cli.table.rows import unique
from statuslookup.cli.table.unpacking import InputError
from tests.support.tables import keys_of, read, rows

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
    assert keys_of("a,b\n", GREENAPI.keys, name="x.txt") == ["a,b"]


@pytest.mark.parametrize("content", ["name,phone\n1,2\n", "name;phone\n", '"na\nme",x\n'])
def test_a_header_without_a_key_column_says_which_there_may_be(content: str) -> None:
    with pytest.raises(InputError, match="id, customId, custom_id"):
        rows(content)


def test_one_key_a_line() -> None:
    assert keys_of("1\n 2 \n\nabc\r\ncustom:3\n0042\n5") == [1, 2, CustomId("abc"), CustomId("3"), 42, 5]
    assert SMSFIRE.keys_by_name is not None
    found = keys_of("1\nabc\n", SMSFIRE.keys_by_name)
    assert found == [CustomId("1"), CustomId("abc")]
    assert all(isinstance(key, CustomId) for key in found)
    assert keys_of("BAE5\n7\n", GREENAPI.keys) == ["BAE5", "7"]


def test_csv_carries_all_columns() -> None:
    (row,) = rows('name,id,note\n"Ann, B.",7,"a\nb"\n')
    assert (row.key, row.values) == (7, {"name": "Ann, B.", "id": 7, "note": "a\nb"})


def test_the_id_counts_before_the_custom_id_unless_it_is_empty() -> None:
    assert keys_of("custom_id,id\nx,1\ny,\n,2\n") == [1, CustomId("y"), 2]
    assert keys_of('{"customId": "x", "id": null}\n{"customId": "x", "id": 3}\n') == [CustomId("x"), 3]


@pytest.mark.parametrize("name", ["idMessage", "id_message", "IDMESSAGE", " idMessage ", "id"])
def test_the_columns_of_greenapi(name: str) -> None:
    assert keys_of(f"{name},n\nBAE5,1\n", GREENAPI.keys) == ["BAE5"]


def test_json_lines() -> None:
    found = rows('{"id": 1, "x": [1, {"y": null}]}\n\n{"id": "0002"}\n{"customId": "é"}\n{"id": 000003}')
    assert [row.key for row in found] == [1, 2, None, 3]
    assert found[0].values["x"] == [1, {"y": None}]
    assert [row.line for row in found] == [1, 3, 4, 5]


def test_empty_lines_and_rows_of_empty_cells_are_passed_over() -> None:
    assert [row.line for row in rows("id,n\n\n1,\n\n\n2,\n")] == [3, 6]
    assert [row.line for row in rows('id,n\n1,\n,\n , \n,,,\n"",\n2,\n,\n,')] == [2, 7]
    assert [row.line for row in rows("id;n\r\n;\r\n1;\r\n;\r\n;x\r\n")] == [3, 5]


def test_a_header_of_one_name_again_and_again_takes_no_longer_than_any_other() -> None:
    started_at = time.perf_counter()
    names = unique(["id", *["a"] * 30_000, "a_7"])
    # It took a minute where each name was counted from the beginning.
    assert time.perf_counter() - started_at < 5
    assert names[:3] == ["id", "a", "a_2"]
    assert names[-2:] == ["a_30000", "a_7_2"]


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
        ("id,n\n1,\n,x\n2,\n", 3, "has no key"),
        ("id,n\n1,\n2,3,4\n2,\n", 3, "3 cells, and the header has 2"),
        ("id\n1\n" + "9" * 50 + "\n2\n", 3, "at most 40 digits"),
        ("id\n1\n" + "9" * 5000 + "\n2\n", 3, "no id has 5,000 digits"),
        ("1\n" + "9" * 50 + "\n2\n", 2, "at most 40 digits"),
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
    ("content", "match"),
    [
        (b'[{"id": 1}]', "a JSON array"),
        (b"id" + b"," * 16_384 + b"\n1\n", r"the header has 16,385 columns, and no spreadsheet more"),
        (b'{\n  "id": 1\n}\n', r"JSON over several lines; write one object a line \(jq -c \. does that\)"),
    ],
)
def test_what_cannot_be_read_at_all_says_why(content: bytes, match: str) -> None:
    with pytest.raises(InputError, match=match):
        rows(content)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("inner", ["\n", "\r\n", "\r"])
def test_every_line_end_ends_a_line_but_inside_quotes(end: str, inner: str) -> None:
    found = rows(f'id,n{end}1,"a{inner}b"{end}2,c{end}x,{end}')
    assert [row.values["n"] for row in found] == [f"a{inner}b", "c", ""]
    assert found[2].error is not None
    assert found[2].error.startswith("line 5: ")
    assert keys_of(f"1{end}2{end}{end}abc{end}") == [1, 2, CustomId("abc")]
    assert keys_of(f'{{"id": 1}}{end}{{"id": 2}}{end}') == [1, 2]
    assert [row.line for row in rows(f"id{end}1{end}{end}2{end}")] == [2, 4]


@pytest.mark.parametrize("content", [b"", b"\n\r\n \n", b"\xef\xbb\xbf"])
def test_an_empty_input_has_no_rows(content: bytes) -> None:
    for name in ("", "x.csv", "x.jsonl"):
        assert rows(content, name=name) == []


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_an_input_error(content: bytes) -> None:
    try:
        source = read(content)
        for row in source.rows:
            assert (row.key is None) == (row.error is not None)
            assert row.end <= len(content)
    except InputError:
        pass
