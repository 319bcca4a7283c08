"""When a script is left alone, and how long."""

from __future__ import annotations

from gateway.scripts.pauses import DEATHS, IN_A_ROW, LONGEST_S, WITHIN_NS, Pauses

SECOND = 1_000_000_000


def test_failures_in_a_row_pause_longer_each_time() -> None:
    pauses = Pauses()
    assert [pauses.failed() for _ in range(IN_A_ROW - 1)] == [0.0] * (IN_A_ROW - 1)
    assert [pauses.failed() for _ in range(4)] == [1.0, 2.0, 4.0, 8.0]
    assert max(pauses.failed() for _ in range(40)) == LONGEST_S


def test_a_success_begins_anew() -> None:
    pauses = Pauses()
    for _ in range(IN_A_ROW + 3):
        pauses.failed()
    pauses.succeeded(0)
    assert [pauses.failed() for _ in range(IN_A_ROW)] == [0.0] * (IN_A_ROW - 1) + [1.0]


def test_deaths_count_within_a_minute() -> None:
    pauses = Pauses()
    assert [pauses.died(n * SECOND) for n in range(DEATHS)] == [0.0] * (DEATHS - 1) + [1.0]
    slow = Pauses()
    assert not any(slow.died(n * WITHIN_NS // (DEATHS - 1)) for n in range(20))


def test_deaths_between_successes_pause_longer_each_time() -> None:
    pauses = Pauses()
    found = []
    for n in range(DEATHS + 2):
        found.append(pauses.died(n * SECOND))
        pauses.succeeded(n * SECOND)
    assert found[-3:] == [1.0, 2.0, 4.0]
    pauses.succeeded(3 * WITHIN_NS)
    assert pauses.not_loaded() == 1.0


def test_a_reset_forgives() -> None:
    pauses = Pauses()
    for _ in range(3):
        pauses.not_loaded()
    pauses.reset()
    assert pauses.not_loaded() == 1.0
