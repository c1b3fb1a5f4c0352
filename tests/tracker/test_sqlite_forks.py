"""The SQLite file where a process forks while it has it open: it stays with the process that opened it."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from statuslookup import Row, SQLiteStore, StoreError
from statuslookup.tracker.stores import sqlite

ACCOUNT = "SMSFire api-v2.smsfire.com.br:443"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sqlite, "_SECONDS_FOR_A_LOCK", 0.2)
    return tmp_path / "messages.db"


def forked(work: Callable[[], None]) -> int:
    """Return the number of a child that does some work, and ends once its parent closes the pipe to it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def code_of(child: int) -> int:
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_a_child_that_lives_on_does_not_hold_the_lock(path: Path) -> None:
    """As a pool of processes does, whose parent was killed and is started anew."""
    store = SQLiteStore(path)
    store._load(ACCOUNT)
    here, there = os.pipe()

    def live_on() -> None:
        os.close(there)
        os.read(here, 1)

    child = forked(live_on)
    try:
        store._close()
        again = SQLiteStore(path)
        assert again._load(ACCOUNT) == []
        again._close()
    finally:
        os.close(there)
        os.close(here)
        assert code_of(child) == 0


def test_a_child_that_closes_what_it_inherited_takes_nothing_from_its_parent(path: Path) -> None:
    store = SQLiteStore(path)
    store._load(ACCOUNT)
    store._save([Row(key="i:1", born=1.0)])

    def close() -> None:
        with pytest.raises(StoreError, match="is not open"):
            store._save([Row(key="i:3", born=1.0)])
        store._close()

    assert code_of(forked(close)) == 0
    assert path.with_name("messages.db-wal").exists()
    # Others are still held off.
    with pytest.raises(StoreError, match="another process tracks with this file"):
        SQLiteStore(path)._load(ACCOUNT)
    store._save([Row(key="i:2", born=1.0)])
    store._close()
    again = SQLiteStore(path)
    assert [row.key for row in again._load(ACCOUNT)] == ["i:1", "i:2"]
    again._close()


FORK = f"""
import os, sys
from statuslookup import Row, SQLiteStore
store = SQLiteStore(sys.argv[1])
store._load({ACCOUNT!r})
store._save([Row(key="i:1", born=1.0)])
child = os.fork()
if child == 0:
    sys.exit()
os.waitpid(child, 0)
store._save([Row(key="i:2", born=1.0)])
os._exit(0)
"""


def test_what_is_saved_after_a_child_has_ended_survives_a_crash(path: Path) -> None:
    """SQLite deletes the log when a connection is closed, and a child that ends closes all it has."""
    subprocess.run([sys.executable, "-c", FORK, str(path)], check=True)
    there = sqlite3.connect(path)
    assert there.execute("SELECT key FROM messages").fetchall() == [("i:1",), ("i:2",)]
    there.close()
