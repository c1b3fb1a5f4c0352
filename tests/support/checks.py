"""What runs a check over a sandbox in this process."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any, Literal

import httpx

from statuslookup import DeliveryState, MessageStatus, RetryPolicy, SMSFire, StatusClient
from statuslookup.cli.providers import SMSFIRE
from statuslookup.cli.table import columns
from statuslookup.cli.table.check import Check
from statuslookup.cli.table.encodings import JsonLines
from statuslookup.cli.table.lines import Lines
from statuslookup.cli.table.output import encoding_of
from statuslookup.cli.table.reading import Opened
from statuslookup.cli.table.results import Results
from statuslookup.cli.table.rows import Input
from statuslookup.cli.table.sinks import FileSink, StreamSink
from statuslookup.sandbox import Sandbox
from tests.support.virtual_time import LoopClock

STATES = (DeliveryState.READ, DeliveryState.SENT, DeliveryState.REJECTED)
Out = list[dict[str, Any]]


def sandbox_of(messages: int, latency: float = 0.05) -> Sandbox:
    sandbox = Sandbox(rate_limit=None, latency=latency)
    for id in range(1, messages + 1):
        sandbox.add_message(id, custom_id=f"c{id}", state=STATES[id % 3])
    return sandbox


def client_of(sandbox: Any, token: str = "sandbox", **options: Any) -> StatusClient[Any, MessageStatus]:
    provider = SMSFire(token, base_url="http://localhost", rate_limit=None)
    options = {"retry": RetryPolicy(attempts=1)} | options
    return StatusClient(provider, transport=httpx.ASGITransport(sandbox), clock=LoopClock(), **options)


def source_of(content: str) -> Input[Any]:
    return Input(Lines(io.BytesIO(content.encode()).read), SMSFIRE.keys, SMSFire("t").check)


def check_of(
    source: Input[Any], out: io.BytesIO, *, with_line: bool = False, **options: Any
) -> Check[Any, MessageStatus]:
    results: Results[Any, MessageStatus] = Results(source.columns, columns.SMSFIRE, with_line=with_line)
    return Check(source, results, StreamSink(out, JsonLines()), **options)


def written(out: io.BytesIO) -> Out:
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def checked(content: str, sandbox: Sandbox, **options: Any) -> tuple[Out, Check[Any, MessageStatus]]:
    out = io.BytesIO()
    check = check_of(source_of(content), out, **options)
    async with client_of(sandbox) as client:
        await check.run(client)
    assert not check._waiting
    assert not check._in_order
    return written(out), check


def ids(count: int, first: int = 1) -> str:
    return "".join(f"{id}\n" for id in range(first, first + count))


def check_to_file(
    content: bytes | str,
    path: Path,
    sandbox: Sandbox,
    *,
    resume: bool = True,
    format: Literal["csv", "jsonl"] | None = None,
    with_line: bool = False,
    only_open: bool = False,
    is_safe: bool = False,
    encoding: str | None = None,
    key: str | None = None,
) -> Check[Any, MessageStatus]:
    """Check an input as the command does: the name of the output says the format, and none is JSON Lines."""
    data = content if isinstance(content, bytes) else content.encode()
    opened = Opened(io.BytesIO(data).read)
    keys = SMSFIRE.keys if key is None else SMSFIRE.keys.only(key)
    source = Input(Lines(opened.read, encoding=encoding), keys, SMSFire("t").check)
    results: Results[Any, MessageStatus] = Results(source.columns, columns.SMSFIRE, with_line=with_line)
    written = encoding_of(source, opened, results.names, output=str(path), format=format, is_safe=is_safe)
    sink = FileSink(str(path), written, resume=resume)
    try:
        resumed = sink.resume(with_line=with_line) if resume else None
        check = Check(source, results, sink, resumed=resumed, only_open=only_open)

        async def run() -> None:
            async with client_of(sandbox, linger=0) as client:
                await check.run(client)

        asyncio.run(run())
    finally:
        sink.close()
    return check
