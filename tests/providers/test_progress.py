"""Which news of a message or a story count: a maximum, whatever the order."""

from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from statuslookup import CustomId, DeliveryState, GreenAPI, SMSFire, StatusStatistic
from tests.support.tracking import (
    DELIVERED,
    EXPIRED,
    FAILED,
    PENDING,
    READ,
    SENT,
    UNDELIVERED,
    UNKNOWN,
    message,
    story,
)

STATES = st.sampled_from(DeliveryState)


def end_of(provider: Any, news: list[Any]) -> Any:
    known = None
    for status in news:
        known = provider.advance(known, status) or known
    return known


# --- messages -------------------------------------------------------------------------------------


def test_a_message_is_tracked_by_its_id_and_by_its_custom_id() -> None:
    assert SMSFire.keys_of(message(7)) == [7]
    keys = SMSFire.keys_of(message(7, custom_id="order-17"))
    assert keys == [7, CustomId("order-17")]
    assert type(keys[1]) is CustomId
    assert SMSFire.keys_of(message(7, custom_id="no custom id")) == [7]
    with pytest.raises(TypeError, match="a MessageStatus, not dict"):
        SMSFire.keys_of({})  # type: ignore[arg-type] # what a caller may pass


@pytest.mark.parametrize(
    ("known", "news"),
    [
        (UNKNOWN, PENDING),
        (PENDING, SENT),
        (SENT, UNDELIVERED),
        (SENT, EXPIRED),
        (UNDELIVERED, DELIVERED),
        (EXPIRED, DELIVERED),
        (DELIVERED, READ),
    ],
)
def test_a_state_that_is_further_counts_whatever_the_dates_say(
    known: DeliveryState, news: DeliveryState
) -> None:
    earlier, later = message(1, known, seconds=10), message(1, news, seconds=5)
    assert SMSFire.advance(earlier, later) == later
    assert SMSFire.advance(later, earlier) is None


def test_of_equal_states_the_later_counts() -> None:
    earlier, later, undated = (message(1, SENT, seconds=seconds) for seconds in (5, 6, None))
    assert SMSFire.advance(earlier, later) == later
    assert SMSFire.advance(later, earlier) is None
    assert SMSFire.advance(earlier, earlier) is None
    assert SMSFire.advance(undated, earlier) == earlier
    assert SMSFire.advance(None, undated) is undated


def test_what_news_leave_out_is_filled_in() -> None:
    known = message(1, SENT, custom_id="a", phone="5511", country="55", instance_token="T")
    news = message(1, DELIVERED, sent=None, phone="5512")
    assert SMSFire.advance(known, news) == evolve(
        news, custom_id="a", country="55", instance_token="T", sent_date=known.sent_date
    )


def test_of_two_messages_with_one_custom_id_the_one_sent_last_counts() -> None:
    first, second = message(1, READ, custom_id="a", sent=5), message(2, PENDING, custom_id="a", sent=6)
    assert SMSFire.advance(first, second) is second
    assert SMSFire.advance(second, first) is None


def test_a_message_is_over_where_it_was_to_get_or_failed() -> None:
    over = {state for state in DeliveryState if SMSFire.reached(message(1, state), READ)}
    assert over == {READ, UNDELIVERED, DeliveryState.REJECTED, EXPIRED, FAILED}
    assert SMSFire.reached(message(1, DELIVERED), DELIVERED)
    assert not SMSFire.reached(message(1, SENT), DELIVERED)


