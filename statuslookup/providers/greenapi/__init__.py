"""GREEN-API's stories: who got and who saw a WhatsApp status."""

from .provider import GreenAPI

__all__ = ["GreenAPI"]
