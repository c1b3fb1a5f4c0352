"""Where a check reads from: a file or a pipe, in the event loop's thread or in one of its own."""

import asyncio
import codecs
import os
import stat
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import contextmanager
from io import FileIO
from itertools import islice
from typing import Generic

from attrs import frozen

from ..._model import KeyT
from .rows import Input, Row
from .unpacking import InputError, unpack

_CHUNK = 200
_MOST_CHUNKS_AHEAD = 4


@contextmanager
def naming(name: str) -> Generator[None]:
    """Have an ``OSError`` say which file it is about; writing to one that is open leaves that out."""
    try:
        yield
    except OSError as error:
        error.filename = name
        raise


@frozen
class Opened:
    """An input to read from."""

    read: Callable[[int], bytes | None]
    raw: FileIO | None = None
    """What it is for the system, to be closed; ``None`` if the system does not know it."""
    size: int | None = None
    """How many bytes a file has; ``None`` of all else, which may keep its reader waiting."""
    name: str = ""
    """The name of the file, nothing for stdin."""

    def is_utf8(self) -> bool | None:
        """Read a file to its end, without moving on in it, and return whether that is UTF-8.

        ``None`` is what cannot be read twice.
        """
        if self.raw is None or self.size is None:
            return None
        position, decoder = self.raw.tell(), codecs.getincrementaldecoder("utf-8")()
        try:
            self.raw.seek(0)
            for chunk in unpack(self.read).chunks:
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except (UnicodeError, InputError):
            return False
        finally:
            self.raw.seek(position)
        return True


def open_input(file: str) -> Opened:
    """Open a file or, as ``-``, stdin, or raise the system's ``OSError``."""
    if file != "-":
        raw = FileIO(file)
    else:
        try:
            raw = FileIO(sys.stdin.fileno(), closefd=False)
        except OSError:
            return Opened(sys.stdin.buffer.read)
        if sys.platform != "win32":
            # Whoever lent it may have made it non-blocking: it would seem to end where nothing has come yet.
            os.set_blocking(raw.fileno(), True)

    def read(size: int) -> bytes | None:
        with naming("stdin" if file == "-" else file):
            return raw.read(size)

    status = os.fstat(raw.fileno())
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    return Opened(read, raw, size, "" if file == "-" else file)


async def chunks_of(source: Input[KeyT], *, may_block: bool) -> AsyncGenerator[list[Row[KeyT]], None]:
    """Yield the rows, some at a time; if reading may block, it is done in a thread of its own."""
    if not may_block:
        while chunk := list(islice(source.rows, _CHUNK)):
            yield chunk
            # A file is read faster than its rows can be looked up, and others have to have their turn.
            await asyncio.sleep(0)
        return
    reading = _Reading(source)
    try:
        async for chunk in reading.chunks():
            yield chunk
    finally:
        reading.stop()


class _Reading(Generic[KeyT]):
    """Reads rows in a thread; what was read is handed over before each wait for more."""

    def __init__(self, source: Input[KeyT]) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[list[Row[KeyT]] | BaseException | None] = asyncio.Queue()
        self._capacity = threading.Semaphore(_MOST_CHUNKS_AHEAD)
        self._is_stopped = False
        self._chunk: list[Row[KeyT]] = []

    async def chunks(self) -> AsyncIterator[list[Row[KeyT]]]:
        # A daemon, because nothing can end a thread that waits for a terminal.
        threading.Thread(target=self._read, name="statuslookup input", daemon=True).start()
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            self._capacity.release()
            yield chunk

    def stop(self) -> None:
        self._is_stopped = True
        self._capacity.release()

    def _read(self) -> None:
        end: BaseException | None = None
        self._source.lines.before_read = self._hand_over
        try:
            for row in self._source.rows:
                if self._is_stopped:
                    return
                self._chunk.append(row)
                if len(self._chunk) == _CHUNK:
                    self._hand_over()
            self._hand_over()
        except Exception as error:  # noqa: BLE001 # it is raised where the rows are awaited
            end = error
        self._put(end)

    def _hand_over(self) -> None:
        if self._chunk:
            self._capacity.acquire()
            chunk, self._chunk = self._chunk, []
            self._put(chunk)

    def _put(self, chunk: list[Row[KeyT]] | BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
        except RuntimeError:
            # The loop is closed: nobody waits for rows any more.
            self._is_stopped = True
