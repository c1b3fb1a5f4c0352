"""What a limiter is: somebody who grants the right to send a request."""

from types import TracebackType
from typing import Protocol, Self, TypeAlias

from .._wire import Response
from ..errors import ProviderError

Reply: TypeAlias = Response | ProviderError
"""What came of a request: its response, or the error where none came."""


class Slot(Protocol):
    """The right to send one request, from entering to leaving it with ``async with``."""

    def done(self, reply: Reply) -> None:
        """Say what came of the request; leaving the slot untold means that nothing was sent."""

    async def __aenter__(self) -> Self:
        """Wait for the turn; a wait that is cancelled passes it on."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Say that the answer has come or, by an exception, that none came."""


class Limiter(Protocol):
    """Grants slots in the order in which they are asked for.

    Entering ``slot()`` waits for the turn. Leaving it says that the answer has come; leaving it by an
    exception says that none came. A wait that is cancelled passes its turn on and costs nothing.
    ``TokenBucket`` is a limiter, and so is any object with this method.
    """

    def slot(self) -> Slot:
        """Return the right to send one request; entering it waits for its turn."""
        ...
