"""How keys are written, and how other programs dress them."""

import pytest

from statuslookup import CustomId
from statuslookup.cli.providers import GREENAPI, SMSFIRE
from statuslookup.cli.table.keys import undressed, whole_number
from tests.support.tables import keys_of, read, rows

DRESSED = ["42", "42.0", "42,0", "42.00", '="42"', '"42"', "'42", '\'="42"', " 42 ", "0042"]


@pytest.mark.parametrize("text", DRESSED)
def test_an_id_that_a_program_dressed_is_the_id_and_its_cell_stays(text: str) -> None:
    quoted = '"' + text.replace('"', '""') + '"'
    for content in (f"id;n\n{quoted};x\n", f"ID\n{quoted}\n", f"{text}\n"):
        (row,) = rows(content)
        assert row.key == 42, content
        assert str(next(iter(row.values.values()))).strip() == text.strip(), content


@pytest.mark.parametrize("number", ["42.0", "42.00", "42", '"42.0"', "4.2e1", "42.5", "true"])
def test_a_number_of_json_is_an_id_if_all_its_digits_are_there(number: str) -> None:
    (row,) = rows(f'{{"id": {number}}}\n')
    assert (row.key == 42) == (number not in ("4.2e1", "42.5", "true"))


@pytest.mark.parametrize(
    "content",
    [
        "id\n1.23457E+11\n",
        'id\n"1,23457E+11"\n',
        "id\n1e+20\n",
        '{"id": 1.23457E+11}\n',
        '{"id": "1.23457E+11"}\n',
        "1.23457E+11\n",
    ],
)
def test_an_id_that_a_spreadsheet_rounded_is_refused_as_such(content: str) -> None:
    (row,) = rows(content)
    assert row.error is not None
    assert "a spreadsheet has rounded it, the digits are lost: '1" in row.error


@pytest.mark.parametrize("text", ["42.5", "42.000", "1.234.567", "4 2", "-42", "+42", "='42'", "٤٢"])
def test_what_could_be_another_number_is_no_id(text: str) -> None:
    assert whole_number(text) is None
    (row,) = rows(f'id\n"{text}"\n')
    assert row.error == f"line 2: an id is digits, and this is {text!r}"


def test_other_keys_are_dressed_too() -> None:
    assert keys_of('customId,n\n"=""c1""",\n\'-c2,\n') == [CustomId("c1"), CustomId("-c2")]
    assert keys_of("idMessage,n\n'BAE5,\n", GREENAPI.keys) == ["BAE5"]
    assert keys_of("'BAE5\nBAE'5\n", GREENAPI.keys) == ["BAE5", "BAE'5"]
    assert undressed("a'b\"") == "a'b\""


def test_numbers_that_are_custom_ids_by_name_stay_as_they_are() -> None:
    assert SMSFIRE.keys_by_name is not None
    assert keys_of("42.0\n7e10\n", SMSFIRE.keys_by_name) == [CustomId("42.0"), CustomId("7e10")]
    assert keys_of("7e10\n1.2.3\n") == [CustomId("7e10"), CustomId("1.2.3")]


# --- a column that somebody chose -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["message_id", "protocolo", "ID da mensagem", "phone"])
def test_any_column_can_be_the_key(name: str) -> None:
    keys = SMSFIRE.keys.only(name)
    for content in (f"id;custom_id;{name}\n77;x;5\n", f'{{"x": 1, "{name}": 5}}\n', f"{name}\n5\n"):
        (row,) = rows(content, keys)
        assert row.key == 5
        assert not row.rivals


def test_a_chosen_column_is_found_however_its_name_is_written() -> None:
    keys = SMSFIRE.keys.only("Protocolo")
    assert keys_of("x, PROTOCOLO \n1,5\n", keys) == [5]
    assert keys_of("protocolo,Protocolo\n1,5\n", keys) == [5]
    assert keys_of('"Protocolo\n",x\n5,1\n', SMSFIRE.keys.only("Protocolo")) == [5]
    assert keys_of("id,id\n1,5\n", SMSFIRE.keys.only("id_2")) == [5]
    assert keys_of("ref\nBAE5\n", GREENAPI.keys.only("ref")) == ["BAE5"]


def test_texts_and_digits_of_a_chosen_column_are_read_as_in_a_list() -> None:
    assert keys_of("ref\n5\nc5\ncustom:6\n", SMSFIRE.keys.only("ref")) == [5, CustomId("c5"), CustomId("6")]
    assert SMSFIRE.keys_by_name is not None
    assert keys_of("ref\n5\n", SMSFIRE.keys_by_name.only("ref")) == [CustomId("5")]


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"^the header has no column 'ref': it has 'id', 'n'$"):
        read("id;n\n1;\n", SMSFIRE.keys.only("ref"))
    (row,) = rows('{"id": 1}\n', SMSFIRE.keys.only("ref"))
    assert row.error == "line 1: it has no key"
