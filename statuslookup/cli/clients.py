"""How a client is made from options: with the fleet that they or the environment name, or alone."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .._client import StatusClient
from .._model import AnswerT, KeyT
from .._wire import Secret
from ..providers import Provider
from .options import DEFAULT_TIMEOUT, FLEET_VARIABLE, needs_extras, read_env_file

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
        file = options["env_file"]
        # No name for them, because a traceback with its frames' locals would show the password.
        url = Secret({**os.environ, **({} if file is None else read_env_file(file))}.get(FLEET_VARIABLE, ""))
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
