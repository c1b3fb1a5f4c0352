"""SMSFire's exchange, driven by hand: requests out, answers in, no socket and no clock."""

import enum
import itertools
import json
import pickle
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from statuslookup import (
    AuthenticationError,
    CustomId,
    DecodeError,
    DeliveryState,
    MessageStatus,
    ProviderError,
    QuotaExceededError,
    RateLimit,
    RateLimitedError,
    RejectedError,
    ResponseError,
    ServerError,
    SMSFire,
    StatusLookupError,
    TransportError,
)
from statuslookup._wire import PLACEHOLDER, Request, Response
from statuslookup.smsfire import MessageKey

End: TypeAlias = MessageStatus | StatusLookupError | None
Item: TypeAlias = dict[str, Any]

SMSFIRE = SMSFire("canary")
NOTHING_FOUND = Response(204)
BROKEN = TransportError("the connection broke", provider="SMSFire")


class Exchange:
    """Runs one exchange against a function that answers, and keeps the requests."""

    def __init__(
        self, keys: Sequence[MessageKey], answer: Callable[[Request], Response | ProviderError]
    ) -> None:
        self.requests: list[Request] = []
        self.ends: dict[MessageKey, End] = {}
        exchange = SMSFIRE.exchange(keys)
        request = next(exchange)
        while True:
            self.requests.append(request)
            assert len(self.requests) <= most_requests(keys)
            reply = answer(request)
            try:
                request = exchange.throw(reply) if isinstance(reply, ProviderError) else exchange.send(reply)
            except StopIteration as end:
                self.ends = end.value
                break
        assert set(self.ends) == set(keys)

    @property
    def ids(self) -> dict[MessageKey, int | None]:
        return {key: found_id(end) for key, end in self.ends.items()}


def most_requests(keys: Sequence[MessageKey]) -> int:
    """Each request settles a key or divides a group of keys, and a lone key may be asked twice."""
    return max(2, 2 * len(keys) - 1)


def found_id(end: End) -> int | None:
    assert end is None or isinstance(end, MessageStatus), repr(end)
    return None if end is None else end.id


def in_turn(*replies: Response | ProviderError) -> Callable[[Request], Response | ProviderError]:
    """Answer with each of the replies, and fail if more is asked."""
    rest = iter(replies)
    return lambda _: next(rest)


def ok(*items: Any) -> Response:
    return Response(200, json.dumps(items).encode())


def item(id: Any, custom_id: str | None = None, sent: str | None = None, **more: Any) -> Item:
    fields = {"id": id, "customId": custom_id, "sentDate": sent, **more}
    return {name: value for name, value in fields.items() if value is not None}


def ask(keys: Sequence[MessageKey], *replies: Response | ProviderError) -> dict[MessageKey, End]:
    """Return the ends of the keys, after exactly these replies."""
    exchange = Exchange(keys, in_turn(*replies))
    assert len(exchange.requests) == len(replies)
    return exchange.ends


def searched(request: Request) -> dict[str, list[str]]:
    assert (request.method, request.path) == ("POST", "/whatsapp/status/search")
    assert request.content is not None
    wanted: dict[str, list[str]] = json.loads(request.content)
    return wanted


def keys_of(request: Request) -> list[MessageKey]:
    if request.method == "GET":
        name = request.path.rpartition("/")[2]
        return [int(name) if name.isdigit() else CustomId(name)]
    wanted = searched(request)
    return [*map(int, wanted.get("ids", [])), *map(CustomId, wanted.get("customIds", []))]


# --- which keys go by GET, which by POST ----------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (1, "/whatsapp/status/1"),
        (0, "/whatsapp/status/0"),
        (10**40 - 1, f"/whatsapp/status/{10**40 - 1}"),
        (CustomId("firezap0001"), "/whatsapp/status/firezap0001"),
        (CustomId("1a"), "/whatsapp/status/1a"),
        (CustomId("1.5"), "/whatsapp/status/1.5"),
        (CustomId("-1"), "/whatsapp/status/-1"),
        (CustomId("..."), "/whatsapp/status/..."),
        (CustomId(".a"), "/whatsapp/status/.a"),
    ],
)
def test_one_key_that_means_one_thing_goes_by_get(key: MessageKey, path: str) -> None:
    assert next(SMSFIRE.exchange([key])) == Request("GET", path, authorization=f"Basic {PLACEHOLDER}")


