"""SMSFire and GREEN-API as a benchmark needs them: answers at next to no cost, from a process of their own.

It imports nothing but the standard library, so that it starts at once, and shares no line with what it
measures. Every message exists: number N has the customId ``campaign-N``. Every story has one recipient, who
is named after it.
"""

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.request import urlopen

ROOT: Final = Path(__file__).parent.parent
COUNTINGS: Final = ("fixed_window", "sliding_window", "spacing")
LATENCY: Final = 0.05
CUSTOM_ID: Final = "campaign-{}"
_ITEM: Final = (
    b'{"instanceToken":"499893c21b1b467970b2n58dcak6009d92d9dscx1","id":%d,"customId":"campaign-%d",'
    b'"messageType":"TEXT","country":"55","phone":"5511966778899","statusCode":2,"statusName":"DELIVERED",'
    b'"statusDate":"2021-08-03T19:39:01-0300","sentDate":"2021-08-03T19:32:10-0300"}'
)
_RECEIPT: Final = b'[{"participant":"%b@c.us","timestamp":1706713331,"status":"read"}]'
# What is added up in floats misses a round time by a hair. That is no request too early.
_TOLERANCE: Final = 1e-9


def item(id: int) -> bytes:
    return _ITEM % (id, id)


class Answers:
    """What is answered to each request, and what was counted.

    ``counting`` is one of ``COUNTINGS``, or empty for no limit. The limit is SMSFire's, 2 requests a second;
    a rejected request does not count.
    """

    def __init__(self, counting: str = "") -> None:
        if counting and counting not in COUNTINGS:
            raise ValueError(f"counting is one of {', '.join(COUNTINGS)}, not {counting}")
        self._counting = counting
        self._admitted = [float("-inf")] * 2
        self.requests = 0
        self.keys = 0
        self.rejections = 0
        self.asked: list[tuple[str, int, int]] = []
        """Of each search by ids: with which credentials, and the least and the greatest id."""

    def respond(self, now: float, path: str, body: bytes, credentials: str = "") -> tuple[int, bytes]:
        """Return the status code and the body for a request that arrives at the time ``now``, in seconds."""
        if path == "/asked":
            return 200, json.dumps(self.asked).encode()
        if path == "/counts":
            counts = {"requests": self.requests, "keys": self.keys, "rejections": self.rejections}
            return 200, json.dumps(counts).encode()
        self.requests += 1
        if self._counting and not self._admit(now):
            self.rejections += 1
            return 429, b"{}"
        if path == "/whatsapp/status/search":
            wanted = json.loads(body)
            ids = [int(id) for id in wanted.get("ids", ())]
            ids += [int(name.rpartition("-")[2]) for name in wanted.get("customIds", ())]
            self.keys += len(ids)
            self.asked.append((credentials, min(ids), max(ids)))
            return 200, b"[%b]" % b",".join([item(id) for id in ids[:200]])
        self.keys += 1
        if path.startswith("/waInstance"):
            return 200, _RECEIPT % path.rpartition("=")[2].encode()
        return 200, item(int(path.rpartition("/")[2].rpartition("-")[2]))

    def _admit(self, now: float) -> bool:
        before_last, last = self._admitted
        if self._counting == "spacing":
            admitted = now - last >= 0.5 - _TOLERANCE
        elif self._counting == "sliding_window":
            admitted = now - before_last >= 1 - _TOLERANCE
        else:
            # Whole seconds of the clock are the windows, and two of them the same only if all three are.
            admitted = (now + _TOLERANCE) // 1 != (before_last + _TOLERANCE) // 1
        if admitted:
            self._admitted = [last, now]
        return admitted


class Connection(asyncio.Protocol):
    """One connection: HTTP/1.1 as far as the clients here speak it, one request after another."""

    def __init__(self, answers: Answers, latency: float, spread: float = 0.0) -> None:
        self._answers = answers
        self._latency = latency
        self._spread = spread
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
        length = int(headers.get(b"content-length", 0))
        if len(rest) < length:
            return
        self._received = rest[length:]
        path = lines[0].split()[1].decode()
        credentials = headers.get(b"authorization", b"").decode()
        if self._latency:
            loop = asyncio.get_running_loop()
            loop.call_later(self._one_way(), self._arrive, path, rest[:length], credentials)
        else:
            self._arrive(path, rest[:length], credentials)

    def _one_way(self) -> float:
        return self._latency / 2 * (1 + self._spread * random.uniform(-1, 1))

    def _arrive(self, path: str, body: bytes, credentials: str) -> None:
        loop = asyncio.get_running_loop()
        status, content = self._answers.respond(loop.time(), path, body, credentials)
        if self._latency:
            loop.call_later(self._one_way(), self._write, status, content)
        else:
            self._write(status, content)

    def _write(self, status: int, content: bytes) -> None:
        assert self._transport is not None
        head = b"HTTP/1.1 %d x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        if not self._transport.is_closing():
            self._transport.write(head % (status, len(content)) + content)


async def serve(counting: str, latency: float, spread: float) -> None:
    """Serve until standard input ends, and print the URL first."""
    loop = asyncio.get_running_loop()
    answers = Answers(counting)
    server = await loop.create_server(
        lambda: Connection(answers, latency, spread), "127.0.0.1", 0, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def serving(counting: str = "", latency: float = 0.0, spread: float = 0.0) -> Iterator[str]:
    """Yield the URL of a fresh server process, which ends with this context.

    Each way takes half of the latency, less or more by up to its share ``spread``.
    """
    command = [sys.executable, "-m", "benchmarks.server", counting, str(latency), str(spread)]
    with subprocess.Popen(  # noqa: S603 # it is this file
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
            # It ends because its standard input does.
            process.stdin.close()
            process.wait(10)
        finally:
            process.kill()


def asked(url: str) -> list[tuple[str, int, int]]:
    """Return of each request for ids with which credentials it came, and its least and greatest id."""
    with urlopen(f"{url}/asked", timeout=10) as response:  # noqa: S310 # it is a server of ours
        return [(credentials, least, most) for credentials, least, most in json.load(response)]


def counts(url: str) -> dict[str, float]:
    """Return how many requests, keys and rejections a server has seen."""
    with urlopen(f"{url}/counts", timeout=10) as response:  # noqa: S310 # it is a server of ours
        found: dict[str, float] = json.load(response)
    return found


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
