"""Where a watch receives webhooks: what strangers can do there who do not know the secret."""

import asyncio
from contextlib import closing

import httpx

from statuslookup.cli.listening import Address, Listener, _bound
from tests.support import listeners
from tests.support.listeners import SECRET, WEBHOOK


async def test_connections_that_are_held_open_for_nothing_keep_no_webhook_out() -> None:
    tracker = listeners.Listener()
    with closing(_bound(Address("127.0.0.1", 0))) as bound:
        host, port = bound.getsockname()
        async with Listener(bound, SECRET, False).serving(tracker):
            idle = [await asyncio.open_connection(host, port) for _ in range(150)]
            # Slow ones count as well.
            for _, writer in idle[::2]:
                writer.write(b"POST /")
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
                assert (await client.post(f"/{SECRET}", content=WEBHOOK)).status_code == 200
            # The oldest had to go, and the newest may still have something to say.
            async with asyncio.timeout(10):
                for reader, _ in idle[:50]:
                    try:
                        assert await reader.read() == b""
                    except ConnectionResetError:
                        pass
            assert not idle[-1][0].at_eof()
            for _, writer in idle:
                writer.close()
    assert [status.id for status in tracker.heard] == [1]
    await tracker.aclose()
