"""Clients that share a budget, and what the register holds of it."""

import asyncio
from itertools import pairwise
from typing import Any

import httpx

from statuslookup import RateLimit, StatusClient, TokenBucket
from statuslookup._clock import SYSTEM_CLOCK
from statuslookup._limits import budgets as register
from statuslookup._limits.budgets import SharedBucket
from tests.support.fakes import Tens


def budgets() -> list[object]:
    """Return the budgets that have a client somewhere."""
    return [budget for budget, shares in register._budgets.items() if any(s.limits for s in shares)]


def tens(budget: object = "tens", rate_limit: RateLimit | None = RateLimit(2)) -> Tens:  # noqa: B008 # frozen
    provider = Tens(rate_limit=rate_limit)
    provider.budget = budget
    return provider


def client_of(
    server: httpx.AsyncBaseTransport, provider: Any = None, **options: Any
) -> StatusClient[Any, Any]:
    """Return a client that does not linger, in real time unless it is given a clock."""
    return StatusClient(provider or tens(), transport=server, **{"linger": 0.0, **options})


def bucket_of(client: StatusClient[Any, Any]) -> TokenBucket:
    """Return the bucket that the client shares with others."""
    assert client._shared is not None
    return client._shared.bucket


def smallest_gap(times: list[float]) -> float:
    return min(after - before for before, after in pairwise(times))


def share(limit: float = 2, *, budget: object = "tens", clock: Any = SYSTEM_CLOCK) -> SharedBucket:
    return SharedBucket(budget, RateLimit(limit), loop=asyncio.get_running_loop(), clock=clock)
