"""A check that goes on after what its file has already."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statuslookup import AuthenticationError, MessageStatus
from statuslookup.cli.table import columns
from statuslookup.cli.table.encodings import Csv, Encoding, JsonLines
from statuslookup.cli.table.results import Results
from statuslookup.cli.table.sinks import FileSink
from statuslookup.cli.table.unpacking import InputError
from tests.support.checks import check_to_file, sandbox_of, source_of

CSV: dict[bool, Literal["csv", "jsonl"]] = {True: "csv", False: "jsonl"}
CONTENT = 'id,note\n1,"a\nb"\nx,"""q"""\n,no key\n2,São\n3,\n3,again\n'
PIECES = [
    b'"',
    b"\n",
    b"\r",
    b",",
    b"{",
    b"}",
    b"[" * 5000,
    b"-1",
    b"null",
    b'"line": ',
    b'"state": ',
    b"\xef\xbb\xbf",
    b"\0",
]
NO_LINES = ("-1", "0", "-8", "1.5", "true", "null", '"x"', "[1]", "9" * 5000, "1e400")


@pytest.mark.parametrize("csv", [False, True], ids=["jsonl", "csv"])
def test_a_file_that_was_cut_anywhere_is_resumed_to_the_same_bytes(tmp_path: Path, csv: bool) -> None:
    content, sandbox, path = CONTENT, sandbox_of(3, latency=0), tmp_path / "out"
    whole = check_to_file(content, path, sandbox, format=CSV[csv])
    expected = path.read_bytes()
    # Around each end of a line, and here and there.
    ends = [place for place, byte in enumerate(expected) if byte == ord("\n")]
    sizes = {
        0,
        len(expected),
        *range(0, len(expected), 29),
        *(end + more for end in ends for more in (-1, 0, 1)),
    }
    for size in sorted(sizes):
        path.write_bytes(expected[:size])
        check = check_to_file(content, path, sandbox, format=CSV[csv])
        assert path.read_bytes() == expected, size
        assert vars(check.tally) == vars(whole.tally) | {"before": check.tally.before}
    assert check.tally.before == check.written == 6


@pytest.mark.parametrize("csv", [False, True], ids=["jsonl", "csv"])
def test_of_a_file_that_was_cut_anywhere_the_whole_rows_are_left(tmp_path: Path, csv: bool) -> None:
    names, path = ["note", "state", "error"], tmp_path / "out"
    encoding: Encoding = Csv(names) if csv else JsonLines()
    notes = ['a\nb","c', "São", '"', "\r\n"]
    records = [encoding.encode({"note": note, "state": "SENT", "error": None}) for note in notes]
    whole = [encoding.header + b"".join(records[:count]) for count in range(len(records) + 1)]
    for size in range(len(whole[-1]) + 1):
        path.write_bytes(whole[-1][:size])
        sink = FileSink(str(path), encoding, resume=True)
        try:
            rows = sink.resume(with_line=False).rows
        finally:
            sink.close()
        assert path.read_bytes() == (whole[rows] if size >= len(encoding.header) else b"")
        assert rows == max((n for n, text in enumerate(whole) if len(text) <= size), default=0)


def test_an_unordered_file_is_resumed_by_its_lines(tmp_path: Path) -> None:
    content = "id\n3\nbad\n2\n1\n2\n"
    sandbox, path = sandbox_of(3, latency=0), tmp_path / "out"
    check_to_file(content, path, sandbox, with_line=True)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[3] + lines[1] + lines[0][:9])
    sandbox.reset_counts()
    check_to_file(content, path, sandbox, with_line=True)
    assert path.read_bytes().startswith(lines[3] + lines[1])
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(lines)
    assert sandbox.keys < 4


@pytest.mark.parametrize(
    ("there", "content", "problem"),
    [
        ("something else\n", "1\n", "its row 1 is not one of this check"),
        ("something else", "1\n", "its end is no row"),
        ('{"id": 5, "state": null, "error": null}\n', "1\n", "has another key than line 1"),
        ('{"id": 1, "state": null, "error": null}\n' * 2, "1\n", "more rows than this input"),
    ],
)
def test_a_file_that_is_not_this_checks_is_refused_and_left_alone(
    tmp_path: Path, there: str, content: str, problem: str
) -> None:
    path = tmp_path / "out"
    path.write_text(there)
    with pytest.raises(InputError, match=problem):
        check_to_file(content, path, sandbox_of(1))
    assert path.read_text() == there


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        *((f'{{"line": {line}, "state": null, "error": null}}\n', "row 1 is not") for line in NO_LINES),
        ('{"id": 1, "state": null, "error": null}\n', "row 1 is not"),
        ('{"line": 1, "state": null, "error": null}\n' * 2, "row 2 is not"),
        ('{"line": 1, "state": 5, "error": null}\n', "row 1 is not"),
        (f'{{"line": 1, "state": {"[" * 100_000}, "error": null}}\n', "row 1 is not"),
        ('{"line": 1, "id": 5, "state": null, "error": null}\n', "row 1 has another key than line 1"),
        (f'{{"line": {10**15}, "state": null, "error": null}}\n', "more rows than this input"),
    ],
    ids=lambda value: value[:40],
)
def test_an_unordered_file_that_is_not_this_checks_is_refused_and_left_alone(
    tmp_path: Path, there: str, problem: str
) -> None:
    path = tmp_path / "out"
    path.write_text(there)
    with pytest.raises(InputError, match=problem):
        check_to_file("1\n" if "key" in problem else "", path, sandbox_of(1), with_line=True)
    assert path.read_text() == there


def test_an_unordered_file_with_a_line_that_the_input_does_not_have_is_not_this_checks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out"
    path.write_text('{"line": 9, "state": null, "error": null}\n')
    with pytest.raises(InputError, match="more rows than this input"):
        check_to_file("1\n2\n3\n", path, sandbox_of(3), with_line=True)


@pytest.mark.parametrize("there", ["name,phone\nAnn,55\n", "name,phone", 'na"me\nAnn\n'])
def test_a_csv_file_with_other_columns_is_refused_and_left_alone(tmp_path: Path, there: str) -> None:
    path = tmp_path / "out"
    path.write_text(there)
    with pytest.raises(InputError, match="other columns"):
        check_to_file("1\n", path, sandbox_of(1), format="csv")
    assert path.read_text() == there


def test_a_quote_too_many_is_refused_and_the_file_left_alone(tmp_path: Path) -> None:
    content, path = "id,note\n1,a\n2,b\n3,c\n", tmp_path / "out"
    check_to_file(content, path, sandbox_of(3, latency=0), format="csv")
    whole = path.read_bytes()
    header, first, second, _ = whole.splitlines(keepends=True)
    begin = len(header + first)
    for place in range(begin, begin + len(second)):
        damaged = whole[:place] + b'"' + whole[place:]
        path.write_bytes(damaged)
        sink = FileSink(str(path), Csv(header.decode().rstrip().split(",")), resume=True)
        with pytest.raises(InputError, match="its row 2 "):
            sink.resume(with_line=False)
        sink.close()
        assert path.read_bytes() == damaged


def test_what_was_there_stays_until_there_is_something_better(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("precious" * 1000)
    sandbox = sandbox_of(3)
    sandbox.fault = lambda _: 401
    with pytest.raises(AuthenticationError):
        check_to_file("1\n", path, sandbox, resume=False)
    assert path.read_text() == "precious" * 1000
    sandbox.fault = None
    check_to_file("1\n", path, sandbox, resume=False)
    assert json.loads(path.read_text())["id"] == 1
    check_to_file("id\n", path, sandbox, resume=False, format="csv")
    assert path.read_text().startswith("id,custom_id,state,")
    assert path.read_text().count("\n") == 1


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[bool, bool], bytes]:
    """Return what a check of ``CONTENT`` writes, as CSV or not, and unordered or not."""
    path, wholes = tmp_path_factory.mktemp("wholes") / "out", {}
    for csv in (False, True):
        for with_line in (False, True):
            path.unlink(missing_ok=True)
            check_to_file(CONTENT, path, sandbox_of(3, latency=0), format=CSV[csv], with_line=with_line)
            wholes[csv, with_line] = path.read_bytes()
    return wholes


@given(
    csv=st.booleans(),
    with_line=st.booleans(),
    begin=st.integers(0, 2000),
    removed=st.integers(0, 300),
    inserted=st.binary(max_size=20) | st.lists(st.sampled_from(PIECES), max_size=4).map(b"".join),
    rest=st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_is_damaged_anywhere_is_refused_and_left_alone_or_becomes_whole(
    wholes: dict[tuple[bool, bool], bytes],
    tmp_path: Path,
    csv: bool,
    with_line: bool,
    begin: int,
    removed: int,
    inserted: bytes,
    rest: bool,
) -> None:
    whole, path = wholes[csv, with_line], tmp_path / "out"
    begin %= len(whole) + 1
    damaged = whole[:begin] + inserted + whole[begin + removed :] * rest
    path.write_bytes(damaged)
    results: Results[Any, MessageStatus] = Results(
        source_of(CONTENT).columns, columns.SMSFIRE, with_line=with_line
    )
    encoding: Encoding = Csv(results.names) if csv else JsonLines()
    sink = FileSink(str(path), encoding, resume=True)
    try:
        resumed = sink.resume(with_line=with_line)
    except InputError:
        assert path.read_bytes() == damaged
        return
    finally:
        sink.close()
    # Nothing but whole rows is left, and a further check goes on after them or says that they are others.
    kept = path.read_bytes()
    assert damaged.startswith(kept)
    try:
        check = check_to_file(CONTENT, path, sandbox_of(3, latency=0), format=CSV[csv], with_line=with_line)
    except InputError:
        return
    assert check.written == 6
    assert path.read_bytes().startswith(kept)
    assert check.tally.before == resumed.rows