@pytest.mark.parametrize("key", ["1", "000001", "0" * 40, ".", ".."])
def test_one_custom_id_that_could_be_an_id_or_a_path_goes_by_post(key: str) -> None:
    assert searched(next(SMSFIRE.exchange([CustomId(key)]))) == {"customIds": [key]}


def test_the_custom_id_search_goes_by_post() -> None:
    assert searched(next(SMSFIRE.exchange([CustomId("search")]))) == {"customIds": ["search"]}


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ([1, CustomId("firezap0002")], {"ids": ["1"], "customIds": ["firezap0002"]}),
        ([2, 1], {"ids": ["2", "1"]}),
        ([CustomId("b"), CustomId("a")], {"customIds": ["b", "a"]}),
        ([1, CustomId("1")], {"ids": ["1"], "customIds": ["1"]}),
    ],
)
def test_many_keys_go_by_post_with_ids_as_strings_and_no_empty_list(
    keys: list[MessageKey], wanted: dict[str, list[str]]
) -> None:
    request = next(SMSFIRE.exchange(keys))
    assert searched(request) == wanted
    assert request.authorization == f"Basic {PLACEHOLDER}"
    assert request.query == ""


def test_a_full_batch_is_one_request() -> None:
    keys = list(range(200))
    exchange = Exchange(keys, in_turn(ok(*(item(key) for key in keys))))
    assert exchange.ids == {key: key for key in keys}
    assert len(searched(exchange.requests[0])["ids"]) == 200


def test_the_token_is_in_no_request() -> None:
    groups: list[list[MessageKey]] = [[1], [CustomId("a")], [1, CustomId("a")]]
    for keys in groups:
        assert "canary" not in repr(next(SMSFIRE.exchange(keys)))


# --- what answers mean ----------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [[1], [CustomId("a")], [1, 2, CustomId("a")]])
@pytest.mark.parametrize("reply", [NOTHING_FOUND, Response(200, b"[]"), Response(204, b"ignored")])
def test_nothing_found_is_none_for_every_key(keys: list[MessageKey], reply: Response) -> None:
    assert ask(keys, reply) == dict.fromkeys(keys)


@pytest.mark.parametrize("keys", [[1], [1, 2]])
def test_one_message_may_come_as_an_object_or_in_an_array(keys: list[MessageKey]) -> None:
    content = json.dumps(item(1, statusCode=2)).encode()
    for body in (content, b"[" + content + b"]"):
        end = ask(keys, Response(200, body))[1]
        assert isinstance(end, MessageStatus)
        assert end.state is DeliveryState.DELIVERED


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_items_are_matched_in_any_order(order: tuple[int, ...]) -> None:
    items = [item(1, "x"), item(2, "a"), item(3)]
    ends = Exchange([3, CustomId("a"), 1, 4], in_turn(ok(*(items[place] for place in order)))).ids
    assert ends == {3: 3, CustomId("a"): 2, 1: 1, 4: None}


@pytest.mark.parametrize(
    "body", [b'{"id": 000001}', b'[{"id": 000001,},]', b'{"id": "000001"}', b'{"id": 1}']
)
def test_leading_zeros_are_the_same_id(body: bytes) -> None:
    assert found_id(ask([1], Response(200, body))[1]) == 1
    assert found_id(ask([1, 2], Response(200, body))[1]) == 1


def test_one_message_asked_by_id_and_by_custom_id_is_the_end_of_both() -> None:
    ends = Exchange([1, CustomId("a")], in_turn(ok(item(1, "a")))).ids
    assert ends == {1: 1, CustomId("a"): 1}


