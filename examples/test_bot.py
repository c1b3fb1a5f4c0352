"""A bot and its tests, which need neither an account nor the network."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from statuslookup import CustomId, DeliveryState, MessageStatus, SMSFire, StatusClient, StatusLookupError
from statuslookup.sandbox import Sandbox

pytestmark = pytest.mark.asyncio


# The bot. It would be a module of its own.
class Bot:
    def __init__(self, client: StatusClient[int | CustomId, MessageStatus]) -> None:
        self.client = client
        self.news: list[str] = []
        self.webhooks = Starlette(routes=[Route("/", self.receive, methods=["POST"])])

    async def ask(self, id: int) -> str:
        try:
            status = await self.client.get(id)
        except StatusLookupError:
            return "I cannot say now"
        return "I do not know it" if status is None else f"it is {status.state}"

    async def receive(self, request: Request) -> Response:
        for status in SMSFire.parse_webhook(await request.body()):
            self.news.append(f"{status.id} is {status.state}")
        return Response()


async def program() -> str:
    async with StatusClient(SMSFire.from_env()) as client:
        return await Bot(client).ask(42)


# Its tests.
@pytest.fixture
def sandbox() -> Sandbox:
    sandbox = Sandbox(token="secret")
    sandbox.add_message(42, state=DeliveryState.SENT)
    return sandbox


@pytest.fixture
def bot(sandbox: Sandbox) -> Bot:
    provider = SMSFire("secret", base_url="http://localhost")
    return Bot(StatusClient(provider, transport=httpx.ASGITransport(sandbox)))


async def test_two_questions_are_one_request(bot: Bot, sandbox: Sandbox) -> None:
    async with bot.client:
        known, unknown = await asyncio.gather(bot.ask(42), bot.ask(7))
    assert (known, unknown) == ("it is SENT", "I do not know it")
    assert sandbox.requests == 1


async def test_an_outage_passes(bot: Bot, sandbox: Sandbox) -> None:
    sandbox.fault = {1: 503}.get  # the answer to the first request
    async with bot.client:
        assert await bot.ask(42) == "it is SENT"
    assert sandbox.requests == 2


async def test_a_refusal_is_said(bot: Bot, sandbox: Sandbox) -> None:
    sandbox.fault = {1: 403}.get
    async with bot.client:
        assert await bot.ask(42) == "I cannot say now"


async def test_a_webhook_is_news(bot: Bot, sandbox: Sandbox) -> None:
    sandbox.change_state(42, DeliveryState.READ)
    posted = await sandbox.post_webhooks(bot.webhooks)  # or to a URL of this machine
    assert posted.delivered == 1
    assert bot.news == ["42 is READ"]


async def test_the_program_as_it_is(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSFIRE_TOKEN", "secret")
    with sandbox.serve() as base_url:
        monkeypatch.setenv("SMSFIRE_URL", base_url)
        assert await program() == "it is SENT"
