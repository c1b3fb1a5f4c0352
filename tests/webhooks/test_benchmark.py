"""``benchmarks.receiver`` in small: it works, and it finds what is too slow."""

import pytest

from benchmarks.receiver import Figures, Load, measure, share


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_every_post_is_answered_and_every_wait_returns(http: str) -> None:
    # As slow as any machine can follow.
    load = Load(rate=50.0, seconds=2.0, waits=80, http=http)
    figures = measure(load)
    assert figures.failed == 0
    assert len(figures.answers) == 100
    assert len(figures.returns) == 80
    # How quick it is can only be told on a machine that does nothing else.
    assert 0 < figures.cpu < 0.02
    assert 0 < share(figures.returns, 0.5) < 5


def test_what_misses_a_goal_is_named() -> None:
    load = Load(rate=10.0, seconds=10.0, waits=50)
    good = Figures(answers=[0.01] * 100, returns=[0.01] * 50, cpu=0.0005)
    assert good.problems(load) == []
    bad = Figures(answers=[0.06] * 100, returns=[0.06] * 40, cpu=0.001, failed=3)
    assert bad.problems(load) == [
        "3 posts failed",
        "10 waits did not return",
        "p99 of the answers",
        "p99 from post to return",
        "CPU a post",
    ]


def test_a_share_of_nothing_is_nothing() -> None:
    assert share([], 0.99) == 0.0
    assert share([3.0, 1.0, 2.0], 0.99) == 3.0
    assert share([3.0, 1.0, 2.0], 0.0) == 1.0
