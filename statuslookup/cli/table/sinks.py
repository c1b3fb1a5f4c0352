"""Where a check reads from and writes to: files, pipes, terminals."""

import asyncio
import os
import stat
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import contextmanager
from io import FileIO
from itertools import islice
from typing import BinaryIO, Generic, Protocol

from ..._model import KeyT
from .results import Encoding, Tally, is_about, line_of
from .rows import Input, InputError, Row

_CHUNK = 200
_MOST_CHUNKS_AHEAD = 4


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
        self._room = threading.Semaphore(_MOST_CHUNKS_AHEAD)
        self._is_stopped = False
        self._chunk: list[Row[KeyT]] = []

    async def chunks(self) -> AsyncIterator[list[Row[KeyT]]]:
        # A daemon, because nothing can end a thread that waits for a terminal.
        threading.Thread(target=self._read, name="statuslookup input", daemon=True).start()
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            self._room.release()
            yield chunk

    def stop(self) -> None:
        self._is_stopped = True
        self._room.release()

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
            self._room.acquire()
            chunk, self._chunk = self._chunk, []
            self._put(chunk)

    def _put(self, chunk: list[Row[KeyT]] | BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
        except RuntimeError:
            # The loop is closed: nobody waits for rows any more.
            self._is_stopped = True


@contextmanager
def naming(name: str) -> Generator[None]:
    """Have an ``OSError`` say which file it is about; writing to one that is open leaves that out."""
    try:
        yield
    except OSError as error:
        error.filename = name
        raise


class Sink(Protocol):
    """Takes whole rows, and keeps what it holds valid whatever happens."""

    def write(self, data: bytes) -> None:
        """Write it, so that it is there even if the process is killed at once."""

    def finish(self) -> None:
        """Say that this was all."""


class StreamSink:
    """Writes to stdout, which stays open."""

    def __init__(self, stream: BinaryIO, encoding: Encoding) -> None:
        self._stream = stream
        self._header = encoding.header

    def write(self, data: bytes) -> None:
        header, self._header = self._header, b""
        with naming("stdout"):
            self._stream.write(header + data)
            self._stream.flush()

    def finish(self) -> None:
        self.write(b"")


class FileSink:
    """Writes to a file. A row that did not fit onto the disk is cut off again."""

    def __init__(self, path: str, encoding: Encoding, *, resume: bool) -> None:
        self._path = path
        self._encoding = encoding
        # Not truncated: if no lookup succeeds, what an earlier check wrote is still there.
        flags = (os.O_RDWR if resume else os.O_WRONLY) | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._file = FileIO(os.open(path, flags, 0o666), "r+" if resume else "w")
        self._is_regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        self._valid: int | None = None
        """How many bytes are whole rows; ``None`` while what was there before is still untouched."""

    @property
    def is_regular(self) -> bool:
        return self._is_regular

    def is_same(self, descriptor: int) -> bool:
        """True if that is the same file on the disk."""
        return self._is_regular and os.path.samestat(os.fstat(self._file.fileno()), os.fstat(descriptor))

    def write(self, data: bytes) -> None:
        with naming(self._path):
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self._valid is None:
            self._valid = 0
            self._cut()
        if self._valid == 0:
            data = self._encoding.header + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError:
            self._cut()
            raise
        self._valid += len(data)

    def finish(self) -> None:
        self.write(b"")

    def close(self) -> None:
        self._file.close()

    def _cut(self) -> None:
        if self._is_regular:
            self._file.truncate(self._valid)
            self._file.seek(self._valid or 0)

    def resume(self, tally: Tally, *, with_line: bool) -> "Resumed":
        """Count the rows that are there, cut off an unfinished last one, and return what is done already.

        A file that is damaged, or not this check's, is an ``InputError``, and is left as it is.
        """
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            records = self._encoding.records(lines)
            position = 0
            resumed = Resumed(with_line=with_line)
            if self._encoding.header:
                position = len(next(records, b""))
            for number, record in enumerate(records, 1):
                try:
                    values = self._encoding.decode(record)
                    tally.add(values)
                    tally.before += 1
                    resumed.add(values)
                except (ValueError, KeyError):
                    raise InputError(f"its row {number} is not one of this check") from None
                position += len(record)
        self._valid = position
        self._cut()
        return resumed


class Resumed:
    """Which rows of the input an earlier run wrote."""

    def __init__(self, *, with_line: bool = False) -> None:
        self._with_line = with_line
        self.rows = 0
        self._last: dict[str, object] = {}
        self._lines = bytearray()

    def add(self, values: dict[str, object]) -> None:
        """Take note of a row that is there."""
        self.rows += 1
        self._last = values
        if self._with_line:
            byte, bit = divmod(line_of(values), 8)
            self._lines.extend(bytes(max(0, byte + 1 - len(self._lines))))
            self._lines[byte] |= 1 << bit

    def has(self, row: Row[KeyT], place: int) -> bool:
        """True if the row is there; ``place`` is its number among the rows of the input, from 0."""
        if self._with_line:
            byte, bit = divmod(row.line, 8)
            return byte < len(self._lines) and bool(self._lines[byte] >> bit & 1)
        if place == self.rows - 1 and not is_about(self._last, row):
            raise InputError(
                f"it is not about this input: its row {self.rows} has another key than line {row.line}"
                " of the input"
            )
        return place < self.rows
