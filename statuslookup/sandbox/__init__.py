"""SMSFire's status API, imitated well enough that a program which works here works there.

Times are seconds. Paths, fields, answers and limits follow SMSFire, "Consulta Status". What SMSFire does
not document (how it counts requests, how it words an error) can be chosen here, or is kept plain.
"""

from ._counting import Counting

try:
    from ._app import Sandbox
except ModuleNotFoundError as error:
    raise ImportError("the sandbox needs its extra: pip install 'statuslookup[sandbox]'") from error

__all__ = ["Counting", "Sandbox"]
