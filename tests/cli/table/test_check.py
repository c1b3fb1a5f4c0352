"""The check of a whole table: order, bounds, and what ends it."""

import asyncio
import io
import os
import random
from typing import Any

import pytest
from starlette.responses import Response

from statuslookup import (
    AuthenticationError,
    LookupTimeoutError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    StatusLookupError,
    TransportError,
)
from statuslookup.cli.providers import SMSFIRE
from statuslookup.cli.table import check as check_module
from statuslookup.cli.table.lines import Lines
from statuslookup.cli.table.rows import Input
from statuslookup.sandbox import Sandbox
from tests.support.checks import STATES, check_of, checked, client_of, ids, sandbox_of, source_of, written

# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_one_row_for_each_in_the_order_of_the_input() -> None:
    numbers = list(range(1, 1201))
    random.Random(1).shuffle(numbers)
    sandbox = sandbox_of(1000)
    found, check = await checked("".join(f"{id}\n" for id in numbers), sandbox)
    assert [row["id"] for row in found] == numbers
    assert all((row["state"] is None) == (row["id"] > 1000) for row in found)
    assert (check.tally.rows, check.written) == (1200, 1200)
    assert check.tally.states == {None: 200} | {state: 333 + (state is STATES[1]) for state in STATES}


@pytest.mark.virtual_time
@pytest.mark.parametrize("may_block", [False, True])
async def test_bad_repeated_and_both_kinds_of_keys_have_their_own_rows(may_block: bool) -> None:
    content = "id,customId,n\n1,,a\nx,,b\n1,,c\n,c2,d\n1,,e\n,,f\n"
    found, check = await checked(content, sandbox_of(5), may_block=may_block)
    assert [(row["n"], row["id"], row["state"]) for row in found] == [
        ("a", 1, "SENT"),
        ("b", "x", None),
        ("c", 1, "SENT"),
        ("d", 2, "REJECTED"),
        ("e", 1, "SENT"),
        ("f", "", None),
    ]
    assert [row["error"] and row["error"][:6] for row in found] == [
        None,
        "line 3",
        None,
        None,
        None,
        "line 7",
    ]
    assert (check.tally.failed, check.bytes_done) == (2, len(content))


@pytest.mark.virtual_time
async def test_unordered_rows_say_which_they_are() -> None:
    found, _ = await checked("1\nbad key\n" + ids(400), sandbox_of(400), with_line=True)
    assert sorted(row["line"] for row in found) == list(range(1, 403))
    assert found[0]["line"] == 2
    assert all(row["id"] == row["line"] - 2 for row in found if row["line"] > 2)


@pytest.mark.virtual_time
async def test_only_open_copies_rows_that_are_final() -> None:
    sandbox = sandbox_of(10)
    content = "id,state,x\n1,READ,a\n2,sent,b\n3,,c\n4,whatever,d\n5,EXPIRED,e\n"
    found, check = await checked(content, sandbox, only_open=True)
    assert [row["state"] for row in found] == ["READ", "REJECTED", "READ", "SENT", "EXPIRED"]
    assert found[0] == dict.fromkeys(found[0]) | {"id": 1, "state": "READ", "x": "a"}
    assert sandbox.keys == 3
    assert (check.tally.skipped, check.tally.rows) == (2, 5)


@pytest.mark.virtual_time
async def test_a_row_that_fails_has_an_error_and_the_rest_goes_on() -> None:
    sandbox = sandbox_of(1000)
    sandbox.fault = {2: 500}.get
    found, check = await checked(ids(1000), sandbox)
    failed = [row for row in found if row["error"]]
    assert [row["id"] for row in found] == list(range(1, 1001))
    assert (len(failed), check.tally.failed) == (200, 200)
    assert all("status 500" in row["error"] for row in failed)


# --- bounds ---------------------------------------------------------------------------------------


