"""The way to a provider: the only part that knows httpx.

It uses httpx's transports and not its client, because a client logs URLs, keeps cookies and raises errors
that hold their request. Of httpx's successor httpx2 it takes transports, and never imports it.
"""

from .progress import Progress
from .sender import Sender
from .transports import Transport

__all__ = ["Progress", "Sender", "Transport"]
