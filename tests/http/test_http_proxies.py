"""The sender and proxies: those of the environment as usual, and the secret shown to none."""

import asyncio
import contextlib
import importlib
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from statuslookup import GreenAPI, StatusClient, TransportError
from statuslookup._http import progress
from statuslookup._wire import Response
from tests.support.senders import (
    CANARY,
    Server,
    answer_of,
    mocked,
    new_sender,
    problem_at,
    problem_of,
    replying,
)

pytestmark = pytest.mark.usefixtures("no_proxies")


async def heads_at_proxy(monkeypatch: pytest.MonkeyPatch, base_url: str, **environment: str) -> list[bytes]:
    """Return what a proxy got of a request in this environment; ``PROXY`` stands for its address."""
    async with replying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as proxy:
        for name, value in environment.items():
            monkeypatch.setenv(name, value.replace("PROXY", f"127.0.0.1:{proxy.port}"))
        sender = new_sender(base_url)
        with contextlib.suppress(TransportError):
            await answer_of(sender)
        await sender.aclose()
    return proxy.heads


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("value", ["http://PROXY", "http://PROXY/", "PROXY"])
async def test_https_goes_through_the_proxy_of_the_environment_and_tells_it_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    heads = await heads_at_proxy(monkeypatch, "https://api.test", **{name: value})
    assert len(heads) == 1
    assert heads[0].startswith(b"CONNECT api.test:443 HTTP/1.1\r\n")
    assert CANARY.encode() not in heads[0]


async def test_a_proxys_own_credentials_are_sent_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = await heads_at_proxy(monkeypatch, "https://api.test", HTTPS_PROXY="http://user:password@PROXY")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n" in heads[0]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
async def test_plain_http_stays_on_this_machine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # A proxy would be given the credentials in the clear.
    assert await heads_at_proxy(monkeypatch, "http://127.0.0.1:1", **{name: "http://PROXY"}) == []


async def test_a_proxy_that_refuses_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    async with replying(b"HTTP/1.1 403 " + CANARY.encode() + b"\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert "the proxy refused the connection" in str(await problem_at("https://api.test"))


@pytest.mark.parametrize(
    ("base_url", "no_proxy"),
    [
        ("https://localhost:1", "*"),
        ("https://LOCALHOST:1", "localhost"),
        ("https://localhost:1", "localhost"),
        ("https://localhost:1", ".localhost"),
        ("https://127.0.0.1:1", "example.com, 127.0.0.1"),
    ],
)
async def test_no_proxy_goes_around_it(monkeypatch: pytest.MonkeyPatch, base_url: str, no_proxy: str) -> None:
    assert await heads_at_proxy(monkeypatch, base_url, HTTPS_PROXY="http://PROXY", NO_PROXY=no_proxy) == []


async def test_no_proxy_for_others_does_not_go_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = await heads_at_proxy(
        monkeypatch, "https://api.test", HTTPS_PROXY="http://PROXY", NO_PROXY="example.com,localhost,i.test"
    )
    assert len(heads) == 1


async def test_the_other_schemes_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await heads_at_proxy(monkeypatch, "https://127.0.0.1:1", HTTP_PROXY="http://PROXY") == []


async def test_a_transport_that_was_given_goes_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert await answer_of(mocked(lambda _: httpx.Response(204))) == Response(204)


@pytest.mark.parametrize(
    ("proxy", "text"),
    [
        ("socks5://user:pass-canary@127.0.0.1:1", 'pip install "httpx[socks]"'),
        ("socks5h://user:pass-canary@127.0.0.1:1", 'pip install "httpx[socks]"'),
        ("socks4://user:pass-canary@127.0.0.1:1", "must be an http, https, socks5 or socks5h URL"),
        ("http://user:pass-canary@127.0.0.1:port", "must be an http, https, socks5 or socks5h URL"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_named_when_the_client_opens(
    monkeypatch: pytest.MonkeyPatch, proxy: str, text: str
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", proxy)
    del proxy  # a traceback shows locals
    client = StatusClient(GreenAPI(7, "token"))
    for open_it in (client.__aenter__, lambda: client.get("BAE57C4EEC000000")):
        with pytest.raises(TransportError) as caught:
            await open_it()
        assert str(caught.value).startswith("GREEN-API: ")
        assert text in str(caught.value)
        assert caught.value.__context__ is None
        own = [(frame, line) for frame, line in traceback.walk_tb(caught.value.__traceback__)][1:]
        assert own
        assert "pass-canary" not in "".join(traceback.StackSummary.extract(own, capture_locals=True).format())


async def test_certificates_that_cannot_be_read_are_named_when_the_client_opens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for file in (nonsense, tmp_path / "missing.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        client = StatusClient(GreenAPI(7, "token"))
        with pytest.raises(TransportError, match="certificates that SSL_CERT_FILE") as caught:
            await client.get("BAE57C4EEC000000")
        assert caught.value.__context__ is None


async def test_failures_of_tls_behind_a_proxy_do_not_use_connections_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nno TLS")

    async with Server(serve) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        sender = new_sender("https://api.test")
        async with asyncio.timeout(60):
            for _ in range(101):  # one more than httpx's pool has by default
                await problem_of(sender)
        await sender.aclose()
    assert server.connections == 101


class Greeting:
    """What the package ``socksio`` would say first to a proxy, which in this test says nothing back."""

    def send(self, request: object) -> None:
        pass

    def data_to_send(self) -> bytes:
        return b"\x05\x01\x00"


async def test_a_socks_proxy_that_never_answers_is_given_up_and_costs_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    socks5 = SimpleNamespace(
        SOCKS5Connection=Greeting,
        SOCKS5AuthMethod=SimpleNamespace(NO_AUTH_REQUIRED=0),
        SOCKS5AuthMethodsRequest=list,
    )
    socksio = SimpleNamespace(socks5=socks5)
    monkeypatch.setitem(sys.modules, "socksio", socksio)
    module = importlib.import_module("httpcore._async.socks_proxy")
    monkeypatch.setattr(module, "socksio", socksio)
    monkeypatch.setattr("httpcore.AsyncSOCKSProxy", module.AsyncSOCKSProxy)
    monkeypatch.setattr(progress, "_BEGIN_WITHIN", 0.2)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with Server(say_nothing) as proxy:
        transport = httpx.AsyncHTTPTransport(
            proxy=f"socks5://127.0.0.1:{proxy.port}", limits=httpx.Limits(max_connections=1)
        )
        sender = new_sender("https://api.test", transport)
        async with asyncio.timeout(30):
            for _ in range(2):
                assert "held up for 0.2 s" in str(await problem_of(sender))
                await proxy.ended.wait()
                proxy.ended.clear()
            proxy.ended.set()
            await transport.aclose()
    assert proxy.connections == 2
