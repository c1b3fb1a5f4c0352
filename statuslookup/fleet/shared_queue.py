"""What the processes of a fleet share: the slot, and the keys that wait for it."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Protocol

from attrs import frozen

from .._clock import Clock
from ..errors import FleetError
from .identity import Identity
from .link import Link
from .scripts import DONE, TAKE, Script
from .slot import ANNOUNCE, LeftPace, Sent, Taken, Terms, Wait
from .subscription import Subscription

_MOST_FENCE: Final = 10**12
"""No fleet counts so far: what is said of more is not believed. The scripts forget ten times as much."""
_to_json: Final = json.JSONEncoder(ensure_ascii=False).encode
_LATE_AFTER: Final = 0.75


@frozen
class _Held:
    pace: LeftPace
    """Where the pacer was to go on from."""
    interval: float
    """What the grant added to the wait of the next one."""


class Hearer(Protocol):
    """Who hears what the other processes say; nothing here may raise."""

    def hear_turn(self, *, is_free: bool, process: int, seconds: float, beside: float) -> None:
        """Take note that a process took the slot, or gave it back.

        It can be had alone in so many ``seconds``, if it is free, and ``beside`` others in so many.
        """

    def hear_outcomes(self, payload: bytes) -> None:
        """Take what came on the account's channel: not to be believed before its signature is checked."""

    def reconnected(self) -> None:
        """Take note that messages were missed, maybe: announce everything anew."""


