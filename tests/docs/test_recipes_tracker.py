"""The recipes that track messages keep what they promise, with the real frameworks and a campaign."""

import asyncio
import logging
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import httpx
import pytest

from examples import tracker_fastapi, tracker_restart
from statuslookup import CustomId, DeliveryState, SMSFire, StatusClient, StatusTracker
from statuslookup.sandbox import Campaign, DeliveryCurve, Mishaps, Sandbox
from tests.support.serving import served
from tests.support.telegram import Telegram

SECRET = "a-secret-that-nobody-guesses"
FAST = DeliveryCurve(delivered=((1.0, (0.5, 8.0)),), fail=0, expire=0, expire_early=0, stay_sent=0)
READ, SENT, DELIVERED = DeliveryState.READ, DeliveryState.SENT, DeliveryState.DELIVERED
ORDER = {"phone": "5511900000000", "text": "hello"}


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(token="secret")
    with sandbox.serve() as url:
        monkeypatch.setenv("SMSFIRE_URL", url)
        monkeypatch.setenv("SMSFIRE_TOKEN", "secret")
        monkeypatch.setenv("STATUSLOOKUP_WEBHOOK_SECRET", SECRET)
        monkeypatch.setenv("TRACKER_FILE", str(tmp_path / "tracker.db"))
        monkeypatch.setenv("TELEGRAM_TOKEN", "42:TELEGRAM")
        yield sandbox


# --- FastAPI --------------------------------------------------------------------------------------


