"""What webhooks are fed to in place of a tracker, and requests to a receiver without a socket."""

from collections.abc import Iterable
from typing import Any

from attrs import define
from starlette.types import ASGIApp, Message, Scope

from statuslookup import GreenAPI, SMSFire, StatusClient, StatusTracker

SECRET = "a-secret-that-nobody-guesses"
WEBHOOK = b'{"id": 1, "customId": "order-17", "statusCode": 2, "statusName": "DELIVERED"}'


class Listener(StatusTracker[Any, Any]):
    """A tracker that keeps what it is fed."""

    def __init__(self, provider: SMSFire | GreenAPI | None = None) -> None:
        super().__init__(StatusClient(SMSFire("token") if provider is None else provider))
        self.heard: list[Any] = []

    def feed(self, statuses: Iterable[Any]) -> None:
        known = list(statuses)
        super().feed(known)
        self.heard += known


@define
class Response:
    """What an app responded, and the scope as it left it."""

    status: int | None
    headers: dict[str, str]
    body: bytes
    scope: Scope
    read: int
    """How many pieces of the body it asked for."""


async def request(
    app: ASGIApp,
    path: str,
    *pieces: bytes,
    method: str = "POST",
    headers: Iterable[tuple[bytes, bytes]] = (),
    is_whole: bool = True,
    **scope: Any,
) -> Response:
    """Send a request whose body comes in pieces; one that is not whole ends with a client that went away."""
    pending = list(pieces or (b"",))
    read = 0
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal read
        read += 1
        if not pending:
            return {"type": "http.disconnect"}
        return {
            "type": "http.request",
            "body": pending.pop(0),
            "more_body": bool(pending) or not is_whole,
        }

    async def send(message: Message) -> None:
        sent.append(message)

    whole: Scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": list(headers),
        **scope,
    }
    await app(whole, receive, send)
    start = sent[0] if sent else {"status": None, "headers": []}
    return Response(
        status=start["status"],
        headers={name.decode(): value.decode() for name, value in start["headers"]},
        body=b"".join(message.get("body", b"") for message in sent),
        scope=whole,
        read=read,
    )
