"""The sandbox's GREEN-API half: instances, their limits and quotas, and what the documents show."""

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import anyio
import httpx
import pytest

from statuslookup import (
    AuthenticationError,
    DeliveryState,
    GreenAPI,
    QuotaExceededError,
    RateLimit,
    Receipt,
    RetryPolicy,
    StatusClient,
    StatusStatistic,
)
from statuslookup.sandbox import Counting, Instance, Sandbox

from .virtual_time import LoopClock

ID = 1101000001
STORY = "BAE57C4EEC000000"
SEEN_AT = datetime.fromtimestamp(1587129319, UTC)
SENT, DELIVERED, READ = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ
# The example of "GetStatusStatistic".
DOCUMENTED = (
    Receipt(participant="11001234567@c.us", timestamp=SEEN_AT, status="read", state=READ),
    Receipt(participant="71234567891@c.us", timestamp=SEEN_AT, status="read", state=READ),
)


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def unlimited(**options: Any) -> Instance:
    return Sandbox(**options).add_instance(rate_limit=None)


async def ask(
    sandbox: Sandbox,
    id_message: str | None = STORY,
    *,
    id_instance: object = ID,
    rest: str = "/getStatusStatistic/sandbox",
    method: str = "GET",
) -> httpx.Response:
    transport = httpx.ASGITransport(app=sandbox)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        params = {} if id_message is None else {"idMessage": id_message}
        return await client.request(method, f"/waInstance{id_instance}{rest}", params=params)


async def codes_at(sandbox: Sandbox, clock: HandClock, times: list[float], **options: Any) -> list[int]:
    """Ask once at each of the times, and return the status codes."""
    codes = []
    for clock.now in times:
        codes.append((await ask(sandbox, **options)).status_code)
    return codes


def counts(account: Sandbox | Instance) -> tuple[int, int, int, int]:
    return account.requests, account.answered, account.rejections, account.keys


# --- answers --------------------------------------------------------------------------------------


async def test_a_statistic_has_the_documented_fields_in_the_documented_order() -> None:
    sandbox = Sandbox()
    sandbox.add_instance().add_statistic(STORY, *DOCUMENTED)
    response = await ask(sandbox)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert [list(item.items()) for item in response.json()] == [
        [("timestamp", 1587129319), ("participant", "11001234567@c.us"), ("status", "read")],
        [("timestamp", 1587129319), ("participant", "71234567891@c.us"), ("status", "read")],
    ]


async def test_an_unknown_key_is_an_empty_array() -> None:
    sandbox = Sandbox()
    sandbox.add_instance().add_statistic(STORY, READ)
    response = await ask(sandbox, "another")
    assert (response.status_code, response.content) == (200, b"[]")


async def test_a_key_may_hold_anything() -> None:
    sandbox = Sandbox()
    sandbox.add_instance().add_statistic("a b&c=é/%2F+", READ)
    assert len((await ask(sandbox, "a b&c=é/%2F+")).json()) == 1


async def test_trailing_commas_are_where_the_documents_have_them() -> None:
    sandbox = Sandbox(trailing_commas=True)
    instance = sandbox.add_instance(rate_limit=None)
    instance.add_statistic(STORY, *DOCUMENTED)
    instance.add_statistic("nobody")
    text = (await ask(sandbox)).text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    assert text.endswith('"read",},]')
    assert text.count(",}") == 2
    assert (await ask(sandbox, "nobody")).text == "[]"


async def test_array_participants_are_those_with_one_timestamp_and_status_in_a_row() -> None:
    sandbox = Sandbox(array_participants=True)
    other = Receipt(participant="3@c.us", timestamp=SEEN_AT, state=SENT)
    sandbox.add_instance().add_statistic(STORY, *DOCUMENTED, other)
    assert [(item["participant"], item["status"]) for item in (await ask(sandbox)).json()] == [
        (["11001234567@c.us", "71234567891@c.us"], "read"),
        (["3@c.us"], "sent"),
    ]


