"""What the commands have in common: which provider to ask, how, with whose credentials; extras."""

import io
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, TypeVar

import click
from dotenv import dotenv_values
from dotenv.parser import parse_stream

from .._model import AnswerT, KeyT, RateLimit
from .._wire import Secret
from ..providers import Provider
from .exit_codes import USAGE
from .providers import ENTRIES, Entry

CREDENTIALS = (
    "The credentials come from the environment or from --env-file: "
    + "; ".join(entry.variables for entry in ENTRIES)
    + "."
)

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
Rate: TypeAlias = RateLimit | Literal["off"] | None

FLEET_VARIABLE = "STATUSLOOKUP_FLEET"
_FLEET_NAME = "default"
DEFAULT_TIMEOUT = 60.0
_WORDS = {entry.alias: entry.word for entry in ENTRIES}


class _EntryChoice(click.Choice[Entry[Any, Any]]):
    """One of the entries, by its word or its alias."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        word = super().normalize_choice(choice, ctx)
        return _WORDS.get(word, word)


def _rate(_: click.Context, parameter: click.Parameter, value: str | None) -> Rate:
    if value is None:
        return None
    if value == "off":
        return "off"
    try:
        rate = float(value)
        # A limit of one and a half would allow one: what is meant is a request each two thirds of a second.
        return RateLimit(rate) if rate.is_integer() else RateLimit(1, per=1 / rate)
    except ValueError:
        message = "it is a number of requests a second above 0, or 'off'"
        raise click.BadParameter(message, param=parameter) from None


def _seconds(_: click.Context, parameter: click.Parameter, value: float) -> float:
    # No click.FloatRange, because NaN is in every range.
    if not 0 < value <= 1e9:
        raise click.BadParameter("it is a number of seconds above 0, 1e9 at most", param=parameter)
    return value


def seconds_option(name: str, default: float, help: str) -> Callable[[CommandT], CommandT]:
    """Return the option for a number of seconds."""
    return click.option(
        name, type=float, callback=_seconds, metavar="SECONDS", default=default, show_default=True, help=help
    )


timeout_option = seconds_option("--timeout", DEFAULT_TIMEOUT, "Seconds that one lookup may take in all.")


def with_options(options: Sequence[Callable[[CommandT], CommandT]], command: CommandT) -> CommandT:
    """Give a command some options; its help shows them in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def secret_text(_: click.Context, __: click.Parameter, value: str | None) -> Secret | None:
    """Hide a text that may hold a password from tracebacks with locals, as far as it is ours."""
    return None if value is None else Secret(value)


provider_argument = click.argument("entry", type=_EntryChoice(ENTRIES))


env_file_option = click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False),
    help="Read credentials from this file of NAME=value lines, as python-dotenv does.",
)


def provider_options(command: CommandT) -> CommandT:
    """Give a command the options that say how to ask the provider."""
    options = (
        *(click.option(entry.url_option, metavar="URL", help=entry.url_help) for entry in ENTRIES),
        click.option(
            "--rate",
            callback=_rate,
            metavar="RATE",
            help="Requests a second, or 'off'; else the provider's limit.",
        ),
        click.option(
            "--fleet",
            callback=secret_text,
            metavar="URL",
            help="Share the limit and the requests with other processes through this Redis, or 'off'; else"
            f" {FLEET_VARIABLE} says which, where a URL with a password belongs: all users of a machine see"
            " command lines.",
        ),
        click.option(
            "--fleet-name",
            metavar="NAME",
            default=_FLEET_NAME,
            show_default=True,
            help="The name= of the fleet: one for each IP address that requests leave by.",
        ),
        env_file_option,
    )
    return with_options(options, command)


def arguments_of(options: Mapping[str, Any]) -> list[str]:
    """Return the arguments that ask the same provider in the same way, but for a fleet with a password."""
    rate, fleet, fleet_name = (options[name] for name in ("rate", "fleet", "fleet_name"))
    timeout = options.get("timeout", DEFAULT_TIMEOUT)
    given = {
        **{entry.url_option: options[entry.url_parameter] for entry in ENTRIES},
        "--rate": f"{1 / rate.interval:g}" if isinstance(rate, RateLimit) else rate,
        "--timeout": None if timeout == DEFAULT_TIMEOUT else timeout,
        "--env-file": options["env_file"],
        "--fleet": None if fleet is None or has_hidden_fleet(options) else fleet.reveal(),
        "--fleet-name": None if fleet_name == _FLEET_NAME else fleet_name,
    }
    return [part for name, value in given.items() if value is not None for part in (name, str(value))]


def has_hidden_fleet(options: Mapping[str, Any]) -> bool:
    """Tell whether the fleet was named by an option that may not be shown, because it may hold a password."""
    fleet: Secret | None = options["fleet"]
    # redis-py takes a password also behind the question mark.
    return fleet is not None and any(mark in fleet.reveal() for mark in "@?")


def provider_of(
    entry: Entry[KeyT, AnswerT], *, rate: Rate, env_file: str | None, **options: Any
) -> Provider[KeyT, AnswerT]:
    """Return the provider with the credentials of the environment, or say in a usage error what is wrong."""
    for other in ENTRIES:
        if other is not entry and options[other.url_parameter] is not None:
            raise click.UsageError(
                f"{other.url_option} is {other.brand}'s; {entry.brand}'s is {entry.url_option}"
            )
    wanted: dict[str, Any] = {}
    if (url := options[entry.url_parameter]) is not None:
        wanted[entry.url_parameter] = url
    if rate is not None:
        wanted["rate_limit"] = None if rate == "off" else rate
    try:
        # No name for it, because a traceback with its frames' locals would show the credentials.
        return entry.make(environment_with(env_file), **wanted)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def environment_with(env_file: str | None) -> dict[str, str]:
    """Return the environment, with the variables of a file over it, if there is one."""
    return {**os.environ, **({} if env_file is None else read_env_file(env_file))}


def read_env_file(path: str) -> dict[str, str]:
    """Return the variables of a file of ``NAME=value`` lines, as python-dotenv reads them.

    What cannot be read is a usage error with its line; no value is ever shown, nor kept in a frame.
    """
    values, problem = _read_env_file(path)
    if problem is not None:
        raise click.UsageError(f"{path}: {problem}")
    return values


def _read_env_file(path: str) -> tuple[dict[str, str], str | None]:
    """Return the variables of a file, or none and what is wrong with it."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        return {}, error.strerror or str(error)
    except UnicodeDecodeError:
        return {}, "it is not UTF-8"
    for binding in parse_stream(io.StringIO(text)):
        # A name alone is allowed there, and means nothing; here it may be a password without its name.
        if binding.error or (binding.key is not None and binding.value is None):
            statement = binding.original.string
            blank = statement[: len(statement) - len(statement.lstrip())]
            return {}, f"line {binding.original.line + blank.count(chr(10))} is not NAME=value"
    values = dotenv_values(stream=io.StringIO(text))
    return {name: value for name, value in values.items() if value is not None}, None


class _MissingExtras(click.ClickException):
    exit_code = USAGE


@contextmanager
def needs_extras(what: str, *, install: str = '"statuslookup[cli,sandbox]"') -> Generator[None]:
    """Say what to install if an import fails because an extra is missing."""
    try:
        yield
    except ImportError as error:
        # Our own modules say themselves what is missing. Anything else is a bug, and shows as one.
        if not isinstance(error.__cause__, ImportError):
            raise
        raise _MissingExtras(f"{what} needs its extras: pip install {install}") from error
