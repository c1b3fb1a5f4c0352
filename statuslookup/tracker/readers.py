"""Loops over changes: one over all messages, and any number over some."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Protocol
from weakref import ReferenceType, ref

from .._model import AnswerT, DeliveryState, KeyT
from .ledger import Entry, Ledger, state_of
from .values import Change


class Home(Protocol[KeyT, AnswerT]):
    """What a reader needs of its tracker."""

    @property
    def ledger(self) -> Ledger[KeyT, AnswerT]:
        """Where what is known of each message stands."""
        ...

    @property
    def listening(self) -> "set[Reader[KeyT, AnswerT]]":
        """Where a reader is while it waits, so that something holds it, and its task."""
        ...

    async def begin(self, reader: "Reader[KeyT, AnswerT]") -> None:
        """Open the tracker, and have the reader told from now on of what it is to read."""
        ...

    def handed_over(
        self, reader: "Reader[KeyT, AnswerT]", key: KeyT, state: DeliveryState | None, *, is_over: bool
    ) -> None:
        """Take note that a reader is done with a change."""
        ...


class Reader(AsyncGenerator[Change[KeyT, AnswerT], None]):
    """Yields the changes of some keys until all are over, or those of all keys until the tracker is closed.

    A change is handed over when the loop asks for the next. It is no generator, because one that a loop
    left is closed only some time later: meanwhile it would be in the way of the next loop.
    """

    def __init__(self, home: Home[KeyT, AnswerT], keys: Iterable[KeyT] | None, until: DeliveryState) -> None:
        self.keys: dict[KeyT, DeliveryState | None] | None = None if keys is None else dict.fromkeys(keys)
        """Whose changes it reads, each with the state that was handed over; ``None`` for all keys."""
        self.until = until
        self._home = home
        self._pending: dict[KeyT, None] = {}
        # The ends that were handed over here, as long as others have yet to take them.
        self._ended: set[KeyT] = set()
        self._current: tuple[KeyT, DeliveryState | None, bool] | None = None
        self._listener: asyncio.Future[None] | None = None
        self._has_begun = self._is_closed = False
        self._on_close: Callable[[], None] | None = None
        self.is_cut_off = False
        """Whether it was cancelled while it waited: it may go on, unless another loop begins before."""

    def begin(self, on_close: Callable[[], None]) -> None:
        """Take note that the tracker tells this reader from now on, and how to end that."""
        self._on_close = on_close
        if self._is_closed:
            on_close()

    def note(self, key: KeyT, entry: Entry[KeyT, AnswerT]) -> None:
        """Take note of news of a key, if they are a change."""
        if key in self._ended or (self.keys is not None and key not in self.keys):
            return
        known = entry.told if self.keys is None else self.keys[key]
        if entry.is_over or state_of(entry.status) is not known:
            self._pending[key] = None
            self._wake()

    def owes(self, key: KeyT) -> bool:
        """Tell whether a change of the key is to be handed over, or is being worked on."""
        return key in self._pending or (self._current is not None and self._current[0] == key)

    def forget(self, key: KeyT) -> None:
        """Take note that a key is tracked no more."""
        self._ended.discard(key)

    async def asend(self, value: None) -> Change[KeyT, AnswerT]:
        """Return the next change; the one before is handed over."""
        if self._listener is not None:
            raise RuntimeError("two tasks read the changes of one loop; give each a loop of its own")
        self._hand_over()
        self.is_cut_off = False
        if not self._has_begun and not self._is_closed:
            self._has_begun = True
            try:
                await self._home.begin(self)
            except BaseException:
                self._has_begun = False
                raise
        while not self._is_closed:
            change = self._next()
            if change is not None:
                return change
            if self.keys is not None and not self.keys:
                break
            self._listener = asyncio.get_running_loop().create_future()
            self._home.listening.add(self)
            try:
                await self._listener
            except BaseException:
                self.is_cut_off = True
                raise
            finally:
                self._listener = None
                self._home.listening.discard(self)
        self.close()
        raise StopAsyncIteration

    def _next(self) -> Change[KeyT, AnswerT] | None:
        while self._pending:
            key = next(iter(self._pending))
            del self._pending[key]
            entry = self._home.ledger.get(key)
            if entry is None:
                # It was let go for its age while nobody read.
                if self.keys is not None:
                    self.keys.pop(key, None)
                continue
            state = state_of(entry.status)
            if not entry.is_over and state is (entry.told if self.keys is None else self.keys[key]):
                continue
            self._current = key, state, entry.is_over
            return Change(key=key, status=entry.status, is_over=entry.is_over)
        return None

    def _hand_over(self) -> None:
        if self._current is None:
            return
        (key, state, is_over), self._current = self._current, None
        if is_over:
            self._pending.pop(key, None)
            if self.keys is None:
                self._ended.add(key)
            else:
                self.keys.pop(key, None)
        elif self.keys is not None:
            self.keys[key] = state
        self._home.handed_over(self, key, state, is_over=is_over)

    async def athrow(
        self, typ: Any, val: object = None, tb: TracebackType | None = None, /
    ) -> Change[KeyT, AnswerT]:
        """End the loop, and raise what is thrown in."""
        self.close()
        if isinstance(typ, BaseException):
            raise typ.with_traceback(tb)
        if isinstance(val, BaseException):
            raise val.with_traceback(tb)
        error: BaseException = typ() if val is None else typ(val)
        raise error.with_traceback(tb)

    async def aclose(self) -> None:
        """End the loop; what it was busy with is not handed over."""
        self.close()

    def close(self) -> None:
        """End the loop, at once."""
        if not self._is_closed:
            self._is_closed = True
            self._current = None
            self._pending.clear()
            self._wake()
            if self._on_close is not None:
                self._on_close()

    def __del__(self) -> None:
        self.close()

    def _wake(self) -> None:
        if self._listener is not None and not self._listener.done():
            self._listener.set_result(None)


class Readers(Generic[KeyT, AnswerT]):
    """Which readers are to be told of which key.

    It holds them weakly, because a loop that is left without a word must not be kept, nor keep ends from
    being forgotten.
    """

    def __init__(self) -> None:
        self._of_all: ReferenceType[Reader[KeyT, AnswerT]] | None = None
        self._by_key: dict[KeyT, list[ReferenceType[Reader[KeyT, AnswerT]]]] = {}

    def add(self, reader: Reader[KeyT, AnswerT]) -> None:
        """Tell a reader from now on; a second one of all keys is a ``RuntimeError``."""
        reference = ref(reader)
        if reader.keys is None:
            other = self.of_all
            if other is not None and other.is_cut_off:
                # Whoever keeps its traceback, such as an "except" around the next loop, keeps it as well.
                other.close()
            elif other is not None:
                raise RuntimeError(
                    "changes() is being read already: end that loop first, or use watch() for some keys"
                )
            self._of_all = reference
            reader.begin(lambda: self._forget_the_one(reference))
            return
        keys = list(reader.keys)
        for key in keys:
            self._by_key.setdefault(key, []).append(reference)
        reader.begin(lambda: self._forget(reference, keys))

    def _forget_the_one(self, reference: "ReferenceType[Reader[KeyT, AnswerT]]") -> None:
        if self._of_all is reference:
            self._of_all = None

    def _forget(self, reference: "ReferenceType[Reader[KeyT, AnswerT]]", keys: list[KeyT]) -> None:
        for key in keys:
            references = [each for each in self._by_key.get(key, ()) if each is not reference]
            if references:
                self._by_key[key] = references
            else:
                self._by_key.pop(key, None)

    @property
    def of_all(self) -> Reader[KeyT, AnswerT] | None:
        """The one that reads the changes of all keys."""
        return None if self._of_all is None else self._of_all()

    def of(self, key: KeyT) -> list[Reader[KeyT, AnswerT]]:
        """Return the readers of a key."""
        references = self._by_key.get(key)
        found = (
            [] if references is None else [reader for each in references if (reader := each()) is not None]
        )
        if (of_all := self.of_all) is not None:
            found.append(of_all)
        return found

    def close(self) -> None:
        """End all loops."""
        references = {reference for references in self._by_key.values() for reference in references}
        for reader in [self.of_all, *(reference() for reference in references)]:
            if reader is not None:
                reader.close()
