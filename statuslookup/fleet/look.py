"""A look at what the fleets on one Redis share: who lives, who has the slot, what waits. It only reads."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from ..errors import FleetError
from .link import Link
from .redis_problems import is_redis_error, problem_of

# Where the bands of the queue's scores begin, as the scripts have them.
_BULK: Final = 10**13
_TAKEN: Final = 2 * 10**13

_NAME: Final = re.compile(rb"statuslookup:\{([0-9a-f]{1,64})\}(?::(alive|\d{1,9}:[0-9a-f]{1,64}))?")
_PLACE: Final = re.compile(rb"(\d{1,16}) (\d{1,16}) ([a-z]{1,16}) (\d{1,16}(?:\.\d{1,9})?)")
_NUMBER: Final = re.compile(rb"\d{1,16}(?:\.\d{1,9})?")
_OVER: Final = (b"over", b"late")
# What claims to live for longer is not of a fleet's making.
_LONGEST_LEASE: Final = 120_000
_FIELDS: Final = ("places", "next", "ready", "rung")

# A look at a Redis that is full of other things, or that somebody filled to do harm, ends all the same.
_SCANNED_AT_ONCE: Final = 1_000
_MOST_SCANS: Final = 1_000
_MOST_NAMES: Final = 1_000
_MOST_PROCESSES: Final = 10_000
_MOST_TEXT: Final = 100_000

_Names: TypeAlias = dict[str, set[str]]
"""The names of the budgets, each with those of its accounts."""


@frozen
class Sender:
    """A process that has been granted the slot."""

    process: int
    seconds: float
    """How long ago that was."""


@frozen
class Account:
    """What waits for one account."""

    name: str
    """A hash, from which the token cannot be told."""
    first: int
    """How often a process waits for a key for a ``get``."""
    bulk: int
    """How often a process waits for a key for the rest."""
    taken: int
    """How many of those are under way."""


@frozen
class Budget:
    """What a provider counts together, and who shares it."""

    name: str
    """A hash of the fleet's name and of what the provider counts together."""
    processes: Mapping[int, float]
    """Who lives, by number, with the seconds until the lease ends."""
    senders: list[Sender]
    """Who has the slot: they have a request under way, or are about to."""
    ready_in: float
    """The seconds until the next request may go, if nobody has the slot."""
    slowed: int
    """How often the rate is halved at present, after 429s."""
    accounts: list[Account]


@frozen
class Look:
    """The budgets on one Redis; ``is_whole`` is false if it holds so much else that not all was looked at."""

    where: str
    """Host, port and database."""
    budgets: list[Budget] = field(factory=list)
    is_whole: bool = True


async def look(link: Link) -> Look:
    """Return what the fleets there share now; a Redis that cannot be read is a ``FleetError``."""
    problem: FleetError
    try:
        async with asyncio.timeout(10 * link.timeout):
            return await _look(link)
    except Exception as error:
        if not is_redis_error(error):
            raise
        problem = problem_of(error, link.where)
    # Out here it has no context: redis-py's frames hold the password.
    raise problem


async def _look(link: Link) -> Look:
    redis = link.redis
    names: _Names = {}
    is_whole = False
    async for name in _names_in(redis):
        if name is None:
            is_whole = True
        elif match := _NAME.fullmatch(name):
            budget, part = match[1].decode(), match[2]
            accounts = names.setdefault(budget, set())
            if part is not None and part != b"alive":
                accounts.add(part.decode())
    budgets = [await _budget(redis, name, sorted(accounts)) for name, accounts in sorted(names.items())]
    return Look(link.where, budgets, is_whole)


async def _names_in(redis: Any) -> AsyncIterator[bytes | None]:
    """Yield what is there under the fleets' prefix, and ``None`` after the last of all."""
    found = scans = cursor = 0
    while scans < _MOST_SCANS and found < _MOST_NAMES:
        cursor, names = await redis.scan(cursor, match="statuslookup:{*", count=_SCANNED_AT_ONCE)
        scans, found = scans + 1, found + len(names)
        for name in names:
            yield name
        if not cursor:
            yield None
            return


async def _budget(redis: Any, name: str, accounts: list[str]) -> Budget:
    slot = f"statuslookup:{{{name}}}"
    seconds, micros = await redis.time()
    now = seconds * 1000 + micros / 1000
    places, next_at, ready_at, rung = await _unless_foreign(redis.hmget(slot, *_FIELDS), [None] * 4)
    alive = redis.zrangebyscore(
        f"{slot}:alive", now, now + _LONGEST_LEASE, start=0, num=_MOST_PROCESSES, withscores=True
    )
    rows = await _unless_foreign(alive, [])
    processes = {int(row): (end - now) / 1000 for row, end in rows if row.isdigit() and len(row) <= 16}
    senders = [
        Sender(int(process), max(0.0, (now - float(at)) / 1000))
        for _, process, state, at in _PLACE.findall((places or b"")[:_MOST_TEXT])
        if state not in _OVER and int(process) in processes
    ]
    return Budget(
        name,
        processes,
        senders,
        ready_in=max(0.0, (max(_number(next_at), _number(ready_at)) - now) / 1000),
        slowed=int(_number(rung)),
        accounts=[await _account(redis, f"{slot}:{account}", account) for account in accounts],
    )


async def _account(redis: Any, queue: str, name: str) -> Account:
    first = await _unless_foreign(redis.zcount(queue, "-inf", f"({_BULK}"), 0)
    bulk = await _unless_foreign(redis.zcount(queue, _BULK, f"({_TAKEN}"), 0)
    taken = await _unless_foreign(redis.zcount(queue, _TAKEN, "+inf"), 0)
    return Account(name.partition(":")[2], first, bulk, taken)


async def _unless_foreign(reply: Any, otherwise: Any) -> Any:
    """Return a reply, or ``otherwise`` if something else than a fleet's stands under that name."""
    try:
        return await reply
    except Exception as error:
        if is_redis_error(error) and str(error).startswith("WRONGTYPE"):
            return otherwise
        raise


def _number(text: bytes | None) -> float:
    return float(text) if text is not None and _NUMBER.fullmatch(text) else 0.0
