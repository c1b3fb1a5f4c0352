"""What type checkers make of the public names: checked by mypy and pyright, run by nobody."""

# A user's strict settings, whatever the project's own are; and an error that is expected must come.
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Hashable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, assert_type

import httpx
from attrs import frozen

from statuslookup import (
    Change,
    Clock,
    CustomId,
    DeliveryState,
    Exchange,
    GreenAPI,
    IncompleteError,
    Limiter,
    LimiterStats,
    MemoryStore,
    MessageKey,
    MessageStatus,
    Outcome,
    Pacing,
    Provider,
    ProviderError,
    QuotaExceededError,
    RateLimit,
    RateLimitedError,
    Receipt,
    Request,
    Response,
    ResponseError,
    RetryPolicy,
    Row,
    Schedule,
    Secret,
    Slot,
    SMSFire,
    SQLiteStore,
    StatusClient,
    StatusLookupError,
    StatusStatistic,
    StatusTracker,
    Store,
    Timer,
    TokenBucket,
    Trackable,
    TrackerStats,
    Transport,
)
from statuslookup.providers import (
    Outcomes,
    Reading,
    date,
    error_of,
    integer,
    items_of,
    reader,
    required,
    text,
    unix_time,
)

KeyT = TypeVar("KeyT", bound=Hashable)
AnswerT = TypeVar("AnswerT")


async def numbers() -> AsyncGenerator[int, None]:
    yield 1


async def names() -> AsyncIterator[CustomId]:
    yield CustomId("a")


async def smsfire_answers_by_id_and_custom_id(mixed: list[MessageKey]) -> None:
    client = StatusClient(SMSFire("token"))
    assert_type(client, StatusClient[MessageKey, MessageStatus])
    assert_type(await client.get(42), MessageStatus | None)
    assert_type(await client.get(CustomId("x")), MessageStatus | None)
    assert_type(await client.get(42, timeout=3), MessageStatus | None)
    assert_type(await client.get(42, timeout=None), MessageStatus | None)
    assert_type(await client.get(mixed[0], timeout="client"), MessageStatus | None)
    await client.get("x")  # type: ignore[arg-type] # a plain str could be either
    await client.get(42, timeout="10")  # type: ignore[arg-type] # seconds are a number


async def many_keys_keep_their_type(mixed: list[MessageKey]) -> None:
    client = StatusClient(SMSFire("token"))
    assert_type(await client.get_many([1, 2]), dict[int, MessageStatus | None])
    assert_type(await client.get_many(range(10), timeout=None), dict[int, MessageStatus | None])
    assert_type(await client.get_many({CustomId("a")}), dict[CustomId, MessageStatus | None])
    assert_type(await client.get_many(mixed), dict[int | CustomId, MessageStatus | None])
    assert_type(await client.get_many([1, CustomId("a")]), dict[int | CustomId, MessageStatus | None])
    await client.get_many(["x"])  # type: ignore[type-var] # a plain str could be either
    await client.get_many(numbers())  # type: ignore[call-overload] # only stream takes these


async def outcomes_keep_their_key(mixed: list[MessageKey]) -> None:
    client = StatusClient(SMSFire("token"))
    async for outcome in client.stream(range(10)):
        assert_type(outcome, Outcome[int, MessageStatus])
        assert_type(outcome.key, int)
        assert_type(outcome.status, MessageStatus | None)
        assert_type(outcome.error, StatusLookupError | None)
    assert_type(client.stream([CustomId("a")]), AsyncGenerator[Outcome[CustomId, MessageStatus], None])
    assert_type(client.stream(numbers()), AsyncGenerator[Outcome[int, MessageStatus], None])
    assert_type(client.stream(names(), timeout=5.0), AsyncGenerator[Outcome[CustomId, MessageStatus], None])
    assert_type(client.stream(mixed), AsyncGenerator[Outcome[int | CustomId, MessageStatus], None])
    client.stream(["x"])  # type: ignore[type-var] # a plain str could be either


async def greenapi_answers_by_id_message() -> None:
    client = StatusClient(GreenAPI(1101000001, "token"))
    assert_type(client, StatusClient[str, StatusStatistic])
    statistic = await client.get("BAE57C4EEC000000")
    assert_type(statistic, StatusStatistic | None)
    assert_type(await client.get_many(["a", "b"]), dict[str, StatusStatistic | None])
    async for outcome in client.stream(["a"]):
        assert_type(outcome, Outcome[str, StatusStatistic])
    await client.get(42)  # type: ignore[arg-type] # an idMessage is text
    await client.get_many([42])  # type: ignore[list-item] # an idMessage is text
    if statistic is not None:
        assert_type(statistic.receipts, tuple[Receipt, ...])
        assert_type(statistic.counts, dict[DeliveryState, int])
        assert_type(statistic.state, DeliveryState | None)


