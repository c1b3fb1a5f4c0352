"""What others wrote, as a terminal may show it."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup.cli.table.encodings import JsonLines
from statuslookup.cli.table.sinks import StreamSink
from statuslookup.cli.table.terminal import escaped, escaped_lines, for_terminal

WANT = "می‌خواهم"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"“Não” 👩‍💻 \u00a0 {WANT}", f"“Não” 👩‍💻 \u00a0 {WANT}"),
        ("\x1b]0;owned\x07\x9b2J\x7f", r"\u001b]0;owned\u0007\u009b2J\u007f"),
        ("55\u202e12\u2066\u200b\ufeff", r"55\u202e12\u2066\u200b\ufeff"),
        ("a\r\n\tb\u2028c\ud800\U000e0041", r"a\r\n\tb\u2028c\ud800\udb40\udc41"),
    ],
)
def test_what_is_not_to_be_seen_is_escaped_and_all_else_stays(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_the_ends_of_lines_stay_and_a_cursor_is_not_sent_back() -> None:
    assert escaped_lines("a\tb\r\nc\rd\n\x1be\n") == "a\tb\r\nc\\rd\n\\u001be\n"


@given(st.text())
def test_a_row_of_json_is_the_same_row_on_a_terminal(text: str) -> None:
    row = {"name": text, "state": None}
    shown = for_terminal(JsonLines().encode(row))
    assert json.loads(shown) == row
    assert escaped_lines(shown.decode()) == shown.decode()


def test_a_terminal_gets_a_question_mark_for_what_its_charset_does_not_have() -> None:
    assert for_terminal("“fila” → ✓\n".encode(), "cp1252") == "“fila” ? ?\n".encode("cp1252")
    assert for_terminal("\ufeffid;nome\n".encode()) == b"id;nome\n"


def test_a_pipe_gets_rows_as_they_are() -> None:
    out = io.BytesIO()
    StreamSink(out, JsonLines()).write("\x9b2J\u202e".encode())
    assert out.getvalue() == "\x9b2J\u202e".encode()
