"""What is measured by itself: a million keys, lone lookups, imports, memory, GREEN-API's stories."""

import asyncio
import gc
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final

import httpx

import statuslookup
from statuslookup import GreenAPI, StatusClient

from .ours import ask_stream, by_statuslookup, new_client
from .peers import MOST_AT_ONCE, Get, Way, new_http
from .scenario import OURS, Contender, Figures, Job, Scenario, Target, check, timed
from .without_limit import BEFORE

HTTPX: Final = "`httpx.AsyncClient.get` and `json()`"
IMPORTS: Final = "`import asyncio, httpx`"
FUTURE: Final = "a bare future in a dict"
VENDOR: Final = "whatsapp-api-client-python, asyncio"
VENDOR_THREADS: Final = "whatsapp-api-client-python, ten threads"
BY_HTTPX: Final = "one GET a story, by httpx"
SCALES: Final = {"a hundredth": 0.01, "a tenth": 0.1, "as many": 1.0, "ten times as many": 10.0}
_LONE_SHARE: Final = 50
_PENDING_SHARE: Final = 10
_MESSAGES_AN_IMPORT: Final = 20_000
_MOST_IMPORTS: Final = 5


def _scaled(factor: float) -> Callable[[Job], Figures]:
    def measure(job: Job) -> Figures:
        size = max(1, round(job.size * factor))

        async def work() -> None:
            async with new_client(Target(url=job.url)) as client:
                await ask_stream(client, size)

        return timed(work, size) | {"size": size}

    return measure


