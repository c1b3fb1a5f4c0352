"""What a tracker does for its callers: track, wait and feed."""

import asyncio
import inspect
from datetime import UTC, datetime
from typing import Any

import pytest

from statuslookup import (
    ClosedError,
    CustomId,
    DeliveryState,
    Schedule,
    StatusTracker,
    WaitTimeoutError,
    WrongLoopError,
)
from tests.support.fakes import other_tasks, ticks
from tests.support.tracking import (
    DELIVERED,
    EPOCH,
    EXPIRED,
    FAILED,
    READ,
    SENT,
    UNDELIVERED,
    Changes,
    PlayedClient,
    green_client,
    message,
    now,
    smsfire_tracker,
    story,
)

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("no_noise")]


# --- one message ------------------------------------------------------------------------------------


async def test_a_webhook_ends_a_wait_at_once() -> None:
    client = PlayedClient()
    async with smsfire_tracker(client) as tracker:
        await tracker.track(CustomId("order-17"))
        wait = asyncio.ensure_future(tracker.wait(CustomId("order-17")))
        await ticks()
        tracker.feed([message(1, SENT, custom_id="order-17")])
        await ticks()
        assert not wait.done()
        tracker.feed([message(1, DELIVERED, custom_id="order-17")])
        status = await wait
        assert (status.id, status.state, now()) == (1, DELIVERED, 0)
        assert client.asked == []
        assert list(tracker.open()) == []


async def test_a_lookup_finds_what_webhooks_lost() -> None:
    client = PlayedClient()
    client.statuses[7] = message(7, DELIVERED)
    async with smsfire_tracker(client) as tracker:
        status = await tracker.wait(7)
        assert status.state is DELIVERED
        assert client.times == [15]
        stats = tracker.stats()
        assert (stats.by_lookup, stats.by_webhook, stats.asked, stats.open) == (1, 0, 1, 0)


@pytest.mark.parametrize("state", [EXPIRED, UNDELIVERED, DeliveryState.REJECTED, FAILED])
async def test_a_failure_is_an_end_and_no_exception(state: DeliveryState) -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        wait = asyncio.ensure_future(tracker.wait(1, until=READ))
        await ticks()
        tracker.feed([message(1, state)])
        assert (await wait).state is state


async def test_a_message_that_stays_unknown_is_none_after_the_grace() -> None:
    client = PlayedClient()
    async with smsfire_tracker(client) as tracker:
        assert await tracker.wait(1) is None
        assert now() == 3601  # a lookup takes a second
        assert tracker.stats().unknown == 1
        assert len(client.asked) <= 10


async def test_a_message_that_ends_nowhere_is_let_go_with_its_last_status() -> None:
    client = PlayedClient()
    client.statuses[1] = message(1, DELIVERED)
    async with smsfire_tracker(client) as tracker:
        status = await tracker.wait(1, until=READ)
        assert status.state is DELIVERED
        assert 259_200 <= now() <= 259_200 * 1.001 + 5
        assert tracker.stats().given_up == 1


async def test_one_silent_message_costs_few_requests_a_day() -> None:
    client = PlayedClient()
    client.statuses[1] = message(1, SENT)
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1)
        await asyncio.sleep(86_400)
        assert 25 <= len(client.asked) <= 34


async def test_two_waits_for_one_key_both_return_and_each_as_far_as_it_wants() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        sent, delivered, again, read = (
            asyncio.ensure_future(tracker.wait(1, until=until))
            for until in (SENT, DELIVERED, DELIVERED, READ)
        )
        await ticks()
        tracker.feed([message(1, SENT)])
        await ticks()
        assert [sent.done(), delivered.done(), read.done()] == [True, False, False]
        tracker.feed([message(1, DELIVERED)])
        assert (await delivered).state is (await again).state is DELIVERED
        assert list(tracker.open()) == [1]
        tracker.feed([message(1, READ)])
        assert (await read).state is READ
        assert list(tracker.open()) == []


async def test_a_wait_for_what_is_known_returns_at_once() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1)
        tracker.feed([message(1, DELIVERED)])
        assert tracker.stats().untold == 1
        assert (await tracker.wait(1)).state is DELIVERED
        assert (now(), tracker.stats().untold) == (0, 0)


async def test_what_was_handed_over_is_a_stranger() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1)
        tracker.feed([message(1, DELIVERED)])
        await tracker.wait(1)
        tracker.feed([message(1, READ)])
        stats = tracker.stats()
        assert (stats.strangers, stats.fed, stats.stale) == (1, 2, 0)


