"""SMSFire's WhatsApp API v2: message statuses by id and by customId.

Source of every fact here: SMSFire, "Consulta Status", "Código de status", "Callback" and "DLR".
"""

import base64
import json
from collections.abc import Generator, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self, cast

import attrs

from ..._model import CustomId, DeliveryState, MessageKey, MessageStatus, RateLimit
from ..._wire import PLACEHOLDER, Request, Response, Secret, read_environment, require
from ...errors import DecodeError
from ..base import (
    Exchange,
    Results,
    checked_base_url,
    checked_rate_limit,
    error_of,
    host_of,
    items_of,
)
from ..bisection import Division, Told
from ..fields import date, integer, reader, required, text

__all__ = ["MessageKey", "SMSFire"]

_NAME = "SMSFire"
_AUTHORIZATION = f"Basic {PLACEHOLDER}"
_BASE_URL = "https://api-v2.smsfire.com.br"
_MAX_ITEMS = 200
_MAX_KEY_LENGTH = 40
_FIRST_TOO_LONG = 10**_MAX_KEY_LENGTH

_STATE_BY_CODE = {
    0: DeliveryState.PENDING,
    1: DeliveryState.SENT,
    2: DeliveryState.DELIVERED,
    3: DeliveryState.UNDELIVERED,
    4: DeliveryState.REJECTED,
    5: DeliveryState.EXPIRED,
}
_STATE_BY_NAME = {state.name: state for state in DeliveryState} | {"ACCEPTED": DeliveryState.SENT}


