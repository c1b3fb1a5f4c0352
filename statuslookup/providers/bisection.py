"""How a batch that the provider refuses is divided until the keys that are to blame are alone."""

from collections import deque
from collections.abc import Callable, Generator
from typing import Generic, TypeAlias, TypeVar

from .._model import AnswerT, KeyT
from .._wire import Request, Response
from ..errors import ProviderError, RejectedError
from .base import Exchange, Results

Told: TypeAlias = tuple[Results[KeyT, AnswerT], list[list[KeyT]]]
"""The ends that an answer tells, and the groups of keys that must be asked for once more."""

_T = TypeVar("_T")
_Steps: TypeAlias = Generator[Request | Results[KeyT, AnswerT], Response, _T]

_MOST_PROBES = 16
_GOLDEN_RATIO = (5**0.5 - 1) / 2


class Division(Generic[KeyT, AnswerT]):
    """Asks for groups of keys until each key has its end, and hands out what is known before each request.

    ``ask`` yields the request for a group and returns what the answer tells, or raises ``ProviderError``.
    A group that is refused for a key is divided, the largest group first, and a key gets the refusal when it
    was refused alone. There is one exception: if a batch, both its halves and up to 16 keys from all over it
    are all refused, and nothing was accepted, the refusal is not about a key, and all that is left gets it.
    """

    def __init__(
        self, ask: Callable[[list[KeyT]], Generator[Request, Response, Told[KeyT, AnswerT]]]
    ) -> None:
        self._told_by = ask
        self._ends: Results[KeyT, AnswerT] = {}
        self._unsure: list[list[KeyT]] = []
        self._refused: deque[list[KeyT]] = deque()
        # For each key that was told, whether it was refused.
        self._told: dict[KeyT, bool] = {}
        self._most_accepted = 0

    def exchange(self, keys: list[KeyT]) -> Exchange[KeyT, AnswerT]:
        """Look up the keys, as a provider's ``exchange`` does."""
        yield from self._ask(keys)
        if self._refused and (yield from self._divide(self._refused.popleft())):
            yield from self._probe(keys)
        while self._unsure or self._refused:
            if self._unsure:
                yield from self._ask(self._unsure.pop())
                continue
            group = self._refused.popleft()
            rest = [key for key in group if key not in self._told]
            if len(rest) > 1 and not any(map(self._told.get, group)):
                yield from self._divide(rest)
            elif rest:
                # What was refused since, alone, may be all that was to blame.
                yield from self._ask(rest)
        return self._ends

    def _ask(self, group: list[KeyT]) -> _Steps[KeyT, AnswerT, ProviderError | None]:
        """Ask for a group, and return the error if that is what came of it."""
        if self._ends:
            ends, self._ends = self._ends, {}
            yield ends
        try:
            ends, unsure = yield from self._told_by(group)
        except ProviderError as error:
            if _is_about_a_key(error) and len(group) > 1:
                self._refused.append(group)
            else:
                self._tell(dict.fromkeys(group, error), are_refused=_is_about_a_key(error))
            return error
        self._tell(ends)
        self._unsure.extend(unsure)
        self._most_accepted = max(self._most_accepted, len(group))
        return None

    def _tell(self, ends: Results[KeyT, AnswerT], *, are_refused: bool = False) -> None:
        self._ends.update(ends)
        self._told.update(dict.fromkeys(ends, are_refused))

    def _divide(self, group: list[KeyT]) -> _Steps[KeyT, AnswerT, bool]:
        """Ask for the halves of a group that was refused, and return whether both were refused as well."""
        half = len(group) // 2
        first, second = group[:half], group[half:]
        error = yield from self._ask(first)
        if error is None and len(group) <= self._most_accepted:
            # It was not too large either, so the other half would be refused, and only its parts tell more.
            self._refused.append(second)
            return False
        other = yield from self._ask(second)
        return all(each is not None and _is_about_a_key(each) for each in (error, other))

    def _probe(self, keys: list[KeyT]) -> _Steps[KeyT, AnswerT, None]:
        """Give all keys the refusal, unless one of some that are asked alone is not refused."""
        left = [key for key in keys if key not in self._told]
        refusal: ProviderError | None = None
        for key in _spread(left):
            refusal = yield from self._ask([key])
            if refusal is None or not _is_about_a_key(refusal):
                return
        if refusal is not None:
            self._refused.clear()
            self._tell(dict.fromkeys(left, refusal))


def _spread(keys: list[KeyT]) -> list[KeyT]:
    """Return some of the keys, from all over, and in step with no pattern that they may have."""
    if len(keys) <= _MOST_PROBES:
        return keys
    places = (int(number * _GOLDEN_RATIO % 1 * len(keys)) for number in range(_MOST_PROBES))
    return [keys[place] for place in dict.fromkeys(places)]


def _is_about_a_key(error: ProviderError) -> bool:
    return isinstance(error, RejectedError) and error.status_code in (400, 413, 422)
