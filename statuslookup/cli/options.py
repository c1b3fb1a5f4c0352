"""What the commands have in common: the provider's options, credentials, extras."""

import os
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import click
from attrs import frozen

from .._model import RateLimit
from ..providers.base import Provider
from ..providers.greenapi import GreenAPI
from ..providers.smsfire.provider import SMSFire
from .exit_codes import USAGE
from .table.results import GREENAPI_FIELDS, SMSFIRE_FIELDS, Fields
from .table.rows import Keys, greenapi_keys, smsfire_keys

PROVIDERS = ("smsfire", "green")

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_TIMEOUT = 60.0
_VARIABLE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def _rate(
    _: click.Context, parameter: click.Parameter, value: str | None
) -> RateLimit | Literal["off"] | None:
    if value is None:
        return None
    if value == "off":
        return "off"
    try:
        return RateLimit(float(value))
    except ValueError:
        message = "it is a number of requests a second above 0, or 'off'"
        raise click.BadParameter(message, param=parameter) from None


def _timeout(_: click.Context, parameter: click.Parameter, value: float) -> float:
    # No click.FloatRange, because NaN is in every range.
    if not 0 < value <= 1e9:
        raise click.BadParameter("it is a number of seconds above 0, 1e9 at most", param=parameter)
    return value


def arguments_of(options: Mapping[str, Any]) -> list[str]:
    """Return the arguments that ask the same provider in the same way."""
    rate, timeout = options["rate"], options["timeout"]
    given = {
        "--base-url": options["base_url"],
        "--api-url": options["api_url"],
        "--rate": rate.limit if isinstance(rate, RateLimit) else rate,
        "--timeout": None if timeout == _TIMEOUT else timeout,
        "--env-file": options["env_file"],
    }
    return [part for name, value in given.items() if value is not None for part in (name, str(value))]


def provider_options(command: CommandT) -> CommandT:
    """Give a command the options that say how to ask the provider."""
    options = (
        click.option("--base-url", metavar="URL", help="Where SMSFire is."),
        click.option("--api-url", metavar="URL", help="Where GREEN-API is; else it is GREEN_API_URL."),
        click.option(
            "--rate",
            callback=_rate,
            metavar="RATE",
            help="Requests a second, or 'off'; else the provider's limit.",
        ),
        click.option(
            "--timeout",
            callback=_timeout,
            type=float,
            metavar="SECONDS",
            default=_TIMEOUT,
            show_default=True,
            help="Seconds that one lookup may take in all.",
        ),
        click.option(
            "--env-file",
            type=click.Path(exists=True, dir_okay=False),
            help="Read credentials from this file of NAME=value lines.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@frozen(kw_only=True)
class Service:
    """A provider, and how its keys are read and its answers are written."""

    provider: Provider[Any, Any]
    fields: Fields[Any]

    def keys(self, *, custom_ids: bool = False) -> Keys[Any]:
        """Return how keys are written; ``custom_ids`` takes digits for customIds."""
        if isinstance(self.provider, SMSFire):
            return smsfire_keys(self.provider.check, custom_ids=custom_ids)
        return greenapi_keys(self.provider.check)


def service_of(
    provider: str,
    *,
    base_url: str | None,
    api_url: str | None,
    rate: RateLimit | Literal["off"] | None,
    env_file: str | None,
    **_: Any,
) -> Service:
    """Return the service with the credentials of the environment, or say in a usage error what is wrong."""
    environ = {**os.environ, **({} if env_file is None else read_env_file(env_file))}
    options: dict[str, Any] = {}
    if rate is not None:
        options["rate_limit"] = rate if isinstance(rate, RateLimit) else None
    try:
        if provider == "smsfire":
            if api_url is not None:
                raise ValueError("--api-url is GREEN-API's; SMSFire's is --base-url")
            if base_url is not None:
                options["base_url"] = base_url
            return Service(provider=SMSFire.from_env(environ, **options), fields=SMSFIRE_FIELDS)
        if base_url is not None:
            raise ValueError("--base-url is SMSFire's; GREEN-API's is --api-url")
        if api_url is not None:
            options["api_url"] = api_url
        return Service(provider=GreenAPI.from_env(environ, **options), fields=GREENAPI_FIELDS)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def read_env_file(path: str) -> dict[str, str]:
    """Return the variables of a file of ``NAME=value`` lines; its values are never shown."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines: Sequence[str] = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"{path}: {reason}") from None
    values: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        match = _VARIABLE.fullmatch(line)
        if match is None:
            raise click.UsageError(f"{path}: line {number} is not NAME=value")
        name, value = match.groups()
        quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
        values[name] = value[1:-1] if quoted else value
    return values


class _MissingExtras(click.ClickException):
    exit_code = USAGE


@contextmanager
def needs_extras(what: str) -> Generator[None]:
    """Say what to install if an import fails because an extra of the sandbox is missing."""
    try:
        yield
    except ImportError as error:
        # The sandbox says itself that what it needs is missing. Anything else is a bug, and shows as one.
        if not isinstance(error.__cause__, ImportError):
            raise
        raise _MissingExtras(f'{what} needs its extras: pip install "statuslookup[cli,sandbox]"') from error
