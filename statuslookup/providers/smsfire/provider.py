"""What SMSFire is asked, and with which credentials.

Source of every fact here: SMSFire, "Consulta Status", "Callback" and "DLR".
"""

import base64
import json
import re
from collections.abc import Generator, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Self

from ..._arguments import shown_unfinished, whole
from ..._model import CustomId, DeliveryState, MessageKey, MessageStatus, RateLimit, checked_rate_limit
from ..._urls import checked_base_url, host_of
from ..._wire import PLACEHOLDER, Request, Response, Secret
from ..base import Body, Exchange, webhook_values
from ..bisection import Bisection, Settled
from ..credentials import flaw_of, has_line_break
from ..environment import read_environment, require
from ..shared_forms import shared_forms
from . import progress
from .answers import MAX_ITEMS, MOST_BYTES, MOST_VALUES, NAME, Answers
from .reading import read

_AUTHORIZATION = f"Basic {PLACEHOLDER}"
_BASE_URL = "https://api-v2.smsfire.com.br"
_MAX_KEY_LENGTH = 40
_FIRST_TOO_LONG = 10**_MAX_KEY_LENGTH
# What HTTP lets credentials of this kind be, base64 among it.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

_to_json, _from_json = shared_forms(MessageStatus)


class SMSFire:
    """The provider SMSFire: looks up what became of WhatsApp messages, 200 of them a request.

    Keys are ids (``int``) and ``CustomId``; a plain ``str`` is refused, because it could be either. An answer
    is a ``MessageStatus``, or ``None`` for a message that SMSFire does not know. Where a customId names
    several messages, the answer is the one that was sent last.

    - ``token``: what SMSFire's portal shows, the base64 of ``user:password``: a password.
    - ``base_url``: where SMSFire is; another one is for a test.
    - ``rate_limit``: SMSFire allows 2 requests a second per IP address and says that this may change without
      notice; ``None`` sends without a limit.
    - ``max_batch``: the most keys a request carries, 200 at most, because SMSFire returns no more items.

    A bad argument is a ``TypeError`` or ``ValueError``.

    The attributes are ``base_url``, ``rate_limit``, ``max_batch``, ``name``, and ``secret`` with the
    token; ``webhooks_tell_all`` is true.

    Source: SMSFire, "Consulta Status".
    """

    name: str
    """The brand, as error messages and logs say it."""
    secret: Secret
    """The token, which no repr shows."""
    base_url: str
    """Where SMSFire is, without a slash at its end."""
    rate_limit: RateLimit | None
    """The limit that is kept, or ``None``."""
    max_batch: int
    """The most keys that one request carries."""
    webhooks_tell_all = True
    """A webhook tells all there is to know of a message."""

    def __init__(
        self,
        token: str,
        *,
        base_url: str = _BASE_URL,
        rate_limit: RateLimit | None = RateLimit(2, per=1.0),  # noqa: B008 # frozen, and shown as it is in help()
        max_batch: int = MAX_ITEMS,
    ) -> None:
        kind, secret = type(token), Secret(token)
        # From here on, no traceback shows it, not even one with its frames' locals.
        del token
        if not issubclass(kind, str):
            raise TypeError(f"token is a str, not {kind.__name__}")
        if flaw := _flaw_of_token(secret):
            raise ValueError(f"token must be SMSFire's token alone: {flaw}")
        self.name = NAME
        self.base_url = checked_base_url(base_url, parameter="base_url")
        self.secret = secret
        self.rate_limit = checked_rate_limit(rate_limit)
        self.max_batch = whole("max_batch", max_batch, least=1, most=MAX_ITEMS)

    @classmethod
    def from_login(cls, user: str, password: str, **options: Any) -> Self:
        """Return the provider for a login of SMSFire's portal; ``options`` are those of the class.

        An empty ``user`` or ``password``, a line break in one, or a colon in ``user``, is a ``ValueError``.
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

    @shown_unfinished
    def __repr__(self) -> str:
        return f"<SMSFire {self.base_url} rate_limit={self.rate_limit} max_batch={self.max_batch}>"

    @staticmethod
    def parse_webhook(body: Body) -> list[MessageStatus]:
        """Return the statuses that a webhook of SMSFire brought: one object, or an array of them.

        ``body`` is the request's body, or what a web framework made of its JSON. No client is needed. An
        unreadable item is left out if another can be read; if none can, that raises ``DecodeError``. What is
        no body at all, such as a coroutine, is a ``TypeError``. EXPIRED is never sent by webhook.

        Source: SMSFire, "Consulta Status", "Callback" and "DLR".
        """
        return webhook_values(body, read, provider=NAME, most_values=MOST_VALUES)

    @property
    def budget(self) -> Hashable:
        """What SMSFire counts by, the IP address: clients that talk to its host from here share a limit."""
        return NAME, host_of(self.base_url)

    def check(self, key: MessageKey) -> MessageKey:
        """Return the key, or raise ``TypeError`` or ``ValueError`` that says what to pass instead."""
        if (0 <= key < _FIRST_TOO_LONG) if type(key) is int else type(key) is CustomId:
            return key
        if isinstance(key, str):
            shown = repr(key[:60])
            instead = f"int({shown}) or CustomId({shown})" if key.isdecimal() else f"CustomId({shown})"
            raise TypeError(f"a plain str could be an id or a customId: write {instead}")
        id = whole("an SMSFire key", key, what="an int or a CustomId")
        if id < 0:
            raise ValueError("an SMSFire id is not negative")
        if id >= _FIRST_TOO_LONG:
            raise ValueError(f"an SMSFire id has at most {_MAX_KEY_LENGTH} digits")
        return id

    @staticmethod
    def keys_of(status: MessageStatus) -> list[MessageKey]:
        """Return the id and, if it can be one, the customId of a message: a tracker asks by either."""
        return progress.keys_of(status)

    @staticmethod
    def advance(known: MessageStatus | None, status: MessageStatus) -> MessageStatus | None:
        """Return what is known of a message after some news, or ``None`` if they say nothing new.

        A state that is further counts, and of equal ones the later. Of two messages with one customId, the
        one that was sent last counts.
        """
        return progress.advance(known, status)

    @staticmethod
    def reached(status: MessageStatus, until: DeliveryState) -> bool:
        """Tell whether the message is as far as ``until``, or failed."""
        return progress.reached(status, until)

    def key_to_text(self, key: MessageKey) -> str:
        """Return the text that names the key in a fleet: an id's digits, a customId behind a colon."""
        return f":{key}" if isinstance(key, str) else str(key)

    def key_from_text(self, text: str) -> MessageKey:
        """Return the key of a text; one that names none is a ``ValueError``."""
        if text.startswith(":"):
            return CustomId(text[1:])
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_KEY_LENGTH):
            raise ValueError("the text names no SMSFire key")
        return int(text)

    def answer_to_json(self, answer: MessageStatus) -> Any:
        """Return the status as a fleet shares it."""
        return _to_json(answer)

    def answer_from_json(self, value: Any) -> MessageStatus:
        """Return the status that a fleet shared; anything else is a ``ValueError``."""
        return _from_json(value)

    def exchange(self, keys: Sequence[MessageKey]) -> Exchange[MessageKey, MessageStatus]:
        """Look up the keys: by one request, and by more only where a response leaves doubt.

        A client calls it. A batch that is refused for some bad keys is divided until those are alone, and
        each key's outcome is handed out before the next request. If nothing but refusals comes of that, it
        is not about a key, and all that is left gets the refusal.
        """
        if len(keys) == 1 and _means_one_thing(keys[0]):
            answers = Answers((yield _get(keys[0])), keys)
            # An id can be another message's customId, and SMSFire may have taken the path for that one.
            if not answers.has_strays:
                answers.take_unsure(set())
                return answers.outcomes
        doubted: set[MessageKey] = set()
        return (yield from Bisection(partial(_ask, doubted)).exchange(list(keys)))


