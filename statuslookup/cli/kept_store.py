"""The store of a watch: it keeps what is over, so that a watch that goes on does not begin anew."""

from collections.abc import Sequence
from typing import Final

from .._model import FAILED_RANK, RANKS, DeliveryState
from ..errors import StoreError
from ..tracker import Row, Store
from ..tracker.rows import key_of_text

# No message was born before 1970.
_OVER: Final = -1.0


class KeptStore:
    """A tracker's store in which messages that are over stay, marked, with the state that they ended in.

    The tracker is not shown those again. ``told`` are the states that were told before, by the keys' texts;
    ``over`` the ends, as far as they are ends ``until`` that state. ``None`` is an unknown message.
    """

    def __init__(self, store: Store, until: DeliveryState) -> None:
        self._store = store
        self._until = until
        self.told: dict[str, DeliveryState] = {}
        self.over: dict[str, DeliveryState | None] = {}

    def end(self, key: str, state: DeliveryState | None) -> None:
        """Take note of an end, before it counts as told."""
        self.over[key] = state

    async def load(self, account: str) -> Sequence[Row]:
        rows = await self._store.load(account)
        for row in rows:
            if row.born == _OVER:
                _check_key(row)
        self.over = {row.key: _state(row.told) for row in rows if row.born == _OVER and self._is_end(row)}
        open_rows = [row for row in rows if row.born != _OVER]
        self.told = {row.key: state for row in open_rows if (state := _state(row.told)) is not None}
        return open_rows

    async def save(self, rows: Sequence[Row]) -> None:
        await self._store.save([self._marked(row) for row in rows])

    async def aclose(self) -> None:
        await self._store.aclose()

    def _is_end(self, row: Row) -> bool:
        """Tell whether a message that was over is so still: an earlier watch may have wanted less."""
        state, wanted = _state(row.told), _state(row.until)
        if state is None or RANKS[state] == FAILED_RANK:
            return True
        return wanted is not None and RANKS[wanted] >= RANKS[self._until]

    def _marked(self, row: Row) -> Row:
        if not row.is_forgotten or row.key not in self.over:
            return row
        # No more than the state: this is no place for phone numbers of messages that are done.
        state = self.over[row.key]
        told = None if state is None else state.value
        return Row(key=row.key, born=_OVER, until=self._until.value, told=told)


def _check_key(row: Row) -> None:
    """Refuse a damaged row as the tracker does, which is not shown those of messages that are over."""
    try:
        key_of_text(row.key)
    except (AttributeError, TypeError, ValueError) as error:
        raise StoreError(f"the store holds a row that cannot be read: {error}") from None


def _state(name: str | None) -> DeliveryState | None:
    return DeliveryState(name) if name is not None and name in DeliveryState.__members__ else None
