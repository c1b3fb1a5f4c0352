"""The bytes of an input become lines of text. No I/O of its own."""

from collections.abc import Callable, Iterator

_CHUNK = 65536
_MOST_LINE_BYTES = 2**20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Of a zip file, which newer spreadsheets are, and of the container of the older ones.
_BINARY_MARKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


class InputError(ValueError):
    """The input cannot be read at all, or the file to resume is not about it."""


class LongLineError(InputError):
    """A line is too long to be kept; the next one can be read."""

    def __init__(self) -> None:
        super().__init__(f"it is longer than {_MOST_LINE_BYTES:,} bytes")


class Lines:
    """The lines of what ``read`` gives, as text: UTF-8, and a line that is not, Latin-1."""

    def __init__(self, read: Callable[[int], bytes | None]) -> None:
        self._read = read
        self._lines = self._split()
        self.before_read: Callable[[], None] = lambda: None
        """Called before each reading, which may take its time."""
        self.number = 0
        self.bytes = 0
        self.first_latin1: int | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, dropped = next(self._lines)
        self.number += 1
        self.bytes += dropped + len(line)
        if self.number == 1 and line.startswith(_BINARY_MARKS):
            raise InputError("it is a spreadsheet or a zip file; save it as CSV")
        if dropped + len(line) > _MOST_LINE_BYTES:
            raise LongLineError
        if self.number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise InputError("it is UTF-16; save it as UTF-8")
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.first_latin1 = self.first_latin1 or self.number
            return line.decode("latin-1")

    def _split(self) -> Iterator[tuple[bytes, int]]:
        """Yield each line, and how many bytes at its beginning were dropped because it is too long."""
        rest, dropped = b"", 0
        while True:
            self.before_read()
            chunk = self._read(_CHUNK)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line + b"\n", dropped
                dropped = 0
            if len(rest) > _MOST_LINE_BYTES:
                rest, dropped = b"", dropped + len(rest)
        if rest or dropped:
            yield rest, dropped
