"""Campaigns that live: messages and stories whose states change, and the webhooks that tell of it."""

import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from types import MappingProxyType
from typing import TypeVar

from .._arguments import number, shown_unfinished, whole
from .._model import CustomId, DeliveryState, Receipt, StatusStatistic
from ._app import Sandbox
from ._greenapi import Instance
from ._lives import DeliveryCurve, Step
from ._playing import Player
from ._webhooks import Mishaps, Posted, Target, poster

_T = TypeVar("_T")

# A webhook that is held back waits for its message's next change, and for so long at most.
_LONGEST_HELD_BACK = 300.0
_FIRST_RECIPIENT = 551100000001

# GREEN-API has fewer words, and nothing to say of what it did not send yet.
_OF_STORIES: Mapping[DeliveryState, DeliveryState] = MappingProxyType(
    {
        DeliveryState.SENT: DeliveryState.SENT,
        DeliveryState.DELIVERED: DeliveryState.DELIVERED,
        DeliveryState.READ: DeliveryState.READ,
        DeliveryState.UNDELIVERED: DeliveryState.FAILED,
        DeliveryState.REJECTED: DeliveryState.FAILED,
    }
)

_Told = tuple[Step, list[float]]
"""One state, and the times at which its webhook is sent."""


class _Life(ABC):
    """What a message goes through, step by step."""

    def __init__(self, steps: list[_Told]) -> None:
        self.rest: Iterator[_Told] = iter(steps)
        self.due: Step
        self.sends: list[float]

    def go_on(self) -> bool:
        """Go to the next step; false if there is none."""
        following = next(self.rest, None)
        if following is not None:
            self.due, self.sends = following
        return following is not None

    @abstractmethod
    def change(self, date: datetime) -> list[bytes]:
        """Make the step that is due true in the sandbox, and return its webhook, if any."""


class _OfMessage(_Life):
    def __init__(self, steps: list[_Told], sandbox: Sandbox, id: int, custom_id: str | None) -> None:
        super().__init__(steps)
        self._sandbox = sandbox
        self._id = id
        self._custom_id = custom_id

    def change(self, date: datetime) -> list[bytes]:
        state = self.due.state
        if self._id not in self._sandbox.messages:
            self._sandbox.add_message(
                self._id, custom_id=self._custom_id, state=state, sent_date=date, status_date=date
            )
            return []
        webhook = self._sandbox._put(self._sandbox._changed(self._id, state, date))
        return [] if webhook is None else [webhook]


class _OfRecipient(_Life):
    def __init__(self, steps: list[_Told], instance: Instance, id_message: str, participant: str) -> None:
        super().__init__(steps)
        self._instance = instance
        self._id_message = id_message
        self._participant = participant

    def change(self, date: datetime) -> list[bytes]:
        if self._id_message not in self._instance.statistics:
            self._instance.add_statistic(self._id_message)
        story = self._instance.statistics[self._id_message]
        receipt = Receipt(participant=self._participant, timestamp=date, state=self.due.state)
        others = [other for other in story.receipts if other.participant != self._participant]
        return self._instance._put(StatusStatistic(id_message=self._id_message, receipts=(*others, receipt)))


_MODEL = Mishaps(lose=0.3, repeat=0.1, reorder=0.1, delay=0.1, delay_by=(0.0, 300.0))


