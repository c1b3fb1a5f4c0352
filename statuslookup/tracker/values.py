"""What a tracker is told, and what it tells."""

from typing import Generic

from attrs import Attribute, field, frozen

from .._arguments import number
from .._model import AnswerT, KeyT
from ..errors import StatusLookupError


def _seconds(_: object, attribute: "Attribute[float]", value: object) -> None:
    number(attribute.name, value, what="a number of seconds", above=0)


def _not_negative(_: object, attribute: "Attribute[float]", value: object) -> None:
    number(attribute.name, value, what="a number of seconds", least=0)


@frozen(kw_only=True)
class Schedule:
    """When a tracker asks for a message that nothing is heard of, in seconds.

    After each webhook or lookup it bears as long a silence as the message is old: ``first`` at least, and
    ``longest`` at most. ``grace`` is how long "the provider does not know it" means "not yet", and
    ``give_up`` the age at which a message that reached no end is let go, after a last lookup; each is
    kept to 5 seconds, or to a thousandth of it, whatever the silence.
    """

    first: float = field(default=15.0, validator=_seconds)
    """The silence that is borne at least."""
    longest: float = field(default=3600.0, validator=_seconds)
    """The silence that is borne at most."""
    grace: float = field(default=3600.0, validator=_not_negative)
    """The age from which a message that the provider does not know is unknown for good."""
    give_up: float = field(default=259_200.0, validator=_seconds)
    """The age at which a message is let go: 72 hours are a weekend without a phone."""

    def __attrs_post_init__(self) -> None:
        if self.first > self.longest:
            raise ValueError(f"first must not be above longest: {self.first:g} is above {self.longest:g}")


@frozen(kw_only=True)
class Change(Generic[KeyT, AnswerT]):
    """What became of a message: its ``key``, its ``status``, and whether that ``is_over``."""

    key: KeyT
    """The key by which the message is tracked."""
    status: AnswerT | None
    """The status now; ``None`` if the provider knows no such message."""
    is_over: bool
    """Whether that is its end: it is not tracked any more."""


@frozen(kw_only=True)
class TrackerStats:
    """What a tracker did since it was made, and what it is doing at this moment.

    At this moment: ``open``, ``overdue``, ``untold``, ``unsaved`` and ``last_failure``. Since it was made:
    ``fed``, ``stale``, ``strangers``, ``asked``, ``by_webhook``, ``by_lookup``, ``unknown`` and ``given_up``.
    The share of ``by_lookup`` in the ends is how much the webhooks lose.
    """

    open: int
    """Messages that are followed."""
    overdue: int
    """Messages whose time to be asked for has come."""
    untold: int
    """Ends that nobody has taken yet."""
    unsaved: int
    """Rows that are not in the store yet."""
    fed: int
    """Statuses that webhooks brought."""
    stale: int
    """Statuses that webhooks brought in vain: doubled, or overtaken by others."""
    strangers: int
    """Statuses that webhooks brought of messages that are not followed, such as a late READ."""
    asked: int
    """Keys that were asked for, once for each lookup."""
    by_webhook: int
    """Ends that a webhook told."""
    by_lookup: int
    """Ends that a lookup told."""
    unknown: int
    """Messages that the provider did not know after the grace."""
    given_up: int
    """Messages that reached no end before they were let go."""
    last_failure: StatusLookupError | None
    """Why the last lookup failed; ``None`` if it went well."""
