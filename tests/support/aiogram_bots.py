"""A recipe of a bot under aiogram, run as its last line does.

To import aiogram takes seconds of a processor. So its tests import this file when they run: of the processes
that share the tests, only those that get one of these pay.
"""

import asyncio
import gc
import importlib
import json
from collections.abc import AsyncGenerator, Callable
from types import ModuleType
from typing import Any

from aiogram import Bot
from aiogram.client.session.base import BaseSession
from aiogram.methods import TelegramMethod
from aiogram.methods.base import TelegramType

from tests.support.telegram import Telegram

# As at the end of the collection: no garbage collection need look through what stays.
gc.collect()
gc.freeze()


class Session(BaseSession):
    """aiogram's way to Telegram."""

    def __init__(self, telegram: Telegram) -> None:
        super().__init__()
        self.telegram = telegram

    async def make_request(
        self, bot: Bot, method: TelegramMethod[TelegramType], timeout: int | None = None
    ) -> TelegramType:
        parameters = method.model_dump(include={"chat_id", "text"})
        result = await self.telegram.call(method.__api_method__, parameters)
        content = json.dumps({"ok": True, "result": result})
        return self.check_response(bot, method, 200, content).result  # type: ignore[return-value] # is ok

    async def close(self) -> None:
        self.telegram.calls.append("close")

    async def stream_content(self, *args: Any, **options: Any) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError
        yield b""


def run(recipe: ModuleType, telegram: Telegram, prepare: Callable[[Any], None] = lambda _: None) -> None:
    """Run it with what ``prepare`` changes."""
    bot: Any = importlib.reload(recipe)  # a router serves one dispatcher in its life
    prepare(bot)
    asyncio.run(bot.main(Bot("42:TELEGRAM", session=Session(telegram))))