@pytest.mark.virtual_time
@pytest.mark.parametrize("trailing_commas", [True, False])
@pytest.mark.parametrize("array_participants", [True, False])
async def test_the_client_reads_every_way_of_writing(trailing_commas: bool, array_participants: bool) -> None:
    sandbox = Sandbox(trailing_commas=trailing_commas, array_participants=array_participants)
    added = sandbox.add_instance().add_statistic(
        STORY, *DOCUMENTED, Receipt(participant="3@c.us", state=SENT)
    )
    async with client_of(sandbox) as client:
        assert await client.get(STORY) == added
        assert await client.get("unknown") == StatusStatistic(id_message="unknown")


@pytest.mark.parametrize(
    ("state", "word"),
    [(SENT, "sent"), (DELIVERED, "delivered"), (READ, "read"), (DeliveryState.FAILED, "failed")],
)
async def test_a_state_has_green_apis_word(state: DeliveryState, word: str) -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    before = datetime.now(UTC).replace(microsecond=0)
    (receipt,) = instance.add_statistic(STORY, state).receipts
    assert (receipt.state, receipt.status) == (state, word)
    assert receipt.timestamp is not None
    assert before <= receipt.timestamp <= datetime.now(UTC)
    (item,) = (await ask(sandbox)).json()
    assert (item["status"], item["timestamp"]) == (word, receipt.timestamp.timestamp())


async def test_what_a_receipt_does_not_have_is_left_out_and_raw_words_are_kept() -> None:
    sandbox = Sandbox()
    bare, raw = Receipt(participant="1"), Receipt(participant="2", status="seenTwice")
    sandbox.add_instance().add_statistic(STORY, bare, raw)
    assert (await ask(sandbox)).json() == [{"participant": "1"}, {"participant": "2", "status": "seenTwice"}]


async def test_invented_recipients_differ() -> None:
    statistic = unlimited().add_statistic(STORY, READ, READ, SENT)
    assert len({receipt.participant for receipt in statistic.receipts}) == 3


async def test_adding_a_key_again_replaces_its_statistic() -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    instance.add_statistic(STORY, SENT, SENT)
    instance.add(StatusStatistic(id_message=STORY, receipts=DOCUMENTED[:1]))
    assert [item["status"] for item in (await ask(sandbox)).json()] == ["read"]
    assert list(instance.statistics) == [STORY]
    with pytest.raises(TypeError):
        instance.statistics["x"] = instance.statistics[STORY]  # type: ignore[index] # the point of the test


async def test_a_state_can_be_changed_for_one_recipient_and_for_all() -> None:
    instance = unlimited()
    instance.add_statistic(STORY, SENT, SENT)
    first = instance.statistics[STORY].receipts[0].participant
    changed = instance.change_state(STORY, READ, participant=first)
    assert [(one.state, one.status) for one in changed.receipts] == [(READ, "read"), (SENT, "sent")]
    assert changed is instance.statistics[STORY]
    assert instance.change_state(STORY, DELIVERED).counts == {DELIVERED: 2}


# --- gates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/",
        "/getStatusStatistic",
        "/getStatusStatistic/",
        "/getStatusStatistic/Sandbox",
        "/getStatusStatistic/sandbox2",
        "/sandbox/getStatusStatistic",
        "/getStatusStatistic/s%C3%A9cret",
    ],
)
async def test_a_wrong_token_is_401_and_counted(rest: str) -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance(rate_limit=None)
    assert (await ask(sandbox, rest=rest)).status_code == 401
    assert counts(instance) == (1, 0, 0, 0)


@pytest.mark.parametrize("id_instance", [1101000002, 110100000, "1" * 20, "0"])
async def test_a_wrong_instance_is_401_and_counted_nowhere(id_instance: object) -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    response = await ask(sandbox, id_instance=id_instance)
    assert (response.status_code, response.json()) == (401, {"error": "unauthorized"})
    assert counts(instance) == counts(sandbox) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("rest", "method", "code"),
    [
        ("/getStateInstance/sandbox", "GET", 404),
        ("/getStatusStatistic/sandbox/more", "GET", 404),
        ("/getStatusStatistic/sandbox/", "GET", 404),
        ("/getStatusStatistic/sandbox", "POST", 405),
    ],
)
async def test_other_paths_and_methods_are_refused(rest: str, method: str, code: int) -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance()
    assert (await ask(sandbox, rest=rest, method=method)).status_code == code
    assert counts(instance) == (1, 0, 0, 0)


