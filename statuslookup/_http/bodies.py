"""The body of an answer, expanded and capped."""

import zlib
from typing import Any, Final

from ..errors import DecodeError

_MOST_BYTES: Final = 16 * 1024 * 1024


async def read_body(response: Any, provider: str) -> bytes:
    """Return the whole body, never holding more than its cap, also of one that expands."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise DecodeError("the answer has an encoding that was not asked for", provider=provider)
    body = bytearray()
    unzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    async for chunk in response.stream:
        try:
            body += chunk if unzip is None else unzip.decompress(chunk, _MOST_BYTES + 1 - len(body))
        except zlib.error:
            raise DecodeError("the answer's compressed body is damaged", provider=provider) from None
        if unzip is not None and unzip.unused_data:
            raise DecodeError("the answer goes on after the end of its compressed body", provider=provider)
        if len(body) > _MOST_BYTES:
            what = f"the answer is larger than {_MOST_BYTES // 2**20} MiB"
            raise DecodeError(what, provider=provider)
    if unzip is not None and not unzip.eof and body:
        raise DecodeError("the answer's compressed body ends too early", provider=provider)
    return bytes(body)
