"""Where a check writes to: stdout, or a file."""

import errno
import os
import stat
import sys
from io import FileIO
from typing import BinaryIO, Protocol

from .encodings import Encoding
from .reading import naming
from .resume import Resumed, ResumeError
from .terminal import for_terminal

if sys.platform == "win32":  # pragma: no cover # the tests run elsewhere
    import msvcrt
else:
    import fcntl


class Sink(Protocol):
    """Takes whole rows, and keeps what it holds valid whatever happens."""

    encoding: Encoding
    """How the rows are to be written."""

    def write(self, data: bytes) -> None:
        """Write it, so that it is there even if the process is killed at once; a header before the first."""


class StreamSink:
    """Writes to stdout, which stays open."""

    def __init__(self, stream: BinaryIO, encoding: Encoding, *, charset: str | None = None) -> None:
        """``charset`` is that of a terminal; nothing but rows as they are goes elsewhere."""
        self.encoding = encoding
        self._stream = stream
        self._header = encoding.header
        self._charset = charset

    def write(self, data: bytes) -> None:
        data, self._header = self._header + data, b""
        rest = memoryview(data if self._charset is None else for_terminal(data, self._charset))
        with naming("stdout"):
            while rest:
                # With PYTHONUNBUFFERED, a write to a pipe that is full ends early where a signal comes.
                count = self._stream.write(rest)
                if not count:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                rest = rest[count:]
            self._stream.flush()


def stdout_sink(encoding: Encoding) -> StreamSink:
    """Return what writes to the process's stdout, be it a terminal or not."""
    return StreamSink(
        sys.stdout.buffer, encoding, charset=sys.stdout.encoding if sys.stdout.isatty() else None
    )


class FileSink:
    """Writes to a file. A row that did not fit onto the disk is cut off again.

    The file is locked until it is closed: one that another check writes to is an ``OSError``.
    """

    def __init__(self, path: str, encoding: Encoding, *, resume: bool) -> None:
        self.encoding = encoding
        self._path = path
        # Not truncated: if no lookup succeeds, what an earlier check wrote is still there.
        flags = (os.O_RDWR if resume else os.O_WRONLY) | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._file = FileIO(os.open(path, flags, 0o666), "r+" if resume else "w")
        self.is_regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        if self.is_regular and not _lock(self._file.fileno()):
            self._file.close()
            raise BlockingIOError(
                errno.EAGAIN, "another check writes to it; choose another file with -o", path
            )
        self._valid: int | None = None
        """How many bytes are whole rows; ``None`` while what was there before is still untouched."""

    def is_same(self, descriptor: int) -> bool:
        """True if that is the same file on the disk."""
        return self.is_regular and os.path.samestat(os.fstat(self._file.fileno()), os.fstat(descriptor))

    def write(self, data: bytes) -> None:
        with naming(self._path):
            self._write(for_terminal(data) if self._file.isatty() else data)

    def _write(self, data: bytes) -> None:
        if self._valid is None:
            self._valid = 0
            self._cut()
        if self._valid == 0:
            data = self.encoding.header + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError:
            self._cut()
            raise
        self._valid += len(data)

    def close(self) -> None:
        self._file.close()

    def _cut(self) -> None:
        if self.is_regular:
            self._file.truncate(self._valid)
            self._file.seek(self._valid or 0)

    def resume(self, *, with_line: bool) -> Resumed:
        """Return what is there already, and cut off an unfinished last row.

        A file that is damaged, or not this check's, is a ``ResumeError``, and is left as it is.
        """
        resumed = Resumed(with_line=with_line)
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            records = self.encoding.records(lines)
            position = len(next(records, b"")) if self.encoding.header else 0
            for number, record in enumerate(records, 1):
                try:
                    resumed.add(self.encoding.decode(record))
                # JSON may be nested deeper than Python's own reader goes.
                except (ValueError, KeyError, RecursionError):
                    raise ResumeError(f"its row {number} is not one of this check") from None
                position += len(record)
        self._valid = position
        self._cut()
        return resumed


def _lock(descriptor: int) -> bool:
    """Lock a file until its descriptor is closed, however the process ends; false if another one has it."""
    try:
        if sys.platform == "win32":  # pragma: no cover # the tests run elsewhere
            # Others cannot read bytes that are locked, so it is one far behind the end.
            place = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.lseek(descriptor, 2**62, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, place, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        # Some file systems of a network have no locks, and files there are to be written all the same.
        return True
    return True
