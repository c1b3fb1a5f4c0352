"""What watch and changes yield, to whom, and when."""

import asyncio
import gc
from collections.abc import Sequence

import pytest

from statuslookup import CustomId, DeliveryState, MemoryStore, Row, Schedule
from tests.support.fakes import ticks
from tests.support.tracking import (
    DELIVERED,
    PENDING,
    READ,
    SENT,
    UNDELIVERED,
    Changes,
    PlayedClient,
    message,
    smsfire_tracker,
)

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("no_noise")]


async def test_watch_yields_the_changes_of_its_keys_and_ends_with_the_last() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        watch = Changes(tracker.watch([1, 2, 1]))
        await ticks()
        await tracker.track(3)
        for id, state in ((1, PENDING), (1, SENT), (1, SENT), (3, SENT), (2, DELIVERED)):
            tracker.feed([message(id, state)])
            await ticks()
        tracker.feed([message(1, DELIVERED)])
        await watch.finish()
        assert watch.states == [
            (1, PENDING, False),
            (1, SENT, False),
            (2, DELIVERED, True),
            (1, DELIVERED, True),
        ]
        assert list(tracker.open()) == [3]


async def test_watching_nothing_ends_at_once() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        assert [change async for change in tracker.watch([])] == []


async def test_a_watch_begins_with_what_is_known() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1, 2)
        tracker.feed([message(1, SENT), message(2, DELIVERED)])
        watch = tracker.watch([1, 2])
        assert [(await anext(watch)).status.state for _ in range(2)] == [SENT, DELIVERED]


async def test_a_slow_reader_skips_states_but_never_the_last() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1, 2)
        changes = tracker.changes()
        tracker.feed([message(1, PENDING)])
        assert (await anext(changes)).status.state is PENDING
        for state in (SENT, DELIVERED, READ):
            tracker.feed([message(1, state), message(2, state)])
        assert [
            (change.key, change.status.state) for change in [await anext(changes), await anext(changes)]
        ] == [
            (1, READ),
            (2, READ),
        ]


async def test_an_end_is_told_once_to_a_loop_though_news_come_while_it_is_busy() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1)
        watch = tracker.watch([1])
        first = asyncio.ensure_future(anext(watch))
        await ticks()
        changes = Changes(tracker.changes())
        await ticks()
        tracker.feed([message(1, DELIVERED)])
        assert (await first).is_over
        await ticks()
        # The watch is busy with the end, so that it is not forgotten; the loop over all is done with it.
        tracker.feed([message(1, READ)])
        await ticks()
        assert changes.states == [(1, DELIVERED, True)]
        assert [change async for change in watch] == []
        assert tracker.stats().untold == 0
        await changes.stop()


async def test_an_end_waits_for_the_loop_over_all_though_a_wait_has_it() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        changes = tracker.changes()
        wait = asyncio.ensure_future(tracker.wait(1))
        reading = asyncio.ensure_future(anext(changes))
        await ticks()
        tracker.feed([message(1, DELIVERED)])
        assert (await wait).state is DELIVERED
        assert (await reading).is_over
        assert tracker.stats().untold == 1
        following = asyncio.ensure_future(anext(changes))
        await ticks()
        assert tracker.stats().untold == 0
        following.cancel()


async def test_an_end_that_nobody_takes_is_forgotten_in_time() -> None:
    store = MemoryStore()
    async with smsfire_tracker(PlayedClient(), store=store, schedule=Schedule(give_up=100)) as tracker:
        await tracker.track(1)
        tracker.feed([message(1, DELIVERED)])
        for seconds, untold in ((90, 1), (20, 0)):
            await asyncio.sleep(seconds)
            # Whatever comes in next sees to it.
            await tracker.track(2)
            assert tracker.stats().untold == untold
            assert ("i:1" in store.rows) == bool(untold)


async def test_an_end_that_a_loop_is_busy_with_is_kept_however_long_that_takes() -> None:
    store, schedule = MemoryStore(), Schedule(give_up=100, longest=50)
    async with smsfire_tracker(PlayedClient(), store=store, schedule=schedule) as tracker:
        await tracker.track(1)
        tracker.feed([message(1, DELIVERED)])
        changes = tracker.changes()
        assert (await anext(changes)).is_over
        for key in range(2, 7):
            await asyncio.sleep(110)
            await tracker.track(key)
            assert "i:1" in store.rows
        following = asyncio.ensure_future(anext(changes))
        await ticks()
        assert "i:1" not in store.rows
        following.cancel()


async def test_a_message_that_is_tracked_anew_after_its_end_is_told_anew() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        changes = Changes(tracker.changes())
        for _ in range(2):
            await tracker.track(1)
            tracker.feed([message(1, DELIVERED)])
            await ticks()
        assert changes.states == [(1, DELIVERED, True)] * 2
        await changes.stop()


async def test_news_of_the_same_state_are_no_change() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1)
        changes = tracker.changes()
        for seconds in (1, 2):
            tracker.feed([message(1, SENT, seconds=seconds)])
            if seconds == 1:
                assert (await anext(changes)).status.state is SENT
        # The later ones came while the loop was busy with the first.
        following = asyncio.ensure_future(anext(changes))
        await ticks()
        assert not following.done()
        tracker.feed([message(1, DELIVERED)])
        assert (await following).status.state is DELIVERED


async def test_of_two_watches_of_one_key_one_may_leave() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        left, watch = tracker.watch([1]), Changes(tracker.watch([1]))
        await ticks()
        tracker.feed([message(1, SENT)])
        assert (await anext(left)).status.state is SENT
        await ticks()
        await left.aclose()
        tracker.feed([message(1, DELIVERED)])
        await ticks()
        assert watch.states == [(1, SENT, False), (1, DELIVERED, True)]
        await watch.stop()