async def test_a_wait_for_a_function_of_the_status() -> None:
    client = green_client()
    asked: list[float] = []

    def half(status: Any) -> bool:
        asked.append(status.share(READ))
        return bool(status.share(READ) >= 0.5)

    client.statuses["S"] = story("S", READ, SENT, SENT, SENT)
    async with smsfire_tracker(client, schedule=Schedule(first=60)) as tracker:
        wait = asyncio.ensure_future(tracker.wait("S", until=half))
        await ticks()
        # A webhook knows one recipient, who is no share of all.
        tracker.feed([story("S", READ)])
        await asyncio.sleep(61.5)
        assert (asked, wait.done()) == ([0.25], False)
        client.statuses["S"] = story("S", READ, READ, SENT, SENT)
        assert (await wait).share(READ) == 0.5
        # Nobody else wants anything of it: it is not asked for any more.
        assert list(tracker.open()) == []


@pytest.mark.parametrize(
    ("raised", "seen"), [(ZeroDivisionError, ZeroDivisionError), (StopIteration, RuntimeError)]
)
async def test_a_function_that_raises_ends_its_own_wait_alone(raised: Any, seen: Any) -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:

        def broken(status: Any) -> bool:
            raise raised

        waits = [asyncio.ensure_future(tracker.wait(1, until=until)) for until in (broken, DELIVERED)]
        await ticks()
        tracker.feed([message(1, SENT)])
        with pytest.raises(seen):
            await waits[0]
        tracker.feed([message(1, DELIVERED)])
        assert (await waits[1]).state is DELIVERED


async def test_while_a_function_waits_the_end_is_read() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1)
        tracker.feed([message(1, DELIVERED)])
        assert tracker.stats().untold == 1
        wait = asyncio.ensure_future(tracker.wait(1, until=lambda status: status.phone == "55"))
        await ticks()
        assert list(tracker.open()) == [1]
        tracker.feed([message(1, READ)])
        assert (await wait).state is READ


async def test_a_function_that_leaves_lets_the_message_end_where_others_want_it() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1)
        wait = asyncio.ensure_future(tracker.wait(1, until=lambda status: False))
        await ticks()
        tracker.feed([message(1, DELIVERED)])
        assert list(tracker.open()) == [1]
        wait.cancel()
        await ticks()
        assert (list(tracker.open()), tracker.stats().untold) == ([], 1)


async def test_functions_that_come_and_go_do_not_put_a_lookup_off() -> None:
    client = PlayedClient()
    async with smsfire_tracker(client) as tracker:
        for _ in range(10):
            with pytest.raises(WaitTimeoutError):
                await tracker.wait(1, until=lambda status: False, timeout=5)
        assert client.times[0] == 15


# --- out of time, cancelled, closed -------------------------------------------------------------------


async def test_a_wait_that_times_out_says_what_is_known_and_leaves_the_key_tracked() -> None:
    client = PlayedClient()
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1)
        tracker.feed([message(1, SENT)])
        with pytest.raises(WaitTimeoutError, match="5 s: the last state is SENT") as caught:
            await tracker.wait(1, timeout=5)
        assert (caught.value.last.state, caught.value.last_failure, caught.value.timeout) == (SENT, None, 5)
        assert now() == 5
        assert list(tracker.open()) == [1]
        assert tracker._following._waits._waits == {}
        with pytest.raises(WaitTimeoutError, match="nothing is known of it"):
            await tracker.wait(2, timeout=0.5)


async def test_a_cancelled_wait_leaves_the_key_tracked_and_its_end_untold() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        wait = asyncio.ensure_future(tracker.wait(1))
        await ticks()
        tracker.feed([message(1, DELIVERED)])
        # It has its end, but not taken it.
        wait.cancel()
        await asyncio.wait([wait])
        assert wait.cancelled()
        assert tracker.stats().untold == 1
        assert (await tracker.wait(1)).state is DELIVERED


async def test_a_wait_that_is_cancelled_in_the_moment_of_its_end_takes_nothing() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        wait = asyncio.ensure_future(tracker.wait(1))
        await ticks()
        wait.cancel()
        tracker.feed([message(1, DELIVERED)])
        await asyncio.wait([wait])
        assert wait.cancelled()
        assert (await tracker.wait(1)).state is DELIVERED


async def test_closing_ends_waits_and_loops() -> None:
    client = PlayedClient()
    tracker = smsfire_tracker(client)
    async with tracker:
        waits = [asyncio.ensure_future(tracker.wait(key)) for key in (1, 1, 2)]
        loops = [Changes(tracker.changes()), Changes(tracker.watch([1, 3]))]
        await asyncio.sleep(15.5)
        assert client.asked
    for wait in waits:
        with pytest.raises(ClosedError):
            await wait
    assert len({id(wait.exception()) for wait in waits}) == 3
    for loop in loops:
        await loop.finish()
    assert not other_tasks()
    await tracker.aclose()
    for call in (tracker.track(1), tracker.wait(1), anext(tracker.changes()), anext(tracker.watch([1]))):
        with pytest.raises(ClosedError):
            await call
    with pytest.raises(ClosedError):
        tracker.feed([])
    assert repr(tracker).startswith("<StatusTracker closed")