def values(status: MessageStatus, receipt: Receipt) -> None:
    assert_type(status.id, int)
    assert_type(status.custom_id, str | None)
    assert_type(status.status_date, datetime | None)
    assert_type(status.state, DeliveryState)
    assert_type(status.state.is_final, bool)
    assert_type(receipt.timestamp, datetime | None)
    status.state = DeliveryState.READ  # type: ignore[misc] # a status is frozen


def webhooks(body: bytes) -> None:
    assert_type(SMSFire.parse_webhook(body), list[MessageStatus])
    assert_type(SMSFire.parse_webhook({"id": 42}), list[MessageStatus])
    assert_type(GreenAPI.parse_webhook(body.decode()), list[StatusStatistic])
    SMSFire.parse_webhook(42)  # type: ignore[arg-type] # no body


class OwnSMSFire(SMSFire):
    """A provider with something added."""


def providers(environ: dict[str, str]) -> None:
    assert_type(SMSFire.from_env(), SMSFire)
    assert_type(SMSFire.from_env(environ, max_batch=100), SMSFire)
    assert_type(SMSFire.from_login("user", "password", rate_limit=None), SMSFire)
    assert_type(GreenAPI.from_env(environ, rate_limit=RateLimit(1)), GreenAPI)
    assert_type(OwnSMSFire.from_env(), OwnSMSFire)
    assert_type(OwnSMSFire.from_login("user", "password"), OwnSMSFire)
    smsfire: Provider[MessageKey, MessageStatus] = SMSFire("token")
    green: Provider[str, StatusStatistic] = GreenAPI("1101000001", "token")
    assert_type(StatusClient(smsfire), StatusClient[MessageKey, MessageStatus])
    assert_type(StatusClient(green), StatusClient[str, StatusStatistic])


class OwnClient(StatusClient[str, StatusStatistic]):
    """A client with something added."""


async def entering_gives_the_same_client() -> None:
    async with StatusClient(SMSFire("token")) as client:
        assert_type(client, StatusClient[MessageKey, MessageStatus])
    async with OwnClient(GreenAPI(1, "token")) as own:
        assert_type(own, OwnClient)


class Wrapper(Generic[KeyT, AnswerT]):
    """Somebody's layer above any client."""

    def __init__(self, client: StatusClient[KeyT, AnswerT]) -> None:
        self.client = client

    async def one(self, key: KeyT) -> AnswerT | None:
        return await self.client.get(key)

    async def many(self, keys: list[KeyT]) -> dict[KeyT, AnswerT | None]:
        return await self.client.get_many(keys)

    async def ends(self, keys: list[KeyT]) -> list[Outcome[KeyT, AnswerT]]:
        return [outcome async for outcome in self.client.stream(keys)]


async def errors(client: StatusClient[int, str]) -> None:
    try:
        await client.get_many([1])
    except RateLimitedError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.status_code, int)
        assert_type(error.fresh(), RateLimitedError)
    except QuotaExceededError as error:
        assert_type((error.used, error.total), tuple[int | None, int | None])
    except IncompleteError as error:
        for failure in error.errors.values():
            assert_type(failure, StatusLookupError)


@frozen
class Place:
    """A key of somebody's own."""

    shelf: str
    box: int


class Furniture:
    """What two providers of somebody's own have in common."""

    name = "Shelves"
    base_url = "https://localhost"
    rate_limit = RateLimit(5)
    max_batch = 10
    budget = "shelves"
    secret = Secret("secret")

    def check(self, key: Place) -> Place:
        return key


class Shelves(Furniture):
    """A provider of somebody's own."""

    def exchange(
        self, keys: Sequence[Place]
    ) -> Generator[Request, Response, dict[Place, float | StatusLookupError | None]]:
        response = yield Request("GET", "/boxes", authorization="Bearer ***")
        return {key: float(response.content) for key in keys}


class Boxes(Furniture):
    """A provider that hands out what it knows before it asks for more."""

    def exchange(self, keys: Sequence[Place]) -> Exchange[Place, float]:
        for key in keys:
            response = yield Request("GET", f"/boxes/{key.shelf}")
            yield {key: error_of(response, provider=self.name) or float(response.content)}
        outcomes: Outcomes[Place, float] = {}
        return outcomes


def reading_a_response(response: Response) -> None:
    assert_type(error_of(response, provider="Shelves"), ResponseError | None)
    assert_type(items_of(response.content, provider="Shelves"), list[Any])
    fields: dict[str, tuple[str, Reading]] = {"shelf": ("shelf", required(text)), "box": ("box", integer)}
    assert_type(reader(Place, fields)({}), Place)
    assert_type((integer("1"), text(1)), tuple[int | None, str | None])
    assert_type((date(""), unix_time(0)), tuple[datetime | None, datetime | None])


async def a_provider_of_ones_own() -> None:
    assert_type(StatusClient(Boxes()), StatusClient[Place, float])
    async with StatusClient(Shelves()) as client:
        assert_type(client, StatusClient[Place, float])
        assert_type(await client.get(Place("a", 1)), float | None)
        assert_type(await client.get_many([Place("a", 1)]), dict[Place, float | None])
        await client.get(1)  # type: ignore[arg-type] # no Place


