"""What GREEN-API means by a refusal, in its own words.

Source of every fact here: GREEN-API, "Common errors".
"""

from typing import Any

from ..._wire import PLACEHOLDER, Response, Secret
from ...errors import InstanceError, QuotaExceededError, ResponseError, ServerError
from .. import base
from ..fields import decode, integer

NAME = "GREEN-API"
_MOST_WORDS = 1_000
_MOST_QUOTA_VALUES = 10_000


def error_of(response: Response, secret: Secret) -> ResponseError | None:
    """Return the error of a response: what its status means, and at GREEN-API its words, too."""
    error = base.error_of(response, provider=NAME)
    if isinstance(error, QuotaExceededError):
        return _quota_error(response, secret)
    if response.status_code == 404:
        # An unknown message is an empty list.
        return _instance_error("is not at this URL", 404)
    if response.status_code == 400:
        words = _words_of(response)
        if words.startswith(_STARTING):
            text = "the instance is starting, or not authorized (status 400); ask again later"
            return ServerError(text, provider=NAME, status_code=400, retry_after=response.retry_after)
        for beginning, problem in _INSTANCE_PROBLEMS.items():
            if words.startswith(beginning):
                return _instance_error(problem, 400)
    return error


def _instance_error(problem: str, status_code: int) -> InstanceError:
    text = f"the instance {problem} (status {status_code}); see GREEN-API's console"
    return InstanceError(text, provider=NAME, status_code=status_code)


# GREEN-API, "Common errors", in small letters. What GREEN-API says is compared with these and never shown.
_STARTING = ("instance in starting process", "instance is starting")
_INSTANCE_PROBLEMS = {
    "instance account not authorized": "is not authorized",
    "instance not authorized": "is not authorized",
    "instance is not authorized": "is not authorized",
    "instance account is expired": "is expired",
    "instance is expired": "is expired",
    "instance is deleted": "is deleted",
}


def _words_of(response: Response) -> str:
    """Return what a response says in words, in small letters, whether it is JSON or not."""
    content = response.content[:_MOST_WORDS]
    try:
        said = decode(content)
    except ValueError:
        said = content.decode("utf-8-sig", errors="replace")
    if isinstance(said, dict):
        said = next(
            (said[name] for name in ("message", "reason", "error") if isinstance(said.get(name), str)), ""
        )
    return " ".join(said.lower().split()) if isinstance(said, str) else ""


def _quota_error(response: Response, secret: Secret) -> QuotaExceededError:
    """Return the error with what the body says of the quota that does not allow more, if it says anything."""
    quota = _quota_of(response)
    used, total = _count(quota.get("used")), _count(quota.get("total"))
    description = quota.get("description")
    said = "" if used is None or total is None else f": {used} of {total}"
    if not isinstance(description, str):
        description = None
    else:
        # The token is part of the URL, and a server may well quote the URL.
        description = description.replace(secret.reveal(), PLACEHOLDER)[:_MOST_WORDS]
        said += f", {description!r}" if said else f": {description!r}"
    return QuotaExceededError(
        f"the plan's quota is used up (status 466){said}",
        provider=NAME,
        used=used,
        total=total,
        description=description,
    )


def _quota_of(response: Response) -> dict[str, Any]:
    try:
        body = decode(response.content, most_values=_MOST_QUOTA_VALUES)
    except ValueError:
        return {}
    found = (
        [body.get(name) for name in ("invokeStatus", "correspondentsStatus")]
        if isinstance(body, dict)
        else []
    )
    quotas: list[dict[str, Any]] = [quota for quota in found if isinstance(quota, dict)]
    used_up = [quota for quota in quotas if not str(quota.get("status")).endswith("_ALLOWED")]
    return next(iter(used_up + quotas), {})


def _count(value: Any) -> int | None:
    try:
        return integer(value)
    except ValueError:
        return None
