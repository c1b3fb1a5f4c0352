"""The values: what they accept, what they show, and that they stay as they are."""

import copy
import pickle
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup import (
    ClientStats,
    ClosedError,
    CustomId,
    DeliveryState,
    MessageStatus,
    Outcome,
    RateLimit,
    Receipt,
    StatusStatistic,
)
from statuslookup._model import checked_rate_limit, draft_of
from tests.support.refusals import not_refused, refusal

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
STATUS = MessageStatus(
    id=1,
    custom_id="firezap0001",
    instance_token="canary",
    status_code=2,
    status_name="DELIVERED",
    sent_date=datetime(2021, 8, 6, tzinfo=UTC),
    state=DeliveryState.DELIVERED,
)


# --- DeliveryState --------------------------------------------------------------------------------


def test_the_states_are_the_promised_ones_and_are_their_own_names() -> None:
    names = [
        "PENDING",
        "SENT",
        "DELIVERED",
        "READ",
        "UNDELIVERED",
        "REJECTED",
        "EXPIRED",
        "FAILED",
        "UNKNOWN",
    ]
    assert [state.value for state in DeliveryState] == names
    assert [str(state) for state in DeliveryState] == names
    assert f"{DeliveryState.READ}" == "READ"


def test_a_state_is_final_unless_more_can_follow() -> None:
    assert [str(state) for state in DeliveryState if not state.is_final] == ["PENDING", "SENT", "UNKNOWN"]


# --- CustomId -------------------------------------------------------------------------------------


@given(st.text(ALPHABET, min_size=1, max_size=40))
def test_a_custom_id_is_its_text(text: str) -> None:
    custom_id = CustomId(text)
    assert custom_id == text
    assert hash(custom_id) == hash(text)
    assert str(custom_id) == text
    assert {text: 1}[custom_id] == 1
    assert CustomId(custom_id) == custom_id
    assert repr(custom_id) == f"CustomId({text!r})"


@given(st.text(max_size=60))
def test_every_other_text_is_refused(text: str) -> None:
    is_good = 1 <= len(text) <= 40 and set(text) <= set(ALPHABET)
    if is_good:
        CustomId(text)
    else:
        with pytest.raises(ValueError, match="1 to 40 letters"):
            CustomId(text)


def test_what_could_change_a_path_or_is_not_ascii_is_refused() -> None:
    texts = ["", "a b", "a" * 41, "abc\n", "\nabc", "a/b", "é", "\u0661", "a\x00", "a%2F", "\ud800", "\uff41"]
    expected = "ValueError: a customId has 1 to 40 letters, digits, '-', '_' or '.', and nothing else"
    assert not_refused(CustomId, texts, expected) == []


def test_the_text_about_a_bad_custom_id_stays_short() -> None:
    said = refusal(CustomId, "x" * 1_000_000)
    assert "(1000000 characters)" in said
    assert len(said) < 300


def test_a_custom_id_is_made_from_a_str_only() -> None:
    assert not_refused(CustomId, [1, None, b"abc", 1.5, ["a"]], "TypeError: a customId is a str, not ") == []


def test_a_custom_id_survives_copies_and_pickles_as_what_it_is() -> None:
    custom_id = CustomId("a-1")
    pickles = [pickle.dumps(custom_id, protocol) for protocol in range(2, 6)]
    twins = [pickle.loads(each) for each in pickles]  # noqa: S301 # our own
    for twin in (*twins, copy.copy(custom_id), copy.deepcopy(custom_id)):
        assert type(twin) is CustomId
        assert twin == custom_id


def test_a_custom_id_carries_no_attributes() -> None:
    with pytest.raises(AttributeError):
        CustomId("a").note = "x"  # type: ignore[attr-defined] # the mistake under test


# --- MessageStatus and Outcome --------------------------------------------------------------------


def test_a_status_is_frozen_hashable_and_equal_by_value() -> None:
    assert attrs.evolve(STATUS) == STATUS
    assert len({STATUS, attrs.evolve(STATUS)}) == 1
    assert attrs.evolve(STATUS, status_code=3) != STATUS
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        STATUS.state = DeliveryState.READ  # type: ignore[misc] # the mistake under test


