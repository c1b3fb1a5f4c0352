"""The sandbox's SMSFire half: credentials, rate limit, latency, counts and faults."""

import asyncio
import itertools
from typing import get_args

import anyio
import httpx
import pytest
from starlette.responses import HTMLResponse

from statuslookup import RateLimit
from statuslookup.sandbox import Counting, Sandbox
from tests.support.smsfire_requests import SEARCH, ask, codes_at, found, open_client, search, unlimited
from tests.support.virtual_time import HandClock

# --- paths and credentials ------------------------------------------------------------------------


async def test_other_paths_and_methods_are_refused() -> None:
    sandbox = unlimited()
    sandbox.add_message(1)
    codes = {
        ("GET", "/"): 404,
        ("GET", "/whatsapp/status"): 404,
        ("GET", "/whatsapp/status/"): 404,
        ("GET", "/whatsapp/status/1/2"): 404,
        ("POST", SEARCH + "/"): 404,
        ("POST", "/whatsapp/status/1"): 405,
        ("PUT", SEARCH): 405,
        ("DELETE", "/whatsapp/status/1"): 405,
    }
    async with open_client(sandbox) as client:
        assert {each: (await client.request(*each)).status_code for each in codes} == codes
    assert (sandbox.requests, sandbox.answered) == (len(codes), 0)


async def test_without_the_token_every_path_is_401() -> None:
    sandbox = unlimited(token="secret")
    sandbox.add_message(1)
    values = [
        b"",
        b"Basic",
        b"Basic Secret",
        b"Basic secret ",
        b"Bearer secret",
        b"secret",
        b"Basic s\xe9cret",
    ]
    all_headers = [[], *([(b"Authorization", value)] for value in values)]
    paths = [("GET", "/whatsapp/status/1"), ("POST", SEARCH), ("GET", "/other")]
    transport = httpx.ASGITransport(app=sandbox)
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        for headers, (method, path) in itertools.product(all_headers, paths):
            request = client.build_request(method, path, headers=headers)
            assert (await client.send(request)).status_code == 401, (headers, path)
    assert (sandbox.requests, sandbox.answered) == (24, 0)


async def test_with_the_token_it_answers() -> None:
    sandbox = unlimited(token="secret")
    sandbox.add_message(1)
    async with open_client(sandbox, Authorization="Basic secret") as client:
        assert (await client.get("/whatsapp/status/1")).status_code == 200


async def test_a_401_and_a_404_use_up_the_rate_limit(clock: HandClock) -> None:
    sandbox = Sandbox(clock=clock)
    sandbox.add_message(1)
    async with open_client(sandbox, Authorization="Basic wrong") as client:
        assert (await client.get("/whatsapp/status/1")).status_code == 401
    async with open_client(sandbox) as client:
        assert (await client.get("/other")).status_code == 404
        assert (await client.get("/whatsapp/status/1")).status_code == 429
    async with open_client(sandbox, Authorization="Basic wrong") as client:
        assert (await client.get("/whatsapp/status/1")).status_code == 429


# --- the rate limit -------------------------------------------------------------------------------


async def test_a_fixed_window_begins_at_the_multiples_of_its_length(clock: HandClock) -> None:
    sandbox = Sandbox(counting="fixed_window", clock=clock)
    times = [10.0, 10.1, 10.2, 10.999, 11.0, 11.0, 11.5, 13.98, 13.99, 14.0, 14.01, 14.02]
    assert await codes_at(sandbox, clock, times) == [
        *(204, 204, 429, 429),
        *(204, 204, 429),
        *(204, 204),
        *(204, 204, 429),
    ]


async def test_a_sliding_window_admits_so_many_in_any_second(clock: HandClock) -> None:
    sandbox = Sandbox(counting="sliding_window", clock=clock)
    times = [9.9, 10.1, 10.2, 10.89, 10.9, 11.0, 11.1, 11.2, 11.9]
    assert await codes_at(sandbox, clock, times) == [204, 204, 429, 429, 204, 429, 204, 429, 204]


async def test_spacing_wants_an_interval_after_the_last_counted_request(clock: HandClock) -> None:
    sandbox = Sandbox(counting="spacing", clock=clock)
    times = [0.0, 0.0, 0.499, 0.5, 0.6, 0.99, 1.1, 1.5, 1.6]
    assert await codes_at(sandbox, clock, times) == [204, 429, 429, 204, 429, 429, 204, 429, 204]


