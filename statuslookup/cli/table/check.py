"""The check of a whole input: every row is looked up, and has one row in the output."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Generic

from attrs import define

from ..._client import StatusClient
from ..._model import AnswerT, KeyT, Outcome
from ...errors import StatusLookupError, TransportError
from .reading import chunks_of
from .results import ERROR, Results
from .resume import Resumed, ResumeError
from .rows import Input, Row
from .sinks import Sink

_MOST_WAITING = 10_000
# Fewer of a wide table, but more than have to fail before a check ends.
_MOST_CELLS = 2_000_000
_LEAST_WAITING = 1_000
_MOST_READY = 500


@define(eq=False)
class _Place(Generic[KeyT]):
    """The place of a row in the output; ``data`` is ``None`` while its key is looked up."""

    row: Row[KeyT]
    data: bytes | None = None


class Check(Generic[KeyT, AnswerT]):
    """Looks up the rows of an input, and writes them in its order or, with their lines, as they come.

    Memory is bounded: rows are read as the lookups go on, and no more than ten thousand, or of a wide
    table a thousand, are looked up or wait for their turn in the output.
    What shows that all further lookups would fail too (the credentials, the quota, a provider that cannot
    be reached) ends the check, and is not written; a later check can go on from there. So do failures of many
    keys in a row, without one answer between them: more than one request's ``batch`` that were late or that
    the provider failed, or three batches, ten keys at least, that failed in whatever way. Until that is
    decided, their rows are held back.
    """

    def __init__(
        self,
        source: Input[KeyT],
        results: Results[KeyT, AnswerT],
        sink: Sink,
        *,
        resumed: Resumed | None = None,
        only_open: bool = False,
        may_block: bool = False,
        batch: int = 200,
    ) -> None:
        """``only_open``, rows whose state is final are copied; ``may_block``, so may reading the source."""
        self._resumed = Resumed() if resumed is None else resumed
        self.tally = self._resumed.tally
        self.bytes_done = 0
        """How far the input is done."""
        self.written = self.tally.before
        """How many rows are in the output."""
        self.contradicted = 0
        """How many rows have other keys than the message that they are about."""
        self._source = source
        self._results = results
        self._sink = sink
        self._only_open = only_open
        self._may_block = may_block
        self._waiting: dict[KeyT, deque[_Place[KeyT]]] = {}
        self._in_order: deque[_Place[KeyT]] = deque()
        self._most_waiting = min(_MOST_WAITING, max(_LEAST_WAITING, _MOST_CELLS // len(results.names)))
        self._places = 0
        """How many rows were read and are not given out."""
        self._has_capacity = asyncio.Event()
        self._ready: list[bytes] = []
        self._is_flush_due = False
        self._problem: OSError | None = None
        # A single key tells little. What may pass was asked again for long already.
        self._most_transient, self._most_failed = max(batch, 10) + 1, max(3 * batch, 10)
        self._failed_in_a_row: set[KeyT] = set()
        self._doubtful: list[tuple[_Place[KeyT], StatusLookupError]] = []
        self._has_answers = False

    async def run(self, client: StatusClient[KeyT, AnswerT]) -> None:
        """Check the whole input. However it ends, what is done is written, and whole rows only."""
        try:
            async with aclosing(self._keys()) as keys, aclosing(client.stream(keys)) as outcomes:
                async for outcome in outcomes:
                    if self._problem is not None:
                        break
                    self._take(outcome)
        finally:
            if self._problem is None:
                self._flush()
        if self._problem is not None:
            raise self._problem
        # Without any row there is a header, and no more of what was there before.
        self._sink.write(b"")

    async def _keys(self) -> AsyncGenerator[KeyT, None]:
        number = 0
        async with aclosing(chunks_of(self._source, may_block=self._may_block)) as chunks:
            async for chunk in chunks:
                for row in chunk:
                    if self._resumed.has(row, number, self._as_written):
                        self.bytes_done = row.end
                    elif (key := self._key_to_ask(await self._new_place(row))) is not None:
                        yield key
                    number += 1
                if self._problem is not None:
                    return
        if self._resumed.left:
            raise ResumeError("it has more rows than this input")

    def _as_written(self, row: Row[KeyT]) -> Mapping[str, Any]:
        encoding = self._sink.encoding
        return encoding.decode(encoding.encode(self._results.skipped(row)))

    async def _new_place(self, row: Row[KeyT]) -> _Place[KeyT]:
        while self._places >= self._most_waiting or self._is_probing:
            self._has_capacity.clear()
            await self._has_capacity.wait()
        self._places += 1
        place = _Place(row)
        if not self._results.with_line:
            self._in_order.append(place)
        return place

    @property
    def _is_probing(self) -> bool:
        """True while no key was answered yet, and as many were asked for as can show that none will be."""
        asked = len(self._waiting) + len(self._failed_in_a_row)
        return not self._has_answers and asked >= self._most_failed

    def _key_to_ask(self, place: _Place[KeyT]) -> KeyT | None:
        """Return the key of the row, or finish the row if it needs no lookup."""
        row = place.row
        if row.key is None:
            self.tally.failed += 1
            self._settle(place, self._results.failed(row, row.error or ""))
        elif self._only_open and row.state is not None and row.state.is_final:
            values = self._results.skipped(row)
            self.tally.skipped += 1
            self.tally.add(values)
            self._settle(place, values)
        else:
            self._waiting.setdefault(row.key, deque()).append(place)
            return row.key
        return None

    def _take(self, outcome: Outcome[KeyT, AnswerT]) -> None:
        error = outcome.error
        if error is not None and (error.ends_all or isinstance(error, TransportError)):
            raise error
        places = self._waiting[outcome.key]
        place = places.popleft()
        if not places:
            del self._waiting[outcome.key]
            self._has_capacity.set()
        if error is not None:
            self._doubt(outcome.key, place, error)
            return
        self._has_answers = True
        self._failed_in_a_row.clear()
        self._settle_doubtful()
        values = self._results.found(place.row, outcome.status)
        self.tally.add(values)
        self.contradicted += values[ERROR] is not None
        self._settle(place, values)

    def _doubt(self, key: KeyT, place: _Place[KeyT], error: StatusLookupError) -> None:
        """Hold the row back, unless it shows that nobody is answered any more: then raise the error."""
        self._failed_in_a_row.add(key)
        failed = len(self._failed_in_a_row)
        self._doubtful.append((place, error))
        if failed >= (self._most_transient if error.is_transient else self._most_failed):
            error.add_note(f"No answer came for {failed:,} keys in a row.")
            raise error
        if not self._waiting:
            # Nobody else is asked for, so nothing that comes later decides.
            if error.is_transient and not self._has_answers:
                raise error
            self._settle_doubtful()

    def _settle_doubtful(self) -> None:
        """Take what failed for rows' own errors, because the provider answers others."""
        doubtful, self._doubtful = self._doubtful, []
        for place, error in doubtful:
            self.tally.failed += 1
            self._settle(place, self._results.failed(place.row, str(error)))

    def _settle(self, place: _Place[KeyT], values: dict[str, object]) -> None:
        data = place.data = self._sink.encoding.encode(values)
        if self._results.with_line:
            self._give_out(place.row, data)
            return
        in_order = self._in_order
        while in_order and (data_of_first := in_order[0].data) is not None:
            self._give_out(in_order.popleft().row, data_of_first)

    def _give_out(self, row: Row[KeyT], data: bytes) -> None:
        self._places -= 1
        self._has_capacity.set()
        self._ready.append(data)
        self.bytes_done = max(self.bytes_done, row.end)
        if len(self._ready) >= _MOST_READY:
            self._flush_or_note()
        elif not self._is_flush_due:
            # By then all answers that came together are here.
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush_or_note)

    def _flush_or_note(self) -> None:
        """Flush; a failure is kept for whoever takes the next outcome, because a callback has no caller."""
        self._is_flush_due = False
        if self._problem is None:
            try:
                self._flush()
            except OSError as error:
                self._problem = error

    def _flush(self) -> None:
        ready, self._ready = self._ready, []
        if ready:
            self._sink.write(b"".join(ready))
            self.written += len(ready)
