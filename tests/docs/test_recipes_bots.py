"""The bots of the recipes run under their own frameworks: as they are started, and until Ctrl-C."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from telegram.error import InvalidToken
from telegram.ext import Application
from telegram.request import BaseRequest, RequestData

from examples import python_telegram_bot, test_bot
from statuslookup import ClosedError, DeliveryState, StatusClient
from statuslookup.sandbox import Sandbox
from tests.support.discord_server import DiscordServer, serving
from tests.support.telegram import Telegram, press_ctrl_c

with warnings.catch_warnings():
    # discord.py imports it for voice, which the recipe does not use.
    warnings.filterwarnings("ignore", "'audioop' is deprecated and slated for removal", DeprecationWarning)
    import discord

    from examples import discord_bot

USAGE = "Please write /status 42 or /status firezap0001."
SORRY = "Sorry, I cannot find out at the moment. SMSFire: "
ANSWERS = {
    "1": "1 is READ.",
    "2": "2 is PENDING.",
    "firezap0003": "firezap0003 is READ.",
    "firezap-unknown": "SMSFire does not know firezap-unknown.",
    "99": "SMSFire does not know 99.",
    "": USAGE,
    "two words": USAGE,
    "ação": USAGE,
    "-1": "SMSFire does not know -1.",
    "1" * 41: USAGE,
}
KNOWN_KEYS = ["1", "2", "firezap0003"]


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    # A shell may start the tests with SIGINT ignored, and asyncio.run leaves it at that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    sandbox = Sandbox(token="secret", latency=0.2)
    sandbox.add_message(1, custom_id="firezap0001", state=DeliveryState.READ)
    sandbox.add_message(2, custom_id="firezap0002", state=DeliveryState.PENDING)
    sandbox.add_message(3, custom_id="firezap0003", state=DeliveryState.READ)
    with sandbox.serve() as url:
        monkeypatch.setenv("SMSFIRE_URL", url)
        monkeypatch.setenv("SMSFIRE_TOKEN", "secret")
        monkeypatch.setenv("TELEGRAM_TOKEN", "42:TELEGRAM")
        yield sandbox
    # A client that nobody closed warns, and warnings are errors.
    gc.collect()


def press_ctrl_c_at_the_first_request(sandbox: Sandbox) -> None:
    def press(number: int) -> None:
        if number == 1:
            press_ctrl_c()

    sandbox.fault = press


async def is_closed(client: StatusClient[Any, Any]) -> bool:
    try:
        await client.get(1)
    except ClosedError:
        return True
    return False


def run_aiogram(telegram: Telegram) -> StatusClient[Any, Any]:
    """Run the recipe as its last line does, and return the client that it gave to its handlers."""
    from examples import aiogram_bot
    from tests.support.aiogram_bots import run

    clients: list[StatusClient[Any, Any]] = []

    async def remember(handler: Any, message: Any, data: dict[str, Any]) -> Any:
        clients.append(data["statuses"])
        return await handler(message, data)

    run(aiogram_bot, telegram, lambda bot: bot.router.message.middleware(remember))
    (client,) = set(clients)
    return client


def test_aiogram_answers_all_chats_with_one_request(sandbox: Sandbox) -> None:
    telegram = Telegram(list(ANSWERS))
    client = run_aiogram(telegram)
    assert telegram.answers == ANSWERS
    assert sandbox.requests == 1
    assert asyncio.run(is_closed(client))


def test_aiogram_says_so_when_a_lookup_fails(sandbox: Sandbox) -> None:
    sandbox.fault = lambda number: 403
    telegram = Telegram(["1", "two words"])
    run_aiogram(telegram)
    assert telegram.answers["1"].startswith(SORRY)
    assert telegram.answers["two words"] == USAGE


def test_aiogram_leaves_nothing_open_if_ctrl_c_finds_lookups_under_way(sandbox: Sandbox) -> None:
    press_ctrl_c_at_the_first_request(sandbox)
    telegram = Telegram(KNOWN_KEYS)
    client = run_aiogram(telegram)
    assert asyncio.run(is_closed(client))
    assert telegram.calls[-1] == "close"


class Request(BaseRequest):
    """python-telegram-bot's way to Telegram."""

    def __init__(self, telegram: Telegram, status_code: int = 200) -> None:
        self.telegram = telegram
        self.status_code = status_code

    @property
    def read_timeout(self) -> float | None:
        return None

    async def initialize(self) -> None:
        pass

    async def shutdown(self) -> None:
        pass

    async def do_request(
        self, url: str, method: str, request_data: RequestData | None = None, *args: Any, **options: Any
    ) -> tuple[int, bytes]:
        parameters = {} if request_data is None else request_data.parameters
        result = await self.telegram.call(url.rpartition("/")[2], parameters)
        return self.status_code, json.dumps({"ok": True, "result": result}).encode()


