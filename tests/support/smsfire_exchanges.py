"""What plays SMSFire's exchange with responses that are given or computed, without a server."""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from statuslookup import (
    CustomId,
    MessageKey,
    MessageStatus,
    ProviderError,
    Request,
    Response,
    SMSFire,
    StatusLookupError,
    TransportError,
)

AnyOutcome: TypeAlias = MessageStatus | StatusLookupError | None
Item: TypeAlias = dict[str, Any]
SMSFIRE = SMSFire("canary")
NOTHING_FOUND = Response(204)
BROKEN = TransportError("the connection broke", provider="SMSFire")


class Dialogue:
    """Runs one exchange against a function that answers, and keeps the requests."""

    def __init__(
        self, keys: Sequence[MessageKey], answer: Callable[[Request], Response | ProviderError]
    ) -> None:
        self.requests: list[Request] = []
        self.outcomes: dict[MessageKey, AnyOutcome] = {}
        self.steps: list[Request | dict[MessageKey, AnyOutcome]] = []
        exchange = SMSFIRE.exchange(keys)
        try:
            step = next(exchange)
            while True:
                self.steps.append(step)
                if isinstance(step, Request):
                    self.requests.append(step)
                    assert len(self.requests) <= most_requests(keys)
                    reply = answer(step)
                    step = advanced(exchange, reply)
                else:
                    self.outcomes = step | self.outcomes
                    step = next(exchange)
        except StopIteration as outcome:
            self.outcomes = outcome.value | self.outcomes
        except ProviderError as error:
            self.outcomes = dict.fromkeys(keys, error) | self.outcomes
        assert set(self.outcomes) == set(keys)

    @property
    def ids(self) -> dict[MessageKey, int | None]:
        return {key: found_id(outcome) for key, outcome in self.outcomes.items()}


def advanced(exchange: Any, reply: Response | ProviderError) -> Any:
    return exchange.throw(reply) if isinstance(reply, ProviderError) else exchange.send(reply)


def first_request(keys: Sequence[MessageKey]) -> Request:
    request = next(SMSFIRE.exchange(keys))
    assert isinstance(request, Request)
    return request


def most_requests(keys: Sequence[MessageKey]) -> int:
    """Each request settles a key or divides a group; a lone key may be asked twice, and 16 are probed."""
    return max(2, 2 * len(keys) - 1) + 16


def found_id(outcome: AnyOutcome) -> int | None:
    assert outcome is None or isinstance(outcome, MessageStatus), repr(outcome)
    return None if outcome is None else outcome.id


def in_turn(*replies: Response | ProviderError) -> Callable[[Request], Response | ProviderError]:
    """Answer with each of the replies, and fail if more is asked."""
    rest = iter(replies)
    return lambda _: next(rest)


def ok(*items: Any) -> Response:
    return Response(200, json.dumps(items).encode())


def item(id: Any, custom_id: str | None = None, sent: str | None = None, **more: Any) -> Item:
    fields = {"id": id, "customId": custom_id, "sentDate": sent, **more}
    return {name: value for name, value in fields.items() if value is not None}


def ask(keys: Sequence[MessageKey], *replies: Response | ProviderError) -> dict[MessageKey, AnyOutcome]:
    """Return the outcomes of the keys, after exactly these replies."""
    exchange = Dialogue(keys, in_turn(*replies))
    assert len(exchange.requests) == len(replies)
    return exchange.outcomes


def searched(request: Request) -> dict[str, list[str]]:
    assert (request.method, request.path) == ("POST", "/whatsapp/status/search")
    assert request.content is not None
    wanted: dict[str, list[str]] = json.loads(request.content)
    return wanted


def keys_of(request: Request) -> list[MessageKey]:
    if request.method == "GET":
        name = request.path.rpartition("/")[2]
        return [int(name) if name.isdigit() else CustomId(name)]
    wanted = searched(request)
    return [*map(int, wanted.get("ids", [])), *map(CustomId, wanted.get("customIds", []))]


AT_TEN = "2021-08-06T10:00:00-0300"


def sent(message: Item) -> tuple[datetime, int]:
    return datetime.fromisoformat(message["sentDate"]), message["id"]


def repeated(name: str, times: int, first_id: int) -> list[Item]:
    start = datetime(2021, 8, 6, tzinfo=UTC)
    return [
        item(first_id + number, name, (start + timedelta(seconds=number)).isoformat())
        for number in range(times)
    ]


KEYS: list[list[MessageKey]] = [[1], [CustomId("a")], [1, CustomId("a"), 2]]


class ModelServer:
    """Finds messages as SMSFire does: each at most once, in no certain order, and never more than 200."""

    def __init__(self, messages: Iterable[Item], seed: int) -> None:
        self.messages = list(messages)
        self.chance = random.Random(seed)

    def answer(self, request: Request) -> Response:
        wanted = keys_of(request)
        ids = {key for key in wanted if isinstance(key, int)}
        names = {key for key in wanted if isinstance(key, str)} | (
            {str(key) for key in ids} if request.method == "GET" else set()
        )
        found = [one for one in self.messages if one["id"] in ids or one.get("customId") in names]
        if request.method == "GET":
            # What an ambiguous path means is undocumented; here the customId goes first.
            named = [one for one in found if one.get("customId") in names]
            found = [max(named or found, key=sent)] if found else []
        self.chance.shuffle(found)
        return ok(*found[:200]) if found else NOTHING_FOUND

    def truth(self, key: MessageKey) -> set[int | None]:
        """Return what may be the outcome of the key: one message, or any of more than an answer can hold."""
        if isinstance(key, int):
            return {one["id"] for one in self.messages if one["id"] == key} or {None}
        named = [one for one in self.messages if one.get("customId") == key]
        if len(named) > 200:
            return {one["id"] for one in named}
        return {max(named, key=sent)["id"]} if named else {None}
