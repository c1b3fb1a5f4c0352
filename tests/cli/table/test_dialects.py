"""Tables as spreadsheets write them: the output is one that the same program opens."""

import csv
import gzip
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup.sandbox import Sandbox
from tests.support.checks import check_to_file, sandbox_of

SAMPLES = Path(__file__).parent / "samples"
MARK = b"\xef\xbb\xbf"


class Sample(NamedTuple):
    """What a program writes, and what of it is in the output."""

    encoding: str
    delimiter: str
    line_end: str
    has_mark: bool = True
    """The output is UTF-8, and a program that writes something else needs the mark to see that."""
    option: str | None = None
    """What ``--encoding`` says."""


WRITTEN = {
    "excel-pt-br.csv": Sample("cp1252", ";", "\r\n"),
    "excel-pt-br-utf8.csv": Sample("utf-8-sig", ";", "\r\n"),
    "excel-en-us.csv": Sample("cp1252", ",", "\r\n"),
    "excel-en-us-utf8.csv": Sample("utf-8-sig", ",", "\r\n"),
    "excel-dos.csv": Sample("cp850", ";", "\r\n", option="cp850"),
    "excel-macintosh.csv": Sample("mac-roman", ";", "\r", option="mac-roman"),
    "excel-hint.csv": Sample("cp1252", ";", "\r\n"),
    "libreoffice.csv": Sample("cp1252", ",", "\n"),
    "libreoffice-quoted.csv": Sample("utf-8", ";", "\n", has_mark=False),
    "libreoffice-macintosh.csv": Sample("mac-roman", ";", "\n", option="mac-roman"),
    "libreoffice-dos.csv": Sample("cp850", ";", "\n", option="cp850"),
    "google-sheets.csv": Sample("utf-8", ",", "\r\n", has_mark=False),
    "pandas.csv": Sample("utf-8", ",", "\n", has_mark=False),
    "pandas.csv.gz": Sample("utf-8", ",", "\n", has_mark=False),
    "pandas-excel.csv": Sample("utf-8-sig", ";", "\r\n"),
}
TABBED = {
    "excel-unicode.txt": Sample("utf-16", "\t", "\r\n"),
    "libreoffice-utf16.csv": Sample("utf-16", "\t", "\n"),
    "google-sheets.tsv": Sample("utf-8", "\t", "\r\n", has_mark=False),
    "pandas-utf16.tsv": Sample("utf-16", "\t", "\n"),
}


@pytest.fixture(scope="module")
def messages() -> Sandbox:
    return sandbox_of(100, latency=0)


