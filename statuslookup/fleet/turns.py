"""When a process tries to take the slot: told the times and what is heard, without a clock or I/O."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

# The last sender keeps a warm connection and knows its round trips, so it goes before the others of its
# account, and leaves the beginning to other accounts and to those with a further request.
_LAST_SENDER: Final = 0.005
_NOT_LAST_OF_ACCOUNT: Final = 0.003
_OTHERS: Final = 0.025
_SPREAD: Final = 0.005
# Where one of another account has sent of late, this account leaves so much more of the beginning: on a busy
# machine the others may hear late that the slot is free.
_LEFT_TO_RIVALS: Final = 0.025
_RIVAL_FOR: Final = 5.0
_ANNOUNCED_BEFORE: Final = 0.05
_MOST_MEMBERS: Final = 1_000


class Turns:
    """Says from which moment on to try, so that one process of many does, and the next one if it is gone.

    ``process`` is the number of this one, ``random`` gives a number from 0 to 1 that parts those who would
    try in the same moment.
    """

    def __init__(self, process: int, random: Callable[[], float]) -> None:
        self._process = process
        self._random = random
        self._alone_at = -math.inf
        self._beside_at = -math.inf
        self._is_busy = False
        self._last_sender = 0
        self._last_of_account = 0
        self._members: OrderedDict[int, None] = OrderedDict()
        self._spread = 0.0
        self._rival = 0
        """Who of another account sent last."""
        self._rival_until = -math.inf
        self._left_to_rivals = 0.0

    @property
    def is_last_sender(self) -> bool:
        """Whether this process sent last, as far as it knows."""
        return self._last_sender == self._process

    def hear_reply(self, why: str, seconds: float, now: float) -> None:
        """Take what Redis said of the slot."""
        self._is_busy = why == "busy"
        # Where it is free already, nobody is about to take it: there is nobody to leave it to.
        is_free = why in ("ready", "idle")
        self._alone_at = self._beside_at = -math.inf if is_free else now + seconds

    def hear_turn(
        self, *, is_free: bool, process: int, seconds: float, beside: float, lease: float, now: float
    ) -> None:
        """Take what is published: the slot is taken, or free, and can be had in so many seconds."""
        self._is_busy = not is_free
        self._beside_at = now + beside
        # Who says nothing any more is noticed by the calls that are made meanwhile.
        self._alone_at = now + seconds if is_free else now + lease + seconds
        self._last_sender = process
        if process in self._members or process == self._process:
            self._last_of_account = process
        else:
            self._rival, self._rival_until = process, now + _RIVAL_FOR
        self._left_to_rivals = _LEFT_TO_RIVALS if now < self._rival_until else 0.0
        self._spread = _SPREAD * self._random()

    def hear_member(self, process: int) -> None:
        """Take note that a process is of the same account."""
        self._members[process] = None
        if process == self._last_sender:
            self._last_of_account = process
        if process == self._rival:
            self._rival, self._rival_until, self._left_to_rivals = 0, -math.inf, 0.0
        self._members.move_to_end(process)
        if len(self._members) > _MOST_MEMBERS:
            self._members.popitem(last=False)

    def try_at(self, *, is_alone: bool, is_follow_up: bool) -> float:
        """Return the moment from which to ask for the slot."""
        at = self._alone_at if is_alone else self._beside_at
        if self.is_last_sender:
            return at + _LAST_SENDER + self._left_to_rivals
        if is_follow_up:
            return at
        if self._last_sender and self._last_sender not in self._members:
            return at if self._last_of_account in (0, self._process) else at + _NOT_LAST_OF_ACCOUNT
        return at + _OTHERS + self._spread + self._left_to_rivals

    def announce_at(self) -> float:
        """Return the moment by which Redis should know what waits here."""
        if self._is_busy:
            # The end of the request will be heard.
            return self._alone_at
        return self._alone_at - _ANNOUNCED_BEFORE