async def test_a_watch_that_is_left_without_a_word_leaves_nothing_behind() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        watch = tracker.watch([1, 2])
        await tracker.track(1)
        tracker.feed([message(1, SENT)])
        assert (await anext(watch)).key == 1
        del watch
        gc.collect()
        assert tracker._following._readers._by_key == {}


async def test_a_loop_that_ends_while_the_store_is_opened_is_in_nobodys_way() -> None:
    class SlowStore(MemoryStore):
        async def load(self, account: str) -> Sequence[Row]:
            await asyncio.sleep(1)
            return await super().load(account)

    tracker = smsfire_tracker(PlayedClient(), store=SlowStore())
    left = tracker.changes()
    reading = asyncio.ensure_future(anext(left))
    await ticks()
    await left.aclose()
    with pytest.raises(StopAsyncIteration):
        await reading
    again = asyncio.ensure_future(anext(tracker.changes()))
    await ticks()
    assert not again.done()
    again.cancel()
    await tracker.aclose()


async def test_a_second_loop_over_all_is_refused() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        changes = Changes(tracker.changes())
        await ticks()
        with pytest.raises(RuntimeError, match="changes\\(\\) is being read already"):
            await anext(tracker.changes())
        await changes.stop()
        # The one that was left is no hindrance any more.
        del changes
        again = asyncio.ensure_future(anext(tracker.changes()))
        await ticks()
        assert not again.done()
        again.cancel()


async def test_a_loop_that_was_cut_off_while_it_waited_is_in_nobodys_way() -> None:
    """Its traceback, which an ``except`` or whoever holds the task keeps, keeps the loop."""
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1)
        try:
            async with asyncio.timeout(1):
                async for _ in tracker.changes():
                    raise AssertionError
        except TimeoutError:
            again = asyncio.ensure_future(anext(tracker.changes()))
            await ticks()
            tracker.feed([message(1, DELIVERED)])
            assert (await again).is_over


async def test_a_loop_that_waited_only_so_long_goes_on_unless_another_one_began() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1)
        changes = tracker.changes()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(changes), 1)
        tracker.feed([message(1, SENT)])
        assert (await anext(changes)).status.state is SENT
        # It is busy, so it has not been left.
        with pytest.raises(RuntimeError, match="is being read already"):
            await anext(tracker.changes())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(changes), 1)
        again = asyncio.ensure_future(anext(tracker.changes()))
        await ticks()
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
        tracker.feed([message(1, DELIVERED)])
        assert (await again).is_over


async def test_what_a_loop_was_busy_with_when_it_raised_comes_again() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1, 2)
        tracker.feed([message(1, SENT), message(2, DELIVERED)])
        seen: list[tuple[int, DeliveryState]] = []

        async def read() -> None:
            async for change in tracker.changes():
                seen.append((change.key, change.status.state))
                raise ZeroDivisionError

        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await read()
        assert seen == [(1, SENT)] * 3
        async for change in tracker.changes():
            seen.append((change.key, change.status.state))
            if change.is_over:
                break
        assert seen[3:] == [(1, SENT), (2, DELIVERED)]
        # It was left in the middle of the end.
        assert (await anext(tracker.changes())).key == 2


async def test_two_tasks_cannot_read_one_loop() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        changes = tracker.changes()
        first = asyncio.ensure_future(anext(changes))
        await ticks()
        with pytest.raises(RuntimeError, match="two tasks"):
            await anext(changes)
        first.cancel()
        await ticks()
        # One that was cancelled can be read on.
        await tracker.track(1)
        tracker.feed([message(1, SENT)])
        assert (await anext(changes)).key == 1
        await changes.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(changes)


async def test_an_error_thrown_in_ends_a_loop() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        changes = tracker.changes()
        with pytest.raises(ZeroDivisionError):
            await changes.athrow(ZeroDivisionError)
        for thrown in (("here",), (ZeroDivisionError("here"),)):
            with pytest.raises(ZeroDivisionError, match=r"^here$"):
                await tracker.changes().athrow(ZeroDivisionError, *thrown)
        with pytest.raises(ZeroDivisionError):
            await tracker.changes().athrow(ZeroDivisionError("here"))
        with pytest.raises(StopAsyncIteration):
            await anext(changes)


async def test_a_loop_whose_task_nobody_holds_goes_on() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        seen: list[int] = []

        async def read() -> None:
            async for change in tracker.changes():
                seen.append(change.key)  # noqa: PERF401 # what was read has to be there before the end

        asyncio.ensure_future(read())  # noqa: RUF006 # that is the point
        await ticks()
        gc.collect()
        await tracker.track(1)
        tracker.feed([message(1, DELIVERED)])
        await ticks()
        assert seen == [1]
    await ticks()


async def test_a_message_is_found_by_its_id_and_by_its_custom_id() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1, CustomId("a"))
        tracker.feed([message(1, DELIVERED, custom_id="a")])
        assert (await tracker.wait(1)) == (await tracker.wait(CustomId("a")))
        # One that cannot be a customId is no reason to drop the id.
        await tracker.track(2)
        tracker.feed([message(2, DELIVERED, custom_id="no custom id")])
        assert (await tracker.wait(2)).state is DELIVERED


async def test_a_failure_that_others_overtook_opens_the_message_again() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1, until=READ)
        tracker.feed([message(1, UNDELIVERED)])
        assert list(tracker.open()) == []
        tracker.feed([message(1, DELIVERED)])
        assert list(tracker.open()) == [1]
        tracker.feed([message(1, UNDELIVERED)])
        assert list(tracker.open()) == [1]
