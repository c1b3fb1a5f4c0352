"""Which of the keys that were asked for each item of a response is about.

Source of every fact here: SMSFire, "Consulta Status".
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from ..._model import CustomId, MessageKey, MessageStatus
from ..._wire import Response
from ...errors import DecodeError
from ..base import Outcomes, error_of, items_of
from ..fields import integer, text
from .reading import read

NAME = "SMSFire"
MAX_ITEMS = 200
"""The most items of a response."""

_NEVER = datetime.min.replace(tzinfo=UTC)


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
        # The customIds that several items have.
        self._repeated: set[MessageKey] = set()
        # What is wrong with the items that do not say which message they are about.
        self._problems: list[str] = []
        items = _items(response)
        self._is_full = len(items) >= MAX_ITEMS
        for item in items:
            try:
                status = read(item)
            except ValueError as problem:
                self._add_unreadable(item, str(problem))
            else:
                self._add(status)

    def _add(self, status: MessageStatus) -> None:
        is_asked_for = status.id in self.outcomes
        if is_asked_for:
            self.outcomes[status.id] = status
        custom_id = cast("CustomId | None", status.custom_id)
        if custom_id is not None and custom_id in self.outcomes:
            self._add_by_custom_id(custom_id, status)
        elif not is_asked_for:
            self.has_strays = True

    def _add_by_custom_id(self, custom_id: CustomId, status: MessageStatus) -> None:
        earlier = self.outcomes[custom_id]
        if isinstance(earlier, MessageStatus):
            self._repeated.add(custom_id)
            if _sent(earlier) > _sent(status):
                return
        self.outcomes[custom_id] = status

    def _add_unreadable(self, item: Any, problem: str) -> None:
        named, may_be_about_others = _keys_of(item)
        keys = [key for key in named if key in self.outcomes]
        if not keys and may_be_about_others:
            self._problems.append(problem)
        elif not keys:
            self.has_strays = True
        error = decode_error("a message's status is not as documented", problem)
        for key in keys:
            if self.outcomes[key] is None:
                self.outcomes[key] = error

    def take_unsure(self) -> list[list[MessageKey]]:
        """Take out the keys whose outcome is not certain; return the groups in which to ask for them again.

        SMSFire caps the items of a response, and customIds repeat. So a full response does not prove that an
        absent message is unknown, nor that no later message has the same customId. What asking again would
        not settle is a ``DecodeError``.
        """
        outcomes = self.outcomes
        absent = [key for key, outcome in outcomes.items() if outcome is None]
        if not self._is_full or not (absent or self._repeated) or len(outcomes) == 1:
            problems = self._problems or (["it is full of others"] if self._is_full else [])
            if absent and problems:
                error = decode_error("the response does not tell what became of the message", *problems)
                outcomes.update(dict.fromkeys(absent, error))
            return []
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


def _items(response: Response) -> list[Any]:
    error = error_of(response, provider=NAME)
    if error is not None:
        raise error
    return [] if response.status_code == 204 else items_of(response.content, provider=NAME)


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


def _sent(status: MessageStatus) -> tuple[datetime, int]:
    return status.sent_date or _NEVER, status.id
