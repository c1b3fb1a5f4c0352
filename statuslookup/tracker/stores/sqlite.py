"""A store in one SQLite file, by the standard library's sqlite3 in a worker thread."""

import os
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from anyio import CapacityLimiter, to_thread

from ..._arguments import shown_unfinished
from ...errors import StoreError, StoreLockedError
from .base import Row

if TYPE_CHECKING:
    import sqlite3

_T = TypeVar("_T")

_SECONDS_FOR_A_LOCK: Final = 3.0
_OURS: Final = 0x57415354
"""What SQLite calls an application_id: it tells our files from those of other programs."""
_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE messages (
    key TEXT PRIMARY KEY,
    born REAL NOT NULL,
    until TEXT NOT NULL,
    told TEXT,
    status TEXT
) WITHOUT ROWID;
"""


class SQLiteStore:
    """Keeps a tracker's messages in the file ``path``, which one tracker uses at a time.

    A second one, in whatever process, is a ``StoreLockedError`` after 3 seconds; a lock file beside it,
    ``<path>-lock``, sees to that. A file that is damaged, or no store, is a ``StoreError``, and one of
    another account a ``ValueError``; nothing in it is changed. It must lie on a local disk. A new file is
    for its owner's eyes only, because it holds phone numbers.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"path is a str or a Path, not {type(path).__name__}")
        self._path = os.fspath(path)
        if not self._path or self._path.startswith((":memory:", "file:")) or "\0" in self._path:
            raise ValueError(f"path is the name of a file, not {self._path!r}")
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        # What the name led to when it was opened: a device and a number there.
        self._file: tuple[int, int] | None = None
        self._limiter: CapacityLimiter | None = None
        _stores.add(self)

    @shown_unfinished
    def __repr__(self) -> str:
        return f"<SQLiteStore {self._path!r} {'closed' if self._connection is None else 'open'}>"

    async def load(self, account: str) -> Sequence[Row]:
        """Open the file, and return its rows."""
        return await self._run(lambda: self._load(account))

    async def save(self, rows: Sequence[Row]) -> None:
        """Write rows in one transaction; on return, they are on the disk."""
        await self._run(lambda: self._save(rows))

    async def aclose(self) -> None:
        """Close the file."""
        await self._run(self._close)
        # The next loop makes one of its own.
        self._limiter = None

    async def _run(self, work: Callable[[], _T]) -> _T:
        # One of its own: behind the calls of an application that block, 40 at a time, a webhook would wait.
        if self._limiter is None:
            self._limiter = CapacityLimiter(1)
        return await to_thread.run_sync(work, limiter=self._limiter)

    def _load(self, account: str) -> list[Row]:
        self._close()
        give_up_at = time.monotonic() + _SECONDS_FOR_A_LOCK
        # Beside the file itself, so that a link to it has the same lock.
        lock_path = f"{os.path.realpath(self._path)}-lock"
        try:
            self._lock = _locked(lock_path, give_up_at)
            self._connection = self._opened(account, max(0.0, give_up_at - time.monotonic()))
            self._file = _file_at(self._path)
            found = self._connection.execute("SELECT key, born, until, told, status FROM messages")
            return [
                Row(key=key, born=born, until=until, told=told, status=status)
                for key, born, until, told, status in found
            ]
        except BaseException as error:
            if self._lock is not None:
                # Nothing stays beside a file that is none of ours. Whoever waits for the lock looks again.
                with suppress(OSError):
                    os.unlink(lock_path)
            self._close()
            problem = self._problem(error)
            if problem is None:
                raise
        raise problem

    def _opened(self, account: str, timeout: float) -> "sqlite3.Connection":
        import sqlite3

        # Before SQLite makes it, because it would let others read it.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=timeout, isolation_level=None, check_same_thread=False
        )
        try:
            # In this order: a connection that has the file alone needs no memory shared with others.
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            is_new = self._is_new(connection)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            # What is deleted, such as a phone number, is overwritten: not all builds do so by themselves.
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("BEGIN IMMEDIATE")
            if is_new:
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute("INSERT INTO meta VALUES ('account', ?)", (account,))
                connection.execute(f"PRAGMA application_id={_OURS}")
                connection.execute(f"PRAGMA user_version={_VERSION}")
            owner = connection.execute("SELECT value FROM meta WHERE name = 'account'").fetchone()
            connection.execute("COMMIT")
            if owner is None:
                raise StoreError(
                    f"{self._path} does not say whose messages it holds: nothing in it was changed"
                )
            (owner,) = owner
            if owner != account:
                raise ValueError(f"{self._path} holds messages of {owner}, not of {account}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _is_new(self, connection: "sqlite3.Connection") -> bool:
        """Tell whether the file is empty; one of another program, or a later version, is refused."""
        ((made_by,),) = connection.execute("PRAGMA application_id")
        ((version,),) = connection.execute("PRAGMA user_version")
        ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master")
        if made_by == version == tables == 0:
            return True
        if made_by != _OURS:
            raise StoreError(f"{self._path} belongs to another program: give the store a file of its own")
        if version != _VERSION:
            raise StoreError(f"{self._path} was written by another version of statuslookup (form {version})")
        return False

    def _save(self, rows: Sequence[Row]) -> None:
        connection = self._connection
        if connection is None:
            raise StoreError(f"{self._path} is not open")
        if _file_at(self._path) != self._file:
            # SQLite would go on writing to what nobody will find.
            raise StoreError(
                f"{self._path} was moved or deleted while it was open: what comes from now on is not kept."
                " Put it back, or start the tracker anew"
            )
        kept = [(row.key, row.born, row.until, row.told, row.status) for row in rows if not row.is_forgotten]
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany("INSERT OR REPLACE INTO messages VALUES (?, ?, ?, ?, ?)", kept)
                forgotten = [(row.key,) for row in rows if row.is_forgotten]
                connection.executemany("DELETE FROM messages WHERE key = ?", forgotten)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return
        except BaseException as error:
            problem = self._problem(error)
            if problem is None:
                raise
        raise problem

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        self._file = None
        if connection is not None:
            connection.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _leave_to_parent(self) -> None:
        """In a process that was forked: the file stays with the one that opened it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            # It would be held for as long as this process lives, too.
            os.close(lock)
        connection, self._connection = self._connection, None
        if connection is not None:
            _keep_for_good(connection)

    def _problem(self, error: BaseException) -> StoreError | None:
        """Return what SQLite or the system says, in this library's words; ``None`` for any other error."""
        import sqlite3

        if isinstance(error, OSError):
            return StoreError(f"{self._path} cannot be opened: {error.strerror}")
        if not isinstance(error, sqlite3.Error):
            return None
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreLockedError(f"another process uses {self._path}: a store has one tracker at a time")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreError(
                f"{self._path} is damaged, or no SQLite file ({error}); nothing in it was changed. Move it"
                " away to begin anew, and track what is open with since=, or mend it with sqlite3's .recover"
            )
        return StoreError(f"{self._path} cannot be read or written: {error}")


_stores: Final["weakref.WeakSet[SQLiteStore]"] = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for store in _stores:
        store._leave_to_parent()


def _keep_for_good(connection: "sqlite3.Connection") -> None:
    """Let a connection not be closed when this process ends: it would delete what another one is writing."""
    import ctypes

    # Whatever Python itself holds, it lets go of in the end.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_leave_all_to_parent)


def _locked(path: str, give_up_at: float) -> int | None:
    """Return a file that this process holds locked.

    SQLite's own locks, which are POSIX's, are gone when anything in the process closes the file it locks.
    """
    if sys.platform == "win32":
        # There, they hold.
        return None
    import fcntl

    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stat = os.fstat(lock)
            if _file_at(path) == (stat.st_dev, stat.st_ino):
                return lock
            # Somebody deleted it meanwhile, and others would lock another file.
            os.close(lock)
        except BlockingIOError:
            os.close(lock)
            if time.monotonic() >= give_up_at:
                raise StoreLockedError(
                    f"another process tracks with this file ({path} is locked): one tracker at a time"
                ) from None
            time.sleep(0.05)
        except BaseException:
            os.close(lock)
            raise


def _file_at(path: str) -> tuple[int, int] | None:
    """Return what tells the file of that name from others; ``None`` if there is none."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino
