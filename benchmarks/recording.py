"""A recording of ``statuslookup check``: its progress bar in the middle and at the end, and its summary.

The check is a real one, of 5,000 rows against the sandbox at SMSFire's limit: it takes 13 seconds.

    python -m benchmarks.recording
"""

import asyncio
import io
import re
from pathlib import Path
from typing import Any

from rich.console import Console

from statuslookup import DeliveryState, MessageStatus, SMSFire, StatusClient
from statuslookup._clock import SYSTEM_CLOCK
from statuslookup.cli.display import Bar, LookingProgress, counted, summary_of
from statuslookup.cli.providers import SMSFIRE
from statuslookup.cli.table.check import Check
from statuslookup.cli.table.encodings import JsonLines
from statuslookup.cli.table.lines import Lines
from statuslookup.cli.table.results import Results
from statuslookup.cli.table.rows import Input
from statuslookup.cli.table.sinks import StreamSink
from statuslookup.sandbox import Sandbox

PICTURE = Path(__file__).parent.parent / "docs" / "check.svg"
COMMAND = "statuslookup check smsfire campaign.csv -o result.csv"
MESSAGES = 5000
MOMENTS = (0.2, 0.5, 0.8)
# Of a hundred messages; the states of the others are not known.
SHARES = {
    DeliveryState.READ: 45,
    DeliveryState.DELIVERED: 30,
    DeliveryState.SENT: 9,
    DeliveryState.PENDING: 5,
    DeliveryState.UNDELIVERED: 4,
    DeliveryState.EXPIRED: 3,
    DeliveryState.REJECTED: 2,
}


def sandbox_of(messages: int) -> Sandbox:
    sandbox = Sandbox(latency=0.05)
    states = [state for state, share in SHARES.items() for _ in range(share)]
    for id in range(1, messages + 1):
        if id % 100 < len(states):
            sandbox.add_message(id, state=states[id % 100])
    return sandbox


async def record(console: Console, base_url: str) -> None:
    content = "id\n" + "".join(f"{id}\n" for id in range(1, MESSAGES + 1)) + "4711 4712\n"
    provider = SMSFire("sandbox", base_url=base_url)
    source = Input(Lines(io.BytesIO(content.encode()).read), SMSFIRE.keys, provider.check)
    results: Results[Any, MessageStatus] = Results(source.columns, SMSFIRE.columns)
    check = Check(source, results, StreamSink(io.BytesIO(), JsonLines()))
    started_at = SYSTEM_CLOCK.time()

    def look() -> list[Bar]:
        pace = f"{check.tally.rows / (SYSTEM_CLOCK.time() - started_at):,.0f} a second"
        done = counted(check.tally.rows, "row")
        return [Bar(provider.name, check.bytes_done, len(content), done, pace)]

    # Its own console is not the recorded one, where every refresh would be a line.
    hidden = Console(file=io.StringIO(), force_terminal=True, width=80)
    bar = LookingProgress(hidden, look)
    async with StatusClient(provider, timeout=None) as client:
        with bar:
            task = asyncio.ensure_future(check.run(client))
            for moment in MOMENTS:
                while check.tally.rows < moment * MESSAGES and not task.done():  # noqa: ASYNC110 # a tally has no event
                    await asyncio.sleep(0.05)
                console.print(bar.get_renderable())
            await task
            console.print(bar.get_renderable())
        seconds = SYSTEM_CLOCK.time() - started_at
        console.print(summary_of(check.tally, client.stats(), name=provider.name, seconds=seconds))


def main() -> None:
    console = Console(
        record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80, height=40
    )
    console.print(f"[green]$[/green] {COMMAND}", highlight=False)
    with sandbox_of(MESSAGES).serve() as base_url:
        asyncio.run(record(console, base_url))
    PICTURE.parent.mkdir(exist_ok=True)
    picture = console.export_svg(title="statuslookup check")
    # A picture in a README loads nothing from elsewhere: the reader's own monospaced font will do.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main()