def test_a_numeric_custom_id_is_not_the_id_of_the_same_digits() -> None:
    ends = Exchange([5, CustomId("5")], in_turn(ok(item(77, "5"), item(5, "x")))).ids
    assert ends == {5: 5, CustomId("5"): 77}
    assert Exchange([5, 6], in_turn(ok(item(77, "5")))).ids == {5: None, 6: None}
    assert Exchange([CustomId("5"), CustomId("6")], in_turn(ok(item(5)))).ids == {
        CustomId("5"): None,
        CustomId("6"): None,
    }


def test_foreign_items_are_ignored() -> None:
    assert Exchange([1, CustomId("a")], in_turn(ok(item(9, "z"), item(1), item(8)))).ids == {
        1: 1,
        CustomId("a"): None,
    }


def test_a_custom_id_is_compared_letter_by_letter() -> None:
    assert Exchange([CustomId("a"), 1], in_turn(ok(item(2, "A")))).ids == {CustomId("a"): None, 1: None}


def test_all_documented_fields_are_read() -> None:
    status = ask(
        [7, 8],
        ok(
            item(
                "7",
                "c",
                "2021-08-06T09:58:53-0300",
                instanceToken="t",
                messageType="TEXT",
                country=55,
                phone=5511944556677,
                statusCode="2",
                statusName="DELIVERED",
                statusDate="2021-08-06T09:59:02-0300",
                somethingNew=[1],
            )
        ),
    )[7]
    zone = datetime.fromisoformat("2021-08-06T09:58:53-03:00").tzinfo
    assert status == MessageStatus(
        id=7,
        custom_id="c",
        instance_token="t",
        message_type="TEXT",
        country="55",
        phone="5511944556677",
        status_code=2,
        status_name="DELIVERED",
        status_date=datetime(2021, 8, 6, 9, 59, 2, tzinfo=zone),
        sent_date=datetime(2021, 8, 6, 9, 58, 53, tzinfo=zone),
        state=DeliveryState.DELIVERED,
    )


@pytest.mark.parametrize(
    ("code", "name", "state"),
    [
        (0, "PENDING", DeliveryState.PENDING),
        (1, "ACCEPTED", DeliveryState.SENT),
        (2, "DELIVERED", DeliveryState.DELIVERED),
        (3, "UNDELIVERED", DeliveryState.UNDELIVERED),
        (4, "REJECTED", DeliveryState.REJECTED),
        (5, "EXPIRED", DeliveryState.EXPIRED),
        (6, "READ", DeliveryState.READ),
        (99, "read", DeliveryState.READ),
        (2, None, DeliveryState.DELIVERED),
        ("2", "NONSENSE", DeliveryState.DELIVERED),
        (None, "EXPIRED", DeliveryState.EXPIRED),
        ("", "ACCEPTED", DeliveryState.SENT),
        (99, "NONSENSE", DeliveryState.UNKNOWN),
        (-1, "", DeliveryState.UNKNOWN),
        (None, None, DeliveryState.UNKNOWN),
        (99, "UNKNOWN", DeliveryState.UNKNOWN),
    ],
)
def test_a_state_comes_from_the_code_or_else_from_the_name(
    code: Any, name: str | None, state: DeliveryState
) -> None:
    end = ask([1, 2], ok(item(1, statusCode=code, statusName=name)))[1]
    assert isinstance(end, MessageStatus)
    assert (end.state, end.status_name) == (state, name)
    assert end.status_code == (int(code) if code not in (None, "") else None)


# --- an id that is another message's customId -----------------------------------------------------


@pytest.mark.parametrize("stray", [item(77, "5"), item(77)])
def test_an_id_that_comes_back_as_another_message_is_asked_by_post(stray: Item) -> None:
    exchange = Exchange([5], in_turn(ok(stray), ok(stray, item(5))))
    assert exchange.ids == {5: 5}
    assert [request.method for request in exchange.requests] == ["GET", "POST"]
    assert searched(exchange.requests[1]) == {"ids": ["5"]}


