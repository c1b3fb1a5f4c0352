"""What is asked of the slot, and what is said of it."""

from typing import Final, Literal, TypeAlias

from attrs import field, frozen

ANNOUNCE: Final = 0
"""As ``most``: only say what waits, and live on."""
FOLLOW_UP: Final = -1
"""As ``most``: the slot without keys, for a further request of an exchange."""

Why: TypeAlias = Literal["busy", "paced", "forgotten", "pace", "idle", "ready"]


@frozen(kw_only=True)
class Terms:
    """What a member's own pacer asks of the slot."""

    interval: float
    """The seconds between two requests: between grants, and for ``is_alone`` after the last answer."""
    period: float
    """The seconds in which a provider may count a request."""
    places: int
    """How many requests it may count in a period."""
    is_alone: bool = True
    """Whether the request waits until no other one is under way (spaced), or only for a place (windowed)."""
    credit: float = 0.0
    """The seconds that the last answer and the next request are surely on their ways together."""


@frozen
class LeftPace:
    """Where the last holder's pacer stands, for the next one to go on from."""

    rung: int
    """How often the rate is halved."""
    calm: float | None
    """The seconds since the last 429, or the probe that went well after it; ``None`` if there was none."""


@frozen(kw_only=True)
class Sent:
    """What a pacer makes of a reply: from now on, in seconds."""

    pause: float
    """Before which no request goes that goes alone."""
    period: float
    """For which the request may still be counted, less the credit: so long its place is not free."""
    freeze: float = 0.0
    """Before which no request goes at all."""
    pace: LeftPace
    """Where the pacer stands now."""


@frozen
class Taken:
    """The slot, and the keys that came with it: at most one living process holds it."""

    fence: int
    keys: list[str] = field(repr=False)
    pace: LeftPace


@frozen
class Wait:
    """No slot now, and why.

    - ``busy``: others hold it, and have to say that they are done within these seconds.
    - ``paced``: it is free then.
    - ``forgotten``: Redis lost writes, so it is free then. Announce everything anew.
    - ``pace``: it is free, but the pace is another than was known here: go on from it, and ask again.
    - ``idle``: it is free, and nothing waits; what others had taken may come back then.
    - ``ready``: it is free, and was not asked for.
    """

    why: Why
    seconds: float
    pace: LeftPace
