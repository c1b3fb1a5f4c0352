"""The command ``get``."""

import json

import pytest
from starlette.responses import PlainTextResponse

from statuslookup.sandbox import Sandbox
from tests.support.commands import rows, run, show
from tests.support.processes import needs_terminals, read_terminal


def test_get_writes_json_lines_where_there_is_no_terminal(url: str) -> None:
    result = run("get", "smsfire", "3", "custom:c1", "9999", "3", "--base-url", url)
    assert [(row["id"], row["custom_id"], row["state"]) for row in rows(result.stdout)] == [
        (3, "c3", "READ"),
        (1, "c1", "SENT"),
        (9999, None, None),
    ]
    assert result.exit_code == 1


def test_get_of_a_story(url: str) -> None:
    result = run("get", "greenapi", "STORY1", "--api-url", url)
    assert (result.exit_code, rows(result.stdout)[0]["recipients"]) == (0, 2)
    assert run("get", "greenapi", "UNKNOWN", "--api-url", url).exit_code == 1


def test_an_instance_that_is_not_served_ends_everything_like_refused_credentials(
    url: str, sandbox: Sandbox
) -> None:
    instance = sandbox.instances[1101000001]
    instance.reset_counts()
    instance.fault = lambda number: PlainTextResponse("Instance is deleted", 400)
    got = run("get", "greenapi", *"abcde", "--api-url", url)
    checked = run("check", "greenapi", "-", "--api-url", url, input="a\nb\nc\nd\n")
    for result in (got, checked):
        assert (result.exit_code, "the instance is deleted" in result.stderr) == (3, True)
    assert instance.requests == 2


def test_a_used_up_quota_is_said_with_its_counts_and_its_words(url: str, sandbox: Sandbox) -> None:
    sandbox.instances[1101000001].quota = 0
    result = run("get", "greenapi", "a", "--api-url", url)
    assert result.exit_code == 4
    assert " of 0, 'Monthly quota has been exceeded" in result.stderr


@pytest.mark.parametrize("key", ["c1", "-1x", "custom:", "custom:a b", "1" * 41, "1" * 5000, ""])
def test_a_bad_key_says_how_to_write_it(url: str, key: str) -> None:
    result = run("get", "smsfire", "--base-url", url, "--", key)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "KEY" in result.stderr


@needs_terminals
def test_get_shows_a_table_on_a_terminal(url: str) -> None:
    with show("get", "smsfire", "3", "custom:zzz", "--base-url", url) as (process, terminal):
        shown = read_terminal(terminal)
        assert process.wait(30) == 1
    assert "\x1b[32mREAD" in shown
    assert "unknown" in shown
    with show("get", "smsfire", "3", "--json", "--base-url", url) as (_, terminal):
        assert json.loads(read_terminal(terminal))["id"] == 3


@needs_terminals
def test_no_color_means_no_colours(url: str) -> None:
    arguments = ("get", "smsfire", "3", "--base-url", url)
    with show(*arguments, NO_COLOR="1") as (_, terminal):
        shown = read_terminal(terminal)
    assert "READ" in shown
    assert "\x1b[3" not in shown
