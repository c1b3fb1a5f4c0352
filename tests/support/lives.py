"""A client in real time, and what its event loop reports."""

import asyncio
from typing import Any

import httpx
import pytest

from statuslookup import RateLimit, StatusClient
from tests.support.fakes import Tens

every_loop = pytest.mark.every_loop
FAST = RateLimit(200)


def listen(noise: list[dict[str, Any]]) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))


def new_client(server: httpx.AsyncBaseTransport, **options: Any) -> StatusClient[int, int]:
    """Return a client in real time, with a limit that costs a test nothing."""
    provider = options.pop("provider", None) or Tens(rate_limit=FAST)
    return StatusClient(provider, transport=server, linger=0.0, **options)
