"""A campaign's time goes on by itself: a task sleeps until something is due, and posts what that is worth."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from ._webhooks import Poster, is_delivered

_MOST_AT_ONCE = 100


class Playable(Protocol):
    """What has a time of its own, and something to post as that goes on."""

    def _advance(self, to: float) -> list[bytes]: ...

    def _next_at(self) -> float | None: ...

    def _count(self, *, requests: int = 0, delivered: int = 0) -> None: ...


class Player:
    """Lets a campaign's time go with that of the event loop; what it posts, it posts at once."""

    def __init__(
        self,
        campaign: Playable,
        began_at: float,
        post: Poster | None,
        hand: Callable[[bytes], object] | None,
        speed: float,
    ) -> None:
        self._campaign = campaign
        self._post = post
        self._hand = hand
        self._speed = speed
        self._loop = asyncio.get_running_loop()
        self._began_at = began_at
        self._loop_began_at = self._loop.time()
        self._reached = began_at
        self._failure: BaseException | None = None
        self._wakes = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._posts: set[asyncio.Task[None]] = set()
        self._task = self._loop.create_task(self._run())

    @property
    def now(self) -> float:
        passed = (self._loop.time() - self._loop_began_at) * self._speed
        return max(self._reached, self._began_at + passed)

    def wake(self) -> None:
        """Look again at what is due next."""
        self._is_idle.clear()
        self._wakes.set()

    async def finish(self) -> None:
        """Wait until nothing is due any more and nothing is under way, and raise what went wrong."""
        await self._is_idle.wait()
        self.raise_failure()

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Stop the time, and end the posts that are under way."""
        tasks = [self._task, *self._posts]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._failure is None:
                self._wakes.clear()
                for body in self._campaign._advance(self.now):
                    self._tell(body)
                await self._rest()
        except Exception as error:  # noqa: BLE001 - it is raised in the block that plays
            self._failure = error
        self._is_idle.set()

    async def _rest(self) -> None:
        due = self._campaign._next_at()
        if due is None and not self._posts:
            self._is_idle.set()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - self.now) / self._speed):
                await self._wakes.wait()
        except TimeoutError:
            # A product of floats may have missed the moment by a hair.
            if due is not None:
                self._reached = max(self._reached, due)

    def _tell(self, body: bytes) -> None:
        if self._hand is not None:
            self._campaign._count(requests=1)
            self._hand(body)
            self._campaign._count(delivered=1)
        elif self._post is not None:
            post = self._loop.create_task(self._deliver(self._post, body))
            self._posts.add(post)
            post.add_done_callback(self._is_posted)

    async def _deliver(self, post: Poster, body: bytes) -> None:
        async with self._places:
            self._campaign._count(requests=1)
            self._campaign._count(delivered=await is_delivered(post, body))

    def _is_posted(self, post: "asyncio.Task[None]") -> None:
        self._posts.discard(post)
        if not post.cancelled() and (error := post.exception()) is not None:
            self._failure = error
        self._wakes.set()
