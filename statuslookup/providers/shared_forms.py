"""How answers look where processes share them: JSON that keeps every field, and nothing else."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, cast

import attrs
from cattrs import Converter

from .._model import DeliveryState
from .fields import date, required

ValueT = TypeVar("ValueT", bound=attrs.AttrsInstance)

_read_date = required(date)


def _read_state(name: Any, _: object) -> DeliveryState:
    # Another release may know more states.
    return DeliveryState(name) if name in DeliveryState.__members__ else DeliveryState.UNKNOWN


_converter = Converter(omit_if_default=True, detailed_validation=False)
_converter.register_unstructure_hook(datetime, datetime.isoformat)
_converter.register_structure_hook(datetime, _read_date)
_converter.register_structure_hook(DeliveryState, _read_state)


def shared_forms(cls: type[ValueT]) -> tuple[Callable[[ValueT], Any], Callable[[Any], ValueT]]:
    """Return what makes JSON of a ``cls``, and what reads it again or says in a ``ValueError`` why it cannot.

    Fields that are not known here, as those of another release, are ignored.
    """
    write = cast("Callable[[ValueT], Any]", _converter.unstructure)
    structure = _converter.structure

    def read(value: Any) -> ValueT:
        problem = "is not an object"
        if isinstance(value, dict):
            try:
                return structure(value, cls)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                problem = f"cannot be read ({type(error).__name__})"
        # Out here, what it raises has no context.
        raise ValueError(f"a shared {cls.__name__} {problem}")

    return write, read
