"""The check as a user runs it: files, pipes, interruptions, a sandbox on a socket."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from statuslookup import RateLimit
from statuslookup.sandbox import Sandbox
from tests.support.commands import CREDENTIALS, check, ids, rows, run, run_check, show
from tests.support.processes import environment, finish, needs_signals, needs_terminals, read_terminal, start


def test_a_file_becomes_rows_and_a_summary(url: str, tmp_path: Path, sandbox: Sandbox) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("name,id\n" + "".join(f"n{id},{id}\n" for id in range(1, 1001)))
    result = run_check(url, str(source), "-o", str(out))
    assert (result.exit_code, result.stdout) == (0, "")
    lines = out.read_text().splitlines()
    assert lines[0].startswith("name,id,custom_id,state,status_code,")
    assert lines[0].endswith(",error")
    assert lines[1].startswith("n1,1,c1,SENT,1,ACCEPTED,")
    assert len(lines) == 1001
    for line in ("SMSFire, 1,000 rows", "SENT 334 33.4%", "unknown 0", "failed 0", "Requests made 5"):
        assert line in " ".join(result.stderr.split())
    assert "Keys a request 200.0 Rejections 0 Elapsed" in " ".join(result.stderr.split())
    assert sandbox.requests == 5


def test_stdin_to_stdout(url: str) -> None:
    result = run_check(url, "-", input="3\nc2\n9999\nno key\n")
    assert [(row["id"], row["custom_id"], row["state"]) for row in rows(result.stdout)] == [
        (3, "c3", "READ"),
        (2, "c2", "REJECTED"),
        (9999, None, None),
        (None, "no key", None),
    ]
    assert rows(result.stdout)[3]["error"].startswith("line 4: ")
    assert result.exit_code == 1


def test_a_dash_as_output_is_stdout(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_check(url, "-", "-o", "-", input="3\n")
    assert [row["state"] for row in rows(result.stdout)] == ["READ"]
    assert list(tmp_path.iterdir()) == []


def test_digits_can_be_custom_ids(url: str) -> None:
    result = run_check(url, "-", "--custom-ids", "--format", "csv", input="3\n")
    assert result.stdout.splitlines()[1] == ",3" + "," * 10
    assert result.exit_code == 1


def test_stories(url: str) -> None:
    source = "idMessage,name\nSTORY1,a\nnone,b\n"
    result = run("check", "greenapi", "-", "--api-url", url, "--rate", "off", input=source)
    found, unknown = rows(result.stdout)
    assert (found["state"], found["recipients"], found["read"], found["name"]) == ("DELIVERED", 2, 1, "a")
    assert [receipt["state"] for receipt in found["receipts"]] == ["READ", "DELIVERED"]
    assert (unknown["idMessage"], unknown["state"], unknown["error"]) == ("none", None, None)
    assert result.exit_code == 1


def test_an_output_is_an_input_and_only_open_asks_for_the_rest(
    url: str, tmp_path: Path, sandbox: Sandbox
) -> None:
    for name in ("first.csv", "first.jsonl"):
        first, second = str(tmp_path / name), tmp_path / f"second.{name}"
        run_check(url, "-", "-o", first, input=ids(30))
        sandbox.reset_counts()
        result = run_check(url, first, "--only-open", "-o", str(second))
        assert result.exit_code == 0
        assert second.read_bytes() == Path(first).read_bytes()
        assert sandbox.keys == 10
        assert "Skipped, final already 20" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("my out.csv", ["--custom-ids"]),
        ("out", ["--rate", "9", "--timeout", "7"]),
        ("out.jsonl", ["--format", "csv", "--rate", "off"]),
    ],
)
def test_what_failed_can_be_asked_again_with_the_command_that_is_shown(
    url: str, tmp_path: Path, sandbox: Sandbox, name: str, more: list[str]
) -> None:
    sandbox.fault = lambda number: 404 if number == 1 else None
    arguments = ["check", "smsfire", "-", "-o", str(tmp_path / name), "--base-url", url, *more]
    result = run(*arguments, input="c1\n" * 3 + "no key\n")
    assert result.exit_code == 1
    before, shown, command = result.stderr.splitlines()[-1].partition("state: ")
    assert (before + shown) == "To ask again for rows without a final state: "
    program, *again = shlex.split(command)
    assert program == "statuslookup"
    assert again[-2] == "-o"
    again[-1] = str(tmp_path / again[-1])
    assert again[-1] == str(tmp_path / "ANOTHER") + Path(name).suffix
    for option in set(more) - {"--custom-ids"}:
        assert option in again or f"{option}.0" in again
    sandbox.fault = None
    sandbox.reset_counts()
    result = run(*again)
    assert (result.exit_code, sandbox.keys) == (1, 1)
    assert "SENT 3" in " ".join(result.stderr.split())
    assert "failed 1" in " ".join(result.stderr.split())
    assert (tmp_path / name).read_text()[0] == Path(again[-1]).read_text()[0]
    # What is left has no key, and to ask once more would change nothing.
    assert "To ask again" not in result.stderr


def test_unordered_rows_have_their_line(url: str) -> None:
    result = run_check(url, "-", "--unordered", input=ids(500))
    assert sorted(row["line"] for row in rows(result.stdout)) == list(range(1, 501))


def test_resume_says_how_many_were_there_and_remembers_what_failed(
    url: str, tmp_path: Path, sandbox: Sandbox
) -> None:
    out, source = tmp_path / "out.jsonl", "9999\n" + ids(499)
    arguments = ("-", "-o", str(out), "--resume")
    assert run_check(url, *arguments, input=source).exit_code == 1
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) // 2])
    sandbox.reset_counts()
    result = run_check(url, *arguments, input=source)
    assert (result.exit_code, out.read_bytes()) == (1, whole)
    assert sandbox.keys < 260
    assert "SMSFire, 500 rows" in result.stderr
    assert f"Done before {500 - sandbox.keys}" in " ".join(result.stderr.split())


def test_a_long_cell_is_written_and_resumed(url: str, tmp_path: Path) -> None:
    source, out, limit = "n,id\n" + "x" * 200_000 + ",1\n", tmp_path / "out.csv", csv.field_size_limit()
    arguments = ("-", "-o", str(out), "--resume")
    assert run_check(url, *arguments, input=source).exit_code == 0
    result = run_check(url, *arguments, input=source + ",2\n")
    assert result.exit_code == 0, result.stderr
    assert [len(line) > 200_000 for line in out.read_text().splitlines()] == [False, True, False]
    assert csv.field_size_limit() == limit


def test_a_json_file_as_csv_loses_nothing(url: str, tmp_path: Path) -> None:
    source = '{"id": 1, "a": 1}\n{"id": 2, "b": [2]}\n'
    result = run_check(url, "-", "--format", "csv", input=source)
    header, _, second = result.stdout.splitlines()
    assert header.startswith("id,a,custom_id,")
    assert header.endswith(",error,more")
    assert second.endswith(',"{""b"": [2]}"')


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "input", "problem"),
    [
        (["missing.csv"], "", "does not exist"),
        (["."], "", "is a directory"),
        (["-"], "name,phone\nx,y\n", "names no key column (one of id, customId, custom_id)"),
        (["-"], '[{"id": 1}]', "JSON array"),
        (["-", "--resume"], "1\n", "--resume needs the output file"),
        (["-", "-o", "no/such/folder"], "1\n", "No such file"),
        (["-", "-o", "."], "1\n", "is a directory"),
        (["-", "-o", ""], "1\n", "the name of the file is empty; '-' is stdout"),
        (["-", "-o", "-", "--resume"], "1\n", "--resume needs the output file"),
        (["-", "-o", "OUT.XLSX"], "1\n", "OUT.XLSX: spreadsheets are not written; name a .csv file"),
        (["-"], "PK\x03\x04\x14\n", "stdin: it is a spreadsheet or a zip file; save it as CSV"),
        (["-", "--rate", "0"], "1\n", "Invalid value for '--rate'"),
        (["-", "--rate", "fast"], "1\n", "Invalid value for '--rate'"),
        (["-", "--timeout", "0"], "1\n", "Invalid value for '--timeout'"),
        (["-", "--timeout", "nan"], "1\n", "Invalid value for '--timeout'"),
        (["-", "--base-url", "http://x.example"], "1\n", "must be https"),
        (["-", "--env-file", "missing"], "1\n", "does not exist"),
        (["-", "--custom-ids"], "id\n1\n", "stdin: --custom-ids is for one key a line; name the column"),
        (["-", "--format", "xml"], "1\n", "Invalid value for '--format'"),
        (["-", "--only-open"], "id\n1\n", "stdin: --only-open needs a column 'state'"),
        (["-", "--resume", "-o", os.devnull], "1\n", f"--resume needs a file, and {os.devnull} is none"),
    ],
)
def test_bad_usage_is_said_and_exit_code_2(arguments: list[str], input: str, problem: str) -> None:
    result = run("check", "smsfire", *arguments, input=input)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in " ".join(result.stderr.split())


def test_the_output_must_not_be_the_input(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": 1}\n')
    for option in ([], ["--resume"]):
        result = run("check", "smsfire", str(path), "-o", str(path), *option)
        assert result.exit_code == 2
        assert "the output is the input" in result.stderr
    assert path.read_text() == '{"id": 1}\n'


@pytest.mark.parametrize("name", ["empty.csv", "empty.jsonl", "empty"])
def test_an_empty_file_asks_nothing(url: str, tmp_path: Path, name: str, sandbox: Sandbox) -> None:
    (tmp_path / name).write_bytes(b"")
    result = run_check(url, str(tmp_path / name), "--only-open")
    assert (result.exit_code, result.stdout, sandbox.requests) == (0, "", 0)
    assert "SMSFire, 0 rows" in result.stderr
    assert result.stderr.endswith("The input is empty: it has no rows.\n")


def test_digits_as_custom_ids_are_only_smsfires(url: str) -> None:
    result = run("check", "greenapi", "-", "--custom-ids", "--api-url", url, input="STORY1\n")
    assert result.exit_code == 2
    assert "--custom-ids is SMSFire's" in result.stderr


def test_windows_1252_a_byte_order_mark_and_windows_lines(url: str, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b'\xef\xbb\xbfname;id\r\nJo\xe3o;1\r\n"a\r\nb";2\r\n')
    result = run_check(url, str(source))
    assert [(row["name"], row["state"]) for row in rows(result.stdout)] == [
        ("João", "SENT"),
        ("a\r\nb", "REJECTED"),
    ]
    assert (
        "Line 2 is not UTF-8: such lines were read as Windows-1252."
        " If letters are wrong, say --encoding NAME." in result.stderr
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize(
    ("to_stdout", "said"),
    [
        (True, "stdout: {}\nstdout got 0 rows. A check that writes to a file (-o FILE) can be resumed."),
        (False, "/dev/full: {}\nNothing was written to /dev/full. Repeat the command."),
    ],
)
def test_a_full_disk_is_said_and_no_traceback(url: str, tmp_path: Path, to_stdout: bool, said: str) -> None:
    (tmp_path / "in").write_text(ids(3000))
    arguments = [] if to_stdout else ["-o", "/dev/full"]
    with open("/dev/full", "w") as full:
        process = check(str(tmp_path / "in"), *arguments, url=url, stdout=full)
        exit_code, _, errors = finish(process)
    assert (exit_code, errors) == (1, f"Error: {said}\n".format("No space left on device"))


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="only Linux has a file that cannot be read")
def test_an_input_that_cannot_be_read_is_named(url: str) -> None:
    result = run_check(url, "/proc/self/mem")
    assert result.exit_code == 1
    assert result.stderr == "Error: /proc/self/mem: Input/output error\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
def test_a_reader_that_has_gone_is_no_news(url: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text(ids(3000))
    process = check(str(tmp_path / "in"), url=url)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["id"] == 1
        process.stdout.close()
        assert process.wait(30) == 1
        assert process.stderr.read() == ""


@needs_signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_what_is_done_and_says_how_to_go_on(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    sandbox = Sandbox(rate_limit=RateLimit(10, 1.0))
    for id in range(1, 3001):
        sandbox.add_message(id)
    out = tmp_path / "out.jsonl"
    (tmp_path / "in").write_text(ids(3000))
    with sandbox.serve() as url:
        arguments = ["check", "smsfire", str(tmp_path / "in"), "-o", str(out), "--base-url", url]
        process = start(*arguments, "--rate", "4", env=environment(**CREDENTIALS))
        deadline = time.monotonic() + 30
        while not (out.exists() and out.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        exit_code, output, errors = finish(process)
        assert (exit_code, output) == (code, "")
        done = len(rows(out.read_text()))
        assert 0 < done < 3000
        assert errors.splitlines()[-1] == (
            f"Interrupted: {out} has {done:,} rows. To go on, repeat the command with --resume."
        )
        sandbox.rate_limit = None
        result = run(*arguments, "--rate", "off", "--resume")
    assert result.exit_code == 0
    assert [row["id"] for row in rows(out.read_text())] == list(range(1, 3001))


@needs_signals
def test_ctrl_c_is_heard_while_stdin_is_silent(url: str) -> None:
    process = check("-", url=url, stdin=subprocess.PIPE)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("1\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


@needs_signals
def test_a_stdin_that_does_not_block_is_read_to_its_end(url: str) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(writing, "wb", buffering=0) as source, check("-", url=url, stdin=reading) as process:
        os.close(reading)
        assert process.stdout is not None
        source.write(b"1\n")
        # When its answer is there, stdin is being read, and has nothing to give.
        assert json.loads(process.stdout.readline())["id"] == 1
        source.write(b"2\n")
        source.close()
        exit_code, output, _ = finish(process)
    assert ([row["id"] for row in rows(output)], exit_code) == ([2], 0)


@needs_terminals
def test_a_check_shows_its_progress_only_on_a_terminal(url: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text(ids(3000))
    out = tmp_path / "out.jsonl"
    arguments = ["check", "smsfire", str(tmp_path / "in"), "--base-url", url, "--rate", "10"]
    with show(*arguments, "-o", str(out)) as (_, terminal):
        shown = read_terminal(terminal, until="Elapsed")
    assert "a second" in shown
    assert " left" in shown
    assert "3,000 rows" in shown
    # Rows on the same terminal, and no bar in between.
    with show(*arguments[:2], "-", "--base-url", url, stdin=subprocess.PIPE) as (process, terminal):
        assert process.stdin is not None
        process.stdin.write("1\n")
        process.stdin.close()
        shown = read_terminal(terminal)
    assert shown.startswith('{"id": 1, ')
    assert "a second" not in shown
