"""What of SMSFire's answers cannot be read, what says no, and whom that concerns."""

import itertools
import json
import pickle
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from statuslookup import (
    AuthenticationError,
    CustomId,
    DecodeError,
    MessageKey,
    MessageStatus,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    RejectedError,
    ResponseError,
    ServerError,
)
from statuslookup._wire import Request, Response
from tests.support.exchanges import (
    BROKEN,
    KEYS,
    Exchange,
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

# --- items that cannot be read --------------------------------------------------------------------

BAD_FIELDS: list[Item] = [
    {"statusDate": "yesterday"},
    {"sentDate": "2021-08-06T10:00:00"},
    {"sentDate": 1628254742},
    {"statusCode": "two"},
    {"statusCode": True},
    {"statusCode": []},
    {"statusCode": 2.0},
    {"statusName": []},
    {"phone": 1.5},
    {"instanceToken": {}},
]


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=repr)
def test_a_bad_item_is_the_error_of_the_keys_it_names_and_of_nobody_else(fields: Item) -> None:
    bad = item(1, "a", **fields)
    ends = ask([1, CustomId("a"), 2, 3, CustomId("b")], ok(item(2), bad, item(4, "b")))
    for key in (1, CustomId("a")):
        end = ends[key]
        assert isinstance(end, DecodeError)
        assert next(iter(fields)) in str(end)
        assert str(next(iter(fields.values()))) not in end.problems
    assert found_id(ends[2]) == 2
    assert found_id(ends[CustomId("b")]) == 4
    assert ends[3] is None


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=repr)
def test_a_bad_item_by_path_is_the_error_of_its_key(fields: Item) -> None:
    assert isinstance(ask([1], ok(item(1, **fields)))[1], DecodeError)
    assert isinstance(ask([CustomId("a")], ok(item(1, "a", **fields)))[CustomId("a")], DecodeError)


@pytest.mark.parametrize(
    "bad",
    [
        *(None, [], "text", 1, 1.5, True, {}),
        *(
            {"id": None},
            {"id": "x"},
            {"id": -1.5},
            {"id": True},
            {"id": []},
            {"id": "1" * 41},
            {"statusCode": 2},
        ),
    ],
    ids=repr,
)
def test_a_bad_item_without_a_key_leaves_doubt_only_about_what_is_absent(bad: Any) -> None:
    ends = ask([1, 2, CustomId("a")], ok(bad, item(1)))
    assert found_id(ends[1]) == 1
    for key in (2, CustomId("a")):
        assert isinstance(ends[key], DecodeError)
    assert isinstance(ask([1], ok(bad))[1], DecodeError)


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        (42, {"id": "42x", "customId": "a"}),
        (42, {"id": 42.0, "customId": "a"}),
        (42, {"id": None, "customId": "a", "statusCode": "two"}),
        (CustomId("b"), {"id": 7, "customId": ["b"]}),
    ],
    ids=repr,
)
def test_a_bad_item_that_names_a_stranger_may_be_about_an_absent_key(key: MessageKey, bad: Any) -> None:
    ends = ask([key, 43], ok(item(43), bad))
    assert isinstance(ends[key], DecodeError)
    assert found_id(ends[43]) == 43
    assert isinstance(ask([key], ok(bad))[key], DecodeError)


@pytest.mark.parametrize("custom_id", [[], 1.5, True, {}], ids=repr)
def test_a_bad_custom_id_does_not_hide_the_id(custom_id: Any) -> None:
    ends = ask([1, 2], ok({"id": 1, "customId": custom_id}))
    assert isinstance(ends[1], DecodeError)
    assert ends[2] is None


def test_a_bad_id_does_not_hide_the_custom_id() -> None:
    ends = ask([CustomId("a"), 2], ok({"id": "x", "customId": "a"}))
    assert isinstance(ends[CustomId("a")], DecodeError)
    assert ends[2] is None


def test_a_good_item_after_a_bad_one_of_the_same_id_is_taken() -> None:
    assert found_id(ask([1, 2], ok(item(1, statusCode="x"), item(1)))[1]) == 1


@pytest.mark.parametrize("keys", [[1, 2], [CustomId("a"), 2]], ids=["id", "customId"])
def test_a_bad_item_of_the_same_key_means_the_same_in_any_order(keys: list[MessageKey]) -> None:
    good, bad = item(1, "a"), item(1, "a", statusCode="x")
    ends = [ask(keys, ok(*order))[keys[0]] for order in ([bad, good], [good, bad])]
    assert type(ends[0]) is type(ends[1])


def test_a_bad_item_of_a_foreign_message_spoils_nobody() -> None:
    assert ask([1, CustomId("a")], ok(item(9, "z", statusCode="x"))) == {1: None, CustomId("a"): None}


def test_a_bad_item_of_another_message_by_path_is_asked_by_post() -> None:
    assert found_id(ask([5], ok(item(77, "5", statusCode="x")), ok(item(5)))[5]) == 5


def test_a_bad_item_in_a_full_answer_does_not_end_what_was_left_out() -> None:
    items = [None, *repeated("a", 199, 1000)]
    exchange = Exchange([1, CustomId("a")], in_turn(ok(*items), ok(item(1)), ok(*repeated("a", 199, 1000))))
    assert exchange.ids[1] == 1


def test_the_text_of_a_problem_says_what_is_wrong_and_quotes_no_value() -> None:
    bad = item(1, statusDate="canary", statusCode="canary", phone=["canary"], instanceToken={"x": "canary"})
    end = ask([1, 2], ok(bad))[1]
    assert isinstance(end, DecodeError)
    assert end.problems != ()
    for field in ("statusDate", "statusCode", "phone", "instanceToken"):
        assert field in str(end)
    assert "canary" not in str(end)
    assert "canary" not in repr(vars(end))


