"""What goes on in the fleets of a Redis, for whoever wants to see it: nothing is changed."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from .link import Link
from .scripts import LOOK

_NAME: Final = re.compile(r"(statuslookup:\{[0-9a-f]{16}\})(:alive|:1:[0-9a-f]{16})?")


@frozen
class LivingProcess:
    """A client that has said of late that it lives."""

    process: int
    """Its number, which it has drawn by lot."""
    lives_for: float
    """The seconds after which it counts as dead, if it says nothing."""
    holds: int
    """How many slots it holds."""


@frozen
class WaitingKeys:
    """How many keys wait in the queue of one account; one that two processes wait for counts twice."""

    queue: str
    """Its name in Redis."""
    first: int
    """Those that a ``get`` waits for, or that are to be asked again."""
    bulk: int
    taken: int
    """Those that are being asked for."""


@frozen
class FleetState:
    """What goes on at one budget: who lives, who holds the slot, and what waits."""

    slot: str
    """Its name in Redis."""
    processes: tuple[LivingProcess, ...]
    requests: tuple[float, ...]
    """The seconds since each slot was granted that is held now."""
    ready_in: float
    """The seconds until the slot can be had, if nobody holds it."""
    rung: int
    """How often the rate is halved."""
    granted: int
    """How many slots were granted so far."""
    accounts: tuple[WaitingKeys, ...]


async def look_at(link: Link) -> list[FleetState]:
    """Return what goes on at all budgets of all fleets of a Redis, by their names.

    Beside the rights of a fleet, this needs ``+scan`` and ``+zcount``. What Redis refuses, or that it is
    away, raises ``FleetError``.
    """
    queues: dict[str, list[str]] = {}
    for name in await link.start(link.attempt(_names(link.redis))):
        found = _NAME.fullmatch(name.decode(errors="replace"))
        if found is not None:
            names = queues.setdefault(found[1], [])
            if found[2] not in (None, ":alive"):
                names.append(found[0])
    return [await _look_at(link, slot, sorted(queues[slot])) for slot in sorted(queues)]


async def _names(redis: Any) -> list[bytes]:
    return [name async for name in redis.scan_iter(match="statuslookup:{*", count=1000)]


async def _look_at(link: Link, slot: str, queues: list[str]) -> FleetState:
    keys = (slot, f"{slot}:alive", *queues)
    seen: Mapping[str, Any] = json.loads(await link.start(link.run(LOOK, keys, '{"process":0}')))
    # Lua's empty lists are objects in JSON.
    requests, living, accounts = (list(seen[name]) for name in ("requests", "living", "accounts"))
    holders = [request["process"] for request in requests]
    return FleetState(
        slot=slot,
        processes=tuple(
            LivingProcess(int(each["process"]), each["lives_for"] / 1000, holders.count(each["process"]))
            for each in living
            if each["process"].isdecimal()
        ),
        requests=tuple(request["since"] / 1000 for request in requests),
        ready_in=seen["wait"] / 1000,
        rung=int(seen["rung"]),
        granted=int(seen["fence"]),
        accounts=tuple(WaitingKeys(**{name: each[name] for name in _COUNTED}) for each in accounts),
    )


_COUNTED: Final = ("queue", "first", "bulk", "taken")
