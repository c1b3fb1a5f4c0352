"""An SMSFire that misbehaves on a real socket, and knows what the truth was at every moment.

An ASGI app cannot cut a body in the middle, so this is HTTP/1.1 by hand, in a thread of its own.
"""

import asyncio
import json
import random
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Final

from statuslookup import CustomId, MessageKey
from tests.support.chaos_truth import NAMES, WIRE_DATES, Truth

TOKEN: Final = "chaos"
MAX_ITEMS: Final = 200


class Fault(StrEnum):
    NONE = "answered in order"
    DROPPED_BEFORE = "dropped before the request was read"
    DROPPED_AFTER = "dropped after the request was read"
    DELAYED = "delayed by 5 to 100 ms"
    SERVER_ERROR = "5xx or 499"
    REJECTED = "429"
    REJECTED_WITH_ADVICE = "429 with Retry-After"
    GARBAGE = "garbage with status 200"
    NOT_HTTP = "garbage that is no HTTP"
    HALF_BODY = "half a body"
    REORDERED = "items reordered"
    DOUBLED = "items doubled"
    FOREIGN = "foreign items added"
    BAD_ITEM = "one item unreadable"
    BAD_DATE = "one date unreadable"
    OTHERS = "about others, and about nobody who was asked for"
    MARKED = "a byte order mark before the body"
    FORBIDDEN = "403 of a firewall"
    HUNG = "held for a second, then dropped"
    CUT_OFF = "more than 200 items, cut off"


# A deck is dealt again when it is used up, so every fault surely comes, and as often as it says here.
_DECK: Final = (
    [Fault.NONE] * 30
    + [Fault.DROPPED_BEFORE] * 3
    + [Fault.DROPPED_AFTER] * 2
    + [Fault.DELAYED] * 4
    + [Fault.SERVER_ERROR] * 3
    + [Fault.REJECTED] * 2
    + [Fault.REJECTED_WITH_ADVICE] * 2
    + [Fault.GARBAGE]
    + [Fault.NOT_HTTP]
    + [Fault.HALF_BODY] * 2
    + [Fault.FORBIDDEN]
)
_HUNG_EVERY: Final = 50
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# Every 400 requests, the server is out of order for 30, which uses up anybody's retries. A short run makes
# hardly more than a hundred.
_OUTAGE_EVERY: Final = 400
_OUTAGE: Final = range(80, 110)

_GARBAGE: Final = (
    b"",
    b"null",
    b"42",
    b'"DELIVERED"',
    b"[null]",
    b"[[]]",
    b"{}",
    b"<html><body>Bad gateway</body></html>",
    b'[{"id": 1, "statusCode"',
    b"[" * 100_000,
    b"\xff\xfe\x00garbage",
    b"NaN",
)


