"""The way to a provider: the only part that knows httpx."""

from .progress import Progress

__all__ = ["Progress"]
