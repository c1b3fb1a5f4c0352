"""GREEN-API: who got and who saw a WhatsApp status ("story").

Source of every fact here: GREEN-API, "GetStatusStatistic", "Common errors" and "Outgoing message status".
"""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

from ._json import Reading, decode, integer, reader, required, text, unix_time
from ._model import DeliveryState, RateLimit, Receipt, StatusStatistic
from ._provider import (
    Exchange,
    Results,
    checked_base_url,
    checked_rate_limit,
    error_of,
    from_environment,
    host_of,
    items_of,
)
from ._wire import PLACEHOLDER, Request, Response, Secret
from .errors import DecodeError, ProviderError, QuotaExceededError

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

    Keys are the ``idMessage`` of WhatsApp statuses (``str``). GREEN-API allows 1 request a second for each
    instance, and one key a request; ``rate_limit=None`` sends without a limit. ``api_url`` is the account's
    own. The instance's setting "Receive webhooks on sent messages statuses" must be on; a change of it takes
    up to 5 minutes, and statistics are kept for 30 days. A key that GREEN-API knows nothing of has a
    statistic without receipts.
    """

    def __init__(
        self,
        id_instance: int | str,
        api_token_instance: str,
        *,
        api_url: str = _API_URL,
        rate_limit: RateLimit | None = RateLimit(1, per=1.0),  # noqa: B008 # frozen, and shown as it is in help()
    ) -> None:
        if isinstance(id_instance, bool) or not isinstance(id_instance, int | str):
            raise TypeError(f"id_instance is an int, not {type(id_instance).__name__}")
        if not (str(id_instance).isascii() and str(id_instance).isdigit()):
            raise ValueError("id_instance must be the digits that GREEN-API's console shows")
        if not isinstance(api_token_instance, str):
            raise TypeError(f"api_token_instance is a str, not {type(api_token_instance).__name__}")
        if not _TOKEN.fullmatch(api_token_instance):
            raise ValueError("api_token_instance must be GREEN-API's token alone: letters and digits")
        self.name = _NAME
        self.base_url = checked_base_url(api_url, parameter="api_url")
        self.secret = Secret(api_token_instance)
        self.rate_limit = checked_rate_limit(rate_limit)
        self.max_batch = 1
        self.id_instance = int(id_instance)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return the provider of ``GREEN_API_ID_INSTANCE``, ``GREEN_API_TOKEN`` and ``GREEN_API_URL``.

        ``environ`` replaces the process's environment; ``options`` are those of the class. What is missing
        is a ``ValueError`` that names it; the URL may be given as the option ``api_url`` instead.
        """
        id_instance, token = from_environment(environ, "GREEN_API_ID_INSTANCE", "GREEN_API_TOKEN")
        if "api_url" not in options:
            (options["api_url"],) = from_environment(environ, "GREEN_API_URL")
        return cls(id_instance, token, **options)

    def __repr__(self) -> str:
        return f"<GreenAPI {self.id_instance} at {self.base_url} rate_limit={self.rate_limit}>"

    @staticmethod
    def parse_webhook(body: bytes | str | dict[str, Any] | list[Any]) -> list[StatusStatistic]:
        """Return what a webhook of GREEN-API says of a message: a statistic with one receipt.

        Only ``outgoingMessageStatus`` does; any other ``typeWebhook`` gives an empty list. ``participant`` is
        the webhook's ``chatId``. A body that is not GREEN-API's raises ``DecodeError``.
        """
        statistics: list[StatusStatistic] = []
        for item in items_of(body, provider=_NAME):
            if not isinstance(item, dict) or not isinstance(item.get("typeWebhook"), str):
                raise _decode_error("the webhook is not GREEN-API's", "typeWebhook is missing")
            if item["typeWebhook"] == "outgoingMessageStatus":
                try:
                    id_message = required(text)(item.get("idMessage"), None)
                    receipt = _read_webhook({"chatId": "", **item})
                except ValueError as problem:
                    raise _decode_error("the webhook is not as documented", str(problem)) from None
                statistics.append(StatusStatistic(id_message=id_message, receipts=(receipt,)))
        return statistics

    @property
    def budget(self) -> Hashable:
        """GREEN-API counts by instance: all clients of one instance share one limit."""
        return _NAME, host_of(self.base_url), self.id_instance

    def check(self, key: str) -> str:
        """Return the key, or raise ``TypeError`` or ``ValueError`` that says what to pass instead."""
        if not isinstance(key, str):
            raise TypeError(f"a GREEN-API key is the idMessage, a str, not {type(key).__name__}")
        if not key or len(key) > _MOST_KEY_LENGTH or not key.isprintable():
            raise ValueError(f"an idMessage is 1 to {_MOST_KEY_LENGTH} printable characters")
        return key

    def exchange(self, keys: Sequence[str]) -> Exchange[str, StatusStatistic]:
        """Look up the keys, one request each."""
        results: Results[str, StatusStatistic] = {}
        for key in keys:
            try:
                response = yield Request(
                    "GET",
                    f"/waInstance{self.id_instance}/getStatusStatistic/{PLACEHOLDER}",
                    query=f"idMessage={quote(key, safe='')}",
                )
                results[key] = _statistic(key, response)
            except ProviderError as error:
                results[key] = error
        return results


def _statistic(key: str, response: Response) -> StatusStatistic:
    error = error_of(response, provider=_NAME)
    if isinstance(error, QuotaExceededError):
        raise _with_quota(error, response)
    if error is not None:
        raise error
    receipts: list[Receipt] = []
    problems: list[str] = []
    for item in items_of(response.content, provider=_NAME) if response.content else ():
        try:
            receipts.extend(_read_receipt(one) for one in _one_participant_each(item))
        except ValueError as problem:
            problems.append(str(problem))
    return StatusStatistic(id_message=key, receipts=tuple(receipts), problems=tuple(problems))


def _one_participant_each(item: Any) -> Iterator[Any]:
    """Yield the item as often as it names a participant: the documents show a string and call it an array."""
    if isinstance(item, dict) and isinstance(item.get("participant"), list):
        for participant in item["participant"]:
            yield {**item, "participant": participant}
    else:
        yield item


def _with_quota(error: QuotaExceededError, response: Response) -> QuotaExceededError:
    """Return the error with the counts of the body, as far as it has any."""
    try:
        status = decode(response.content)["invokeStatus"]
        error.used = integer(status.get("used"))
        error.total = integer(status.get("total"))
        error.description = text(status.get("description"))
    except (AttributeError, LookupError, TypeError, ValueError):
        pass
    return error


def _state(status: Any, _: object) -> DeliveryState:
    return _STATES.get(status, DeliveryState.UNKNOWN) if isinstance(status, str) else DeliveryState.UNKNOWN


_FIELDS: dict[str, tuple[str, Reading]] = {
    "timestamp": ("timestamp", unix_time),
    "status": ("status", text),
    "description": ("description", text),
    "state": ("status", _state),
}
_read_receipt = reader(Receipt, {"participant": ("participant", required(text)), **_FIELDS})
_read_webhook = reader(Receipt, {"participant": ("chatId", required(text)), **_FIELDS})


def _decode_error(message: str, *problems: str) -> DecodeError:
    return DecodeError(message, provider=_NAME, problems=problems)
