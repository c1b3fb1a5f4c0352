"""What a tracker refuses, and that it says so before anything is tracked."""

import asyncio
import pickle
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from statuslookup import (
    ClosedError,
    CustomId,
    DeliveryState,
    GreenAPI,
    MemoryStore,
    Row,
    Schedule,
    SMSFire,
    SQLiteStore,
    StatusClient,
    StatusTracker,
    StoreError,
    WaitTimeoutError,
)
from tests.support.fakes import Tens
from tests.support.fleets import until
from tests.support.tracking import PlayedClient, message, smsfire_tracker, story


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"client": None}, "client is a StatusClient, not NoneType"),
        ({"client": StatusClient}, "client is a StatusClient, not type"),
        ({"schedule": 15}, r"schedule is a Schedule, such as Schedule\(first=60\), not int"),
        ({"store": "messages.db"}, r"store is None or a SQLiteStore\(path\), not str"),
        ({"store": MemoryStore}, "not MemoryStore itself"),
        ({"clock": 7}, r"clock is an object with time\(\) and call_later\(\)"),
        ({"wall_clock": 7}, "wall_clock is a function"),
    ],
)
def test_arguments_of_the_wrong_sort(options: dict[str, Any], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        StatusTracker(**{"client": PlayedClient(), **options})


def test_a_provider_that_cannot_be_tracked() -> None:
    with pytest.raises(TypeError, match="messages of Tens cannot be tracked: its provider lacks keys_of"):
        StatusTracker(StatusClient(Tens()))


class Pairs(SMSFire):
    """A provider of one's own, whose keys are pairs."""

    def check(self, key: Any) -> Any:
        return key


@pytest.mark.parametrize("store", [None, MemoryStore()])
async def test_a_key_that_no_store_keeps_is_tracked_only_without_one(store: MemoryStore | None) -> None:
    async with StatusClient(Pairs("token")) as client, StatusTracker(client, store=store) as tracker:
        pair: Any = (1, 2)
        if store is None:
            await tracker.track(pair)
        else:
            with pytest.raises(
                TypeError, match="a store keeps keys that are int, CustomId or str, not tuple"
            ):
                await tracker.track(pair)
        assert list(tracker.open()) == ([pair] if store is None else [])


async def test_a_closed_client() -> None:
    client = StatusClient(SMSFire("token"))
    tracker = StatusTracker(client)
    await client.aclose()
    with pytest.raises(ClosedError):
        StatusTracker(client)
    with pytest.raises(ClosedError):
        await tracker.track(1)
    await tracker.aclose()


@pytest.mark.parametrize(
    "options",
    [
        {"first": 0},
        {"first": -1},
        {"longest": 0},
        {"grace": -1},
        {"give_up": 0},
        {"first": float("inf")},
        {"first": 60, "longest": 30},
    ],
)
def test_schedules_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        Schedule(**options)
    with pytest.raises(TypeError, match="first is a number of seconds, not str"):
        Schedule(first="15")  # type: ignore[arg-type] # what a caller may pass


@pytest.mark.virtual_time
@pytest.mark.parametrize("key", ["order-17", -1, 10**40, None, 1.0, b"1"])
async def test_keys_that_get_would_refuse(key: Any) -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        for call in (tracker.track(1, key), tracker.wait(key)):
            with pytest.raises((TypeError, ValueError)):
                await call
        with pytest.raises((TypeError, ValueError)):
            tracker.watch([1, key])
        assert list(tracker.open()) == []


@pytest.mark.virtual_time
async def test_calls_that_make_no_sense() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        with pytest.raises(TypeError, match="until is a DeliveryState, such as DELIVERED or READ, not str"):
            await tracker.track(1, until="READ")
        with pytest.raises(TypeError, match="such as DELIVERED or READ, not function"):
            await tracker.track(1, until=lambda status: True)
        for until in (DeliveryState.FAILED, DeliveryState.UNKNOWN):
            with pytest.raises(ValueError, match="until is how far a message is to get"):
                await tracker.wait(1, until=until)
        with pytest.raises(TypeError, match="or a function of a status, not NoneType"):
            await tracker.wait(1, until=None)
        for timeout in (0, -1, float("nan")):
            with pytest.raises(ValueError, match="timeout must be above 0"):
                await tracker.wait(1, timeout=timeout)
        with pytest.raises(TypeError, match="since is a datetime, not float"):
            await tracker.track(1, since=1.5)
        with pytest.raises(ValueError, match="since must be aware"):
            await tracker.track(1, since=datetime(2026, 11, 27))  # what a caller may pass
        for keys in ("abc", CustomId("abc"), 7):
            with pytest.raises(TypeError, match="keys is a list of keys, not one: for one key, use wait"):
                tracker.watch(keys)
        await tracker.track()
        assert list(tracker.open()) == []


@pytest.mark.virtual_time
async def test_what_is_no_list_of_statuses() -> None:
    async with smsfire_tracker(PlayedClient()) as tracker:
        await tracker.track(1)
        for statuses in (message(1), b"{}", "{}", {"id": 1}, None):
            with pytest.raises(TypeError, match="statuses is the list that parse_webhook gives"):
                tracker.feed(statuses)
        for bad in ({"id": 1}, story("S"), 7):
            with pytest.raises(TypeError, match="a status of SMSFire is a MessageStatus, not"):
                tracker.feed([message(1, DeliveryState.DELIVERED), bad])
        assert list(tracker.open()) == [1]


@pytest.mark.virtual_time
async def test_a_store_of_another_account() -> None:
    store = MemoryStore()
    async with smsfire_tracker(PlayedClient(), store=store) as tracker:
        await tracker.track(1)
    others = [
        GreenAPI(7, "token"),
        GreenAPI(8, "token"),
        SMSFire("token", base_url="https://example.com"),
    ]
    for provider in others:
        for _ in range(2):
            tracker = smsfire_tracker(PlayedClient(provider), store=store)
            with pytest.raises(ValueError, match=r"messages of SMSFire api-v2.smsfire.com.br:443, not of "):
                await tracker.__aenter__()
            await tracker.aclose()
    green = MemoryStore()
    async with smsfire_tracker(PlayedClient(GreenAPI(7, "token")), store=green):
        pass
    with pytest.raises(ValueError, match=r"GREEN-API api.green-api.com:443 7, not of .* 8"):
        await smsfire_tracker(PlayedClient(GreenAPI(8, "token")), store=green).track("S")


async def test_a_tracker_that_cannot_be_opened_keeps_its_file_from_nobody(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    client = PlayedClient()
    account = "SMSFire api-v2.smsfire.com.br:443"
    store = SQLiteStore(path)
    await store.load(account)
    await store.save([Row(key="damaged")])
    await store.aclose()
    tracker = smsfire_tracker(client, store=SQLiteStore(path))
    with pytest.raises(StoreError, match="a row that cannot be read"):
        await tracker.track(1)
    await store.load(account)
    await store.save([Row(key="damaged", is_forgotten=True)])
    await store.aclose()
    # And it may be opened now.
    await tracker.track(1)
    await tracker.aclose()


def test_a_tracker_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(StatusTracker(PlayedClient()))


@pytest.mark.every_loop
async def test_every_loop_tracks_waits_and_closes(no_noise: None) -> None:
    from statuslookup._clock import SYSTEM_CLOCK

    client, store = PlayedClient(clock=SYSTEM_CLOCK), MemoryStore()
    client.seconds = 0.001
    async with StatusTracker(client, store=store, schedule=Schedule(first=0.01)) as tracker:
        waits = [asyncio.ensure_future(tracker.wait(key)) for key in range(20)]
        ends: list[int] = []

        async def read() -> None:
            async for change in tracker.changes():
                ends.append(change.key)  # noqa: PERF401 # what was read has to be there before the end

        reading = asyncio.ensure_future(read())
        await asyncio.sleep(0.01)
        tracker.feed([message(key, DeliveryState.DELIVERED) for key in range(20)])
        assert len(await asyncio.gather(*waits)) == 20
        await until(lambda: (sorted(ends), store.rows) == (list(range(20)), {}))
        with pytest.raises(WaitTimeoutError):
            await tracker.wait(20, timeout=0.01)
    await reading
    assert store.rows.keys() == {"i:20"}
