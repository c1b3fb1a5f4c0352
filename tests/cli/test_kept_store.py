"""What the store of a watch keeps of messages that are over."""

import pytest

from statuslookup import DeliveryState, StoreError
from statuslookup.cli.kept_store import KeptStore
from statuslookup.tracker import MemoryStore, Row

SENT, DELIVERED, READ = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ


async def test_what_is_over_stays_and_is_not_shown_to_the_tracker_again() -> None:
    memory = MemoryStore()
    store = KeptStore(memory, DELIVERED)
    assert await store.load("SMSFire") == []
    rows = [Row(key=f"i:{id}", born=5.0, told="SENT", status='{"phone": 1}') for id in range(3)]
    await store.save(rows)
    store.end("i:0", DELIVERED)
    store.end("i:1", None)
    await store.save([Row(key="i:0", is_forgotten=True), Row(key="i:1", is_forgotten=True)])
    assert memory.rows["i:0"] == Row(key="i:0", born=-1.0, until="DELIVERED", told="DELIVERED")

    again = KeptStore(memory, DELIVERED)
    assert await again.load("SMSFire") == [rows[2]]
    assert again.over == {"i:0": DELIVERED, "i:1": None}
    assert again.told == {"i:2": SENT}
    await again.aclose()


async def test_what_is_forgotten_without_an_end_is_deleted() -> None:
    memory = MemoryStore()
    store = KeptStore(memory, DELIVERED)
    await store.save([Row(key="i:0"), Row(key="i:1")])
    await store.save([Row(key="i:0", is_forgotten=True)])
    assert list(memory.rows) == ["i:1"]


@pytest.mark.parametrize(
    ("state", "before", "now", "is_over"),
    [
        (DELIVERED, DELIVERED, DELIVERED, True),
        (DELIVERED, DELIVERED, READ, False),
        (DELIVERED, DELIVERED, SENT, True),
        (READ, READ, READ, True),
        # It was let go for its age.
        (DELIVERED, READ, READ, True),
        (SENT, SENT, DELIVERED, False),
        (DeliveryState.EXPIRED, SENT, READ, True),
        (None, SENT, READ, True),
    ],
)
async def test_whoever_wants_more_than_before_begins_anew(
    state: DeliveryState | None, before: DeliveryState, now: DeliveryState, is_over: bool
) -> None:
    memory = MemoryStore()
    store = KeptStore(memory, before)
    store.end("i:0", state)
    await store.save([Row(key="i:0", is_forgotten=True)])
    again = KeptStore(memory, now)
    assert await again.load("SMSFire") == []
    assert again.over == ({"i:0": state} if is_over else {})


@pytest.mark.parametrize("key", ["order-17", "x:1", "i:one", "c:a b"])
async def test_a_row_of_what_is_over_that_cannot_be_read_is_a_store_error(key: str) -> None:
    memory = MemoryStore()
    await memory.save([Row(key=key, born=-1.0)])
    with pytest.raises(StoreError, match="a row that cannot be read"):
        await KeptStore(memory, DELIVERED).load("SMSFire")