class Phones:
    """Sends what the service sends, and remembers what that was."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.sent: list[CustomId] = []

    async def send(self, phone: str, text: str, custom_id: CustomId) -> None:
        assert (phone, text) == tuple(ORDER.values())
        self.sent.append(custom_id)
        self.campaign.send(len(self.sent), custom_id=custom_id)


@asynccontextmanager
async def service(phones: Phones) -> AsyncGenerator[httpx.AsyncClient, None]:
    """Run the service under uvicorn, and the campaign that posts its webhooks there."""
    async with (
        served(tracker_fastapi.create_app(phones.send)) as url,
        phones.campaign.playing(f"{url}/hooks/smsfire/{SECRET}", speed=20),
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
    ):
        yield http


async def test_fastapi_knows_by_webhook_what_became_of_a_message(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    phones = Phones(Campaign(sandbox, curve=FAST, webhooks=Mishaps(), random=Random(7)))
    async with service(phones) as http:
        begun = await http.post("/messages/order-17", json=ORDER)
        assert (begun.status_code, begun.json()) == (202, {"state": None, "is_over": False})
        assert (await http.post("/messages/order-17", json=ORDER)).status_code == 409
        waits = [http.get("/messages/order-17") for _ in range(3)]
        for answer in await asyncio.gather(*waits):
            assert answer.json()["is_over"]
            assert answer.json()["state"] in (DELIVERED, READ)
        assert (await http.get("/messages/order-17")).json()["is_over"]
        assert (await http.get("/messages/order-18")).status_code == 404
        assert (await http.get("/messages/order 17")).status_code == 422
    assert phones.sent == ["order-17"]
    assert phones.campaign.posted.delivered >= 2
    assert sandbox.requests == 0
    assert "POST /hooks/smsfire/--- HTTP" in caplog.text
    assert SECRET not in caplog.text


async def test_fastapi_says_what_it_knows_so_far(sandbox: Sandbox) -> None:
    curve = DeliveryCurve(fail=0, expire=0, expire_early=0, stay_sent=1.0)
    phones = Phones(Campaign(sandbox, curve=curve, webhooks=Mishaps(), random=Random(7)))
    async with service(phones) as http:
        await http.post("/messages/order-17", json=ORDER)
        answer: dict[str, object] = {"state": None}
        # Its webhook comes soon, but a busy machine may be late with it.
        async with asyncio.timeout(60):
            while answer["state"] is None:
                answer = (await http.get("/messages/order-17", params={"wait": 0.5})).json()
    assert answer == {"state": SENT, "is_over": False}


async def test_fastapi_looks_up_after_a_restart_what_webhooks_lost(sandbox: Sandbox) -> None:
    phones = Phones(Campaign(sandbox, curve=FAST, webhooks=Mishaps(lose=1.0), random=Random(7)))
    async with service(phones) as http:
        await http.post("/messages/order-17", json=ORDER)
        await phones.campaign.finish()
    assert sandbox.requests == 0
    async with service(phones) as http:
        answer = (await http.get("/messages/order-17")).json()
        assert answer["is_over"]
        assert answer["state"] in (DELIVERED, READ)
    assert sandbox.requests == 1


# --- aiogram --------------------------------------------------------------------------------------


def run_bot(telegram: Telegram, **changes: float) -> None:
    from examples import tracker_bot
    from tests.support.aiogram_bots import run

    run(tracker_bot, telegram, lambda bot: vars(bot).update(changes))


def test_the_bot_says_when_a_message_was_read(sandbox: Sandbox) -> None:
    sandbox.add_message(1, custom_id="firezap0001", state=READ)
    sandbox.add_message(2, custom_id="firezap0002", state=DeliveryState.UNDELIVERED)
    telegram = Telegram(["firezap0001", "2", "two words"], command="read", count=5)
    run_bot(telegram)
    assert telegram.answers == {
        "firezap0001": "firezap0001 is READ.",
        "2": "2 is UNDELIVERED.",
        "two words": "Please write /read 42 or /read firezap0001.",
    }
    assert telegram.said.count("You will hear from me when 2 is read.") == 1
    assert sandbox.requests <= 2


def test_the_bot_says_so_when_a_message_is_not_read_for_long(sandbox: Sandbox) -> None:
    sandbox.add_message(1, custom_id="firezap0001", state=DELIVERED)
    telegram = Telegram(["firezap0001"], command="read", count=2)
    run_bot(telegram, LONGEST_WAIT=3.0)
    assert telegram.answers == {"firezap0001": "firezap0001 was not read in a day. It is DELIVERED."}


def test_ctrl_c_ends_the_bot_while_somebody_waits(sandbox: Sandbox) -> None:
    sandbox.add_message(1, state=SENT)
    telegram = Telegram(["1"], command="read", count=1)
    run_bot(telegram)
    assert telegram.said == ["You will hear from me when 1 is read."]
    assert telegram.calls[-1] == "close"


# --- a database of one's own ----------------------------------------------------------------------


async def test_a_new_message_is_in_the_database_before_it_is_tracked(tmp_path: Path) -> None:
    database = tracker_restart.opened(str(tmp_path / "messages.db"))
    async with StatusClient(SMSFire("secret")) as client, StatusTracker(client) as tracker:
        await tracker_restart.begin(database, tracker, CustomId("order-17"))
        assert list(tracker.open()) == ["order-17"]
        with pytest.raises(sqlite3.IntegrityError):
            await tracker_restart.begin(database, tracker, CustomId("order-17"))
    [(custom_id, state, is_over)] = database.execute("SELECT custom_id, state, is_over FROM messages")
    assert (custom_id, state, is_over) == ("order-17", None, 0)
    database.close()


def test_a_killed_program_goes_on_where_it_was(sandbox: Sandbox, tmp_path: Path) -> None:
    path = str(tmp_path / "messages.db")
    database = tracker_restart.opened(path)
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    rows = [("one", an_hour_ago), ("two", an_hour_ago), ("three", "2026-01-02T03:04:05+00:00")]
    with database:
        database.executemany("INSERT INTO messages (custom_id, sent_at) VALUES (?, ?)", rows)
    sandbox.add_message(1, custom_id="one", state=DELIVERED)
    sandbox.add_message(2, custom_id="two", state=SENT)
    sandbox.add_message(3, custom_id="three", state=SENT)

    def lines(count: int) -> list[str]:
        """Run the program until it has said so much, and kill it."""
        command = [sys.executable, "-W", "error", "-m", "examples.tracker_restart", path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = [process.stdout.readline().strip() for _ in range(count)]
            process.send_signal(signal.SIGKILL)
        return sorted(said)

    assert lines(3) == ["one DELIVERED for good", "three SENT for good", "two SENT so far"]
    sandbox.change_state(2, READ)
    assert lines(1) == ["two READ for good"]
    assert database.execute("SELECT custom_id, state FROM messages WHERE is_over ORDER BY 1").fetchall() == [
        ("one", "DELIVERED"),
        ("three", "SENT"),
        ("two", "READ"),
    ]
    database.close()