class Stuck:
    """A sandbox that answers one key late, or with a status of its own; 0 is no answer at all."""

    def __init__(self, sandbox: Sandbox, key: bytes, seconds: float, *, status: int | None = None) -> None:
        self.sandbox, self.key, self.seconds, self.status = sandbox, key, seconds, status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        messages = [await receive()]
        if self.key in messages[0]["body"]:
            await asyncio.sleep(self.seconds)
            if self.status == 0:
                raise OSError("gone")
            if self.status is not None:
                return await Response(status_code=self.status)(scope, receive, send)

        async def again() -> Any:
            return messages.pop() if messages else await receive()

        return await self.sandbox(scope, again, send)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("behind", "options"),
    [
        ("2,\n", {}),
        ("1,\n", {}),
        ("2,READ\n", {"only_open": True}),
        ("no key,\n", {}),
        ("1,\n", {"with_line": True}),
    ],
    ids=["asked", "equal", "final", "bad", "unordered"],
)
async def test_a_late_answer_holds_back_no_more_than_a_bounded_number_of_rows(
    monkeypatch: pytest.MonkeyPatch, behind: str, options: dict[str, bool]
) -> None:
    monkeypatch.setattr(check_module, "_MOST_WAITING", 1000)
    out, source = io.BytesIO(), source_of("id,state\n1,\n3,\n" + behind * 5000)
    check = check_of(source, out, **options)
    async with client_of(Stuck(sandbox_of(3), b'"1"', 20.0)) as client:
        task = asyncio.ensure_future(check.run(client))
        await asyncio.sleep(10)
        # The rows that have no place yet were read together, some at a time.
        assert 1000 <= source.lines.number < 1300
        assert written(out) == []
        await task
    assert len(written(out)) == check.tally.rows == 5002
    assert written(out)[0]["id"] == 1


@pytest.mark.virtual_time
async def test_of_a_wide_table_fewer_rows_are_held() -> None:
    """Each row holds all columns, so that a short line can take as much memory as the header."""
    out, source = io.BytesIO(), source_of("id,state" + ",x" * 4000 + "\n1\n" + "3\n" * 2500)
    async with client_of(Stuck(sandbox_of(3), b'"1"', 20.0)) as client:
        task = asyncio.ensure_future(check_of(source, out).run(client))
        await asyncio.sleep(10)
        assert 1000 <= source.lines.number < 1300
        await task
    assert len(written(out)) == 2501


@pytest.mark.virtual_time
async def test_rows_are_written_as_soon_as_they_are_known() -> None:
    out = io.BytesIO()
    check = check_of(source_of(ids(2000)), out)
    async with client_of(Stuck(sandbox_of(2000), b'"1999"', 100.0)) as client:
        task = asyncio.ensure_future(check.run(client))
        await asyncio.sleep(50)
        assert 1000 <= len(written(out)) < 2000
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_rows_of_a_pipe_are_asked_for_as_they_come() -> None:
    reading, writing = os.pipe()
    out = io.BytesIO()
    try:
        os.write(writing, b"1\n2\n")
        source = Input(Lines(lambda size: os.read(reading, size)), SMSFIRE.keys, lambda key: key)
        check = check_of(source, out, may_block=True)
        async with client_of(sandbox_of(5, latency=0)) as client:
            task = asyncio.ensure_future(check.run(client))
            for count, more in ((2, b"3\n"), (3, b"")):
                for _ in range(500):
                    if len(written(out)) == count:
                        break
                    await asyncio.sleep(0.01)
                assert len(written(out)) == count
                os.write(writing, more)
            os.close(writing)
            await task
    finally:
        os.close(reading)
    assert [row["id"] for row in written(out)] == [1, 2, 3]


# --- what ends it ---------------------------------------------------------------------------------


@pytest.mark.virtual_time
@pytest.mark.parametrize("may_block", [False, True])
async def test_an_input_that_cannot_be_read_to_its_end_ends_it(may_block: bool) -> None:
    pieces, out = iter([b"1\n"]), io.BytesIO()

    def read(_: int) -> bytes:
        if (piece := next(pieces, None)) is None:
            raise OSError("broken")
        return piece

    source = Input(Lines(read), SMSFIRE.keys, lambda key: key)
    async with client_of(sandbox_of(1)) as client:
        with pytest.raises(OSError, match="broken"):
            await check_of(source, out, may_block=may_block).run(client)


@pytest.mark.virtual_time
async def test_refused_credentials_end_it_and_what_is_done_is_written() -> None:
    # Without latency, requests arrive in the order in which they were sent.
    sandbox, out = sandbox_of(10_000, latency=0.0), io.BytesIO()
    sandbox.fault = lambda number: 401 if number > 3 else None
    check = check_of(source_of(ids(10_000)), out)
    async with client_of(sandbox) as client:
        with pytest.raises(AuthenticationError):
            await check.run(client)
    assert [row["id"] for row in written(out)] == list(range(1, check.written + 1))
    assert 0 < check.written <= 600
    assert not any(row["error"] for row in written(out))