def test_an_id_that_only_another_message_has_as_custom_id_is_unknown() -> None:
    assert ask([5], ok(item(77, "5")), NOTHING_FOUND) == {5: None}
    assert ask([5], ok(item(77, "5")), ok(item(77, "5"))) == {5: None}


def test_a_failure_on_the_second_way_is_the_end_of_the_key() -> None:
    assert ask([5], ok(item(77, "5")), BROKEN) == {5: BROKEN}
    assert isinstance(ask([5], ok(item(77, "5")), Response(500))[5], ServerError)


# --- several messages with one customId -----------------------------------------------------------

AT_TEN = "2021-08-06T10:00:00-0300"


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
        assert Exchange([1, CustomId("a")], in_turn(ok(*order))).ids == {1: 1, CustomId("a"): 2}


# --- a full answer leaves doubt -------------------------------------------------------------------


class ModelServer:
    """Finds messages as SMSFire does: each at most once, in no certain order, and never more than 200."""

    def __init__(self, messages: Iterable[Item], seed: int) -> None:
        self.messages = list(messages)
        self.chance = random.Random(seed)

    def answer(self, request: Request) -> Response:
        wanted = keys_of(request)
        ids = {key for key in wanted if isinstance(key, int)}
        names = {key for key in wanted if isinstance(key, str)} | (
            {str(key) for key in ids} if request.method == "GET" else set()
        )
        found = [one for one in self.messages if one["id"] in ids or one.get("customId") in names]
        if request.method == "GET":
            # What an ambiguous path means is undocumented; here the customId goes first.
            named = [one for one in found if one.get("customId") in names]
            found = [max(named or found, key=sent)] if found else []
        self.chance.shuffle(found)
        return ok(*found[:200]) if found else NOTHING_FOUND

    def truth(self, key: MessageKey) -> set[int | None]:
        """Return what may be the end of the key: one message, or any of more than an answer can hold."""
        if isinstance(key, int):
            return {one["id"] for one in self.messages if one["id"] == key} or {None}
        named = [one for one in self.messages if one.get("customId") == key]
        if len(named) > 200:
            return {one["id"] for one in named}
        return {max(named, key=sent)["id"]} if named else {None}


def sent(message: Item) -> tuple[datetime, int]:
    return datetime.fromisoformat(message["sentDate"]), message["id"]


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
@settings(max_examples=150, deadline=None)
def test_every_key_gets_its_message_however_often_custom_ids_repeat(
    campaign: tuple[list[MessageKey], ModelServer],
) -> None:
    keys, server = campaign
    ids = Exchange(keys, server.answer).ids
    wrong = {key: id for key, id in ids.items() if id not in server.truth(key)}
    assert wrong == {}


def repeated(name: str, times: int, first_id: int) -> list[Item]:
    start = datetime(2021, 8, 6, tzinfo=UTC)
    return [
        item(first_id + number, name, (start + timedelta(seconds=number)).isoformat())
        for number in range(times)
    ]


def test_keys_that_a_repeated_custom_id_pushed_out_are_asked_again() -> None:
    server = ModelServer([*repeated("often", 300, 1000), *(item(id) for id in range(150))], seed=1)
    exchange = Exchange([*range(150), CustomId("often"), CustomId("never")], server.answer)
    assert {key: id for key, id in exchange.ids.items() if isinstance(key, int)} == {
        id: id for id in range(150)
    }
    assert exchange.ids[CustomId("never")] is None
    assert exchange.ids[CustomId("often")] in range(1000, 1300)
    assert len(exchange.requests) <= 12


