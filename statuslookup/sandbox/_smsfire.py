"""SMSFire's half of the sandbox: its messages and its two paths."""

import hmac
import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from types import MappingProxyType

import attrs
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Scope

from .._arguments import whole
from .._model import DeliveryState, MessageStatus, RateLimit
from ._account import Account, Rules
from ._messages import CODES, check_message, encode, is_expired, number, parse_search
from ._webhooks import Outbox

_BRASILIA = timezone(timedelta(hours=-3))


class SMSFireAccount(Account):
    """SMSFire's messages, and the responses to lookups of them."""

    def __init__(
        self,
        *,
        token: str,
        rate_limit: RateLimit | None,
        rules: Rules,
        outbox: Outbox,
        leading_zeros: bool,
        max_items: int,
    ) -> None:
        self._authorization = f"Basic {_checked_token(token)}".encode()
        self._leading_zeros = leading_zeros
        self._max_items = whole("max_items", max_items, least=1)
        self._messages: dict[int, MessageStatus] = {}
        self._encoded: dict[int, bytes] = {}
        # The inner dicts are sets in the order of adding, so that one repeated customId costs no more to
        # change than any other.
        self._ids: dict[str, dict[int, None]] = {}
        self._router = Router(
            [
                Route("/whatsapp/status/search", self._search, methods=["POST"]),
                Route("/whatsapp/status/{key}", self._look_up, methods=["GET"]),
            ],
            redirect_slashes=False,
        )
        super().__init__(rules, rate_limit, outbox)

    @property
    def messages(self) -> Mapping[int, MessageStatus]:
        """The messages by id, in the order of adding, as a read-only view."""
        return MappingProxyType(self._messages)

    def add(self, *messages: MessageStatus) -> None:
        """Make messages known; one whose id is known already replaces the old one.

        If that changes its status, a webhook is due, unless the new one is EXPIRED.
        """
        for message in messages:
            webhook = self._put(message)
            if webhook is not None:
                self._outbox.add(self, webhook)

    def add_message(
        self,
        id: int,
        *,
        custom_id: str | None = None,
        state: DeliveryState = DeliveryState.DELIVERED,
        sent_date: datetime | None = None,
        status_date: datetime | None = None,
        phone: str | None = "5511944556677",
        message_type: str | None = "TEXT",
        country: str | None = "55",
        instance_token: str | None = "499893c21b1b467970b2n58dcak6009d92d9dscx1",  # noqa: S107 - the documents' own
    ) -> MessageStatus:
        """Add one message in ``state``, with SMSFire's code and name for it, and return it.

        Without dates, the status is of this second, and so is the sending unless the id is known already.
        A state that SMSFire does not have is a ``ValueError``.
        """
        code, name = _code_and_name(state)
        now = _now()
        if sent_date is None:
            known = self._messages.get(id)
            sent_date = known.sent_date if known is not None and known.sent_date is not None else now
        message = MessageStatus(
            id=id,
            custom_id=custom_id,
            instance_token=instance_token,
            message_type=message_type,
            country=country,
            phone=phone,
            status_code=code,
            status_name=name,
            status_date=now if status_date is None else status_date,
            sent_date=sent_date,
            state=state,
        )
        self.add(message)
        return message

    def change_state(
        self, id: int, state: DeliveryState, *, status_date: datetime | None = None
    ) -> MessageStatus:
        """Give a message another state as of that date, or of this second, and return the message.

        An id that was not added, or a state that SMSFire does not have, is a ``ValueError``.
        """
        message = self._changed(id, state, _now() if status_date is None else status_date)
        self.add(message)
        return message

    def _changed(self, id: int, state: DeliveryState, status_date: datetime) -> MessageStatus:
        code, name = _code_and_name(state)
        if id not in self._messages:
            raise ValueError(f"no message has the id {id}: add it first")
        return attrs.evolve(
            self._messages[id], status_code=code, status_name=name, status_date=status_date, state=state
        )

    def _put(self, message: MessageStatus) -> bytes | None:
        """Make a message known, and return the webhook that its change is worth, if any."""
        check_message(message)
        encoded = encode(message, leading_zeros=self._leading_zeros)
        with self._lock:
            return self._store(message, encoded)

    def _is_authorized(self, scope: Scope) -> bool:
        sent = Request(scope).headers.get("authorization", "").encode("latin-1")
        return hmac.compare_digest(sent, self._authorization)

    async def _look_up(self, request: Request) -> Response:
        key: str = request.path_params["key"]
        with self._lock:
            id = number(key)
            if id not in self._messages:
                id = self._last_sent(key)
            return self._respond(1, None if id is None else self._encoded[id])

    async def _search(self, request: Request) -> Response:
        try:
            ids, custom_ids = parse_search(json.loads(await request.body()))
        except (ValueError, RecursionError, ClientDisconnect):
            return self._error(400)
        with self._lock:
            found = [self._encoded[id] for id in self._find(ids, custom_ids)]
            return self._respond(len(ids) + len(custom_ids), b"[%b]" % b",".join(found) if found else None)

    def _store(self, message: MessageStatus, encoded: bytes) -> bytes | None:
        old = self._messages.get(message.id)
        if old is not None and old.custom_id is not None and old.custom_id != message.custom_id:
            del self._ids[old.custom_id][message.id]
        if message.custom_id is not None:
            self._ids.setdefault(message.custom_id, {})[message.id] = None
        self._messages[message.id] = message
        self._encoded[message.id] = encoded
        # SMSFire: "EXPIRED" is never sent by webhook.
        is_news = old is not None and _status(old) != _status(message) and not is_expired(message)
        return encoded if is_news else None

    def _last_sent(self, custom_id: str) -> int | None:
        def sent(id: int) -> float:
            date = self._messages[id].sent_date
            return -math.inf if date is None else date.timestamp()

        # Reversed, because max() keeps the first of equals, and of equals the last one added is wanted.
        return max(reversed(self._ids.get(custom_id, {})), key=sent, default=None)

    def _find(self, ids: list[int], custom_ids: list[str]) -> dict[int, None]:
        found: dict[int, None] = {}
        for id in ids:
            if id in self._messages:
                found[id] = None
            if len(found) == self._max_items:
                return found
        for custom_id in custom_ids:
            for id in self._ids.get(custom_id, ()):
                found[id] = None
                if len(found) == self._max_items:
                    return found
        return found


def _code_and_name(state: DeliveryState) -> tuple[int, str]:
    if state not in CODES:
        raise ValueError(f"SMSFire has no state {state!r}: use one of {', '.join(CODES)}")
    return CODES[state]


def _status(message: MessageStatus) -> tuple[int | None, str | None]:
    return message.status_code, message.status_name


def _now() -> datetime:
    return datetime.now(_BRASILIA).replace(microsecond=0)


def _checked_token(token: str) -> str:
    if not isinstance(token, str):
        raise TypeError(f"token is a str, not {type(token).__name__}")
    # The value stays out of the text: someone may well test with a real token.
    if not token or not token.isascii() or not token.isprintable():
        raise ValueError("token must be printable ASCII and not empty, or no header could carry it")
    return token
