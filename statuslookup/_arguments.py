"""What an argument has to be, said before anything else is done with it."""

import math
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

_T = TypeVar("_T")


def shown_unfinished(describe: Callable[[_T], str]) -> Callable[[_T], str]:
    """Return a ``__repr__`` that also works for an object whose ``__init__`` refused an argument.

    A traceback with locals shows such an object beside the advice, and Python 3.11 shows none if that fails.
    """

    @wraps(describe)
    def shown(self: _T) -> str:
        try:
            return describe(self)
        except AttributeError:
            return f"<{type(self).__name__} unfinished>"

    return shown


def check_methods(argument: str, value: object, methods: tuple[str, ...], expected: str) -> None:
    """Raise a ``TypeError`` that says what to pass, unless the value is an object with the methods."""
    if isinstance(value, type):
        raise TypeError(f"{argument} is {expected}, not {value.__name__} itself")
    if not all(callable(getattr(value, method, None)) for method in methods):
        raise TypeError(f"{argument} is {expected}, not {type(value).__name__}")


def number(
    argument: str,
    value: object,
    *,
    what: str = "a number",
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
) -> float:
    """Return the value as a float; what is no finite number in the bounds is refused.

    It has to be ``above`` one bound, or from ``least`` to ``most``. A bool is no number. ``what`` is said of
    the argument in the text of a ``TypeError``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{argument} is {what}, not {type(value).__name__}")
    if not (value > above and least <= value <= most and -math.inf < value < math.inf):
        bound = f"above {above:g}" if above > -math.inf else f"{least:g} or more"
        bounds = f"{bound} and finite" if most == math.inf else f"{least:g} to {most:g}"
        raise ValueError(f"{argument} must be {bounds}, not {value}")
    return float(value)


def whole(
    argument: str, value: object, *, what: str = "an int", least: int | None = None, most: int | None = None
) -> int:
    """Return the value as an int; what is no integer from ``least`` to ``most`` is refused.

    A bool is no integer. ``what`` is said of the argument in the text of a ``TypeError``.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} is {what}, not {type(value).__name__}")
    if (least is not None and value < least) or (most is not None and value > most):
        bound = f"{least} or more" if most is None else f"{least} to {most}"
        raise ValueError(f"{argument} must be {bound}, not {value}")
    return int(value)
