"""What a tracker brings into its store, when it tells, and what a store that fails means."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from statuslookup import CustomId, MemoryStore, Row, StoreError
from tests.support.fakes import Tens, other_tasks, ticks
from tests.support.tracking import (
    DELIVERED,
    EPOCH,
    READ,
    SENT,
    Changes,
    FailingStore,
    PlayedClient,
    green_client,
    message,
    now,
    smsfire_tracker,
    story,
)

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("no_noise")]


# --- what is saved, and when ------------------------------------------------------------------------


async def test_when_track_returns_the_store_has_the_keys() -> None:
    store = FailingStore()
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        await tracker.track(1, CustomId("a"), until=READ)
        assert store.rows == {
            "i:1": Row(key="i:1", born=EPOCH, until="READ"),
            "c:a": Row(key="c:a", born=EPOCH, until="READ"),
        }
    assert store.is_closed


async def test_news_are_saved_before_they_are_told() -> None:
    store = FailingStore(seconds=3)
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        await tracker.track(1)
        wait = asyncio.ensure_future(tracker.wait(1))
        changes = Changes(tracker.changes())
        await asyncio.sleep(1)
        tracker.feed([message(1, DELIVERED)])
        saved = len(store.saves)
        await asyncio.sleep(2.9)
        assert not wait.done()
        assert changes.seen == []
        # A wait that begins now waits for the store, too.
        late = asyncio.ensure_future(tracker.wait(1))
        await asyncio.sleep(0.2)
        assert (wait.done(), late.done(), len(changes.seen)) == (True, True, 1)
        assert store.saves[saved][0].told is None
        await asyncio.sleep(5)
        assert store.rows == {}
        await changes.stop()


async def test_while_one_save_runs_what_comes_is_collected_for_the_next() -> None:
    store = FailingStore(seconds=1)
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        first = asyncio.ensure_future(tracker.track(0))
        await asyncio.sleep(0.5)
        await asyncio.gather(*(tracker.track(key) for key in range(1, 50)))
        assert first.done()
        # The first goes alone, the others follow as one.
        assert [len(rows) for rows in store.saves] == [1, 49]
        await tracker.track(*range(1000, 2200))
        assert max(len(rows) for rows in store.saves) == 500
        assert not tracker.stats().unsaved


async def test_a_lookup_that_brings_nothing_new_writes_nothing() -> None:
    client, store = PlayedClient(), FailingStore()
    client.statuses[1] = message(1, SENT)
    async with smsfire_tracker(client, store=store) as tracker:
        await tracker.track(1)
        await asyncio.sleep(3600)
        assert (len(client.asked) > 5, len(store.saves)) == (True, 2)


async def test_a_restart_goes_on_where_the_store_is() -> None:
    client, store = PlayedClient(), MemoryStore()
    tracker = smsfire_tracker(client, store=store)
    async with tracker:
        await tracker.track(1, 2, 3, 4)
        changes = Changes(tracker.changes())
        tracker.feed([message(1, SENT), message(2, SENT)])
        await ticks(20)
        await changes.stop()
        tracker.feed([message(2, DELIVERED), message(3, SENT)])
    assert not other_tasks()
    await asyncio.sleep(100)
    async with smsfire_tracker(client, store=store) as tracker:
        assert (tracker.stats().open, tracker.stats().untold) == (3, 1)
        changes = Changes(tracker.changes())
        await asyncio.sleep(3)
        # One that was cancelled while it waited had handed over all it had seen.
        assert changes.states == [(2, DELIVERED, True), (3, SENT, False)]
        assert [set(keys) for keys in client.asked] == [{1, 3, 4}]
        await changes.stop()
    assert store.rows.keys() == {"i:1", "i:3", "i:4"}


async def test_the_age_outlives_the_process() -> None:
    client, store = PlayedClient(), MemoryStore()
    async with smsfire_tracker(client, store=store) as tracker:
        await tracker.track(1, since=datetime.fromtimestamp(EPOCH - 3000, UTC))
        await tracker.track(2)
    await asyncio.sleep(1000)
    client.asked.clear()
    async with smsfire_tracker(client, store=store) as tracker:
        changes = Changes(tracker.changes())
        await asyncio.sleep(5)
        assert (changes.states, list(tracker.open())) == ([(1, None, True)], [2])
        await changes.stop()


async def test_a_clock_that_was_wrong_is_no_trap() -> None:
    client, store = PlayedClient(), MemoryStore()
    for born in (-1e18, 0.0, EPOCH + 1e9, 1e18):
        store.rows["i:1"] = Row(key="i:1", born=born)
        client.statuses[1] = message(1, SENT)
        async with smsfire_tracker(client, store=store) as tracker:
            await asyncio.sleep(5)
            ended = tracker.stats().given_up
            assert ended == (born < EPOCH)
            assert client.asked.pop() == [1]


@pytest.mark.parametrize(
    "row",
    [
        *(Row(key="x:1"), Row(key="i:-1"), Row(key="i:1", until="NEVER"), Row(key="i:1", told="NEVER")),
        # A file that somebody else made may hold anything in any column.
        *(Row(key="i:1", born=cast("Any", born)) for born in ("x", None, b"1")),
        Row(key=cast("Any", None)),
        Row(key=cast("Any", b"i:1")),
    ],
)
async def test_a_row_that_cannot_be_read_is_said(row: Row) -> None:
    store = MemoryStore()
    store.rows[row.key] = row
    tracker = smsfire_tracker(PlayedClient(), store=store)
    calls = [asyncio.ensure_future(call) for call in (tracker.track(1), tracker.wait(2))]
    for call in calls:
        with pytest.raises(StoreError, match="a row that cannot be read"):
            await call
    assert calls[0].exception() is not calls[1].exception()
    # Mended, it can be opened.
    store.rows.clear()
    await tracker.track(1)
    await tracker.aclose()


async def test_whoever_opens_first_may_be_cancelled() -> None:
    class SlowStore(MemoryStore):
        async def load(self, account: str) -> Any:
            await asyncio.sleep(10)
            return await super().load(account)

    async with PlayedClient() as client:
        tracker = smsfire_tracker(client, store=SlowStore())
        first, second = (asyncio.ensure_future(tracker.track(key)) for key in (1, 2))
        await asyncio.sleep(1)
        first.cancel()
        await second
        assert (now(), list(tracker.open())) == (10, [2])
        await tracker.aclose()
        # And it may be closed while it opens.
        tracker = smsfire_tracker(client, store=SlowStore())
        opening = asyncio.ensure_future(tracker.track(1))
        await asyncio.sleep(1)
        await tracker.aclose()
        with pytest.raises(Exception, match="closed"):
            await opening
        assert not other_tasks()


async def test_stories_are_kept_too() -> None:
    client, store = green_client(), MemoryStore()
    client.statuses["S"] = story("S", DELIVERED, SENT)
    async with smsfire_tracker(client, store=store) as tracker:
        await tracker.track("S", until=READ)
        await asyncio.sleep(20)
    async with smsfire_tracker(client, store=store) as tracker:
        client.statuses["S"] = story("S", READ)
        # The list has one of them only: what the other one was is kept from before.
        tracker.feed([story("S", READ, first=1)])
        end = await tracker.wait("S", until=READ)
        assert [receipt.state for receipt in end.receipts] == [READ, READ]


async def test_answers_of_ones_own_are_not_kept_but_their_keys_are() -> None:
    class Tracked(Tens):
        webhooks_tell_all = True

        def keys_of(self, status: int) -> list[int]:
            return [status // 10]

        def advance(self, known: Any, status: Any) -> Any:
            return status if known is None else None

        def reached(self, status: Any, until: object) -> bool:
            return True

    class Answer(int):
        state = DELIVERED

    client, store = PlayedClient(Tracked(max_batch=10)), MemoryStore()
    client.statuses[4] = Answer(40)
    async with smsfire_tracker(client, store=store) as tracker:
        await tracker.track(4)
        await asyncio.sleep(20)
        assert tracker.stats().untold == 1
    assert store.rows["i:4"].status is None
    async with smsfire_tracker(client, store=store) as tracker:
        assert await tracker.wait(4) == 40


# --- a store that fails ---------------------------------------------------------------------------


async def test_a_store_that_fails_for_a_minute_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    client, store = PlayedClient(), FailingStore()
    async with smsfire_tracker(client, store=store) as tracker:
        await tracker.track(1)
        store.is_failing = True
        changes = Changes(tracker.changes())
        waits = [asyncio.ensure_future(tracker.wait(key)) for key in (1, 2, 3)]
        await asyncio.sleep(1)
        tracker.feed([message(1, DELIVERED), message(2, SENT)])
        # All the same, it is told.
        assert (await waits[0]).state is DELIVERED
        failures = []
        for key in (4, 5):
            with pytest.raises(StoreError, match="the disk is full") as caught:
                await tracker.track(key)
            failures.append(caught.value)
        assert failures[0] is not failures[1]
        assert tracker.stats().unsaved == 5
        tracker.feed([message(4, DELIVERED)])
        await ticks()
        assert changes.states == [(1, DELIVERED, True), (2, SENT, False), (4, DELIVERED, True)]
        await asyncio.sleep(60)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        store.is_failing = False
        await asyncio.sleep(60)
        assert tracker.stats().unsaved == 0
        assert store.rows.keys() == {"i:2", "i:3", "i:5"}
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
        await tracker.track(6)
        tracker.feed([message(key, DELIVERED) for key in (2, 3)])
        assert [(await wait).state for wait in waits[1:]] == [DELIVERED, DELIVERED]
        await changes.stop()


async def test_what_comes_while_a_save_fails_is_saved_when_the_store_works_again() -> None:
    store = FailingStore(seconds=1)
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        await tracker.track(0, 1)
        store.is_failing = True
        tracker.feed([message(0, SENT)])
        await asyncio.sleep(0.5)
        tracker.feed([message(1, SENT)])
        await asyncio.sleep(1)
        store.is_failing = False
        await asyncio.sleep(5)
        assert [row.status is None for row in store.rows.values()] == [False, False]


async def test_a_track_that_finds_the_store_failing_says_so_and_tracks() -> None:
    store = FailingStore()
    store.is_failing = True
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        with pytest.raises(StoreError):
            await tracker.track(1)
        assert list(tracker.open()) == [1]
        store.is_failing = False


async def test_a_store_that_fails_to_the_end_is_said(caplog: pytest.LogCaptureFixture) -> None:
    store = FailingStore()
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        await tracker.track(1, 2)
        store.is_failing = True
        tracker.feed([message(1, SENT), message(2, SENT)])
        await asyncio.sleep(100)
    assert "2 rows are not in it" in caplog.records[-1].message
    assert store.is_closed
    assert not other_tasks()


async def test_a_store_of_ones_own_may_fail_in_its_own_words() -> None:
    class Broken(MemoryStore):
        async def save(self, rows: object) -> None:
            raise ZeroDivisionError("of its own")

    async with smsfire_tracker(PlayedClient(), store=Broken()) as tracker:
        with pytest.raises(StoreError, match="the store failed with ZeroDivisionError: of its own"):
            await tracker.track(1)


async def test_what_is_unsaved_is_saved_when_the_tracker_is_closed() -> None:
    store = FailingStore(seconds=5)
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        await tracker.track(*range(3))
        tracker.feed([message(0, SENT)])
        await asyncio.sleep(1)
        tracker.feed([message(1, SENT), message(2, SENT)])
    assert all(row.status for row in store.rows.values())


async def test_a_wait_for_news_that_are_being_saved_is_not_forgotten() -> None:
    store = FailingStore(seconds=1)
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        await tracker.track(1)
        changes = tracker.changes()
        reading = asyncio.ensure_future(anext(changes))
        await ticks()
        tracker.feed([message(1, DELIVERED)])
        assert (await reading).is_over
        # While the loop is busy with the end, more news come, and somebody waits for the message.
        tracker.feed([message(1, READ)])
        wait = asyncio.ensure_future(tracker.wait(1))
        await ticks()
        following = asyncio.ensure_future(anext(changes))
        assert (await wait).state is READ
        await asyncio.sleep(3)
        assert (following.done(), store.rows) == (False, {})
        following.cancel()


async def test_a_save_that_was_cancelled_is_made_up_for_at_the_end() -> None:
    store = FailingStore(seconds=1)
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        await tracker.track(1)
        tracker.feed([message(1, SENT)])
        await ticks()
        # As a loop does that ends.
        tracker._following._saver._task.cancel()
        await asyncio.sleep(2)
        assert store.rows["i:1"].status is None
    assert store.rows["i:1"].status is not None


async def test_closing_does_not_wait_for_a_store_that_fails() -> None:
    store = FailingStore(seconds=1)
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        await tracker.track(1)
        store.is_failing = True
        tracker.feed([message(1, SENT)])
        # By then it is tried again once a minute.
        await asyncio.sleep(300)
        closing_at = now()
    assert now() - closing_at <= 2


async def test_a_call_that_is_cancelled_in_the_moment_of_its_save_is_in_nobodys_way() -> None:
    store = FailingStore(seconds=1)
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        cancelled, other = (asyncio.ensure_future(tracker.track(1)) for _ in range(2))
        await ticks()
        # After the save's own timer of that moment, and before it can tell.
        asyncio.get_running_loop().call_later(1, cancelled.cancel)
        await other
        assert (cancelled.cancelled(), list(store.rows)) == (True, ["i:1"])


async def test_an_end_that_a_wait_left_behind_is_forgotten_if_a_loop_has_it() -> None:
    store = FailingStore(seconds=1)
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        await tracker.track(1)
        changes = tracker.changes()
        reading = asyncio.ensure_future(anext(changes))
        await ticks()
        tracker.feed([message(1, DELIVERED)])
        assert (await reading).is_over
        tracker.feed([message(1, READ)])
        wait = asyncio.ensure_future(tracker.wait(1))
        await ticks()
        following = asyncio.ensure_future(anext(changes))
        await ticks()
        wait.cancel()
        await asyncio.sleep(3)
        assert (tracker.stats().untold, store.rows) == (0, {})
        following.cancel()
