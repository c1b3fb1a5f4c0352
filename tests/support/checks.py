"""What runs a check over a sandbox in this process."""

import io
import json
from typing import Any

import httpx

from statuslookup import DeliveryState, MessageStatus, RetryPolicy, SMSFire, StatusClient
from statuslookup.cli.providers import SMSFIRE
from statuslookup.cli.table import columns
from statuslookup.cli.table.check import Check
from statuslookup.cli.table.encodings import JsonLines
from statuslookup.cli.table.lines import Lines
from statuslookup.cli.table.results import Results
from statuslookup.cli.table.rows import Input
from statuslookup.cli.table.sinks import StreamSink
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
