"""Keys and statuses as a store keeps them."""

from typing import Any

import pytest
from attrs import evolve

from statuslookup import CustomId, GreenAPI, Row, SMSFire
from statuslookup.tracker.rows import key_of_text, status_of_text, text_of_key, text_of_status
from tests.support.tracking import READ, SENT, message, story

SMSFIRE, GREENAPI = SMSFire("token"), GreenAPI(1101000001, "token")


class Courier:
    """A provider whose answers are states, which a store can keep; ``None`` is none."""

    @staticmethod
    def answer_to_json(answer: Any) -> Any:
        return {"state": answer.lower()}

    @staticmethod
    def answer_from_json(value: Any) -> Any:
        return value["state"].upper()


@pytest.mark.parametrize(("key", "text"), [(42, "i:42"), (CustomId("a-1"), "c:a-1"), ("BAE5:x", "s:BAE5:x")])
def test_keys_as_text(key: Any, text: str) -> None:
    assert text_of_key(key) == text
    assert (key_of_text(text), type(key_of_text(text))) == (key, type(key))


@pytest.mark.parametrize("bad", ["", "x:1", "i:", "i:a", "c:no custom id"])
def test_texts_that_are_no_keys(bad: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        key_of_text(bad)
    with pytest.raises(TypeError, match="int, CustomId or str, not tuple"):
        text_of_key((1, 2))


def test_statuses_as_text_are_without_the_instances_token() -> None:
    status = message(1, READ, custom_id="a", phone="5511", instance_token="SECRET", problems=("country",))
    text = text_of_status(SMSFIRE, status)
    assert text is not None
    assert "SECRET" not in text
    assert status_of_text(SMSFIRE, text) == evolve(status, instance_token=None)
    # Half a surrogate pair, which JSON can bring, and UTF-8 and SQLite cannot hold.
    torn = message(1, READ, custom_id="\ud800")
    text = text_of_status(SMSFIRE, torn)
    assert text is not None
    assert text.encode().isascii()
    assert status_of_text(SMSFIRE, text) == torn
    statistic = evolve(story("S", SENT, READ), problems=("one",))
    assert status_of_text(GREENAPI, text_of_status(GREENAPI, statistic)) == statistic


def test_a_provider_of_ones_own_says_how_its_answers_are_written() -> None:
    assert status_of_text(Courier, text_of_status(Courier, "SENT")) == "SENT"
    # Without a word about that, or where that fails, a lookup tells it again.
    assert text_of_status(object(), "SENT") is None
    assert status_of_text(object(), '{"state":"sent"}') is None
    assert text_of_status(Courier, 7) is None
    assert status_of_text(Courier, "{}") is None


def test_a_provider_that_stumbles_over_an_answer_leaves_it_to_a_lookup() -> None:
    class Stumbling:
        @staticmethod
        def answer_to_json(answer: Any) -> Any:
            raise NotImplementedError

        @staticmethod
        def answer_from_json(value: Any) -> Any:
            raise ExceptionGroup("as of a converter", [ValueError("x")])

    assert text_of_status(Stumbling, "SENT") is None
    assert status_of_text(Stumbling, "{}") is None


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "7", "[]", "{}", '{"X":{}}', '{"MessageStatus":{"x":1}}', '{"date":1}', "[" * 100_000),
        *(b"7", 7, '{"date":"2026-11-27"}'),
    ],
)
@pytest.mark.parametrize("provider", [SMSFIRE, GREENAPI])
def test_a_status_that_cannot_be_read_is_left_to_a_lookup(provider: Any, text: Any) -> None:
    assert status_of_text(provider, text) is None
    assert text_of_status(provider, None) is None


def test_rows_are_made_by_keywords_so_that_a_later_release_may_add_some() -> None:
    with pytest.raises(TypeError):
        Row("i:1")  # type: ignore[call-arg] # what is tested