@pytest.mark.parametrize("id_message", [None, ""])
async def test_without_a_key_it_is_400(id_message: str | None) -> None:
    sandbox = Sandbox()
    instance = sandbox.add_instance(quota=0)
    assert (await ask(sandbox, id_message)).status_code == 400
    assert counts(instance) == (1, 0, 0, 0)


@pytest.mark.parametrize("path", ["/waInstance", "/waInstanceX/getStatusStatistic/sandbox", "/wa"])
async def test_a_path_that_is_not_green_apis_is_smsfires(path: str) -> None:
    sandbox = Sandbox()
    sandbox.add_instance()
    transport = httpx.ASGITransport(app=sandbox)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get(path)).status_code == 401
    assert sandbox.requests == 1


async def test_it_answers_below_a_path_of_its_own() -> None:
    sandbox = Sandbox()
    sandbox.add_instance().add_statistic(STORY, READ)
    transport = httpx.ASGITransport(app=sandbox, root_path="/green")
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost/green") as client:
        response = await client.get(f"/waInstance{ID}/getStatusStatistic/sandbox?idMessage={STORY}")
    assert response.status_code == 200
    assert len(response.json()) == 1


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


# --- misuse ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"id_instance": "1"}, TypeError, "id_instance is an int, not str"),
        ({"id_instance": True}, TypeError, "id_instance is an int, not bool"),
        ({"id_instance": 0}, ValueError, "id_instance must be 1 or more, not 0"),
        ({"api_token_instance": 5}, TypeError, "api_token_instance is a str, not int"),
        ({"api_token_instance": ""}, ValueError, "letters and digits"),
        ({"api_token_instance": "sé/cret"}, ValueError, "letters and digits"),
        ({"rate_limit": 1}, TypeError, "rate_limit is a RateLimit or None, not int"),
        ({"rate_limit": RateLimit(0.5)}, ValueError, "counting='spacing'"),
        ({"quota": "many"}, TypeError, "quota is an int or None, not str"),
        ({"quota": True}, TypeError, "quota is an int or None, not bool"),
    ],
)
def test_a_wrong_argument_says_what_to_do(options: Any, error: type[Exception], text: str) -> None:
    sandbox = Sandbox()
    with pytest.raises(error, match=text) as raised:
        sandbox.add_instance(**options)
    assert "cret" not in str(raised.value)
    assert not sandbox.instances


def test_an_instance_is_added_once() -> None:
    sandbox = Sandbox()
    first = sandbox.add_instance()
    with pytest.raises(ValueError, match="the instance 1101000001 is there already"):
        sandbox.add_instance()
    assert sandbox.instances == {ID: first}
    assert first.id_instance == ID


@pytest.mark.parametrize(
    ("receipts", "error", "text"),
    [
        ([DeliveryState.EXPIRED], ValueError, "use one of SENT, DELIVERED, READ, FAILED"),
        ([Receipt(participant="1", state=DeliveryState.PENDING)], ValueError, "GREEN-API has no state"),
        (["read"], TypeError, "a receipt is a Receipt or a DeliveryState, not str"),
        ([Receipt(participant="1", timestamp=datetime(2026, 1, 1))], ValueError, "give it a tzinfo"),
    ],
)
def test_a_receipt_that_green_api_could_not_have_is_refused(
    receipts: Any, error: type[Exception], text: str
) -> None:
    instance = unlimited()
    with pytest.raises(error, match=text):
        instance.add_statistic(STORY, *receipts)
    assert not instance.statistics


