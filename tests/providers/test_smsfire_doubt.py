"""What SMSFire leaves out: repeated customIds, full responses, and keys that are asked again."""

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statuslookup import CustomId, DecodeError, MessageKey, Response, ServerError
from tests.support.smsfire_exchanges import (
    AT_TEN,
    BROKEN,
    NOTHING_FOUND,
    Dialogue,
    Item,
    ModelServer,
    ask,
    found_id,
    in_turn,
    item,
    keys_of,
    ok,
    repeated,
    searched,
)

# --- an id that is another message's customId -----------------------------------------------------


@pytest.mark.parametrize("stray", [item(77, "5"), item(77)])
def test_an_id_that_comes_back_as_another_message_is_asked_by_post(stray: Item) -> None:
    exchange = Dialogue([5], in_turn(ok(stray), ok(stray, item(5))))
    assert exchange.ids == {5: 5}
    assert [request.method for request in exchange.requests] == ["GET", "POST"]
    assert searched(exchange.requests[1]) == {"ids": ["5"]}


def test_an_id_that_only_another_message_has_as_custom_id_is_unknown() -> None:
    assert ask([5], ok(item(77, "5")), NOTHING_FOUND) == {5: None}
    assert ask([5], ok(item(77, "5")), ok(item(77, "5"))) == {5: None}


def test_a_failure_on_the_second_way_is_the_outcome_of_the_key() -> None:
    assert ask([5], ok(item(77, "5")), BROKEN) == {5: BROKEN}
    assert isinstance(ask([5], ok(item(77, "5")), Response(500))[5], ServerError)


# --- several messages with one customId -----------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "last"),
    [
        ([item(1, "a", AT_TEN), item(2, "a", "2021-08-06T10:00:01-0300")], 2),
        ([item(9, "a", AT_TEN), item(2, "a", "2021-08-06T10:00:01-0300")], 2),
        # Later by the clock on the wall, earlier in the world.
        ([item(1, "a", AT_TEN), item(2, "a", "2021-08-06T12:59:59+0000")], 1),
        ([item(1, "a", "2021-08-06T14:59:59+0200"), item(2, "a", AT_TEN)], 2),
        ([item(1, "a", AT_TEN), item(2, "a")], 1),
        ([item(1, "a", AT_TEN), item(2, "a", "")], 1),
        ([item(1, "a"), item(2, "a")], 2),
        ([item(1, "a", AT_TEN), item(2, "a", AT_TEN), item(3, "a", AT_TEN)], 3),
        ([item(1, "a", AT_TEN), item(2, "a", "2021-08-06T13:00:00Z"), item(3, "a")], 2),
        ([item(1, "a", "0001-01-02T00:00:00+00:00"), item(2, "a")], 1),
        ([item(1, "a", AT_TEN), item(1, "a", AT_TEN)], 1),
    ],
)
def test_the_message_sent_last_wins_in_any_order(items: list[Item], last: int) -> None:
    for order in itertools.permutations(items):
        assert found_id(ask([CustomId("a"), 100], ok(*order))[CustomId("a")]) == last
        assert found_id(ask([CustomId("a")], ok(*order))[CustomId("a")]) == last


def test_an_older_message_still_answers_for_its_id() -> None:
    newer, older = item(2, "a", "2021-08-07T10:00:00Z"), item(1, "a", "2021-08-06T10:00:00Z")
    for order in ([newer, older], [older, newer]):
        assert Dialogue([1, CustomId("a")], in_turn(ok(*order))).ids == {1: 1, CustomId("a"): 2}


# --- a full response leaves doubt -------------------------------------------------------------------


