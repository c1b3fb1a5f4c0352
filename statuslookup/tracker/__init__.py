"""Follows messages to their end: webhooks first, and lookups for what they lost.

``StatusTracker`` is all that most programs need of it, and ``SQLiteStore`` what survives a restart. A store
of your own is any object with the methods of ``Store``; it keeps each ``Row`` as it is.
"""

from .stores.base import Row, Store
from .stores.memory import MemoryStore
from .stores.sqlite import SQLiteStore
from .tracker import StatusTracker
from .values import Change, Schedule, TrackerStats

__all__ = [
    "Change",
    "MemoryStore",
    "Row",
    "SQLiteStore",
    "Schedule",
    "StatusTracker",
    "Store",
    "TrackerStats",
]
