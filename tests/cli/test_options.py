"""Which provider is asked, how, and with whose credentials."""

import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from statuslookup import RateLimit
from statuslookup.cli.options import arguments_of, provider_of, provider_options, read_env_file
from statuslookup.cli.providers import ENTRIES
from tests.support.commands import run

SECRET = "hunter2hunter2"
LINES = st.sampled_from(
    [
        "A=",
        "export ",
        "'",
        '"',
        "\\",
        "#",
        " ",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "${A}",
        "${",
        "\ufeff",
        "\0",
        "é",
        SECRET,
    ]
)

# --- providers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["get", "check"])
def test_green_is_understood_as_greenapi(url: str, command: str) -> None:
    argument = "STORY1" if command == "get" else "-"
    result = run(command, "green", argument, "--api-url", url, input="STORY1\n")
    assert (result.exit_code, '"DELIVERED"' in result.stdout) == (0, True)


def test_another_provider_is_a_usage_error_that_names_those_there_are() -> None:
    result = run("get", "Green", "X")
    assert (result.exit_code, result.stdout) == (2, "")
    words = ", ".join(repr(entry.word) for entry in ENTRIES)
    assert f"'Green' is not one of {words}." in result.stderr


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_the_url_of_another_provider_is_refused(entry: Any) -> None:
    for other in ENTRIES:
        if other is not entry:
            result = run("get", entry.word, "1", other.url_option, "https://x.example")
            assert result.exit_code == 2
            problem = f"{other.url_option} is {other.brand}'s; {entry.brand}'s is {entry.url_option}"
            assert problem in " ".join(result.stderr.split())


# --- credentials ----------------------------------------------------------------------------------


def test_an_env_file_has_the_credentials(url: str, tmp_path: Path) -> None:
    path = tmp_path / "green.env"
    path.write_text(
        "# account\nexport GREEN_API_ID_INSTANCE='1101000001'\n\nGREEN_API_TOKEN = \"sandbox\"\n"
        f"GREEN_API_URL={url}\n"
    )
    nothing: dict[str, str | None] = {"GREEN_API_ID_INSTANCE": None, "GREEN_API_TOKEN": "of another account"}
    result = run("get", "greenapi", "STORY1", "--env-file", str(path), **nothing)
    assert result.exit_code == 0, result.stderr


def test_a_bad_env_file_is_told_by_its_line_and_not_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text("SMSFIRE_USER=me\nhunter2\n")
    result = run("get", "smsfire", "1", "--env-file", str(path))
    assert result.exit_code == 2
    assert "line 2 is not NAME=value" in result.stderr
    assert "hunter2" not in result.output
    path.write_bytes(b"SMSFIRE_TOKEN=\xff\n")
    assert "it is not UTF-8" in run("get", "smsfire", "1", "--env-file", str(path)).stderr


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=b # the new one\nB=b#c\n", {"A": "b", "B": "b#c"}),
        ("export A='it\\'s'\r\nB = \"a\\nb\"\r\n", {"A": "it's", "B": "a\nb"}),
        ("A='two\nlines' # of one value\rB=\n", {"A": "two\nlines", "B": ""}),
        ("\ufeffHOST=x.example\nURL=https://${HOST}/${NO_SUCH:-y}$HOST\n", "https://x.example/y$HOST"),
    ],
)
def test_an_env_file_is_read_as_python_dotenv_reads_it(tmp_path: Path, text: str, values: Any) -> None:
    path = tmp_path / "x.env"
    path.write_text(text, encoding="utf-8", newline="")
    read = read_env_file(str(path))
    assert read == values or read["URL"] == values


@pytest.mark.parametrize(
    ("text", "line"),
    [("hunter2", 1), ("\n#\n\nexport hunter2\n", 4), ("A=1\n\n 'hunter2\n", 3), ("A='hunter2' x\nB=1", 1)],
)
def test_a_line_of_an_env_file_that_is_none_is_told_by_its_number(
    tmp_path: Path, text: str, line: int
) -> None:
    path = tmp_path / "x.env"
    path.write_text(text)
    with pytest.raises(click.UsageError) as caught:
        read_env_file(str(path))
    assert caught.value.message == f"{path}: line {line} is not NAME=value"
    assert not shows(caught.value, "hunter2")


@given(data=st.binary() | st.lists(LINES).map("".join).map(str.encode))
@settings(deadline=None)
def test_any_env_file_is_read_or_refused_without_its_content(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.env"
    path.write_bytes(data)
    try:
        values = read_env_file(str(path))
    except click.UsageError as error:
        problem = error
    else:
        assert all(isinstance(value, str) for value in values.values())
        return
    match = re.fullmatch(r".*any\.env: (it is not UTF-8|line (\d+) is not NAME=value)", problem.message)
    assert match is not None
    assert int(match[2] or 1) <= len(re.split(b"\r\n|\r|\n", data))
    assert not shows(problem, SECRET)


def test_a_bug_in_a_provider_shows_no_credentials_in_the_frames_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(environ: Mapping[str, str], **_: Any) -> NoReturn:
        assert environ["SMSFIRE_TOKEN"] == SECRET
        del environ
        raise LookupError

    path = tmp_path / "x.env"
    path.write_text(f"SMSFIRE_TOKEN={SECRET}")
    entry = evolve(ENTRIES[0], make=make)
    options = {other.url_parameter: None for other in ENTRIES}
    monkeypatch.setenv("SMSFIRE_PASSWORD", SECRET)
    with pytest.raises(LookupError) as caught:
        provider_of(entry, rate=None, env_file=str(path), **options)
    assert not shows(caught.value, SECRET)


def shows(error: BaseException, secret: str) -> bool:
    """Return whether a traceback with the locals of the package's frames, or the error, shows a text."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if frame.f_globals["__name__"].startswith("statuslookup.")]
    assert own
    return any(secret in repr(frame.f_locals) for frame in own) or secret in repr(error)


def test_missing_credentials_are_named() -> None:
    result = run("get", "greenapi", "X", GREEN_API_TOKEN=None)
    assert result.exit_code == 2
    assert "GREEN_API_TOKEN" in result.stderr


@pytest.mark.parametrize(
    ("text", "limit"),
    [("2", RateLimit(2)), ("1.5", RateLimit(1, per=1 / 1.5)), ("0.25", RateLimit(1, per=4))],
)
def test_a_rate_is_kept_also_if_it_is_no_whole_number(text: str, limit: RateLimit) -> None:
    command = provider_options(click.command("ask")(lambda **_: None))
    options = command.make_context("ask", ["--rate", text]).params
    assert options["rate"] == limit
    assert arguments_of(options)[:2] == ["--rate", text]
