"""What every store promises: one contract, so that further ones can join."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
from attrs import evolve

from statuslookup import MemoryStore, Row, SQLiteStore, Store
from tests.support.fakes import Tens
from tests.support.tracking import PlayedClient, smsfire_tracker

MakeStore: TypeAlias = Callable[[], Store]

ACCOUNT = "SMSFire api-v2.smsfire.com.br:443"
ROWS = [
    Row(key="i:42", born=1_700_000_000.25, until="READ"),
    Row(key="c:order-17", born=1.5, until="DELIVERED", told="SENT", status='{"MessageStatus":{"id":1}}'),
    Row(key="s:BAE5é\u2028'\"", born=0.0, until="SENT", told=None, status=""),
]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Return what opens the same store again and again."""
    memory = MemoryStore()
    if request.param == "memory":
        return lambda: memory
    return lambda: SQLiteStore(tmp_path / "messages.db")


async def rows_of(make: MakeStore) -> dict[str, Row]:
    store = make()
    rows = await store.load(ACCOUNT)
    await store.aclose()
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: row for row in rows}


async def test_a_new_store_is_empty(make: MakeStore) -> None:
    assert await rows_of(make) == {}


async def test_what_was_saved_is_loaded_as_it_was(make: MakeStore) -> None:
    store = make()
    assert list(await store.load(ACCOUNT)) == []
    await store.save(ROWS)
    await store.aclose()
    assert await rows_of(make) == {row.key: row for row in ROWS}


async def test_rows_are_replaced_and_deleted(make: MakeStore) -> None:
    store = make()
    await store.load(ACCOUNT)
    await store.save(ROWS)
    changed = evolve(ROWS[0], told="DELIVERED", status="{}")
    await store.save([changed, evolve(ROWS[1], is_forgotten=True), Row(key="i:9", is_forgotten=True)])
    await store.save([])
    await store.aclose()
    assert await rows_of(make) == {changed.key: changed, ROWS[2].key: ROWS[2]}


async def test_the_last_of_two_rows_in_one_save_counts(make: MakeStore) -> None:
    store = make()
    await store.load(ACCOUNT)
    await store.save([ROWS[0], evolve(ROWS[0], told="SENT")])
    await store.aclose()
    assert (await rows_of(make))["i:42"].told == "SENT"


async def test_a_store_of_another_account_is_refused_and_stays_as_it_is(make: MakeStore) -> None:
    store = make()
    await store.load(ACCOUNT)
    await store.save(ROWS)
    await store.aclose()
    other = make()
    with pytest.raises(ValueError, match=r"holds messages of SMSFire api-v2.* not of GREEN-API x:443 7"):
        await other.load("GREEN-API x:443 7")
    await other.aclose()
    assert len(await rows_of(make)) == 3


async def test_closing_twice_does_nothing_more(make: MakeStore) -> None:
    store = make()
    await store.aclose()
    await store.load(ACCOUNT)
    await store.aclose()
    await store.aclose()
    # It may be opened again.
    await store.load(ACCOUNT)
    await store.save(ROWS)
    await store.aclose()
    assert len(await rows_of(make)) == 3


async def test_many_rows_in_any_order_of_changes(make: MakeStore) -> None:
    random = Random(5)
    model: dict[str, Row] = {}
    store = make()
    await store.load(ACCOUNT)
    for _ in range(40):
        rows: list[Any] = []
        for key in random.sample(range(300), 60):
            is_forgotten = random.random() < 0.3
            row = Row(key=f"i:{key}", born=random.random(), told="SENT", is_forgotten=is_forgotten)
            rows.append(row)
            if is_forgotten:
                model.pop(row.key, None)
            else:
                model[row.key] = row
        await store.save(rows)
        if random.random() < 0.2:
            await store.aclose()
            store = make()
            assert {row.key: row for row in await store.load(ACCOUNT)} == model
    await store.aclose()
    assert await rows_of(make) == model


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("budget", "account"),
    [
        (("Tens", "host:443", 7), "Tens host:443 7"),
        *((other, "Tens localhost:80") for other in ((), ("Tens", object()), "Tens", object())),
    ],
)
async def test_a_store_is_told_whose_messages_it_holds(budget: Any, account: str) -> None:
    class Tracked(Tens):
        webhooks_tell_all = True
        keys_of = advance = reached = lambda *_: None

    class Told(MemoryStore):
        async def load(self, account: str) -> Any:
            accounts.append(account)
            return await super().load(account)

    accounts: list[str] = []
    provider = Tracked()
    provider.budget = budget
    async with smsfire_tracker(PlayedClient(provider), store=Told()):
        assert accounts == [account]
