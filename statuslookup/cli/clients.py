"""How a client is made from options: with the fleet that they or the environment name, or alone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .._client import StatusClient
from .._model import AnswerT, KeyT
from .._wire import Secret
from ..providers import Provider
from .options import DEFAULT_TIMEOUT, FLEET_VARIABLE, environment_with, needs_extras

if TYPE_CHECKING:
    from ..fleet import RedisFleet


def client_of(
    provider: Provider[KeyT, AnswerT], options: Mapping[str, Any], **more: Any
) -> StatusClient[KeyT, AnswerT]:
    """Return the client that a command's options ask for; ``more`` is what the command says itself."""
    fleet = fleet_of(options)
    timeout = options.get("timeout", DEFAULT_TIMEOUT)
    try:
        return StatusClient(provider, timeout=timeout, fleet=fleet, **more)
    except TypeError as error:
        # A provider of one's own may have keys that cannot be shared.
        if fleet is None:
            raise
        raise click.UsageError(str(error)) from None


def fleet_of(options: Mapping[str, Any]) -> "RedisFleet | None":
    """Return the fleet that is asked for, or ``None``; what is wrong with its URL is a usage error."""
    url: Secret | None = options["fleet"]
    if url is None:
        # No name for it, because a traceback with its frames' locals would show the password.
        url = Secret(environment_with(options["env_file"]).get(FLEET_VARIABLE, ""))
    if url.reveal() in ("", "off"):
        return None
    with needs_extras("A fleet", install='"statuslookup[fleet]"'):
        from ..fleet import RedisFleet
    try:
        return RedisFleet(url.reveal(), name=options["fleet_name"])
    except ValueError as error:
        problem = str(error)
    # Out here it has no context: the frames of redis-py hold the password.
    raise click.UsageError(problem)
