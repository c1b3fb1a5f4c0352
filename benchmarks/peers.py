"""The other ways to look up many messages, each as strong as it can be made with what it builds on."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import datetime
from importlib import import_module
from typing import Any, Final, TypeAlias

import httpx
from attrs import define, frozen
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

from statuslookup import DeliveryState

from .scenario import Target

MAX_BATCH: Final = 200
MOST_AT_ONCE: Final = 10
SEARCH: Final = "/whatsapp/status/search"
HEADERS: Final = {"Authorization": "Basic benchmark", "Content-Type": "application/json"}
_SECONDS_AFTER_A_REJECTION: Final = 1.0

Get: TypeAlias = Callable[[Any], Awaitable[Any]]
"""Returns the status of one message."""
Way: TypeAlias = Callable[[Target], AbstractAsyncContextManager[Get]]
"""A way to look up messages."""


_STATES: Final = {state.name: state for state in DeliveryState} | {"ACCEPTED": DeliveryState.SENT}


@frozen
class Item:
    """A status, as the peers read it: the same fields as ours, and frozen as ours is.

    Callers that ask for the same message are given the same object, so none of them may change it.
    """

    id: int
    custom_id: str | None
    instance_token: str
    message_type: str
    country: str
    phone: str
    status_code: int
    status_name: str
    status_date: datetime
    sent_date: datetime

    @property
    def state(self) -> DeliveryState:
        return _STATES.get(self.status_name, DeliveryState.UNKNOWN)


@define
class MutableItem:
    """The same, but not frozen: cattrs makes it in two thirds of the time."""

    id: int
    custom_id: str | None
    instance_token: str
    message_type: str
    country: str
    phone: str
    status_code: int
    status_name: str
    status_date: datetime
    sent_date: datetime

    @property
    def state(self) -> DeliveryState:
        return _STATES.get(self.status_name, DeliveryState.UNKNOWN)


def _reader(cls: Any) -> Callable[[Any], Any]:
    converter = Converter(detailed_validation=False)
    converter.register_structure_hook(datetime, lambda value, _: datetime.fromisoformat(value))
    names = {
        "custom_id": "customId",
        "instance_token": "instanceToken",
        "message_type": "messageType",
        "status_code": "statusCode",
        "status_name": "statusName",
        "status_date": "statusDate",
        "sent_date": "sentDate",
    }
    renamed: dict[str, Any] = {name: override(rename=wire) for name, wire in names.items()}
    structure = make_dict_structure_fn(cls, converter, **renamed)
    return lambda item: structure(item, cls)


read_item: Final = _reader(Item)
read_mutable_item: Final = _reader(MutableItem)


def body_of(keys: Sequence[Any]) -> bytes:
    if isinstance(keys[0], str):
        return json.dumps({"customIds": keys}, separators=(",", ":")).encode()
    return json.dumps({"ids": list(map(str, keys))}, separators=(",", ":")).encode()


def new_http(target: Target) -> httpx.AsyncClient:
    # Without a context for TLS, which nothing here needs and which takes 30 ms to make.
    return httpx.AsyncClient(
        base_url=target.url,
        headers=HEADERS,
        timeout=60,
        verify=False,  # noqa: S501 # there is no TLS on loopback
        trust_env=False,
        transport=target.transport,
    )


def new_limiter(target: Target) -> Any:
    """Return aiolimiter set up for even spacing: its ``AsyncLimiter(2, 1)`` starts with a burst."""
    return import_module("aiolimiter").AsyncLimiter(1, 0.5) if target.is_limited else nullcontext()


async def post(
    http: httpx.AsyncClient, keys: Sequence[Any], read: Callable[[Any], Any] = read_item
) -> Mapping[Any, Any] | None:
    """Ask for up to 200 keys of one kind; ``None`` if that was rejected."""
    response = await http.post(SEARCH, content=body_of(keys))
    if response.status_code == 429:
        return None
    items = map(read, response.raise_for_status().json())
    if isinstance(keys[0], str):
        return {item.custom_id: item for item in items}
    return {item.id: item for item in items}


async def search(
    http: httpx.AsyncClient, keys: Sequence[Any], limiter: Any, read: Callable[[Any], Any] = read_item
) -> Mapping[Any, Any]:
    """Ask for up to 200 keys of one kind; a request that is rejected is sent again a second later."""
    while True:
        async with limiter:
            found = await post(http, keys, read)
        if found is not None:
            return found
        await asyncio.sleep(_SECONDS_AFTER_A_REJECTION)


@asynccontextmanager
async def by_get(target: Target) -> AsyncIterator[Get]:
    """One request a lookup, ten at once."""
    limiter, at_once = new_limiter(target), asyncio.Semaphore(MOST_AT_ONCE)
    async with new_http(target) as http:

        async def get(key: Any) -> Any:
            while True:
                async with at_once, limiter:
                    response = await http.get(f"/whatsapp/status/{key}")
                if response.status_code != 429:
                    return read_item(response.raise_for_status().json())
                await asyncio.sleep(_SECONDS_AFTER_A_REJECTION)

        yield get


def _by_loader(new_loader: Callable[[Any], Any]) -> Way:
    @asynccontextmanager
    async def by_loader(target: Target) -> AsyncIterator[Get]:
        limiter, at_once = new_limiter(target), asyncio.Semaphore(MOST_AT_ONCE)
        async with new_http(target) as http:

            async def load(keys: Sequence[Any]) -> list[Item | None]:
                async with at_once:
                    found = await search(http, keys, limiter)
                # Its cache joins equal keys that are open; whoever asks later wants to know anew.
                for key in keys:
                    loader.clear(key)
                return [found.get(key) for key in keys]

            loader = new_loader(load)
            yield loader.load

    return by_loader


by_aiodataloader: Final = _by_loader(
    lambda load: import_module("aiodataloader").DataLoader(load, max_batch_size=MAX_BATCH)
)
by_strawberry: Final = _by_loader(
    lambda load: import_module("strawberry.dataloader").DataLoader(load, max_batch_size=MAX_BATCH)
)


class Dispatcher:
    """What an expert writes by hand: a queue, a limiter, and a task for each batch, ten at once.

    Each caller has a future of its own: who is cancelled, also by a timeout, cancels nobody else.
    """

    read = staticmethod(read_item)

    def __init__(self, http: httpx.AsyncClient, limiter: Any) -> None:
        self._http = http
        self._limiter = limiter
        self._loop = asyncio.get_running_loop()
        self._open: dict[Any, list[asyncio.Future[Any]]] = {}
        self._queue: deque[Any] = deque()
        self._has_keys = asyncio.Event()
        self._at_once = asyncio.Semaphore(MOST_AT_ONCE)

    def get(self, key: Any) -> asyncio.Future[Any]:
        answer = self._loop.create_future()
        waiting = self._open.get(key)
        if waiting is None:
            self._open[key] = [answer]
            self._queue.append(key)
            self._has_keys.set()
        else:
            waiting.append(answer)
        return answer

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._has_keys.wait()
                await self._at_once.acquire()
                # Who comes while this waits goes along.
                async with self._limiter:
                    keys = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
                if not self._queue:
                    self._has_keys.clear()
                tasks.create_task(self._send(keys))

    async def _send(self, keys: list[Any]) -> None:
        try:
            found = await post(self._http, keys, self.read)
            if found is None:
                await asyncio.sleep(_SECONDS_AFTER_A_REJECTION)
                found = await search(self._http, keys, self._limiter, self.read)
            self._answer(keys, found)
        except Exception as error:  # noqa: BLE001 # it is raised where the answer is awaited
            self._fail(keys, error)
        finally:
            self._at_once.release()

    def _answer(self, keys: list[Any], found: Mapping[Any, Any]) -> None:
        for key in keys:
            status = found.get(key)
            for answer in self._open.pop(key):
                if not answer.done():
                    answer.set_result(status)

    def _fail(self, keys: list[Any], error: Exception) -> None:
        for key in keys:
            for answer in self._open.pop(key, ()):
                if not answer.done():
                    answer.set_exception(error)


class BareDispatcher(Dispatcher):
    """The quickest that can be written: one future for all callers of a key, and values that are not frozen.

    Who is cancelled takes all others that wait for the key along.
    """

    read = staticmethod(read_mutable_item)

    def __init__(self, http: httpx.AsyncClient, limiter: Any) -> None:
        super().__init__(http, limiter)
        self._shared: dict[Any, asyncio.Future[Any]] = {}

    def get(self, key: Any) -> asyncio.Future[Any]:
        answer = self._shared.get(key)
        if answer is None:
            answer = self._shared[key] = self._loop.create_future()
            self._queue.append(key)
            self._has_keys.set()
        return answer

    def _answer(self, keys: list[Any], found: Mapping[Any, Any]) -> None:
        for key in keys:
            answer = self._shared.pop(key)
            if not answer.done():
                answer.set_result(found.get(key))

    def _fail(self, keys: list[Any], error: Exception) -> None:
        for key in keys:
            answer = self._shared.pop(key, None)
            if answer is not None and not answer.done():
                answer.set_exception(error)


def _by_hand(kind: type[Dispatcher]) -> Way:
    @asynccontextmanager
    async def by_dispatcher(target: Target) -> AsyncIterator[Get]:
        async with new_http(target) as http:
            dispatcher = kind(http, new_limiter(target))
            running = asyncio.create_task(dispatcher.run())
            yield dispatcher.get
            running.cancel()
            await asyncio.wait([running])

    return by_dispatcher


DISPATCHER: Final = "a dispatcher by hand"
BARE_DISPATCHER: Final = "the same, callers not kept apart"
AIODATALOADER: Final = "aiodataloader"
STRAWBERRY: Final = "strawberry's DataLoader"
BY_GET: Final = "one GET a lookup"
WAYS: Final[Mapping[str, Way]] = {
    DISPATCHER: _by_hand(Dispatcher),
    BARE_DISPATCHER: _by_hand(BareDispatcher),
    AIODATALOADER: by_aiodataloader,
    STRAWBERRY: by_strawberry,
    BY_GET: by_get,
}
PACKAGES: Final = {AIODATALOADER: "aiodataloader", STRAWBERRY: "strawberry-graphql"}
