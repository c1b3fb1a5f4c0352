"""Celery tasks that look messages up: all worker processes share one rate limit, and each other's keys."""

import asyncio
import os
import threading
from typing import Any

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown

from statuslookup import CustomId, MessageStatus, SMSFire, StatusClient
from statuslookup.fleet import RedisFleet

Client = StatusClient[int | CustomId, MessageStatus]

app = Celery("lookups", broker=os.environ.get("CELERY_BROKER"), backend=os.environ.get("CELERY_BACKEND"))


class Lookups:
    """The client of this worker process, on an event loop in a thread of its own.

    The loop runs also between tasks: a client of a fleet says that it lives, and hears what others learned.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lookups", daemon=True)
        self._thread.start()
        self._client: Client = StatusClient(SMSFire.from_env(), timeout=30.0, fleet=RedisFleet.from_env())

    def get(self, id: int) -> MessageStatus | None:
        return asyncio.run_coroutine_threadsafe(self._client.get(id), self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


lookups: Lookups | None = None


@worker_process_init.connect
def open_client(**_: Any) -> None:
    # After the fork: threads, sockets and event loops do not survive one.
    global lookups
    lookups = Lookups()


@worker_process_shutdown.connect
def close_client(**_: Any) -> None:
    if lookups is not None:
        lookups.close()


@app.task(name="lookups.read_message")
def read_message(id: int) -> dict[str, Any] | None:
    assert lookups is not None, "this runs in a worker process (--pool prefork)"
    status = lookups.get(id)
    return None if status is None else {"id": status.id, "state": status.state, "worker": os.getpid()}