# --- answers that cannot be read, and answers that say no -----------------------------------------


@pytest.mark.parametrize("keys", KEYS, ids=len)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>canary</html>",
        b'[{"id": 1}',
        b'"canary"',
        b"1",
        b"null",
        b"true",
        b"\xff",
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_body_that_is_not_theirs_is_a_decode_error(keys: list[MessageKey], content: bytes) -> None:
    for end in ask(keys, Response(200, content)).values():
        assert isinstance(end, DecodeError)
        assert "canary" not in str(end)
        assert "canary" not in repr(vars(end))
        assert end.__cause__ is None


@pytest.mark.parametrize("keys", KEYS, ids=len)
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (302, ResponseError),
        (400, RejectedError),
        (404, RejectedError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (429, RateLimitedError),
        (466, QuotaExceededError),
        (499, ServerError),
        (500, ServerError),
        (503, ServerError),
    ],
)
def test_a_status_that_says_no_is_the_error_of_every_key(
    keys: list[MessageKey], code: int, error: type[ResponseError]
) -> None:
    refusal = Response(code, b'{"id": 1}', retry_after=3.0)
    for end in Exchange(keys, lambda _: refusal).ends.values():
        assert type(end) is error
        assert end.status_code == code
        if isinstance(end, RateLimitedError):
            assert end.retry_after == 3.0


# --- an error in the middle -----------------------------------------------------------------------


def test_no_answer_at_all_is_the_error_of_every_key() -> None:
    for keys in KEYS:
        assert ask(keys, BROKEN) == dict.fromkeys(keys, BROKEN)


@pytest.mark.parametrize("failing", range(12))
@pytest.mark.parametrize(
    "problem", [BROKEN, Response(500), Response(429), Response(200, b"<html>")], ids=repr
)
def test_an_error_at_any_step_keeps_what_other_answers_gave(
    failing: int, problem: Response | ProviderError
) -> None:
    messages = [*repeated("a", 250, 1000), *repeated("b", 150, 2000), *repeated("c", 90, 3000)]
    server = ModelServer([*messages, *(item(id) for id in range(50))], seed=3)
    keys: list[MessageKey] = [*range(60), CustomId("a"), CustomId("b"), CustomId("c"), CustomId("d")]
    sound = Exchange(keys, server.answer)
    step = itertools.count()
    lost: set[MessageKey] = set()

    def answer(request: Request) -> Response | ProviderError:
        if next(step) != failing:
            return server.answer(request)
        lost.update(keys_of(request))
        return problem

    exchange = Exchange(keys, answer)
    failed = {key for key, end in exchange.ends.items() if isinstance(end, ProviderError)}
    assert failed == lost
    assert bool(lost) == (failing < len(exchange.requests))
    for key in set(keys) - failed:
        assert found_id(exchange.ends[key]) in server.truth(key)
    assert len(sound.requests) >= 4


def test_an_error_is_thrown_out_to_nobody_even_if_it_comes_each_time() -> None:
    keys: list[MessageKey] = [1, CustomId("a"), CustomId("b")]
    assert ask(keys, BROKEN) == dict.fromkeys(keys, BROKEN)
    ends = ask(keys, ok(*repeated("a", 200, 10)), BROKEN, BROKEN)
    assert set(ends.values()) == {BROKEN}


# --- any answer at all ----------------------------------------------------------------------------

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
ANSWERS = st.one_of(
    st.binary(max_size=50).map(lambda content: Response(200, content)),
    JSON.map(lambda value: Response(200, json.dumps(value).encode())),
    st.lists(ITEMS | JSON, max_size=5).map(lambda items: ok(*items)),
    st.lists(ITEMS, min_size=1, max_size=5).map(lambda items: ok(*(items * 200)[:200])),
    st.builds(Response, st.integers(100, 599), st.binary(max_size=10), st.none() | st.floats(0, 100)),
    st.just(BROKEN),
)


@given(
    st.lists(st.sampled_from(ASKED), min_size=1, max_size=6, unique=True),
    st.lists(ANSWERS, min_size=1, max_size=6),
)
@example([1], [Response(200, b'{"id": 1' + b"0" * 5000 + b"}")])
@example([1, 2], [Response(200, b"[" * 100_000)])
@example([1, 2], [Response(200, b'[{"id":1,},' * 50_000)])
@settings(max_examples=500, deadline=None)
def test_any_answer_gives_each_key_an_end(keys: list[MessageKey], answers: list[Response]) -> None:
    rest = itertools.cycle(answers)
    for end in Exchange(keys, lambda _: next(rest)).ends.values():
        if isinstance(end, MessageStatus):
            assert repr(end)
            assert hash(end) == hash(pickle.loads(pickle.dumps(end)))  # noqa: S301 # our own
            for moment in (end.sent_date, end.status_date):
                assert moment is None or moment.utcoffset() is not None
        elif end is not None:
            assert isinstance(end, ProviderError)
            assert str(end).encode()
            assert end.fresh().args == end.args


@given(st.lists(ITEMS, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_good_items_does_not_matter(items: list[Item], chance: random.Random) -> None:
    good = [
        one | {"id": number}
        for number, one in enumerate(items)
        if isinstance(ask([9, number], ok(one | {"id": number}))[number], MessageStatus)
    ]
    keys: list[MessageKey] = [0, 1, 2, CustomId("a"), CustomId("1"), CustomId(".")]
    expected = ask(keys, ok(*good))
    chance.shuffle(good)
    assert ask(keys, ok(*good)) == expected
