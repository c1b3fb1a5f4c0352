"""Where batches come from: a grant and its keys, in one step."""

from collections.abc import Mapping
from types import TracebackType
from typing import Generic, Protocol, Self

from .._limits.limiter import Limiter, Reply, Slot
from .._model import AnswerT, KeyT
from ..errors import StatusLookupError
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


class Source(Protocol[KeyT, AnswerT]):
    """Where the dispatcher has its batches from: this process's lanes and limiter, or what several share."""

    wants_turn: bool
    """Whether to ask for a grant although nothing is queued here."""

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


class LocalSource(Generic[KeyT, AnswerT]):
    """The lanes and the limiter of this process."""

    wants_turn = False

    def __init__(self, lanes: Lanes[KeyT, AnswerT], limiter: Limiter) -> None:
        self._lanes = lanes
        self._limiter = limiter

    def grant(self, most: int) -> "LocalGrant[KeyT, AnswerT]":
        return LocalGrant(self._limiter.slot(), self._lanes, most)

    def slot(self, batch: Batch[KeyT, AnswerT]) -> "LocalSlot":
        return LocalSlot(self._limiter.slot())

    def tell(
        self, batch: Batch[KeyT, AnswerT], outcomes: Mapping[KeyT, AnswerT | StatusLookupError | None]
    ) -> None: ...

    def over(self, batch: Batch[KeyT, AnswerT]) -> None: ...


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