async def test_a_client_that_is_closed_underneath_ends_the_waits() -> None:
    client = PlayedClient()
    client.failure = lambda: ClosedError("the client is closed")
    async with smsfire_tracker(client) as tracker:
        with pytest.raises(ClosedError, match="the client was closed"):
            await tracker.wait(1)
    await client.aclose()
    with pytest.raises(ClosedError, match="close the tracker first"):
        smsfire_tracker(client)


async def test_nothing_runs_while_nothing_is_open() -> None:
    client = PlayedClient()
    async with smsfire_tracker(client) as tracker:
        assert not other_tasks()
        await tracker.track(1, 2)
        await ticks()
        assert len(other_tasks()) == 1
        tracker.feed([message(1, DELIVERED), message(2, FAILED)])
        await ticks()
        assert not other_tasks()
        assert not [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined] # a test may look
        assert client.asked == []


async def test_another_loop_is_refused() -> None:
    tracker = smsfire_tracker(PlayedClient())
    await tracker.track(1)

    def elsewhere() -> None:
        async def use() -> None:
            with pytest.raises(WrongLoopError):
                await tracker.track(2)
            with pytest.raises(WrongLoopError):
                await tracker.aclose()

        asyncio.run(use())

    await asyncio.to_thread(elsewhere)
    await tracker.aclose()


async def test_webhooks_that_come_in_a_thread_or_another_loop_are_refused() -> None:
    """There, whoever waits would be woken behind the loop's back: maybe never."""
    tracker = smsfire_tracker(PlayedClient())
    await tracker.track(1)

    async def feed() -> None:
        tracker.feed([message(1, DELIVERED)])

    for elsewhere in (lambda: tracker.feed([message(1, DELIVERED)]), lambda: asyncio.run(feed())):
        with pytest.raises(WrongLoopError, match=r"loop\.call_soon_threadsafe\(tracker\.feed, statuses\)"):
            await asyncio.to_thread(elsewhere)
    assert tracker.stats().fed == 0
    # The way that the text names.
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(loop.call_soon_threadsafe, tracker.feed, [message(1, DELIVERED)])
    await ticks()
    assert tracker.stats().fed == 1
    await tracker.aclose()
    with pytest.raises(ClosedError):
        await asyncio.to_thread(tracker.feed, [])


def test_the_signature_has_no_function_in_it() -> None:
    assert "<" not in str(inspect.signature(StatusTracker))


# --- since ----------------------------------------------------------------------------------------


async def test_messages_of_a_while_ago_are_asked_for_at_once() -> None:
    client = PlayedClient()
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1, 2, since=datetime.fromtimestamp(EPOCH - 7200, UTC))
        await tracker.track(3)
        await asyncio.sleep(2)
        # The third one filled the request.
        assert (client.times, [set(keys) for keys in client.asked]) == ([0], [{1, 2, 3}])
        # They are unknown, and older than the grace.
        assert tracker.stats().unknown == 2


async def test_a_future_or_very_old_since_is_no_trap() -> None:
    client = PlayedClient()
    client.statuses = {key: message(key, SENT) for key in (1, 2)}
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1, since=datetime.fromtimestamp(EPOCH + 9_999, UTC))
        await asyncio.sleep(1)
        assert client.asked == []
        await tracker.track(2, since=datetime(1970, 1, 1, tzinfo=UTC))
        # Nothing ends without a last lookup.
        assert (await tracker.wait(2)).state is SENT
        assert client.asked == [[2, 1]]


async def test_stats_say_what_happened() -> None:
    client = PlayedClient()
    tracker: StatusTracker[Any, Any] = smsfire_tracker(client)
    assert repr(tracker).startswith("<StatusTracker unused")
    async with tracker:
        await tracker.track(1, 2, 3)
        tracker.feed([message(1, SENT), message(1, SENT), message(9, SENT), message(2, DELIVERED)])
        stats = tracker.stats()
        assert (stats.open, stats.untold, stats.overdue, stats.unsaved) == (2, 1, 0, 0)
        assert (stats.fed, stats.stale, stats.strangers, stats.by_webhook) == (4, 1, 1, 1)
        client.seconds = 100
        await asyncio.sleep(16)
        await tracker.track(4, since=datetime.fromtimestamp(EPOCH - 100, UTC))
        assert tracker.stats().overdue == 1
        assert "phone" not in repr(tracker)
