"""GREEN-API's half of the sandbox: an instance, its statistics and its one path."""

import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import groupby
from types import MappingProxyType
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Scope

from .._arguments import shown_unfinished, whole
from .._model import DeliveryState, RateLimit, Receipt, StatusStatistic
from ._account import Account, Rules
from ._webhooks import Outbox

_METHOD = "getStatusStatistic"
_PATH = re.compile(r"/waInstance([0-9]{1,20})(?:/[^/]+/([^/]+))?(?:/.*)?")
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")
_FIRST_PARTICIPANT = 11001234567
_WID = "79876543210@c.us"
_QUOTA_USED_UP = "Monthly quota has been exceeded. Please go to your personal account and change the tariff"

# Its words for them are these in lower case.
_STATES = (DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ, DeliveryState.FAILED)


@attrs.frozen
class Style:
    """How GREEN-API writes what it documents in two ways."""

    trailing_commas: bool
    array_participants: bool


class Instance(Account):
    """One instance of GREEN-API, with a rate limit, a quota and counts of its own.

    ``Sandbox.add_instance`` makes it. ``quota`` is how many requests its plan lets it answer or ``None``, and
    ``used`` how many it did: once that is the quota, all that it says is 466. Both can be set while it
    serves. Its ``requests``, ``answered``, ``rejections``, ``keys``, ``arrivals`` and ``fault`` are like the
    sandbox's.

    Source: GREEN-API, "GetStatusStatistic" and "Common errors".
    """

    quota: int | None
    """The most requests that the plan lets it answer; ``None`` for any number."""
    used: int
    """The requests that it answered, of those that the quota counts."""

    def __init__(
        self,
        id_instance: int,
        api_token_instance: str,
        *,
        rate_limit: RateLimit | None,
        quota: int | None,
        rules: Rules,
        outbox: Outbox,
        style: Style,
    ) -> None:
        self._id_instance = whole("id_instance", id_instance, least=1)
        self._token = _checked_token(api_token_instance).encode()
        self.quota = None if quota is None else whole("quota", quota, what="an int or None")
        self.used = 0
        self._style = style
        self._statistics: dict[str, StatusStatistic] = {}
        self._router = Router(
            [Route(f"/waInstance{{id}}/{_METHOD}/{{token}}", self._look_up, methods=["GET"])],
            redirect_slashes=False,
        )
        super().__init__(rules, rate_limit, outbox)

    @shown_unfinished
    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._id_instance} {self.rate_limit}: {len(self._statistics)}"
            f" statistics, {self.requests} requests, {self.rejections} rejections>"
        )

    @property
    def id_instance(self) -> int:
        """The instance's number."""
        return self._id_instance

    @property
    def statistics(self) -> Mapping[str, StatusStatistic]:
        """The statistics by ``idMessage``, in the order of adding, as a read-only view."""
        return MappingProxyType(self._statistics)

    def add(self, *statistics: StatusStatistic) -> None:
        """Make statistics known; one whose ``id_message`` is known already replaces the old one.

        Each of its receipts that is new or has another status then makes a webhook due.
        """
        for statistic in statistics:
            for webhook in self._put(statistic):
                self._outbox.add(self, webhook)

    def add_statistic(self, id_message: str, *receipts: Receipt | DeliveryState) -> StatusStatistic:
        """Add what is known of one WhatsApp status ("story"), and return it.

        A receipt that is given as a state alone is of this second, from an invented recipient. A state
        that GREEN-API does not have is a ``ValueError``.
        """
        now = _now()
        statistic = StatusStatistic(
            id_message=id_message,
            receipts=tuple(
                Receipt(
                    participant=f"{_FIRST_PARTICIPANT + position}@c.us",
                    timestamp=now,
                    status=_word(receipt),
                    state=receipt,
                )
                if isinstance(receipt, DeliveryState)
                else receipt
                for position, receipt in enumerate(receipts)
            ),
        )
        self.add(statistic)
        return self._statistics[id_message]

    def change_state(
        self, id_message: str, state: DeliveryState, *, participant: str | None = None
    ) -> StatusStatistic:
        """Give one recipient, or all of them, another state as of this second, and return the statistic.

        A key or a recipient that was not added, or a state that GREEN-API does not have, is a ``ValueError``.
        """
        word, now = _word(state), _now()
        known = self._statistics.get(id_message)
        if known is None:
            raise ValueError(f"no statistic has the idMessage {id_message!r}: add it first")
        if not any(participant in (None, receipt.participant) for receipt in known.receipts):
            raise ValueError(f"the statistic has no such recipient {participant!r}: add a receipt first")
        receipts = tuple(
            attrs.evolve(receipt, status=word, timestamp=now, state=state)
            if participant in (None, receipt.participant)
            else receipt
            for receipt in known.receipts
        )
        self.add(attrs.evolve(known, receipts=receipts))
        return self._statistics[id_message]

    def _put(self, statistic: StatusStatistic) -> list[bytes]:
        """Make a statistic known, and return the webhooks that its changes are worth."""
        _check_statistic(statistic)
        receipts = tuple(map(_with_word, statistic.receipts))
        with self._lock:
            return self._store(attrs.evolve(statistic, receipts=receipts))

    def _is_authorized(self, scope: Scope) -> bool:
        token = instance_path(scope)[1]
        return hmac.compare_digest(token.encode(), self._token)

    def _error(self, status: int) -> Response:
        if status != 466:
            return super()._error(status)
        quota = {
            "method": _METHOD.lower(),
            "used": self.used,
            "total": self.used if self.quota is None else self.quota,
            "status": "QUOTE_EXCEEDED",
            "description": _QUOTA_USED_UP,
        }
        return JSONResponse({"invokeStatus": quota}, status_code=status)

    async def _look_up(self, request: Request) -> Response:
        id_message = request.query_params.get("idMessage")
        if not id_message:
            return self._error(400)
        with self._lock:
            if self.quota is None or self.used < self.quota:
                self.used += 1
                known = self._statistics.get(id_message)
                return self._respond(1, _encode(known.receipts if known else (), self._style))
        return self._error(466)

    def _store(self, statistic: StatusStatistic) -> list[bytes]:
        known = self._statistics.get(statistic.id_message)
        self._statistics[statistic.id_message] = statistic
        if known is None:
            return []
        before = {(receipt.participant, receipt.status) for receipt in known.receipts}
        return [
            _encode_webhook(self._id_instance, statistic.id_message, receipt)
            for receipt in statistic.receipts
            if (receipt.participant, receipt.status) not in before
        ]


