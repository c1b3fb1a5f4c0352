"""What a limiter is, whoever wrote it."""

from types import TracebackType
from typing import Protocol, Self, TypeAlias

from .._wire import Response
from ..errors import ProviderError

Reply: TypeAlias = Response | ProviderError
"""What came of a request: its response, or the error where none came."""


class Slot(Protocol):
    """The right to send one request, from entering to leaving it with ``async with``."""

    def done(self, reply: Reply) -> None:
        """Say what came of the request: a response, also a 429, or the error where none came.

        After an error, the request may have been counted until this moment. A slot that is left without
        being told sent nothing, and costs nothing.
        """

    async def __aenter__(self) -> Self:
        """Wait for the turn; a wait that is cancelled passes it on."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the slot back."""
        ...


class Limiter(Protocol):
    """Grants slots in the order in which they are asked for.

    ``TokenBucket`` is a limiter, and so is any object with this method.
    """

    def slot(self) -> Slot:
        """Return the right to send one request; entering it waits for its turn."""
        ...


def check_slots(limiter: Limiter) -> None:
    """Raise a ``TypeError`` that says what to write, unless the limiter's slots can be told a reply."""
    slot = limiter.slot()
    if callable(getattr(slot, "done", None)):
        return
    name = f"{type(limiter).__name__}.slot()"
    if callable(getattr(slot, "rejected", None)):
        raise TypeError(
            f"{name} gives slots that only know rejected(), which is not called any more: give them"
            " done(reply) instead; a 429 is reply.status_code == 429, its pause reply.retry_after, and a"
            " ProviderError means that no response came"
        )
    raise TypeError(f"{name} gives a slot, an object with done(reply), not {type(slot).__name__}")
