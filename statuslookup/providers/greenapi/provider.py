"""GREEN-API: who got and who saw a WhatsApp status ("story").

Source of every fact here: GREEN-API, "GetStatusStatistic", "Common errors" and "Outgoing message status".
"""

import re
from collections.abc import Generator, Hashable, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

from ..._arguments import shown_unfinished, whole
from ..._model import DeliveryState, RateLimit, Receipt, StatusStatistic, checked_rate_limit
from ..._problems import first_few
from ..._urls import checked_base_url, host_of
from ..._wire import PLACEHOLDER, Request, Response, Secret
from ...errors import DecodeError, ProviderError
from ..base import Body, Outcomes, items_of, webhook_values
from ..credentials import flaw_of
from ..environment import read_environment, require
from ..fields import Reading, reader, required, text, unix_time
from ..shared_forms import shared_forms
from . import progress
from .progress import MOST_RECEIPTS
from .refusals import NAME, error_of

_API_URL = "https://api.green-api.com"
_MOST_KEY_LENGTH = 256
_MOST_PROBLEMS = 1_000
# What a response is at most: a receipt has some 100 bytes, and the marks of 5 values.
_MOST_BYTES = 2 * 1024 * 1024
_MOST_VALUES = MOST_RECEIPTS * 5 + 1_000
_MOST_WEBHOOK_VALUES = 10_000
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")

_STATES = {
    "sent": DeliveryState.SENT,
    "delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.READ,
    "failed": DeliveryState.FAILED,
    "noAccount": DeliveryState.FAILED,
    "notInGroup": DeliveryState.FAILED,
    "yellowCard": DeliveryState.FAILED,
}

_to_json, _from_json = shared_forms(StatusStatistic)


