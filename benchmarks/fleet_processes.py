"""The processes of a fleet, started, stopped, killed and asked from another one."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final, Self

from attrs import asdict, evolve

from .fleet_member import Findings, Orders

ROOT: Final = Path(__file__).parent.parent


class Process:
    """One process of a fleet; ``number`` is what it is called in Redis."""

    def __init__(self, orders: Orders) -> None:
        self._process = subprocess.Popen(  # noqa: S603 # a file of this folder
            [sys.executable, "-m", "benchmarks.fleet_member", json.dumps(asdict(orders))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._number: int | None = None

    @property
    def number(self) -> int:
        if self._number is None:
            assert self._process.stdout is not None
            self._number = json.loads(self._process.stdout.readline())["process"]
        return self._number

    def begin(self, at: float) -> None:
        """Let it begin at that moment, by ``time.time()``; its orders say that it waits."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{at}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Tell it to begin nothing more."""
        if self._process.stdin is not None:
            self._process.stdin.close()
            self._process.stdin = None

    def findings(self, *, within: float = 120.0) -> Findings:
        """Return what it found, once it is over; it has been told to end."""
        assert self.number >= 0
        assert self._process.stdout is not None
        # Not communicate(): what was read for the number may hold the rest as well.
        timer = threading.Timer(within, self._process.kill)
        timer.start()
        try:
            output = self._process.stdout.read()
        finally:
            timer.cancel()
        if not output:
            raise RuntimeError(f"a process of the fleet ended without a word, with {self._process.wait()}")
        found: dict[str, Any] = json.loads(output)
        return Findings(**found | {"errors": Counter(found["errors"])})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except OSError:
                    pass


class Processes:
    """As many processes as a test wants; they end with it."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._started = 0
        self.alive: list[Process] = []
        self.killed = 0

    def start(self, count: int = 1, **changes: Any) -> list[Process]:
        started = []
        for _ in range(count):
            self._started += 1
            orders = evolve(self._orders, seed=self._orders.seed + self._started, **changes)
            started.append(Process(orders))
        self.alive += started
        return started

    def kill(self, process: Process) -> None:
        self.alive.remove(process)
        self.killed += 1
        process.kill()
        process.__exit__()

    def end(self) -> list[Findings]:
        """Let all end, and return what they found."""
        for process in self.alive:
            process.end()
        return [process.findings() for process in self.alive]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.alive:
            process.go_on()
            process.__exit__()
