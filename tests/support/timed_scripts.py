"""The scripts on a real server, at a time that a test says in place of the server's own."""

from typing import Any

from statuslookup.fleet.link import Link
from statuslookup.fleet.scripts import Script
from tests.support.virtual_time import ManualClock

_TIME = "redis.call('TIME')"


class TimedLink(Link):
    """Runs the scripts at the time of a clock: what Redis and the members see is the same."""

    clock: ManualClock

    def __init__(self, redis: Any, clock: ManualClock) -> None:
        super().__init__(redis, clock=clock)

    async def run(self, script: Script, keys: Any, *arguments: str | bytes) -> Any:
        assert script.text.count(_TIME) == 1
        timed = script.text.replace(_TIME, "{ ARGV[#ARGV - 1], ARGV[#ARGV] }")
        microseconds = round(self.clock.time() * 1e6)
        return await super().run(
            Script.of(script.name, timed),
            keys,
            *arguments,
            str(microseconds // 1_000_000),
            str(microseconds % 1_000_000),
        )