def test_a_status_does_not_show_the_instance_token() -> None:
    assert "canary" not in repr(STATUS) + str(STATUS) + f"{STATUS}"
    assert STATUS.instance_token == "canary"


def test_a_status_needs_no_more_than_an_id() -> None:
    status = MessageStatus(id=7)
    assert status.state is DeliveryState.UNKNOWN
    left_out = attrs.asdict(status, filter=lambda attribute, _: attribute.name not in ("id", "state"))
    assert set(left_out.values()) == {None, ()}
    with pytest.raises(TypeError):
        MessageStatus(7)  # type: ignore[call-arg] # the mistake under test


def test_a_status_survives_a_pickle() -> None:
    assert pickle.loads(pickle.dumps(STATUS)) == STATUS  # noqa: S301 # our own


def test_an_outcome_is_a_key_and_its_status_or_its_error() -> None:
    assert Outcome(1) == Outcome(1, None, None)
    outcome: Outcome[int, MessageStatus] = Outcome(1, STATUS)
    assert outcome.status is STATUS
    error = ClosedError("closed")
    assert Outcome(1, error=error).error is error
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        outcome.status = STATUS  # type: ignore[misc] # the mistake under test


def test_a_draft_becomes_a_value_like_any_other() -> None:
    draft = object.__new__(draft_of(Outcome))
    draft.key, draft.status, draft.error = 1, STATUS, None
    draft.__class__ = Outcome
    assert (draft, repr(draft), hash(draft)) == (one := Outcome(1, STATUS), repr(one), hash(one))
    assert pickle.loads(pickle.dumps(draft)) == one  # noqa: S301 # our own
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        draft.key = 2
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del draft.key


# --- StatusStatistic ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "problems", "state"),
    [
        ("", (), None),
        ("READ", (), "READ"),
        ("READ DELIVERED", (), "DELIVERED"),
        ("DELIVERED FAILED READ", (), "FAILED"),
        ("FAILED SENT", (), "SENT"),
        ("SENT UNKNOWN", (), "UNKNOWN"),
        ("READ", ("timestamp is no number",), "UNKNOWN"),
        (" ".join(DeliveryState), (), "UNKNOWN"),
    ],
)
def test_a_story_is_as_far_as_its_last_recipient(
    states: str, problems: tuple[str, ...], state: str | None
) -> None:
    receipts = tuple(Receipt(participant="a", state=DeliveryState(each)) for each in states.split())
    assert StatusStatistic(id_message="B", receipts=receipts, problems=problems).state == state


@pytest.mark.parametrize("state", list(DeliveryState))
def test_recipients_who_are_all_as_far_are_the_storys_state(state: DeliveryState) -> None:
    receipts = (Receipt(participant="a", state=state),) * 2
    assert StatusStatistic(id_message="B", receipts=receipts).state is state


# --- RateLimit and ClientStats --------------------------------------------------------------------


def test_a_rate_limit_counts_in_any_unit() -> None:
    assert RateLimit(2).interval == 0.5
    assert RateLimit(2, 1) == RateLimit(2, per=1.0)
    assert RateLimit(1, per=60).interval == 60
    assert RateLimit(0.5).interval == 2


@pytest.mark.parametrize("name", ["limit", "per"])
def test_a_rate_limit_is_made_of_finite_numbers_above_zero(name: str) -> None:
    def rate_limit(value: float) -> RateLimit:
        return RateLimit(**{"limit": 1, "per": 1, name: value})

    numbers = [0, -1, float("inf"), float("-inf"), float("nan")]
    assert not_refused(rate_limit, numbers, f"ValueError: {name} must be above 0 and finite, not ") == []
    assert not_refused(rate_limit, [True, "2", None, 2j], f"TypeError: {name} is a number, not ") == []


def test_what_is_no_rate_limit_is_refused_where_one_is_wanted() -> None:
    assert checked_rate_limit(RateLimit(2)) == RateLimit(2)
    assert checked_rate_limit(None) is None
    expected = "TypeError: rate_limit is a RateLimit or None, not "
    assert not_refused(checked_rate_limit, [2, 2.0, "2", (2, 1), False], expected) == []


def test_keys_a_request_is_an_average_also_before_the_first_request() -> None:
    assert ClientStats().keys_per_request == 0.0
    assert ClientStats(requests=4, keys_sent=10).keys_per_request == 2.5
