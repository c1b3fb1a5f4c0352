"""A tracker whose own tasks are cancelled from outside, as by a program that cancels every task."""

import asyncio

import pytest

from statuslookup import StoreError
from tests.support.fakes import other_tasks, ticks
from tests.support.tracking import DELIVERED, FailingStore, PlayedClient, message, smsfire_tracker

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("no_noise")]


def cut_off(callers: "set[asyncio.Task[None]]") -> None:
    for task in other_tasks() - callers:
        task.cancel()


async def test_lookups_that_are_cut_off_before_they_begin_go_on_with_whatever_comes_next() -> None:
    client = PlayedClient()
    client.statuses = {1: message(1, DELIVERED)}
    async with smsfire_tracker(client) as tracker:
        await tracker.track(1)
        # The task that was made for it did not run yet.
        cut_off(set())
        await ticks()
        assert not other_tasks()
        await tracker.track(2)
        assert (await tracker.wait(1, timeout=60)).state is DELIVERED


@pytest.mark.parametrize("turns", [1, 3])
async def test_a_save_that_is_cut_off_is_made_up_for_by_whatever_comes_next(turns: int) -> None:
    """Before it began, and while it ran."""
    store = FailingStore()
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        tracking = asyncio.ensure_future(tracker.track(1))
        await ticks(turns)
        cut_off({tracking})
        with pytest.raises(StoreError, match="was cut off"):
            await tracking
        await tracker.track(2)
        assert set(store.rows) == {"i:1", "i:2"}


async def test_a_store_whose_loading_is_cut_off_is_loaded_by_whoever_comes_next() -> None:
    store = FailingStore()
    tracker = smsfire_tracker(PlayedClient(), store=store)
    tracking = asyncio.ensure_future(tracker.track(1))
    await ticks(1)
    cut_off({tracking})
    with pytest.raises(StoreError, match="was not loaded"):
        await tracking
    await tracker.track(1)
    assert set(store.rows) == {"i:1"}
    await tracker.aclose()


async def test_whoever_comes_after_a_loading_that_was_cut_off_with_its_caller_sees_nothing_of_it() -> None:
    store = FailingStore()
    tracker = smsfire_tracker(PlayedClient(), store=store)
    tracking = asyncio.ensure_future(tracker.track(1))
    await ticks(1)
    cut_off(set())
    with pytest.raises(asyncio.CancelledError):
        await tracking
    await tracker.track(1)
    assert set(store.rows) == {"i:1"}
    await tracker.aclose()


async def test_closing_that_is_cut_off_ends_waits_and_loops_and_may_be_begun_anew() -> None:
    store = FailingStore(seconds=1)
    tracker = smsfire_tracker(PlayedClient(), store=store)
    await tracker.track(1)
    calls = {asyncio.ensure_future(tracker.wait(1)), asyncio.ensure_future(anext(tracker.changes()))}
    await ticks()
    closing = asyncio.ensure_future(tracker.aclose())
    await ticks(2)
    cut_off({closing, *calls})
    ended, hanging = await asyncio.wait(calls, timeout=1)
    assert (len(ended), hanging) == (2, set())
    await asyncio.wait([closing])
    assert not store.is_closed
    await tracker.aclose()
    assert store.is_closed
    await asyncio.gather(*calls, closing, return_exceptions=True)
