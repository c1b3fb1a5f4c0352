"""GREEN-API: who got and who saw a WhatsApp status ("story").

Source of every fact here: GREEN-API, "GetStatusStatistic", "Common errors" and "Outgoing message status".
"""

import re
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Self
from urllib.parse import quote

from .._arguments import whole
from .._model import DeliveryState, RateLimit, Receipt, StatusStatistic, checked_rate_limit
from .._urls import checked_base_url, host_of
from .._wire import PLACEHOLDER, Request, Response, Secret
from ..errors import DecodeError, ProviderError, QuotaExceededError
from .base import Outcomes, error_of, items_of
from .environment import read_environment, require
from .fields import Reading, decode, integer, reader, required, text, unix_time

_NAME = "GREEN-API"
_API_URL = "https://api.green-api.com"
_MOST_KEY_LENGTH = 256
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


class GreenAPI:
    """The provider GREEN-API: who saw a WhatsApp status ("story"); it knows nothing of chat messages.

    Keys are the ``idMessage`` of WhatsApp statuses (``str``). An answer is a ``StatusStatistic``; that of a
    key that GREEN-API knows nothing of has no receipts. The instance's setting "Receive webhooks on sent
    messages statuses" must be on; a change of it takes up to 5 minutes, and statistics are kept for 30 days.

    ``id_instance`` and ``api_token_instance`` are what GREEN-API's console shows; the token is a password.
    ``api_url`` is the account's own. GREEN-API allows 1 request a second for each instance, and one key a
    request; ``rate_limit=None`` sends without a limit. A bad argument is a ``TypeError`` or ``ValueError``.

    The attributes are ``id_instance``, ``base_url`` (the ``api_url``), ``rate_limit``, ``max_batch``,
    ``name``, and ``secret`` with the token.

    Source: GREEN-API, "GetStatusStatistic".
    """

    name: str
    """The brand, as error messages and logs say it."""
    secret: Secret
    """The instance's token, which no repr shows."""
    max_batch: int
    """The most keys that one request carries: 1."""
    # With values for the repr, which a traceback with locals shows also where __init__ refused an argument.
    base_url: str = ""
    """Where the account's API is, without a slash at its end."""
    rate_limit: RateLimit | None = None
    """The limit that is kept, or ``None``."""
    id_instance: int = 0
    """The instance's number."""

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
            raise ValueError("api_token_instance must be GREEN-API's token alone: letters and digits")
        self.name = _NAME
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

    def __repr__(self) -> str:
        return f"<GreenAPI {self.id_instance} at {self.base_url} rate_limit={self.rate_limit}>"

    @staticmethod
    def parse_webhook(body: bytes | str | dict[str, Any] | list[Any]) -> list[StatusStatistic]:
        """Return what a webhook of GREEN-API says of a message: a statistic with one receipt.

        ``body`` is the request's body, or what a web framework made of its JSON. No client is needed. Any
        ``typeWebhook`` but ``outgoingMessageStatus`` gives an empty list. The receipt's ``participant`` is
        the webhook's ``chatId``. A body that is not GREEN-API's raises ``DecodeError``.

        Source: GREEN-API, "Outgoing message status".
        """
        statistics: list[StatusStatistic] = []
        for item in items_of(body, provider=_NAME, what="webhook"):
            if not isinstance(item, dict) or not isinstance(item.get("typeWebhook"), str):
                raise _decode_error("the webhook is not GREEN-API's", "typeWebhook is missing")
            if item["typeWebhook"] == "outgoingMessageStatus":
                statistics.append(_webhook_statistic(item))
        return statistics

    @property
    def budget(self) -> Hashable:
        """What GREEN-API counts by, the instance: all clients of one instance share one limit."""
        return _NAME, host_of(self.base_url), self.id_instance

    def check(self, key: str) -> str:
        """Return the key, or raise ``TypeError`` or ``ValueError`` that says what to pass instead."""
        if not isinstance(key, str):
            raise TypeError(f"a GREEN-API key is the idMessage, a str, not {type(key).__name__}")
        if not key or len(key) > _MOST_KEY_LENGTH or not key.isprintable():
            raise ValueError(f"an idMessage is 1 to {_MOST_KEY_LENGTH} printable characters")
        return key

    def exchange(self, keys: Sequence[str]) -> Generator[Request, Response, Outcomes[str, StatusStatistic]]:
        """Look up the keys, one request each; a client calls it."""
        outcomes: Outcomes[str, StatusStatistic] = {}
        for key in keys:
            try:
                response = yield Request(
                    "GET",
                    f"/waInstance{self.id_instance}/getStatusStatistic/{PLACEHOLDER}",
                    query=f"idMessage={quote(key, safe='')}",
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
    error = error_of(response, provider=_NAME)
    if isinstance(error, QuotaExceededError):
        raise _with_quota(error, response, secret)
    if error is not None:
        raise error
    receipts: list[Receipt] = []
    problems: list[str] = []
    items = [] if response.status_code == 204 else items_of(response.content, provider=_NAME)
    for item in chain.from_iterable(map(_one_participant_each, items)):
        try:
            receipts.append(_read_receipt(item))
        except ValueError as problem:
            problems.append(str(problem))
    if problems and not receipts:
        raise _decode_error("the response is not a list of receipts", *dict.fromkeys(problems))
    return StatusStatistic(id_message=key, receipts=tuple(receipts), problems=tuple(problems))


def _one_participant_each(item: Any) -> Iterator[Any]:
    """Yield the item as often as it names a participant: the documents show a string and call it an array."""
    if isinstance(item, dict) and isinstance(item.get("participant"), list):
        for participant in item["participant"]:
            yield {**item, "participant": participant}
    else:
        yield item


def _with_quota(error: QuotaExceededError, response: Response, secret: Secret) -> QuotaExceededError:
    """Return the error with the counts of the body, as far as it has any."""
    try:
        status = decode(response.content)["invokeStatus"]
        error.used = integer(status.get("used"))
        error.total = integer(status.get("total"))
        description = text(status.get("description"))
    except (AttributeError, LookupError, TypeError, ValueError):
        return error
    if description is not None:
        # The token is part of the URL, and a server may well quote the URL.
        error.description = description.replace(secret.reveal(), PLACEHOLDER)
    return error


def _webhook_statistic(item: dict[str, Any]) -> StatusStatistic:
    id_message = item.get("idMessage")
    if not isinstance(id_message, str) or not id_message:
        raise _decode_error("the webhook is not as documented", "idMessage is no text, or empty")
    try:
        receipt = _read_webhook({"chatId": None, **item})
    except ValueError as problem:
        raise _decode_error("the webhook is not as documented", str(problem)) from None
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
_read_receipt = reader(Receipt, {"participant": ("participant", required(text)), **_FIELDS})
_read_webhook = reader(Receipt, {"participant": ("chatId", _chat), **_FIELDS})


def _decode_error(message: str, *problems: str) -> DecodeError:
    return DecodeError(message, provider=_NAME, problems=problems)