def _lone(ask: Callable[[str, int], Awaitable[None]]) -> Callable[[Job], Figures]:
    def measure(job: Job) -> Figures:
        size = max(1, job.size // _LONE_SHARE)
        return timed(lambda: ask(job.url, size), size)

    return measure


async def _lone_get(url: str, size: int) -> None:
    async with new_client(Target(url=url), linger=0) as client:
        for id in range(1, size + 1):
            check(await client.get(id), id)


async def _lone_httpx(url: str, size: int) -> None:
    async with new_http(Target(url=url)) as http:
        for id in range(1, size + 1):
            status = (await http.get(f"/whatsapp/status/{id}")).raise_for_status().json()
            if status["id"] != id:
                raise RuntimeError(f"asked for {id}, and got {status}")


def _importing(what: str) -> Callable[[Job], Figures]:
    program = f"import time; begun = time.process_time(); import {what}; print(time.process_time() - begun)"
    # The first entry of the path is where the library is, which may be an older one.
    path = str(statuslookup.__path__[0]).rpartition("statuslookup")[0]

    def measure(job: Job) -> Figures:
        found = [
            float(
                subprocess.run(  # noqa: S603 # it is what stands above
                    [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r}); {program}"],
                    stdout=subprocess.PIPE,
                    check=True,
                ).stdout
            )
            for _ in range(max(1, min(_MOST_IMPORTS, job.size // _MESSAGES_AN_IMPORT)))
        ]
        return {"cpu": statistics.median(found), "wall": statistics.median(found)}

    return measure


@asynccontextmanager
async def _by_future(_: Target) -> AsyncIterator[Get]:
    waiting: dict[int, asyncio.Future[Any]] = {}

    async def get(id: int) -> Any:
        future = waiting[id] = asyncio.get_running_loop().create_future()
        return await future

    yield get


class _NeverAnswers(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")


def _pending(way: Way) -> Callable[[Job], Figures]:
    async def bytes_each(size: int) -> float:
        async with way(Target(url="http://localhost", transport=_NeverAnswers())) as get:
            first = asyncio.ensure_future(get(size + 1))
            await asyncio.sleep(0.05)
            gc.collect()
            tracemalloc.start()
            tasks = [asyncio.ensure_future(get(id)) for id in range(1, size + 1)]
            await asyncio.sleep(0.05)
            gc.collect()
            used = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            for task in [first, *tasks]:
                task.cancel()
            await asyncio.wait(tasks)
        return used / size

    return lambda job: {"bytes": asyncio.run(bytes_each(max(100, job.size // _PENDING_SHARE)))}


async def _stories(get: Callable[[str], Awaitable[str]], size: int) -> None:
    """Ask for stories, each of which was seen by one person who is named after it."""

    async def ask(first: int) -> None:
        for number in range(first, size, coroutines):
            participant = await get(f"BAE5{number:08d}")
            if participant != f"BAE5{number:08d}@c.us":
                raise RuntimeError(f"asked for {number}, and got {participant}")

    coroutines = min(size, 1000)
    await asyncio.gather(*map(ask, range(coroutines)))


async def _by_greenapi(url: str, size: int) -> None:
    provider = GreenAPI(1101000001, "benchmark", api_url=url, rate_limit=None)
    async with StatusClient(provider) as client:

        async def get(key: str) -> str:
            statistic = await client.get(key)
            assert statistic is not None
            return statistic.receipts[0].participant

        await _stories(get, size)


async def _by_httpx(url: str, size: int) -> None:
    at_once = asyncio.Semaphore(MOST_AT_ONCE)
    async with new_http(Target(url=url)) as http:

        async def get(key: str) -> str:
            async with at_once:
                response = await http.get(
                    "/waInstance1101000001/getStatusStatistic/benchmark", params={"idMessage": key}
                )
            return str(response.raise_for_status().json()[0]["participant"])

        await _stories(get, size)


def _vendor(url: str) -> Any:
    return import_module("whatsapp_api_client_python.API").GreenApi("1101000001", "benchmark", host=url)


async def _by_vendor(url: str, size: int) -> None:
    api, at_once = _vendor(url), asyncio.Semaphore(MOST_AT_ONCE)

    async def get(key: str) -> str:
        # Not its getStatusStatisticAsync, which in version 0.0.55 asks for a URL without a host.
        path = "{{host}}/waInstance{{idInstance}}/getStatusStatistic/{{apiTokenInstance}}"
        async with at_once:
            response = await api.requestAsync("GET", f"{path}?idMessage={key}")
        return str(response.data[0]["participant"])

    await _stories(get, size)


async def _by_vendor_threads(url: str, size: int) -> None:
    api, loop = _vendor(url), asyncio.get_running_loop()
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:

        async def get(key: str) -> str:
            response = await loop.run_in_executor(pool, api.statuses.getStatusStatistic, key)
            return str(response.data[0]["participant"])

        await _stories(get, size)


SCALING: Final = Scenario(
    name="scaling",
    title="From a thousand to a million keys",
    text="`stream`, whose cost and memory should not depend on the number of keys.",
    base="as many",
    unit="a key",
    contenders={name: Contender(_scaled(factor)) for name, factor in SCALES.items()},
)
LONE: Final = Scenario(
    name="lone",
    title="One lookup at a time",
    text="One lookup after another, each alone; `linger=0`.",
    contenders={OURS: Contender(_lone(_lone_get)), HTTPX: Contender(_lone(_lone_httpx))},
)
STORIES: Final = Scenario(
    name="stories",
    title="GREEN-API's stories",
    text="One request a story, no limit. Beside them GREEN-API's own client, which connects anew for each.",
    contenders={
        OURS: Contender(_lone(_by_greenapi)),
        BY_HTTPX: Contender(_lone(_by_httpx)),
        VENDOR: Contender(_lone(_by_vendor), "whatsapp-api-client-python"),
        VENDOR_THREADS: Contender(_lone(_by_vendor_threads), "whatsapp-api-client-python"),
    },
)
IMPORT: Final = Scenario(
    name="import",
    title="Import",
    text="Processor time of the import statement alone, the median of five processes a round.",
    base=IMPORTS,
    unit="an import",
    has_server=False,
    contenders={
        IMPORTS: Contender(_importing("asyncio, httpx")),
        OURS: Contender(_importing("statuslookup")),
        BEFORE.format(OURS): Contender(_importing("statuslookup"), is_before=True),
    },
)
PENDING: Final = Scenario(
    name="pending",
    title="Memory of a lookup that waits",
    text="Bytes of 10,000 lookups that nobody answers, each with its task.",
    base=FUTURE,
    unit="",
    has_server=False,
    is_timed=False,
    contenders={
        FUTURE: Contender(_pending(_by_future)),
        OURS: Contender(_pending(by_statuslookup)),
        BEFORE.format(OURS): Contender(_pending(by_statuslookup), is_before=True),
    },
)
SCENARIOS: Final = (SCALING, LONE, STORIES, IMPORT, PENDING)