@pytest.fixture
def current_loop() -> Iterator[None]:
    """``run_polling`` asks for the thread's loop, and closes it."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    yield
    asyncio.set_event_loop(None)


def run_python_telegram_bot(request: Request) -> StatusClient[Any, Any]:
    """Run the recipe as its last line does, and return the client that lives in its ``bot_data``."""
    application = build_python_telegram_bot(request)
    application.run_polling()
    client: StatusClient[Any, Any] = application.bot_data["statuses"]
    return client


def build_python_telegram_bot(request: Request) -> python_telegram_bot.Bot:
    builder = Application.builder().request(request).get_updates_request(request)
    return python_telegram_bot.build(builder)


@pytest.mark.usefixtures("current_loop")
def test_python_telegram_bot_answers_all_chats_with_one_request(sandbox: Sandbox) -> None:
    telegram = Telegram(list(ANSWERS))
    client = run_python_telegram_bot(Request(telegram))
    assert telegram.answers == ANSWERS
    assert sandbox.requests == 1
    assert asyncio.run(is_closed(client))


@pytest.mark.usefixtures("current_loop")
def test_python_telegram_bot_says_so_when_a_lookup_fails(sandbox: Sandbox) -> None:
    sandbox.fault = lambda number: 403
    telegram = Telegram(["1", "two words"])
    run_python_telegram_bot(Request(telegram))
    assert telegram.answers["1"].startswith(SORRY)
    assert telegram.answers["two words"] == USAGE


@pytest.mark.usefixtures("current_loop")
def test_python_telegram_bot_answers_the_lookups_that_ctrl_c_finds_under_way(sandbox: Sandbox) -> None:
    press_ctrl_c_at_the_first_request(sandbox)
    telegram = Telegram(KNOWN_KEYS)
    client = run_python_telegram_bot(Request(telegram))
    assert telegram.answers == {key: ANSWERS[key] for key in KNOWN_KEYS}
    assert asyncio.run(is_closed(client))


@pytest.mark.usefixtures("current_loop", "sandbox")
def test_python_telegram_bot_says_that_its_token_is_refused() -> None:
    application = build_python_telegram_bot(Request(Telegram([]), status_code=401))
    with pytest.raises(InvalidToken):
        application.run_polling()
    assert "statuses" not in application.bot_data


def run_discord(server: DiscordServer, token: str = "DISCORD") -> StatusClient[Any, Any]:
    """Run the recipe as its last line does, until Ctrl-C after the last answer, and return its client."""
    clients: list[StatusClient[Any, Any]] = []

    async def main() -> None:
        async with serving(server) as connector:
            bot = discord_bot.StatusBot(connector=connector)
            clients.append(bot.statuses)

            @bot.event
            async def on_app_command_completion(*_: Any) -> None:
                if len(server.answers) == len(server.keys):
                    press_ctrl_c()

            # What its run() does; but that makes the loop itself, and a connector needs one.
            async with bot, asyncio.timeout(30):
                await bot.start(token)

    with pytest.raises((KeyboardInterrupt, discord.LoginFailure)) as end:
        asyncio.run(main())
    assert (end.type is discord.LoginFailure) == (token != server.token)
    (client,) = clients
    return client


def test_discord_answers_all_questions_with_two_requests(sandbox: Sandbox) -> None:
    server = DiscordServer([key for key in ANSWERS if key])
    # SMSFire is slow: only a bot that defers before it looks up gets an answer.
    sandbox.fault = lambda number: None if server.all_deferred.wait(10) else 403
    client = run_discord(server)
    assert [command["name"] for command in server.synced] == ["status"]
    assert server.answers == {key: answer for key, answer in ANSWERS.items() if key}
    # The first one takes who is there, the second one all who came while it was under way.
    assert sandbox.requests <= 2
    assert asyncio.run(is_closed(client))


def test_discord_says_so_when_a_lookup_fails(sandbox: Sandbox) -> None:
    sandbox.fault = lambda number: 403
    server = DiscordServer(["1", "two words"])
    run_discord(server)
    assert server.answers["1"].startswith(SORRY)
    assert server.answers["two words"] == USAGE


def test_discord_leaves_nothing_open_if_ctrl_c_finds_lookups_under_way(sandbox: Sandbox) -> None:
    press_ctrl_c_at_the_first_request(sandbox)
    assert asyncio.run(is_closed(run_discord(DiscordServer(KNOWN_KEYS))))


@pytest.mark.usefixtures("sandbox")
def test_discord_leaves_nothing_open_if_its_token_is_refused() -> None:
    assert asyncio.run(is_closed(run_discord(DiscordServer(KNOWN_KEYS), token="ANOTHER")))


# --- test your own bot ----------------------------------------------------------------------------


def test_the_tests_of_a_bot_pass() -> None:
    """With none of this project's own settings, as a user runs them."""
    settings = [
        "-c",
        os.devnull,
        "-o",
        "asyncio_default_fixture_loop_scope=function",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", *settings, test_bot.__file__],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout
