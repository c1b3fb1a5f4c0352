"""When a tracker asks, for what, and what it does if that fails."""

import asyncio
import logging
from typing import Any

import pytest

from statuslookup import (
    AuthenticationError,
    DecodeError,
    IncompleteError,
    LookupTimeoutError,
    QuotaExceededError,
    Schedule,
    ServerError,
    SMSFire,
)
from tests.support.fakes import other_tasks, ticks
from tests.support.tracking import (
    DELIVERED,
    EPOCH,
    SENT,
    Changes,
    PlayedClient,
    green_client,
    message,
    now,
    smsfire_tracker,
    story,
    wall_clock,
)
from tests.support.virtual_time import LoopClock

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("no_noise")]

FAILED = ServerError("failed", provider="SMSFire", status_code=500)
REFUSED = AuthenticationError("refused", provider="SMSFire", status_code=401)
QUOTA = QuotaExceededError("used up", provider="GREEN-API")
LATE = LookupTimeoutError(120, queued=120, paced=0, in_flight=0)
UNREADABLE = DecodeError("unreadable", provider="SMSFire")


def one_at_a_time() -> PlayedClient:
    return PlayedClient(SMSFire("token", max_batch=1))


async def test_the_silences_grow_with_the_age() -> None:
    client = one_at_a_time()
    client.statuses[1] = message(1, SENT)
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1)
        await asyncio.sleep(6 * 3600)
        silences = [after - before for before, after in zip(client.times, client.times[1:], strict=False)]
        for silence, asked_at in zip(silences, client.times, strict=False):
            wanted = min(3600, max(15, asked_at + 1)) + 1
            assert wanted - 1 <= silence <= wanted + 5


async def test_news_by_webhook_put_the_next_lookup_off() -> None:
    client = one_at_a_time()
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1)
        for second in range(10, 60, 10):
            await asyncio.sleep(10)
            tracker.feed([message(1, SENT, seconds=second)])
        assert client.asked == []
        # After 50 seconds of life it bears 50 seconds of silence.
        await asyncio.sleep(45)
        assert client.asked == []
        await asyncio.sleep(11)
        assert client.asked == [[1]]


async def test_a_request_that_goes_anyway_is_filled_with_what_is_due_next() -> None:
    client = PlayedClient(SMSFire("token", max_batch=3))
    async with smsfire_tracker(client) as tracker:
        for key in range(5):
            await tracker.track(key)
            await asyncio.sleep(5)
        await asyncio.sleep(4)
        assert client.asked[0][0] == 0
        assert [len(keys) for keys in client.asked] == [3] * len(client.asked)


async def test_a_batch_is_asked_at_a_time() -> None:
    client = PlayedClient(SMSFire("token", max_batch=200))
    client.seconds = 10
    async with smsfire_tracker(client) as tracker:
        await tracker.track(*range(1000))
        await asyncio.sleep(15 + 49)
        assert client.times == [15, 25, 35, 45, 55]
        assert {key for keys in client.asked for key in keys} == set(range(1000))


async def test_a_round_that_fails_as_a_whole_pauses_and_leaves_its_keys_due() -> None:
    client = PlayedClient()
    client.errors = {1: FAILED, 2: LATE}
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1, 2)
        await asyncio.sleep(2000)
        pauses = [after - before - 1 for before, after in zip(client.times, client.times[1:], strict=False)]
        assert pauses[:7] == [5, 10, 20, 40, 80, 160, 300]
        assert all(set(keys) == {1, 2} for keys in client.asked)
        assert isinstance(tracker.stats().last_failure, ServerError | LookupTimeoutError)
        client.errors = {}
        client.statuses = {key: message(key, DELIVERED) for key in (1, 2)}
        assert (await tracker.wait(1)).state is DELIVERED
        assert tracker.stats().last_failure is None
        # The next failure begins with the shortest pause again.
        assert tracker._following._lookups._pause == 0


@pytest.mark.parametrize("error", [REFUSED, QUOTA])
async def test_what_is_about_the_account_pauses_longer_and_is_said_once(
    error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = PlayedClient()
    client.errors = {1: error}
    caplog.set_level(logging.ERROR)
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1)
        await asyncio.sleep(4 * 3600)
        pauses = [after - before - 1 for before, after in zip(client.times, client.times[1:], strict=False)]
        assert pauses[:8] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        # Webhooks still count.
        wait = asyncio.ensure_future(tracker.wait(1))
        await ticks()
        tracker.feed([message(1, DELIVERED)])
        assert (await wait).state is DELIVERED


async def test_one_key_that_fails_waits_its_silence() -> None:
    client = PlayedClient()
    client.errors = {1: UNREADABLE, 2: FAILED}
    client.statuses[3] = message(3, DELIVERED)
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1, 2, 3)
        await asyncio.sleep(17)
        assert client.times == [15]
        assert (tracker.stats().untold, tracker.stats().overdue) == (1, 0)
        await asyncio.sleep(20)
        assert client.times == [15, 35]


async def test_a_key_that_always_fails_holds_up_no_other_and_is_given_up() -> None:
    client = green_client()
    client.errors = {"bad": FAILED, "unreadable": UNREADABLE}
    client.statuses["good"] = story("good", DELIVERED)
    async with smsfire_tracker(client, schedule=Schedule(first=60, give_up=25 * 3600)) as tracker:
        changes = Changes(tracker.changes())
        await tracker.track("bad", "unreadable", "good")
        await asyncio.sleep(300)
        assert changes.ends.keys() == {"good"}
        await asyncio.sleep(27 * 3600)
        # Nothing is known of the one that nobody could read; the other one still waits for an answer.
        assert changes.ends.keys() == {"good", "unreadable"}
        assert changes.ends["unreadable"] is None
        assert list(tracker.open()) == ["bad"]
        await changes.stop()


async def test_what_was_found_beside_errors_is_taken() -> None:
    client = PlayedClient()
    client.failure = lambda: IncompleteError({1: message(1, DELIVERED)}, {2: REFUSED.fresh()})
    async with smsfire_tracker(client) as tracker:
        wait = asyncio.ensure_future(tracker.wait(1))
        await tracker.track(2)
        assert (await wait).state is DELIVERED
        assert (now(), list(tracker.open())) == (16, [2])


async def test_a_bug_loses_no_message(caplog: pytest.LogCaptureFixture) -> None:
    client = PlayedClient()
    client.failure = lambda: ZeroDivisionError("a bug")
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1)
        await asyncio.sleep(20)
        assert caplog.records[-1].message.startswith("a tracker's lookup ended by a bug")
        assert "ZeroDivisionError" in str(tracker.stats().last_failure)
        client.failure = lambda: None
        client.statuses[1] = message(1, DELIVERED)
        assert (await tracker.wait(1)).state is DELIVERED


async def test_a_webhook_that_overtakes_an_answer_counts() -> None:
    client = PlayedClient()
    client.statuses[1] = message(1, SENT)
    client.seconds = 30
    async with smsfire_tracker(client) as tracker:
        wait = asyncio.ensure_future(tracker.wait(1))
        await asyncio.sleep(16)
        assert client.asked == [[1]]
        tracker.feed([message(1, DELIVERED)])
        assert (await wait).state is DELIVERED
        # It may be tracked anew while the old answer is under way.
        await tracker.track(1)
        await asyncio.sleep(40)
        assert list(tracker.open()) == [1]


async def test_news_while_a_lookup_fails_leave_the_key_where_they_put_it() -> None:
    client = PlayedClient()
    client.errors = {1: FAILED, 2: FAILED}
    client.seconds = 10
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1, 2)
        await asyncio.sleep(20)
        tracker.feed([message(1, SENT)])
        await asyncio.sleep(6)
        # The other one is due again; this one has its silence before it.
        assert (tracker.stats().overdue, list(tracker.open())) == (1, [1, 2])
        await asyncio.sleep(5)
        assert client.asked[1][0] == 2


async def test_all_is_due_at_once_after_the_machine_slept() -> None:
    client = PlayedClient()
    client.statuses = {key: message(key, SENT) for key in range(3)}
    slept = 0.0
    tracker = smsfire_tracker(client, wall_clock=lambda: wall_clock() + slept)
    async with tracker:
        await tracker.track(0, 1, 2)
        await asyncio.sleep(4000)
        asked = len(client.asked)
        slept = 59
        await asyncio.sleep(61)
        assert len(client.asked) == asked
        slept += 60
        await asyncio.sleep(61)
        assert len(client.asked) == asked + 1
        # A wall clock that is set back is no gap.
        slept = -9_999
        await asyncio.sleep(120)
        assert len(client.asked) == asked + 1


async def test_two_hours_without_the_provider_lose_nothing_and_fail_no_wait() -> None:
    client = PlayedClient()
    client.failure = lambda: FAILED.fresh() if now() < 7200 else None
    keys = range(500)
    client.statuses = {key: message(key, DELIVERED) for key in keys}
    async with smsfire_tracker(client) as tracker:
        waits = [asyncio.ensure_future(tracker.wait(key)) for key in keys]
        assert {status.state for status in await asyncio.gather(*waits)} == {DELIVERED}
        assert 7200 <= now() <= 7200 + 310
        assert len(client.asked) <= 40


async def test_closing_withdraws_what_is_asked_for() -> None:
    client = PlayedClient()
    client.seconds = 1000
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1)
        await asyncio.sleep(20)
        assert client.asked
    assert now() == 20
    assert not other_tasks()


async def test_a_clock_of_ones_own() -> None:
    class Ahead(LoopClock):
        @staticmethod
        def time() -> float:
            return LoopClock.time() + EPOCH

    client = PlayedClient()
    async with smsfire_tracker(client, clock=Ahead()) as tracker:
        await tracker.track(1)
        await asyncio.sleep(21)
        assert len(client.asked) == 1


async def test_an_answer_that_a_provider_stumbles_over_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    advance = SMSFire.advance

    def stumble(known: Any, status: Any) -> Any:
        if status.id == 1:
            raise ZeroDivisionError
        return advance(known, status)

    monkeypatch.setattr(SMSFire, "advance", staticmethod(stumble))
    client = PlayedClient()
    client.statuses = {key: message(key, DELIVERED) for key in range(3)}
    async with smsfire_tracker(client) as tracker:
        waits = [asyncio.ensure_future(tracker.wait(key)) for key in range(3)]
        await asyncio.sleep(16.5)
        assert [wait.done() for wait in waits] == [True, False, True]
        assert "ended in a bug" in caplog.text
        # Nor does a webhook: what came before it counts, and its caller is told.
        await tracker.track(5)
        with pytest.raises(ZeroDivisionError):
            tracker.feed([message(5, DELIVERED), message(1, DELIVERED)])
        assert (await tracker.wait(5)).state is DELIVERED
        monkeypatch.undo()
        assert (await waits[1]).state is DELIVERED


async def test_what_was_asked_for_when_the_task_was_cancelled_from_outside_is_asked_again() -> None:
    client = PlayedClient()
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1)
        await asyncio.sleep(15.5)
        assert client.asked == [[1]]
        (task,) = other_tasks()
        task.cancel()
        await ticks()
        await tracker.track(2)
        await asyncio.sleep(6)
        assert len(client.asked) == 2
        assert set(client.asked[1]) == {1, 2}
