"""The border at which a transport's errors become ours, which hold no request and no secret."""

import ssl
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from .._wire import Secret
from ..errors import ProviderError, TransportError, _rebuild

_WHAT_FAILED: Final = {
    "ConnectTimeout": "no connection within 10 s",
    "ConnectError": "no connection could be made; check the network and the base URL",
    "ReadTimeout": "no answer within 30 s",
    "WriteTimeout": "the request could not be sent within 30 s",
    "ReadError": "the connection broke before the answer was read",
    "WriteError": "the connection broke before the request was sent",
    "CloseError": "the connection broke",
    "RemoteProtocolError": "the connection was closed in the middle of the answer, or was not HTTP",
    "ProxyError": "the proxy refused the connection",
    "UnsupportedProtocol": "the proxy's URL has a scheme that is not supported",
}
_LIBRARIES: Final = {"httpx", "httpx2", "httpcore", "httpcore2"}
_PLAIN: Final = {str, int, float, bool, type(None)}


def problem_of(error: Exception, provider: str, secret: Secret) -> ProviderError:
    """Return what a transport's error means to a lookup: no answer, or a bug of the transport.

    What is neither of httpx's nor of the operating system's making is a bug, and is not asked again.
    """
    if isinstance(error, ProviderError):
        problem = error.fresh()
        problem.__cause__ = None
        return problem
    # By name, because httpx2 need not be there.
    libraries = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}
    if not (isinstance(error, OSError) or libraries & _LIBRARIES):
        return _bug(error, provider, secret)
    kind, tls = type(error).__name__, _tls_problem(error)
    what = f"TLS failed: {tls}" if tls else _WHAT_FAILED.get(kind, f"the request failed ({kind})")
    return TransportError(what, provider=provider)


def _tls_problem(error: BaseException) -> str | None:
    """Return OpenSSL's reason if TLS is at the bottom of the error."""
    cause: BaseException | None = error
    for _ in range(10):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate was not accepted ({getattr(cause, 'verify_message', 'no reason given')})"
        if isinstance(cause, ssl.SSLError):
            return str(cause.reason)
        cause = cause and (cause.__cause__ or cause.__context__)
    return None


def _bug(error: Exception, provider: str, secret: Secret) -> ProviderError:
    """Say what was raised and where; its words and a copy of it only if the secret is in neither."""
    text, cause = "its words, which may hold the credentials, are left out", None
    # The class of the error is somebody else's: its methods may raise, too.
    with suppress(Exception):
        words = str(error)
        # Without attributes, frames, cause, context or notes.
        is_plain = all(type(each) in _PLAIN for each in error.args)
        copy = _rebuild(type(error), error.args, {}) if is_plain else None
        if not _shows(secret, f"{words} {copy!r}"):
            text, cause = words, copy
    # Only where, because the frames hold the request.
    frames = traceback.walk_tb(error.__traceback__)
    [place] = traceback.StackSummary.extract(frames, limit=-1, lookup_lines=False)
    what = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
    said = f": {' '.join(text.split())[:200]}" if text else ""
    problem = ProviderError(f"a bug in the transport: {what}{said}", provider=provider)
    problem.__cause__ = cause
    return problem


def _shows(secret: Secret, text: str) -> bool:
    """Tell whether eight characters of the secret in a row are in the text: libraries cut what they show."""
    text += unquote(text)
    starts = range(max(1, len(secret.reveal()) - 7))
    return any(secret.reveal()[start : start + 8] in text for start in starts)
