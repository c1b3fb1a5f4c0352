"""The instance's token is in no log, error, repr or file, and a tracker shows no phone."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from statuslookup import AuthenticationError, SMSFire, SQLiteStore, StatusTracker, WaitTimeoutError
from statuslookup._clock import SYSTEM_CLOCK
from statuslookup.sandbox import Sandbox
from tests.support.tracking import DELIVERED, SENT, PlayedClient, message

TOKEN = "CANARY-OF-AN-INSTANCE"
PHONE = "5511987654321"


async def test_the_token_of_an_instance_is_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = PlayedClient(SMSFire("SECRET-TOKEN"), clock=SYSTEM_CLOCK)
    client.failure = lambda: AuthenticationError("refused", provider="SMSFire", status_code=401)
    shown: list[Any] = []
    tracker = StatusTracker(client, store=SQLiteStore(tmp_path / "messages.db"))
    async with tracker:
        await tracker.track(1, 2)
        news = [
            message(id, state, instance_token=TOKEN, phone=PHONE) for id, state in ((1, SENT), (2, DELIVERED))
        ]
        tracker.feed(news)
        with pytest.raises(WaitTimeoutError) as caught:
            await tracker.wait(1, timeout=0.05)
        shown += [caught.value, tracker, tracker.stats(), tracker._following._store]
        status: Any = await tracker.wait(2)
        assert status.instance_token == TOKEN
        files = [path.read_bytes() for path in await asyncio.to_thread(lambda: list(tmp_path.iterdir()))]
    files += [path.read_bytes() for path in await asyncio.to_thread(lambda: list(tmp_path.iterdir()))]
    words = [*(text for each in shown for text in (str(each), repr(each))), caplog.text]
    assert PHONE.encode() in b"".join(files)
    for secret in (TOKEN, "SECRET-TOKEN"):
        assert not any(secret in text for text in words)
        assert not any(secret.encode() in content for content in files)
    assert not any(PHONE in text for text in words)


def test_the_sandbox_gives_its_messages_a_token_to_look_for() -> None:
    sandbox = Sandbox()
    sandbox.add_message(1)
    assert sandbox.messages[1].instance_token
