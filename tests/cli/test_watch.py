"""``watch``: what it writes, how it ends, and what it refuses."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from statuslookup import DeliveryState, RateLimit
from statuslookup.cli.listening import SECRET_VARIABLE
from statuslookup.sandbox import Sandbox
from tests.support.commands import rows, run

SENT, DELIVERED, READ = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ


@pytest.fixture
def played() -> Iterator[tuple[Sandbox, str]]:
    """A sandbox of three messages and a story."""
    sandbox = Sandbox(rate_limit=RateLimit(100))
    for id, state in enumerate((DELIVERED, DeliveryState.REJECTED, READ), 1):
        sandbox.add_message(id, custom_id=f"c{id}", state=state)
    sandbox.add_instance().add_statistic("STORY1", READ, READ, DELIVERED)
    with sandbox.serve() as url:
        yield sandbox, url


def watch(url: str, *arguments: str, input: str = "", **changes: str | None) -> Result:
    """Watch, at SMSFire, what comes through stdin or what the arguments name."""
    options = ("--base-url", url, "--rate", "off")
    return run("watch", "smsfire", *(arguments or ("-",)), *options, input=input, **changes)


# --- what it writes -------------------------------------------------------------------------------


def test_every_change_is_a_line_and_all_that_is_over_ends_it(played: tuple[Sandbox, str]) -> None:
    result = watch(played[1], input="1\n2\nc3\n3\n1\n")
    assert result.exit_code == 0, result.output
    lines = {str(line.get("id") if line["custom_id"] != "c3" else "c3"): line for line in rows(result.stdout)}
    assert lines["1"]["state"] == "DELIVERED"
    assert lines["2"]["state"] == "REJECTED"
    assert all(line["is_over"] is True for line in rows(result.stdout))
    assert len(rows(result.stdout)) == 4
    assert next(iter(rows(result.stdout)[0])) in ("id", "custom_id")
    assert lines["1"]["phone"] == "5511944556677"
    assert "instance_token" not in result.stdout
    assert "SMSFire, 4 messages" in result.stderr
    assert "Ends by lookup" in result.stderr
    assert "Ends by webhook" not in result.stderr
    assert played[0].requests == 1


@pytest.mark.long
def test_a_change_meanwhile_is_a_line_of_its_own(played: tuple[Sandbox, str]) -> None:
    sandbox, url = played
    sandbox.add_message(4, state=SENT)

    def change_after_the_first_answer() -> None:
        ends_at = time.monotonic() + 60
        while not sandbox.answered and time.monotonic() < ends_at:
            time.sleep(0.01)
        sandbox.change_state(4, READ)

    later = threading.Thread(target=change_after_the_first_answer)
    later.start()
    result = watch(url, "-", "--first", "1", input="4\n")
    later.join()
    assert result.exit_code == 0, result.output
    assert [(line["state"], line["is_over"]) for line in rows(result.stdout)] == [
        ("SENT", False),
        ("READ", True),
    ]


@pytest.mark.parametrize(("until", "ends"), [("sent", [True]), ("delivered", [False, True])])
@pytest.mark.long
def test_until_says_what_is_enough(until: str, ends: list[bool], played: tuple[Sandbox, str]) -> None:
    sandbox, url = played
    sandbox.add_message(4, state=SENT)
    result = watch(url, "-", "--until", until, "--first", "0.5", "--give-up", "4", input="4\n")
    assert [(line["state"], line["is_over"]) for line in rows(result.stdout)] == [
        ("SENT", end) for end in ends
    ]
    # One that was let go before it came to anything is a failure.
    assert result.exit_code == (until == "delivered"), result.output
    assert ("Given up" in result.stderr) == (until == "delivered")


@pytest.mark.long
def test_an_unknown_message_is_over_after_its_grace(played: tuple[Sandbox, str]) -> None:
    result = watch(played[1], "-", "--first", "0.5", "--grace", "1", input="99\ncustom:c99\n1\n")
    assert result.exit_code == 1, result.output
    unknown = [line for line in rows(result.stdout) if line["state"] is None]
    assert sorted(unknown, key=str) == [
        {"custom_id": "c99", "state": None, "is_over": True},
        {"id": 99, "state": None, "is_over": True},
    ]


def test_a_story_is_watched_by_lookups(played: tuple[Sandbox, str], tmp_path: Path) -> None:
    stories = tmp_path / "stories.csv"
    stories.write_text("idMessage,title\nSTORY1,spring\n")
    result = run("watch", "greenapi", str(stories), "--api-url", played[1])
    assert result.exit_code == 0, result.output
    (line,) = rows(result.stdout)
    assert (line["id_message"], line["state"], line["read"], line["is_over"]) == (
        "STORY1",
        "DELIVERED",
        2,
        True,
    )
    assert "GREEN-API, 1 message" in result.stderr


def test_rows_without_a_key_are_said_and_the_others_are_watched(
    played: tuple[Sandbox, str], tmp_path: Path
) -> None:
    table = tmp_path / "campaign.csv"
    table.write_text("name,id\nAnna,1\nBert,none\nCarl,\nDora,2\n")
    result = watch(played[1], str(table))
    assert result.exit_code == 1, result.output
    assert len(rows(result.stdout)) == 2
    assert f"{table}: line 3: an id is digits" in result.stderr
    assert f"{table}: line 4: it has no key" in result.stderr


def test_an_empty_input_is_said(played: tuple[Sandbox, str]) -> None:
    result = watch(played[1], input="\n")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.strip() == "The input is empty: it has no messages."


# --- the store ------------------------------------------------------------------------------------


def test_what_is_over_is_not_asked_for_again_with_a_store(
    played: tuple[Sandbox, str], tmp_path: Path
) -> None:
    sandbox, url = played
    store = str(tmp_path / "campaign.db")
    first = watch(url, "-", "--store", store, input="1\n2\n")
    assert first.exit_code == 0, first.output
    sandbox.reset_counts()
    more = watch(url, "-", "--store", store, input="1\n2\n3\n")
    assert more.exit_code == 0, more.output
    assert [line["id"] for line in rows(more.stdout)] == [3]
    assert sandbox.keys == 1
    assert "SMSFire, 3 messages" in more.stderr
    assert "Over before" in more.stderr
    nothing = watch(url, "-", "--store", store, input="1\n2\n3\n")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert f"All messages are over already: {store} has their ends." in nothing.stderr
    assert sandbox.keys == 1


def test_an_end_that_was_no_good_is_so_the_next_time_too(played: tuple[Sandbox, str], tmp_path: Path) -> None:
    arguments = ("-", "--store", str(tmp_path / "s.db"), "--first", "0.5", "--grace", "0.5")
    assert watch(played[1], *arguments, input="99\n").exit_code == 1
    again = watch(played[1], *arguments, input="99\n")
    assert (again.exit_code, again.stdout) == (1, "")


def test_who_wants_more_asks_again(played: tuple[Sandbox, str], tmp_path: Path) -> None:
    sandbox, url = played
    store = str(tmp_path / "campaign.db")
    assert watch(url, "-", "--store", store, input="1\n").exit_code == 0
    sandbox.change_state(1, READ)
    result = watch(url, "-", "--store", store, "--until", "read", input="1\n")
    assert [line["state"] for line in rows(result.stdout)] == ["READ"]


def test_a_store_of_another_account_or_program_is_refused(
    played: tuple[Sandbox, str], tmp_path: Path
) -> None:
    url, store = played[1], tmp_path / "campaign.db"
    assert watch(url, "-", "--store", str(store), input="1\n").exit_code == 0
    other = run("watch", "greenapi", "-", "--api-url", url, "--store", str(store), input="STORY1\n")
    assert other.exit_code == 2
    assert "holds messages of SMSFire" in other.stderr
    store.write_bytes(b"no database" * 1000)
    damaged = watch(url, "-", "--store", str(store), input="1\n")
    assert damaged.exit_code == 1
    assert f"Error: {store} is damaged, or no SQLite file" in damaged.stderr
    assert store.read_bytes() == b"no database" * 1000
    # It has nothing of this watch, and nothing stays beside it.
    assert "Nothing was watched." in damaged.stderr
    assert "To go on" not in damaged.stderr
    assert list(tmp_path.iterdir()) == [store]


# --- what it refuses ------------------------------------------------------------------------------


def test_refused_credentials_end_it_at_once(played: tuple[Sandbox, str]) -> None:
    result = watch(played[1], input="1\n2\n", SMSFIRE_TOKEN="another")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Error: SMSFire: the credentials were refused (status 401); check them\n" in result.stderr
    assert "2 messages of 2 not over yet. A watch with a file (--store FILE) can go on.\n" in result.stderr
    assert "another" not in result.output


def test_a_provider_that_never_understands_ends_it(played: tuple[Sandbox, str]) -> None:
    sandbox, url = played
    sandbox.fault = lambda _: 404
    result = watch(url, input="1\n2\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "(status 404)" in result.stderr
    assert "not over yet" in result.stderr


def test_a_quota_that_is_used_up_ends_it(played: tuple[Sandbox, str]) -> None:
    sandbox, url = played
    sandbox.instances[1101000001].quota = 0
    result = run("watch", "greenapi", "-", "--api-url", url, input="STORY1\n")
    assert result.exit_code == 4, result.output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--until", "pending"], "Invalid value for '--until'"),
        (["--first", "0"], "Invalid value for '--first': it is a number of seconds above 0"),
        (["--grace", "nan"], "Invalid value for '--grace': it is a number of seconds above 0"),
        (["--give-up", "soon"], "Invalid value for '--give-up'"),
        (["--listen", "8080"], "Invalid value for '--listen': it is HOST:PORT, such as 127.0.0.1:8080"),
        (["--listen", "localhost:"], "Invalid value for '--listen': it is HOST:PORT"),
        (["--listen", ":8080"], "Invalid value for '--listen': it is HOST:PORT"),
        (["--listen", "localhost:65536"], "Invalid value for '--listen': it is HOST:PORT"),
        (["--store", ""], "path is the name of a file, not ''"),
        (["--api-url", "http://localhost"], "--api-url is GREEN-API's; SMSFire's is --base-url"),
        (["--key", "order"], "stdin: the header has no column 'order'"),
        (["--input-format", "keys", "--key", "order"], "stdin: --key names a column of CSV or JSON Lines"),
    ],
)
def test_a_wrong_option_is_a_usage_error(
    arguments: list[str], problem: str, played: tuple[Sandbox, str]
) -> None:
    result = watch(played[1], "-", *arguments, input="1\n")
    assert result.exit_code == 2, result.output
    assert problem in result.stderr


def test_a_missing_file_and_a_folder_are_usage_errors(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "missing.csv"):
        assert watch("http://localhost", str(file)).exit_code == 2
    result = watch("http://localhost", "-", "--store", str(tmp_path), input="1\n")
    assert result.exit_code == 2


def test_a_port_that_is_taken_is_said(played: tuple[Sandbox, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = watch(played[1], "-", "--listen", f"127.0.0.1:{port}", input="1\n")
    assert result.exit_code == 1
    assert f"Error: --listen 127.0.0.1:{port}: " in result.stderr
    assert "choose another place" in result.stderr


def test_a_short_secret_is_refused_and_not_shown(played: tuple[Sandbox, str]) -> None:
    result = watch(played[1], "-", "--listen", "127.0.0.1:0", input="1\n", **{SECRET_VARIABLE: "too-short"})
    assert result.exit_code == 2
    assert f"{SECRET_VARIABLE}: path_secret must have 16 characters or more" in result.stderr
    assert "too-short" not in result.output


def test_the_secret_may_stand_in_the_env_file(played: tuple[Sandbox, str], tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.env"
    secrets.write_text(f"{SECRET_VARIABLE}=a-secret-from-a-file\n")
    result = watch(played[1], "-", "--listen", "[::1]:0", "--env-file", str(secrets), input="1\n")
    assert result.exit_code == 0, result.output
    assert "Webhooks are received at http://[::1]:" in result.stderr
    assert f"/*** (*** is {SECRET_VARIABLE})" in result.stderr
    assert "a-secret-from-a-file" not in result.output
    assert "Ends by webhook" in result.stderr


def test_lines_are_json_with_any_character(played: tuple[Sandbox, str]) -> None:
    sandbox, url = played
    sandbox.add_message(5, message_type="TÉXT ✓", state=READ)
    result = watch(url, input="5\n")
    line: dict[str, Any] = json.loads(result.stdout)
    assert line["message_type"] == "TÉXT ✓"