def _flaw_of_token(secret: Secret) -> str | None:
    """Say what is wrong with a token, without any part of it."""
    if flaw := flaw_of(secret):
        return flaw
    if ":" in secret.reveal():
        return (
            "this looks like user:password, which SMSFire.from_login(user, password) takes, and SMSFIRE_USER"
            " with SMSFIRE_PASSWORD"
        )
    return None if _TOKEN.fullmatch(secret.reveal()) else "no spaces, no 'Basic ' before it"


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
    if has_line_break(user) or has_line_break(password):
        return ValueError("user and password must hold no line break")
    try:
        return Secret(base64.b64encode(f"{user}:{password}".encode()).decode("ascii"))
    except UnicodeEncodeError:
        # That error holds the whole text.
        return ValueError("user and password must be text that can be written in UTF-8")


def _means_one_thing(key: MessageKey) -> bool:
    return not isinstance(key, str) or not (key.isdigit() or key in (".", "..", "search"))


def _get(key: MessageKey) -> Request:
    return Request("GET", f"/whatsapp/status/{key}", authorization=_AUTHORIZATION, most_bytes=MOST_BYTES)


def _search(keys: Sequence[MessageKey]) -> Request:
    custom_ids = [key for key in keys if isinstance(key, str)]
    ids = [str(key) for key in keys if not isinstance(key, str)] if custom_ids else list(map(str, keys))
    wanted = {name: values for name, values in (("ids", ids), ("customIds", custom_ids)) if values}
    content = json.dumps(wanted, separators=(",", ":")).encode()
    return Request(
        "POST",
        "/whatsapp/status/search",
        authorization=_AUTHORIZATION,
        content=content,
        most_bytes=MOST_BYTES,
    )


def _ask(
    doubted: set[MessageKey], keys: list[MessageKey]
) -> Generator[Request, Response, Settled[MessageKey, MessageStatus]]:
    answers = Answers((yield _search(keys)), keys)
    unsure = answers.take_unsure(doubted)
    return answers.outcomes, unsure
