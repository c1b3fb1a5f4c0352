"""Which provider is asked, how, and with whose credentials."""

from pathlib import Path
from typing import Any

import click
import pytest

from statuslookup import RateLimit
from statuslookup.cli.options import arguments_of, provider_options, read_env_file
from statuslookup.cli.providers import ENTRIES
from tests.support.commands import run

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


def test_quotes_of_an_env_file_are_taken_off_in_pairs(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text("A=\"b'\nC='d'\nE=\nF='\n")
    assert read_env_file(str(path)) == {"A": "\"b'", "C": "d", "E": "", "F": "'"}


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
