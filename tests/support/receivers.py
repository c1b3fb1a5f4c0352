"""What receives webhooks, and a sandbox that has some to post."""

import asyncio
import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from statuslookup import DeliveryState
from statuslookup.sandbox import Sandbox

SENT, DELIVERED, READ = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ
PENDING, EXPIRED, FAILED = DeliveryState.PENDING, DeliveryState.EXPIRED, DeliveryState.FAILED


class Receiver:
    """An ASGI app that keeps what is posted to it, and when that came."""

    def __init__(self, *, seconds: float = 0.0, status: int = 200) -> None:
        self.bodies: list[bytes] = []
        self.times: list[float] = []
        self.scopes: list[Scope] = []
        self._seconds = seconds
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.bodies.append(await request.body())
        self.times.append(asyncio.get_running_loop().time())
        self.scopes.append(scope)
        if self._seconds:
            await asyncio.sleep(self._seconds)
        await Response(status_code=self._status)(scope, receive, send)

    @property
    def ids(self) -> list[int]:
        return [json.loads(body)["id"] for body in self.bodies]


def changed(count: int = 1) -> Sandbox:
    """Return a sandbox with so many messages, each of which has one webhook due."""
    sandbox = Sandbox()
    for id in range(count):
        sandbox.add_message(id, state=PENDING)
    for id in range(count):
        sandbox.change_state(id, SENT)
    return sandbox
