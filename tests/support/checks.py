"""What runs a check over a sandbox in this process."""

import io
import json
from typing import Any

import httpx

from statuslookup import DeliveryState, MessageStatus, RetryPolicy, SMSFire, StatusClient
from statuslookup.cli.table.check import Check
from statuslookup.cli.table.files import StreamSink
from statuslookup.cli.table.results import SMSFIRE_FIELDS, JsonLines, Results
from statuslookup.cli.table.rows import Input, Lines, smsfire_keys
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
    keys = smsfire_keys(SMSFire("t").check, custom_ids=False)
    return Input(Lines(io.BytesIO(content.encode()).read), keys)


def check_of(source: Input[Any], out: io.BytesIO, **options: Any) -> Check[Any, MessageStatus]:
    is_unordered = not options.get("ordered", True)
    results: Results[Any, MessageStatus] = Results(source.columns, SMSFIRE_FIELDS, with_line=is_unordered)
    encoding = JsonLines(results.names)
    return Check(source, results, encoding, StreamSink(out, encoding), **options)


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
