"""What the first lines say of an input."""

import os
import threading
from functools import partial

import pytest

from statuslookup import CustomId
from statuslookup.cli.providers import GREENAPI, SMSFIRE
from statuslookup.cli.table.lines import Lines
from statuslookup.cli.table.rows import Input
from statuslookup.cli.table.unpacking import InputError
from tests.support.tables import keys_of, read, rows

# --- Excel's own line -----------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "sep=|", "sep=,", "sep=\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_line_that_names_the_delimiter_is_counted_and_is_no_header(line: str, end: str) -> None:
    delimiter = line.strip('"')[-1]
    source = read(
        f"{line}{end}nome{delimiter}id{end}a;b,c|d e{end}x{delimiter}7{end}".replace("a;b,c|d e", "")
    )
    assert source.columns == ["nome", "id"]
    (row,) = source.rows
    assert (row.key, row.line) == (7, 4)
    assert (source.dialect.delimiter, source.dialect.line_end) == (delimiter, end)


def test_a_key_that_looks_like_that_line_is_one_where_keys_are_wanted() -> None:
    (row,) = rows("sep=;\n", format="keys")
    assert row.error is not None
    assert rows("sep=;\n") == []


# --- a header without a key's name ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["message_id", "protocolo", "ID da mensagem", '"Protocolo"'])
@pytest.mark.parametrize("file", ["", "x.csv", "x.txt"])
def test_a_first_line_without_a_digit_above_ids_is_a_header(name: str, file: str) -> None:
    source = read(f"{name}\n1\n\n0042\n42.0\n", name=file)
    assert source.header_taken == name.strip('"')
    assert source.columns == [name.strip('"')]
    assert [row.key for row in source.rows] == [1, 42, 42]


def test_a_header_of_stories_is_known_by_the_ids_of_whatsapp() -> None:
    assert keys_of("story\nBAE57C4EEC000000\n3EB0C767D26A1B\n", GREENAPI.keys) == [
        "BAE57C4EEC000000",
        "3EB0C767D26A1B",
    ]
    assert keys_of("story\nother\n", GREENAPI.keys) == ["story", "other"]


@pytest.mark.parametrize(
    ("content", "format"),
    [
        ("alpha\n1\nbeta\n", None),
        ("alpha\n", None),
        ("alpha\nbeta\n", None),
        ("alpha1\n1\n", None),
        ("alpha\n1\n", "keys"),
    ],
)
def test_a_first_line_that_may_be_a_key_is_one(content: str, format: str | None) -> None:
    source = read(content, format=format)
    assert source.header_taken is None
    assert next(source.rows).key == CustomId(content.split()[0])


def test_a_list_that_comes_slowly_waits_only_for_what_can_be_a_header() -> None:
    for first, taken in ((b"7\n", None), (b"name\n", "name")):
        reading, writing = os.pipe()
        try:
            os.write(writing, first)
            timer = threading.Timer(0.2, os.write, (writing, b"8\n"))
            if taken:
                timer.start()
            source = Input(Lines(partial(os.read, reading)), SMSFIRE.keys, lambda key: key)
            assert source.header_taken == taken
            assert next(source.rows).key == (8 if taken else 7)
        finally:
            if taken:
                timer.join()
            os.close(writing)
            os.close(reading)


# --- headers and delimiters -----------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_header_may_have_names_of_several_lines(delimiter: str, end: str) -> None:
    source = read(f'"Nome{end}completo; ou, ""apelido"""{delimiter}id{end}Ana{delimiter}7{end}')
    assert source.dialect.delimiter == delimiter
    (row,) = source.rows
    assert row.values == {f'Nome{end}completo; ou, "apelido"': "Ana", "id": 7}


def test_the_delimiter_is_the_one_that_makes_most_columns() -> None:
    assert read("id\t;\tx\tstate\n").dialect.delimiter == "\t"
    assert read('id|"\r\r"|state\r').dialect.delimiter == "|"
    assert read('id\t";\r"\tstate\n').dialect.delimiter == "\t"


def test_a_header_without_a_key_says_how_to_name_one() -> None:
    with pytest.raises(InputError, match="it has 'nome', 'protocolo'; --key COLUMN says which one it is"):
        read("nome;protocolo\nAna;5\n")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("<html><table>\n", "it is HTML or XML, whatever its name says; save it as CSV"),
        ("\n  <!DOCTYPE html>\n", "it is HTML"),
        ('<?xml version="1.0"?>\n', "it is HTML or XML"),
        ("\ufeff<table>\n", "it is HTML"),
        ("i\0d\0;\0n\0\n\0", "UTF-16 without a mark, which --encoding utf-16-le reads"),
    ],
)
@pytest.mark.parametrize("name", ["", "campaign.xls", "campaign.csv"])
def test_what_is_no_table_is_refused_at_once(content: str, problem: str, name: str) -> None:
    with pytest.raises(InputError, match=problem):
        read(content, name=name)
