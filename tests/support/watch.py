"""What watches everything that could show a secret."""

import asyncio
import contextlib
import copy
import inspect
import logging
import pickle
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import httpx
import httpx2

import statuslookup
from statuslookup import IncompleteError, ProviderError, StatusLookupError
from tests.support.credentials import FORMS, Case, new_client

LOGGERS = (
    *("asyncio", "anyio", "h11", "h2", "hpack", "opentelemetry", "statuslookup"),
    *("httpx", "httpx2", "httpcore", "httpcore2", "httpx_retries", "aiohttp"),
    *("hpack.hpack", "hpack.table", "httpx_retries.retry", "httpx_retries.transport"),
    *(
        f"{core}.{part}"
        for core in ("httpcore", "httpcore2")
        for part in ("connection", "http11", "http2", "proxy", "socks")
    ),
)


def texts_of(value: object) -> Iterator[str]:
    """Yield what a value shows of itself to a debugger, a logger or an error tracker."""
    for show in (repr, str):
        with contextlib.suppress(Exception):
            yield show(value)
    if isinstance(value, httpx.Request | httpx.Response | httpx2.Request | httpx2.Response):
        yield repr(value.headers.multi_items())
    if isinstance(value, httpx.Request | httpx2.Request):
        yield str(value.url)


def frames_of(start: TracebackType | None) -> Iterator[dict[str, Any]]:
    """Yield the locals of all frames but the tests' own, which hold the server."""
    while start is not None:
        if not Path(start.tb_frame.f_code.co_filename).is_relative_to(Path(__file__).parents[1]):
            yield start.tb_frame.f_locals
        start = start.tb_next


def texts_reachable_from(error: BaseException) -> Iterator[str]:
    """Yield what can be read from an error: the whole chain, all attributes, every frame's locals."""
    for capture_locals in (False, True):
        formatted = traceback.TracebackException.from_exception(error, capture_locals=capture_locals)
        yield "".join(formatted.format())
    waiting: list[object] = [error]
    seen: list[object] = []
    while waiting:
        one = waiting.pop()
        if any(one is other for other in seen):
            continue
        seen.append(one)
        assert len(seen) < 500
        yield from texts_of(one)
        if not isinstance(one, BaseException):
            continue
        waiting += [one.__cause__, one.__context__, *one.args, *vars(one).values()]
        waiting += getattr(one, "__notes__", [])
        waiting += getattr(one, "exceptions", [])
        for frame in frames_of(one.__traceback__):
            for value in frame.values():
                if inspect.ismodule(value):
                    continue
                waiting.append(value)
                for attribute in getattr(value, "__dict__", {}).values():
                    yield from texts_of(attribute)


def is_ours(frame: FrameType) -> bool:
    return Path(frame.f_code.co_filename).is_relative_to(Path(statuslookup.__file__).parent)


class Watch(logging.Handler):
    """Keeps whatever is logged, warned of, written, or reported as unraisable."""

    def __init__(self) -> None:
        super().__init__(1)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.texts: list[str] = []
        self.loggers: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.threadName == "server":
            return
        self.loggers.add(record.name)
        self.texts += [self.format(record), repr(record.msg), repr(record.args)]
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and record.name == "statuslookup":
            self.texts += texts_reachable_from(error)
        elif error is not None:
            # asyncio in debug mode, whose own frames hold what they write to the socket.
            frames = [(f, line) for f, line in traceback.walk_tb(error.__traceback__) if is_ours(f)]
            self.texts += traceback.StackSummary.extract(frames, capture_locals=True).format()

    def note(self, unraisable: "sys.UnraisableHookArgs") -> None:
        self.texts.append(f"{unraisable.err_msg} {unraisable.object!r}")
        if unraisable.exc_value is not None:
            self.texts += texts_reachable_from(unraisable.exc_value)

    def add(self, *values: object) -> None:
        for value in values:
            self.texts += texts_reachable_from(value) if isinstance(value, BaseException) else texts_of(value)

    def found(self) -> list[str]:
        """Return what stands before each secret that is to be seen."""
        return [text[:at][-300:] for text in self.texts for form in FORMS if (at := text.find(form)) >= 0]


def watch_the_loop() -> None:
    """Let asyncio log every callback that it runs, with its arguments."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0


async def end_of(case: Case, base_url: str, watch: Watch, **options: Any) -> object:
    """Look a key up by ``get`` and by ``get_many``; show all there is to the watch, and return the end."""
    watch_the_loop()
    end: object
    async with new_client(case.provider(base_url), **options) as client:
        try:
            end = await client.get(case.key)
        except StatusLookupError as error:
            end = error
        watch.add(end, client, client.stats(), vars(client))
        try:
            watch.add(await client.get_many([case.key]))
        except IncompleteError as error:
            watch.add(error, *error.errors.values())
    if isinstance(end, BaseException):
        watch.add(end.__reduce__(), pickle.loads(pickle.dumps(end)), copy.copy(end), vars(end))  # noqa: S301 # our own
        # A bug of a transport has a cause, which leads nowhere.
        assert type(end) is ProviderError or end.__cause__ is None
        assert end.__context__ is None
    return end
