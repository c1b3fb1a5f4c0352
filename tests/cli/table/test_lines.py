"""Lines of text from bytes: their encoding, and how long they are."""

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup.cli.table.lines import Lines
from statuslookup.cli.table.unpacking import UTF8_MARK, InputError
from tests.support.tables import keys_of, read, rows


@pytest.mark.parametrize(
    ("before", "begun", "after", "size"),
    [
        ("1\n", "", "3\n", 2**20 + 1),
        ("id,n\n1,\n", "2,", "3,\n", 3_000_000),
        ("id,n\n1,\n", '2,"', "3,\n", 2**20 + 1),
        ('{"id": 1}\n', '{"id": "', '{"id": 3}\n', 3_000_000),
    ],
    ids=["keys", "csv", "quoted", "jsonl"],
)
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


def test_a_line_behind_one_that_is_too_long_and_ends_with_cr_is_whole() -> None:
    # The CR is the last byte of a piece, so that what comes next is not known yet.
    pieces = iter([b"1\r" + b"2" * 2**20 + b"\r", b"3\r", b"4"])
    lines = Lines(lambda _: next(pieces, b""))
    assert next(lines) == "1\r"
    with pytest.raises(InputError, match="it is longer than"):
        next(lines)
    assert list(lines) == ["3\r", "4"]


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    most = 0

    def read_chunk(size: int) -> bytes:
        nonlocal most
        most = max(most, tracemalloc.get_traced_memory()[0])
        return chunks.pop() if chunks else b""

    chunks = [b"2" * 65536] * 1000
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="it is longer than"):
            next(Lines(read_chunk))
    finally:
        tracemalloc.stop()
    assert most < 4 * 2**20


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert keys_of(b"\xef\xbb\xbfid,n\n1,\n") == [1]
    assert keys_of(b"\xef\xbb\xbf1\n2\n") == [1, 2]
    assert keys_of(b'\xef\xbb\xbf{"id": 1}\n') == [1]


def test_a_character_whose_bytes_come_one_after_another_is_none_of_another_encoding() -> None:
    for rest, is_utf8 in ((b"\xa3", True), (b"\xa3\r\n3;\xe3\r\n", False), (b"x", False), (b"", False)):
        pieces = iter([b"id;n\r\n", b"1;\xc3\xa3\r\n2;\xc3", rest])
        lines = Lines(lambda _, pieces=pieces: next(pieces, b""))  # type: ignore[misc] # of this round
        assert next(lines) == "id;n\r\n"
        assert lines.is_utf8_ahead() == is_utf8
        assert next(lines) == "1;ã\r\n"


def test_lines_that_are_not_utf8_are_windows_1252_and_others_stay_utf8() -> None:
    source = read("id,name\n1,São\n".encode() + "2,João “€”\n".encode("cp1252"))
    assert [row.values["name"] for row in source.rows] == ["São", "João “€”"]
    assert source.lines.first_windows == 3


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"a\r", b"\nb"]) | st.binary(min_size=1, max_size=9), max_size=20)
)
def test_lines_do_not_depend_on_how_they_are_read(chunks: list[bytes]) -> None:
    def pieces() -> Iterator[bytes]:
        yield from chunks

    source = pieces()
    whole = b"".join(chunks)
    expected = whole.removeprefix(UTF8_MARK).splitlines()
    try:
        lines = list(Lines(lambda _: next(source, b"")))
    except InputError:
        return
    assert len(lines) == len(expected)
