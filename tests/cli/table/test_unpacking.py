"""What an input is packed and encoded in."""

import gzip
import io
from typing import Any

import pytest

from statuslookup.cli.providers import SMSFIRE
from statuslookup.cli.table.lines import Lines
from statuslookup.cli.table.rows import Input
from statuslookup.cli.table.unpacking import InputError
from tests.support.tables import keys_of, read

TABLE = "id;nome\r\n1;José “Zé” €\r\n2;Ana\r\n"
NAMES = ["José “Zé” €", "Ana"]


def source_of(content: bytes, encoding: str | None = None, size: int = 65536) -> Input[Any]:
    file = io.BytesIO(content)
    return Input(
        Lines(lambda most: file.read(min(most, size)), encoding=encoding), SMSFIRE.keys, lambda key: key
    )


@pytest.mark.parametrize("size", [1, 7, 65536])
@pytest.mark.parametrize(
    ("written_as", "encoding", "has_mark"),
    [
        ("utf-8", None, False),
        ("utf-8-sig", None, True),
        ("utf-16", None, True),
        ("utf-32", None, True),
        ("utf-16-le", "utf-16-le", False),
        ("utf-16-be", "UTF-16BE", False),
        ("cp1252", None, False),
        ("cp1252", "cp1252", False),
        ("utf-8", "utf8", False),
        ("gb18030", "gb18030", False),
        # A mark is never wrong.
        ("utf-8-sig", "cp1252", True),
        ("utf-16", "latin-1", True),
    ],
)
def test_a_text_is_read_in_its_encoding_packed_or_not(
    written_as: str, encoding: str | None, has_mark: bool, size: int
) -> None:
    data = TABLE.encode(written_as)
    for content in (data, gzip.compress(data), gzip.compress(data[:9]) + gzip.compress(data[9:])):
        source = source_of(content, encoding, size)
        assert [row.values["nome"] for row in source.rows] == NAMES
        assert source.dialect.has_mark == has_mark
        assert source.lines.position == len(content)


def test_windows_1252_is_read_where_a_line_is_not_utf8_and_no_byte_of_it_is_lost() -> None:
    content = b"id;n\n1;" + bytes(range(0x80, 0x100)) + b"\n2;\xc3\xa3\n"
    first, second = (row.values["n"] for row in source_of(content).rows)
    assert first[:2] + first[3:6] == "€\x81ƒ„…"
    assert len(first) == 128
    assert first[0x20:] == bytes(range(0xA0, 0x100)).decode("latin-1")
    assert second == "ã"


def test_a_byte_that_its_encoding_does_not_have_is_named_by_its_line() -> None:
    with pytest.raises(InputError, match=r"line 3 is not cp1252; --encoding NAME says what it is"):
        source_of(b"id;n\r\n1;x\r\n2;\x81\r\n", "cp1252")
    with pytest.raises(InputError, match=r"line 3 is not ascii"):
        source_of("id;n\r1;x\r2;ã\r".encode(), "ascii")
    with pytest.raises(InputError, match=r"is not utf-16;"):
        list(source_of(TABLE.encode("utf-16")[:-1]).rows)


def test_a_gzip_file_that_is_cut_off_or_damaged_is_read_as_far_as_it_goes() -> None:
    packed = gzip.compress(b"id\n" + b"".join(b"%d\n" % id for id in range(100_000)))
    wrong_sum = packed[:-8] + bytes([packed[-8] ^ 255]) + packed[-7:]
    wrong_middle = packed[:999] + b"xxxxxxxx" + packed[1007:]
    for content in (packed[:-20], packed[: len(packed) // 2], packed[:-4], wrong_sum, wrong_middle):
        keys: list[int | None] = []
        with pytest.raises(InputError, match="the gzip file is damaged, or ends too early"):
            keys.extend(row.key for row in source_of(content).rows)
        assert keys[:3] == ([] if content == wrong_middle else [0, 1, 2])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PK\x03\x04\x14\x00\n", "a spreadsheet or a zip file; save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "a spreadsheet"),
        (b"%PDF-1.7\n%\xb5\xb5\n", "a PDF"),
        (b"{\\rtf1\\ansi\n", "RTF"),
        (b"SQLite format 3\0\x10", "SQLite"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"BZh91AY&SY", "packed with bzip2; unpack it"),
        (b"\xfd7zXZ\0\0", "packed with xz"),
        (b"\x28\xb5\x2f\xfd\x04", "packed with zstd"),
        (b"7z\xbc\xaf\x27\x1c", "packed with 7-Zip"),
        (b"Rar!\x1a\x07", "packed with RAR"),
    ],
)
def test_what_is_no_text_is_refused_and_named(content: bytes, problem: str) -> None:
    for data in (content, gzip.compress(content)):
        for size in (1, 65536):
            with pytest.raises(InputError, match=problem):
                source_of(data, size=size)


def test_the_name_inside_a_packed_files_name_says_the_format() -> None:
    assert read(gzip.compress(b"name\n1\n2\n"), name="x.csv.gz").format == "csv"
    assert read(gzip.compress(b'\n{"id": 1}\n'), name="x.jsonl.gz").format == "jsonl"
    assert keys_of(gzip.compress(b"a,b\n"), name="x.txt.gz") == [None]
