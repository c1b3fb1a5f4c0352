"""Both providers' secrets reach the server, and nothing else that anybody could read or record."""

import asyncio
import gc
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from statuslookup import (
    ClosedError,
    LookupTimeoutError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ResponseError,
    TransportError,
)
from statuslookup._http import sender
from tests.support.credentials import (
    BOTH,
    FORMS,
    GREEN_API_TOKEN,
    PASSWORD,
    SMSFIRE_TOKEN,
    AnyClient,
    AnyProvider,
    Case,
    GreenAPICase,
    leaks,
    new_client,
)
from tests.support.echo_server import (
    PATHS,
    Behaviour,
    Server,
    answering,
    bad_status_line,
    dropped_after_reading,
    found,
    new_tls,
    quota,
    redirect,
    silent,
    too_large,
)
from tests.support.httpx2_senders import BOTH_LIBRARIES
from tests.support.watch import Watch, end_of, texts_of, texts_reachable_from, watch_the_loop

pytestmark = pytest.mark.usefixtures("no_environment")


# --- the watch itself -----------------------------------------------------------------------------


def fail_with(token: str) -> None:
    raise ValueError(len(token))


def fail_after(token: str) -> None:
    try:
        raise KeyError(token)
    except KeyError:
        raise ValueError("after a KeyError") from None


@pytest.mark.parametrize("fail", [fail_with, fail_after])
@pytest.mark.parametrize("form", range(len(FORMS)))
def test_the_watch_sees_locals_and_contexts(fail: Callable[[str], None], form: int) -> None:
    with pytest.raises(ValueError, match=r"\d|KeyError") as caught:
        fail(FORMS[form])
    assert any(map(leaks, texts_reachable_from(caught.value)))


@BOTH_LIBRARIES
def test_the_watch_sees_requests(library: ModuleType) -> None:
    by_header = library.Request("GET", "https://api.test", headers={"X": SMSFIRE_TOKEN})
    by_path = library.Request("GET", f"https://api.test/{GREEN_API_TOKEN}")
    assert any(map(leaks, texts_of(by_header)))
    assert any(map(leaks, texts_of(by_path)))
    assert any(map(leaks, texts_of([PASSWORD])))


# --- every answer ---------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_keeps_the_secret(case: Case, path: str, watch: Watch) -> None:
    behave, expected = PATHS[path]
    with Server(behave) as server:
        end = await end_of(case, server.url, watch)
    assert isinstance(end, expected), repr(end)
    assert isinstance(end, BaseException) == (expected is not object)
    assert all(case.wire in head for head in server.heads)
    if path != "dropped at once":
        assert server.heads
        assert "httpcore.http11" in watch.loggers
    assert {"asyncio", "statuslookup"} <= watch.loggers


@BOTH
async def test_a_429_keeps_the_secret(case: Case, watch: Watch) -> None:
    with Server(answering(429)) as server:
        end = await end_of(case, server.url, watch, timeout=1.0)
    assert type(end) is RateLimitedError


async def test_the_quotas_description_is_kept_without_the_token(watch: Watch) -> None:
    with Server(quota) as server:
        end = await end_of(GreenAPICase(), server.url, watch)
    assert isinstance(end, QuotaExceededError)
    assert (end.used, end.total) == (3, 2)
    assert end.description is not None
    assert end.description.startswith("used up: GET /waInstance7/getStatusStatistic/***?idMessage=")


@BOTH
async def test_a_redirect_is_not_followed(case: Case, watch: Watch) -> None:
    with Server(redirect) as server:
        client = new_client(case.provider(server.url))
        with pytest.raises(ResponseError, match="redirects are not followed"):
            await client.get(case.key)
        await client.aclose()
    assert len(server.heads) == 1


@BOTH
async def test_a_refused_connection_keeps_the_secret(case: Case, watch: Watch) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        end = await end_of(case, f"http://127.0.0.1:{bound.getsockname()[1]}", watch)
    assert type(end) is TransportError


@BOTH
async def test_a_read_timeout_keeps_the_secret(
    case: Case, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sender._TIMEOUTS, "read", 0.05)
    with Server(silent) as server:
        end = await end_of(case, server.url, watch)
    assert type(end) is TransportError
    assert "no answer within" in str(end)


@BOTH
async def test_a_deadline_keeps_the_secret(case: Case, watch: Watch) -> None:
    with Server(silent) as server:
        end = await end_of(case, server.url, watch, timeout=0.1)
    assert type(end) is LookupTimeoutError