class SMSFire:
    """The provider SMSFire: looks up what became of WhatsApp messages, 200 of them a request.

    Keys are ids (``int``) and ``CustomId``; a plain ``str`` is refused, because it could be either. An answer
    is a ``MessageStatus``, or ``None`` for a message that SMSFire does not know. Where a customId names
    several messages, the answer is the one that was sent last.

    ``token`` is what SMSFire's portal shows, the base64 of ``user:password``: a password. ``base_url`` is for
    a test. SMSFire allows 2 requests a second per IP address and says that this may change without notice;
    ``rate_limit=None`` sends without a limit. ``max_batch`` is the most keys a request carries, 200 at most,
    because SMSFire returns no more items. A bad argument is a ``TypeError`` or ``ValueError``.

    The attributes are ``base_url``, ``rate_limit``, ``max_batch``, ``name``, and ``secret`` with the token.

    Source: SMSFire, "Consulta Status".
    """

    name: str
    """The brand, as error messages and logs say it."""
    secret: Secret
    """The token, which no repr shows."""
    # With values for the repr, which a traceback with locals shows also where __init__ refused an argument.
    base_url: str = ""
    """Where SMSFire is, without a slash at its end."""
    rate_limit: RateLimit | None = None
    """The limit that is kept, or ``None``."""
    max_batch: int = 0
    """The most keys that one request carries."""

    def __init__(
        self,
        token: str,
        *,
        base_url: str = _BASE_URL,
        rate_limit: RateLimit | None = RateLimit(2, per=1.0),  # noqa: B008 # frozen, and shown as it is in help()
        max_batch: int = _MAX_ITEMS,
    ) -> None:
        kind, secret = type(token), Secret(token)
        # From here on, no traceback shows it, not even one with its frames' locals.
        del token
        if not issubclass(kind, str):
            raise TypeError(f"token is a str, not {kind.__name__}")
        if not _is_token(secret):
            raise ValueError("token must be SMSFire's token alone: no spaces, no 'Basic ' before it")
        if isinstance(max_batch, bool) or not isinstance(max_batch, int):
            raise TypeError(f"max_batch is an int, not {type(max_batch).__name__}")
        if not 1 <= max_batch <= _MAX_ITEMS:
            raise ValueError(f"max_batch must be 1 to {_MAX_ITEMS}, the most items that SMSFire returns")
        self.name = _NAME
        self.base_url = checked_base_url(base_url, parameter="base_url")
        self.secret = secret
        self.rate_limit = checked_rate_limit(rate_limit)
        self.max_batch = max_batch

    @classmethod
    def from_login(cls, user: str, password: str, **options: Any) -> Self:
        """Return the provider for a login of SMSFire's portal; ``options`` are those of the class.

        An empty ``user`` or ``password``, or a colon in ``user``, is a ``ValueError``.
        """
        token = _token_of(user, password)
        del user, password
        if isinstance(token, Exception):
            raise token
        return cls(token.reveal(), **options)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return the provider of ``SMSFIRE_TOKEN``, or else of ``SMSFIRE_USER`` and ``SMSFIRE_PASSWORD``.

        ``SMSFIRE_URL`` is the ``base_url`` unless an option is. ``environ`` replaces the process's
        environment; ``options`` are those of the class. What is missing is a ``ValueError`` that names it.
        """
        found = read_environment(environ, "SMSFIRE_TOKEN", "SMSFIRE_USER", "SMSFIRE_PASSWORD", "SMSFIRE_URL")
        del environ
        if "SMSFIRE_URL" in found:
            options.setdefault("base_url", found["SMSFIRE_URL"].reveal())
        if "SMSFIRE_TOKEN" in found:
            return cls(found["SMSFIRE_TOKEN"].reveal(), **options)
        if not found.keys() & {"SMSFIRE_USER", "SMSFIRE_PASSWORD"}:
            require(found, "SMSFIRE_TOKEN", instead="SMSFIRE_USER and SMSFIRE_PASSWORD")
        require(found, "SMSFIRE_USER", "SMSFIRE_PASSWORD")
        return cls.from_login(found["SMSFIRE_USER"].reveal(), found["SMSFIRE_PASSWORD"].reveal(), **options)

    def __repr__(self) -> str:
        return f"<SMSFire {self.base_url} rate_limit={self.rate_limit} max_batch={self.max_batch}>"

    @staticmethod
    def parse_webhook(body: bytes | str | dict[str, Any] | list[Any]) -> list[MessageStatus]:
        """Return the statuses that a webhook of SMSFire brought: one object, or an array of them.

        ``body`` is the request's body, or what a web framework made of its JSON. No client is needed. An
        unreadable item is left out if another can be read; if none can, that raises ``DecodeError``. EXPIRED
        is never sent by webhook.

        Source: SMSFire, "Consulta Status", "Callback" and "DLR".
        """
        statuses: list[MessageStatus] = []
        problems: list[str] = []
        for item in items_of(body, provider=_NAME, what="webhook"):
            try:
                statuses.append(_read(item))
            except ValueError as problem:
                problems.append(str(problem))
        if problems and not statuses:
            raise _decode_error("the webhook is not SMSFire's", *problems)
        return statuses

    @property
    def budget(self) -> Hashable:
        """What SMSFire counts by, the IP address: clients that talk to its host from here share a limit."""
        return _NAME, host_of(self.base_url)

    def check(self, key: MessageKey) -> MessageKey:
        """Return the key, or raise ``TypeError`` or ``ValueError`` that says what to pass instead."""
        if type(key) is CustomId or (type(key) is int and 0 <= key < _FIRST_TOO_LONG):
            return key
        if isinstance(key, int) and not isinstance(key, bool):
            if key < 0:
                raise ValueError("an SMSFire id is not negative")
            if key >= _FIRST_TOO_LONG:
                raise ValueError(f"an SMSFire id has at most {_MAX_KEY_LENGTH} digits")
            return int(key)
        if isinstance(key, str):
            raise TypeError(
                f"a plain str could be an id or a customId: write int({key[:60]!r}) or CustomId({key[:60]!r})"
            )
        raise TypeError(f"an SMSFire key is an int or a CustomId, not {type(key).__name__}")

    def exchange(self, keys: Sequence[MessageKey]) -> Exchange[MessageKey, MessageStatus]:
        """Look up the keys: by one request, and by more only where an answer leaves doubt.

        A client calls it. A batch that is refused for some bad keys is divided until those are alone, and
        each key's end is handed out before the next request. If nothing but refusals comes of that, it is
        not about a key, and all that is left gets the refusal.
        """
        if len(keys) == 1 and _means_one_thing(keys[0]):
            answer = _Answer((yield _get(keys[0])), keys)
            # An id can be another message's customId, and the path was taken for that one.
            if not answer.strays:
                answer.take_unsure()
                return answer.results
        return (yield from Division(_ask).exchange(list(keys)))


def _is_token(secret: Secret) -> bool:
    token = secret.reveal()
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _token_of(user: object, password: object) -> Secret | Exception:
    """Return the token of a login, or what to raise: from a frame that does not hold the password."""
    if not isinstance(user, str) or not isinstance(password, str):
        return TypeError(
            f"user and password are str, not {type(user).__name__} and {type(password).__name__}"
        )
    if not user or not password:
        return ValueError("user and password must not be empty")
    if ":" in user:
        return ValueError("user must hold no colon: it is what parts the user from the password")
    try:
        return Secret(base64.b64encode(f"{user}:{password}".encode()).decode("ascii"))
    except UnicodeEncodeError:
        # That error holds the whole text.
        return ValueError("user and password must be text that can be written in UTF-8")


def _means_one_thing(key: MessageKey) -> bool:
    return not isinstance(key, str) or not (key.isdigit() or key in (".", "..", "search"))


def _get(key: MessageKey) -> Request:
    return Request("GET", f"/whatsapp/status/{key}", authorization=_AUTHORIZATION)


def _search(keys: Sequence[MessageKey]) -> Request:
    ids = [str(key) for key in keys if not isinstance(key, str)]
    custom_ids = [key for key in keys if isinstance(key, str)]
    wanted = {name: values for name, values in (("ids", ids), ("customIds", custom_ids)) if values}
    content = json.dumps(wanted, separators=(",", ":")).encode()
    return Request("POST", "/whatsapp/status/search", authorization=_AUTHORIZATION, content=content)


def _ask(keys: list[MessageKey]) -> Generator[Request, Response, Told[MessageKey, MessageStatus]]:
    answer = _Answer((yield _search(keys)), keys)
    unsure = answer.take_unsure()
    return answer.results, unsure


class _Answer:
    """What one answer says about the keys that it was asked for."""

    def __init__(self, response: Response, keys: Sequence[MessageKey]) -> None:
        self.results: Results[MessageKey, MessageStatus] = dict.fromkeys(keys)
        self.strays = 0
        self._repeated: set[MessageKey] = set()
        self._unreadable: list[str] = []
        items = _items(response)
        self._is_full = len(items) >= _MAX_ITEMS
        results = self.results
        for item in items:
            try:
                status = _read(item)
            except ValueError as problem:
                self._add_unreadable(item, str(problem))
                continue
            is_wanted = status.id in results
            if is_wanted:
                results[status.id] = status
            custom_id = status.custom_id
            if custom_id is not None and custom_id in results:
                self._add_by_custom_id(cast("CustomId", custom_id), status)
            elif not is_wanted:
                self.strays += 1

    def _add_by_custom_id(self, custom_id: CustomId, status: MessageStatus) -> None:
        earlier = self.results[custom_id]
        if isinstance(earlier, MessageStatus):
            self._repeated.add(custom_id)
            if _sent(earlier) > _sent(status):
                return
        self.results[custom_id] = status

    def _add_unreadable(self, item: Any, problem: str) -> None:
        named, hides_one = _keys_of(item)
        wanted = [key for key in named if key in self.results]
        if not wanted and hides_one:
            self._unreadable.append(problem)
        elif not wanted:
            self.strays += 1
        error = _decode_error("a message's status is not as documented", problem)
        for key in wanted:
            if self.results[key] is None:
                self.results[key] = error

    def take_unsure(self) -> list[list[MessageKey]]:
        """Take out the keys whose end is not certain, and return the groups in which to ask for them again.

        SMSFire caps the items of an answer, and customIds repeat. So a full answer does not prove that an
        absent message is unknown, nor that no later message has the same customId.
        """
        results = self.results
        absent = [key for key, result in results.items() if result is None]
        if not self._is_full or not (absent or self._repeated) or len(results) == 1:
            problems = self._unreadable or (["it is full of others"] if self._is_full else [])
            if absent and problems:
                error = _decode_error("the answer does not tell what became of the message", *problems)
                results.update(dict.fromkeys(absent, error))
            return []
        unsure = [key for key in results if results[key] is None or isinstance(key, str)]
        for key in unsure:
            del results[key]
        rest = [key for key in unsure if key not in self._repeated]
        if rest and self._repeated:
            return [list(self._repeated), rest]
        if results:
            return [unsure]
        half = len(unsure) // 2
        return [unsure[:half], unsure[half:]]


def _items(response: Response) -> list[Any]:
    error = error_of(response, provider=_NAME)
    if error is not None:
        raise error
    if response.status_code == 204:
        return []
    return items_of(response.content, provider=_NAME)


def _decode_error(message: str, *problems: str) -> DecodeError:
    return DecodeError(message, provider=_NAME, problems=problems)


def _keys_of(item: Any) -> tuple[list[MessageKey], bool]:
    """Return what a bad item still says of which message it is about, and whether that is not all."""
    if not isinstance(item, dict):
        return [], True
    keys: list[MessageKey] = []
    hides_one = item.get("id") is None
    for name, read in (("id", integer), ("customId", text)):
        try:
            key = read(item.get(name))
        except ValueError:
            hides_one = True
        else:
            if key is not None:
                keys.append(cast("MessageKey", key))
    return keys, hides_one


_NEVER = datetime.min.replace(tzinfo=UTC)


def _sent(status: MessageStatus) -> tuple[datetime, int]:
    return status.sent_date or _NEVER, status.id


def _state_by_code(code: Any, _: object) -> DeliveryState:
    return _STATE_BY_CODE.get(code, DeliveryState.UNKNOWN)


_read_fields = reader(
    MessageStatus,
    {
        "id": ("id", required(integer)),
        "custom_id": ("customId", text),
        "instance_token": ("instanceToken", text),
        "message_type": ("messageType", text),
        "country": ("country", text),
        "phone": ("phone", text),
        "status_code": ("statusCode", integer),
        "status_name": ("statusName", text),
        "status_date": ("statusDate", date),
        "sent_date": ("sentDate", date),
        "state": ("statusCode", _state_by_code),
    },
)


def _read(item: Any) -> MessageStatus:
    status = _read_fields(item)
    if status.state is DeliveryState.UNKNOWN:
        # READ has a name but no published code, and more may come: what the code does not say, the name may.
        by_name = _STATE_BY_NAME.get((status.status_name or "").upper(), DeliveryState.UNKNOWN)
        return attrs.evolve(status, state=_STATE_BY_CODE.get(cast("int", status.status_code), by_name))
    return status
