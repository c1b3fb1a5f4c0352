"""Who waits for which message, and what each wants of it."""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeAlias

from .._model import AnswerT, DeliveryState, KeyT
from ..errors import StatusLookupError
from .ledger import Entry, Ledger

Until: TypeAlias = DeliveryState | Callable[[AnswerT], bool]
Wait: TypeAlias = asyncio.Future[tuple[AnswerT | None, bool]]
"""The status that a wait is served with, and whether it is the end of the message."""


class Waits(Generic[KeyT, AnswerT]):
    """Settles each wait when its message is over, or as far as the wait wants it."""

    def __init__(self, ledger: Ledger[KeyT, AnswerT]) -> None:
        self._ledger = ledger
        self._waits: dict[KeyT, dict[Wait[AnswerT], Until[AnswerT]]] = {}

    def __contains__(self, key: object) -> bool:
        """Tell whether somebody waits for the key and is not settled yet."""
        return key in self._waits

    def join(self, key: KeyT, until: Until[AnswerT]) -> Wait[AnswerT]:
        """Wait for a tracked message; ``leave`` follows."""
        wait: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waits.setdefault(key, {})[wait] = until
        return wait

    def leave(self, key: KeyT, wait: Wait[AnswerT]) -> None:
        """Forget a wait; one that is settled has left already."""
        waits = self._waits.get(key)
        if waits is not None and waits.pop(wait, None) is not None and not waits:
            del self._waits[key]

    def tell(self, key: KeyT, entry: Entry[KeyT, AnswerT]) -> None:
        """Settle the waits that have what they want; an error of a callable is that wait's alone."""
        for wait, until in list(self._waits.get(key, {}).items()):
            if wait.done():
                continue
            try:
                is_served = entry.is_over or self._reaches(entry, until)
            except StopIteration:
                # A future takes none, as Python lets none leave a coroutine.
                _end(wait, RuntimeError("the function given as until raised StopIteration"))
                continue
            except Exception as error:  # noqa: BLE001 # it is its caller's own, and goes there
                _end(wait, error)
                continue
            if is_served:
                self.leave(key, wait)
                wait.set_result((entry.status, entry.is_over))

    def _reaches(self, entry: Entry[KeyT, AnswerT], until: Until[AnswerT]) -> bool:
        if isinstance(until, DeliveryState):
            return self._ledger.reaches(entry, until)
        return entry.status is not None and entry.is_whole and bool(until(entry.status))

    def fail(self, error: StatusLookupError) -> None:
        """End every wait with an error of its own."""
        for waits in list(self._waits.values()):
            for wait in list(waits):
                if not wait.done():
                    _end(wait, error.fresh())


def _end(wait: Wait[Any], error: Exception) -> None:
    wait.set_exception(error)
    # Its caller may be gone before it can take the error.
    wait.exception()
