"""What of SMSFire's responses cannot be read, what says no, and whom that concerns."""

import itertools
import json
import pickle
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from statuslookup import (
    CustomId,
    DecodeError,
    DeliveryState,
    MessageKey,
    MessageStatus,
    ProviderError,
    RateLimitedError,
    RejectedError,
    Request,
    Response,
    ServerError,
    SMSFire,
)
from tests.support.smsfire_exchanges import (
    BROKEN,
    KEYS,
    AnyOutcome,
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
)


def is_unreadable(outcome: AnyOutcome) -> bool:
    return type(outcome) is DecodeError


# --- items that cannot be read --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("statusCode", "two"), ("statusCode", True), ("statusCode", []), ("statusName", [])),
    ],
)
def test_a_bad_item_is_the_error_of_the_keys_it_names_and_of_nobody_else(field: str, value: Any) -> None:
    bad = item(1, "a", **{field: value})
    outcomes = ask([1, CustomId("a"), 2, 3, CustomId("b")], ok(item(2), bad, item(4, "b")))
    for key in (1, CustomId("a")):
        error = outcomes[key]
        assert isinstance(error, DecodeError)
        assert field in str(error)
        assert str(value) not in error.problems
    assert (found_id(outcomes[2]), found_id(outcomes[CustomId("b")]), outcomes[3]) == (2, 4, None)
    for keys in ([1], [CustomId("a")]):
        assert is_unreadable(ask(keys, ok(bad))[keys[0]])


@pytest.mark.parametrize(
    ("field", "name", "values"),
    [
        *(
            (
                wire,
                name,
                ["-0001-11-30T00:00:00-0306", "0000-00-00 00:00:00", "2021-08-06T10:00:00", False, 1, "x"],
            )
            for wire, name in (("sentDate", "sent_date"), ("statusDate", "status_date"))
        ),
        *(
            (wire, name, [False, 1.5, [], {}])
            for wire, name in (
                *(("instanceToken", "instance_token"), ("messageType", "message_type")),
                *(("country", "country"), ("phone", "phone"), ("customId", "custom_id")),
            )
        ),
    ],
)
def test_any_other_field_that_cannot_be_read_is_absent_and_named(
    field: str, name: str, values: list[Any]
) -> None:
    for value in values:
        odd = item(1, statusCode=2, **{field: value})
        for status in (ask([1, 2], ok(odd))[1], *SMSFire.parse_webhook(odd)):
            assert isinstance(status, MessageStatus)
            assert (status.state, getattr(status, name)) == (DeliveryState.DELIVERED, None)
            assert [problem.split()[0] for problem in status.problems] == [field]
            assert len(str(status.problems)) < 100


def test_a_bad_item_without_a_key_leaves_doubt_only_about_what_is_absent() -> None:
    bad_ids: list[Any] = [None, "x", -1.5, True, [], "1" * 41]
    others: list[Any] = [None, [], "text", 1, 1.5, True, {}, {"statusCode": 2}]
    for bad in (*others, *({"id": id} for id in bad_ids)):
        outcomes = ask([1, 2, CustomId("a")], ok(bad, item(1)))
        assert found_id(outcomes[1]) == 1, bad
        assert is_unreadable(outcomes[2]), bad
        assert is_unreadable(outcomes[CustomId("a")]), bad
        assert is_unreadable(ask([1], ok(bad))[1]), bad


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        (42, {"id": "42x", "customId": "a"}),
        (42, {"id": None, "customId": "a", "statusCode": "two"}),
        (CustomId("b"), {"id": 7, "customId": ["b"]}),
    ],
    ids=repr,
)
def test_a_bad_item_that_names_a_stranger_may_be_about_an_absent_key(key: MessageKey, bad: Any) -> None:
    outcomes = ask([key, 43], ok(item(43), bad))
    assert is_unreadable(outcomes[key])
    assert found_id(outcomes[43]) == 43
    assert is_unreadable(ask([key], ok(bad))[key])


def test_a_bad_custom_id_does_not_hide_the_id() -> None:
    bad_ones: list[Any] = [[], 1.5, True, {}]
    for custom_id in bad_ones:
        outcomes = ask([1, 2, CustomId("a")], ok({"id": 1, "customId": custom_id}))
        assert found_id(outcomes[1]) == 1
        assert outcomes[2] is None
        # It may be that one's message.
        assert is_unreadable(outcomes[CustomId("a")])


