"""What a client is given so that it shares its limit and its queue with other processes."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final, Self, cast

from .._arguments import number, shown_unfinished
from .._clock import Clock
from .._engine.source import Source
from .._model import AnswerT, KeyT
from .._wire import Secret
from ..providers.base import Provider, SharedProvider
from .identity import Identity
from .link import Link, RedisClient
from .source import FleetSource

_METHODS: Final = ("key_to_text", "key_from_text", "answer_to_json", "answer_from_json")
_VARIABLE: Final = "STATUSLOOKUP_FLEET"


class RedisFleet:
    """One rate limit and one queue for the clients of any number of processes, on Redis or Valkey.

    Clients that are given equal fleets keep one limit together, and what waits in any of them rides in the
    next request of whichever goes next. Equal keys of one account are asked once. If Redis cannot be used,
    nothing is sent, and lookups end with ``FleetError``.

    - ``redis``: a URL (``redis://``, ``rediss://``, ``unix://``), or a client of ``redis.asyncio``, which
      stays yours to close.
    - ``name``: one for each IP address that requests leave by.
    - ``lease``: how many seconds a process that says nothing counts as alive: so long, and one interval, the
      others wait for one that was killed in the middle of a request. All processes of a fleet have the same.

    It holds no connection of its own, and serves any number of clients. A bad argument is a ``TypeError`` or
    ``ValueError``.
    """

    name: str
    """What parts it from other fleets on the same Redis."""
    lease: float
    """How many seconds a process that says nothing counts as alive."""

    def __init__(self, redis: "str | RedisClient", *, name: str = "default", lease: float = 2.0) -> None:
        url = Secret(redis) if isinstance(redis, str) else None
        client = None if isinstance(redis, str) else redis
        # From here on, no traceback shows a URL that may hold a password.
        del redis
        if not isinstance(name, str):
            raise TypeError(f"name is a str, not {type(name).__name__}")
        if not (0 < len(name) <= 100 and name.isprintable()):
            raise ValueError("name must be 1 to 100 printable characters")
        self.name = name
        self.lease = number("lease", lease, what="a number of seconds", least=0.5, most=60.0)
        self._url = url
        self._client = client
        # It refuses what is no URL and no client, and opens nothing yet.
        self._where = self._link().where

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return the fleet of the URL in ``STATUSLOOKUP_FLEET``; ``options`` are those of the class.

        ``environ`` replaces the process's environment. A variable that is missing or empty is a
        ``ValueError``.
        """
        url = Secret((os.environ if environ is None else environ).get(_VARIABLE, ""))
        del environ
        if not url.reveal():
            raise ValueError(
                f"set {_VARIABLE} to the URL of a Redis, such as redis://user:password@host:6379/0"
            )
        return cls(url.reveal(), **options)

    @shown_unfinished
    def __repr__(self) -> str:
        return f"<RedisFleet {self.name!r} at {self._where}>"

    def _check(self, provider: Provider[Any, Any]) -> None:
        missing = [name for name in _METHODS if not callable(getattr(provider, name, None))]
        if missing:
            raise TypeError(
                f"in a fleet, keys and answers travel, so provider needs {', '.join(missing)}: see"
                " statuslookup.providers.SharedProvider"
            )
        self._identity(provider)

    def _link(self, **options: Any) -> Link:
        return Link(cast("RedisClient", self._client) if self._url is None else self._url, **options)

    def _identity(self, provider: Provider[Any, Any]) -> Identity:
        return Identity.of(
            self.name,
            provider.budget,
            provider=provider.name,
            base_url=provider.base_url,
            secret=provider.secret,
        )

    def _source(
        self, provider: Provider[KeyT, AnswerT], *, clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> Source[KeyT, AnswerT]:
        return FleetSource(
            cast("SharedProvider[KeyT, AnswerT]", provider),
            self._link(clock=clock),
            self._identity(provider),
            lease=self.lease,
            clock=clock,
            loop=loop,
        )