@pytest.mark.parametrize(
    ("counting", "times", "codes"),
    [
        ("fixed_window", [0.0, 0.0, 0.9, 1.0, 1.0, 1.1], [204, 204, 429, 204, 204, 429]),
        ("sliding_window", [0.0, 0.0, 0.9, 1.0, 1.5, 1.9, 2.0], [204, 204, 429, 204, 429, 429, 429]),
        ("spacing", [0.0, 0.4, 0.8, 1.2, 1.7], [204, 429, 429, 429, 204]),
    ],
)
async def test_rejected_requests_can_count_as_well(
    clock: HandClock, counting: Counting, times: list[float], codes: list[int]
) -> None:
    sandbox = Sandbox(counting=counting, count_rejected=True, clock=clock)
    assert await codes_at(sandbox, clock, times) == codes


@pytest.mark.parametrize("counting", get_args(Counting))
async def test_a_clock_that_misses_by_a_hair_is_no_request_too_early(
    clock: HandClock, counting: Counting
) -> None:
    sandbox = Sandbox(counting=counting, rate_limit=RateLimit(1, per=0.1), clock=clock)
    times = [0.0]
    # Added up in floats, some of these fall short of a multiple of 0.1.
    for _ in range(20):
        times.append(times[-1] + 0.1)
    assert any(later - earlier < 0.1 for earlier, later in itertools.pairwise(times))
    assert set(await codes_at(sandbox, clock, times)) == {204}
    assert await codes_at(sandbox, clock, [times[-1] + 0.099999]) == [429]


async def test_the_default_is_smsfires_limit_and_the_loops_clock() -> None:
    sandbox = Sandbox()
    assert sandbox.rate_limit == RateLimit(2, per=1.0)
    before = asyncio.get_running_loop().time()
    await ask(sandbox)
    assert before <= sandbox.arrivals[0] <= asyncio.get_running_loop().time()


async def test_no_limit_admits_everything(clock: HandClock) -> None:
    assert set(await codes_at(unlimited(clock=clock), clock, [0.0] * 50)) == {204}


@pytest.mark.parametrize("counting", get_args(Counting))
async def test_the_limit_can_change_while_it_runs(clock: HandClock, counting: Counting) -> None:
    sandbox = Sandbox(counting=counting, rate_limit=RateLimit(1, per=1.0), clock=clock)
    assert await codes_at(sandbox, clock, [0.0, 0.5]) == [204, 429]
    sandbox.rate_limit = RateLimit(2, per=1.0)
    assert await codes_at(sandbox, clock, [0.5, 0.6]) == [204, 429]
    sandbox.rate_limit = RateLimit(1, per=1.0)
    assert await codes_at(sandbox, clock, [0.9]) == [429]
    sandbox.rate_limit = None
    assert await codes_at(sandbox, clock, [0.9, 0.9]) == [204, 204]
    assert sandbox.rate_limit is None


async def test_a_fixed_window_of_another_length_starts_afresh(clock: HandClock) -> None:
    sandbox = Sandbox(rate_limit=RateLimit(1, per=1.0), clock=clock)
    assert await codes_at(sandbox, clock, [0.0, 0.1]) == [204, 429]
    sandbox.rate_limit = RateLimit(1, per=5.0)
    assert await codes_at(sandbox, clock, [0.2, 4.9, 5.0]) == [204, 429, 204]


async def test_a_429_has_a_small_body_and_the_retry_after_that_was_set(clock: HandClock) -> None:
    headers = {None: None, 0: "0", 3.0: "3", 600: "600", 0.25: "0.25", 1e-5: "0.00001", 1e16: "1" + "0" * 16}
    for seconds, header in headers.items():
        sandbox = Sandbox(clock=clock, retry_after=seconds)
        responses = [await ask(sandbox) for _ in range(3)]
        assert [response.status_code for response in responses] == [204, 204, 429]
        assert responses[2].json() == {"error": "too many requests"}
        assert responses[2].headers.get("retry-after") == header
        assert "retry-after" not in responses[0].headers


# --- latency --------------------------------------------------------------------------------------


