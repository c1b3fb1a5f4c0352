"""A server that echoes what it is sent, and every way in which it may answer."""

import contextlib
import gzip
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import trustme

from statuslookup import (
    AuthenticationError,
    DecodeError,
    QuotaExceededError,
    RejectedError,
    ResponseError,
    ServerError,
    TransportError,
)


class Connection:
    """One connection at the server: what came, and how to answer it."""

    def __init__(self, sock: socket.socket, server: "Server") -> None:
        self.sock = sock
        self.server = server
        self.head = b""

    def read(self) -> None:
        """Read one request, and leave it with the server."""
        head = b""
        while b"\r\n\r\n" not in head:
            received = self.sock.recv(65536)
            if not received:
                raise ConnectionError
            head += received
        head, _, body = head.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += self.sock.recv(65536)
        self.head = head
        self.server.heads.append(head)
        self.server.received.set()

    @property
    def echo(self) -> bytes:
        """The request's head, on one line."""
        return self.head.replace(b"\r\n", b" ")

    def answer(self, status: int, body: bytes | None = None, *headers: bytes) -> None:
        """Answer, with the request echoed in the reason, in headers, and in the body unless one is given."""
        content = self.echo if body is None else body
        echoes = b"".join(
            b"%s: %s\r\n" % (name, self.echo) for name in (b"X-Echo", b"Set-Cookie", b"Retry-Afters")
        )
        more = b"".join(header + b"\r\n" for header in headers)
        self.sock.sendall(
            b"HTTP/1.1 %d %s\r\n%s%sContent-Length: %d\r\n\r\n%s"
            % (status, self.echo, echoes, more, len(content), content)
        )


Behaviour = Callable[[Connection], None]


class Server:
    """A server in threads, so that nothing of it happens on the loop that is watched."""

    def __init__(self, behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.heads: list[bytes] = []
        self.connections = 0
        self.received = threading.Event()
        self.release = threading.Event()
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []

    def __repr__(self) -> str:
        return "<Server>"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, name="server", args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(10)
        with sock, contextlib.suppress(OSError):
            wrapped = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
            with wrapped:
                self._socks.append(wrapped)
                self.behave(Connection(wrapped, self))

    def __enter__(self) -> "Server":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        accepting = threading.Thread(target=self._accept, name="server", daemon=True)
        self._threads.append(accepting)
        accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        for sock in [self._listener, *self._socks]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answering(status: int, body: bytes | None = None, *headers: bytes) -> Behaviour:
    def behave(connection: Connection) -> None:
        while True:
            connection.read()
            connection.answer(status, body, *headers)

    return behave


def found(connection: Connection) -> None:
    """Answer with the status that was asked for, and with the request echoed in a field of its own."""
    while True:
        connection.read()
        item = {"id": 1, "statusCode": 2, "participant": "1@c.us", "status": "read"}
        connection.answer(200, json.dumps([item | {"echo": connection.echo.decode()}]).encode())


def redirect(connection: Connection) -> None:
    connection.read()
    connection.answer(
        301, b"", b"Location: %s/%s" % (connection.server.url.encode(), connection.head.split()[1])
    )


def quota(connection: Connection) -> None:
    connection.read()
    status = {"used": 3, "total": 2, "description": f"used up: {connection.echo.decode()}"}
    connection.answer(466, json.dumps({"invokeStatus": status}).encode())


def truncated(connection: Connection) -> None:
    connection.read()
    connection.answer(200, b'[{"id": 1, "echo": "' + connection.echo)


def page(connection: Connection) -> None:
    connection.read()
    connection.answer(200, b"<html><p>" + connection.echo + b"</p></html>", b"Content-Type: text/html")


def wrong_types(connection: Connection) -> None:
    connection.read()
    value = connection.echo.decode()
    item = {"id": value, "participant": {"echo": value}, "status": [value], value: value}
    connection.answer(200, json.dumps([item]).encode())


def too_large(connection: Connection) -> None:
    connection.read()
    connection.answer(200, connection.echo * (17 * 2**20 // len(connection.echo) + 1))


def bomb(connection: Connection) -> None:
    connection.read()
    packed = gzip.compress(connection.echo * (17 * 2**20 // len(connection.echo) + 1))
    connection.answer(200, packed, b"Content-Encoding: gzip")


def damaged(connection: Connection) -> None:
    connection.read()
    connection.answer(200, connection.echo, b"Content-Encoding: gzip")


def foreign_encoding(connection: Connection) -> None:
    connection.read()
    connection.answer(200, b"[]", b"Content-Encoding: " + connection.echo)


def dropped_at_once(connection: Connection) -> None:
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def dropped_after_reading(connection: Connection) -> None:
    connection.read()


def dropped_in_the_middle(connection: Connection) -> None:
    connection.read()
    connection.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + connection.echo)


def bad_status_line(connection: Connection) -> None:
    connection.read()
    connection.sock.sendall(b"HTTP/1.1 " + connection.echo + b"\r\n\r\n")


def bad_header(connection: Connection) -> None:
    connection.read()
    connection.sock.sendall(b"HTTP/1.1 200 OK\r\n" + connection.echo + b" \x00: a\r\n\r\n")


def bad_length(connection: Connection) -> None:
    connection.read()
    connection.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: " + connection.echo + b"\r\n\r\n")


def silent(connection: Connection) -> None:
    connection.read()
    connection.server.release.wait(10)


PATHS: dict[str, tuple[Behaviour, type[object]]] = {
    "200": (found, object),
    "204": (answering(204, b""), object),
    "301": (redirect, ResponseError),
    "302": (answering(302), ResponseError),
    "400": (answering(400), RejectedError),
    "401": (answering(401), AuthenticationError),
    "403": (answering(403), AuthenticationError),
    "404": (answering(404), ResponseError),
    "466": (quota, QuotaExceededError),
    "466 of other words": (answering(466), QuotaExceededError),
    "499": (answering(499), ServerError),
    "500": (answering(500), ServerError),
    "502": (answering(502), ServerError),
    "HTML": (page, DecodeError),
    "truncated JSON": (truncated, DecodeError),
    "wrong types": (wrong_types, DecodeError),
    "17 MiB": (too_large, DecodeError),
    "a bomb": (bomb, DecodeError),
    "damaged gzip": (damaged, DecodeError),
    "an encoding that echoes": (foreign_encoding, DecodeError),
    "dropped at once": (dropped_at_once, TransportError),
    "dropped after reading": (dropped_after_reading, TransportError),
    "dropped in the middle": (dropped_in_the_middle, TransportError),
    "a bad status line": (bad_status_line, TransportError),
    "a bad header": (bad_header, TransportError),
    "a bad length": (bad_length, TransportError),
}


def tunnel_to(target: Server) -> Behaviour:
    """Be a proxy that lets everything through to the target, and keeps what it saw."""

    def pump(source: socket.socket, sink: socket.socket, keep: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                keep.append(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def behave(connection: Connection) -> None:
        connection.read()
        connection.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", target.port), timeout=10) as upstream:
            heads = connection.server.heads
            back = threading.Thread(target=pump, args=(upstream, connection.sock, heads), daemon=True)
            back.start()
            pump(connection.sock, upstream, heads)
            back.join(10)

    return behave


def new_tls(folder: Path) -> ssl.SSLContext:
    """Return a server's context for localhost, whose authority nobody trusts, and leave that as a file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context
