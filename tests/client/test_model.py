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


@pytest.mark.parametrize("state", list(DeliveryState))
def test_a_state_is_final_unless_more_can_follow(state: DeliveryState) -> None:
    assert state.is_final is (state.name not in {"PENDING", "SENT", "UNKNOWN"})


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


@pytest.mark.parametrize(
    "text", ["", "a b", "a" * 41, "abc\n", "\nabc", "a/b", "é", "\u0661", "a\x00", "a%2F", "\ud800", "\uff41"]
)
def test_what_could_change_a_path_or_is_not_ascii_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"1 to 40 letters, digits, '-', '_' or '\.', and nothing else"):
        CustomId(text)


def test_the_text_about_a_bad_custom_id_stays_short() -> None:
    with pytest.raises(ValueError, match=r"\(1000000 characters\)") as caught:
        CustomId("x" * 1_000_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [1, None, b"abc", 1.5, ["a"]])
def test_a_custom_id_is_made_from_a_str_only(value: object) -> None:
    with pytest.raises(TypeError, match=f"a customId is a str, not {type(value).__name__}"):
        CustomId(value)  # type: ignore[arg-type] # the mistake under test


def test_a_custom_id_survives_copies_and_pickles_as_what_it_is() -> None:
    custom_id = CustomId("a-1")
    for twin in (
        copy.copy(custom_id),
        copy.deepcopy(custom_id),
        *(pickle.loads(pickle.dumps(custom_id, protocol)) for protocol in range(2, 6)),  # noqa: S301 # our own
    ):
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
    assert "canary" not in repr(STATUS)
    assert "canary" not in str(STATUS)
    assert "canary" not in f"{STATUS}"
    assert STATUS.instance_token == "canary"


def test_a_status_needs_no_more_than_an_id() -> None:
    status = MessageStatus(id=7)
    assert status.state is DeliveryState.UNKNOWN
    left_out = attrs.asdict(status, filter=lambda attribute, _: attribute.name not in ("id", "state"))
    assert set(left_out.values()) == {None}
    with pytest.raises(TypeError):
        MessageStatus(7)  # type: ignore[call-arg] # the mistake under test


def test_a_status_survives_a_pickle() -> None:
    assert pickle.loads(pickle.dumps(STATUS)) == STATUS  # noqa: S301 # our own


def test_an_outcome_is_a_key_and_one_end() -> None:
    assert Outcome(1) == Outcome(1, None, None)
    outcome: Outcome[int, MessageStatus] = Outcome(1, STATUS)
    assert outcome.status is STATUS
    error = ClosedError("closed")
    assert Outcome(1, error=error).error is error
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        outcome.status = STATUS  # type: ignore[misc] # the mistake under test


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


@pytest.mark.parametrize("value", [0, -1, 0.0, float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("name", ["limit", "per"])
def test_a_rate_limit_is_above_zero_and_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above 0 and finite"):
        RateLimit(**{"limit": 1, "per": 1, name: value})


@pytest.mark.parametrize("value", [True, "2", None, 2j])
@pytest.mark.parametrize("name", ["limit", "per"])
def test_a_rate_limit_is_made_of_numbers(name: str, value: object) -> None:
    arguments: dict[str, object] = {"limit": 1, "per": 1, name: value}
    with pytest.raises(TypeError, match=f"{name} is a number, not {type(value).__name__}"):
        RateLimit(**arguments)  # type: ignore[arg-type] # the mistake under test


def test_keys_a_request_is_an_average_also_before_the_first_request() -> None:
    assert ClientStats().keys_per_request == 0.0
    assert ClientStats(requests=4, keys_sent=10).keys_per_request == 2.5
