"""SMSFire's WhatsApp API v2: message statuses by id and by customId."""

from .provider import SMSFire

__all__ = ["SMSFire"]
