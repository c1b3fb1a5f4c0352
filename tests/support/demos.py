"""The demo in a process of its own, and what its tables say."""

import re

from statuslookup._model import DeliveryState
from tests.support.processes import environment, finish, start

ROWS = re.MULTILINE | re.DOTALL
STATES_OF_400 = {
    "PENDING": 20,
    "SENT": 36,
    "DELIVERED": 120,
    "READ": 180,
    "UNDELIVERED": 16,
    "REJECTED": 8,
    "EXPIRED": 12,
    "unknown": 8,
}


def demo(*arguments: str, code: str = "", **changes: str) -> tuple[int, str, str]:
    return finish(start("demo", *arguments, code=code, env=environment(**changes)))


def figures(tables: str, provider: str = "SMSFire") -> dict[str, str]:
    """Return the first figure of each row of a provider's table."""
    # A terminal ends its lines with a carriage return as well.
    tables = tables.replace("\r\n", "\n")
    (table,) = re.findall(rf"^ *{provider}, [0-9,]+ \w+ *$(.*?)(?:^ *\S+, [0-9,]+ \w+ *$|\Z)", tables, ROWS)
    # Without Unicode the columns have lines between them.
    cells = (re.split(r"\s{2,}", line.replace("|", " ").strip()) for line in table.splitlines())
    return {row[0]: row[1] for row in cells if len(row) > 1}


def states(tables: str, provider: str = "SMSFire") -> dict[str, int]:
    names = [*DeliveryState, "unknown"]
    return {name: int(value) for name, value in figures(tables, provider).items() if name in names}
