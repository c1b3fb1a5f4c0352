"""Discord on this machine: REST and gateway over TLS, as far as a bot with one command needs them."""

import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trustme
from aiohttp import TCPConnector, WSMsgType, web
from aiohttp.abc import AbstractResolver, ResolveResult

_USER = {"id": "1", "username": "bot", "discriminator": "0", "avatar": None, "global_name": None, "bot": True}
_APPLICATION = {
    "id": "2",
    "name": "bot",
    "description": "",
    "icon": None,
    "bot_public": False,
    "bot_require_code_grant": False,
    "owner": _USER,
    "verify_key": "",
    "flags": 0,
}


class DiscordServer:
    """Sends ``/status`` with each key as soon as the bot has logged in, and records what it answers.

    ``synced`` are the commands that the bot published, ``answers`` its follow-ups by key. ``all_deferred``
    is set when each question has been deferred.
    """

    token = "DISCORD"

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys
        self.synced: list[dict[str, Any]] = []
        self.answers: dict[str, str] = {}
        self.all_deferred = threading.Event()
        self._deferred: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        api = "/api/{version}"
        return [
            web.get("/", self._gateway),
            web.get(f"{api}/users/@me", self._user),
            web.get(f"{api}/oauth2/applications/@me", self._application),
            web.put(f"{api}/applications/2/commands", self._sync),
            web.post(f"{api}/interactions/{{number}}/{{token}}/callback", self._callback),
            web.post(f"{api}/webhooks/2/{{token}}", self._follow_up),
        ]

    async def _user(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bot {self.token}":
            raise web.HTTPUnauthorized
        return _json(_USER)

    async def _application(self, request: web.Request) -> web.Response:
        return _json(_APPLICATION)

    async def _sync(self, request: web.Request) -> web.Response:
        self.synced = await request.json()
        facts = {"application_id": "2", "version": "1", "default_member_permissions": None}
        return _json([{**command, **facts, "id": str(number)} for number, command in enumerate(self.synced)])

    async def _callback(self, request: web.Request) -> web.Response:
        if (await request.json())["type"] != 5:
            raise web.HTTPBadRequest(text="a lookup may last longer than the 3 seconds: defer")
        number = request.match_info["number"]
        self._deferred.add(number)
        if len(self._deferred) == len(self.keys):
            self.all_deferred.set()
        return _json({"interaction": {"id": number, "type": 2}})

    async def _follow_up(self, request: web.Request) -> web.Response:
        content = (await request.json())["content"]
        self.answers[self.keys[int(request.match_info["token"])]] = content
        message = {
            "id": "3",
            "channel_id": "4",
            "type": 0,
            "content": content,
            "author": _USER,
            "edited_timestamp": None,
            "pinned": False,
            "mention_everyone": False,
            "tts": False,
            "attachments": [],
            "embeds": [],
            "mentions": [],
            "mention_roles": [],
        }
        return _json(message)

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 45_000}})
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            operation = json.loads(message.data)["op"]
            if operation == 1:
                await socket.send_json({"op": 11})
            elif operation == 2:
                for number, (name, data) in enumerate(self._events()):
                    await socket.send_json({"op": 0, "s": number, "t": name, "d": data})
        return socket

    def _events(self) -> list[tuple[str, dict[str, Any]]]:
        ready = {
            "v": 10,
            "user": _USER,
            "guilds": [],
            "session_id": "session",
            "resume_gateway_url": "wss://gateway.discord.gg/",
            "application": {"id": "2", "flags": 0},
        }
        return [("READY", ready)] + [
            ("INTERACTION_CREATE", _interaction(number, key)) for number, key in enumerate(self.keys)
        ]


def _interaction(number: int, key: str) -> dict[str, Any]:
    option = {"name": "key", "type": 3, "value": key}
    return {
        "id": str(100 + number),
        "application_id": "2",
        "type": 2,
        "token": str(number),
        "version": 1,
        "user": {**_USER, "id": "5", "username": "somebody"},
        "attachment_size_limit": 0,
        "data": {"id": "0", "name": "status", "type": 1, "options": [option]},
    }


def _json(data: Any) -> web.Response:
    # discord.py reads JSON only if no charset is named.
    return web.Response(body=json.dumps(data).encode(), content_type="application/json")


class _ToLoopback(AbstractResolver):
    """Every host is this machine, and every port is the server's."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def serving(server: DiscordServer) -> AsyncIterator[TCPConnector]:
    """Serve on a free port; the value is a connector by which Discord's hosts are this server."""
    authority = trustme.CA()
    inside, outside = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("discord.com", "gateway.discord.gg").configure_cert(inside)
    authority.configure_trust(outside)
    application = web.Application()
    application.add_routes(server.routes())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=inside).start()
        port = runner.addresses[0][1]
        yield TCPConnector(resolver=_ToLoopback(port), ssl=outside)
    finally:
        await runner.cleanup()
