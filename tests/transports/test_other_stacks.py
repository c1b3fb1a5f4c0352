"""Transports and mocks of other makes see a true request, and work with both providers."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import httpx
import httpx_aiohttp
import pytest
import respx
from httpx_retries import Retry, RetryTransport
from pytest_httpx import HTTPXMock

from statuslookup import ResponseError, SMSFire, TransportError
from statuslookup._http import Transport
from tests.support.credentials import BOTH, GREEN_API_TOKEN, SMSFIRE_TOKEN, Case, GreenAPICase, new_client
from tests.support.echo_server import Server, answering, dropped_after_reading, found, silent
from tests.support.lookups import look_up_at_both, new_sandbox
from tests.support.watch import Watch, end_of

pytestmark = pytest.mark.usefixtures("no_environment")


def retrying() -> Transport:
    return RetryTransport(httpx.AsyncHTTPTransport(), Retry(total=1, backoff_factor=0))


STACKS: dict[str, Callable[[], Transport]] = {
    "httpx-aiohttp": httpx_aiohttp.AiohttpTransport,
    "httpx-retries": retrying,
}
EVERY_STACK = pytest.mark.parametrize("stack", STACKS)


@asynccontextmanager
async def opened(stack: str) -> AsyncIterator[Transport]:
    async with aclosing(STACKS[stack]()) as transport:
        yield transport


@EVERY_STACK
async def test_lookups_at_the_sandbox(stack: str) -> None:
    with new_sandbox().serve() as url:
        async with opened(stack) as transport:
            await look_up_at_both(url, transport)


async def test_lookups_at_an_app_in_this_process() -> None:
    await look_up_at_both("https://api.test", httpx.ASGITransport(new_sandbox()))


@BOTH
@EVERY_STACK
@pytest.mark.parametrize(
    ("behave", "expected"),
    [(found, object), (answering(401), ResponseError), (dropped_after_reading, TransportError)],
    ids=["found", "refused", "dropped"],
)
async def test_nobody_but_the_transport_is_shown_the_secret(
    case: Case, stack: str, behave: Callable[..., None], expected: type[object], watch: Watch
) -> None:
    with Server(behave) as server:
        async with opened(stack) as transport:
            end = await end_of(case, server.url, watch, transport=transport)
    assert isinstance(end, expected), repr(end)
    assert all(case.wire.lower() in head.lower() for head in server.heads)
    assert server.heads


@EVERY_STACK
async def test_a_connection_that_is_refused_is_a_transport_error(stack: str, watch: Watch) -> None:
    with Server(silent) as server:
        url = server.url
    async with opened(stack) as transport:
        end = await end_of(GreenAPICase(), url, watch, transport=transport)
    assert type(end) is TransportError


# --- mocks ----------------------------------------------------------------------------------------

URL = "https://api.green-api.com/waInstance7/getStatusStatistic/" + GREEN_API_TOKEN
STORY = {"idMessage": GreenAPICase.key}
MESSAGE = "https://api.test/whatsapp/status/1"
AUTHORIZATION = {"Authorization": f"Basic {SMSFIRE_TOKEN}"}


async def look_up_both(transport: Transport | None = None) -> None:
    async with new_client(
        GreenAPICase().provider("https://api.green-api.com"), transport=transport
    ) as client:
        story = await client.get(GreenAPICase.key)
    async with new_client(SMSFire(SMSFIRE_TOKEN, base_url="https://api.test"), transport=transport) as client:
        message = await client.get(1)
    assert story is not None
    assert message is not None
    assert (story.receipts, message.id) == ((), 1)


@pytest.mark.parametrize("lent", [False, True], ids=["its own transport", "the router as the transport"])
async def test_respx_matches_by_url_params_and_header(lent: bool) -> None:
    with respx.mock() as router:
        story = router.get(URL, params=STORY).respond(200, json=[])
        message = router.get(MESSAGE, headers=AUTHORIZATION).respond(200, json=[{"id": 1, "statusCode": 2}])
        await look_up_both(httpx.MockTransport(router.async_handler) if lent else None)
    assert (story.call_count, message.call_count) == (1, 1)
    assert str(story.calls.last.request.url) == f"{URL}?idMessage={GreenAPICase.key}"


async def test_pytest_httpx_matches_by_url_params_and_header(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url=URL, match_params=STORY, json=[])
    httpx_mock.add_response(url=MESSAGE, match_headers=AUTHORIZATION, json=[{"id": 1, "statusCode": 2}])
    await look_up_both()
    assert len(httpx_mock.get_requests()) == 2
