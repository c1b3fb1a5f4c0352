"""The bytes of an input become lines of text. No I/O of its own."""

from collections import deque
from collections.abc import Callable, Iterator

from .unpacking import InputError, unpack

_MOST_LINE_BYTES = 2**20
# Windows-1252 leaves five bytes undefined, which are control characters as in Latin-1 wherever it is read.
_WINDOWS = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xA0)}


class LongLineError(InputError):
    """A line is too long to be kept; the next one can be read."""

    def __init__(self) -> None:
        super().__init__(f"it is longer than {_MOST_LINE_BYTES:,} bytes")


class Lines:
    """The lines of what ``read`` gives, as text, each with its end: CR, LF or both.

    Where neither a byte order mark nor ``encoding`` says what the text is, it is UTF-8, and a line that is
    not is Windows-1252.
    """

    def __init__(self, read: Callable[[int], bytes | None], *, encoding: str | None = None) -> None:
        self.before_read: Callable[[], None] = lambda: None
        """Called before each reading, which may take its time."""
        self.number = 0
        self.first_windows: int | None = None
        """The first line that was read as Windows-1252."""
        self._read = read
        self._taken = self._given = self._done = 0
        self._source = unpack(self._take, encoding)
        self.has_mark = self._source.has_mark
        """True if the input begins with a byte order mark."""
        self.encoding = self._source.encoding
        """What the whole input was decoded from, ``None`` if it is each line by itself."""
        self._last = self._rest = b""
        self._dropped = 0
        self._ahead: deque[tuple[bytes, int]] = deque()
        """Lines that have come, each with how many bytes at its beginning were dropped: it is too long."""

    @property
    def position(self) -> int:
        """How many bytes of the input the lines so far have."""
        # What was unpacked or decoded has another length.
        if self._taken == self._given:
            return self._done
        return self._done * self._taken // self._given if self._given else 0

    @property
    def end(self) -> str:
        """How the last line ended; nothing at the end of the input."""
        return self._last[len(self._last.rstrip(b"\r\n")) :].decode()

    @property
    def come(self) -> int:
        """How many of the next lines have come already."""
        return len(self._ahead)

    def ahead(self) -> Iterator[str]:
        """Yield the next lines without moving on; only for one that has not come, more is read."""
        place = 0
        while place < len(self._ahead) or self._has_more():
            if place < len(self._ahead):
                yield _text_of(self._ahead[place][0])
                place += 1

    def is_utf8_ahead(self) -> bool:
        """True if the last line is UTF-8, and what has come behind it; waits only if nothing tells."""
        if not self._ahead:
            self._has_more()
        while True:
            come = b"".join(line for line, _ in self._ahead) + self._rest
            try:
                come.decode()
            except UnicodeDecodeError as error:
                # Only of its last character, the rest may not have come.
                if error.end < len(come) or not self._has_more():
                    return False
            else:
                return self.first_windows is None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while not self._ahead:
            if not self._has_more():
                raise StopIteration
        line, dropped = self._ahead.popleft()
        self.number += 1
        self._done += dropped + len(line)
        if dropped + len(line) > _MOST_LINE_BYTES:
            raise LongLineError
        self._last = line
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.first_windows = self.first_windows or self.number
            return _text_of(line)

    def _take(self, size: int) -> bytes | None:
        self.before_read()
        data = self._read(size)
        self._taken += len(data or b"")
        return data

    def _has_more(self) -> bool:
        """Split the next bytes into lines; false if there are none."""
        try:
            chunk = next(self._source.chunks, None)
        except UnicodeError as error:
            before = error.object[: error.start] if isinstance(error, UnicodeDecodeError) else b""
            number = self.number + 1 + max(before.count(b"\n"), before.count(b"\r"))
            raise InputError(
                f"line {number} is not {self.encoding}; --encoding NAME says what it is"
            ) from None
        if chunk is None:
            lines, self._rest = [self._rest] if self._rest or self._dropped else [], b""
        else:
            self._given += len(chunk)
            lines = (self._rest + chunk).splitlines(keepends=True)
            # After a CR, a LF can follow.
            is_open = bool(lines) and not lines[-1].endswith(b"\n")
            self._rest = lines.pop() if is_open else b""
        for line in lines:
            self._ahead.append((line, self._dropped))
            self._dropped = 0
        if len(self._rest) > _MOST_LINE_BYTES:
            end = self._rest[-1:] if self._rest.endswith(b"\r") else b""
            self._dropped += len(self._rest) - len(end)
            self._rest = end
        return chunk is not None or bool(lines)


def _text_of(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1").translate(_WINDOWS)
