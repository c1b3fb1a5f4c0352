"""The SQLite file: who may open it, and what becomes of a damaged one."""

import asyncio
import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from statuslookup import Row, SQLiteStore, StoreError, StoreLockedError
from statuslookup.tracker.stores import sqlite

ACCOUNT = "SMSFire api-v2.smsfire.com.br:443"
ROW = Row(key="i:1", born=1.0)

needs_flock = pytest.mark.skipif(sys.platform == "win32", reason="there, SQLite's own locks hold")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages.db"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_SECONDS_FOR_A_LOCK", 0.2)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def move(path: Path, to: Path) -> None:
    path.replace(to)


def lowest_free_descriptor() -> int:
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


async def opened(path: Path) -> SQLiteStore:
    store = SQLiteStore(path)
    await store.load(ACCOUNT)
    return store


async def test_a_new_file_is_its_owners_alone(path: Path) -> None:
    store = await opened(path)
    await store.save([ROW])
    for file in (path, path.with_name("messages.db-wal"), path.with_name("messages.db-lock")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    # Nothing is shared with another connection.
    assert not path.with_name("messages.db-shm").exists()
    assert repr(store) == f"<SQLiteStore '{path}' open>"
    await store.aclose()
    assert repr(store) == f"<SQLiteStore '{path}' closed>"


async def test_how_the_file_is_opened(path: Path) -> None:
    store = await opened(path)
    connection: Any = store._connection
    pragmas = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("locking_mode", "journal_mode", "synchronous", "user_version")
    }
    assert pragmas == {
        "locking_mode": "exclusive",
        "journal_mode": "wal",
        "synchronous": 2,
        "user_version": 1,
    }
    await store.aclose()


@pytest.mark.parametrize("bad", ["", ":memory:", "file:x?mode=ro", "a\0b"])
def test_what_is_no_name_of_a_file_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="the name of a file"):
        SQLiteStore(bad)


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(TypeError, match="a str or a Path, not int"):
        SQLiteStore(7)  # type: ignore[arg-type] # what a caller may pass


async def test_what_is_deleted_is_overwritten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phone number that is forgotten is not to be found in the file, however SQLite was built."""
    connect = sqlite3.connect

    def as_most_builds_do(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.execute("PRAGMA secure_delete=OFF")
        return connection

    monkeypatch.setattr(sqlite3, "connect", as_most_builds_do)
    store = await opened(path)
    rows = [Row(key=f"i:{key}", status='{"phone":"5511944556677"}') for key in range(300)]
    await store.save(rows)
    await store.save([Row(key=row.key, is_forgotten=True) for row in rows])
    await store.aclose()
    assert b"5511944556677" not in content_of(path)


# --- one at a time ----------------------------------------------------------------------------------


async def test_a_second_store_in_this_process_is_refused_after_three_seconds(path: Path) -> None:
    store = await opened(path)
    started_at = time.monotonic()
    with pytest.raises(StoreLockedError, match="another process tracks with this file"):
        await opened(path)
    # How much more it takes is the machine's affair.
    assert 2.9 <= time.monotonic() - started_at <= 20
    # The event loop was not held up, and the first one goes on.
    await store.save([ROW])
    await store.aclose()
    second = await opened(path)
    await second.aclose()


OPEN = f"""
import asyncio, sys, time
from statuslookup import SQLiteStore, StoreLockedError
async def main():
    started_at = time.monotonic()
    try:
        await SQLiteStore(sys.argv[1]).load({ACCOUNT!r})
    except StoreLockedError:
        print("refused", time.monotonic() - started_at)
    else:
        print("opened")
asyncio.run(main())
"""


def open_elsewhere(path: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", OPEN, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.split()


@needs_flock
async def test_a_second_process_is_refused_even_after_the_file_was_read_here(path: Path) -> None:
    store = await opened(path)
    await store.save([ROW])
    # POSIX locks of a process are gone when anything in it closes the file.
    content_of(path)
    outcome, seconds = await asyncio.to_thread(open_elsewhere, path)
    assert outcome == "refused"
    assert 2.9 <= float(seconds) <= 20
    await store.aclose()
    assert await asyncio.to_thread(open_elsewhere, path) == ["opened"]


@needs_flock
async def test_a_link_to_the_file_has_the_same_lock(path: Path, impatient: None) -> None:
    store = await opened(path)
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(StoreLockedError):
        await opened(link)
    await store.aclose()


async def test_another_program_that_has_the_file_is_named(path: Path, impatient: None) -> None:
    await (await opened(path)).aclose()
    other = sqlite3.connect(path)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLockedError, match="another process uses"):
        await opened(path)
    other.close()
    await (await opened(path)).aclose()


def hold(path: str, has_it: Any) -> None:
    async def main() -> None:
        await SQLiteStore(path).load(ACCOUNT)
        has_it.set()
        await asyncio.sleep(60)

    asyncio.run(main())


@needs_flock
async def test_the_file_is_free_soon_after_its_owner_was_killed(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    has_it = context.Event()
    owner = context.Process(target=hold, args=(str(path), has_it))
    owner.start()
    assert await asyncio.to_thread(has_it.wait, 60)
    owner.kill()
    started_at = time.monotonic()
    store = await opened(path)
    assert time.monotonic() - started_at <= 2
    await store.aclose()
    owner.join()


# --- files that are none --------------------------------------------------------------------------


async def refused(path: Path, match: str) -> None:
    before = content_of(path)
    with pytest.raises(StoreError, match=match) as caught:
        await opened(path)
    assert str(path) in str(caught.value)
    assert caught.value.__context__ is None
    assert content_of(path) == before
    assert not path.with_name(f"{path.name}-lock").exists()


async def test_what_is_no_sqlite_file_is_left_alone(path: Path) -> None:
    write(path, b"id;status\n" * 1000)
    await refused(path, r"damaged, or no SQLite file .*Move it away")


async def test_a_damaged_file_is_named_and_left_alone(path: Path) -> None:
    store = await opened(path)
    await store.save([Row(key=f"i:{key}", status="x" * 500) for key in range(2000)])
    await store.aclose()
    with path.open("r+b") as file:
        for page in range(2, 60):
            file.seek(4096 * page)
            file.write(b"\xff" * 4096)
    await refused(path, "damaged")


async def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE users (name TEXT)")
    other.close()
    await refused(path, "belongs to another program")


async def test_a_file_of_another_version_is_left_alone(path: Path) -> None:
    await (await opened(path)).aclose()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version=7")
    other.close()
    await refused(path, "another version of statuslookup")


@needs_flock
async def test_a_refusal_says_why_also_where_the_lock_is_gone_already(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody cleans up, or the folder takes no changes any more."""
    lock = path.with_name("messages.db-lock")

    def is_new(_: SQLiteStore, __: sqlite3.Connection) -> bool:
        lock.unlink()
        raise StoreError("it belongs to another program")

    monkeypatch.setattr(SQLiteStore, "_is_new", is_new)
    before = lowest_free_descriptor()
    with pytest.raises(StoreError, match="belongs to another program"):
        await opened(path)
    assert lowest_free_descriptor() == before


