"""Ten thousand messages, from being sent to the last of their ends: the real client and the sandbox."""

import asyncio
from random import Random
from statistics import quantiles
from typing import Any

import pytest

from statuslookup import CustomId, DeliveryState, SMSFire
from statuslookup.sandbox import Campaign, Sandbox
from tests.support.fakes import other_tasks, ticks
from tests.support.sandboxes import smsfire_client
from tests.support.tracking import DELIVERED, EXPIRED, READ, SENT, Changes, now, smsfire_tracker

pytestmark = pytest.mark.virtual_time

MESSAGES = 10_000
DAY = 86_400.0
ENDS = {DELIVERED, DeliveryState.REJECTED, DeliveryState.UNDELIVERED, EXPIRED}


@pytest.mark.usefixtures("no_noise")
@pytest.mark.long
@pytest.mark.timeout(600)  # it is ten seconds of a processor, which a busy machine may not have for long
async def test_every_message_is_known_right_and_soon(capsys: pytest.CaptureFixture[str]) -> None:
    random = Random(15)
    sandbox = Sandbox(latency=0.1)
    campaign = Campaign(sandbox, random=random)
    begin = now()
    lives: dict[Any, Any] = {}
    async with smsfire_client(sandbox) as client, smsfire_tracker(client) as tracker:
        changes = Changes(tracker.changes())

        def hand(body: bytes) -> None:
            tracker.feed(SMSFire.parse_webhook(body))

        async with campaign.playing(hand=hand):
            for id, at in enumerate(sorted(random.uniform(0, DAY) for _ in range(MESSAGES))):
                await asyncio.sleep(begin + at - now())
                key = CustomId(f"order-{id}")
                await tracker.track(key)
                lives[key] = campaign.send(id, custom_id=key)
            await asyncio.sleep(begin + DAY + 73.5 * 3600 - now())
        stats = tracker.stats()
        assert (stats.open, stats.untold, stats.overdue, stats.last_failure) == (0, 0, 0, None)
        # Nothing runs any more but the loop that reads.
        assert len(other_tasks()) == 1
        await changes.stop()
        assert client.stats().queued == client.stats().in_flight == 0
        assert tracker._following._waits._waits == {}

    ends: dict[Any, Any] = {
        change.key: (at - begin, change.status)
        for change, at in zip(changes.seen, changes.times, strict=True)
        if change.is_over
    }
    assert ends.keys() == lives.keys()
    assert len([change for change in changes.seen if change.is_over]) == MESSAGES
    delays: dict[DeliveryState, list[float]] = {}
    for key, steps in lives.items():
        known_at, status = ends[key]
        reached = next((step for step in steps if step.state in ENDS), None)
        if reached is None:
            # It stays SENT until it is given up.
            assert status.state is SENT
            continue
        assert status.state in {reached.state} | ({READ} if reached.state is DELIVERED else set())
        delays.setdefault(reached.state, []).append(known_at - reached.at)
    every = [delay for some in delays.values() for delay in some]
    hundredths = quantiles(every, n=100)
    with capsys.disabled():
        p50, p90, p99 = hundredths[49], hundredths[89], hundredths[98]
        expired = f"EXPIRED {max(delays[EXPIRED]) / 60:.1f} min at most"
        print(
            f"\n{MESSAGES:,} messages: {sandbox.requests:,} requests, p50 {p50:.1f} s, p90 {p90:.1f} s,"
            f" p99 {p99 / 60:.1f} min, {max(every) / 60:.1f} min at most, {expired};"
            f" {stats.by_webhook:,} by webhook, {stats.by_lookup:,} by lookup"
        )
    assert sandbox.rejections == 0
    assert sandbox.requests <= 4_500
    assert p50 <= 2
    assert p90 <= 20
    assert p99 <= 20 * 60
    assert max(every) <= 65 * 60
    await ticks()
    assert not other_tasks()