@given(
    st.lists(
        st.tuples(STATES, st.integers(0, 3) | st.none(), st.integers(1, 2)),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_any_order_and_repetition_of_news_ends_alike(
    news: list[tuple[DeliveryState, int | None, int]], random: Random
) -> None:
    statuses = [message(id, state, custom_id="a", seconds=seconds, sent=id) for state, seconds, id in news]
    shuffled = statuses + random.choices(statuses, k=3)
    random.shuffle(shuffled)
    assert end_of(SMSFire, shuffled) == end_of(SMSFire, statuses)
    # Whatever is lost beside the greatest makes no difference.
    greatest = end_of(SMSFire, statuses)
    some = [status for status in statuses if random.random() < 0.5]
    assert end_of(SMSFire, [*some, greatest, *some]) == greatest


# --- stories --------------------------------------------------------------------------------------


def test_receipts_are_united_by_participant() -> None:
    known = story("S", SENT, DELIVERED, seconds=5)
    assert GreenAPI.keys_of(known) == ["S"]
    united = GreenAPI.advance(known, story("S", READ, first=1))
    assert united is not None
    assert [receipt.state for receipt in united.receipts] == [SENT, READ]
    assert GreenAPI.advance(united, known) is None
    more = GreenAPI.advance(united, story("S", FAILED, first=2))
    assert more is not None
    assert [receipt.state for receipt in more.receipts] == [SENT, READ, FAILED]
    with pytest.raises(TypeError, match="a StatusStatistic, not MessageStatus"):
        GreenAPI.keys_of(message(1))  # type: ignore[arg-type] # what a caller may pass


def test_a_story_that_nobody_knows_is_no_news() -> None:
    assert GreenAPI.advance(None, story("S")) is None


def test_a_receipt_of_nobody_does_not_count() -> None:
    nobody = evolve(story("S", SENT).receipts[0], participant="")
    assert GreenAPI.advance(None, StatusStatistic(id_message="S", receipts=(nobody,))) is None


def test_webhooks_add_no_more_receipts_than_a_story_can_have() -> None:
    """Whoever has the path of the webhooks must not fill the memory by them."""
    known = story("S", *[SENT] * 10_000)
    assert GreenAPI.advance(known, story("S", SENT, first=10_000)) is None
    further = GreenAPI.advance(known, story("S", READ, READ, first=9_999))
    assert further is not None
    assert [receipt.state for receipt in further.receipts[-2:]] == [SENT, READ]
    assert len(further.receipts) == 10_000


def test_problems_stay_until_a_list_of_all_is_without() -> None:
    unreadable = evolve(story("S", DELIVERED, DELIVERED), problems=("participant is empty",))
    known = GreenAPI.advance(None, unreadable)
    assert known is not None
    assert not GreenAPI.reached(known, DELIVERED)
    by_webhook = GreenAPI.advance(known, story("S", READ, first=1))
    assert by_webhook is not None
    assert by_webhook.problems == ("participant is empty",)
    by_lookup = GreenAPI.advance(by_webhook, story("S", DELIVERED, DELIVERED))
    assert by_lookup is not None
    assert by_lookup.problems == ()
    assert GreenAPI.reached(by_lookup, DELIVERED)


def test_a_story_is_over_where_it_is_at_every_recipient() -> None:
    assert GreenAPI.reached(story("S", DELIVERED, READ, FAILED), DELIVERED)
    assert not GreenAPI.reached(story("S", DELIVERED, READ, FAILED), READ)
    assert not GreenAPI.reached(story("S", DELIVERED, SENT), DELIVERED)
    assert not GreenAPI.reached(story("S"), DELIVERED)


@given(
    st.lists(st.tuples(STATES, st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_any_order_and_repetition_of_receipts_ends_alike(
    news: list[tuple[DeliveryState, int, int]], random: Random
) -> None:
    statuses = [story("S", state, seconds=seconds, first=number) for state, seconds, number in news]
    shuffled = statuses + random.choices(statuses, k=3)
    random.shuffle(shuffled)
    assert set(end_of(GreenAPI, shuffled).receipts) == set(end_of(GreenAPI, statuses).receipts)


# --- shares ---------------------------------------------------------------------------------------


def test_a_share_counts_who_got_as_far() -> None:
    statistic = story("S", SENT, DELIVERED, READ, FAILED, UNKNOWN)
    shares = {state: statistic.share(state) for state in (SENT, DELIVERED, READ, FAILED, EXPIRED)}
    assert shares == {SENT: 0.6, DELIVERED: 0.4, READ: 0.2, FAILED: 0.2, EXPIRED: 0.0}
    assert story("S").share(READ) == 0.0
    with pytest.raises(TypeError, match=r"DeliveryState\.READ, not str"):
        statistic.share("READ")  # type: ignore[arg-type] # what a caller may pass
