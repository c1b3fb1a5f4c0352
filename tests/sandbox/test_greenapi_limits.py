"""The sandbox's GREEN-API half: rate limits, quotas and faults, and a client that meets them."""

import asyncio
from typing import get_args

import anyio
import httpx
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from statuslookup import (
    AuthenticationError,
    GreenAPI,
    IncompleteError,
    InstanceError,
    QuotaExceededError,
    RateLimit,
    RetryPolicy,
    StatusClient,
    StatusStatistic,
)
from statuslookup.sandbox import Counting, Sandbox
from tests.support.greenapi_requests import ID, READ, STORY, ask, client_of, codes_at, counts
from tests.support.virtual_time import HandClock

# --- the rate limit -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counting", "times", "codes"),
    [
        ("fixed_window", [0.0, 0.9, 1.0, 1.9, 2.0], [200, 429, 200, 429, 200]),
        ("sliding_window", [0.5, 1.4, 1.5, 2.4, 2.5], [200, 429, 200, 429, 200]),
        ("spacing", [0.5, 1.4, 1.6, 2.5, 2.6], [200, 429, 200, 429, 200]),
    ],
)
async def test_an_instance_has_one_request_a_second(
    clock: HandClock, counting: Counting, times: list[float], codes: list[int]
) -> None:
    sandbox = Sandbox(counting=counting, clock=clock)
    instance = sandbox.add_instance()
    assert instance.rate_limit == RateLimit(1, per=1.0)
    assert await codes_at(sandbox, clock, times) == codes
    assert counts(instance) == (5, 3, 2, 3)
    assert instance.arrivals == times


@pytest.mark.parametrize("counting", get_args(Counting))
async def test_instances_and_smsfire_have_limits_of_their_own(clock: HandClock, counting: Counting) -> None:
    sandbox = Sandbox(counting=counting, rate_limit=RateLimit(1, per=100.0), clock=clock)
    first, second = sandbox.add_instance(1), sandbox.add_instance(2, rate_limit=RateLimit(1, per=5.0))
    assert await codes_at(sandbox, clock, [7.0, 7.0], id_instance=1) == [200, 429]
    assert await codes_at(sandbox, clock, [7.0, 8.0], id_instance=2) == [200, 429]
    assert await codes_at(sandbox, clock, [8.0], id_instance=1) == [200]
    transport = httpx.ASGITransport(app=sandbox)
    headers = {"Authorization": "Basic sandbox"}
    async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client:
        codes = [(await client.get("/whatsapp/status/1")).status_code for _ in range(2)]
    assert codes == [204, 429]
    assert counts(first) == (3, 2, 1, 2)
    assert counts(second) == (2, 1, 1, 1)
    assert counts(sandbox) == (2, 1, 1, 1)
    first.reset_counts()
    assert counts(first) == (0, 0, 0, 0)
    assert sandbox.requests == second.requests == 2


async def test_rejected_requests_count_as_the_sandbox_says(clock: HandClock) -> None:
    sandbox = Sandbox(counting="spacing", count_rejected=True, clock=clock)
    sandbox.add_instance()
    assert await codes_at(sandbox, clock, [0.0, 0.8, 1.6, 2.7]) == [200, 429, 429, 200]


async def test_a_429_says_when_to_come_again(clock: HandClock) -> None:
    sandbox = Sandbox(clock=clock, retry_after=2.5)
    sandbox.add_instance()
    await ask(sandbox)
    response = await ask(sandbox)
    assert (response.status_code, response.headers["retry-after"]) == (429, "2.5")


async def test_the_limit_can_change_while_it_runs(clock: HandClock) -> None:
    sandbox = Sandbox(clock=clock)
    instance = sandbox.add_instance()
    assert await codes_at(sandbox, clock, [0.0, 0.1]) == [200, 429]
    instance.rate_limit = RateLimit(2, per=1.0)
    assert await codes_at(sandbox, clock, [0.2, 0.3]) == [200, 429]


