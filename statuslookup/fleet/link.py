"""The way to Redis: one call at a time that nobody can cancel, and trying again where that may help."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, Final, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from .._arguments import shown_unfinished
from .._clock import SYSTEM_CLOCK, Clock
from .._wire import Secret
from ..errors import FleetError
from .redis_problems import is_redis_error, problem_of
from .scripts import Script

RedisClient: TypeAlias = Redis | RedisCluster
"""What can be lent: redis-py's asyncio client, of one server, of Sentinel or of a cluster."""

_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


class Link:
    """Calls of scripts in Redis, over connections of its own or over a client that was lent.

    Each call runs in a task of its own, so that nobody's cancellation leaves a reply unread on a connection
    that another call goes on with. A client that was lent is not closed, and keeps its own retries.

    - ``redis``: a URL, or a client of redis-py's ``redis.asyncio`` that gives bytes.
    - ``timeout``: how many seconds one call may take.
    - ``clock`` and ``random``: for tests.
    """

    def __init__(
        self,
        redis: "str | Secret | RedisClient",
        *,
        timeout: float = 2.0,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = random.random,
    ) -> None:
        # From here on, no traceback shows a URL that may hold a password.
        redis = Secret(redis) if isinstance(redis, str) else redis
        self._owns_redis = isinstance(redis, Secret)
        self.redis: Any = _opened(redis, timeout) if isinstance(redis, Secret) else checked(redis)
        self.where = address_of(self.redis)
        self.timeout = timeout
        self.clock = clock
        self.problem: FleetError | None = None
        """Why the last call failed; ``None`` after one that did not."""
        self._random = random
        self._pause = 0.0
        self._pauses_until = 0.0
        self._calls: set[asyncio.Task[Any]] = set()

    @shown_unfinished
    def __repr__(self) -> str:
        return f"<Link to {self.where}{'' if self.problem is None else ', down'}>"

    @property
    def is_down(self) -> bool:
        return self.problem is not None

    def start(self, call: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run it to its end, whoever is cancelled meanwhile; ``aclose()`` waits for it."""
        task = asyncio.get_running_loop().create_task(call, context=Context())
        self._calls.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: "asyncio.Task[Any]") -> None:
        self._calls.discard(task)
        if not task.cancelled():
            # Whoever asked may have gone; that is no news for asyncio to report.
            task.exception()

    async def run(self, script: Script, keys: Sequence[str], *arguments: str | bytes) -> Any:
        """Run a script; what Redis refuses, or that it is away, raises ``FleetError``.

        The caller sees to it that this is not cancelled: ``start`` does.
        """
        problem: FleetError
        try:
            async with asyncio.timeout(self.timeout):
                reply = await self._evaluate(script, keys, arguments)
        except Exception as error:
            if not is_redis_error(error):
                raise
            problem = problem_of(error, self.where)
        else:
            self.note_success()
            return reply
        # Out here it has no context: redis-py's frames hold the password.
        self.note_failure(problem)
        raise problem

    async def _evaluate(self, script: Script, keys: Sequence[str], arguments: tuple[str | bytes, ...]) -> Any:
        try:
            return await self.redis.evalsha(script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            # It was restarted, or another one took its place. This loads the script, too.
            return await self.redis.eval(script.text, len(keys), *keys, *arguments)

    # --- trying again ---------------------------------------------------------------------------------

    def note_failure(self, problem: FleetError) -> None:
        """Let the next try wait, longer after each that failed."""
        self.problem = problem
        now = self.clock.time()
        if now >= self._pauses_until:
            # Whatever failed in the same pause failed for the same reason.
            self._pause = min(max(2 * self._pause, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            self._pauses_until = now + self._pause * (0.5 + self._random() / 2)

    def note_success(self) -> None:
        """Let the next try come at once."""
        self.problem = None
        self._pause = self._pauses_until = 0.0

    async def pause(self) -> None:
        """Wait until it is time for the next try; returns at once if nothing has failed."""
        while (seconds := self._pauses_until - self.clock.time()) > 0:
            over = asyncio.get_running_loop().create_future()
            timer = self.clock.call_later(seconds, _end, over)
            try:
                await over
            finally:
                timer.cancel()

    async def aclose(self) -> None:
        """Let what was called end, and close the connections, unless the client was lent."""
        while self._calls:
            await asyncio.wait(self._calls)
        if self._owns_redis:
            await self.redis.aclose()


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _opened(url: Secret, timeout: float) -> RedisClient:
    try:
        # One protocol for all releases of redis-py, and no retries: they are the link's, which knows what a
        # repeated call means.
        redis = Redis.from_url(
            url.reveal(),
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
        )
        # What the URL asks for is looked at by a connection alone, otherwise at the first call.
        pool = redis.connection_pool
        pool.connection_class(**pool.connection_kwargs)
    except Exception:  # noqa: BLE001, S110 # whatever it is, its frames hold the password
        # The error's own words quote the part that is wrong: a password, where one holds a slash.
        pass
    else:
        return checked(redis)
    raise ValueError(
        "the URL of Redis is redis://, rediss:// or unix://, such as redis://user:password@host:6379/0; in a"
        " password, write / as %2F, # as %23 and ? as %3F"
    )


def checked(redis: object) -> RedisClient:
    """Return the client; one that is none, or does not give bytes, raises ``TypeError`` or ``ValueError``."""
    if not isinstance(redis, Redis | RedisCluster):
        raise TypeError(
            "lend a client of redis.asyncio, or pass a URL, not"
            f" {type(redis).__module__}.{type(redis).__name__}"
        )
    if not hasattr(redis, "pubsub"):
        raise TypeError("a RedisCluster of this release of redis-py cannot subscribe: install a newer one")
    encoder: Any = redis.get_encoder()
    if encoder.decode_responses:
        raise ValueError("what a fleet sends is no text: lend it a client without decode_responses=True")
    return redis


def address_of(redis: Any) -> str:
    """Return host, port and database of a client, without user and password."""
    if isinstance(redis, RedisCluster):
        return "a cluster"
    pool = redis.connection_pool
    known = pool.connection_kwargs
    if path := known.get("path"):
        return f"{path}/{known.get('db', 0)}"
    if name := getattr(pool, "service_name", None):
        return f"{name} of Sentinel"
    host = str(known.get("host", "localhost"))
    return f"{f'[{host}]' if ':' in host else host}:{known.get('port', 6379)}/{known.get('db', 0)}"
