"""What a holder's own pacer asks of the slot, and what it makes of a reply; Redis knows no policy."""

import math
from typing import Final

from attrs import evolve

from .._limits.limiter import Reply
from .._limits.pacer import Grant, Pace, Pacer
from .._model import RateLimit
from .slot import LeftPace, Sent, Terms

# As many requests at a time as without a fleet, where there is no limit.
_UNLIMITED: Final = Terms(interval=0.0, period=0.0, places=4, is_alone=False)


class SharedPacer:
    """A ``Pacer`` that goes on from where the last holder's stands, and leaves its own to the next one."""

    def __init__(self, limit: RateLimit | None) -> None:
        self._pacer = None if limit is None else Pacer(limit)

    @property
    def in_flight(self) -> int:
        return 0 if self._pacer is None else self._pacer.in_flight

    @property
    def next_at(self) -> float:
        """The moment from which one more request may go beside those that are under way here."""
        return -math.inf if self._pacer is None else self._pacer.next_at

    def is_alone(self, now: float) -> bool:
        """Whether the next request may only go while no other is under way."""
        pacer = self._pacer
        if pacer is None or pacer.is_windowed:
            return False
        # One of ours that takes unusually long keeps its place, and the others go on beside it.
        return not (pacer.in_flight and now >= pacer.next_at)

    def terms(self, now: float) -> Terms:
        pacer = self._pacer
        if pacer is None:
            return _UNLIMITED
        return Terms(
            interval=pacer.interval,
            period=pacer.period,
            places=pacer.places,
            is_alone=self.is_alone(now),
            credit=pacer.credit,
        )

    def go_on_from(self, pace: LeftPace, now: float) -> None:
        if self._pacer is not None:
            calm_since = -math.inf if pace.calm is None else now - pace.calm
            self._pacer.go_on_from(Pace(-math.inf, pace.rung, calm_since))

    def grant(self, pace: LeftPace, now: float) -> Grant | None:
        self.go_on_from(pace, now)
        return None if self._pacer is None else self._pacer.grant(now)

    def unused(self, grant: Grant | None) -> None:
        if self._pacer is not None and grant is not None:
            self._pacer.unused(grant)

    def done(self, grant: Grant | None, reply: Reply, now: float) -> Sent:
        """Take what came of a request; return what follows from it for whoever goes next."""
        pacer = self._pacer
        if pacer is None or grant is None:
            return Sent(pause=0.0, period=0.0, pace=LeftPace(0, None))
        pacer.done(grant, reply, now)
        pace = pacer.pace(now)
        return Sent(
            pause=max(0.0, pacer.counted_by + pacer.interval - now),
            period=max(0.0, pacer.counted_by + pacer.period - now),
            freeze=max(0.0, pacer.frozen_until - now),
            pace=LeftPace(pace.rung, None if pace.calm_since == -math.inf else now - pace.calm_since),
        )


def aged(sent: Sent, seconds: float) -> Sent:
    """Return what a reply means so many seconds later."""
    pace = sent.pace
    if pace.calm is not None:
        pace = evolve(pace, calm=pace.calm + seconds)
    return evolve(
        sent,
        pause=max(0.0, sent.pause - seconds),
        period=max(0.0, sent.period - seconds),
        freeze=max(0.0, sent.freeze - seconds),
        pace=pace,
    )