def test_a_bad_id_does_not_hide_the_custom_id() -> None:
    outcomes = ask([CustomId("a"), 2], ok({"id": "x", "customId": "a"}))
    assert is_unreadable(outcomes[CustomId("a")])
    assert outcomes[2] is None


def test_a_bad_item_and_a_good_one_of_the_same_key_mean_the_good_one_in_any_order() -> None:
    good, bad = item(1, "a"), item(1, "a", statusCode="x")
    keys: list[MessageKey] = [1, CustomId("a")]
    for key in keys:
        for order in ([bad, good], [good, bad]):
            assert found_id(ask([key, 2], ok(*order))[key]) == 1


def test_a_bad_item_of_a_foreign_message_is_foreign() -> None:
    foreign = item(9, "z", statusCode="x")
    assert found_id(ask([1, 2], ok(item(1), foreign, item(2)))[1]) == 1
    assert ask([1, CustomId("a")], ok(foreign), ok()) == {1: None, CustomId("a"): None}


def test_a_bad_item_of_another_message_by_path_is_asked_by_post() -> None:
    assert found_id(ask([5], ok(item(77, "5", statusCode="x")), ok(item(5)))[5]) == 5


def test_a_bad_item_in_a_full_response_does_not_settle_what_was_left_out() -> None:
    items = [None, *repeated("a", 199, 1000)]
    dialogue = Dialogue([1, CustomId("a")], in_turn(ok(*items), ok(item(1)), ok(*repeated("a", 199, 1000))))
    assert dialogue.ids[1] == 1


def test_the_text_of_a_problem_says_what_is_wrong_and_quotes_no_value() -> None:
    bad = item(1, statusDate="canary", statusCode="canary", phone=["canary"], instanceToken={"x": "canary"})
    error = ask([1, 2], ok(bad))[1]
    assert isinstance(error, DecodeError)
    assert error.problems != ()
    for field in ("statusDate", "statusCode", "phone", "instanceToken"):
        assert field in str(error)
    assert "canary" not in str(error) + repr(vars(error))


# --- responses that cannot be read, and responses that say no -------------------------------------


@pytest.mark.parametrize("keys", KEYS, ids=len)
def test_a_body_that_is_not_theirs_is_a_decode_error(keys: list[MessageKey]) -> None:
    for content in (
        b"",
        b"<html>canary</html>",
        b'[{"id": 1}',
        b'"canary"',
        b"null",
        b"\xff",
        b"[" * 100_000,
    ):
        for error in ask(keys, Response(200, content)).values():
            assert isinstance(error, DecodeError), content
            assert "canary" not in str(error) + repr(vars(error))
            assert error.__cause__ is None


@pytest.mark.parametrize("keys", KEYS, ids=len)
def test_a_status_that_says_no_is_the_error_of_every_key(keys: list[MessageKey]) -> None:
    for code, kind in ((400, RejectedError), (429, RateLimitedError), (500, ServerError)):
        refusals = [Response(code, b'{"id": 1}', retry_after=3.0)] * 9
        for error in Dialogue(keys, in_turn(*refusals)).outcomes.values():
            assert isinstance(error, kind)
            assert error.status_code == code
            assert not isinstance(error, RateLimitedError) or error.retry_after == 3.0


# --- an error in the middle -----------------------------------------------------------------------


def test_no_response_at_all_is_the_error_of_every_key() -> None:
    for keys in KEYS:
        assert ask(keys, BROKEN) == dict.fromkeys(keys, BROKEN)


def interrupted(
    keys: list[MessageKey], server: ModelServer, problem: Response | ProviderError, failing: int
) -> tuple[Dialogue, set[MessageKey]]:
    """Return a dialogue in which one request has a problem for a reply, and the keys that it asked for."""
    step = itertools.count()
    lost: set[MessageKey] = set()

    def answer(request: Request) -> Response | ProviderError:
        if next(step) != failing:
            return server.answer(request)
        lost.update(keys_of(request))
        return problem

    return Dialogue(keys, answer), lost


@pytest.mark.parametrize(
    "problem", [BROKEN, Response(500), Response(429), Response(200, b"<html>")], ids=repr
)
def test_an_error_at_any_step_keeps_what_other_responses_gave(problem: Response | ProviderError) -> None:
    messages = [*repeated("a", 250, 1000), *repeated("b", 150, 2000), *repeated("c", 90, 3000)]
    server = ModelServer([*messages, *map(item, range(50))], seed=3)
    keys: list[MessageKey] = [*range(60), *map(CustomId, "abcd")]
    assert len(Dialogue(keys, server.answer).requests) >= 4
    for failing in range(12):
        dialogue, lost = interrupted(keys, server, problem, failing)
        failed = {key for key, outcome in dialogue.outcomes.items() if isinstance(outcome, ProviderError)}
        assert failed == lost
        assert bool(lost) == (failing < len(dialogue.requests))
        for key in set(keys) - failed:
            assert found_id(dialogue.outcomes[key]) in server.truth(key)


