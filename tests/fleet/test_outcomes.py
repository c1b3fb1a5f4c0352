"""Messages between the processes of a fleet: what is told is read, and nothing else becomes an answer."""

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup import (
    AuthenticationError,
    CustomId,
    DecodeError,
    MessageKey,
    MessageStatus,
    ServerError,
    SMSFire,
    StatusLookupError,
)
from statuslookup.fleet import outcomes as module
from statuslookup.fleet.outcomes import Messages, Told

KEY = b"k" * 32
FOUND = MessageStatus(id=42, status_name="ACCEPTED", phone="5511999999999")


def of(process: int, key: bytes = KEY) -> Messages[MessageKey, MessageStatus]:
    return Messages(SMSFire("token"), process, key)


def read(message: bytes) -> Told[MessageKey, MessageStatus] | None:
    return of(2).read(message, list)


def signed(value: object, *, key: bytes = KEY, version: bytes = b"1") -> bytes:
    """Return what somebody with the account's key could write."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return of(9, key)._signed(version + zlib.compress(text))


def test_what_one_process_tells_another_reads() -> None:
    error = ServerError("failed", provider="SMSFire", status_code=503, retry_after=2.0)
    refused = AuthenticationError("refused", provider="SMSFire", status_code=401)
    told = read(of(1).write(7, {42: FOUND, CustomId("42"): None, 1: error, 2: refused}))
    assert told is not None
    assert (told.process, told.fence, told.keys) == (1, 7, [42, CustomId("42"), 1, 2])
    outcomes: dict[Any, Any] = told.outcomes
    assert (outcomes[42], outcomes[CustomId("42")]) == (FOUND, None)
    assert isinstance(outcomes[1], ServerError)
    assert (str(outcomes[1]), outcomes[1].retry_after) == (str(error), 2.0)
    assert outcomes[2].ends_all


def test_a_message_is_read_once_and_not_by_its_own_process() -> None:
    a, b = of(1), of(2)
    first, second = a.write(1, {1: None}), a.write(2, {2: None})
    assert a.read(first, list) is None
    assert b.read(second, list) is not None
    assert b.read(second, list) is None
    assert b.read(first, list) is None


def test_a_repeated_message_counts_again_only_for_who_forgot_it() -> None:
    reader = of(2)
    old = of(1).write(1, {1: None})
    assert reader.read(old, list) is not None
    for number in range(module._MOST_PROCESSES):
        assert reader.read(of(10 + number).write(1, {1: None}), list) is not None
    assert len(reader._read) == module._MOST_PROCESSES


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x",
        b"x" * 33,
        b"x" * (module._MOST_BYTES + 1),
        of(1, b"another account's").write(1, {1: FOUND}),
        of(1).write(1, {1: FOUND})[:-1],
        of(1).write(1, {1: FOUND}) + b"x",
        signed([1, 1, 1, []], version=b"2"),
        signed(b"not JSON"),
        signed(b"[" * 100_000),
        of(9)._signed(b"1not zlib"),
        of(9)._signed(b"1" + zlib.compress(b"x" * 1_000)[:-3]),
        *map(signed, (None, 7, {}, [], [1, 1, 1], [1, 1, 1, 7], [1, "1", 1, []])),
        *map(signed, ([[], 1, 1, []], [1, 1, "x", []], [1, 1, 1, [[1]]], [1, 1, 1, [1]])),
    ],
    ids=lambda message: f"{len(message)} bytes {zlib.crc32(message)}",
)
def test_a_foreign_or_broken_message_says_nothing(message: bytes) -> None:
    assert read(message) is None


def test_a_message_that_unpacks_to_more_than_one_can_hold_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = signed([1, 1, 1, [["1", 1, {"id": 1, "phone": "5" * 10_000}]]])
    assert read(message) is not None
    monkeypatch.setattr(module, "_MOST_UNPACKED", 5_000)
    assert read(message) is None


def test_only_what_is_wanted_is_read() -> None:
    told = of(2).read(of(1).write(1, {1: None, 2: None, 3: None}), lambda keys: [2])
    assert told is not None
    assert (told.outcomes, told.keys) == ({2: None}, [1, 2, 3])


def test_of_a_provider_that_stumbles_over_one_answer_the_others_are_read() -> None:
    class Careless(SMSFire):
        def answer_from_json(self, value: Any) -> MessageStatus:
            # As somebody's own may, where an answer comes from another release of it.
            return MessageStatus(id=value["ID"] if value["id"] == 1 else value["id"])

    reader: Messages[MessageKey, MessageStatus] = Messages(Careless("token"), 2, KEY)
    told = reader.read(of(1).write(1, {1: MessageStatus(id=1), 2: MessageStatus(id=2)}), list)
    assert told is not None
    assert (told.keys, told.outcomes) == ([1, 2], {2: MessageStatus(id=2)})


@given(st.binary(max_size=100))
def test_no_bytes_that_are_not_signed_say_anything(message: bytes) -> None:
    assert read(message) is None


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=5))
)
def test_whatever_is_signed_raises_nothing(value: object) -> None:
    read(signed(value))


def test_of_a_message_whose_items_are_partly_unreadable_the_rest_is_read() -> None:
    items: list[list[Any]] = [
        *(["1", 1, {"id": 1}], ["x", 0, None], ["2", 1, {"id": None}], ["3", 2, {"class": "SystemExit"}]),
        *(["4", 9, None], ["y", 0, None], ["6", 0, None]),
    ]
    told = read(signed([1, 1, 3, items]))
    assert told is not None
    assert told.outcomes == {1: MessageStatus(id=1), 6: None}
    assert told.keys == [1, 2, 3, 4, 6]


def test_an_answer_that_is_too_large_is_told_as_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_UNPACKED", 5_000)
    large = MessageStatus(id=2, phone="5" * 10_000)
    told = read(of(1).write(1, {1: FOUND, 2: large}))
    assert told is not None
    outcomes: dict[MessageKey, MessageStatus | StatusLookupError | None] = told.outcomes
    assert outcomes[1] == FOUND
    assert isinstance(outcomes[2], DecodeError)