class SharedQueue:
    """One member's view of what the processes of a fleet share: the slot, and the keys that wait for it.

    A call that fails raises ``FleetError``; Redis may have done it or not. So whoever calls forgets what he
    believed Redis to know of his keys, and says all of it in the next ``take``; what Redis knows already
    stays where it is.

    - ``lease``: how many seconds a member that says nothing counts as alive.
    - ``process``: its number, for tests: no two members may have the same one.
    """

    def __init__(
        self,
        link: Link,
        identity: Identity,
        hearer: Hearer,
        *,
        lease: float = 2.0,
        process: int | None = None,
    ) -> None:
        # Processes that were forked have the same random numbers, but not the same secrets.
        self.process = process or 1 + secrets.randbelow(2**40)
        self.lease = lease
        self._link = link
        self._identity = identity
        self._hearer = hearer
        self._clock: Clock = link.clock
        self._keys = (identity.slot, identity.alive, identity.queue)
        self._subscription = Subscription(link, (identity.turns, identity.outcomes), self)
        self._seen = 0
        """The highest fence: a Redis that knows less has lost writes."""
        self._rung = 0
        """That of the pace that was gone on from here: where Redis has another one, it says so first."""
        self._held: dict[int, _Held] = {}
        """The slots that are held here, by their fences."""
        self.is_alone = False
        """Whether no other process lived when this one last asked."""
        self.was_away = False
        """Whether the lease had ended when this one last asked: others may have dropped its keys."""
        self._losses = self._losses_said = 0
        """How often keys were left marked as taken by this process that it says nothing of any more, and how
        often of that Redis knows."""
        self._has_asked = False
        self._lives_until = 0.0
        self._interval = self._period = 0.0
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<SharedQueue {self._identity.queue} process {self.process}, holds {sorted(self._held)}>"

    # --- what is heard --------------------------------------------------------------------------------

    @property
    def is_listening(self) -> bool:
        """Whether everything is heard that others say."""
        return self._subscription.is_up

    @property
    def seen(self) -> int:
        """The highest fence that was granted to anybody, as far as is known here."""
        return self._seen

    @property
    def has_asked(self) -> bool:
        """Whether Redis has said since the last rest how far the fleet is.

        Before, a message that somebody kept cannot be told from a new one.
        """
        return self._has_asked

    async def listen(self) -> None:
        """Return once everything is heard that others say: to be awaited before anything is announced."""
        await self._subscription.listen()

    def rest(self) -> None:
        """Let go of the subscription in some seconds, unless ``listen()`` is called before."""
        self._has_asked = False
        self._subscription.rest()

    def hear(self, channel: str, message: bytes) -> None:
        if channel == self._identity.outcomes:
            self._hearer.hear_outcomes(message)
        elif channel == self._identity.turns:
            self._hear_turn(message)

    def _hear_turn(self, message: bytes) -> None:
        try:
            what, *numbers = message[:200].decode("ascii").split(" ")
            # A later release may say more: all share this channel.
            fence, process, beside, alone = map(int, numbers[:4])
        except ValueError:
            # Nobody of ours says such things.
            return
        if what in ("taken", "free") and 0 <= fence < _MOST_FENCE and min(beside, alone) >= 0:
            self._seen = max(self._seen, fence)
            self._hearer.hear_turn(
                is_free=what == "free", process=process, seconds=alone / 1000, beside=beside / 1000
            )

    def reconnected(self) -> None:
        self._hearer.reconnected()

    # --- the slot -------------------------------------------------------------------------------------

    async def take(
        self,
        terms: Terms,
        most: int,
        *,
        first: Sequence[str] = (),
        bulk: Sequence[str] = (),
        gone: Sequence[str] = (),
    ) -> Taken | Wait:
        """Say which keys wait here and which do not any more, and ask for the slot and up to ``most`` keys.

        ``most`` may be ``ANNOUNCE`` or ``FOLLOW_UP``. One call runs at a time, others wait. A call whose
        caller is cancelled goes on, and what it is granted is given back.

        - ``first``: keys that a call for one key waits for; they go before ``bulk``.
        - ``gone``: keys that are not waited for any more, because somebody told their outcome or nobody here
          wants them. They go first, so a key may be gone and wanted anew in one call.
        """
        call = self._link.start(self._take(terms, most, first=first, bulk=bulk, gone=gone))
        try:
            reply: Taken | Wait = await asyncio.shield(call)
        except asyncio.CancelledError:
            call.add_done_callback(self._give_back)
            raise
        return reply

    async def _take(
        self, terms: Terms, most: int, *, first: Sequence[str], bulk: Sequence[str], gone: Sequence[str]
    ) -> Taken | Wait:
        async with self._turn:
            asked_at, losses = self._clock.time(), self._losses
            self._interval, self._period = 1000 * terms.interval, 1000 * terms.period
            reply = await self._run(
                TAKE,
                {
                    "seen": self._seen,
                    "rung": self._rung,
                    "holds": list(self._held),
                    "lost": losses > self._losses_said,
                    "most": most,
                    "leaves": False,
                    "lease": 1000 * self.lease,
                    "interval": self._interval,
                    "period": self._period,
                    "credit": 1000 * terms.credit,
                    "places": terms.places,
                    "alone": terms.is_alone,
                    "first": first,
                    "bulk": bulk,
                    "gone": gone,
                },
            )
            self._has_asked = True
            self._lives_until = asked_at + self.lease
            self._losses_said = losses
            self.is_alone, self.was_away = reply["alone"], reply["away"]
            if reply["fence"] < _MOST_FENCE:
                self._seen = max(self._seen, reply["fence"])
            if reply["why"] in ("taken", "pace"):
                self._rung = reply["rung"]
            held = set(reply["held"])
            for fence in [fence for fence in self._held if fence not in held]:
                # Its lease had ended: others may send.
                del self._held[fence]
            calm = reply["calm"]
            # As a whole number, whatever stands in Redis.
            pace = LeftPace(int(reply["rung"]), calm / 1000 if calm >= 0 else None)
            if reply["why"] == "taken":
                # Before the next call goes: what is not claimed there counts as never sent.
                self._held[reply["fence"]] = _Held(pace, terms.interval)
                return Taken(reply["fence"], list(reply["keys"]), pace)
            return Wait(reply["why"], reply["wait"] / 1000, pace)

    def _give_back(self, call: "asyncio.Task[Taken | Wait]") -> None:
        if not call.cancelled() and call.exception() is None and isinstance(taken := call.result(), Taken):
            self._start_done(taken.fence, None, (), taken.keys, b"")

    def is_late(self, fence: int) -> bool:
        """Tell whether the slot may have passed to another by now: then nothing may be sent in it."""
        ends_at = self._lives_until - (1 - _LATE_AFTER) * self.lease
        return fence not in self._held or self._clock.time() >= ends_at

    async def done(
        self,
        fence: int | None,
        sent: Sent | None,
        *,
        told: Sequence[str] = (),
        back: Sequence[str] = (),
        payload: bytes | None = b"",
    ) -> bool:
        """Give the slot back, and say what came of the request.

        It goes on although its caller is cancelled, and is repeated while it can do any good: until the lease
        ends. After that this process holds nothing any more, and whatever it had taken is asked anew.

        - ``fence``: of the slot; ``None`` if there is none to give back, only keys.
        - ``sent``: what the pacer makes of the reply; ``None`` if nothing was sent.
        - ``told``: keys of this process's batches that have an outcome now.
        - ``back``: keys of them that others should ask for; they go before all that wait.
        - ``payload``: what all processes of the account hear; nothing if it is empty, and ``None`` from a
          process that believes to be alone.

        It returns ``True`` if others have to hear what was told by a process that believed to be alone: then
        ``told`` is still in the queue, and is to be said again, with a payload.
        """
        return await asyncio.shield(self._start_done(fence, sent, told, back, payload))

    def _start_done(self, fence: int | None, *arguments: Any) -> "asyncio.Task[bool]":
        call = self._link.start(self._done(fence, *arguments))
        call.add_done_callback(partial(self._end_claim, fence or 0))
        return call

    def _end_claim(self, fence: int, call: "asyncio.Task[bool]") -> None:
        """Claim the slot no longer: for ever, that would block the fleet as long as this process lives."""
        self._held.pop(fence, None)
        if call.cancelled():
            # From outside, and maybe before Redis heard of it.
            self.let_go()

    async def _done(
        self,
        fence: int | None,
        sent: Sent | None,
        told: Sequence[str],
        back: Sequence[str],
        payload: bytes | None,
    ) -> bool:
        held = self._held.get(fence or 0)
        ask = {
            "fence": fence or 0,
            "interval": 1000 * held.interval if held is not None else 0,
            "sent": None if sent is None else _milliseconds(sent, None if held is None else held.pace),
            "told": told,
            "back": back,
            "quiet": payload is None,
        }
        while True:
            try:
                is_owed = bool(await self._run(DONE, ask, payload or b""))
                break
            except FleetError as problem:
                if not problem.is_transient or self._clock.time() >= self._lives_until:
                    self.let_go()
                    raise
            await self._link.pause()
        if sent is not None and sent.pace.calm is not None:
            self._rung = sent.pace.rung
        if is_owed:
            self.is_alone = False
        return is_owed

    def let_go(self) -> None:
        """Let others ask, from the next call on, for whatever this process had taken.

        What it held and does not claim any more counts as if something had been sent until then.
        """
        self._losses += 1

    async def leave(self, gone: Sequence[str] = ()) -> None:
        """Say farewell: give back the lease, what is held and the keys ``gone``, and hear nothing more."""
        await self._subscription.aclose()
        await asyncio.shield(self._link.start(self._leave(gone)))

    async def _leave(self, gone: Sequence[str]) -> None:
        async with self._turn:
            self._held.clear()
            known = {
                "seen": self._seen,
                "rung": self._rung,
                "interval": self._interval,
                "period": self._period,
                "lost": self._losses > self._losses_said,
            }
            await self._run(TAKE, {**_FAREWELL, **known, "gone": gone})

    async def _run(self, script: Script, ask: dict[str, Any], *arguments: str | bytes) -> Any:
        names = {"process": self.process, "turns": self._identity.turns, "outcomes": self._identity.outcomes}
        # What others wrote into the queue may be no text; it has to find its way back as it came.
        text = _to_json({**ask, **names}).encode(errors="surrogateescape")
        reply = await self._link.run(script, self._keys, text, *arguments)
        return json.loads(reply.decode(errors="surrogateescape")) if isinstance(reply, bytes) else reply


def _milliseconds(sent: Sent, came: LeftPace | None) -> dict[str, float]:
    """Return what the script is told; of the pace only if it moved, because each way adds to its seconds."""
    calm = sent.pace.calm
    if came is not None and came.calm is not None and calm is not None:
        has_moved = sent.pace.rung != came.rung or calm < came.calm
        calm = calm if has_moved else None
    return {
        "pause": 1000 * sent.pause,
        "cool": 1000 * sent.period,
        "freeze": 1000 * sent.freeze,
        "rung": sent.pace.rung,
        "calm": -1 if calm is None else 1000 * calm,
    }


_FAREWELL: Final = {
    "holds": (),
    "most": ANNOUNCE,
    "leaves": True,
    "lease": 2000,
    "credit": 0,
    "places": 1,
    "alone": True,
    "first": (),
    "bulk": (),
}
