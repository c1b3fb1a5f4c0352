"""How answers look where processes share them: JSON that keeps every field, and nothing else."""

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter

from .._model import DeliveryState, Receipt
from .fields import date, required

ValueT = TypeVar("ValueT", bound=attrs.AttrsInstance)

_read_date = required(date)


def _read_state(name: Any, _: object) -> DeliveryState:
    # Another release may know more states.
    return DeliveryState(name) if name in DeliveryState.__members__ else DeliveryState.UNKNOWN


_converter = Converter(detailed_validation=False)
_converter.register_structure_hook(datetime, _read_date)
_converter.register_structure_hook(DeliveryState, _read_state)


def _writer(cls: type[ValueT]) -> Callable[[ValueT], Any]:
    # A converter, which looks up what each field is, would take three times as long.
    fields = attrs.fields(cls)
    names = [field.name for field in fields]
    dates = [field.name for field in fields if datetime in get_args(field.type)]
    lists = [field.name for field in fields if get_origin(field.type) is tuple]
    values_of = attrgetter(*names)

    def write(value: ValueT) -> Any:
        written: dict[str, Any] = dict(zip(names, values_of(value), strict=True))
        for name in dates:
            moment = written[name]
            if moment is not None:
                written[name] = moment.isoformat()
        for name in lists:
            if written[name]:
                written[name] = [
                    _write_receipt(each) if type(each) is Receipt else each for each in written[name]
                ]
        return written

    return write


_write_receipt = _writer(Receipt)


def shared_forms(cls: type[ValueT]) -> tuple[Callable[[ValueT], Any], Callable[[Any], ValueT]]:
    """Return what makes JSON of a ``cls``, and what reads it again or says in a ``ValueError`` why it cannot.

    Fields that are not known here, as those of another release, are ignored.
    """
    write = _writer(cls)
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