@pytest.mark.virtual_time
async def test_a_request_that_cannot_be_made_ends_it() -> None:
    # It is one batch of fifty, and none of its rows is taken for failed.
    out, cut = io.BytesIO(), Stuck(sandbox_of(1), b'"300"', 0.0, status=0)
    async with client_of(cut) as client:
        with pytest.raises(TransportError):
            await check_of(source_of(ids(10_000)), out).run(client)
    assert not any(row["error"] for row in written(out))


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("failure", "bad", "with_line"),
    [("late", 300, True), ("late", 2900, False), ("503", 300, False), ("503", 2900, True)],
)
async def test_a_batch_that_always_fails_is_its_rows_error_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch, failure: str, bad: int, with_line: bool
) -> None:
    # More rows than may wait are behind those that are held back.
    monkeypatch.setattr(check_module, "_MOST_WAITING", 4000)
    out = io.BytesIO()
    late, status = (1000.0, None) if failure == "late" else (0.0, 503)
    sandbox = Stuck(sandbox_of(3000), f'"{bad}"'.encode(), late, status=status)
    async with client_of(sandbox, timeout=20.0, retry=RetryPolicy(attempts=3)) as client:
        check = check_of(source_of(ids(3000) + "bad key\n" * 8000), out, with_line=with_line)
        await check.run(client)
    rows = {row["id"]: row["error"] for row in written(out) if isinstance(row["id"], int)}
    assert len(rows) == 3000
    failed = sorted(id for id, error in rows.items() if error is not None)
    first = (bad - 1) // 200 * 200 + 1
    assert failed == list(range(first, first + 200))
    assert (check.tally.failed, check.written) == (8200, 11_000)


@pytest.mark.virtual_time
async def test_one_key_of_many_rows_that_always_fails_does_not_end_it() -> None:
    out, stuck = io.BytesIO(), Stuck(sandbox_of(400), b'"300"', 0.0, status=503)
    content = ids(200) + "300\n" * 500 + ids(100, first=301)
    async with client_of(stuck) as client:
        check = check_of(source_of(content), out)
        await check.run(client)
    errors = [row["error"] for row in written(out)]
    assert errors[:200] == [None] * 200
    assert all("status 503" in error for error in errors[200:700])
    assert len(errors) == check.written == 800


@pytest.mark.virtual_time
async def test_a_provider_that_never_answers_in_time_ends_it() -> None:
    out = io.BytesIO()
    async with client_of(Stuck(sandbox_of(1), b"ids", 1000.0), timeout=5.0) as client:
        with pytest.raises(LookupTimeoutError):
            await check_of(source_of(ids(400)), out).run(client)
    assert written(out) == []


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("fault", "attempts", "error"),
    [
        ("hangs", 1, LookupTimeoutError),
        (429, 1, RateLimitedError),
        (503, 20, LookupTimeoutError),
        (503, 3, ServerError),
    ],
)
async def test_a_provider_that_dies_in_the_middle_ends_it_and_costs_no_row(
    fault: Any, attempts: int, error: type[StatusLookupError]
) -> None:
    class Dying:
        def __init__(self) -> None:
            # Without latency, requests arrive in the order in which they were sent.
            self.sandbox = sandbox_of(3000, latency=0.0)
            self.sandbox.fault = lambda number: None if number <= 5 else fault

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if fault == "hangs" and self.sandbox.requests == 5:
                await asyncio.sleep(1000)
            await self.sandbox(scope, receive, send)

    out = io.BytesIO()
    retry = RetryPolicy(attempts=attempts, random=lambda: 1.0)
    async with client_of(Dying(), timeout=5.0, retry=retry) as client:
        with pytest.raises(error):
            await check_of(source_of(ids(3000)), out).run(client)
    assert [row["id"] for row in written(out)] == list(range(1, 1001))
    assert not any(row["error"] for row in written(out))


@pytest.mark.virtual_time
@pytest.mark.parametrize("content", [ids(5000), "id,state\n" + "1,READ\n" * 100_000], ids=["asked", "copied"])
async def test_a_full_disk_ends_it_soon(content: str) -> None:
    class Full(io.BytesIO):
        tries = 0

        def write(self, data: Any) -> int:
            self.tries += 1
            raise OSError(28, "No space left on device")

    sandbox, out = sandbox_of(5000), Full()
    check = check_of(source_of(content), out, only_open=True)
    async with client_of(sandbox) as client:
        with pytest.raises(OSError, match="No space"):
            await check.run(client)
    assert out.tries == 1
    assert sandbox.requests < 20
    assert check.tally.rows <= 1600