async def test_the_latency_is_the_sandboxs(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(anyio, "sleep", sleep)
    sandbox = Sandbox(latency=0.5, clock=clock)
    instance = sandbox.add_instance()
    await ask(sandbox)
    assert (instance.arrivals, clock.now) == ([0.25], 0.5)
    await ask(sandbox, id_instance=7)
    assert clock.now == 1.0


# --- the quota and faults -------------------------------------------------------------------------


async def test_a_quota_that_is_used_up_is_466_with_the_documented_body() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance(rate_limit=None, quota=2)
    assert [(await ask(sandbox)).status_code for _ in range(4)] == [200, 200, 466, 466]
    status = (await ask(sandbox)).json()["invokeStatus"]
    assert list(status) == ["method", "used", "total", "status", "description"]
    assert (status["method"], status["used"], status["total"]) == ("getstatusstatistic", 2, 2)
    assert status["status"] == "QUOTE_EXCEEDED"
    assert status["description"].startswith("Monthly quota has been exceeded.")
    assert counts(instance) == (5, 2, 0, 2)
    assert instance.used == 2
    instance.reset_counts()
    assert (await ask(sandbox)).status_code == 466, "the quota must not forget"
    instance.used = 0
    assert (await ask(sandbox)).status_code == 200
    instance.quota = None
    assert [(await ask(sandbox)).status_code for _ in range(3)] == [200] * 3


async def test_what_is_not_answered_uses_up_no_quota(clock: HandClock) -> None:
    sandbox = Sandbox(clock=clock)
    instance = sandbox.add_instance(quota=1)
    assert (await ask(sandbox, rest="/getStatusStatistic/wrong")).status_code == 401
    assert (await ask(sandbox)).status_code == 429
    clock.now = 1.0
    assert instance.used == 0
    assert (await ask(sandbox)).status_code == 200
    assert instance.used == 1


@pytest.mark.virtual_time
async def test_the_client_tells_the_quota() -> None:
    sandbox = Sandbox()
    sandbox.add_instance(quota=1)
    async with client_of(sandbox) as client:
        await client.get(STORY)
        with pytest.raises(QuotaExceededError) as raised:
            await client.get(STORY)
    assert (raised.value.used, raised.value.total) == (1, 1)
    assert (raised.value.description or "").startswith("Monthly quota")
    assert sandbox.instances[ID].requests == 2


async def test_a_fault_is_one_instances_own() -> None:
    sandbox = Sandbox()
    first, second = sandbox.add_instance(1, rate_limit=None), sandbox.add_instance(2, rate_limit=None)
    first.fault = {2: 502, 3: 466, 4: 429}.get
    codes = [(await ask(sandbox, id_instance=1)).status_code for _ in range(5)]
    assert codes == [200, 502, 466, 429, 200]
    assert (await ask(sandbox, id_instance=2)).status_code == 200
    assert (await ask(sandbox, id_instance=2)).status_code == 200
    assert counts(first) == (5, 2, 1, 2)
    assert second.rejections == 0


async def test_a_fault_of_466_has_the_documented_body() -> None:
    sandbox = Sandbox()
    sandbox.add_instance().fault = lambda number: 466
    assert (await ask(sandbox)).json()["invokeStatus"]["status"] == "QUOTE_EXCEEDED"


# --- the client -----------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_the_client_tells_a_wrong_token() -> None:
    sandbox = Sandbox()
    sandbox.add_instance()
    async with client_of(sandbox, token="wrong") as client:
        with pytest.raises(AuthenticationError):
            await client.get(STORY)


@pytest.mark.virtual_time
async def test_the_client_comes_again_after_a_429() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    instance.add_statistic(STORY, READ)
    instance.fault = {1: 429}.get
    async with client_of(sandbox, retry=RetryPolicy()) as client:
        statistic = await client.get(STORY)
    assert statistic is not None
    assert statistic.counts == {READ: 1}
    assert (instance.requests, instance.rejections) == (2, 1)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "words", ["instance in starting process try later", "instance is starting or not authorized"]
)
async def test_the_client_comes_again_while_the_instance_is_starting(words: str) -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    instance.fault = lambda number: JSONResponse({"message": words}, 400) if number <= 2 else None
    async with client_of(sandbox) as client:
        assert await client.get(STORY) == StatusStatistic(id_message=STORY)
        assert (instance.requests, client.stats().retries) == (3, 2)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "fault",
    [
        JSONResponse({"message": "instance account not authorized"}, 400),
        PlainTextResponse("Instance account is expired. Renew your instance from personal area", 400),
        JSONResponse("Instance is deleted", 400),
        Response(status_code=404),
    ],
)
async def test_an_instance_that_is_not_served_ends_many_lookups_at_once(fault: Response) -> None:
    sandbox = with_stories("spacing", 2)
    instance = sandbox.instances[ID]
    instance.fault = lambda number: fault if number > 2 else None
    keys = [f"story{number}" for number in range(50)]
    async with client_of(sandbox) as client:
        with pytest.raises(IncompleteError) as caught:
            await client.get_many(keys)
        assert len(caught.value.statuses) == 2
        assert {type(error) for error in caught.value.errors.values()} == {InstanceError}
        assert set(caught.value.errors) == set(keys[2:])
        with pytest.raises(InstanceError):
            async for _ in client.stream(keys):
                pass
    assert instance.requests <= 5


async def look_up_half_of_them_twice(client: StatusClient[str, StatusStatistic], count: int) -> None:
    keys = [f"story{number}" for number in range(count)]
    statistics = await asyncio.gather(*(client.get(key) for key in [*keys, *keys[: count // 2]]))
    assert [one.id_message for one in statistics if one] == [*keys, *keys[: count // 2]]
    assert all(one is not None and one.counts == {READ: 1} for one in statistics)


def with_stories(counting: Counting, count: int) -> Sandbox:
    sandbox = Sandbox(counting=counting)
    instance = sandbox.add_instance()
    for number in range(count):
        instance.add_statistic(f"story{number}", READ)
    return sandbox


@pytest.mark.virtual_time
@pytest.mark.parametrize("counting", get_args(Counting))
async def test_thirty_lookups_of_twenty_keys_are_twenty_requests(counting: Counting) -> None:
    sandbox = with_stories(counting, 20)
    async with client_of(sandbox) as client:
        await look_up_half_of_them_twice(client, 20)
    assert counts(sandbox.instances[ID]) == (20, 20, 0, 20)


async def test_six_lookups_of_four_keys_are_four_requests_over_a_socket() -> None:
    async def look_up(counting: Counting) -> None:
        sandbox = with_stories(counting, 4)
        with sandbox.serve() as url:
            # Another port is another host, so that the three clients share no budget.
            async with StatusClient(GreenAPI(ID, "sandbox", api_url=url)) as client:
                started_at = asyncio.get_running_loop().time()
                await look_up_half_of_them_twice(client, 4)
                seconds = asyncio.get_running_loop().time() - started_at
        assert counts(sandbox.instances[ID]) == (4, 4, 0, 4)
        # Three seconds between four requests; how much more is the machine's affair.
        assert 2.9 <= seconds < 60

    await asyncio.gather(*map(look_up, get_args(Counting)))
