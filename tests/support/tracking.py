"""Trackers in virtual time, with a client that is played: it answers from a dict, and fails as it is told."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from statuslookup import (
    Change,
    DeliveryState,
    GreenAPI,
    IncompleteError,
    MemoryStore,
    MessageStatus,
    Receipt,
    SMSFire,
    StatusClient,
    StatusLookupError,
    StatusStatistic,
    StatusTracker,
    StoreError,
)
from statuslookup.tracker.stores.base import Row
from tests.support.virtual_time import LoopClock

PENDING, SENT, DELIVERED, READ = (
    DeliveryState.PENDING,
    DeliveryState.SENT,
    DeliveryState.DELIVERED,
    DeliveryState.READ,
)
UNKNOWN, EXPIRED, UNDELIVERED, FAILED = (
    DeliveryState.UNKNOWN,
    DeliveryState.EXPIRED,
    DeliveryState.UNDELIVERED,
    DeliveryState.FAILED,
)
EPOCH = 1_700_000_000.0
DAY = datetime(2026, 11, 27, tzinfo=UTC)


def message(
    id: int,
    state: DeliveryState = SENT,
    *,
    custom_id: str | None = None,
    seconds: float | None = 0,
    sent: float | None = 0,
    **fields: Any,
) -> MessageStatus:
    """Return a status of SMSFire that changed, and one that was sent, so many seconds after the day began."""
    return MessageStatus(
        id=id,
        custom_id=custom_id,
        state=state,
        status_name=state.value,
        status_date=None if seconds is None else DAY + timedelta(seconds=seconds),
        sent_date=None if sent is None else DAY + timedelta(seconds=sent),
        **fields,
    )


def story(key: str, *states: DeliveryState, seconds: float = 0, first: int = 0) -> StatusStatistic:
    """Return a statistic of GREEN-API with one recipient for each state."""
    return StatusStatistic(
        id_message=key,
        receipts=tuple(
            Receipt(participant=f"{number}@c.us", state=state, timestamp=DAY + timedelta(seconds=seconds))
            for number, state in enumerate(states, first)
        ),
    )


def now() -> float:
    """Return the seconds since the virtual loop began."""
    return asyncio.get_running_loop().time() - 1000


def wall_clock() -> float:
    """Return the loop's time as one since 1970."""
    return EPOCH + now()


class PlayedClient(StatusClient[Any, Any]):
    """Answers from ``statuses``, one second after it was asked; ``failure`` says how it fails instead."""

    def __init__(self, provider: Any = None, *, clock: Any = None) -> None:
        super().__init__(provider or SMSFire("token"), clock=clock or LoopClock())
        self.statuses: dict[Any, Any] = {}
        self.errors: dict[Any, StatusLookupError] = {}
        self.failure: Callable[[], Exception | None] = lambda: None
        self.seconds = 1.0
        self.asked: list[list[Any]] = []
        self.times: list[float] = []

    async def get_many(self, keys: Iterable[Any], *, timeout: Any = "client") -> dict[Any, Any]:
        assert timeout == 120
        keys = list(keys)
        assert len(keys) == len(set(keys)) <= self._provider.max_batch
        self.asked.append(keys)
        self.times.append(now())
        await asyncio.sleep(self.seconds)
        failure = self.failure()
        if failure is not None:
            raise failure
        found = {key: self.statuses.get(key) for key in keys if key not in self.errors}
        errors = {key: self.errors[key].fresh() for key in keys if key in self.errors}
        if errors:
            raise IncompleteError(found, errors)
        return found


class FailingStore(MemoryStore):
    """Fails for as long as ``is_failing``; each save takes ``seconds``."""

    def __init__(self, seconds: float = 0.01) -> None:
        super().__init__()
        self.is_failing = False
        self.seconds = seconds
        self.saves: list[Sequence[Row]] = []
        self.is_closed = False

    async def save(self, rows: Sequence[Row]) -> None:
        await asyncio.sleep(self.seconds)
        if self.is_failing:
            raise StoreError("the disk is full")
        self.saves.append(rows)
        await super().save(rows)

    async def aclose(self) -> None:
        self.is_closed = True


def smsfire_tracker(client: StatusClient[Any, Any], **options: Any) -> Any:
    return StatusTracker(client, **{"wall_clock": wall_clock, **options})


def green_client() -> PlayedClient:
    return PlayedClient(GreenAPI(1101000001, "token"))


class Changes:
    """Reads a tracker's changes in a task of its own, until it is stopped."""

    def __init__(self, changes: Any) -> None:
        self.seen: list[Change[Any, Any]] = []
        self.times: list[float] = []
        self._task = asyncio.ensure_future(self._read(changes))

    async def _read(self, changes: Any) -> None:
        async for change in changes:
            self.seen.append(change)
            self.times.append(now())

    @property
    def ends(self) -> dict[Any, Any]:
        return {change.key: change.status for change in self.seen if change.is_over}

    @property
    def states(self) -> list[tuple[Any, DeliveryState | None, bool]]:
        return [
            (change.key, None if change.status is None else change.status.state, change.is_over)
            for change in self.seen
        ]

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def finish(self) -> None:
        await self._task