class Campaign:
    """Messages of a sandbox that live: they are sent, delivered and read as a curve says, and webhooks tell.

    ``send`` and ``publish`` draw what will become of a message or a story, and return it. It becomes true in
    the sandbox as the campaign's time goes on, which is seconds from 0: ``playing`` lets it go with the event
    loop's time, as many times faster as you like, and posts the webhooks; ``advance`` moves it by hand, and
    returns them.

    - ``curve`` says what becomes of messages, and ``webhooks`` what happens to webhooks on their way. A
      webhook that is held back comes after the next change of its message, or 5 minutes later at most; none
      tells of EXPIRED.
    - ``random`` chooses. One with the same seed, and the same calls, gives the same campaign.
    - ``begin`` is the date at the campaign's time 0, now if it is left out; dates of statuses count from it.

    A campaign is used in one thread.

    Source: SMSFire, "Consulta Status" (a webhook has the format of a lookup, as Callback and as DLR);
    GREEN-API, "Outgoing message status".
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        curve: DeliveryCurve | None = None,
        webhooks: Mishaps = _MODEL,
        random: Random | None = None,
        begin: datetime | None = None,
    ) -> None:
        self._sandbox = _checked("sandbox", sandbox, Sandbox)
        self._curve = _checked("curve", DeliveryCurve() if curve is None else curve, DeliveryCurve)
        self._mishaps = _checked("webhooks", webhooks, Mishaps)
        self._random = _checked("random", Random() if random is None else random, Random)  # noqa: S311 - it guards nothing
        self._begin = datetime.now(UTC) if begin is None else _checked("begin", begin, datetime)
        if self._begin.utcoffset() is None:
            raise ValueError("begin must be aware: give it a tzinfo")
        self._events: list[tuple[float, int, _Life | bytes]] = []  # when, and in which order
        self._order = count()
        self._now = 0.0
        self._player: Player | None = None
        self._lost = self._repeated = self._requests = self._delivered = 0

    @shown_unfinished
    def __repr__(self) -> str:
        state = "playing" if self._player is not None else "at rest"
        return f"<{type(self).__name__} {state} at {self.now:.1f} s: {len(self._events)} things to come>"

    @property
    def now(self) -> float:
        """The campaign's time, in seconds."""
        return self._now if self._player is None else self._player.now

    @property
    def posted(self) -> Posted:
        """What became of the webhooks so far."""
        return Posted(
            lost=self._lost, repeated=self._repeated, requests=self._requests, delivered=self._delivered
        )

    @property
    def is_over(self) -> bool:
        """True if nothing more will change, and no webhook is still to come."""
        return not self._events

    def send(self, id: int, *, custom_id: str | None = None, after: float = 0.0) -> tuple[Step, ...]:
        """Send one message, now or so many seconds after, and return the states that it will reach.

        SMSFire knows it from its first state, PENDING, on. An id that the sandbox knows already is a
        ``ValueError``.
        """
        at = self.now + number("after", after, least=0)
        if custom_id is not None:
            CustomId(custom_id)
        if whole("the id of a message", id, least=0) in self._sandbox.messages:
            raise ValueError(f"the sandbox has a message {id} already")
        steps = self._curve.life(at, self._random)
        life = _OfMessage(self._told(steps), self._sandbox, id, custom_id)
        if after:
            self._go_on(life)
        elif life.go_on():
            self._happen(life)
        return steps

    def publish(
        self, instance: Instance, id_message: str, *, recipients: int, after: float = 0.0
    ) -> dict[str, tuple[Step, ...]]:
        """Publish one story, now or so many seconds after; return the states it will reach at each recipient.

        GREEN-API knows it from the first recipient on that it was sent to, and has a webhook for each change.
        A story that the instance knows already is a ``ValueError``.
        """
        at = self.now + number("after", after, least=0)
        if id_message in _checked("instance", instance, Instance).statistics:
            raise ValueError(f"the instance has a story {id_message!r} already")
        lives: dict[str, tuple[Step, ...]] = {}
        for place in range(whole("recipients", recipients, least=1)):
            drawn = self._curve.life(at, self._random)
            steps = [Step(step.at, _OF_STORIES[step.state]) for step in drawn if step.state in _OF_STORIES]
            participant = f"{_FIRST_RECIPIENT + place}@c.us"
            lives[participant] = tuple(steps)
            self._go_on(_OfRecipient(self._told(steps), instance, id_message, participant))
        return lives

    def advance(self, to: float) -> list[bytes]:
        """Let all happen that is due until that time of the campaign, and return the webhooks that were sent.

        They are in the order in which they arrive. It is for programs without ``playing``.
        """
        if self._player is not None:
            raise RuntimeError("the campaign is playing: its time goes by itself")
        webhooks = self._advance(number("to", to, least=self._now))
        self._count(requests=len(webhooks), delivered=len(webhooks))
        return webhooks

    @asynccontextmanager
    async def playing(
        self,
        target: Target | None = None,
        *,
        path: str | None = None,
        hand: Callable[[bytes], object] | None = None,
        speed: float = 1.0,
    ) -> AsyncGenerator[None, None]:
        """Let the campaign's time go on until the ``async with`` block ends.

        - ``target`` gets the webhooks: an http URL of this machine, or an ASGI app in this process, at
          ``path`` or else at ``/``. It has 2 seconds for each, up to 100 are under way at once, and none is
          sent again.
        - ``hand`` is called with the body of each instead. With neither, nobody has registered a webhook.
        - ``speed`` is how many seconds of the campaign pass in one of the event loop.

        What ``hand`` or the app raises ends the campaign's time, and is raised at the end of the block, or
        by ``finish()``.
        """
        if target is not None and hand is not None:
            raise TypeError("webhooks go to a target or are handed over, not both")
        if self._player is not None:
            raise RuntimeError("the campaign is playing already")
        if target is None and path is not None:
            raise TypeError("path is for a target")
        post = None if target is None else poster(target, path)
        player = Player(self, self._now, post, hand, number("speed", speed, above=0))
        self._player = player
        try:
            yield
            player.raise_failure()
        finally:
            self._now = player.now
            self._player = None
            await player.stop()

    async def finish(self) -> None:
        """Wait until nothing more will change and every webhook came; the campaign has to be playing."""
        if self._player is None:
            raise RuntimeError("the campaign is not playing: nothing would ever end")
        await self._player.finish()

    def _told(self, steps: Sequence[Step]) -> list[_Told]:
        """Return each step with the times at which its webhook is sent."""
        told: list[_Told] = []
        following = [*(later.at for later in steps[1:]), math.inf]
        for step, next_at in zip(steps, following, strict=False):
            held_back = min(next_at - step.at + 1.0, _LONGEST_HELD_BACK)
            (copies,) = self._mishaps._copies(1, self._random)
            told.append((step, [step.at + late + held_back * (rank > 0) for late, rank in copies]))
        return told

    def _go_on(self, life: _Life) -> None:
        if life.go_on():
            self._push(life.due.at, life)

    def _happen(self, life: _Life) -> None:
        for webhook in life.change(self._date_of(life.due.at)):
            self._lost += not life.sends
            self._repeated += len(life.sends) > 1
            for at in life.sends:
                self._push(at, webhook)
        self._go_on(life)

    def _push(self, at: float, event: _Life | bytes) -> None:
        heapq.heappush(self._events, (at, next(self._order), event))
        if self._player is not None:
            self._player.wake()

    def _date_of(self, at: float) -> datetime:
        return (self._begin + timedelta(seconds=at)).replace(microsecond=0)

    # --- for the player ---------------------------------------------------------------------------

    def _advance(self, to: float) -> list[bytes]:
        webhooks: list[bytes] = []
        while self._events and self._events[0][0] <= to:
            self._now, _, event = heapq.heappop(self._events)
            if isinstance(event, bytes):
                webhooks.append(event)
            else:
                self._happen(event)
        self._now = to
        return webhooks

    def _next_at(self) -> float | None:
        return self._events[0][0] if self._events else None

    def _count(self, *, requests: int = 0, delivered: int = 0) -> None:
        self._requests += requests
        self._delivered += delivered


def _checked(name: str, value: object, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{name} is {article} {kind.__name__}, not {type(value).__name__}")
    return value