async def test_half_the_latency_passes_before_a_request_is_counted_and_half_after(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = unlimited(latency=0.5, clock=clock)
    steps: list[tuple[float, int, int]] = []

    async def sleep(seconds: float) -> None:
        steps.append((seconds, sandbox.requests, sandbox.answered))
        sandbox.add_message(len(steps))
        clock.now += seconds

    monkeypatch.setattr(anyio, "sleep", sleep)
    # Message 1 appears on the way there and is found, message 2 on the way back and is not.
    assert found(await search(sandbox, {"ids": [1, 2]})) == [1]
    assert steps == [(0.25, 0, 0), (0.25, 1, 1)]
    assert sandbox.arrivals == [0.25]


async def test_every_response_takes_the_latency(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Sandbox(latency=2.0, rate_limit=RateLimit(1, per=100.0), clock=clock)

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(anyio, "sleep", sleep)
    for code in (204, 429):
        start = clock.now
        assert (await ask(sandbox)).status_code == code
        assert clock.now - start == 2.0


async def test_no_latency_never_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        raise AssertionError("slept")

    monkeypatch.setattr(anyio, "sleep", sleep)
    assert (await ask(Sandbox())).status_code == 204


# --- counts and faults ----------------------------------------------------------------------------


async def test_it_counts(clock: HandClock) -> None:
    sandbox = Sandbox(rate_limit=RateLimit(4, per=1.0), clock=clock)
    sandbox.add_message(1, custom_id="a")
    await ask(sandbox)
    clock.now = 0.25
    await ask(sandbox, "nobody")
    await search(sandbox, {"ids": [1, 1, 9], "customIds": ["a"]})
    clock.now = 0.5
    await search(sandbox, "nonsense")
    await search(sandbox, {"ids": [1]})
    assert (sandbox.requests, sandbox.answered, sandbox.rejections, sandbox.keys) == (5, 3, 1, 6)
    assert sandbox.arrivals == [0.0, 0.25, 0.25, 0.5, 0.5]
    sandbox.reset_counts()
    assert (sandbox.requests, sandbox.answered, sandbox.rejections, sandbox.keys) == (0, 0, 0, 0)
    assert sandbox.arrivals == []
    assert (await ask(sandbox)).status_code == 429, "the rate limit must not forget"


async def test_a_fault_may_be_a_whole_response() -> None:
    sandbox = unlimited()
    sandbox.add_message(1)
    sandbox.fault = {2: HTMLResponse("<html>", 403, {"Retry-After": "7"})}.get
    assert (await ask(sandbox)).status_code == 200
    faulty = await ask(sandbox)
    assert (faulty.status_code, faulty.text, faulty.headers["Retry-After"]) == (403, "<html>", "7")
    assert (sandbox.requests, sandbox.answered) == (2, 1)


async def test_a_fault_replaces_the_response_to_the_requests_it_chooses() -> None:
    sandbox = unlimited()
    sandbox.add_message(1)
    numbers: list[int] = []

    def fault(number: int) -> int | None:
        numbers.append(number)
        return {2: 500, 3: 204}.get(number)

    sandbox.fault = fault
    responses = [await ask(sandbox) for _ in range(4)]
    assert numbers == [1, 2, 3, 4]
    assert [response.status_code for response in responses] == [200, 500, 204, 200]
    assert responses[1].json() == {"error": "fault"}
    assert responses[2].content == b""
    assert (sandbox.requests, sandbox.answered, sandbox.rejections, sandbox.keys) == (4, 2, 0, 2)
    sandbox.fault = None
    assert (await ask(sandbox)).status_code == 200


async def test_a_fault_uses_up_the_rate_limit_and_is_not_asked_about_rejected_requests(
    clock: HandClock,
) -> None:
    sandbox = Sandbox(clock=clock)
    numbers: list[int] = []

    def fault(number: int) -> int | None:
        numbers.append(number)
        return 503

    sandbox.fault = fault
    assert await codes_at(sandbox, clock, [0.0, 0.0, 0.0, 1.0]) == [503, 503, 429, 503]
    assert numbers == [1, 2, 4]


async def test_a_fault_of_429_is_a_rejection_like_any_other() -> None:
    sandbox = unlimited(retry_after=2)
    sandbox.fault = lambda number: 429
    response = await ask(sandbox)
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert sandbox.rejections == 1
