"""Base URLs: which ones credentials may go to, and what tells two hosts apart."""

import ipaddress
from urllib.parse import urlsplit


def checked_base_url(url: str, *, parameter: str) -> str:
    """Return the URL without its last slashes; one that is neither https nor this machine's is refused."""
    if not isinstance(url, str):
        raise TypeError(f"{parameter} is a str, not {type(url).__name__}")
    # urlsplit() drops tabs and line breaks, and lets much else pass that no request can be sent to.
    if not url.isascii() or not url.isprintable() or set(url) & set(' "<>\\^`{|}'):
        raise ValueError(f"{parameter} must hold only characters that a URL may have")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # The error's own words quote the part that is wrong: a password, where one holds a slash.
        raise ValueError(f"{parameter} is no URL: its host or its port is none") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{parameter} must be an https URL with a host")
    if parts.username is not None or "?" in url or "#" in url:
        raise ValueError(
            f"{parameter} must hold no user, query or fragment: only scheme, host, port and path"
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(
            f"{parameter} must be https: over http, anybody on the way could read the credentials"
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def host_of(base_url: str) -> str:
    """Return the host and port of a checked URL, the same for every spelling of them."""
    parts = urlsplit(base_url)
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    return f"{(parts.hostname or '').rstrip('.')}:{port}"