def content_of(name: str) -> bytes:
    data = (SAMPLES / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


def cells_of(text: str, delimiter: str) -> list[list[str]]:
    text = text.removeprefix(f"sep={delimiter}\r\n")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


@pytest.mark.parametrize(("name", "sample"), [*WRITTEN.items(), *TABBED.items()], ids=str)
def test_the_output_keeps_the_cells_and_is_written_like_the_input(
    tmp_path: Path, messages: Sandbox, name: str, sample: Sample
) -> None:
    path = tmp_path / ("out.tsv" if name in TABBED else "out.csv")
    check_to_file((SAMPLES / name).read_bytes(), path, messages, encoding=sample.option)
    text = path.read_bytes().removeprefix(MARK).decode()
    assert path.read_bytes().startswith(MARK) == sample.has_mark
    assert text.endswith(sample.line_end)
    header, *rows = cells_of(text, sample.delimiter)
    of_input = cells_of(content_of(name).decode(sample.encoding), sample.delimiter)
    assert [row[:3] for row in [header, *rows]] == [row for row in of_input if any(row)]
    assert header[3:5] == ["custom_id", "state"]
    assert [row[4] for row in rows] == ["SENT", "REJECTED", "SENT", "READ", ""]
    assert [row[-1] for row in rows] == [""] * 5


def cuts(content: bytes) -> list[int]:
    """Return where a killed check may have ended: around the mark and each line's end, and here and there."""
    ends = [place for place, byte in enumerate(content) if byte in b"\r\n"]
    around = {end + more for end in ends for more in (0, 1)}
    return sorted({*range(0, len(content), 97), *range(5), *around, len(content)})


def without_lines(content: bytes) -> bytes:
    """Return rows without the numbers of lines in their errors: an output has fewer lines than its input."""
    return re.sub(rb"line [0-9]+", b"line", content)


def assert_resumed(content: bytes, path: Path, messages: Sandbox, **options: Any) -> bytes:
    """Check, cut the output anywhere, go on, and find the same bytes."""
    check_to_file(content, path, messages, **options)
    expected = path.read_bytes()
    for size in cuts(expected):
        path.write_bytes(expected[:size])
        check_to_file(content, path, messages, **options)
        assert path.read_bytes() == expected, size
    return expected


@pytest.mark.parametrize(
    ("name", "out", "options"),
    [
        ("excel-pt-br.csv", "out.csv", {}),
        ("excel-macintosh.csv", "out.csv", {"encoding": "mac-roman"}),
        ("excel-hint.csv", "out.csv", {"is_safe": True}),
        ("excel-unicode.txt", "out.tsv", {}),
        ("google-sheets.csv", "out.csv", {}),
        ("google-sheets.tsv", "out.csv", {"is_safe": True}),
        ("pandas-index.csv", "out.csv", {}),
        ("pandas.jsonl", "out.csv", {}),
        ("pandas.jsonl", "out.jsonl", {}),
    ],
)
def test_a_killed_check_of_any_table_is_resumed_to_the_same_bytes(
    tmp_path: Path, messages: Sandbox, name: str, out: str, options: dict[str, Any]
) -> None:
    path, content = tmp_path / out, (SAMPLES / name).read_bytes()
    expected = assert_resumed(content, path, messages, **options)
    again = tmp_path / f"again-{out}"
    repeated = assert_resumed(expected, again, messages, only_open=True, **{**options, "encoding": None})
    assert without_lines(repeated) == without_lines(expected)


@pytest.mark.parametrize("mark", [b"", MARK], ids=["without", "with"])
def test_an_output_is_resumed_whether_it_has_a_byte_order_mark_or_not(
    tmp_path: Path, messages: Sandbox, mark: bytes
) -> None:
    path, content = tmp_path / "out.csv", "id;n\r\n1;ã\r\n2;\r\n".encode("cp1252" if mark else "utf-8")
    check_to_file(content, path, messages)
    whole = path.read_bytes()
    assert whole.startswith(mark)
    other = whole.removeprefix(MARK) if mark else MARK + whole
    path.write_bytes(other[:-5])
    check_to_file(content, path, messages)
    assert path.read_bytes() == other


@pytest.mark.parametrize("body", ["1;ã", "1;ã\r\n", "1;x\r\n2;ã", "1;ã\r"])
def test_a_pipe_says_what_has_come_of_it(tmp_path: Path, messages: Sandbox, body: str) -> None:
    for encoding, mark in (("cp1252", MARK), ("utf-8", b"")):
        path = tmp_path / "out.csv"
        check_to_file(f"id;n\r\n{body}".encode(encoding), path, messages, resume=False)
        assert path.read_bytes().startswith(mark + b"id;n;")


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf8", b""), ("ascii", b""), ("cp1252", MARK), ("cp850", MARK)]
)
def test_an_encoding_that_excel_takes_for_its_own_needs_no_mark(
    tmp_path: Path, messages: Sandbox, encoding: str, mark: bytes
) -> None:
    check_to_file("id;n\n1;x\n", tmp_path / "out.csv", messages, encoding=encoding)
    assert (tmp_path / "out.csv").read_bytes().startswith(mark + b"id;n;")


def test_the_name_of_the_output_may_ask_for_another_delimiter(tmp_path: Path, messages: Sandbox) -> None:
    for content, name, delimiter in (
        ("sep=;\nid;n\n1;x\n", "out.tsv", "\t"),
        ("id;n\n1;x\n", "out.csv", ";"),
        ("id\tn\n1\tx\n", "out.csv", ","),
        ("id|n\n1|x\n", "out.csv", "|"),
        ("1\n", "out.tab", "\t"),
        ('{"id": 1}\n', "out.csv", ","),
    ):
        path = tmp_path / name
        check_to_file(content, path, messages, resume=False)
        assert path.read_text().startswith("id" + delimiter)


def test_a_list_and_json_lines_have_line_ends_and_a_mark_too(tmp_path: Path, messages: Sandbox) -> None:
    for content in (MARK + b"1\r\n2\r\n", MARK + b'{"id": 1}\r\n'):
        path = tmp_path / "out.csv"
        check_to_file(content, path, messages, resume=False)
        assert path.read_bytes().startswith(MARK + b"id,custom_id,")
        assert path.read_bytes().count(b"\r\n") == content.count(b"\n") + (b"{" not in content) * 0 + 1
        path = tmp_path / "out.jsonl"
        check_to_file(content, path, messages, resume=False)
        assert path.read_bytes().startswith(b'{"id": 1, ')
        assert b"\r" not in path.read_bytes()


