"""The body of a response, expanded and capped."""

import zlib
from typing import Any

from ..errors import DecodeError


async def read_body(response: Any, provider: str, most_bytes: int) -> bytes:
    """Return the whole body, never holding more than ``most_bytes``, also of one that expands."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise DecodeError("the answer has an encoding that was not asked for", provider=provider)
    body = bytearray()
    unzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    async for chunk in response.stream:
        try:
            body += chunk if unzip is None else unzip.decompress(chunk, most_bytes + 1 - len(body))
        except zlib.error:
            raise DecodeError("the answer's compressed body is damaged", provider=provider) from None
        if unzip is not None and unzip.unused_data:
            raise DecodeError("the answer goes on after the end of its compressed body", provider=provider)
        if len(body) > most_bytes:
            raise DecodeError(f"the answer is larger than {most_bytes / 2**20:g} MiB", provider=provider)
    if unzip is not None and not unzip.eof and body:
        raise DecodeError("the answer's compressed body ends too early", provider=provider)
    return bytes(body)
