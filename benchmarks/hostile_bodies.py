"""How long the worst bodies block the event loop: of webhooks, and of responses up to their cap.

Seconds of the processor, the best of several rounds, because the machine may be doing other things as well.

    python -m benchmarks.hostile_bodies  # exits with 1 when a goal is missed
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from statuslookup import DecodeError, GreenAPI, Response, SMSFire

MEBIBYTE = 2**20
ROUNDS = 15
# The largest body in MiB, and the milliseconds that it may take.
GOALS = {1: 50.0, 2: 250.0}
RESULTS = Path(__file__).parent / "results" / "hostile_bodies.md"

Read: TypeAlias = Callable[[bytes], object]
SMSFIRE, GREEN_API = SMSFire("token"), GreenAPI(1, "token")
RECEIPT = '{"timestamp":1587129319,"participant":"11001234567@c.us","status":"read",},'
WEBHOOK = '{"typeWebhook":"outgoingMessageStatus","idMessage":"a","timestamp":"x"},'
MESSAGE = json.dumps(
    {
        **dict.fromkeys(("instanceToken", "customId", "messageType", "country", "phone"), "x" * 20),
        "id": 1,
        "statusCode": 6,
        "statusName": "READ",
        "statusDate": "2021-08-06T09:59:02-0300",
        "sentDate": "-0001-11-30T00:00:00-0306",
    }
)


def respond(provider: Any, keys: list[Any]) -> Read:
    """Return what reads the response to the first request for the keys."""

    def read(body: bytes) -> None:
        exchange = provider.exchange(keys)
        next(exchange)
        with suppress(StopIteration, DecodeError):
            exchange.send(Response(200, body))

    return read


def parse(provider: type[SMSFire] | type[GreenAPI]) -> Read:
    def read(body: bytes) -> None:
        with suppress(DecodeError):
            provider.parse_webhook(body)

    return read


READS: dict[str, tuple[Read, int, int]] = {
    "SMSFire's webhook": (parse(SMSFire), 1, 10_000),
    "GREEN-API's webhook": (parse(GreenAPI), 1, 10_000),
    "SMSFire's response": (respond(SMSFIRE, list(range(200))), 1, 10_000),
    "GREEN-API's response": (respond(GREEN_API, ["BAE5"]), 2, 51_000),
}
"""What reads a body, the MiB that it may have, and the values."""


def spread(unit: str, count: int, size: int) -> str:
    """Return an array of equal elements, with spaces to the size, and with a comma at its end."""
    gap = " " * max(0, size // count - len(unit))
    return f"[{(unit + gap) * min(count, size // len(unit))}]"


def bodies(size: int, values: int) -> Iterator[tuple[str, str]]:
    """Yield bodies of the size: as many values as are read, and what is slow for another reason."""
    for name, unit in (
        ("numbers", "1,"),
        ("numbers with leading zeros", "00,"),
        ("empty texts", '"",'),
        ("arrays", "[],"),
        ("objects", '{"":0},'),
        ("objects of four texts", '{"a":"","b":"","c":"","d":""},'),
        ("receipts", RECEIPT),
        ("receipts without anything else", '{"participant":"1"},'),
        ("webhooks of GREEN-API", WEBHOOK),
        ("messages", MESSAGE + ","),
        ("messages without anything else", '{"id":1,"phone":[]},'),
    ):
        yield name, spread(unit, (values - 1) // sum(map(unit.count, ",[{")), size)
    half = values // 2 - 10
    participants = '"1",' * half
    others = "".join(f'"k{number}":0,' for number in range(half))
    yield "participants", f'[{{"participant":[{participants}]}}]'.ljust(size)
    yield "bad participants", f'[{{"participant":[{"7.5," * min(9_999, half)}]}},{RECEIPT}]'.ljust(size)
    yield "participants beside fields", f'[{{{others}"participant":[{participants}]}}]'.ljust(size)
    yield "numbers without end", f"[{'1,' * (size // 2)}1]"
    for unit in (
        '"',
        '""',
        "\\",
        '\\"',
        "0",
        "1",
        "0.",
        "00 ",
        " ",
        "[",
        "{",
        ",]",
        ", ",
        "é",
        '["\\u0041",',
    ):
        for before in ("", "[01,", '["'):
            yield f"{before} and then {unit}", before + unit * (size // len(unit.encode()))
    yield "one text", f'[01,"{"a" * size}"]'
    escape = "\\n"
    yield "one text of escapes", f'[01,"{escape * (size // 2)}"]'
    yield "long integers", f"[{(('9' * 500) + ',') * (size // 501)}]"
    yield "one number", f"[01,1.{'1' * size}]"


def milliseconds(read: Read, body: bytes) -> float:
    started = time.process_time()
    read(body)
    return 1000 * (time.process_time() - started)


def slowest(read: Read, size: int, values: int) -> tuple[str, float]:
    """Return the body that takes longest, and its time in the best of several rounds through all of them."""
    hostile = {name: body.encode()[:size] for name, body in bodies(size, values)}
    taken = dict.fromkeys(hostile, math.inf)
    for _ in range(ROUNDS):
        for name, body in hostile.items():
            taken[name] = min(taken[name], milliseconds(read, body))
    return max(taken.items(), key=lambda one: one[1])


def main() -> int:
    lines = ["| read as | size | the slowest body | blocked | goal |", "| --- | ---: | --- | ---: | ---: |"]
    missed = False
    for kind, (read, most, values) in READS.items():
        for size in range(1, most + 1):
            name, taken = slowest(read, size * MEBIBYTE, values)
            missed |= taken > GOALS[size]
            lines.append(f"| {kind} | {size} MiB | {name} | {taken:.0f} ms | {GOALS[size]:.0f} ms |")
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