class OwnSlot:
    """A slot of somebody's own."""

    def done(self, reply: Response | ProviderError) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class OwnLimiter:
    """A limiter of somebody's own."""

    def slot(self) -> OwnSlot:
        return OwnSlot()


class OwnTimer:
    """A timer of somebody's own."""

    def cancel(self) -> None: ...


class OwnClock:
    """A clock of somebody's own."""

    def time(self) -> float:
        return 0.0

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> OwnTimer:
        return OwnTimer()


class OwnTransport(httpx.AsyncBaseTransport):
    """A transport of somebody's own."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(204)


def parts_can_be_replaced(pacing: Pacing, transport: Transport, clock: Clock, other: Limiter) -> None:
    smsfire = SMSFire("token", rate_limit=None)
    slot: Slot = OwnSlot()
    timer: Timer = OwnTimer()
    limiter: Limiter = OwnLimiter()
    assert_type(other.slot(), Slot)
    assert_type(TokenBucket(RateLimit(2)).stats(), LimiterStats)
    assert_type(clock.call_later(1.0, print, "x"), Timer)
    StatusClient(smsfire, limiter=limiter, clock=OwnClock())
    StatusClient(smsfire, limiter=TokenBucket(RateLimit(2), pacing=pacing, clock=clock), transport=transport)
    StatusClient(smsfire, limiter=slot)  # type: ignore[arg-type] # a slot is no limiter
    StatusClient(smsfire, clock=timer)  # type: ignore[arg-type] # a timer is no clock
    TokenBucket(RateLimit(2), pacing="fast")  # type: ignore[arg-type] # no such pacing


def transports_of_httpx() -> None:
    smsfire = SMSFire("token")
    StatusClient(smsfire, transport=OwnTransport())
    StatusClient(smsfire, transport=httpx.AsyncHTTPTransport(retries=1))
    StatusClient(smsfire, transport=httpx.MockTransport(lambda _: httpx.Response(204)))
    StatusClient(smsfire, transport=httpx.HTTPTransport())  # type: ignore[arg-type] # it blocks
    StatusClient(smsfire, transport=httpx.AsyncClient())  # type: ignore[arg-type] # it would keep the secret


def retrying(error: RateLimitedError) -> None:
    policy = RetryPolicy(attempts=2, backoff=0.1, random=lambda: 0.5)
    assert_type(policy.delay(error, 1), float | None)
    StatusClient(SMSFire("token"), retry=policy)
    StatusClient(SMSFire("token"), retry=3)  # type: ignore[arg-type] # no policy


class OwnStore:
    """A store of somebody's own."""

    async def load(self, account: str) -> list[Row]:
        return [Row(key="i:1")]

    async def save(self, rows: Sequence[Row]) -> None: ...

    async def aclose(self) -> None: ...


async def messages_are_tracked(client: StatusClient[MessageKey, MessageStatus], ids: list[int]) -> None:
    store: Store = SQLiteStore("messages.db")
    async with StatusTracker(client, schedule=Schedule(first=30), store=store) as tracker:
        assert_type(tracker, StatusTracker[MessageKey, MessageStatus])
        await tracker.track(42, CustomId("a"), until=DeliveryState.READ, since=datetime.now().astimezone())
        assert_type(await tracker.wait(42, timeout=5.0), MessageStatus | None)
        await tracker.wait(42, until=lambda status: status.phone == "55")
        async for change in tracker.watch(ids):
            assert_type(change, Change[MessageKey, MessageStatus])
            assert_type(change.status, MessageStatus | None)
        async for change in tracker.changes():
            assert_type(change.key, MessageKey)
        tracker.feed(SMSFire.parse_webhook(b"{}"))
        assert_type(tracker.stats(), TrackerStats)
        assert_type(list(tracker.open()), list[MessageKey])
        await tracker.track("order-17")  # type: ignore[arg-type] # a plain str could be either
        tracker.feed(GreenAPI.parse_webhook(b"{}"))  # type: ignore[arg-type] # another provider's
    StatusTracker(client, store=OwnStore())
    StatusTracker(client, store="messages.db")  # type: ignore[arg-type] # no store


async def stories_are_tracked(client: StatusClient[str, StatusStatistic]) -> None:
    async with StatusTracker(client, store=MemoryStore()) as tracker:
        story = await tracker.wait("BAE5", until=lambda status: status.share(DeliveryState.READ) >= 0.5)
        assert_type(story, StatusStatistic | None)
        trackable: Trackable[str, StatusStatistic] = GreenAPI(1, "token")
        assert_type(trackable.advance(None, StatusStatistic(id_message="S")), StatusStatistic | None)
        assert_type(tracker.provider, Provider[str, StatusStatistic])
