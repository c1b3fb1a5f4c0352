"""A batch that is refused for some of its keys: who gets which outcome, when, and after how many requests."""

import asyncio
import json
import random
from collections.abc import Callable, Collection
from typing import Any

import httpx
import pytest

from statuslookup import (
    IncompleteError,
    LookupTimeoutError,
    MessageStatus,
    RejectedError,
    Request,
    Response,
    RetryPolicy,
    SMSFire,
    StatusClient,
    StatusLookupError,
    TransportError,
)
from tests.support.fakes import now, other_tasks
from tests.support.smsfire_exchanges import BROKEN, AnyOutcome, Dialogue, item, keys_of, ok
from tests.support.virtual_time import LoopClock

BATCH = range(200)


def refusing(bad: Collection[int], most: int = 200, status: int = 400) -> Callable[[Request], Response]:
    """Return a server that refuses a request with a bad id, or with more ids than ``most``."""

    def answer(request: Request) -> Response:
        ids = [int(str(key)) for key in keys_of(request)]
        if len(ids) > most or not set(bad).isdisjoint(ids):
            return Response(status)
        return ok(*map(item, ids))

    return answer


def refused(outcomes: dict[Any, AnyOutcome]) -> set[Any]:
    assert all(isinstance(outcome, MessageStatus | RejectedError) for outcome in outcomes.values())
    return {key for key, outcome in outcomes.items() if isinstance(outcome, RejectedError)}


# --- who gets a refusal ---------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 95, 187])
@pytest.mark.parametrize("size", [2, 12, 40])
def test_bad_keys_side_by_side_harm_no_good_one(first: int, size: int) -> None:
    bad = {*range(first, min(200, first + size)), 150}
    assert refused(Dialogue(BATCH, refusing(bad)).outcomes) == bad