def test_an_error_is_thrown_out_to_nobody_even_if_it_comes_each_time() -> None:
    keys: list[MessageKey] = [1, CustomId("a"), CustomId("b")]
    outcomes = ask(keys, ok(*repeated("a", 200, 10)), BROKEN, BROKEN)
    assert set(outcomes.values()) == {BROKEN}


# --- any response at all --------------------------------------------------------------------------

ASKED: list[MessageKey] = [1, 2, 10**39, CustomId("a"), CustomId("1"), CustomId(".")]
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00-23:59", "9999-12-31T23:59:59-23:59"),
        *(
            "9999-12-31T23:59:59.999999+23:59",
            "2021-08-06T09:59:02-0300",
            "2021-W01-1T00Z",
            "24:00",
            "\ud800",
        ),
        *("", " ", "a", "1", "0001", ".", "DELIVERED", "x" * 1000, "1" * 41, "\x00", "٣", "²"),
        *(0, 1, 2, -1, 10**39, 10**400, -(10**400), 1.0, 1e308, True, False, None, [], {}, [[]], {"id": 1}),
    ]
)
JSON = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    *("id", "customId", "instanceToken", "messageType", "country", "phone"),
    *("statusCode", "statusName", "statusDate", "sentDate"),
]
ITEMS = st.dictionaries(st.sampled_from(FIELDS), ODD) | st.builds(
    item, st.sampled_from([1, 2, "1", 77]), st.sampled_from([None, "a", "1"]), ODD
)
RESPONSES = st.one_of(
    st.binary(max_size=50).map(lambda content: Response(200, content)),
    JSON.map(lambda value: Response(200, json.dumps(value).encode())),
    st.lists(ITEMS | JSON, max_size=5).map(lambda items: ok(*items)),
    st.lists(ITEMS, min_size=1, max_size=5).map(lambda items: ok(*(items * 200)[:200])),
    st.builds(Response, st.integers(100, 599), st.binary(max_size=10), st.none() | st.floats(0, 100)),
    st.just(BROKEN),
)


@given(
    st.lists(st.sampled_from(ASKED), min_size=1, max_size=6, unique=True),
    st.lists(RESPONSES, min_size=1, max_size=6),
)
@example([1], [Response(200, b'{"id": 1' + b"0" * 5000 + b"}")])
@example([1, 2], [Response(200, b"[" * 100_000)])
@example([1, 2], [Response(200, b'[{"id":1,},' * 50_000)])
@settings(max_examples=300)
def test_any_response_gives_each_key_an_outcome(keys: list[MessageKey], responses: list[Response]) -> None:
    rest = itertools.cycle(responses)
    for outcome in Dialogue(keys, lambda _: next(rest)).outcomes.values():
        if isinstance(outcome, MessageStatus):
            assert repr(outcome)
            assert hash(outcome) == hash(pickle.loads(pickle.dumps(outcome)))  # noqa: S301 # our own
            for moment in (outcome.sent_date, outcome.status_date):
                assert moment is None or moment.utcoffset() is not None
        elif outcome is not None:
            assert isinstance(outcome, ProviderError)
            assert str(outcome).encode()
            assert outcome.fresh().args == outcome.args


@given(st.lists(ITEMS, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_good_items_does_not_matter(items: list[Item], chance: random.Random) -> None:
    good = [
        one | {"id": number}
        for number, one in enumerate(items)
        if isinstance(ask([9, number], ok(one | {"id": number}))[number], MessageStatus)
    ]
    keys: list[MessageKey] = [0, 1, 2, CustomId("a"), CustomId("1"), CustomId(".")]

    def outcomes() -> dict[MessageKey, object]:
        found = Dialogue(keys, lambda _: ok(*good)).outcomes
        # What is wrong with several items is said in their order.
        return {
            key: (type(one), sorted(one.problems)) if isinstance(one, DecodeError) else one
            for key, one in found.items()
        }

    expected = outcomes()
    chance.shuffle(good)
    assert outcomes() == expected