async def in_flight(server: Server) -> None:
    await asyncio.to_thread(server.received.wait, 5)
    assert server.heads


@BOTH
async def test_cancellation_keeps_the_secret(case: Case, watch: Watch) -> None:
    watch_the_loop()
    with Server(silent) as server:
        async with new_client(case.provider(server.url)) as client:
            task = asyncio.create_task(client.get(case.key))
            await in_flight(server)
            watch.add(client, client.stats(), *asyncio.all_tasks())
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            watch.add(caught.value, task)


@BOTH
async def test_closing_in_flight_keeps_the_secret(case: Case, watch: Watch) -> None:
    watch_the_loop()
    with Server(silent) as server:
        client = new_client(case.provider(server.url))
        task = asyncio.create_task(client.get(case.key))
        await in_flight(server)
        await client.aclose()
        with pytest.raises(ClosedError) as caught:
            await task
        watch.add(caught.value, client, task)
        with pytest.raises(ClosedError) as again:
            await client.get(case.key)
        watch.add(again.value)


@BOTH
async def test_a_request_that_is_cancelled_from_outside_keeps_the_secret(case: Case, watch: Watch) -> None:
    watch_the_loop()
    with Server(silent) as server:
        async with new_client(case.provider(server.url)) as client:
            task = asyncio.create_task(client.get(case.key))
            await in_flight(server)
            for other in asyncio.all_tasks() - {task, asyncio.current_task()}:
                watch.add(other)
                other.print_stack()
                other.cancel()
            with pytest.raises(ClosedError) as caught:
                await task
            watch.add(caught.value)


@BOTH
async def test_a_client_that_is_never_closed_keeps_the_secret(case: Case, watch: Watch) -> None:
    watch_the_loop()
    with Server(found) as server:
        client: AnyClient | None = new_client(case.provider(server.url))
        assert client is not None
        await client.get(case.key)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            client = None
            gc.collect()
            await asyncio.sleep(0)
            gc.collect()
    for warning in caught:
        watch.add(warning.message, warning.source, str(warning))
    assert any("unclosed <StatusClient" in str(warning.message) for warning in caught)


@BOTH
async def test_a_client_whose_loop_ended_keeps_the_secret(case: Case, watch: Watch) -> None:
    def in_a_loop_of_its_own() -> None:
        loop = asyncio.new_event_loop()
        loop.set_debug(True)
        client = new_client(case.provider(server.url))
        lookup = loop.create_task(client.get(case.key))
        loop.run_until_complete(in_flight(server))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        watch.add(lookup, client)

    with Server(silent) as server:
        await asyncio.to_thread(in_a_loop_of_its_own)
        gc.collect()
    assert server.heads


@BOTH
@pytest.mark.parametrize("trusted", [False, True], ids=["self-signed", "trusted"])
async def test_tls_keeps_the_secret(
    case: Case, trusted: bool, watch: Watch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Server(found, tls=new_tls(tmp_path)) as server:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        end = await end_of(case, f"https://localhost:{server.port}", watch)
    assert isinstance(end, TransportError) != trusted
    assert [case.wire in head for head in server.heads] == ([True, True] if trusted else [])
    if not trusted:
        assert "the certificate was not accepted" in str(end)


# --- a bug in a provider --------------------------------------------------------------------------


def broken(provider: AnyProvider) -> AnyProvider:
    """Let the exchange of a provider break off after its first reply."""

    def exchange(keys: Any) -> Any:
        try:
            response = yield next(whole_exchange(keys))
        except ProviderError as error:
            raise RuntimeError("a bug after an error") from error
        raise RuntimeError(f"a bug after status {response.status_code}")

    whole_exchange: Any = provider.exchange
    provider.exchange = exchange  # type: ignore[method-assign] # a bug, on purpose
    return provider


@BOTH
@pytest.mark.parametrize("behave", [found, answering(401), too_large, bad_status_line, dropped_after_reading])
async def test_a_bug_in_a_provider_is_logged_without_the_secret(
    case: Case, behave: Behaviour, watch: Watch
) -> None:
    watch_the_loop()
    with Server(behave) as server:
        async with new_client(broken(case.provider(server.url))) as client:
            with pytest.raises(ProviderError, match="RuntimeError in the exchange") as caught:
                await client.get(case.key)
            watch.add(caught.value)
    assert any("a bug after" in text for text in watch.texts)