class ChaosServer:
    """Answers lookups in every wrong way there is, but tells no lie: what it says is true, or unreadable.

    Each item names in ``instanceToken`` the number of the request that it answers, so that a status leads
    back to when its request came (``arrived_at``) and when the last of its answer was about to be written
    (``answered_at``).
    """

    def __init__(self, messages: int, seed: int) -> None:
        self.truth = Truth(messages)
        self.base_url = ""
        self.faults: Counter[Fault] = Counter()
        self.connections = 0
        self.open_connections = 0
        self.requests_by_path = 0
        self.arrived_at = array("d", [0.0])
        self.answered_at = array("d", [0.0])
        self.problems: list[str] = []
        self._random = random.Random(seed)
        self._deck: list[Fault] = []

    @property
    def requests(self) -> int:
        """The requests that were read."""
        return len(self.arrived_at) - 1

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Answer on a free port of this machine until the block ends."""
        is_up = threading.Event()
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(self._serve(is_up, stop),))
        thread.start()
        try:
            assert is_up.wait(10)
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            assert not thread.is_alive()
            loop.close()

    async def _serve(self, is_up: threading.Event, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, limit=2**20)
        port = server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}"
        is_up.set()
        await stop.wait()
        server.close()
        # Again and again, because what was just accepted becomes a conversation some turns later.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)
            await asyncio.sleep(0)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        try:
            while await self._take_request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client closed the connection
        except Exception as error:  # noqa: BLE001 # the test reports it: a server that fails proves nothing
            self.problems.append(repr(error))
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass  # it was aborted, by either side
            self.open_connections -= 1

    def _deal(self) -> Fault:
        if not self._deck:
            self._deck = self._random.sample(_DECK, len(_DECK))
        return self._deck.pop()

    def _overriding(self, number: int) -> Fault | None:
        """Return what goes before the deck: its card is dealt to the next request instead."""
        if number % _HUNG_EVERY == _HUNG_EVERY // 2:
            return Fault.HUNG
        if number % _OUTAGE_EVERY in _OUTAGE:
            return Fault.SERVER_ERROR if self._random.random() < 0.5 else Fault.DROPPED_AFTER
        return None

    async def _take_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Deal with one request as the deck says; return whether the connection stays open."""
        chance = self._random.random
        fault = self._deal()
        if fault is Fault.DROPPED_BEFORE:
            # In the middle of its first line, or as soon as the connection is there, or idle again.
            if chance() < 0.7 and not await reader.read(1):
                self._deck.append(fault)
                return False
            self.faults[fault] += 1
            writer.transport.abort()
            return False
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            # The client closed a connection that it did not use any more: no fault of the server's.
            self._deck.append(fault)
            return False
        number = len(self.arrived_at)
        self.arrived_at.append(time.monotonic())
        self.answered_at.append(float("inf"))
        keys, is_path = await self._read(head, reader)
        overriding = self._overriding(number)
        if overriding is not None:
            self._deck.append(fault)
            fault = overriding
        self.faults[fault] += 1
        self._advance(keys)
        if fault is Fault.HUNG:
            await asyncio.sleep(1)
            return False
        if fault is Fault.DROPPED_AFTER:
            if chance() < 0.5:
                writer.transport.abort()
            return False
        if fault is Fault.NOT_HTTP:
            writer.write(self._random.randbytes(64) + b"\r\n\r\n")
            return False
        if fault is Fault.DELAYED:
            await asyncio.sleep(0.005 + 0.095 * chance())
        if fault in (Fault.SERVER_ERROR, Fault.REJECTED, Fault.REJECTED_WITH_ADVICE, Fault.FORBIDDEN):
            writer.write(self._refusal(fault))
        elif fault is Fault.GARBAGE:
            self._write_garbage(writer)
        else:
            content = self._content(keys, number, is_path=is_path)
            self._advance(keys)
            return await self._write_answer(writer, content, number, fault)
        await writer.drain()
        return True

    async def _read(self, head: bytes, reader: asyncio.StreamReader) -> tuple[list[MessageKey], bool]:
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if fields["authorization"] != f"Basic {TOKEN}":
            self.problems.append("the token is missing")
        if method == "GET":
            self.requests_by_path += 1
            return [self._by_path(path.removeprefix("/whatsapp/status/"))], True
        wanted = json.loads(await reader.readexactly(int(fields["content-length"])))
        keys: list[MessageKey] = [
            *map(int, wanted.get("ids", ())),
            *map(CustomId, wanted.get("customIds", ())),
        ]
        if len(keys) > MAX_ITEMS:
            self.problems.append(f"{len(keys)} keys in one request")
        if len(set(keys)) < len(keys):
            self.problems.append("a key twice in one request")
        return keys, False

    def _by_path(self, text: str) -> MessageKey:
        """Return what the key of a path means here: where an id is also a customId, the one or the other."""
        if not text.isdigit():
            return CustomId(text)
        is_both = self.truth.index_of(CustomId(text)) is not None
        return CustomId(text) if is_both and self._random.random() < 0.5 else int(text)

    def _advance(self, keys: Iterable[MessageKey]) -> None:
        """Let the truth change just when it is asked for."""
        for key in keys:
            if self._random.random() < 0.15:
                index = self.truth.index_of(key)
                if index is not None:
                    self.truth.advance(index)

    def _item(self, index: int, number: int, bad: Fault | None = None) -> str:
        truth = self.truth
        code = truth.code(index)
        date = "yesterday" if bad is Fault.BAD_DATE else WIRE_DATES[code]
        custom_id = truth.custom_id(index)
        return (
            f'{{"instanceToken":"{number}","id":{index + 1},'
            + ("" if custom_id is None else f'"customId":"{custom_id}",')
            + f'"messageType":"TEXT","country":"55","phone":"55{index:011d}",'
            f'"statusCode":{"[]" if bad is Fault.BAD_ITEM else code},"statusName":"{NAMES[code]}",'
            f'"statusDate":"{date}","sentDate":"{WIRE_DATES[0]}"}}'
        )

    def _content(self, keys: list[MessageKey], number: int, *, is_path: bool) -> bytes:
        """Return the body: true, complete up to 200 items, and in no order that anybody could rely on."""
        chance, faults = self._random.random, self.faults
        # Who asks for a message by both of its names is told once.
        found = list(dict.fromkeys(index for index in map(self.truth.index_of, keys) if index is not None))
        # By number, because a short run makes a hundred requests, and by chance it would miss a rare fault.
        if found and number % 13 == 5:
            faults[Fault.OTHERS] += 1
            others = self._random.sample(range(self.truth.messages), k=10)
            return (
                f"[{','.join(self._item(index, number) for index in others if index not in found)}]".encode()
            )
        items = [self._item(index, number) for index in found]
        for bad, is_due in ((Fault.BAD_ITEM, number % 10 == 4), (Fault.BAD_DATE, number % 9 == 2)):
            if items and is_due:
                faults[bad] += 1
                victim = self._random.randrange(len(items))
                items[victim] = self._item(found[victim], number, bad)
        if items and chance() < 0.35:
            faults[Fault.DOUBLED] += 1
            # Some are said twice, and the second time may already say more.
            doubled = self._random.choices(found, k=1 + len(found) // 10)
            self._advance(index + 1 for index in doubled)
            items += [self._item(index, number) for index in doubled]
        is_flooded = number % 16 == 3
        if is_flooded or chance() < 0.35:
            faults[Fault.FOREIGN] += 1
            for _ in range(2 * MAX_ITEMS if is_flooded else self._random.randint(1, 20)):
                index = self._random.randrange(self.truth.messages)
                if index not in found:
                    items.append(self._item(index, number))
        if len(items) > 1 and (chance() < 0.5 or len(items) > MAX_ITEMS):
            faults[Fault.REORDERED] += 1
            self._random.shuffle(items)
        if len(items) > MAX_ITEMS:
            faults[Fault.CUT_OFF] += 1
            del items[MAX_ITEMS:]
        if not items:
            return b""
        mark = _BYTE_ORDER_MARK if number % 7 == 1 else b""
        faults[Fault.MARKED] += bool(mark)
        return mark + (items[0] if is_path and len(items) == 1 else f"[{','.join(items)}]").encode()

    def _refusal(self, fault: Fault) -> bytes:
        if fault is Fault.SERVER_ERROR:
            return _head(self._random.choice(("500", "502", "503", "504", "499")), 0)
        if fault is Fault.REJECTED:
            return _head("429", 0)
        if fault is Fault.FORBIDDEN:
            page = b"<html><h1>Forbidden</h1></html>"
            return _head("403", len(page), kind="text/html") + page
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
        advice = self._random.choice(("0", "1", date, "soon"))
        return _head("429", 0, f"Retry-After: {advice}\r\n")

    def _write_garbage(self, writer: asyncio.StreamWriter) -> None:
        garbage = self._random.choice(_GARBAGE)
        field = "Content-Encoding: gzip\r\n" if garbage and self._random.random() < 0.2 else ""
        writer.write(_head("200", len(garbage), field) + garbage)

    async def _write_answer(
        self, writer: asyncio.StreamWriter, content: bytes, number: int, fault: Fault
    ) -> bool:
        half = len(content) // 2
        if fault is Fault.HALF_BODY:
            how = self._random.randrange(3)
            if how == 0 or not content:
                writer.write(_head("200", len(content) or 100) + content[:half])
            elif how == 1:
                writer.write(_head("200", None, "Transfer-Encoding: chunked\r\n"))
                writer.write(b"%x\r\n%b" % (len(content), content[:half]))
            else:
                # Without a length, the end of the connection is the end of the body.
                writer.write(_head("200", None, "Connection: close\r\n") + content[:half])
            return False
        if not content:
            self.answered_at[number] = time.monotonic()
            writer.write(_head("204", None))
        elif self._random.random() < 0.2:
            writer.write(_head("200", None, "Transfer-Encoding: chunked\r\n"))
            writer.write(b"%x\r\n%b\r\n" % (half, content[:half]) if half else b"")
            await asyncio.sleep(0.01 if fault is Fault.DELAYED else 0)
            self.answered_at[number] = time.monotonic()
            writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(content) - half, content[half:]))
        else:
            self.answered_at[number] = time.monotonic()
            writer.write(_head("200", len(content)) + content)
        await writer.drain()
        return True


def _head(status: str, length: int | None, fields: str = "", *, kind: str = "application/json") -> bytes:
    if length is not None:
        fields += f"Content-Length: {length}\r\n"
    return f"HTTP/1.1 {status} Chaos\r\nContent-Type: {kind}\r\n{fields}\r\n".encode()
