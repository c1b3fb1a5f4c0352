"""How a batch that the provider refuses is divided until the keys that are to blame are alone."""

import random
from collections import deque
from collections.abc import Callable, Generator
from typing import Generic, TypeAlias, TypeVar

from .._model import AnswerT, KeyT
from .._wire import Request, Response
from ..errors import ProviderError, RejectedError
from .base import Exchange, Outcomes

Settled: TypeAlias = tuple[Outcomes[KeyT, AnswerT], list[list[KeyT]]]
"""The outcomes that a response gives, and the groups of keys that must be asked for once more."""

_T = TypeVar("_T")
_Steps: TypeAlias = Generator[Request | Outcomes[KeyT, AnswerT], Response, _T]

_MOST_PROBES = 16


class Bisection(Generic[KeyT, AnswerT]):
    """Asks for groups of keys until each has its outcome, and hands out what is known before each request.

    ``ask`` yields the request for a group and returns what the response settles, or raises ``ProviderError``.
    A group that is refused for a key is divided, the largest group first, and a key gets the refusal when it
    was refused alone. There is one exception: if a batch, both its halves and up to 16 keys from all over it
    are all refused, and nothing was accepted, the refusal is not about a key, and all that is left gets it.
    """

    def __init__(
        self, ask: Callable[[list[KeyT]], Generator[Request, Response, Settled[KeyT, AnswerT]]]
    ) -> None:
        self._ask_for = ask
        # Outcomes that are not handed out yet; all keys that have one, and those that were refused.
        self._outcomes: Outcomes[KeyT, AnswerT] = {}
        self._settled: set[KeyT] = set()
        self._to_blame: set[KeyT] = set()
        # Groups to ask for as they are, and groups that were refused.
        self._unsure: list[list[KeyT]] = []
        self._refused: deque[list[KeyT]] = deque()
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
            rest = [key for key in group if key not in self._settled]
            if len(rest) > 1 and self._to_blame.isdisjoint(group):
                yield from self._divide(rest)
            elif rest:
                # A key of the group was refused alone since, which may be all that was wrong with the group.
                yield from self._ask(rest)
        return self._outcomes

    def _ask(self, group: list[KeyT]) -> _Steps[KeyT, AnswerT, ProviderError | None]:
        """Ask for a group, and return the error if that is what came of it."""
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, {}
            yield outcomes
        try:
            outcomes, unsure = yield from self._ask_for(group)
        except ProviderError as error:
            if _is_about_a_key(error) and len(group) > 1:
                self._refused.append(group)
            else:
                self._settle(dict.fromkeys(group, error), are_refused=_is_about_a_key(error))
            return error
        self._settle(outcomes)
        self._unsure.extend(unsure)
        self._most_accepted = max(self._most_accepted, len(group))
        return None

    def _settle(self, outcomes: Outcomes[KeyT, AnswerT], *, are_refused: bool = False) -> None:
        self._outcomes = {**self._outcomes, **outcomes} if self._outcomes else outcomes
        self._settled.update(outcomes)
        if are_refused:
            self._to_blame.update(outcomes)

    def _divide(self, group: list[KeyT]) -> _Steps[KeyT, AnswerT, bool]:
        """Ask for the halves of a group that was refused, and return whether both were refused as well."""
        half = len(group) // 2
        first, second = group[:half], group[half:]
        error = yield from self._ask(first)
        if error is None and len(group) <= self._most_accepted:
            # The group was not too large either, so the second half would be refused: go on with its parts.
            self._refused.append(second)
            return False
        other = yield from self._ask(second)
        return all(each is not None and _is_about_a_key(each) for each in (error, other))

    def _probe(self, keys: list[KeyT]) -> _Steps[KeyT, AnswerT, None]:
        """Give all keys the refusal, unless one of some that are asked alone is not refused."""
        left = [key for key in keys if key not in self._settled]
        # Draw them, because keys in step could hit only bad ones; and draw the same ones each time.
        chance = random.Random(len(left))  # noqa: S311 - it guards nothing
        refusal: ProviderError | None = None
        for key in chance.sample(left, min(_MOST_PROBES, len(left))):
            refusal = yield from self._ask([key])
            if refusal is None or not _is_about_a_key(refusal):
                return
        if refusal is not None:
            self._settle(dict.fromkeys(left, refusal))


def _is_about_a_key(error: ProviderError) -> bool:
    return isinstance(error, RejectedError) and error.status_code in (400, 413, 422)
