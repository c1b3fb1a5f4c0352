"""Where batches come from: a grant and its keys, in one step."""

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, Protocol, Self

from .._clock import Clock
from .._limits.limiter import Limiter, Reply, Slot
from .._model import AnswerT, KeyT
from ..errors import StatusLookupError
from ..providers.base import Provider
from .lanes import Batch, Lanes


class BatchSlot(Slot, Protocol):
    """The slot of one request for a batch."""

    @property
    def is_late(self) -> bool:
        """Whether the right may have passed to another: then nothing may be sent."""
        ...


class Grant(BatchSlot, Protocol[KeyT, AnswerT]):
    """A slot that brings its keys: they are sealed in the moment in which it is granted."""

    batch: Batch[KeyT, AnswerT]
    """The keys to ask for, once it was entered."""


class Asker(Protocol[KeyT, AnswerT]):
    """What a source may ask and tell the engine whose keys it takes."""

    @property
    def is_paused(self) -> bool:
        """Whether nothing may be asked for because a failure came shortly before."""
        ...

    def queued(self, keys: Iterable[KeyT]) -> list[KeyT]:
        """Return those of the keys that are queued here."""
        ...

    def seal(self, keys: Iterable[KeyT], batch: Batch[KeyT, AnswerT]) -> None:
        """Move those of the keys that are queued here to the batch."""

    def hear(self, outcomes: Mapping[KeyT, AnswerT | StatusLookupError | None]) -> int:
        """Settle those of the keys that are queued here, as if a reply had been one's own; count them."""
        ...

    def wake(self) -> None:
        """Ask for a grant, because the source wants a turn now."""

    def rest(self) -> None:
        """Give up the grant that is asked for, unless keys are queued or the source wants a turn."""


class Source(Protocol[KeyT, AnswerT]):
    """Where the dispatcher has its batches from: this process's lanes and limiter, or what several share."""

    lanes: Lanes[KeyT, AnswerT]
    """Where the keys queue; a source that has to know of every one of them gives lanes of its own."""
    wants_turn: bool
    """Whether to ask for a grant although nothing is queued here."""
    told: int
    """How many keys had an outcome that came from elsewhere."""

    @property
    def problem(self) -> StatusLookupError | None:
        """Why no grant can come at this moment, if it is more than that others go first."""
        ...

    def begin(self, asker: Asker[KeyT, AnswerT]) -> None:
        """Take note of whom the batches are for; it is called once, and first."""

    def grant(self, most: int) -> Grant[KeyT, AnswerT]:
        """Return the slot of a new exchange; entering it waits, and seals up to ``most`` keys."""
        ...

    def slot(self, batch: Batch[KeyT, AnswerT]) -> BatchSlot:
        """Return the slot of a further request of the same exchange, first come, first served with grants."""
        ...

    def tell(
        self, batch: Batch[KeyT, AnswerT], outcomes: Mapping[KeyT, AnswerT | StatusLookupError | None]
    ) -> None:
        """Take what a reply said of the batch, before anything of it is judged or settled here."""

    def over(self, batch: Batch[KeyT, AnswerT]) -> None:
        """Take note that the exchange ended, in whatever way."""

    async def finish(self) -> None:
        """Grant nothing more, and wait for what is under way for others."""

    async def leave(self) -> None:
        """Let go of all that is shared; no task is left."""


class Fleet(Protocol):
    """One rate limit and one queue for the clients of several processes.

    ``statuslookup.fleet.RedisFleet`` is one; how a client uses it is no part of what is public.
    """

    def _check(self, provider: Provider[Any, Any]) -> None:
        """Raise a ``TypeError`` that says what is missing, unless the provider's keys can be shared."""

    def _source(
        self, provider: Provider[KeyT, AnswerT], *, clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> Source[KeyT, AnswerT]:
        """Return a source of batches for one client."""
        ...


class LocalSource(Generic[KeyT, AnswerT]):
    """The lanes and the limiter of this process."""

    wants_turn = False
    told = 0
    problem = None

    def __init__(self, limiter: Limiter) -> None:
        self.lanes: Lanes[KeyT, AnswerT] = Lanes()
        self._limiter = limiter

    def begin(self, asker: Asker[KeyT, AnswerT]) -> None: ...

    def grant(self, most: int) -> "LocalGrant[KeyT, AnswerT]":
        return LocalGrant(self._limiter.slot(), self.lanes, most)

    def slot(self, batch: Batch[KeyT, AnswerT]) -> "LocalSlot":
        return LocalSlot(self._limiter.slot())

    def tell(
        self, batch: Batch[KeyT, AnswerT], outcomes: Mapping[KeyT, AnswerT | StatusLookupError | None]
    ) -> None: ...

    def over(self, batch: Batch[KeyT, AnswerT]) -> None: ...

    async def finish(self) -> None: ...

    async def leave(self) -> None: ...


class LocalSlot:
    """A slot of the limiter: it is this process's own, so it is never late."""

    is_late = False

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def done(self, reply: Reply) -> None:
        self._slot.done(reply)

    async def __aenter__(self) -> Self:
        await self._slot.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._slot.__aexit__(kind, error, traceback)


class LocalGrant(LocalSlot, Generic[KeyT, AnswerT]):
    """A slot, and the keys that are queued in the moment in which it is granted."""

    batch: Batch[KeyT, AnswerT]

    def __init__(self, slot: Slot, lanes: Lanes[KeyT, AnswerT], most: int) -> None:
        super().__init__(slot)
        self._lanes = lanes
        self._most = most

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.batch = self._lanes.seal(self._most)
        return self
