"""What a provider is, and what every HTTP response means."""

from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from .._model import AnswerT, DeliveryState, KeyT, RateLimit
from .._wire import Request, Response, Secret
from ..errors import (
    AuthenticationError,
    DecodeError,
    ForbiddenError,
    QuotaExceededError,
    RateLimitedError,
    RejectedError,
    ResponseError,
    ServerError,
    StatusLookupError,
)
from .fields import MOST_VALUES, decode

ValueT = TypeVar("ValueT")
_MOST_WEBHOOK_BYTES: Final = 1024 * 1024
_MOST_WEBHOOK_ITEMS: Final = 1_000
# What a web framework hands over: a body, or whatever its JSON was.
_OF_WEBHOOKS: Final = (bytes, bytearray, memoryview, str, dict, list, int, float, type(None))

Body: TypeAlias = bytes | bytearray | memoryview | str | dict[str, Any] | list[Any]
"""A response's or a webhook's body, as it came or as its JSON was read already."""
Outcomes: TypeAlias = dict[KeyT, AnswerT | StatusLookupError | None]
"""What became of each key: its answer, ``None`` if the provider does not know it, or an error."""
Exchange: TypeAlias = Generator[Request | Outcomes[KeyT, AnswerT], Response, Outcomes[KeyT, AnswerT]]
"""The dialogue for one batch: it yields requests, is sent responses, and returns what became of each key."""


class Provider(Protocol[KeyT, AnswerT]):
    """Decides, without I/O, what to ask for some keys and what the responses mean.

    ``SMSFire`` and ``GreenAPI`` are providers, and so is any object with these attributes and methods. The
    client does the rest: it queues, paces, sends, retries and keeps the time.
    """

    @property
    def name(self) -> str:
        """The brand, as error messages and logs say it."""
        ...

    @property
    def base_url(self) -> str:
        """The URL below which every request's path lies; no slash at its end."""
        ...

    @property
    def secret(self) -> Secret:
        """The credentials, which take the place of ``***`` in a request when it is sent."""
        ...

    @property
    def budget(self) -> Hashable:
        """What the provider counts requests by: clients with equal budgets share one rate limit."""
        ...

    @property
    def rate_limit(self) -> RateLimit | None:
        """The documented limit, or ``None`` to send without one."""
        ...

    @property
    def max_batch(self) -> int:
        """The most keys that one request can carry, and that one exchange is given."""
        ...

    def check(self, key: KeyT) -> KeyT:
        """Return the key, or raise ``TypeError`` or ``ValueError`` that says what to pass instead."""
        ...

    def exchange(self, keys: Sequence[KeyT]) -> Exchange[KeyT, AnswerT]:
        """Yield requests, be sent their responses, and return the outcome of every key.

        An outcome is the key's answer, ``None`` if the provider does not know it, or a ``StatusLookupError``.
        A response of any HTTP status is sent in. Where none came, a ``ProviderError`` is thrown in; what
        earlier responses gave must survive it. A ``ProviderError`` that is raised is the outcome of all keys
        that have none. Each request waits for the rate limit.

        Where one request leads to others, the outcomes that are known may be yielded before the next one, as
        a dict: their callers have them at once, and nothing is sent in. They need not be returned again, and
        the first outcome of a key counts. Where nobody waits for the other keys any more, the generator is
        closed instead of sending its next request.
        """
        ...


class Trackable(Provider[KeyT, AnswerT], Protocol[KeyT, AnswerT]):
    """A provider whose messages a ``StatusTracker`` can follow; its answers have a ``state``.

    ``SMSFire`` and ``GreenAPI`` are. Beside what every provider has, it says without I/O what news mean.
    """

    @property
    def webhooks_tell_all(self) -> bool:
        """Whether a webhook tells all there is to know of a message; if not, only a lookup ends it."""
        ...

    def keys_of(self, status: AnswerT) -> Sequence[KeyT]:
        """Return the keys by which the message may be tracked; what is no answer is a ``TypeError``."""
        ...

    def advance(self, known: AnswerT | None, status: AnswerT) -> AnswerT | None:
        """Return what is known after some news, or ``None`` if they say nothing new.

        It is a maximum: all orders and repetitions of the same news lead to the same end.
        """
        ...

    def reached(self, status: AnswerT, until: DeliveryState) -> bool:
        """Tell whether the message is as far as ``until``, or failed."""
        ...


