"""Webhooks: which are due, what becomes of them on their way, and how they are posted."""

import math
import re
import threading
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeAlias
from urllib.parse import SplitResult, quote, urlsplit

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import Attribute, field, frozen
from starlette.types import ASGIApp, Message

from .._arguments import number
from .._urls import is_loopback

Target: TypeAlias = str | ASGIApp
"""Where webhooks are posted to: an http URL of this machine, or an ASGI app in this process."""

Poster: TypeAlias = Callable[[bytes], Awaitable[int | None]]
"""Posts one body, and returns the status of the response, or ``None`` if none came."""

# SMSFire: a packet without a response within 2 seconds is discarded and never resent.
_SECONDS_TO_ANSWER = 2.0
_MOST_HEAD = 65_536
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


class Outbox:
    """The webhooks that are due, in the order of the changes that they tell of."""

    def __init__(self) -> None:
        self._due: list[tuple[object, bytes]] = []
        self._lock = threading.Lock()

    def add(self, sender: object, body: bytes) -> None:
        with self._lock:
            self._due.append((sender, body))

    def take(self, sender: object | None = None) -> list[bytes]:
        """Return what is due, of one sender or of all, and forget it."""
        with self._lock:
            taken = [body for own, body in self._due if sender is None or own is sender]
            self._due = [due for due in self._due if sender is not None and due[0] is not sender]
        return taken


@frozen(kw_only=True)
class Posted:
    """What became of the webhooks that were due.

    ``lost`` and ``repeated`` count webhooks; ``requests``, ``delivered`` and ``discarded`` count requests.
    """

    lost: int
    """Webhooks that were never sent."""
    repeated: int
    """Webhooks that were sent twice."""
    requests: int
    """Requests that were made: one for each webhook that was not lost, two for a repeated one."""
    delivered: int
    """Requests whose response said success within 2 seconds."""

    @property
    def discarded(self) -> int:
        """Requests that were not delivered; none is sent again."""
        return self.requests - self.delivered


def _share(_: object, attribute: "Attribute[float]", value: float) -> None:
    number(attribute.name, value, what="a share from 0 to 1", least=0, most=1)


def _seconds(_: object, attribute: "Attribute[tuple[float, float]]", value: object) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{attribute.name} is a pair of seconds, the least and the most")
    if not 0 <= value[0] <= value[1] < math.inf:
        raise ValueError(f"{attribute.name} is a pair of seconds, the least and the most, not {value}")


@frozen(kw_only=True)
class Mishaps:
    """What happens to webhooks on their way, and to which share of them it does.

    ``lose``, ``repeat``, ``reorder`` and ``delay`` are shares from 0 to 1: of those that never come, come
    twice, are held back until later ones have come, or come ``delay_by`` seconds late. Anything else is a
    ``TypeError`` or ``ValueError``.
    """

    lose: float = field(default=0.0, validator=_share)
    """The share that never comes."""
    repeat: float = field(default=0.0, validator=_share)
    """The share that comes twice."""
    reorder: float = field(default=0.0, validator=_share)
    """The share that comes after what happened later."""
    delay: float = field(default=0.0, validator=_share)
    """The share that comes late."""
    delay_by: tuple[float, float] = field(default=(0.5, 3.0), validator=_seconds)
    """How many seconds late that is, at least and at most."""

    def _copies(self, count: int, random: Random) -> list[list[tuple[float, int]]]:
        """Return for each webhook its copies: the seconds until one is sent, and its rank among its equals.

        As many numbers are drawn whatever the shares are, so that one seed loses the same webhooks
        whether or not others are repeated.
        """
        ways: list[list[tuple[float, int]]] = []
        for position in range(count):
            is_lost, is_repeated = random.random() < self.lose, random.random() < self.repeat
            copies = []
            for _ in range(2):
                is_late, is_held_back = random.random() < self.delay, random.random() < self.reorder
                seconds = random.uniform(*self.delay_by)
                copies.append(
                    (seconds if is_late else 0.0, 2 * count - position if is_held_back else position)
                )
            ways.append([] if is_lost else copies[: 1 + is_repeated])
        return ways


async def post_all(bodies: Sequence[bytes], post: Poster, mishaps: Mishaps, random: Random) -> Posted:
    """Post the webhooks one after another, as far as their mishaps let them."""
    copies = mishaps._copies(len(bodies), random)
    requests = sorted(
        (seconds, rank, position) for position, ways in enumerate(copies) for seconds, rank in ways
    )
    started_at = anyio.current_time()
    delivered = 0
    for seconds, _, position in requests:
        if seconds:
            await anyio.sleep_until(started_at + seconds)
        delivered += await is_delivered(post, bodies[position])
    return Posted(
        lost=copies.count([]),
        repeated=sum(len(ways) == 2 for ways in copies),
        requests=len(requests),
        delivered=delivered,
    )


async def is_delivered(post: Poster, body: bytes) -> bool:
    """Post a webhook, and return whether the response said success in time."""
    status = None
    with anyio.move_on_after(_SECONDS_TO_ANSWER):
        status = await post(body)
    return status is not None and 200 <= status < 300


def poster(target: Target, path: str | None = None) -> Poster:
    """Return what posts to the target; a target that is not one is a ``TypeError`` or ``ValueError``.

    ``path`` is where at an app, without which it is ``/``; a URL has its own.
    """
    if path is not None and not (callable(target) and path.startswith("/")):
        raise ValueError("path is for an ASGI app, and begins with '/'; a URL has its own")
    if callable(target):
        return lambda body: _post_to_app(target, path or "/", body)
    if not isinstance(target, str):
        raise TypeError(f"webhooks are posted to a URL or an ASGI app, not to {type(target).__name__}")
    if not target.isascii() or not target.isprintable() or " " in target:
        raise ValueError("the URL must hold only characters that a URL may have")
    parts = _split(target)
    if parts is None:
        raise ValueError(
            "webhooks are posted to this machine only: http://127.0.0.1:<port>/<path>, no user, no https"
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n".encode()
    host, port = parts.hostname or "", parts.port or 80
    return lambda body: _post_to_socket(host, port, head, body)


def _split(url: str) -> SplitResult | None:
    """Return the parts of an http URL of this machine, and ``None`` for every other text."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # Its host or its port is none.
        return None
    is_here = parts.scheme == "http" and parts.username is None and is_loopback(parts.hostname or "")
    return parts if is_here else None


async def _post_to_socket(host: str, port: int, head: bytes, body: bytes) -> int | None:
    try:
        async with await anyio.connect_tcp(host, port) as stream:
            await stream.send(
                b"%bContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
                % (head, len(body), body)
            )
            incoming = BufferedByteReceiveStream(stream)
            head_of_response = await incoming.receive_until(b"\r\n\r\n", _MOST_HEAD) + b"\r\n"
            length = _CONTENT_LENGTH.search(head_of_response)
            if length is not None:
                # A receiver that is cut off in the middle of its response would see an error.
                await incoming.receive_exactly(min(int(length[1]), _MOST_HEAD))
            return int(head_of_response.split(None, 2)[1])
    except (
        OSError,
        ValueError,
        IndexError,
        anyio.BrokenResourceError,
        anyio.DelimiterNotFound,
        anyio.IncompleteRead,
    ):
        return None


async def _post_to_app(app: ASGIApp, path: str, body: bytes) -> int | None:
    status: int | None = None
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not unread:
            await anyio.sleep_forever()
        return unread.pop()

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ],
        "client": ("127.0.0.1", 123),
        "server": ("localhost", 80),
    }
    await app(scope, receive, send)
    return status
