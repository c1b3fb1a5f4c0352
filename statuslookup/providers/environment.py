"""Settings and secrets that a provider takes from environment variables."""

import os
from collections.abc import Mapping

from .._wire import Secret


def read_environment(environ: Mapping[str, str] | None, *names: str) -> dict[str, Secret]:
    """Return the variables that are set and not empty, as secrets: no traceback with locals shows them."""
    values = os.environ if environ is None else environ
    return {name: Secret(value) for name in names if (value := values.get(name))}


def require(found: Mapping[str, Secret], *names: str, instead: str = "") -> None:
    """Raise a ``ValueError`` that names the variables which are missing, if there are any."""
    missing = [name for name in names if name not in found]
    if missing:
        other = f", or {instead} instead" if instead else ""
        listed = " and ".join([", ".join(missing[:-1]), missing[-1]] if missing[1:] else missing)
        variables = "variable" if len(missing) == 1 else "variables"
        raise ValueError(f"the environment {variables} {listed} must be set{other}")
