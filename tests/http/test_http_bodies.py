"""The body of an answer: expanded, capped, and given up in time."""

import asyncio
import contextlib
import gzip
import json
import os
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
from attrs import evolve

from statuslookup import DecodeError, ProviderError, TransportError
from statuslookup._http import Sender
from statuslookup._wire import Response
from tests.support.senders import GET, MEBIBYTE, Stream, answer_of, in_chunks, mocked, problem_of
from tests.support.virtual_time import LoopClock

pytestmark = pytest.mark.usefixtures("no_proxies")


def answering(*chunks: bytes, status: int = 200, **headers: str) -> Sender:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return mocked(lambda _: httpx.Response(status, headers=named, stream=Stream(in_chunks(*chunks))))


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 429, 466, 499, 500, 599])
async def test_every_status_is_an_answer(status: int) -> None:
    response = await answer_of(answering(b"bo", b"dy", status=status, Location="/elsewhere"))
    assert response == Response(status, b"body")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip "])
async def test_a_compressed_body_is_expanded_however_it_is_cut(encoding: str) -> None:
    body = json.dumps(list(range(1000))).encode()
    packed = gzip.compress(body)
    for size in (1, 7, len(packed)):
        chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
        assert (await answer_of(answering(*chunks, Content_Encoding=encoding))).content == body


async def test_an_empty_body_needs_no_compression() -> None:
    assert await answer_of(answering(status=204, Content_Encoding="gzip")) == Response(204)
    assert await answer_of(answering(b"", status=204, Content_Encoding="gzip")) == Response(204)


@pytest.mark.parametrize("kept", [0.99, 0.9, 0.5])
async def test_a_truncated_compressed_body_is_a_decode_error(kept: float) -> None:
    packed = gzip.compress(os.urandom(5000))
    error = await problem_of(answering(packed[: int(len(packed) * kept)], Content_Encoding="gzip"))
    assert type(error) is DecodeError
    assert "ends too early" in str(error)


@pytest.mark.parametrize(
    "body", [b"[]", b"\x1f\x8b" + b"\xff" * 50, gzip.compress(b"[]" * 500)[:-8] + b"\x00" * 8]
)
async def test_a_damaged_compressed_body_is_a_decode_error(body: bytes) -> None:
    error = await problem_of(answering(body, Content_Encoding="gzip"))
    assert type(error) is DecodeError
    assert "damaged" in str(error)


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "x-unknown"])
async def test_an_encoding_that_was_not_asked_for_is_a_decode_error(encoding: str) -> None:
    error = await problem_of(answering(b"[]", Content_Encoding=encoding))
    assert type(error) is DecodeError
    assert "an encoding that was not asked for" in str(error)


@pytest.mark.parametrize("encoding", ["identity", "IDENTITY"])
async def test_identity_is_no_encoding(encoding: str) -> None:
    assert (await answer_of(answering(b"[]", Content_Encoding=encoding))).content == b"[]"


async def test_an_empty_encoding_is_no_encoding() -> None:
    assert (await answer_of(answering(b"[]", Content_Encoding=""))).content == b"[]"


async def test_an_encoding_that_echoes_the_secret_is_not_quoted() -> None:
    error = await problem_of(answering(b"[]", Content_Encoding="canary"))
    assert "canary" not in str(error)


@pytest.mark.parametrize("status", [401, 429, 466, 503])
@pytest.mark.parametrize(
    "headers", [{"Content_Encoding": "br"}, {"Content_Encoding": "gzip"}], ids=["br", "damaged"]
)
async def test_a_status_that_says_no_is_an_answer_whatever_its_body(
    status: int, headers: dict[str, str]
) -> None:
    response = await answer_of(answering(b"not readable", status=status, Retry_After="3", **headers))
    assert (response.status_code, response.retry_after) == (status, 3.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Sun, 06 Nov 1994 08:49:37 GMT", 1.0), ("soon", None), ("", None)],
)
async def test_retry_after_is_read_from_seconds_and_dates(header: str, seconds: float | None) -> None:
    assert await answer_of(answering(status=429, Retry_After=header)) == Response(429, b"", seconds)


@pytest.mark.virtual_time
async def test_a_body_that_trickles_is_given_up_after_a_minute() -> None:
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(7)

    stream = Stream(trickle())
    started = LoopClock().time()
    error = await problem_of(mocked(lambda _: httpx.Response(200, stream=stream)))
    assert type(error) is TransportError
    assert "the answer was not read within 60 s" in str(error)
    assert LoopClock().time() - started == pytest.approx(60)
    assert stream.closed == 1


# --- the cap --------------------------------------------------------------------------------------


async def peak_of(sender: Sender) -> tuple[ProviderError, float]:
    """Return the error of a request, and the most MiB that were held at once."""
    tracemalloc.start()
    try:
        error = await problem_of(sender)
        return error, tracemalloc.get_traced_memory()[1] / MEBIBYTE
    finally:
        tracemalloc.stop()


async def test_a_body_of_exactly_16_mib_is_read() -> None:
    body = b" " * MEBIBYTE
    assert len((await answer_of(answering(*[body] * 16))).content) == 16 * MEBIBYTE
    packed = gzip.compress(b" " * (16 * MEBIBYTE))
    assert len((await answer_of(answering(packed, Content_Encoding="gzip"))).content) == 16 * MEBIBYTE


async def test_one_byte_more_is_a_decode_error() -> None:
    body = b" " * MEBIBYTE
    for sender in (
        answering(*[body] * 16, b" "),
        answering(gzip.compress(b" " * (16 * MEBIBYTE + 1)), Content_Encoding="gzip"),
    ):
        error = await problem_of(sender)
        assert type(error) is DecodeError
        assert "larger than 16 MiB" in str(error)


async def test_a_request_may_expect_less_than_that() -> None:
    request = evolve(GET, most_bytes=1000)
    for more in (0, 1):
        body = b" " * (1000 + more)
        for sender in (answering(body), answering(gzip.compress(body), Content_Encoding="gzip")):
            if more:
                assert type(await problem_of(sender, request)) is DecodeError
            else:
                assert (await answer_of(sender, request)).content == body


async def test_an_endless_body_is_left_after_the_cap_and_closed() -> None:
    async def endless() -> AsyncIterator[bytes]:
        chunk = b" " * MEBIBYTE
        while True:
            yield chunk

    stream = Stream(endless())
    error, peak = await peak_of(mocked(lambda _: httpx.Response(200, stream=stream)))
    assert "larger than 16 MiB" in str(error)
    assert stream.read == 17
    assert stream.closed == 1
    assert peak < 64


def bomb(mebibytes: int) -> bytes:
    """Return gzip of so many MiB of zeros, made from one MiB that is repeated in its compressed form."""
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(bytes(MEBIBYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(MEBIBYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + again * (mebibytes - 1)


@pytest.mark.parametrize("size", [10**9, 65536, 1000])
async def test_a_gzip_bomb_is_refused_without_being_held(size: int) -> None:
    packed = bomb(1024)
    chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
    error, peak = await peak_of(answering(*chunks, Content_Encoding="gzip"))
    assert "larger than 16 MiB" in str(error)
    assert peak < 64


async def test_what_follows_a_compressed_body_is_not_held() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield gzip.compress(b"[]")
        for _ in range(64):
            yield bytes(MEBIBYTE)

    stream = Stream(chunks())
    sender = mocked(lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=stream))
    tracemalloc.start()
    try:
        with contextlib.suppress(DecodeError):
            await answer_of(sender)
        peak = tracemalloc.get_traced_memory()[1] / MEBIBYTE
    finally:
        tracemalloc.stop()
    assert peak < 32