class GreenAPI:
    """The provider GREEN-API: who saw a WhatsApp status ("story"); it knows nothing of chat messages.

    Keys are the ``idMessage`` of WhatsApp statuses (``str``). An answer is a ``StatusStatistic``; that of a
    key that GREEN-API knows nothing of has no receipts. The instance's setting "Receive webhooks on sent
    messages statuses" must be on; a change of it takes up to 5 minutes, and statistics are kept for 30 days.

    - ``id_instance``, ``api_token_instance``: what GREEN-API's console shows; the token is a password.
    - ``api_url``: the account's own ``apiUrl``.
    - ``rate_limit``: GREEN-API allows 1 request a second for each instance, and one key a request; ``None``
      sends without a limit.

    A bad argument is a ``TypeError`` or ``ValueError``.

    The attributes are ``id_instance``, ``base_url`` (the ``api_url``), ``rate_limit``, ``max_batch``,
    ``name``, and ``secret`` with the token; ``webhooks_tell_all`` is false.

    Source: GREEN-API, "GetStatusStatistic".
    """

    name: str
    """The brand, as error messages and logs say it."""
    secret: Secret
    """The instance's token, which no repr shows."""
    max_batch: int
    """The most keys that one request carries: 1."""
    base_url: str
    """Where the account's API is, without a slash at its end."""
    rate_limit: RateLimit | None
    """The limit that is kept, or ``None``."""
    id_instance: int
    """The instance's number."""
    webhooks_tell_all = False
    """A webhook tells of one recipient; who they all are, only a lookup says."""

    def __init__(
        self,
        id_instance: int | str,
        api_token_instance: str,
        *,
        api_url: str = _API_URL,
        rate_limit: RateLimit | None = RateLimit(1, per=1.0),  # noqa: B008 # frozen, and shown as it is in help()
    ) -> None:
        kind, secret = type(api_token_instance), Secret(api_token_instance)
        # From here on, no traceback shows it, not even one with its frames' locals.
        del api_token_instance
        self.id_instance = _instance(id_instance)
        if not issubclass(kind, str):
            raise TypeError(f"api_token_instance is a str, not {kind.__name__}")
        if not _TOKEN.fullmatch(secret.reveal()):
            flaw = flaw_of(secret) or "letters and digits"
            raise ValueError(f"api_token_instance must be GREEN-API's token alone: {flaw}")
        self.name = NAME
        self.base_url = checked_base_url(api_url, parameter="api_url")
        self.secret = secret
        self.rate_limit = checked_rate_limit(rate_limit)
        self.max_batch = 1

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return the provider of ``GREEN_API_ID_INSTANCE``, ``GREEN_API_TOKEN`` and ``GREEN_API_URL``.

        ``environ`` replaces the process's environment; ``options`` are those of the class. What is missing
        is a ``ValueError`` that names it; the URL may be given as the option ``api_url`` instead.
        """
        names = ["GREEN_API_ID_INSTANCE", "GREEN_API_TOKEN"]
        if "api_url" not in options:
            names.append("GREEN_API_URL")
        found = read_environment(environ, *names)
        del environ
        require(found, *names)
        if "GREEN_API_URL" in found:
            options["api_url"] = found["GREEN_API_URL"].reveal()
        return cls(found["GREEN_API_ID_INSTANCE"].reveal(), found["GREEN_API_TOKEN"].reveal(), **options)

    @shown_unfinished
    def __repr__(self) -> str:
        return f"<GreenAPI {self.id_instance} at {self.base_url} rate_limit={self.rate_limit}>"

    @staticmethod
    def parse_webhook(body: Body) -> list[StatusStatistic]:
        """Return what a webhook of GREEN-API says of a message: a statistic with one receipt.

        ``body`` is the request's body, what a web framework made of its JSON, or a notification of
        GREEN-API's ``receiveNotification`` that has it as its ``body``. No client is needed. Any
        ``typeWebhook`` but ``outgoingMessageStatus`` gives an empty list. The receipt's ``participant`` is
        the webhook's ``chatId``. An unreadable item is left out if another can be read; if none can, that
        raises ``DecodeError``. What is no body at all, such as a coroutine, is a ``TypeError``.

        Source: GREEN-API, "Outgoing message status".
        """
        found = webhook_values(body, _read_notification, provider=NAME, most_values=_MOST_WEBHOOK_VALUES)
        return [statistic for statistic in found if statistic is not None]

    @property
    def budget(self) -> Hashable:
        """What GREEN-API counts by, the instance: all clients of one instance share one limit."""
        return NAME, host_of(self.base_url), self.id_instance

    def check(self, key: str) -> str:
        """Return the key, or raise ``TypeError`` or ``ValueError`` that says what to pass instead."""
        if not isinstance(key, str):
            raise TypeError(f"a GREEN-API key is the idMessage, a str, not {type(key).__name__}")
        if not key or len(key) > _MOST_KEY_LENGTH or not key.isprintable():
            raise ValueError(
                f"an idMessage is 1 to {_MOST_KEY_LENGTH} printable characters, not {key[:60]!r}"
                f" ({len(key)} characters)"
            )
        return key

    @staticmethod
    def keys_of(status: StatusStatistic) -> list[str]:
        """Return the idMessage of a story, by which a tracker asks."""
        return progress.keys_of(status)

    @staticmethod
    def advance(known: StatusStatistic | None, status: StatusStatistic) -> StatusStatistic | None:
        """Return what is known of a story after some news, or ``None`` if they say nothing new.

        Receipts are united by participant: a state that is further counts, and of equal ones the later.
        """
        return progress.advance(known, status)

    @staticmethod
    def reached(status: StatusStatistic, until: DeliveryState) -> bool:
        """Tell whether the story is as far as ``until``, or failed, at every recipient."""
        return progress.reached(status, until)

    def key_to_text(self, key: str) -> str:
        """Return the text that names the key in a fleet: the key itself."""
        return key

    def key_from_text(self, text: str) -> str:
        """Return the key of a text; one that names none is a ``ValueError``."""
        return self.check(text)

    def answer_to_json(self, answer: StatusStatistic) -> Any:
        """Return the statistic as a fleet shares it."""
        return _to_json(answer)

    def answer_from_json(self, value: Any) -> StatusStatistic:
        """Return the statistic that a fleet shared; anything else is a ``ValueError``."""
        return _from_json(value)

    def exchange(self, keys: Sequence[str]) -> Generator[Request, Response, Outcomes[str, StatusStatistic]]:
        """Look up the keys, one request each; a client calls it."""
        outcomes: Outcomes[str, StatusStatistic] = {}
        for key in keys:
            try:
                response = yield Request(
                    "GET",
                    f"/waInstance{self.id_instance}/getStatusStatistic/{PLACEHOLDER}",
                    query=f"idMessage={quote(key, safe='')}",
                    most_bytes=_MOST_BYTES,
                )
                outcomes[key] = _statistic(key, response, self.secret)
            except ProviderError as error:
                outcomes[key] = error
        return outcomes


def _instance(id_instance: object) -> int:
    if not isinstance(id_instance, str):
        return whole("id_instance", id_instance, least=0)
    if not (id_instance.isascii() and id_instance.isdigit()):
        raise ValueError("id_instance must be the digits that GREEN-API's console shows")
    return int(id_instance)


def _statistic(key: str, response: Response, secret: Secret) -> StatusStatistic:
    error = error_of(response, secret)
    if error is not None:
        raise error
    if response.status_code == 204:
        return StatusStatistic(id_message=key)
    items = items_of(response.content, provider=NAME, most_values=_MOST_VALUES)
    if len(items) > MOST_RECEIPTS or sum(map(_size_of, items)) > MOST_RECEIPTS:
        raise _decode_error(f"the response has more than {MOST_RECEIPTS:,} receipts")
    receipts: list[Receipt] = []
    problems: list[str] = []
    for item in items:
        participants = _participants_of(item)
        try:
            if participants is None:
                receipts.append(_read_receipt(item))
            else:
                _read_participants(participants, item, receipts, problems)
        except ValueError as problem:
            problems.extend([str(problem)] * _size_of(item))
        if len(problems) > _MOST_PROBLEMS:
            raise _decode_error(
                f"the response has more than {_MOST_PROBLEMS:,} receipts that cannot be read", *problems
            )
    if problems and not receipts:
        raise _decode_error("the response is not a list of receipts", *problems)
    return StatusStatistic(id_message=key, receipts=tuple(receipts), problems=first_few(problems))


def _participants_of(item: Any) -> list[Any] | None:
    """Return the participants of an item that has an array of them: the documents show one, and say array."""
    participants = item.get("participant") if isinstance(item, dict) else None
    return participants if isinstance(participants, list) else None


def _size_of(item: Any) -> int:
    participants = _participants_of(item)
    return 1 if participants is None else len(participants)


def _read_participants(
    participants: list[Any], item: dict[str, Any], receipts: list[Receipt], problems: list[str]
) -> None:
    """Add a receipt for each participant; what is wrong with all of them is a ``ValueError``."""
    # Of the item's fields those that are read, and once: it may have as many others as participants.
    shared = _read_receipt({name: item[name] for name in _SHARED if name in item} | {"participant": ""})
    for participant in participants:
        try:
            receipts.append(
                Receipt(
                    participant=_read_participant(participant, None),
                    timestamp=shared.timestamp,
                    status=shared.status,
                    description=shared.description,
                    state=shared.state,
                    problems=shared.problems,
                )
            )
        except ValueError as problem:
            problems.append(f"participant {problem}")


def _read_notification(item: Any) -> StatusStatistic | None:
    """Return what a notification says of a message, ``None`` if it is about something else."""
    if isinstance(item, dict) and "typeWebhook" not in item and isinstance(item.get("body"), dict):
        item = item["body"]
    if not isinstance(item, dict) or not isinstance(item.get("typeWebhook"), str):
        raise ValueError("typeWebhook is missing")
    if item["typeWebhook"] != "outgoingMessageStatus":
        return None
    id_message = item.get("idMessage")
    if not isinstance(id_message, str) or not id_message:
        raise ValueError("idMessage is no text, or empty")
    receipt = _read_webhook({"chatId": None, **{name: item[name] for name in _IN_WEBHOOK if name in item}})
    return StatusStatistic(id_message=id_message, receipts=(receipt,))


def _state(status: Any, _: object) -> DeliveryState:
    return _STATES.get(status, DeliveryState.UNKNOWN) if isinstance(status, str) else DeliveryState.UNKNOWN


def _chat(value: Any, _: object) -> str:
    return text(value) or ""


def _remark(value: Any, _: object) -> str | None:
    """Return a text, and ``None`` for anything else: a receipt is worth no less without its remark."""
    return value if isinstance(value, str) else None


_FIELDS: dict[str, tuple[str, Reading]] = {
    "timestamp": ("timestamp", unix_time),
    "status": ("status", text),
    "description": ("description", _remark),
    "state": ("status", _state),
}
_SHARED = ("timestamp", "status", "description")
_IN_WEBHOOK = ("chatId", *_SHARED)
_read_participant = required(text)
_read_receipt = reader(
    Receipt, {"participant": ("participant", _read_participant), **_FIELDS}, spare={"timestamp"}
)
_read_webhook = reader(Receipt, {"participant": ("chatId", _chat), **_FIELDS}, spare={"timestamp"})


def _decode_error(message: str, *problems: str) -> DecodeError:
    return DecodeError(message, provider=NAME, problems=problems)
