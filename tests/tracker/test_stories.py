"""Stories are tracked too: webhooks tell of one recipient each, and only a lookup of all."""

import asyncio

import pytest

from statuslookup import Schedule
from tests.support.fakes import ticks
from tests.support.tracking import (
    DELIVERED,
    READ,
    SENT,
    Changes,
    green_client,
    smsfire_tracker,
    story,
)

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("no_noise")]


async def test_only_a_lookup_ends_a_story() -> None:
    client = green_client()
    async with smsfire_tracker(client, schedule=Schedule(first=60)) as tracker:
        changes = Changes(tracker.changes())
        await tracker.track("S")
        tracker.feed([story("S", DELIVERED)])
        await ticks()
        assert list(tracker.open()) == ["S"]
        client.statuses["S"] = story("S", DELIVERED, SENT)
        await asyncio.sleep(100)
        assert list(tracker.open()) == ["S"]
        # The last webhook tells nothing of who else there is: the next lookup does.
        tracker.feed([story("S", READ, first=1)])
        await ticks()
        assert list(tracker.open()) == ["S"]
        client.statuses["S"] = story("S", DELIVERED, DELIVERED, seconds=5)
        await asyncio.sleep(300)
        assert list(tracker.open()) == []
        end = changes.ends["S"]
        assert [receipt.state for receipt in end.receipts] == [DELIVERED, READ]
        await changes.stop()


async def test_a_story_that_nobody_knows_is_none() -> None:
    client = green_client()
    client.statuses["S"] = story("S")
    async with smsfire_tracker(client) as tracker:
        assert await tracker.wait("S") is None
