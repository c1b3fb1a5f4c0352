"""What plays GREEN-API's exchange with responses that are given, without a server."""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from statuslookup import (
    DeliveryState,
    GreenAPI,
    ProviderError,
    Receipt,
    Request,
    Response,
    StatusLookupError,
    StatusStatistic,
    TransportError,
)

AnyOutcome: TypeAlias = StatusStatistic | StatusLookupError | None
TOKEN = "canaryd75b3a66374942c5b3c019c698abc2067e1515"
GREEN_API = GreenAPI(1101000001, TOKEN)
KEY = "BAE57C4EEC000000"
BROKEN = TransportError("the connection broke", provider="GREEN-API")
WORDS = {
    "sent": DeliveryState.SENT,
    "delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.READ,
    "failed": DeliveryState.FAILED,
    "noAccount": DeliveryState.FAILED,
    "notInGroup": DeliveryState.FAILED,
    "yellowCard": DeliveryState.FAILED,
    "seen": DeliveryState.UNKNOWN,
    "READ": DeliveryState.UNKNOWN,
    "": DeliveryState.UNKNOWN,
}
"""GREEN-API's words, some that are none, and the states that they mean."""


def look_up(
    keys: Sequence[str], *replies: Response | ProviderError
) -> tuple[list[Request], dict[str, AnyOutcome]]:
    """Return the requests for the keys and their outcomes, after exactly these replies."""
    exchange = GREEN_API.exchange(keys)
    requests = [next(exchange)]
    for reply in replies:
        try:
            requests.append(
                exchange.throw(reply) if isinstance(reply, ProviderError) else exchange.send(reply)
            )
        except StopIteration as outcome:
            assert len(requests) == len(replies)
            return requests, outcome.value
    raise AssertionError("the exchange asked for more")


def outcome_of(reply: Response | ProviderError) -> AnyOutcome:
    return look_up([KEY], reply)[1][KEY]


def ok(*items: Any) -> Response:
    return Response(200, json.dumps(items).encode())


def statistic(*items: Any) -> StatusStatistic:
    outcome = outcome_of(ok(*items))
    assert isinstance(outcome, StatusStatistic), repr(outcome)
    return outcome


def receipt(**fields: Any) -> Receipt:
    """Return what becomes of an item with these fields."""
    (only,) = statistic({"participant": "1@c.us", **fields}).receipts
    return only


def failure(reply: Response) -> ProviderError:
    outcome = outcome_of(reply)
    assert isinstance(outcome, ProviderError), repr(outcome)
    return outcome
