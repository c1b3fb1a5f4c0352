"""What a store is."""

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen


@frozen(kw_only=True)
class Row:
    """What a store keeps of one message: ``key``, ``born``, ``until``, ``told`` and ``status``.

    One that ``is_forgotten`` is to be deleted; of it, only the key counts.
    """

    key: str
    """The key as text: "i:42", "c:order-17" or "s:BAE5..."."""
    born: float = 0.0
    """When it was sent, or tracked, in seconds since 1970."""
    until: str = "DELIVERED"
    """The state that was asked for."""
    told: str | None = None
    """The state that was handed over; ``None`` if none was."""
    status: str | None = None
    """The status as JSON, without the instance's token; ``None`` if none is known."""
    is_forgotten: bool = False
    """Whether the message is not tracked any more."""


class Store(Protocol):
    """Keeps what a tracker must not forget when its process ends.

    Its methods are called one at a time. What goes wrong is a ``StoreError``.
    """

    async def load(self, account: str) -> Sequence[Row]:
        """Open the store, and return its rows.

        ``account`` names the provider, its host and the instance. A store that holds the rows of another
        one is a ``ValueError``. After a failure it may be called again.
        """
        ...

    async def save(self, rows: Sequence[Row]) -> None:
        """Replace rows, and delete those that are forgotten: all of them or none, and durably on return."""
        ...

    async def aclose(self) -> None:
        """Let go of the store, which may be loaded again; a second time, this does nothing."""
        ...
