"""Telegram, as a bot under aiogram or python-telegram-bot sees it, without the network."""

import asyncio
import signal
import threading
from contextlib import suppress
from typing import Any


def press_ctrl_c() -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)


class Telegram:
    """Telegram's side: one chat asks for each key, all at once, and Ctrl-C comes after the last answer.

    ``command`` is what they write before the key, and ``count`` how many answers there will be.
    """

    def __init__(self, keys: list[str], *, command: str = "status", count: int | None = None) -> None:
        self.keys = keys
        self.answers: dict[str, str] = {}
        """The last answer to each key."""
        self.said: list[str] = []
        self._command = f"/{command}"
        self._count = len(keys) if count is None else count
        self.calls: list[str] = []
        self._all_answered = asyncio.Event()

    async def call(self, method: str, parameters: dict[str, Any]) -> Any:
        self.calls.append(method)
        if method == "getUpdates":
            return await self._updates()
        if method == "getMe":
            return {"id": 42, "is_bot": True, "first_name": "Bot", "username": "status_bot"}
        if method == "sendMessage":
            self.answers[self.keys[parameters["chat_id"] - 1]] = parameters["text"]
            self.said.append(parameters["text"])
            if len(self.said) == self._count:
                self._all_answered.set()
            return self._message(parameters["chat_id"], parameters["text"])
        return True

    async def _updates(self) -> list[dict[str, Any]]:
        asked = self.calls.count("getUpdates")
        if asked == 1:
            return [
                {"update_id": chat, "message": self._message(chat, f"{self._command} {key}".strip())}
                for chat, key in enumerate(self.keys, start=1)
            ]
        if asked == 2:
            # An answer that never comes is seen in the answers.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_answered.wait(), 30)
            press_ctrl_c()
            await asyncio.Event().wait()
        return []

    def _message(self, chat: int, text: str) -> dict[str, Any]:
        command = {"type": "bot_command", "offset": 0, "length": len(self._command)}
        return {
            "message_id": chat,
            "date": 1_700_000_000,
            "chat": {"id": chat, "type": "private"},
            "from": {"id": chat, "is_bot": False, "first_name": "Somebody"},
            "text": text,
            "entities": [command],
        }
