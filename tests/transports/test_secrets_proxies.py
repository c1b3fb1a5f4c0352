"""A proxy sees no secret, and what goes over plain http stays on this machine."""

from pathlib import Path

import pytest

from statuslookup import TransportError
from tests.support.credentials import BOTH, Case, leaks
from tests.support.echo_server import Server, answering, dropped_at_once, found, new_tls, tunnel_to
from tests.support.watch import Watch, end_of

pytestmark = pytest.mark.usefixtures("no_environment")


@BOTH
async def test_a_proxy_of_the_environment_sees_host_and_port_only(
    case: Case, watch: Watch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with Server(found, tls=new_tls(tmp_path)) as server, Server(tunnel_to(server)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        end = await end_of(case, f"https://localhost:{server.port}", watch)
        connect = f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode()
    assert not isinstance(end, BaseException), repr(end)
    assert all(case.wire in head for head in server.heads)
    assert proxy.heads[0].startswith(connect)
    seen = b"".join(proxy.heads)
    assert not leaks(seen.decode("latin-1"))
    assert b"waInstance" not in seen
    assert b"whatsapp" not in seen
    assert proxy.connections == server.connections == 1


@BOTH
async def test_a_proxy_that_refuses_keeps_the_secret(
    case: Case, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(answering(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        end = await end_of(case, "https://api.test", watch)
    assert type(end) is TransportError
    assert "the proxy refused" in str(end)
    assert not leaks(b"".join(proxy.heads).decode())


@BOTH
async def test_no_proxy_is_honoured(
    case: Case, watch: Watch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("NO_PROXY", "example.com,localhost")
    with Server(found, tls=new_tls(tmp_path)) as server, Server(dropped_at_once) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        end = await end_of(case, f"https://localhost:{server.port}", watch)
    assert not isinstance(end, BaseException), repr(end)
    assert (proxy.connections, server.connections) == (0, 1)


@BOTH
async def test_plain_http_goes_around_every_proxy(
    case: Case, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(found) as server, Server(dropped_at_once) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        end = await end_of(case, server.url, watch)
    assert not isinstance(end, BaseException), repr(end)
    assert (proxy.connections, server.connections) == (0, 1)


@BOTH
@pytest.mark.parametrize(
    "url", ["http://api.test", "http://10.0.0.1", "http://[fe80::1]", "HTTP://api.test:443"]
)
def test_plain_http_to_elsewhere_is_refused(case: Case, url: str, watch: Watch) -> None:
    with pytest.raises(ValueError, match="must be https: over http, anybody on the way could read") as caught:
        case.provider(url)
    watch.add(caught.value)
