"""What an input is packed and encoded in: gzip, byte order marks, encodings. No I/O of its own."""

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, cast

from attrs import frozen

_CHUNK = 65536
UTF8_MARK = codecs.BOM_UTF8
_GZIP = b"\x1f\x8b"
_ENCODINGS: Mapping[bytes, str] = {
    # The mark of UTF-32 begins with that of UTF-16.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_OTHERS: Mapping[bytes, str] = {
    b"PK\x03\x04": "it is a spreadsheet or a zip file; save it as CSV",
    # The container of the older ones.
    b"\xd0\xcf\x11\xe0": "it is a spreadsheet; save it as CSV",
    b"%PDF-": "it is a PDF; save as CSV what it was made from",
    b"{\\rtf": "it is a text with formats (RTF); save it as CSV",
    b"SQLite format 3\0": "it is a database of SQLite; export a table as CSV",
    b"PAR1": "it is a Parquet file; export it as CSV",
    b"BZh": "it is packed with bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ\0": "it is packed with xz; unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "it is packed with zstd; unpack it, or pack it with gzip",
    b"7z\xbc\xaf\x27\x1c": "it is packed with 7-Zip; unpack it, or pack it with gzip",
    b"Rar!\x1a": "it is packed with RAR; unpack it, or pack it with gzip",
}
_MARKS = (_GZIP, UTF8_MARK, *_ENCODINGS, *_OTHERS)


class InputError(ValueError):
    """The input cannot be read, or the file to resume is not about it."""


@frozen
class Unpacked:
    """What an input holds."""

    chunks: Iterator[bytes]
    """Its bytes: UTF-8, if the encoding is known. What is damaged is an ``InputError``, also in the middle.

    What is not of its encoding is a ``UnicodeError``.
    """
    encoding: str | None
    """Its encoding, ``None`` if nothing says what it is."""
    has_mark: bool
    """True if it begins with a byte order mark."""


def unpack(read: Callable[[int], bytes | None], encoding: str | None = None) -> Unpacked:
    """Return what ``read`` gives, or raise an ``InputError`` if that is no text.

    ``encoding`` is what it is where no byte order mark says so.
    """
    reader = _Reader(read)
    if reader.look_ahead().startswith(_GZIP):
        reader = _Reader(_Gunzip(reader).read)
    head = reader.look_ahead()
    for mark, problem in _OTHERS.items():
        if head.startswith(mark):
            raise InputError(problem)
    if head.startswith(UTF8_MARK):
        reader.read(len(UTF8_MARK))
        return Unpacked(reader.chunks(), None, has_mark=True)
    marked = next((name for mark, name in _ENCODINGS.items() if head.startswith(mark)), None)
    encoding = marked or encoding
    chunks = reader.chunks() if encoding is None else _as_utf8(reader.chunks(), encoding)
    return Unpacked(chunks, encoding, has_mark=marked is not None)


class _Reader:
    """Reads bytes, and can look ahead at the first ones."""

    def __init__(self, read: Callable[[int], bytes | None]) -> None:
        self._read = read
        self._head = b""

    def look_ahead(self) -> bytes:
        """Return the first bytes: as many as tell whether they are one of the marks."""
        while any(len(mark) > len(self._head) and mark.startswith(self._head) for mark in _MARKS):
            chunk = self._read(_CHUNK)
            if not chunk:
                break
            self._head += chunk
        return self._head

    def read(self, size: int) -> bytes:
        if not self._head:
            return self._read(size) or b""
        data, self._head = self._head[:size], self._head[size:]
        return data

    def chunks(self) -> Iterator[bytes]:
        while chunk := self.read(_CHUNK):
            yield chunk


class _Gunzip:
    """Reads what a gzip file holds; one that is damaged is an ``InputError``."""

    def __init__(self, reader: _Reader) -> None:
        self._file = gzip.GzipFile(fileobj=cast(IO[bytes], reader), mode="rb")

    def read(self, size: int) -> bytes:
        try:
            return self._file.read1(size)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise InputError("the gzip file is damaged, or ends too early") from None


def _as_utf8(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    for chunk in chunks:
        yield decoder.decode(chunk).encode(errors="backslashreplace")
    yield decoder.decode(b"", final=True).encode(errors="backslashreplace")
