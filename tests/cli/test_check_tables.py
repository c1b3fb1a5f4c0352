"""The check of tables as a user runs it: which column is the key, what is said, what is refused."""

import csv
import gzip
import io
import json
import shlex
from pathlib import Path

import pytest

from statuslookup.sandbox import Sandbox
from tests.support.commands import ids, rows, run, run_check

SAMPLES = Path(__file__).parent / "table" / "samples"
MARK = "\ufeff"


def table_of(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


def test_a_tables_own_id_is_no_key_by_accident(url: str) -> None:
    source = "id,custom_id,nome\n1,c500,Ana\n2,c2,Bia\n"
    result = run_check(url, "-", "--format", "csv", input=source)
    wrong, right = table_of(result.stdout)
    assert (wrong["id"], wrong["custom_id"], wrong["nome"], wrong["state"]) == ("1", "c500", "Ana", "")
    assert "id 1 has custom_id c1, and the row has custom_id c500" in wrong["error"]
    assert (right["state"], right["error"], result.exit_code) == ("REJECTED", "", 1)
    assert "failed 1" in " ".join(result.stderr.split())
    result = run_check(url, "-", "--format", "csv", "--key", "CUSTOM_ID", input=source)
    assert [(row["id"], row["custom_id"], row["state"]) for row in table_of(result.stdout)] == [
        ("1", "c500", "REJECTED"),
        ("2", "c2", "REJECTED"),
    ]
    assert result.exit_code == 0


def test_a_row_that_contradicts_itself_is_not_to_be_asked_again(url: str, tmp_path: Path) -> None:
    result = run_check(url, "-", "-o", str(tmp_path / "out.csv"), input="id,custom_id\n1,c500\n")
    assert result.exit_code == 1
    assert "To ask again" not in result.stderr


@pytest.mark.parametrize("name", ["message_id", "protocolo", "ID da mensagem"])
def test_the_key_may_have_any_column(url: str, tmp_path: Path, sandbox: Sandbox, name: str) -> None:
    out, again = tmp_path / "out.csv", tmp_path / "again.csv"
    sandbox.fault = lambda number: 404 if number == 1 else None
    source = f"id;{name}\n9;0003\n9;no key\n"
    arguments = ["check", "smsfire", "-", "--base-url", url, "--key", name, "--custom-ids", "--csv-safe"]
    result = run(*arguments, "-o", str(out), input=source.replace("0003", "c3"))
    assert [row[name] for row in table_of(out.read_text(), ";")] == ["c3", "no key"]
    assert [row["id"] for row in table_of(out.read_text(), ";")] == ["9", "9"]
    command = shlex.split(result.stderr.splitlines()[-1].partition("state: ")[2])
    assert command[command.index("--key") : -2][:4] == ["--key", name, "--custom-ids", "--csv-safe"]
    sandbox.fault = None
    run(*command[1:-1], str(again))
    assert [row["state"] for row in table_of(again.read_text(), ";")] == ["READ", ""]


def test_a_first_line_that_is_taken_for_a_header_is_said(url: str, tmp_path: Path, sandbox: Sandbox) -> None:
    out = tmp_path / "out.jsonl"
    result = run_check(url, "-", "-o", str(out), input="message_id\n0001\n9999\n")
    assert [(row["message_id"], row["id"]) for row in rows(out.read_text())] == [("0001", 1), (9999, None)]
    said = "The first line, 'message_id', is taken for a header (--input-format keys takes it for a key).\n"
    assert result.stderr.startswith(said)
    sandbox.reset_counts()
    result = run_check(url, "-", "--input-format", "keys", input="message_id\n1\n")
    assert (sandbox.keys, "taken for a header" in result.stderr) == (2, False)


def test_an_encoding_is_said_and_can_be_named(url: str, tmp_path: Path) -> None:
    for name, option in (("excel-pt-br.csv", []), ("excel-macintosh.csv", ["--encoding", "mac-roman"])):
        result = run_check(url, str(SAMPLES / name), "--format", "csv", *option)
        assert [row["nome"] for row in table_of(result.stdout, ";")][2:4] == ["João € \u2013", "Zoë"]
        assert ("is not UTF-8: such lines were read as Windows-1252" in result.stderr) == (not option)
        # What reads stdout is no spreadsheet.
        assert not result.stdout.startswith(MARK)
    result = run_check(url, str(SAMPLES / "excel-pt-br-utf8.csv"), "--format", "csv")
    assert result.stdout.startswith(MARK + "id;nome;")


@pytest.mark.parametrize("early", [True, False])
def test_a_file_that_is_not_utf8_somewhere_has_a_mark_in_its_output(
    url: str, tmp_path: Path, early: bool
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    lines = ["id;n", *(f"{id};{'x' * 100}" for id in range(1, 1001))]
    lines[1 if early else -1] += "ã"
    source.write_bytes("\r\n".join(lines).encode("cp1252"))
    result = run_check(url, str(source), "-o", str(out))
    assert result.exit_code == 0
    assert out.read_text(encoding="utf-8").startswith(MARK)
    assert out.read_bytes().count(b"\r\n") == 1001
    source.write_bytes("\r\n".join(lines).encode())
    run_check(url, str(source), "-o", str(out))
    assert not out.read_text(encoding="utf-8").startswith(MARK)


@pytest.mark.parametrize("name", ["campaign.csv.gz", "campaign.jsonl.gz", "campaign.txt"])
def test_a_packed_file_is_read(url: str, tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    content = "".join(json.dumps({"id": id}) + "\n" for id in range(1, 301)) if "jsonl" in name else ids(300)
    source.write_bytes(gzip.compress(("id\n" * ("csv" in name) + content).encode()))
    result = run_check(url, str(source))
    assert [row["id"] for row in rows(result.stdout)] == list(range(1, 301))
    assert result.exit_code == 0


def test_a_packed_file_that_is_cut_off_ends_the_check_which_can_be_resumed(url: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.gz", tmp_path / "out.jsonl"
    packed = gzip.compress(ids(3000).encode())
    source.write_bytes(packed[:-9])
    arguments = (str(source), "-o", str(out), "--resume")
    result = run_check(url, *arguments)
    done = len(rows(out.read_text()))
    assert result.exit_code == 2
    how = f"{out} has {done:,} rows. To go on, repeat the command with --resume."
    if not done:
        how = f"Nothing was written to {out}. Repeat the command."
    assert result.stderr.endswith(f"Error: {source}: the gzip file is damaged, or ends too early\n{how}\n")
    source.write_bytes(packed)
    assert run_check(url, *arguments).exit_code == 0
    assert [row["id"] for row in rows(out.read_text())] == list(range(1, 3001))


@pytest.mark.parametrize(
    ("arguments", "input", "problem"),
    [
        (["-", "-o", "out.json"], "1\n", "out.json: JSON is written one object a line; name a .jsonl file"),
        (["-", "-o", "OUT.CSV.GZ"], "1\n", "OUT.CSV.GZ: nothing is written packed; leave that ending out"),
        (["-", "--csv-safe"], "1\n", "--csv-safe is for CSV: --format csv, or an output with such a name"),
        (["-", "--encoding", "base64"], "1\n", "'base64' is no encoding that Python knows"),
        (["-", "--encoding", "nope"], "1\n", "'nope' is no encoding that Python knows"),
        (["-", "--encoding", "undefined"], "1\n", "'undefined' is no encoding that Python knows"),
        (["-", "--encoding", "idna"], "xn--a\n.b", "stdin: line 1 is not idna"),
        (["-", "--encoding", "x\0"], "1\n", "is no encoding that Python knows"),
        (["-", "--encoding", "ascii"], "é\n", "stdin: line 1 is not ascii; --encoding NAME says what it is"),
        (["-", "--key", "ref"], "id,n\n1,\n", "the header has no column 'ref': it has 'id', 'n'"),
        (["-", "--key", "State"], "id,state\n1,\n", "--key State: the check itself writes that column"),
        (["-", "--key", "ref", "--input-format", "keys"], "1\n", "--key names a column of CSV or JSON Lines"),
        (["-"], "<html>\n", "stdin: it is HTML or XML, whatever its name says; save it as CSV"),
        (["-"], "%PDF-1.4\n", "stdin: it is a PDF; save as CSV what it was made from"),
    ],
)
def test_what_is_no_table_or_makes_none_is_refused_in_one_line(
    arguments: list[str], input: str, problem: str
) -> None:
    result = run("check", "smsfire", *arguments, input=input)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr.splitlines()[-1]


def test_a_dressed_id_is_one_for_get_too(url: str) -> None:
    result = run("get", "smsfire", "3.0", '="4"', "'5", "--base-url", url, "--rate", "off")
    assert [row["id"] for row in rows(result.stdout)] == [3, 4, 5]
    result = run("get", "smsfire", "1.23457E+11", "--base-url", url)
    assert "a spreadsheet has rounded it" in result.stderr
