"""What Redis is told of the keys that wait here: each change once, and all of it where that is in doubt."""

from collections.abc import Iterable

from statuslookup.fleet.announcements import Announcements, Changes


def nothing(texts: Iterable[str]) -> set[str]:
    return set()


def everything(texts: Iterable[str]) -> set[str]:
    return set(texts)


def said(*first: str, bulk: tuple[str, ...] = ()) -> Announcements[str]:
    announcements: Announcements[str] = Announcements()
    announcements.said(Changes(first=list(first), bulk=list(bulk)))
    return announcements


def test_what_is_known_is_not_said_again() -> None:
    announcements = said("1", bulk=("2",))
    assert not announcements.changes(["1"], ["2"], nothing)
    assert announcements.changes(["1", "3"], ["2", "4"], nothing) == Changes(["3"], ["4"], [])
    assert announcements


def test_a_key_of_a_list_that_somebody_gets_is_said_again_and_not_the_other_way_round() -> None:
    announcements = said("1", bulk=("2",))
    assert announcements.changes(["2"], ["1"], nothing) == Changes(["2"], [], [])


def test_what_is_not_wanted_is_withdrawn_and_what_only_stands_further_back_is_not() -> None:
    announcements = said("1", "2", "3")
    assert announcements.changes(["2"], [], lambda texts: {"3"}) == Changes([], [], ["1"])
    announcements.said(Changes(gone=["1", "2", "3"]))
    assert not announcements


def test_after_a_doubt_all_is_said_again_and_what_is_not_wanted_is_withdrawn() -> None:
    announcements = said("1", "2", bulk=("3",))
    announcements.doubt()
    changes = announcements.changes(["1"], ["3"], nothing)
    assert changes == Changes(["1"], ["3"], ["2"])
    announcements.said(changes)
    assert not announcements.changes(["1"], ["3"], nothing)


def test_what_is_doubted_while_all_is_said_is_said_once_more() -> None:
    """As where the subscription was cut while a call was under way."""
    announcements = said("1")
    announcements.doubt()
    changes = announcements.changes(["1"], [], everything)
    announcements.doubt()
    announcements.said(changes)
    assert announcements.changes(["1"], [], everything) == Changes(["1"], [], [])


def test_a_doubt_outlasts_what_does_not_say_all() -> None:
    announcements = said("1")
    announcements.doubt()
    announcements.said(announcements.changes([], [], everything, is_all=False))
    assert announcements.changes(["1"], [], everything) == Changes(["1"], [], [])


def test_what_was_told_here_can_be_asked_anew() -> None:
    announcements = said("1")
    announcements.told(["1", "9"])
    assert announcements.changes(["1"], [], everything) == Changes(["1"], [], [])


def test_what_another_told_is_withdrawn_before_it_is_asked_anew() -> None:
    """Announced between the other's call and its message, it would stand there for nothing."""
    announcements = said("1", "2")
    announcements.heard(["1", "2", "9"])
    assert not announcements
    changes = announcements.changes(["1"], [], everything)
    assert changes == Changes(["1"], [], ["1", "2"])
    announcements.said(changes)
    assert announcements.changes(["1"], [], nothing) == Changes()


def test_what_may_be_left_in_redis_is_withdrawn() -> None:
    announcements = said("1")
    announcements.withdraw(["2"])
    assert announcements.changes(["1"], [], nothing) == Changes(["1"], [], ["2"])
    assert sorted(announcements.all()) == ["1", "2"]
    announcements.forget()
    assert (announcements.all(), bool(announcements)) == ([], False)