def test_only_what_is_in_doubt_is_asked_again() -> None:
    keys: list[MessageKey] = [*range(100), CustomId("often"), 100, CustomId("never")]
    exchange = Exchange(
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


def test_a_full_answer_that_says_nothing_new_is_divided() -> None:
    server = ModelServer([*repeated("a", 150, 0), *repeated("b", 150, 1000)], seed=2)
    exchange = Exchange([CustomId("a"), CustomId("b")], server.answer)
    assert exchange.ids == {CustomId("a"): 149, CustomId("b"): 1149}
    assert len(exchange.requests) == 3


def test_what_fills_the_answers_is_asked_apart_from_the_rest() -> None:
    server = ModelServer(repeated("often", 300, 0), seed=4)
    names = [CustomId("often"), *(CustomId(f"never{number}") for number in range(64))]
    exchange = Exchange(names, server.answer)
    assert [len(keys_of(request)) for request in exchange.requests] == [65, 64, 1]


def test_an_answer_one_short_of_full_is_complete() -> None:
    keys: list[MessageKey] = [CustomId("a"), 5000]
    assert Exchange(keys, in_turn(ok(*repeated("a", 199, 0)))).ids == {CustomId("a"): 198, 5000: None}


def test_a_lone_custom_id_with_more_messages_than_an_answer_holds_gets_the_last_of_those() -> None:
    # Not a path, because its digits could be an id.
    assert Exchange([CustomId("1")], in_turn(ok(*repeated("1", 200, 0)))).ids == {CustomId("1"): 199}


def test_a_full_answer_about_others_is_no_proof_that_a_message_is_unknown() -> None:
    foreign = [item(id) for id in range(1000, 1200)]
    end = ask([CustomId("1")], ok(*foreign))[CustomId("1")]
    assert isinstance(end, DecodeError)
    assert "full" in str(end)


def test_a_server_that_always_fills_its_answers_with_others_ends_too() -> None:
    foreign = ok(*(item(id) for id in range(1000, 1200)))
    exchange = Exchange([*range(100), *(CustomId(f"a{n}") for n in range(100))], lambda _: foreign)
    assert all(isinstance(end, DecodeError) for end in exchange.ends.values())


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

KEYS: list[list[MessageKey]] = [[1], [CustomId("a")], [1, CustomId("a"), 2]]


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


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [0, 1, 10**40 - 1, CustomId("a"), CustomId("1"), CustomId("x" * 40)])
def test_a_good_key_is_returned(key: MessageKey) -> None:
    assert SMSFIRE.check(key) == key


