"""The receiver without a socket: what it answers to what, in which order, and what of it can be seen."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup import DeliveryState, GreenAPI, SMSFire
from statuslookup.webhooks import receiver
from tests.support.listeners import SECRET, WEBHOOK, Listener, request
from tests.support.webhooks import GREEN_API_ITEM

MOST = 256 * 1024
PATH = f"/{SECRET}"


# --- what is answered -----------------------------------------------------------------------------


async def test_a_webhook_is_fed_and_answered_with_an_empty_200() -> None:
    listener = Listener()
    response = await request(receiver(listener, path_secret=SECRET), PATH, WEBHOOK)
    assert (response.status, response.body) == (200, b"")
    (status,) = listener.heard
    assert (status.id, status.custom_id, status.state) == (1, "order-17", DeliveryState.DELIVERED)


async def test_a_body_may_come_in_pieces_and_hold_several_statuses() -> None:
    listener = Listener()
    body = json.dumps([{"id": id, "statusCode": 2} for id in range(5)]).encode()
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    assert (await request(receiver(listener, path_secret=SECRET), PATH, *pieces)).status == 200
    assert [status.id for status in listener.heard] == [0, 1, 2, 3, 4]


async def test_what_green_api_says_of_other_things_is_taken_and_means_nothing() -> None:
    listener = Listener(GreenAPI(7, "token"))
    app = receiver(listener, path_secret=SECRET)
    chat = {"typeWebhook": "incomingMessageReceived", "messageData": {"typeMessage": "textMessage"}}
    assert (await request(app, PATH, json.dumps(chat).encode())).status == 200
    assert listener.heard == []
    assert (await request(app, PATH, json.dumps(GREEN_API_ITEM).encode())).status == 200
    assert [statistic.id_message for statistic in listener.heard] == ["BAE5367237E13A87"]


@pytest.mark.parametrize(
    "path",
    ["", "/", "/wrong-secret-of-some-length", PATH[:-1], f"{PATH}x", f"{PATH}/", f"/a{PATH}", f"/{PATH}é"],
)
async def test_without_the_secret_there_is_nothing_here(path: str) -> None:
    listener = Listener()
    app = receiver(listener, path_secret=SECRET)
    await listener.aclose()
    for method in ("POST", "GET"):
        response = await request(app, path, b"x" * (MOST + 1), method=method)
        assert (response.status, response.body, response.read) == (404, b"", 0)
    assert listener.heard == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_only_posts_are_webhooks(method: str) -> None:
    listener = Listener()
    response = await request(receiver(listener, path_secret=SECRET), PATH, WEBHOOK, method=method)
    assert (response.status, response.headers["allow"], response.read) == (405, "POST", 0)
    assert listener.heard == []


@pytest.mark.parametrize("body", [b"", b"{", b"5", b"null", b"\xff\xfe", b'{"id": "x"}', b"<html>"])
async def test_what_cannot_be_read_is_refused_and_said_without_its_words(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener()
    with caplog.at_level(logging.WARNING):
        response = await request(receiver(listener, path_secret=SECRET), PATH, body)
    assert (response.status, response.body, listener.heard) == (400, b"", [])
    (record,) = caplog.records
    assert record.name == "statuslookup.webhooks"
    assert f"a webhook of {len(body)} bytes cannot be read: " in record.getMessage()
    assert SECRET not in record.getMessage()


async def test_a_closed_tracker_says_that_it_may_come_again() -> None:
    listener = Listener()
    await listener.aclose()
    response = await request(receiver(listener, path_secret=SECRET), PATH, WEBHOOK)
    assert (response.status, response.body, listener.heard) == (503, b"", [])


async def test_256_kibibytes_are_read_and_no_more() -> None:
    listener = Listener()
    app = receiver(listener, path_secret=SECRET)
    assert (await request(app, PATH, WEBHOOK.ljust(MOST))).status == 200
    long = await request(app, PATH, WEBHOOK.ljust(MOST + 1))
    assert (long.status, long.headers["connection"]) == (413, "close")
    endless = await request(app, PATH, *[b" " * 65_536] * 1000)
    assert (endless.status, endless.read) == (413, 5)
    assert len(listener.heard) == 1


@pytest.mark.parametrize("length", [str(MOST + 1), "104857600", "9" * 5000])
async def test_a_length_that_says_too_much_is_believed_at_once(length: str) -> None:
    headers = [(b"content-length", length.encode())]
    response = await request(receiver(Listener(), path_secret=SECRET), PATH, WEBHOOK, headers=headers)
    assert (response.status, response.read) == (413, 0)


@pytest.mark.parametrize("length", [str(MOST), "-1", "many", "²", ""])
async def test_a_length_that_says_nothing_is_not_asked(length: str) -> None:
    headers = [(b"content-length", length.encode("latin-1", errors="replace"))]
    response = await request(receiver(Listener(), path_secret=SECRET), PATH, WEBHOOK, headers=headers)
    assert response.status == 200


async def test_a_client_that_goes_away_in_the_middle_is_answered_nothing() -> None:
    listener = Listener()
    app = receiver(listener, path_secret=SECRET)
    response = await request(app, PATH, WEBHOOK[:20], is_whole=False)
    assert (response.status, listener.heard) == (None, [])


@given(st.binary(max_size=200))
async def test_no_body_is_more_than_refused(body: bytes) -> None:
    response = await request(receiver(Listener(), path_secret=SECRET), PATH, body)
    assert response.status in (200, 400)


async def test_a_websocket_and_the_lifespan_are_what_a_server_expects() -> None:
    app = receiver(Listener(), path_secret=SECRET)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def connect() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": PATH, "headers": [], "query_string": b""}
    await app(scope, connect, send)
    assert sent == ["websocket.close"]
    assert SECRET not in repr(scope)
    lifespan = iter(("lifespan.startup", "lifespan.shutdown"))

    async def receive() -> Any:
        return {"type": next(lifespan)}

    await app({"type": "lifespan", "state": {}}, receive, send)
    assert sent[1:] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# --- the secret -----------------------------------------------------------------------------------


@pytest.mark.parametrize("root_path", ["", "/hooks/smsfire", "/a/b"])
async def test_the_scope_shows_dashes_in_its_place(root_path: str) -> None:
    path = f"{root_path}{PATH}"
    app = receiver(Listener(), path_secret=SECRET)
    response = await request(app, path, WEBHOOK, root_path=root_path)
    assert response.status == 200
    assert response.scope["path"] == f"{root_path}/---"
    assert response.scope["raw_path"] == f"{root_path}/---".encode()


async def test_a_near_miss_shows_it_as_little() -> None:
    app = receiver(Listener(), path_secret=SECRET)
    for path in (f"{PATH}/", f"/hooks{PATH}", f"{PATH}{PATH}"):
        response = await request(app, path, WEBHOOK, query_string=f"a={SECRET}".encode())
        assert response.status == 404
        assert SECRET not in repr(response.scope)
    # What is no part of it stays as it is.
    response = await request(app, "/a b", raw_path=b"/a%20b")
    assert (response.scope["path"], response.scope["raw_path"]) == ("/a b", b"/a%20b")


async def test_a_percent_encoded_secret_is_the_same_and_is_hidden_too() -> None:
    app = receiver(Listener(), path_secret=SECRET)
    encoded = "".join(f"%{byte:02X}" for byte in SECRET.encode())
    response = await request(app, PATH, WEBHOOK, raw_path=f"/{encoded}".encode())
    assert response.status == 200
    assert response.scope["raw_path"] == b"/---"


@pytest.mark.parametrize(
    ("secret", "error", "text"),
    [
        ("x" * 15, ValueError, "path_secret must have 16 characters or more: make one with secrets"),
        ("", ValueError, "path_secret must have 16 characters or more"),
        ("y/" * 10, ValueError, "path_secret must be letters, digits, '-', '.', '_' and '~'"),
        ("y " * 10, ValueError, "path_secret must be letters"),
        ("é" * 20, ValueError, "path_secret must be letters"),
        (b"x" * 20, TypeError, "path_secret is a str, not bytes"),
        (None, TypeError, "path_secret is a str, not NoneType"),
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_shown(
    secret: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text) as raised:
        receiver(Listener(), path_secret=secret)
    if secret:
        assert str(secret) not in str(raised.value)


def test_sixteen_characters_are_enough_and_the_repr_has_none_of_them() -> None:
    app = receiver(Listener(), path_secret="aB3-._~" + "x" * 9)
    assert "aB3" not in repr(app)


def test_what_cannot_be_fed_is_refused() -> None:
    with pytest.raises(TypeError, match="tracker is a StatusTracker, not int"):
        receiver(5, path_secret=SECRET)  # type: ignore[arg-type] # that is the point

    class Silent(SMSFire):
        parse_webhook = None  # type: ignore[assignment] # a provider of one's own that has none

    with pytest.raises(TypeError, match="SMSFire has no webhooks: its provider has no parse_webhook"):
        receiver(Listener(Silent("token")), path_secret=SECRET)


# --- the extra ------------------------------------------------------------------------------------


def test_without_its_extra_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['starlette'] = None; import statuslookup.webhooks"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert 'webhooks need their extra: pip install "statuslookup[webhooks]"' in done.stderr


def test_the_package_does_not_import_it() -> None:
    program = "import sys, statuslookup; print('statuslookup.webhooks' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