def test_bad_keys_here_and_there_harm_no_good_one(pytestconfig: pytest.Config) -> None:
    """Eleven batches, and more with --chaos."""
    chance = random.Random(1)
    for _ in range(1 + pytestconfig.getoption("chaos") // 2_000):
        bad = set(chance.sample(BATCH, chance.randrange(100)))
        first = chance.randrange(200)
        bad |= set(BATCH[first : first + chance.randrange(50)])
        assert refused(Dialogue(BATCH, refusing(bad)).outcomes) == bad


def test_every_other_key_is_bad() -> None:
    assert refused(Dialogue(BATCH, refusing(BATCH[::2])).outcomes) == set(BATCH[::2])
    assert refused(Dialogue(BATCH, refusing(BATCH[1::2])).outcomes) == set(BATCH[1::2])


@pytest.mark.parametrize("size", [1, 2, 3, 11])
def test_in_a_small_batch_one_good_key_among_bad_ones_is_found(size: int) -> None:
    assert refused(Dialogue(range(size), refusing(range(size))).outcomes) == set(range(size))
    for good in range(size):
        bad = set(range(size)) - {good}
        assert refused(Dialogue(range(size), refusing(bad)).outcomes) == bad


def test_a_refusal_of_everything_is_not_about_keys() -> None:
    dialogue = Dialogue(BATCH, refusing(BATCH))
    assert refused(dialogue.outcomes) == set(BATCH)
    # The batch, its halves, and 16 keys alone.
    assert len(dialogue.requests) == 19


def test_a_key_that_was_refused_alone_may_be_all_that_was_wrong_with_its_half() -> None:
    (first_probe,) = map(int, keys_of(Dialogue(BATCH, refusing(BATCH)).requests[3]))
    bad = {first_probe, (first_probe + 100) % 200}
    dialogue = Dialogue(BATCH, refusing(bad))
    assert refused(dialogue.outcomes) == bad
    # The half without that key, and perhaps without the next one that was asked alone, is asked for once.
    assert {98, 99} & {len(keys_of(request)) for request in dialogue.requests}


@pytest.mark.parametrize("failure", [BROKEN, Response(500)], ids=["no response", "500"])
def test_a_failure_is_no_proof_that_everything_is_refused(failure: Response | TransportError) -> None:
    """Both halves are refused, and every key that is asked alone fails."""
    sound = refusing({3, 150})

    def answer(request: Request) -> Response | TransportError:
        return failure if len(keys_of(request)) == 1 else sound(request)

    outcomes = Dialogue(BATCH, answer).outcomes
    assert sum(isinstance(outcome, MessageStatus) for outcome in outcomes.values()) >= 190
    assert not any(isinstance(outcome, RejectedError) for outcome in outcomes.values())


def test_a_half_that_fails_is_not_taken_for_one_that_is_refused() -> None:
    sound = refusing({150})

    def answer(request: Request) -> Response:
        return Response(500) if keys_of(request) == [*range(100)] else sound(request)

    dialogue = Dialogue(BATCH, answer)
    assert [len(keys_of(request)) for request in dialogue.requests][:5] == [200, 100, 100, 50, 50]
    assert isinstance(dialogue.outcomes[150], RejectedError)
    assert sum(isinstance(outcome, MessageStatus) for outcome in dialogue.outcomes.values()) == 99


def test_only_a_refusal_that_may_be_about_a_key_is_divided() -> None:
    for status in (400, 413, 422):
        dialogue = Dialogue(BATCH, refusing({3}, status=status))
        assert refused(dialogue.outcomes) == {3}
        assert [len(keys_of(request)) for request in dialogue.requests][:3] == [200, 100, 100]
    for status in (404, 409, 414, 421):
        dialogue = Dialogue(BATCH, refusing({3}, status=status))
        assert refused(dialogue.outcomes) == set(BATCH)
        assert len(dialogue.requests) == 1


# --- how many requests that takes -----------------------------------------------------------------


def test_one_bad_key_costs_at_most_16_more_requests_and_mostly_fewer() -> None:
    costs = [len(Dialogue(BATCH, refusing({bad})).requests) for bad in BATCH]
    assert max(costs) <= 17
    assert sum(costs) / len(costs) < 13.5


def test_a_batch_that_is_too_large_is_halved_until_it_is_not() -> None:
    for most, requests in ((199, 3), (100, 3), (60, 8)):
        dialogue = Dialogue(BATCH, refusing((), most))
        assert refused(dialogue.outcomes) == set()
        assert len(dialogue.requests) == requests


def test_what_a_response_settles_is_handed_out_before_the_next_request() -> None:
    handed_out: set[Any] = set()
    accepted: set[Any] = set()
    for step in Dialogue(BATCH, refusing({3, 77, 78})).steps:
        if isinstance(step, Request):
            assert handed_out == accepted
            keys = set(keys_of(step))
            if keys in ({3}, {77}, {78}) or keys.isdisjoint({3, 77, 78}):
                accepted |= keys
        else:
            handed_out |= step.keys()
    assert len(handed_out) >= 199


# --- through a client, at 2 requests a second -----------------------------------------------------


class Refusing(httpx.AsyncBaseTransport):
    """Answers after ``latency`` seconds, a request with a bad id in it with that id's status."""

    def __init__(self, bad: dict[int, int], latency: float = 0.05) -> None:
        self.bad = bad
        self.latency = latency
        self.batches: list[list[int]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        alone = [request.url.path.rpartition("/")[2]]
        ids = [int(id) for id in (json.loads(request.content)["ids"] if request.method == "POST" else alone)]
        self.batches.append(ids)
        await asyncio.sleep(self.latency)
        statuses = [self.bad[id] for id in ids if id in self.bad]
        if statuses:
            return httpx.Response(statuses[0])
        return httpx.Response(200, json=[item(id) for id in ids])


class Fresh(SMSFire):
    """Shares its rate limit with no other test."""

    @property
    def budget(self) -> object:
        return self


def client_of(server: Refusing, **options: Any) -> StatusClient[Any, Any]:
    provider = Fresh("token", base_url="http://localhost")
    return StatusClient(provider, transport=server, clock=LoopClock(), **options)


async def timed_outcomes(client: StatusClient[Any, Any], **options: Any) -> dict[int, tuple[object, float]]:
    """Look up a whole batch, each key by itself; return each outcome and after how many seconds it came."""
    began_at = now()

    async def look_up(key: int) -> tuple[object, float]:
        try:
            outcome: object = await client.get(key, **options)
        except StatusLookupError as error:
            outcome = error
        return outcome, now() - began_at

    return dict(zip(BATCH, await asyncio.gather(*map(look_up, BATCH)), strict=True))


def answered(outcomes: dict[int, tuple[object, float]], within: float) -> int:
    in_time = [outcome for outcome, seconds in outcomes.values() if seconds <= within]
    return sum(isinstance(outcome, MessageStatus) for outcome in in_time)


@pytest.mark.virtual_time
@pytest.mark.parametrize("bad", [0, 124, 125, 199])
async def test_each_second_half_of_the_keys_that_are_left_have_their_answers(bad: int) -> None:
    async with client_of(Refusing({bad: 400})) as client:
        outcomes = await timed_outcomes(client)
    for steps, keys in enumerate([100, 150, 175, 187, 193, 196, 198, 199], start=1):
        # Two requests, and the way to and fro of the first one.
        assert answered(outcomes, within=steps * 2 * 0.56 + 0.06) >= keys
    assert isinstance(outcomes[bad][0], RejectedError)


@pytest.mark.virtual_time
async def test_one_bad_key_does_not_cost_its_neighbours_a_deadline_of_5_seconds() -> None:
    async with client_of(Refusing({77: 400})) as client:
        outcomes = await timed_outcomes(client, timeout=5.0)
    assert answered(outcomes, within=5.0) >= 187


@pytest.mark.virtual_time
async def test_ten_bad_keys_among_200_harm_no_other_within_the_default_timeout() -> None:
    bad = random.Random(1).sample(BATCH, 10)
    async with client_of(Refusing(dict.fromkeys(bad, 400))) as client:
        outcomes = await timed_outcomes(client)
    assert answered(outcomes, within=60.0) == 190
    assert all(isinstance(outcomes[key][0], RejectedError) for key in bad)


@pytest.mark.virtual_time
async def test_of_twenty_bad_keys_among_200_the_deadline_leaves_few_good_ones_open(
    pytestconfig: pytest.Config,
) -> None:
    """Two batches, and more with --chaos."""
    for seed in range(1 + pytestconfig.getoption("chaos") // 20_000):
        bad = random.Random(seed).sample(BATCH, 20)
        async with client_of(Refusing(dict.fromkeys(bad, 400))) as client:
            outcomes = await timed_outcomes(client)
        good = {key: outcome for key, (outcome, _) in outcomes.items() if key not in bad}
        assert all(isinstance(outcome, MessageStatus | LookupTimeoutError) for outcome in good.values())
        assert answered(outcomes, within=60.0) >= 155


@pytest.mark.virtual_time
async def test_a_list_gets_what_is_known_before_the_bisection_is_over() -> None:
    bad = random.Random(1).sample(BATCH, 20)
    async with client_of(Refusing(dict.fromkeys(bad, 400))) as client:
        with pytest.raises(IncompleteError) as raised:
            await client.get_many(BATCH, timeout=20.0)
        assert len(raised.value.statuses) >= 40


@pytest.mark.virtual_time
async def test_when_nobody_waits_any_more_nothing_more_is_sent() -> None:
    server = Refusing({77: 400})
    async with client_of(server) as client:
        outcomes = await timed_outcomes(client, timeout=2.0)
        sent = len(server.batches)
        assert sent < 6
        assert isinstance(outcomes[77][0], LookupTimeoutError)
        await asyncio.sleep(0.6)
        assert other_tasks() == set()
        assert (client.stats().in_flight, client.stats().queued) == (0, 0)
        await asyncio.sleep(60)
        assert len(server.batches) == client.stats().requests == sent
        # It is asked anew, alone.
        with pytest.raises(RejectedError):
            await client.get(77)
        assert server.batches[-1] == [77]


@pytest.mark.virtual_time
async def test_while_one_still_waits_the_bisection_goes_on() -> None:
    server = Refusing({77: 400})
    async with client_of(server) as client:
        patient = asyncio.create_task(client.get(78))
        await timed_outcomes(client, timeout=1.0)
        assert isinstance(await patient, MessageStatus)


@pytest.mark.virtual_time
async def test_a_key_that_fails_in_the_bisection_is_asked_again_before_it_is_over() -> None:
    """The half from 100 on fails once; its retry does not wait until every bad key is found."""
    server = Refusing(dict.fromkeys(range(0, 100, 5), 400))
    async with client_of(server, retry=RetryPolicy(random=lambda: 0.0)) as client:
        lookups = asyncio.create_task(timed_outcomes(client, timeout=None))
        # Two answers have come, and the third request is about to go.
        await asyncio.sleep(0.8)
        server.bad[150] = 503
        await asyncio.sleep(0.5)
        del server.bad[150]
        outcomes = await lookups
    assert server.batches[2] == list(range(100, 200))
    assert max(outcomes[key][1] for key in range(100, 200)) < 3.0
    assert all(isinstance(outcomes[key][0], MessageStatus) for key in range(100, 200))
    assert client.stats().retries == 100
