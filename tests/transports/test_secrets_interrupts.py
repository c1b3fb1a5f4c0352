"""What a signal handler raises in the middle of a request leads to no secret."""

import asyncio
import sys
from types import FrameType
from typing import Any

import httpx
import pytest

from statuslookup._http import Progress, Sender
from tests.support.credentials import BOTH, Case, new_client
from tests.support.watch import Watch

pytestmark = pytest.mark.usefixtures("no_environment")


class Interrupt:
    """A trace function that raises at the given line or call of all that run, as a signal handler may."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> "Interrupt":
        self.count += 1
        if self.count == self.at:
            raise KeyboardInterrupt
        return self


def answer(request: httpx.Request) -> httpx.Response:
    try:
        raise LookupError(request)
    except LookupError:
        return httpx.Response(200, json=[])


def fail(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError(f"{request.url} {request.headers}", request=request)


def send_interrupted(case: Case, handler: Any, at: int) -> tuple[int, BaseException | None]:
    """Send one request, and return how much ran, and what was raised at that point."""

    async def send() -> object:
        before, progress = sys.gettrace(), Progress()
        sys.settrace(interrupt)
        try:
            return await sender.send(request, progress)
        finally:
            sys.settrace(before)

    provider, interrupt = case.provider("https://api.test"), Interrupt(at)
    exchange: Any = provider.exchange([case.key])
    request = next(exchange)
    sender = Sender(
        provider="P",
        base_url=provider.base_url,
        secret=provider.secret,
        transport=httpx.MockTransport(handler),
    )
    with asyncio.Runner() as runner:
        runner.get_loop().run_until_complete(asyncio.sleep(0))
        try:
            runner.run(send())
        except BaseException as error:  # noqa: BLE001 # also what is no Exception
            return interrupt.count, error
    return interrupt.count, None


@BOTH
@pytest.mark.parametrize("handler", [answer, fail])
def test_an_interrupt_at_any_line_shows_no_secret(
    case: Case, handler: Any, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What strikes a destructor does not reach us, and Python reports it where it is.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    total, _ = send_interrupted(case, handler, at=0)
    assert total > 500
    interrupted = 0
    # Every line of the first and the last hundred is ours, or near to it.
    for at in [*range(1, 100), *range(100, total - 100, 23), *range(total - 100, total)]:
        _, error = send_interrupted(case, handler, at)
        interrupted += isinstance(error, KeyboardInterrupt)
        if error is not None:
            watch.add(error)
    assert interrupted > 100


@BOTH
@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_within_a_transport_shows_no_secret_to_whoever_runs_the_loop(
    case: Case, raised: type[BaseException], watch: Watch
) -> None:
    def interrupt(request: httpx.Request) -> httpx.Response:
        try:
            raise LookupError(request)
        except LookupError as error:
            raise raised from error

    async def look_up() -> None:
        async with new_client(case.provider("https://api.test"), transport=transport) as client:
            await client.get(case.key)

    transport = httpx.MockTransport(interrupt)
    with pytest.raises(raised) as caught:
        asyncio.run(look_up())
    watch.add(caught.value)
    assert caught.value.__context__ is None
