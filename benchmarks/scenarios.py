"""All scenarios, by name."""

from collections.abc import Mapping
from typing import Final

from . import alone, at_limit, without_limit
from .scenario import Scenario

SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario for scenario in (*at_limit.SCENARIOS, *without_limit.SCENARIOS, *alone.SCENARIOS)
}
