"""Who looks on while a request is under way: loggers are shown no secret, and OpenTelemetry no request."""

import logging
import os
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

from .._wire import PLACEHOLDER, Request, Secret

_secret_in_use: ContextVar[Secret | None] = ContextVar("statuslookup_secret_in_use", default=None)


def scrub_logs(secret: Secret) -> None:
    """Take the secret out of what is logged from now on in this context."""
    _secret_in_use.set(secret)


class _Scrubber(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        secret = _secret_in_use.get()
        if secret is not None and secret.reveal() in (message := record.getMessage()):
            record.msg, record.args = message.replace(secret.reveal(), PLACEHOLDER), None
        return True


# httpcore logs the headers of answers, and a redirect may echo the URL; hpack logs all headers of HTTP/2;
# httpx-retries logs the URL of each request.
for _package, _names in {
    "httpcore": ("connection", "http11", "http2", "proxy", "socks"),
    "httpcore2": ("connection", "http11", "http2", "proxy", "socks"),
    "hpack": ("hpack", "table"),
    "httpx_retries": ("retry", "transport"),
}.items():
    for _name in _names:
        logging.getLogger(f"{_package}.{_name}").addFilter(_Scrubber())


def not_traced(request: Request) -> AbstractContextManager[Any]:
    """Return a context in which OpenTelemetry makes no span of the request, if that would hold the secret.

    A span holds the URL, and the headers that the environment names.
    """
    # What is not loaded instruments nothing.
    opentelemetry: Any = sys.modules.get("opentelemetry.instrumentation.utils")
    if opentelemetry is None or not (PLACEHOLDER in request.path or _captures_authorization()):
        return nullcontext()
    context: AbstractContextManager[Any] = opentelemetry.suppress_http_instrumentation()
    return context


def _captures_authorization() -> bool:
    captured = _headers("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST")
    redacted = _headers("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS")
    is_redacted = redacted.pattern and redacted.search("authorization")
    return captured.fullmatch("authorization") is not None and not is_redacted


def _headers(variable: str) -> re.Pattern[str]:
    """Return what OpenTelemetry makes of a variable that lists headers."""
    return re.compile("|".join(map(str.strip, os.environ.get(variable, "").split(","))), re.IGNORECASE)