@pytest.mark.parametrize(
    ("key", "kind", "text"),
    [
        (
            "abc",
            TypeError,
            r"^a plain str could be an id or a customId: write int\('abc'\) or CustomId\('abc'\)$",
        ),
        ("", TypeError, "CustomId"),
        ("x" * 10**6, TypeError, r"^.{1,300}$"),
        (True, TypeError, "an SMSFire key is an int or a CustomId, not bool"),
        (None, TypeError, "an SMSFire key is an int or a CustomId, not NoneType"),
        (b"1", TypeError, "an SMSFire key is an int or a CustomId, not bytes"),
        (1.0, TypeError, "an SMSFire key is an int or a CustomId, not float"),
        ([1], TypeError, "an SMSFire key is an int or a CustomId, not list"),
        (-1, ValueError, "an SMSFire id is not negative"),
        (10**40, ValueError, "an SMSFire id has at most 40 digits"),
        (10**4400, ValueError, "an SMSFire id has at most 40 digits"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_bad_key_is_refused_with_what_to_write_instead(key: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        SMSFIRE.check(key)
    assert type(caught.value) is kind


def test_a_very_negative_id_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="an SMSFire id is not negative"):
        SMSFIRE.check(-(10**4400))


class Order(int, enum.Enum):
    FIRST = 5


def test_an_int_with_a_name_of_its_own_is_sent_as_its_digits() -> None:
    key = SMSFIRE.check(Order.FIRST)
    assert next(SMSFIRE.exchange([key])).path == "/whatsapp/status/5"
    assert searched(next(SMSFIRE.exchange([key, 7]))) == {"ids": ["5", "7"]}


# --- the provider itself --------------------------------------------------------------------------


def test_the_defaults_are_the_documented_ones() -> None:
    assert SMSFIRE.base_url == "https://api-v2.smsfire.com.br"
    assert SMSFIRE.rate_limit == RateLimit(2, per=1.0)
    assert SMSFIRE.max_batch == 200
    assert SMSFIRE.secret.reveal() == "canary"


def test_the_token_is_in_no_text_and_no_pickle() -> None:
    for shown in (repr(SMSFIRE), str(SMSFIRE), f"{SMSFIRE}", repr(vars(SMSFIRE)), repr(SMSFIRE.budget)):
        assert "canary" not in shown
    with pytest.raises(TypeError, match="a secret cannot be pickled"):
        pickle.dumps(SMSFIRE)


@pytest.mark.parametrize(
    "token", ["", "Basic canary", "canary\n", "canary\r\nX: y", "canáry", " canary", "canary\x00"]
)
def test_a_bad_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError, match="token must be SMSFire's token alone") as caught:
        SMSFire(token)
    assert "canary" not in str(caught.value)
    assert "canáry" not in str(caught.value)


@pytest.mark.parametrize("token", [None, b"canary", 1])
def test_a_token_is_a_str(token: Any) -> None:
    with pytest.raises(TypeError, match=f"token is a str, not {type(token).__name__}"):
        SMSFire(token)


@pytest.mark.parametrize("max_batch", [0, -1, 201])
def test_a_batch_has_1_to_200_keys(max_batch: int) -> None:
    with pytest.raises(ValueError, match="max_batch must be 1 to 200"):
        SMSFire("t", max_batch=max_batch)


@pytest.mark.parametrize("max_batch", [1.5, "5", True, None])
def test_a_batch_is_counted_in_ints(max_batch: Any) -> None:
    with pytest.raises(TypeError, match="max_batch is an int"):
        SMSFire("t", max_batch=max_batch)


@pytest.mark.parametrize("rate_limit", [2, 2.0, "2", (2, 1)])
def test_a_rate_limit_is_a_rate_limit(rate_limit: Any) -> None:
    with pytest.raises(TypeError, match="rate_limit is a RateLimit or None"):
        SMSFire("t", rate_limit=rate_limit)


def test_credentials_do_not_go_over_plain_http() -> None:
    with pytest.raises(ValueError, match="base_url must be https"):
        SMSFire("t", base_url="http://api-v2.smsfire.com.br")
    assert SMSFire("t", base_url="http://localhost:1/").base_url == "http://localhost:1"


def test_one_host_is_one_budget_whatever_the_token() -> None:
    budget = SMSFire("t", base_url="https://EXAMPLE.com/v2", rate_limit=None).budget
    assert budget == SMSFire("u", base_url="https://example.com").budget
    assert budget != SMSFIRE.budget
    assert hash(budget) == hash(SMSFire("u", base_url="https://example.com").budget)


def refusing(bad: set[int], status: int = 400) -> tuple[list[int], Callable[[Request], Response]]:
    """Return a server that refuses a request with a bad id in it, and the sizes of the requests it got."""
    sizes: list[int] = []

    def answer(request: Request) -> Response:
        keys = [int(str(key)) for key in keys_of(request)]
        sizes.append(len(keys))
        return Response(status) if bad & set(keys) else ok(*(item(key) for key in keys))

    return sizes, answer


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("bad", [{0}, {77}, {199}, {3, 150}])
def test_a_refused_batch_is_divided_until_the_bad_key_is_alone(status: int, bad: set[int]) -> None:
    sizes, answer = refusing(bad, status)
    results = Exchange(list(range(200)), answer).ends
    for key, end in results.items():
        if key in bad:
            assert isinstance(end, RejectedError)
            assert end.status_code == status
        else:
            assert isinstance(end, MessageStatus)
    assert len(sizes) <= 1 + 16 * len(bad)


def test_a_refusal_of_everything_is_not_about_a_key() -> None:
    sizes, answer = refusing(set(range(200)))
    results = Exchange(list(range(200)), answer).ends
    assert all(isinstance(end, RejectedError) for end in results.values())
    assert len(sizes) <= 60


def test_another_refusal_is_not_divided() -> None:
    sizes, answer = refusing({5}, 404)
    results = Exchange(list(range(200)), answer).ends
    assert all(isinstance(end, RejectedError) for end in results.values())
    assert sizes == [200]