# --- formulas -------------------------------------------------------------------------------------


def test_texts_that_a_spreadsheet_takes_for_formulas_have_an_apostrophe(
    tmp_path: Path, messages: Sandbox
) -> None:
    cells = [
        "=1+1",
        "+x",
        "-x",
        "@x",
        "\tx",
        "\rx",
        "\nx",
        "\uff1d1",
        "-5",
        "+5511999",
        "-1,5",
        "-2E+3",
        "'=x",
        "x=1",
        "",
    ]
    content = io.StringIO(newline="")
    csv.writer(content).writerows(
        [["custom_id", "=n"], *((f"c{id}", cell) for id, cell in enumerate(cells, 1))]
    )
    for is_safe in (False, True):
        path = tmp_path / f"{is_safe}.csv"
        check_to_file(content.getvalue(), path, messages, is_safe=is_safe)
        header, *rows = cells_of(path.read_bytes().decode(), ",")
        assert header[1] == ("'=n" if is_safe else "=n")
        assert [row[1] for row in rows] == [f"'{cell}" if is_safe else cell for cell in cells[:8]] + cells[8:]


def test_what_was_written_before_formulas_is_read_back(tmp_path: Path) -> None:
    messages = Sandbox(rate_limit=None)
    messages.add_message(1, custom_id="-a")
    path, again = tmp_path / "out.csv", tmp_path / "again.csv"
    expected = assert_resumed(b"custom_id,n\n-a,=1\n-b,\n", path, messages, is_safe=True)
    assert b"\n'-a,'=1,1," in expected
    messages.reset_counts()
    check = check_to_file(expected, again, messages, is_safe=True)
    assert again.read_bytes() == expected
    assert (messages.keys, check.tally.failed) == (2, 0)


# --- any table ------------------------------------------------------------------------------------

CELLS = st.text(st.sampled_from("ab17 =-'\"\r\n,;\t|ã“\u2028\x00"), max_size=6)
NAMES = CELLS.map(lambda name: name.replace("\x00", ""))
KEYS = st.sampled_from(["1", "007", "42.0", '="3"', "'4", "c5", "'-x", "", "no key", "1.5E+9"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """Draw a table in some dialect, and options of a check."""
    delimiter = draw(st.sampled_from(",;\t|"))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    key = draw(st.sampled_from(["id", "ID", " customId", "other"]))
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    names = draw(st.permutations([key, *draw(st.lists(NAMES, max_size=2)), "state"]))
    writer.writerow(names)
    for row in draw(
        st.lists(st.tuples(KEYS, CELLS, CELLS, st.sampled_from(["", "READ ", "sent"])), max_size=4)
    ):
        cells = iter(row[1:3])
        writer.writerow(
            row[0] if name == key else row[3] if name == "state" else next(cells, "") for name in names
        )
    # The writer quotes both, so each pair is an end, or meant in a cell all the same.
    body = text.getvalue().replace("\r\n", end)
    hint = f"sep={delimiter}{end}" if draw(st.booleans()) else ""
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    options = {
        "key": "other" if key == "other" else None,
        "is_safe": draw(st.booleans()),
        "with_line": draw(st.booleans()),
        "only_open": draw(st.booleans()),
        "format": draw(st.sampled_from(["csv", "csv", "jsonl"])),
    }
    if options["format"] == "jsonl":
        options["is_safe"] = False
    return (hint + body).encode(encoding, "ignore"), options


@given(tables(), st.data())
def test_a_check_of_any_table_is_resumed_and_repeated_to_the_same_bytes(
    messages: Sandbox,
    tmp_path_factory: pytest.TempPathFactory,
    table: tuple[bytes, dict[str, Any]],
    data: st.DataObject,
) -> None:
    content, options = table
    path = tmp_path_factory.getbasetemp() / data.draw(st.sampled_from(["any.csv", "any.tsv"]))
    check_to_file(content, path, messages, resume=False, **options)
    expected = path.read_bytes()
    size = data.draw(st.integers(0, len(expected)))
    path.write_bytes(expected[:size])
    check_to_file(content, path, messages, **options)
    if options["with_line"]:
        assert sorted(path.read_bytes()) == sorted(expected)
        return
    assert path.read_bytes() == expected
    again = path.with_name(f"again-{path.name}")
    # What is written is read again: the same rows, their cells as they are.
    check_to_file(expected, again, messages, resume=False, **options)
    assert without_lines(again.read_bytes()) == without_lines(expected)