@st.composite
def campaigns(draw: st.DrawFn) -> tuple[list[MessageKey], ModelServer]:
    """Draw messages whose customIds repeat, and up to 199 keys that ask for them or for nothing."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    counts = draw(st.lists(st.sampled_from([0, 2, 3, 20, 60, 99, 199, 200, 201, 450]), max_size=6))
    counts += [chance.choice([0, 1, 1, 1, 2]) for _ in range(draw(st.sampled_from([0, 1, 20, 150])))]
    names = [str(number) if chance.random() < 0.1 else f"name{number}" for number in range(len(counts))]
    names_of_messages: list[str | None] = [
        name for name, count in zip(names, counts, strict=True) for _ in range(count)
    ]
    names_of_messages += [None] * draw(st.sampled_from([0, 1, 100, 200]))
    chance.shuffle(names_of_messages)
    start = datetime(2021, 8, 6, tzinfo=UTC)
    messages = [
        item(id, name, (start + timedelta(seconds=chance.randrange(100))).isoformat())
        for id, name in enumerate(names_of_messages)
    ]
    ids = range(len(messages) + 20)
    keys: list[MessageKey] = [CustomId(name) for name in names]
    keys += chance.sample(ids, min(len(ids), draw(st.sampled_from([0, 1, 10, 199]))))
    keys = keys or [0]
    chance.shuffle(keys)
    return keys[:199], ModelServer(messages, chance.randrange(2**32))


@given(campaigns())
@settings(max_examples=100)
def test_every_key_gets_its_message_however_often_custom_ids_repeat(
    campaign: tuple[list[MessageKey], ModelServer],
) -> None:
    keys, server = campaign
    ids = Dialogue(keys, server.answer).ids
    wrong = {key: id for key, id in ids.items() if id not in server.truth(key)}
    assert wrong == {}


def test_keys_that_a_repeated_custom_id_pushed_out_are_asked_again() -> None:
    server = ModelServer([*repeated("often", 300, 1000), *(item(id) for id in range(150))], seed=1)
    exchange = Dialogue([*range(150), CustomId("often"), CustomId("never")], server.answer)
    assert {key: id for key, id in exchange.ids.items() if isinstance(key, int)} == {
        id: id for id in range(150)
    }
    assert exchange.ids[CustomId("never")] is None
    assert exchange.ids[CustomId("often")] in range(1000, 1300)
    assert len(exchange.requests) <= 12


def test_only_what_is_in_doubt_is_asked_again() -> None:
    keys: list[MessageKey] = [*range(100), CustomId("often"), 100, CustomId("never")]
    exchange = Dialogue(
        keys,
        in_turn(
            ok(*(item(id) for id in range(100)), *repeated("often", 100, 1000)),
            ok(item(100)),
            ok(*repeated("often", 150, 1000)),
        ),
    )
    assert searched(exchange.requests[1]) == {"ids": ["100"], "customIds": ["never"]}
    assert searched(exchange.requests[2]) == {"customIds": ["often"]}
    assert exchange.ids[CustomId("often")] == 1149
    assert exchange.ids[CustomId("never")] is None


def test_what_alone_is_in_doubt_is_asked_again_undivided() -> None:
    settled, often = [item(id) for id in range(100)], CustomId("often")
    full = ok(*settled, *repeated("often", 100, 1000))
    dialogue = Dialogue([*range(100), often], in_turn(full, ok(*repeated("often", 150, 1000))))
    assert [len(keys_of(request)) for request in dialogue.requests] == [101, 1]
    assert dialogue.ids[often] == 1149


def test_a_full_response_that_says_nothing_new_is_divided() -> None:
    server = ModelServer([*repeated("a", 150, 0), *repeated("b", 150, 1000)], seed=2)
    exchange = Dialogue([CustomId("a"), CustomId("b")], server.answer)
    assert exchange.ids == {CustomId("a"): 149, CustomId("b"): 1149}
    assert len(exchange.requests) == 3


def test_what_fills_the_responses_is_asked_apart_from_the_rest() -> None:
    server = ModelServer(repeated("often", 300, 0), seed=4)
    names = [CustomId("often"), *(CustomId(f"never{number}") for number in range(64))]
    exchange = Dialogue(names, server.answer)
    assert [len(keys_of(request)) for request in exchange.requests] == [65, 64, 1]


def test_a_response_one_short_of_full_is_complete() -> None:
    keys: list[MessageKey] = [CustomId("a"), 5000]
    assert Dialogue(keys, in_turn(ok(*repeated("a", 199, 0)))).ids == {CustomId("a"): 198, 5000: None}


def test_a_lone_custom_id_with_more_messages_than_a_response_holds_gets_the_last_of_those() -> None:
    # Not a path, because its digits could be an id.
    assert Dialogue([CustomId("1")], in_turn(ok(*repeated("1", 200, 0)))).ids == {CustomId("1"): 199}


def test_a_full_response_about_others_is_no_proof_that_a_message_is_unknown() -> None:
    foreign = [item(id) for id in range(1000, 1200)]
    outcome = ask([CustomId("1")], ok(*foreign))[CustomId("1")]
    assert isinstance(outcome, DecodeError)
    assert "full" in str(outcome)


def test_foreign_messages_in_place_of_those_that_were_asked_for_are_no_proof_either() -> None:
    foreign = ok(item(9, "z"))
    keys: list[MessageKey] = [1, CustomId("a")]
    exchange = Dialogue([*keys, 2], in_turn(ok(item(9, "z"), item(2)), foreign))
    assert keys_of(exchange.requests[1]) == keys
    assert found_id(exchange.outcomes[2]) == 2
    for key in keys:
        outcome = exchange.outcomes[key]
        assert isinstance(outcome, DecodeError)
        assert "messages that were not asked for, and not about this one" in str(outcome)
    # What is told on the second time counts, also that nothing was found.
    assert Dialogue(keys, in_turn(foreign, ok(item(1)))).ids == {1: 1, CustomId("a"): None}
    # A path may mean two things, and is no time.
    assert isinstance(Dialogue([1], in_turn(*[foreign] * 3)).outcomes[1], DecodeError)


def test_items_beyond_the_most_of_a_response_are_not_read() -> None:
    items = [*(item(id) for id in range(200)), item(200), {"id": 300, "statusCode": "canary"}]
    exchange = Dialogue([*range(199), 200], in_turn(ok(*items), ok(item(200))))
    assert exchange.ids == {id: id for id in (*range(199), 200)}
    assert keys_of(exchange.requests[1]) == [200]


def test_a_server_that_always_fills_its_responses_with_others_ends_too() -> None:
    foreign = ok(*(item(id) for id in range(1000, 1200)))
    exchange = Dialogue([*range(100), *(CustomId(f"a{n}") for n in range(100))], lambda _: foreign)
    assert all(isinstance(outcome, DecodeError) for outcome in exchange.outcomes.values())
