"""Survives a restart without a store: which messages are open stands in a database of one's own."""

import asyncio
import sqlite3
import sys
from datetime import UTC, datetime

from statuslookup import CustomId, MessageStatus, SMSFire, StatusClient, StatusTracker

Tracker = StatusTracker[int | CustomId, MessageStatus]
TABLE = """
CREATE TABLE IF NOT EXISTS messages (
    custom_id TEXT PRIMARY KEY, sent_at TEXT NOT NULL, state TEXT, is_over INTEGER NOT NULL DEFAULT 0
)
"""


def opened(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    with database:
        database.execute(TABLE)
    return database


async def begin(database: sqlite3.Connection, tracker: Tracker, custom_id: CustomId) -> None:
    """Call it before the message is sent; if the send then fails, the message ends as unknown."""
    with database:
        row = str(custom_id), datetime.now(UTC).isoformat()
        database.execute("INSERT INTO messages (custom_id, sent_at) VALUES (?, ?)", row)
    await tracker.track(custom_id)


async def follow(database: sqlite3.Connection, tracker: Tracker) -> None:
    """Go on where the last process stopped, and write down what becomes of each message."""
    rows = database.execute("SELECT custom_id, sent_at FROM messages WHERE NOT is_over").fetchall()
    for custom_id, sent_at in rows:
        await tracker.track(CustomId(custom_id), since=datetime.fromisoformat(sent_at))
    async for change in tracker.changes():
        state = None if change.status is None else str(change.status.state)
        with database:
            row = state, change.is_over, str(change.key)
            database.execute("UPDATE messages SET state = ?, is_over = ? WHERE custom_id = ?", row)
        print(change.key, state or "unknown", "for good" if change.is_over else "so far", flush=True)


async def main(path: str) -> None:
    database = opened(path)
    async with StatusClient(SMSFire.from_env()) as client, StatusTracker(client) as tracker:
        await follow(database, tracker)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
