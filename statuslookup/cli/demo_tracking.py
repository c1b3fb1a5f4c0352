"""The last act of the demo: messages that live, webhooks that get lost, and a tracker that knows the end."""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field
from rich.table import Table

from .._client import StatusClient
from .._clock import SYSTEM_CLOCK, Timer
from .._model import CustomId, MessageKey, MessageStatus
from ..providers import SMSFire
from ..tracker import StatusTracker
from .display import Bar, add_elapsed, chart_of, counted

if TYPE_CHECKING:
    from ..sandbox import Campaign, Sandbox, Step

SPEED = 40
"""How many seconds of the campaign pass in one of ours."""
_MOST_MESSAGES = 300
_SECONDS_OF_SENDING = 60.0
# The same messages and the same bad luck each time.
_SEED = 7


class _FastClock:
    """The machine's clock, as many times faster as the campaign's time."""

    @staticmethod
    def time() -> float:
        return SYSTEM_CLOCK.time() * SPEED

    @staticmethod
    def call_later(delay: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        return SYSTEM_CLOCK.call_later(delay / SPEED, callback, *arguments)


@define(eq=False)
class Tracking:
    """A campaign at a sandbox, and a tracker that follows its messages; both live much faster than we do."""

    _sandbox: "Sandbox"
    _campaign: "Campaign" = field(init=False)
    _client: StatusClient[MessageKey, MessageStatus] = field(init=False)
    _tracker: StatusTracker[MessageKey, MessageStatus] = field(init=False)
    _lives: "dict[MessageKey, Sequence[Step]]" = field(init=False, factory=dict)
    _ends: dict[MessageKey, MessageStatus | None] = field(init=False, factory=dict)
    _seconds: float = field(init=False, default=0.0)

    def prepare(self, url: str, messages: int) -> str:
        """Have messages that will be sent, no more than so many; return what there is to see, in words."""
        from ..sandbox import Campaign, DeliveryCurve

        # All of it is over within a few minutes of the campaign: nothing expires after a day.
        curve = DeliveryCurve(
            delivered=((0.9, (0.5, 8.0)), (0.1, (20.0, 90.0))),
            early=(10.0, 90.0),
            expire=0.0,
            expire_early=0.03,
            stay_sent=0.0,
        )
        self._campaign = Campaign(self._sandbox, curve=curve, random=Random(_SEED))  # noqa: S311 - it guards nothing
        count = min(messages, _MOST_MESSAGES)
        for id in range(1, count + 1):
            after = _SECONDS_OF_SENDING * id / count
            custom_id = CustomId(f"order-{id:03d}")
            self._lives[custom_id] = self._campaign.send(id, custom_id=custom_id, after=after)
        self._client = StatusClient(SMSFire("sandbox", base_url=url), timeout=None)
        self._tracker = StatusTracker(self._client, clock=_FastClock())
        return (
            f"Now {counted(count, 'message')} live their lives, {SPEED} times as fast.\n"
            "A webhook tells of each change, but 3 in 10 get lost; a StatusTracker knows."
        )

    async def run(self) -> None:
        """Let the campaign live until the tracker knows what became of every message."""
        from ..webhooks import receiver

        started_at = SYSTEM_CLOCK.time()
        async with self._client, self._tracker:
            await self._tracker.track(*self._lives)
            secret = secrets.token_urlsafe()
            app = receiver(self._tracker, path_secret=secret)
            async with self._campaign.playing(app, path=f"/{secret}", speed=SPEED):
                async for change in self._tracker.watch(self._lives):
                    if change.is_over:
                        self._ends[change.key] = change.status
        self._seconds = SYSTEM_CLOCK.time() - started_at

    def bar(self) -> Bar:
        done, total = len(self._ends), len(self._lives)
        lost = counted(self._campaign.posted.lost, "webhook")
        return Bar("Tracking", done, total, f"{done:,} of {total:,}", f"{lost} lost")

    def table(self) -> Table:
        """Return what the act ends with; it fits into 80 columns and needs neither colours nor Unicode."""
        states = Counter(None if end is None else end.state for end in self._ends.values())
        table = chart_of(f"Tracking, {counted(len(self._lives), 'message')}", "message", states)
        stats, posted = self._tracker.stats(), self._campaign.posted
        table.add_row("Webhooks lost", f"{posted.lost:,}")
        table.add_row("Ends by webhook", f"{stats.by_webhook:,}")
        table.add_row("Ends by lookup", f"{stats.by_lookup:,}")
        table.add_row("Requests made", f"{self._client.stats().requests:,}")
        add_elapsed(table, self._seconds)
        return table

    def disagreement(self) -> str | None:
        """Return what the tracker knows otherwise than it was, if anything."""
        for key, life in self._lives.items():
            end = self._ends.get(key)
            states = {step.state for step in life}
            is_true = end is not None and end.state.is_final and end.state in states
            # What failed was not delivered, and what was delivered did not fail.
            if not is_true:
                return f"Tracking: {key} ended as {life[-1].state}, and the tracker says otherwise"
        return None
