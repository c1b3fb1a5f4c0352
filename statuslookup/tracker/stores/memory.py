"""A store for tests, which lives as long as the process."""

from collections.abc import Sequence

from .base import Row


class MemoryStore:
    """Keeps rows in memory: for tests of what a restart does, one tracker after another with one store.

    ``rows`` are what it holds, by their keys.
    """

    rows: dict[str, Row]
    """What it holds, by the keys' texts."""

    def __init__(self) -> None:
        self.rows = {}
        self._account: str | None = None

    async def load(self, account: str) -> Sequence[Row]:
        """Return the rows; another account's are a ``ValueError``."""
        if self._account not in (None, account):
            raise ValueError(f"the store holds messages of {self._account}, not of {account}")
        self._account = account
        return list(self.rows.values())

    async def save(self, rows: Sequence[Row]) -> None:
        """Replace rows, and delete those that are forgotten."""
        for row in rows:
            if row.is_forgotten:
                self.rows.pop(row.key, None)
            else:
                self.rows[row.key] = row

    async def aclose(self) -> None:
        """Do nothing: the rows stay for the next tracker."""
