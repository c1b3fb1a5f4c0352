"""Which of the keys that were asked for each item of a response is about.

Source of every fact here: SMSFire, "Consulta Status".
"""

from collections.abc import Sequence
from typing import Any, cast

from ..._model import CustomId, MessageKey, MessageStatus
from ..._wire import Response
from ...errors import DecodeError
from ..base import Outcomes, error_of, items_of
from ..fields import integer, text
from .progress import sent
from .quick import read_quickly
from .reading import read_carefully, read_documented

NAME = "SMSFire"
MAX_ITEMS = 200
"""The most items of a response."""
MOST_BYTES = 1024 * 1024
MOST_VALUES = MAX_ITEMS * 50
"""What a response is at most: several times as much as its items can need."""


def decode_error(message: str, *problems: str) -> DecodeError:
    return DecodeError(message, provider=NAME, problems=problems)


class Answers:
    """What one response says of the keys that it was asked for.

    A response that is no list of items is raised as its error.
    """

    outcomes: Outcomes[MessageKey, MessageStatus]
    """The outcome of each key; ``None`` for those that no item is about."""
    has_strays: bool
    """Whether an item is about none of the keys."""

    def __init__(self, response: Response, keys: Sequence[MessageKey]) -> None:
        self.outcomes = dict.fromkeys(keys)
        self.has_strays = False
        self._has_foreigners = False
        # The customIds that several items have.
        self._repeated: set[MessageKey] = set()
        # What is wrong with the items that do not say which message they are about, or not by which customId.
        self._problems: list[str] = []
        self._nameless: list[str] = []
        self._has_names = any(issubclass(kind, str) for kind in set(map(type, keys)))
        content = _content(response)
        statuses = read_quickly(content, most_values=MOST_VALUES)
        if statuses is not None:
            self._is_full = len(statuses) >= MAX_ITEMS
            for each in statuses[:MAX_ITEMS]:
                self._add(each)
            return
        items = items_of(content, provider=NAME, most_values=MOST_VALUES)
        self._is_full = len(items) >= MAX_ITEMS
        outcomes, has_names = self.outcomes, self._has_names
        for item in items[:MAX_ITEMS]:
            status = read_documented(item)
            if status is None:
                self._add_carefully(item)
            elif not has_names and status.id in outcomes:
                # What nearly every item comes to, so it is worth no call.
                outcomes[status.id] = status
            else:
                self._add(status)

    def _add_carefully(self, item: Any) -> None:
        try:
            status = read_carefully(item)
        except ValueError as problem:
            self._add_unreadable(item, str(problem))
        else:
            self._add(status, is_nameless=status.custom_id is None and item.get("customId") is not None)

    def _add(self, status: MessageStatus, *, is_nameless: bool = False) -> None:
        outcomes = self.outcomes
        is_asked_for = status.id in outcomes
        if is_asked_for:
            outcomes[status.id] = status
            if not (self._has_names or is_nameless):
                # What nearly every item comes to.
                return
        # A plain text finds the CustomId that is equal to it.
        custom_id: Any = status.custom_id
        if custom_id is not None and custom_id in outcomes:
            if outcomes[custom_id] is None:
                outcomes[custom_id] = status
            else:
                self._add_by_custom_id(custom_id, status)
        elif is_nameless:
            (self._nameless if is_asked_for else self._problems).extend(status.problems)
        elif not is_asked_for:
            self.has_strays = True
            self._has_foreigners |= not self._is_namesake(status)

    def _is_namesake(self, status: MessageStatus) -> bool:
        """Tell whether a stray has the digits of a key as its other name, and may have come by that."""
        names = str(status.id), status.custom_id
        return any(str(key) in names for key in self.outcomes)

    def _add_by_custom_id(self, custom_id: CustomId, status: MessageStatus) -> None:
        earlier = self.outcomes[custom_id]
        if isinstance(earlier, MessageStatus):
            self._repeated.add(custom_id)
            if sent(earlier) > sent(status):
                return
        self.outcomes[custom_id] = status

    def _add_unreadable(self, item: Any, problem: str) -> None:
        named, may_be_about_others = _keys_of(item)
        keys = [key for key in named if key in self.outcomes]
        if not keys and may_be_about_others:
            self._problems.append(problem)
        elif not keys:
            self.has_strays = self._has_foreigners = True
        error = decode_error("a message's status is not as documented", problem)
        for key in keys:
            if self.outcomes[key] is None:
                self.outcomes[key] = error

    def take_unsure(self, doubted: set[MessageKey]) -> list[list[MessageKey]]:
        """Take out the keys whose outcome is not certain; return the groups in which to ask for them again.

        SMSFire caps the items of a response, and customIds repeat. So a full response does not prove that an
        absent message is unknown, nor that no later message has the same customId. Nor does a response that
        is about messages which nobody asked for: its absent keys are asked for once more, and then in
        ``doubted``. What asking again would not settle is a ``DecodeError``.
        """
        outcomes = self.outcomes
        absent = [key for key, outcome in outcomes.items() if outcome is None]
        if not self._is_full or not (absent or self._repeated) or len(outcomes) == 1:
            return self._take_doubtful(absent, doubted)
        unsure = [key for key in outcomes if outcomes[key] is None or isinstance(key, str)]
        for key in unsure:
            del outcomes[key]
        rest = [key for key in unsure if key not in self._repeated]
        if rest and self._repeated:
            return [list(self._repeated), rest]
        if outcomes:
            return [unsure]
        half = len(unsure) // 2
        return [unsure[:half], unsure[half:]]

    def _take_doubtful(self, absent: list[MessageKey], doubted: set[MessageKey]) -> list[list[MessageKey]]:
        again: list[MessageKey] = []
        for key in absent:
            problems = self._problems + (self._nameless if isinstance(key, str) else [])
            if not problems and self._is_full:
                problems = ["it is full of others"]
            if not problems and self._has_foreigners:
                if key not in doubted:
                    doubted.add(key)
                    del self.outcomes[key]
                    again.append(key)
                    continue
                problems = ["it is about messages that were not asked for, and not about this one"]
            if problems:
                self.outcomes[key] = decode_error(
                    "the response does not tell what became of the message", *problems
                )
        return [again] if again else []


def _content(response: Response) -> bytes:
    error = error_of(response, provider=NAME)
    if error is not None:
        raise error
    return b"[]" if response.status_code == 204 else response.content


def _keys_of(item: Any) -> tuple[list[MessageKey], bool]:
    """Return the keys that an unreadable item names, and whether it may be about a message of another key."""
    if not isinstance(item, dict):
        return [], True
    keys: list[MessageKey] = []
    may_be_about_others = item.get("id") is None
    for name, read_key in (("id", integer), ("customId", text)):
        try:
            key = read_key(item.get(name))
        except ValueError:
            may_be_about_others = True
        else:
            if key is not None:
                keys.append(cast("MessageKey", key))
    return keys, may_be_about_others