@pytest.mark.parametrize(
    ("statistic", "error"),
    [
        (STORY, TypeError),
        (StatusStatistic(id_message=""), ValueError),
        (StatusStatistic(id_message=5), TypeError),  # type: ignore[arg-type] # the point of the test
    ],
)
def test_a_statistic_that_green_api_could_not_have_is_refused(statistic: Any, error: type[Exception]) -> None:
    instance = unlimited()
    with pytest.raises(error):
        instance.add(statistic)
    assert not instance.statistics


def test_only_what_was_added_can_change() -> None:
    instance = unlimited()
    with pytest.raises(ValueError, match="no statistic has the idMessage 'x': add it first"):
        instance.change_state("x", READ)
    instance.add_statistic(STORY, SENT)
    with pytest.raises(ValueError, match="no such recipient 'nobody'"):
        instance.change_state(STORY, READ, participant="nobody")
    with pytest.raises(ValueError, match="GREEN-API has no state"):
        instance.change_state(STORY, DeliveryState.EXPIRED)


def test_the_repr_shows_state_and_no_token() -> None:
    instance = Sandbox().add_instance(api_token_instance="secret")
    instance.add_statistic(STORY, READ)
    assert repr(instance) == (
        "<Instance 1101000001 RateLimit(limit=1, per=1.0): 1 statistics, 0 requests, 0 rejections>"
    )


def test_dates_of_any_zone_are_unix_times() -> None:
    instance = unlimited()
    india = timezone(timedelta(hours=5, minutes=30))
    receipt = Receipt(participant="1", timestamp=SEEN_AT.astimezone(india), state=READ)
    instance.add_statistic(STORY, receipt)
    assert instance.statistics[STORY].receipts[0].timestamp == SEEN_AT


# --- the client -----------------------------------------------------------------------------------


def client_of(sandbox: Sandbox, **options: Any) -> StatusClient[str, StatusStatistic]:
    provider = GreenAPI(ID, options.pop("token", "sandbox"), api_url="http://localhost")
    return StatusClient(provider, transport=httpx.ASGITransport(sandbox), clock=LoopClock(), **options)


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


async def twenty_keys_ten_of_them_twice(client: StatusClient[str, StatusStatistic]) -> None:
    keys = [f"story{number}" for number in range(20)]
    statistics = await asyncio.gather(*(client.get(key) for key in [*keys, *keys[:10]]))
    assert [one.id_message for one in statistics if one] == [*keys, *keys[:10]]
    assert all(one is not None and one.counts == {READ: 1} for one in statistics)


def with_twenty(counting: Counting, rate_limit: RateLimit = RateLimit(1)) -> Sandbox:  # noqa: B008 # frozen
    sandbox = Sandbox(counting=counting)
    instance = sandbox.add_instance(rate_limit=rate_limit)
    for number in range(20):
        instance.add_statistic(f"story{number}", READ)
    return sandbox


@pytest.mark.virtual_time
@pytest.mark.parametrize("counting", get_args(Counting))
async def test_thirty_lookups_of_twenty_keys_are_twenty_requests(counting: Counting) -> None:
    sandbox = with_twenty(counting)
    async with client_of(sandbox) as client:
        await twenty_keys_ten_of_them_twice(client)
    assert counts(sandbox.instances[ID]) == (20, 20, 0, 20)


async def test_thirty_lookups_of_twenty_keys_are_twenty_requests_over_a_socket() -> None:
    limit = RateLimit(10)

    async def look_up(counting: Counting) -> None:
        sandbox = with_twenty(counting, limit)
        with sandbox.serve() as url:
            # Another port is another host, so that the three clients share no budget.
            async with StatusClient(GreenAPI(ID, "sandbox", api_url=url, rate_limit=limit)) as client:
                started_at = asyncio.get_running_loop().time()
                await twenty_keys_ten_of_them_twice(client)
                seconds = asyncio.get_running_loop().time() - started_at
        assert counts(sandbox.instances[ID]) == (20, 20, 0, 20)
        # Nineteen tenths of a second between twenty requests; how much more is the machine's affair.
        assert 1.8 <= seconds < 20

    await asyncio.gather(*map(look_up, get_args(Counting)))
