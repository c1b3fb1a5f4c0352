"""What the processes of a fleet tell each other: the outcomes of keys, packed and signed."""

import hashlib
import hmac
import json
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, TypeAlias

from attrs import frozen

from .._model import AnswerT, KeyT
from ..errors import DecodeError, StatusLookupError
from ..providers.base import SharedProvider
from .plain_errors import of_plain_form, plain_form

_VERSION: Final = b"1"
_MOST_BYTES: Final = 4 * 1024 * 1024
_MOST_UNPACKED: Final = 4 * _MOST_BYTES
_MOST_PROCESSES: Final = 1_000
_MOST_OWN: Final = 8
_SIGNATURE: Final = hashlib.sha256().digest_size
_UNKNOWN, _ANSWER, _ERROR = 0, 1, 2

Outcomes: TypeAlias = Mapping[KeyT, AnswerT | StatusLookupError | None]


@frozen
class Told(Generic[KeyT, AnswerT]):
    """What a message said."""

    process: int
    """The number of the process that learned it."""
    fence: int
    """The fence of the slot in which the reply came."""
    keys: list[KeyT]
    """The keys that it names, also those that are not wanted, or whose outcomes cannot be read here."""
    outcomes: dict[KeyT, AnswerT | StatusLookupError | None]


class Messages(Generic[KeyT, AnswerT]):
    """Writes the outcomes that this process learned, and reads those of the others with the same account.

    What was not signed with the account's key, has another form, is larger than a message can be, or came
    before is not read: nobody who may write to Redis can make an answer up, or repeat an old one.
    """

    def __init__(self, provider: SharedProvider[KeyT, AnswerT], process: int, key: bytes) -> None:
        self._provider = provider
        self._process = process
        self._key = key
        self._written = 0
        self._own: deque[bytes] = deque(maxlen=_MOST_OWN)
        """The signatures of what was written last: it comes back, and need not be opened."""
        self._read: OrderedDict[int, int] = OrderedDict()
        """The number of the last message of each process."""

    def write(self, fence: int, outcomes: Outcomes[KeyT, AnswerT]) -> bytes:
        """Return a message with the outcomes."""
        self._written += 1
        told = [[self._provider.key_to_text(key), *self._form(outcome)] for key, outcome in outcomes.items()]
        text = self._text(fence, told)
        if len(text) > _MOST_UNPACKED:
            text = self._text(fence, self._shortened(told))
        message = self._signed(_VERSION + zlib.compress(text, 1))
        self._own.append(message[:_SIGNATURE])
        return message

    def read(
        self, message: bytes, wanted: Callable[[Iterable[KeyT]], Iterable[KeyT]]
    ) -> Told[KeyT, AnswerT] | None:
        """Return what another process says of the ``wanted`` keys; ``None`` if it is nothing that counts."""
        value: Any = None if message[:_SIGNATURE] in self._own else self._opened(message)
        try:
            process, number, fence, told = value
            if process == self._process or not self._is_new(process, number):
                return None
            items = {str(text): (kind, value) for text, kind, value in told}
            texts = self._keys_of(items)
            return Told(int(process), int(fence), list(texts), self._outcomes_of(texts, items, wanted))
        except (TypeError, ValueError):
            return None

    def _text(self, fence: int, told: list[list[Any]]) -> bytes:
        value = self._process, self._written, fence, told
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")

    def _form(self, outcome: AnswerT | StatusLookupError | None) -> tuple[int, Any]:
        if outcome is None:
            return _UNKNOWN, None
        if isinstance(outcome, StatusLookupError):
            return _ERROR, plain_form(outcome)
        return _ANSWER, self._provider.answer_to_json(outcome)

    def _shortened(self, told: list[list[Any]]) -> list[list[Any]]:
        """Put an error in the place of each answer that takes more than its share of a message."""
        share = _MOST_UNPACKED // (2 * len(told))
        too_large = DecodeError(
            "the answer is too large to be shared in a fleet", provider=self._provider.name
        )
        return [
            [text, _ERROR, plain_form(too_large)] if len(json.dumps(value)) > share else [text, kind, value]
            for text, kind, value in told
        ]

    def _signed(self, packed: bytes) -> bytes:
        return hmac.digest(self._key, packed, "sha256") + packed

    def _opened(self, message: bytes) -> Any:
        if len(message) > _MOST_BYTES:
            return None
        signature, packed = message[:_SIGNATURE], message[_SIGNATURE:]
        expected = hmac.digest(self._key, packed, "sha256")
        if not hmac.compare_digest(signature, expected) or packed[:1] != _VERSION:
            return None
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(packed[1:], _MOST_UNPACKED)
            return json.loads(text) if unpacker.eof else None
        except (zlib.error, ValueError, RecursionError):
            return None

    def _is_new(self, process: int, number: int) -> bool:
        """Whether the process's message was not read before: one that is published again counts once."""
        is_new = number > self._read.get(process, 0)
        if is_new:
            self._read[process] = number
            self._read.move_to_end(process)
            if len(self._read) > _MOST_PROCESSES:
                self._read.popitem(last=False)
        return is_new

    def _keys_of(self, texts: Iterable[str]) -> dict[KeyT, str]:
        keys: dict[KeyT, str] = {}
        for text in texts:
            try:
                keys[self._provider.key_from_text(text)] = text
            except Exception:  # noqa: BLE001, S112 # a provider of somebody's own may raise anything
                continue
        return keys

    def _outcomes_of(
        self,
        texts: Mapping[KeyT, str],
        items: Mapping[str, tuple[int, Any]],
        wanted: Callable[[Iterable[KeyT]], Iterable[KeyT]],
    ) -> dict[KeyT, AnswerT | StatusLookupError | None]:
        provider = self._provider
        outcomes: dict[KeyT, AnswerT | StatusLookupError | None] = {}
        for key in wanted(texts):
            kind, value = items[texts[key]]
            try:
                if kind == _ANSWER:
                    outcomes[key] = provider.answer_from_json(value)
                elif kind == _ERROR:
                    outcomes[key] = of_plain_form(value)
                elif kind == _UNKNOWN:
                    outcomes[key] = None
            except Exception:  # noqa: BLE001, S112 # a provider of somebody's own may raise anything
                # Of another release, maybe; its owner asks by itself.
                continue
        return outcomes