def instance_path(scope: Scope) -> tuple[int | None, str]:
    """Return the instance and the token that a path names, or ``None`` if it is not one of GREEN-API's."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    match = _PATH.fullmatch(path)
    return (int(match[1]), match[2] or "") if match else (None, "")


def _encode(receipts: tuple[Receipt, ...], style: Style) -> bytes:
    items: list[dict[str, Any]] = []
    if style.array_participants:
        for (timestamp, status), group in groupby(receipts, key=lambda one: (one.timestamp, one.status)):
            items.append(_item(timestamp, [receipt.participant for receipt in group], status))
    else:
        items = [_item(receipt.timestamp, receipt.participant, receipt.status) for receipt in receipts]
    if not style.trailing_commas:
        return json.dumps(items).encode()
    # No JSON library writes the documents' trailing commas, because they are not JSON.
    return f"[{''.join(json.dumps(item)[:-1] + ',},' for item in items)}]".encode()


def _item(timestamp: datetime | None, participant: str | list[str], status: str | None) -> dict[str, Any]:
    item = {"timestamp": _unix_time(timestamp), "participant": participant, "status": status}
    return {name: value for name, value in item.items() if value is not None}


def _encode_webhook(id_instance: int, id_message: str, receipt: Receipt) -> bytes:
    """Return the body of GREEN-API's webhook "Outgoing message status"."""
    values = {
        "typeWebhook": "outgoingMessageStatus",
        "chatId": receipt.participant,
        "instanceData": {"idInstance": id_instance, "wid": _WID, "typeInstance": "whatsapp"},
        "timestamp": _unix_time(receipt.timestamp),
        "idMessage": id_message,
        "status": receipt.status,
        "description": receipt.description,
        "sendByApi": True,
    }
    return json.dumps({name: value for name, value in values.items() if value is not None}).encode()


def _unix_time(date: datetime | None) -> int | None:
    return None if date is None else int(date.timestamp())


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _word(state: DeliveryState) -> str:
    if state not in _STATES:
        raise ValueError(f"GREEN-API has no state {state!r}: use one of {', '.join(_STATES)}")
    return state.lower()


def _with_word(receipt: Receipt) -> Receipt:
    if receipt.status is not None or receipt.state is DeliveryState.UNKNOWN:
        return receipt
    return attrs.evolve(receipt, status=_word(receipt.state))


def _check_statistic(statistic: StatusStatistic) -> None:
    if not isinstance(statistic, StatusStatistic):
        raise TypeError(f"a statistic is a StatusStatistic, not {type(statistic).__name__}")
    if not isinstance(statistic.id_message, str):
        raise TypeError(f"an idMessage is a str, not {type(statistic.id_message).__name__}")
    if not statistic.id_message:
        raise ValueError("an idMessage is not empty")
    for receipt in statistic.receipts:
        if not isinstance(receipt, Receipt):
            raise TypeError(f"a receipt is a Receipt or a DeliveryState, not {type(receipt).__name__}")
        if receipt.timestamp is not None and receipt.timestamp.utcoffset() is None:
            raise ValueError("the timestamp of a receipt must be aware: give it a tzinfo")


def _checked_token(token: str) -> str:
    if not isinstance(token, str):
        raise TypeError(f"api_token_instance is a str, not {type(token).__name__}")
    # The value stays out of the text: someone may well test with a real token.
    if not _TOKEN.fullmatch(token):
        raise ValueError("api_token_instance must be letters and digits, or no path could carry it")
    return token
