"""A Redis that is played in virtual time: what the fleet's scripts do, in plain Python, and how it fails."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from attrs import define, field
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from statuslookup.fleet.scripts import DONE, TAKE

_FRONT, _FIRST, _BULK, _TAKEN = -1e12, 0.0, 1e13, 2e13
_STEP = 0.004
_POOL: ConnectionPool = ConnectionPool()
"""Connects to nothing."""


def _name(process: int) -> str:
    return f"{process:013d}"


@define
class _Place:
    fence: int
    process: str
    state: str
    at: float

    @property
    def is_under_way(self) -> bool:
        return self.state in ("alone", "beside")


@define
class _Data:
    """The slot, who lives, and the queue: of one budget with one account."""

    places: list[_Place] = field(factory=list)
    fence: int = 0
    next: float = 0.0
    ready: float = 0.0
    drains: float = 0.0
    forgotten: float = 0.0
    answered: float = 0.0
    rung: int = 0
    calm: float = 0.0
    alive: dict[str, float] = field(factory=dict)
    queue: dict[str, float] = field(factory=dict)

    def in_order(self, least: float, below: float) -> list[str]:
        found = [member for member, score in self.queue.items() if least <= score < below]
        return sorted(found, key=lambda member: (self.queue[member], member))


class PlayedRedis(Redis):
    """Takes ``latency`` seconds each way for a call, and ``message_latency`` for what is published.

    The scripts here leave out what defends them against foreign data and clocks that are set back.
    """

    def __init__(
        self,
        latency: float = 0.01,
        message_latency: float = 0.01,
        now: Callable[[], float] = lambda: 1000 * asyncio.get_running_loop().time() + 1e9,
    ) -> None:
        # A pool that is given spares each of many the look at what redis-py is.
        super().__init__(connection_pool=_POOL)
        self.latency = latency
        self.message_latency = message_latency
        self._now = now
        self.data = _Data()
        self.is_away = False
        """Whether no call reaches it."""
        self.losses = 0
        """How many of the next replies are lost, of calls that were run."""
        self.knows_scripts = False
        self.calls = 0
        self.listeners: list[PlayedPubSub] = []

    @property
    def now(self) -> float:
        """Its time in milliseconds."""
        return self._now()

    async def evalsha(self, sha: Any, count: Any, *arguments: Any) -> Any:
        return await self._call(sha, arguments)

    async def eval(self, script: Any, count: Any, *arguments: Any) -> Any:
        return await self._call(TAKE.sha if script == TAKE.text else DONE.sha, arguments, brings_script=True)

    async def _call(self, sha: str, arguments: tuple[Any, ...], *, brings_script: bool = False) -> Any:
        await asyncio.sleep(self.latency)
        if self.is_away:
            raise RedisConnectionError("refused")
        if not (self.knows_scripts or brings_script):
            await asyncio.sleep(self.latency)
            raise NoScriptError("no such script")
        self.knows_scripts = True
        self.calls += 1
        ask = json.loads(arguments[3])
        script = _Script(self, ask)
        reply: Any = json.dumps(script.take()).encode() if sha == TAKE.sha else script.done(arguments[4])
        is_lost, self.losses = self.losses > 0, max(0, self.losses - 1)
        await asyncio.sleep(self.latency)
        if is_lost or self.is_away:
            raise RedisConnectionError("the connection was lost")
        return reply

    def lose_all(self) -> None:
        self.data = _Data()

    def take_as_another(self, lease: float) -> None:
        """Let another process take the slot, where it is free, and all that waits; it never comes back."""
        data, process = self.data, 99
        if any(place.is_under_way for place in data.places) or max(data.next, data.ready) > self.now:
            return
        data.fence += 1
        data.alive[_name(process)] = self.now + 1000 * lease
        data.places.append(_Place(data.fence, _name(process), "alone", self.now))
        for member in data.in_order(-float("inf"), _TAKEN):
            data.queue[member] = _TAKEN + process
        for channel in {channel for each in self.listeners for channel in each.channels}:
            self.publish_now(channel, f"taken {data.fence} {_name(process)} 500 500".encode())

    def publish_now(self, channel: str, message: bytes) -> None:
        for listener in self.listeners:
            if channel in listener.channels:
                listener.put({"type": "message", "channel": channel.encode(), "data": message})

    def cut(self) -> None:
        """End all connections that are subscribed."""
        for listener in self.listeners:
            listener.put(None)

    def pubsub(self, **_: Any) -> Any:
        return PlayedPubSub(self)

    async def aclose(self, *_: Any, **__: Any) -> None: ...


class PlayedPubSub:
    """One connection that hears channels."""

    def __init__(self, redis: PlayedRedis) -> None:
        self._redis = redis
        self._inbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.channels: tuple[str, ...] = ()

    def put(self, message: dict[str, Any] | None) -> None:
        asyncio.get_running_loop().call_later(self._redis.message_latency, self._inbox.put_nowait, message)

    async def subscribe(self, *channels: str) -> None:
        await asyncio.sleep(self._redis.latency)
        if self._redis.is_away:
            raise RedisConnectionError("refused")
        self.channels = channels
        self._redis.listeners.append(self)
        for channel in channels:
            self.put({"type": "subscribe", "channel": channel.encode(), "data": 1})

    async def get_message(self, timeout: float) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(timeout):
                message = await self._inbox.get()
        except TimeoutError:
            return None
        if message is None:
            raise RedisConnectionError("the connection was lost")
        return message

    async def ping(self) -> None:
        self.put({"type": "pong", "channel": None, "data": b""})

    async def aclose(self) -> None:
        if self in self._redis.listeners:
            self._redis.listeners.remove(self)


class _Script:
    """One run of a script, which nothing comes between: see lua/ for what each part is for."""

    def __init__(self, redis: PlayedRedis, ask: dict[str, Any]) -> None:
        self._redis = redis
        self._ask = ask
        self._now = redis.now
        self._me = _name(ask["process"])
        self._mine = _TAKEN + ask["process"]
        self._returned = 0

    @property
    def _data(self) -> _Data:
        return self._redis.data

    def _to_front(self, members: list[str]) -> None:
        for member in members:
            self._returned += 1
            self._data.queue[member] = self._now + _FRONT + self._returned * _STEP

    def _take_back(self, place: _Place) -> None:
        data = self._data
        if place.fence == data.fence and data.next <= place.at + self._ask["interval"]:
            data.next = place.at

    def _say_turn(self, what: str, fence: int) -> None:
        beside = max(self._data.next - self._now, 0)
        alone = max(beside, self._data.ready - self._now)
        text = f"{what} {fence} {self._me} {beside:.0f} {alone:.0f}"
        self._redis.publish_now(self._ask["turns"], text.encode())

    @property
    def _is_alone(self) -> bool:
        return set(self._data.alive) == {self._me}

    def done(self, payload: bytes | str) -> int:
        data, ask, now = self._data, self._ask, self._now
        place = next((p for p in data.places if (p.fence, p.process) == (ask["fence"], self._me)), None)
        is_held = place is not None and place.is_under_way
        sent = ask["sent"]
        if sent is not None and not (place is not None and place.state == "over"):
            if place is None:
                place = _Place(ask["fence"], self._me, "over", 0.0)
                data.places.append(place)
            place.state, place.at, data.answered = "over", now + sent["cool"], now
            data.ready = max(data.ready, now + sent["pause"])
            data.next = max(data.next, now + sent["freeze"])
            if sent["calm"] >= 0 and now - sent["calm"] >= data.calm:
                data.rung, data.calm = sent["rung"], now - sent["calm"]
        elif is_held and place is not None:
            self._take_back(place)
            data.places.remove(place)
        if is_held:
            self._say_turn("free", ask["fence"])
        mine = data.in_order(self._mine, self._mine + 0.5)
        leaving = [member for member in mine if member[14:] in ask["told"]]
        self._to_front([m for m in mine if m[14:] in ask["back"] and m[14:] not in ask["told"]])
        has_others = any(member[:13] != self._me for member in leaving)
        is_owed = bool(ask["quiet"] and ask["told"] and (has_others or not self._is_alone))
        if not is_owed:
            for member in leaving:
                del data.queue[member]
        if payload:
            self._redis.publish_now(
                ask["outcomes"], payload if isinstance(payload, bytes) else payload.encode()
            )
        return int(is_owed)

    def take(self) -> dict[str, Any]:
        data, ask, now = self._data, self._ask, self._now
        was_away = data.alive.get(self._me, 0.0) <= now or ask["lost"]
        held, under_way, last_end, has_company, is_lost = self._look_at_places()
        was_away = was_away or is_lost
        data.alive = {process: end for process, end in data.alive.items() if end > now}
        if ask["leaves"]:
            data.alive.pop(self._me, None)
        else:
            data.alive[self._me] = now + ask["lease"]
        if was_away:
            self._to_front(data.in_order(self._mine, self._mine + 0.5))
        for key in ask["gone"]:
            data.queue.pop(f"{self._me}:{key}", None)
        self._add(ask["first"], _FIRST)
        self._add(ask["bulk"], _BULK)
        why, at = self._when(under_way, last_end, has_company=has_company)
        keys: list[str] = []
        if why == "taken" and ask["most"] > 0:
            keys = self._choose()
            if not keys:
                why, at = "idle", now + ask["lease"]
        if why == "taken":
            data.fence, data.next = data.fence + 1, now + ask["interval"]
            if ask["alone"]:
                data.drains = 0.0
            data.places.append(_Place(data.fence, self._me, "alone" if ask["alone"] else "beside", now))
            self._say_turn("taken", data.fence)
        return {
            "why": why,
            "wait": max(at - now, 0),
            "fence": data.fence,
            "held": held,
            "keys": keys,
            "rung": data.rung,
            "calm": now - data.calm if data.calm > 0 else -1,
            "alone": self._is_alone,
            "away": was_away,
        }

    def _look_at_places(self) -> tuple[list[int], int, float, bool, bool]:
        data, ask, now = self._data, self._ask, self._now
        held, places, under_way, last_end, has_company, is_lost = [], [], 0, now, False, False
        for place in data.places:
            stays = True
            if place.is_under_way:
                lease_end = data.alive.get(place.process, now)
                if lease_end <= now:
                    place.state, place.at = "late", lease_end + ask["period"]
                    data.ready = max(data.ready, lease_end + ask["interval"])
                elif place.process == self._me and place.fence not in ask["holds"]:
                    is_lost = True
                    if ask["lost"]:
                        place.state, place.at = "late", now + ask["period"]
                        data.ready = max(data.ready, now + ask["interval"])
                    else:
                        stays = False
                        self._take_back(place)
                    self._say_turn("free", place.fence)
                else:
                    if place.process == self._me:
                        held.append(place.fence)
                        lease_end = now + ask["lease"]
                    under_way, last_end = under_way + 1, max(last_end, lease_end)
                    has_company = has_company or place.state == "beside"
            if not place.is_under_way:
                stays = place.at > now
            if stays:
                places.append(place)
        data.places = places
        return held, under_way, last_end, has_company, is_lost

    def _find_taken(self) -> dict[str, float]:
        data = self._data
        taken = data.in_order(_TAKEN, float("inf"))
        self._to_front([m for m in taken if _name(int(data.queue[m] - _TAKEN)) not in data.alive])
        return {m[14:]: data.queue[m] for m in data.in_order(_TAKEN, float("inf"))}

    def _add(self, keys: list[str], band: float) -> None:
        data, now = self._data, self._now
        taken = self._find_taken() if keys else {}
        for number, key in enumerate(keys, 1):
            member = f"{self._me}:{key}"
            score = taken.get(key, band + now + number * _STEP)
            before = data.queue.setdefault(member, score)
            if band == _FIRST and _BULK <= before < _TAKEN:
                data.queue[member] = score

    def _when(self, under_way: int, last_end: float, *, has_company: bool) -> tuple[str, float]:
        data, ask, now = self._data, self._ask, self._now
        why = None
        if data.fence < ask["seen"]:
            why, data.fence = "forgotten", ask["seen"]
            data.next = data.ready = now + ask["lease"] + ask["interval"]
            data.forgotten = now + ask["lease"] + ask["period"]
        at = data.next
        if ask["alone"]:
            at = max(at, data.ready, min(data.answered, now) + ask["interval"] - ask["credit"])
            if under_way:
                why, at = "busy", max(at, last_end + ask["interval"])
            if has_company and ask["most"]:
                data.drains = now + ask["lease"]
        elif (drains := max(data.drains, data.forgotten)) > now:
            why, at = why or "busy", max(at, drains)
        if len(data.places) >= ask["places"]:
            free_at = sorted(last_end + ask["period"] if p.is_under_way else p.at for p in data.places)
            at = max(at, free_at[len(free_at) - ask["places"]])
            if under_way:
                why = "busy"
        if at > now:
            return why or "paced", at
        if ask["most"] == 0:
            return "ready", at
        return ("pace" if data.rung != ask["rung"] else "taken"), at

    def _choose(self) -> list[str]:
        data = self._data
        taken = self._find_taken()
        keys: list[str] = []
        for member in data.in_order(-float("inf"), _TAKEN):
            key = member[14:]
            if member[:13] not in data.alive:
                del data.queue[member]
            elif key in keys or (key not in taken and len(keys) < self._ask["most"]):
                if key not in keys:
                    keys.append(key)
                data.queue[member] = self._mine
        return keys
