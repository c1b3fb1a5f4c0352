"""What Redis's errors mean for a fleet, in words that hold no password and no user."""

import re
import ssl
from typing import Final

from redis import exceptions

from ..errors import FleetError

# What a Redis answers that starts, is full, fails over or is busy: later it answers otherwise. Where redis-py
# has a class of its own for it, that comes in place of the word.
_PASSING: Final = (exceptions.ClusterDownError, exceptions.TryAgainError)
_MAY_PASS: Final = (
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
)
_WITHIN_SCRIPT: Final = re.compile(r"\d: -?([A-Z]+) ")


def problem_of(error: BaseException, where: str) -> FleetError:
    """Return what an error of redis-py means; ``where`` names Redis by host, port and database."""
    refusals = exceptions.AuthenticationError | exceptions.AuthorizationError
    if isinstance(error, refusals) or _says(error, "WRONGPASS", "NOAUTH"):
        return FleetError(f"Redis at {where} refused the user or the password of its URL")
    if isinstance(error, exceptions.NoPermissionError) or _says(error, "NOPERM"):
        return FleetError(
            f"Redis at {where} does not let this user do what a fleet needs; the page about fleets of the"
            " documentation lists the rights"
        )
    if isinstance(error, exceptions.ReadOnlyError | exceptions.OutOfMemoryError):
        return FleetError(f"Redis at {where} takes no writes: {_first_word(error)}", is_transient=True)
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError):
        if _is_distrust(error):
            return FleetError(f"the certificate of Redis at {where} cannot be verified")
        return FleetError(f"Redis at {where} cannot be reached: {_reason(error)}", is_transient=True)
    if isinstance(error, exceptions.AskError) or _says(error, "MOVED", "ASK"):
        return FleetError(f"Redis at {where} is part of a cluster: lend the fleet a RedisCluster")
    if isinstance(error, exceptions.ResponseError):
        if isinstance(error, _PASSING) or _says(error, *_MAY_PASS):
            return FleetError(f"Redis at {where} is not ready: {_first_word(error)}", is_transient=True)
        if _says(error, "WRONGTYPE"):
            return FleetError(
                f"Redis at {where} holds something else under statuslookup:*; give the fleet a database of"
                " its own, or delete those keys"
            )
        return FleetError(
            f"Redis at {where} cannot run what a fleet needs, Lua scripts that may call TIME:"
            f" {_bounded(str(error))}"
        )
    return FleetError(f"Redis at {where} cannot be used: {type(error).__name__}", is_transient=True)


def is_redis_error(error: BaseException) -> bool:
    """Tell whether this is what a connection to Redis ends with, and no mistake of this library."""
    return isinstance(error, exceptions.RedisError | OSError)


def _says(error: BaseException, *words: str) -> bool:
    return _first_word(error) in words


def _first_word(error: BaseException) -> str:
    """Return the code of an error, also where redis-py or a script of Redis 6 has put it elsewhere."""
    if isinstance(error, exceptions.ReadOnlyError):
        return "READONLY"
    if isinstance(error, exceptions.OutOfMemoryError):
        return "OOM"
    if isinstance(error, _PASSING):
        return "it is failing over"
    text = str(error)
    within = _WITHIN_SCRIPT.search(text) if text.startswith("Error running script") else None
    return text.split(" ", 1)[0].lstrip("-") if within is None else within[1]


def _is_distrust(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reason(error: BaseException) -> str:
    """Say in few words what a connection ended with; redis-py's own text may name what is in the URL."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    is_late = isinstance(error, exceptions.TimeoutError | TimeoutError)
    return "no answer in time" if is_late else "the connection was lost"


def _bounded(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"
