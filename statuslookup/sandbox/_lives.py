"""What becomes of a message, and when: lives that are drawn from a curve. No clock and no I/O."""

import math
from random import Random
from typing import TypeAlias

from attrs import Attribute, field, frozen

from .._arguments import number
from .._model import DeliveryState

Span: TypeAlias = tuple[float, float]
"""Seconds, at least and at most; short ones are more frequent than long ones."""

# SMSFire: a message that stays in the queue for 24 hours expires.
_SECONDS_IN_QUEUE = 86_400.0


@frozen
class Step:
    """One state that a message reaches: ``at`` is when, in seconds of its campaign, and ``state`` which."""

    at: float
    """When it is reached, in seconds since the campaign began."""
    state: DeliveryState
    """What is reached."""


def _share(_: object, attribute: "Attribute[float]", value: float) -> None:
    number(attribute.name, value, what="a share from 0 to 1", least=0, most=1)


def _span(_: object, attribute: "Attribute[Span]", value: object) -> None:
    _check_span(attribute.name, value)


def _spans(_: object, attribute: "Attribute[tuple[tuple[float, Span], ...]]", value: object) -> None:
    name = attribute.name
    if not isinstance(value, tuple) or not value:
        raise TypeError(f"{name} is a tuple of pairs: a share, and the span of its seconds")
    total = 0.0
    for pair in value:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"{name} is a tuple of pairs: a share, and the span of its seconds")
        total += number(f"a share in {name}", pair[0], least=0, most=1)
        _check_span(name, pair[1])
    if not math.isclose(total, 1.0):
        raise ValueError(f"the shares in {name} must add up to 1, not {total:g}")


def _check_span(name: str, value: object) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name} is a span of seconds: the least and the most")
    least = number(name, value[0], above=0)
    number(name, value[1], least=least)


@frozen(kw_only=True)
class DeliveryCurve:
    """What becomes of the messages of a campaign, as shares of all, and after how many seconds.

    A message waits (PENDING), is ``accepted`` (SENT), is delivered as ``delivered`` says, and perhaps
    ``read``. Instead, shares from 0 to 1 of all messages ``fail``, ``expire``, ``expire_early`` (as soon as
    ``early`` says) or ``stay_sent``, which together are 1 at most. ``reads`` is a share of those that are
    delivered. A span of seconds has its least and its most, and half of it is up to ``sqrt(least * most)``.

    The defaults are those of a plausible campaign, which nobody measured: 86 % of what is delivered is so
    in seconds, 8 % in minutes, 5 % in hours, and 1 % in about a day.
    """

    accepted: Span = field(default=(0.2, 2.0), validator=_span)
    """The seconds until a message is SENT, also of one that is refused."""
    delivered: tuple[tuple[float, Span], ...] = field(
        default=(
            (0.86, (0.5, 8.0)),
            (0.08, (60.0, 1_800.0)),
            (0.05, (3_600.0, 43_200.0)),
            (0.01, (72_000.0, 108_000.0)),
        ),
        validator=_spans,
    )
    """The seconds from SENT to DELIVERED: shares, which add up to 1, each with its span."""
    read: Span = field(default=(2.0, 14_400.0), validator=_span)
    """The seconds from DELIVERED to READ."""
    reads: float = field(default=0.7, validator=_share)
    """The share of those delivered that is read."""
    fail: float = field(default=0.02, validator=_share)
    """The share that is REJECTED or, after it was SENT, UNDELIVERED: half of it each."""
    expire: float = field(default=0.01, validator=_share)
    """The share that is PENDING for 24 hours and then EXPIRED."""
    expire_early: float = field(default=0.01, validator=_share)
    """The share that is EXPIRED within ``early``: its instance was not connected."""
    early: Span = field(default=(10.0, 600.0), validator=_span)
    """The seconds until what expires early does."""
    stay_sent: float = field(default=0.03, validator=_share)
    """The share that stays SENT."""

    def __attrs_post_init__(self) -> None:
        total = self.fail + self.expire + self.expire_early + self.stay_sent
        if total > 1:
            raise ValueError(f"the shares of what is not delivered add up to {total:g}: 1 at most")

    def life(self, at: float, random: Random) -> tuple[Step, ...]:
        """Draw the life of a message that is sent at that time, in seconds of the campaign."""
        # As many numbers are drawn for each message, so that one more that fails changes no other one.
        fate, kind, speed, is_read = (random.random() for _ in range(4))
        accepted, delivered, read = (random.random() for _ in range(3))
        pending = Step(at, DeliveryState.PENDING)
        for share, states in self._ends(kind):
            if fate < share:
                return self._failed(pending, states, accepted, delivered)
            fate -= share
        sent = Step(at + _drawn(self.accepted, accepted), DeliveryState.SENT)
        if fate < self.stay_sent:
            return pending, sent
        arrived = Step(sent.at + _drawn(self._delivery(speed), delivered), DeliveryState.DELIVERED)
        if is_read >= self.reads:
            return pending, sent, arrived
        return pending, sent, arrived, Step(arrived.at + _drawn(self.read, read), DeliveryState.READ)

    def _ends(self, kind: float) -> "tuple[tuple[float, tuple[tuple[Span, DeliveryState], ...]], ...]":
        refused = ((self.accepted, DeliveryState.REJECTED),)
        undelivered = (
            (self.accepted, DeliveryState.SENT),
            (self.delivered[0][1], DeliveryState.UNDELIVERED),
        )
        queue = (_SECONDS_IN_QUEUE, _SECONDS_IN_QUEUE)
        return (
            (self.fail, refused if kind < 0.5 else undelivered),
            (self.expire, ((queue, DeliveryState.EXPIRED),)),
            (self.expire_early, ((self.early, DeliveryState.EXPIRED),)),
        )

    @staticmethod
    def _failed(
        pending: Step, states: tuple[tuple[Span, DeliveryState], ...], *chances: float
    ) -> tuple[Step, ...]:
        steps = [pending]
        for (span, state), chance in zip(states, chances, strict=False):
            steps.append(Step(steps[-1].at + _drawn(span, chance), state))
        return tuple(steps)

    def _delivery(self, chance: float) -> Span:
        for share, span in self.delivered:
            if chance < share:
                return span
            chance -= share
        return self.delivered[-1][1]


def _drawn(span: Span, chance: float) -> float:
    """Return the seconds of a span at a chance from 0 to 1; each doubling of them is as frequent."""
    least, most = span
    return least * math.pow(most / least, chance)
