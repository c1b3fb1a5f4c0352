"""Where a check writes to: stdout, or a file."""

import os
import stat
from io import FileIO
from typing import BinaryIO, Protocol

from .encodings import Encoding
from .lines import InputError
from .reading import naming
from .resume import Resumed


class Sink(Protocol):
    """Takes whole rows, and keeps what it holds valid whatever happens."""

    encoding: Encoding
    """How the rows are to be written."""

    def write(self, data: bytes) -> None:
        """Write it, so that it is there even if the process is killed at once; a header before the first."""


class StreamSink:
    """Writes to stdout, which stays open."""

    def __init__(self, stream: BinaryIO, encoding: Encoding) -> None:
        self.encoding = encoding
        self._stream = stream
        self._header = encoding.header

    def write(self, data: bytes) -> None:
        header, self._header = self._header, b""
        with naming("stdout"):
            self._stream.write(header + data)
            self._stream.flush()


class FileSink:
    """Writes to a file. A row that did not fit onto the disk is cut off again."""

    def __init__(self, path: str, encoding: Encoding, *, resume: bool) -> None:
        self.encoding = encoding
        self._path = path
        # Not truncated: if no lookup succeeds, what an earlier check wrote is still there.
        flags = (os.O_RDWR if resume else os.O_WRONLY) | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._file = FileIO(os.open(path, flags, 0o666), "r+" if resume else "w")
        self.is_regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        self._valid: int | None = None
        """How many bytes are whole rows; ``None`` while what was there before is still untouched."""

    def is_same(self, descriptor: int) -> bool:
        """True if that is the same file on the disk."""
        return self.is_regular and os.path.samestat(os.fstat(self._file.fileno()), os.fstat(descriptor))

    def write(self, data: bytes) -> None:
        with naming(self._path):
            self._write(data)

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

        A file that is damaged, or not this check's, is an ``InputError``, and is left as it is.
        """
        resumed = Resumed(with_line=with_line)
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            records = self.encoding.records(lines)
            position = len(next(records, b"")) if self.encoding.header else 0
            for number, record in enumerate(records, 1):
                try:
                    resumed.add(self.encoding.decode(record))
                except (ValueError, KeyError):
                    raise InputError(f"its row {number} is not one of this check") from None
                position += len(record)
        self._valid = position
        self._cut()
        return resumed
