"""How a batch that the provider refuses is divided until the keys that are to blame are alone."""

import random
from collections import deque
from collections.abc import Callable, Generator
from typing import Generic, TypeAlias, TypeVar

from ._model import AnswerT, KeyT
from ._provider import Exchange, Results
from ._wire import Request, Response
from .errors import ProviderError, RejectedError

Told: TypeAlias = tuple[Results[KeyT, AnswerT], list[list[KeyT]]]
"""The ends that an answer tells, and the groups of keys that must be asked for once more."""

_T = TypeVar("_T")
_Steps: TypeAlias = Generator[Request | Results[KeyT, AnswerT], Response, _T]

_MOST_PROBES = 16


class Division(Generic[KeyT, AnswerT]):
    """Asks for groups of keys until each key has its end, and hands out what is known before each request.

    ``ask`` yields the request for a group and returns what the answer tells, or raises ``ProviderError``.
    A group that is refused for a key is divided, the largest group first, and a key gets the refusal when it
    was refused alone. There is one exception: if a batch, both its halves and 16 keys of it by chance are
    all refused, and nothing was accepted, the refusal is not about a key, and all that is left gets it.
    """

    def __init__(
        self, ask: Callable[[list[KeyT]], Generator[Request, Response, Told[KeyT, AnswerT]]]
    ) -> None:
        self._told_by = ask
        self._ends: Results[KeyT, AnswerT] = {}
        self._unsure: list[list[KeyT]] = []
        self._refused: deque[list[KeyT]] = deque()
        self._is_all_refused = True

    def exchange(self, keys: list[KeyT]) -> Exchange[KeyT, AnswerT]:
        """Look up the keys, as a provider's ``exchange`` does."""
        yield from self._ask(keys)
        while self._unsure or self._refused:
            if self._unsure:
                yield from self._ask(self._unsure.pop())
            else:
                yield from self._divide(self._refused.popleft())
        return self._ends

    def _ask(self, group: list[KeyT]) -> _Steps[KeyT, AnswerT, ProviderError | None]:
        """Ask for a group, and return the error if that is what came of it."""
        if self._ends:
            ends, self._ends = self._ends, {}
            yield ends
        try:
            ends, unsure = yield from self._told_by(group)
        except ProviderError as error:
            is_about_a_key = isinstance(error, RejectedError) and error.status_code in (400, 413, 422)
            if is_about_a_key and len(group) > 1:
                self._refused.append(group)
            else:
                self._ends.update(dict.fromkeys(group, error))
            self._is_all_refused &= is_about_a_key
            return error
        self._ends.update(ends)
        self._unsure.extend(unsure)
        self._is_all_refused = False
        return None

    def _divide(self, group: list[KeyT]) -> _Steps[KeyT, AnswerT, None]:
        """Ask for the halves of a group that was refused."""
        half = len(group) // 2
        first, second = group[:half], group[half:]
        if first and (yield from self._ask(first)) is None:
            # What was refused is in the other half, so only its own halves tell more.
            self._refused.append(second)
            return
        refusal = yield from self._ask(second)
        if self._is_all_refused and refusal is not None and first:
            yield from self._probe(group, refusal)

    def _probe(self, group: list[KeyT], refusal: ProviderError) -> _Steps[KeyT, AnswerT, None]:
        """Give the refusal to all keys of the group, unless some key that is asked alone is not refused."""
        for key in random.sample(group, min(_MOST_PROBES, len(group))):
            yield from self._ask([key])
            if not self._is_all_refused:
                return
        self._refused.clear()
        self._ends.update(dict.fromkeys(group, refusal))