class SharedProvider(Provider[KeyT, AnswerT], Protocol[KeyT, AnswerT]):
    """A provider whose keys and answers can travel between the processes of a fleet.

    ``SMSFire`` and ``GreenAPI`` are. A client without a fleet needs none of these methods; a tracker's store
    keeps the answers of a provider that says how they are written.
    """

    def key_to_text(self, key: KeyT) -> str:
        """Return a text that names this key and no other: 1 to 1,024 printable characters."""
        ...

    def key_from_text(self, text: str) -> KeyT:
        """Return the key that the text names; raise ``ValueError`` for a text that names none."""
        ...

    def answer_to_json(self, answer: AnswerT) -> Any:
        """Return the answer as a value that ``json`` writes; ``None`` is never one."""
        ...

    def answer_from_json(self, value: Any) -> AnswerT:
        """Return the answer that ``answer_to_json`` made the value of; raise ``ValueError`` for any other."""
        ...


def error_of(response: Response, *, provider: str) -> ResponseError | None:
    """Return the error that a response's status means, or ``None`` for a success."""
    code = response.status_code
    if response.is_success:
        return None
    if code == 403 and (response.follows_success or _is_html(response)):
        return ForbiddenError(
            "refused (status 403): by the credentials, or by something in between such as a firewall",
            provider=provider,
            status_code=code,
            retry_after=response.retry_after,
        )
    if code in (401, 403):
        return AuthenticationError(
            f"the credentials were refused (status {code}); check them", provider=provider, status_code=code
        )
    if code == 429:
        return RateLimitedError(
            "too many requests (status 429); something else may be using the same rate limit",
            provider=provider,
            retry_after=response.retry_after,
        )
    if code == 466:
        return QuotaExceededError("the plan's quota is used up (status 466)", provider=provider)
    if code >= 500 or code == 499:
        return ServerError(
            f"the server failed (status {code}); ask again later",
            provider=provider,
            status_code=code,
            retry_after=response.retry_after,
        )
    if code >= 400:
        return RejectedError(
            f"the request was refused (status {code}); check the key, and the base URL",
            provider=provider,
            status_code=code,
        )
    return ResponseError(
        f"an unexpected status {code}; redirects are not followed, check the base URL",
        provider=provider,
        status_code=code,
    )


def webhook_values(
    body: Body, read: Callable[[Any], ValueT], *, provider: str, most_values: int
) -> list[ValueT]:
    """Return what ``read`` makes of a webhook's items, without those that it refuses by a ``ValueError``.

    If it refuses all, or the body has over 1 MiB or 1,000 items, that raises ``DecodeError``. What is no body
    and comes from no JSON, such as a coroutine that nobody awaited, is a ``TypeError``.
    """
    given: object = body
    if not isinstance(given, _OF_WEBHOOKS):
        raise TypeError(f"a webhook is bytes, a str, a dict or a list, not {type(given).__name__}")
    if isinstance(body, bytes | bytearray | memoryview | str) and len(body) > _MOST_WEBHOOK_BYTES:
        raise DecodeError(f"the webhook is larger than {_MOST_WEBHOOK_BYTES:,} bytes", provider=provider)
    items = items_of(body, provider=provider, what="webhook", most_values=most_values)
    values: list[ValueT] = []
    problems: list[str] = []
    for item in items[:_MOST_WEBHOOK_ITEMS]:
        try:
            values.append(read(item))
        except ValueError as problem:
            problems.append(str(problem))
    unread = max(0, len(items) - _MOST_WEBHOOK_ITEMS)
    if problems and not values:
        raise DecodeError(
            f"the webhook is not {provider}'s", provider=provider, problems=problems, unread=unread
        )
    if unread:
        raise DecodeError(f"the webhook has more than {_MOST_WEBHOOK_ITEMS:,} items", provider=provider)
    return values


def _is_html(response: Response) -> bool:
    return response.content.lstrip(b"\xef\xbb\xbf\t\n\r ").startswith(b"<")


def items_of(
    body: Body, *, provider: str, what: str = "response", most_values: int = MOST_VALUES
) -> list[Any]:
    """Return the items of a body that is one JSON object or an array; else raise ``DecodeError``.

    ``what`` the body is stands in the error's text. A body with more than ``most_values`` values, such as
    objects and fields, is not read.
    """
    value: Any = body
    if isinstance(body, bytes | bytearray | memoryview | str):
        try:
            value = decode(body, most_values=most_values)
        except ValueError as problem:
            raise DecodeError(
                f"the {what} cannot be read", provider=provider, problems=(str(problem),)
            ) from None
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list):
        return value
    raise DecodeError(f"the {what} is neither an object nor an array", provider=provider)