async def test_a_folder_that_is_missing_or_a_file_without_rights(path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened: No such file"):
        await opened(path.parent / "missing" / "messages.db")
    with pytest.raises(StoreError, match="cannot be opened: Is a directory"):
        await opened(path.parent)


async def test_after_a_refusal_it_may_be_opened_again(path: Path) -> None:
    write(path, b"no database" * 1000)
    store = SQLiteStore(path)
    with pytest.raises(StoreError):
        await store.load(ACCOUNT)
    with pytest.raises(StoreError, match="is not open"):
        await store.save([ROW])
    os.remove(path)
    assert list(await store.load(ACCOUNT)) == []
    await store.aclose()


async def test_a_full_disk_fails_the_save_and_nothing_else(path: Path) -> None:
    store = await opened(path)
    await store.save([ROW])
    connection: Any = store._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")
    many = [Row(key=f"c:{key}", status="x" * 500) for key in range(1000)]
    for _ in range(3):
        with pytest.raises(StoreError, match=r"cannot be read or written: .*full"):
            await store.save(many)
    connection.execute("PRAGMA max_page_count=100000")
    await store.save(many)
    await store.aclose()
    again = SQLiteStore(path)
    assert len(await again.load(ACCOUNT)) == 1001
    await again.aclose()


async def test_a_save_that_fails_half_way_keeps_nothing_and_the_next_one_goes_well(path: Path) -> None:
    store = await opened(path)
    no_text: Any = object()
    with pytest.raises(StoreError, match="cannot be read or written"):
        await store.save([Row(key="c:1"), Row(key="c:2", status=no_text)])
    await store.save([ROW])
    await store.aclose()
    again = SQLiteStore(path)
    assert [row.key for row in await again.load(ACCOUNT)] == [ROW.key]
    await again.aclose()


@needs_flock
async def test_a_refusal_leaves_no_file_open(path: Path, impatient: None) -> None:
    store = await opened(path)
    before = lowest_free_descriptor()
    with pytest.raises(StoreLockedError):
        await opened(path)
    assert lowest_free_descriptor() == before
    await store.aclose()


async def test_a_file_that_is_damaged_while_it_is_open(path: Path) -> None:
    store = await opened(path)
    connection: Any = store._connection
    connection.execute("DROP TABLE messages")
    with pytest.raises(StoreError, match="cannot be read or written"):
        await store.save([ROW])
    await store.aclose()


@pytest.mark.skipif(sys.platform == "win32", reason="there, nobody can delete an open file")
async def test_a_file_that_is_deleted_or_moved_while_it_is_open_is_missed(path: Path) -> None:
    """SQLite itself goes on writing, and all of it is gone with the process."""
    store = await opened(path)
    await store.save([ROW])
    elsewhere = path.with_name("elsewhere.db")
    move(path, elsewhere)
    with pytest.raises(StoreError, match="was moved or deleted while it was open"):
        await store.save([ROW])
    write(path, b"")
    with pytest.raises(StoreError, match="was moved or deleted while it was open"):
        await store.save([ROW])
    move(elsewhere, path)
    await store.save([Row(key="i:2", born=2.0)])
    await store.aclose()
    again = SQLiteStore(path)
    assert {row.key for row in await again.load(ACCOUNT)} == {"i:1", "i:2"}
    await again.aclose()


async def test_a_file_that_does_not_say_whose_it_is(path: Path) -> None:
    await (await opened(path)).aclose()
    other = sqlite3.connect(path)
    other.execute("DELETE FROM meta")
    other.commit()
    other.close()
    await refused(path, "does not say whose messages it holds")


@needs_flock
async def test_a_lock_that_was_deleted_while_somebody_waited_is_none(path: Path) -> None:
    """Two processes must never believe to have the file, because each has locked another one."""
    import fcntl

    lock = path.with_name("messages.db-lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        opening = asyncio.create_task(opened(path))
        await asyncio.sleep(0.2)
        lock.unlink()
    store = await opening
    assert lock.exists()
    with pytest.raises(StoreLockedError):
        sqlite._locked(str(lock), time.monotonic())
    await store.aclose()
