"""How the blocks' times are spread, and how late they are."""

from __future__ import annotations

import pytest

from gateway.timing import Histogram, Lateness

S = 1_000_000_000


def test_a_bound_belongs_to_the_times_below_it() -> None:
    histogram = Histogram((0.1, 0.2))
    for seconds in (0.1, 0.1000001, 0.2, 0.3, 0.0):
        histogram.add(seconds)
    assert histogram.as_object() == {
        "bounds_s": [0.1, 0.2],
        "counts": [2, 2, 1],
        "sum_s": pytest.approx(0.7000001),
    }


def test_a_block_is_as_late_as_it_waited_longer_than_the_quickest() -> None:
    lateness, origin_ns = Lateness(), 77 * S
    waits_ms = [5, 3, 8, 3, 253, 4]
    late = [lateness.of(origin_ns + i * S + wait * 1_000_000, i * S) for i, wait in enumerate(waits_ms)]
    assert late == pytest.approx([0.0, 0.0, 0.005, 0.0, 0.25, 0.001])


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_clocks_that_run_apart_make_no_block_late(ppm: float) -> None:
    """Over a day two clocks 200 ppm apart are 17 s apart; what is told is what they run apart in a minute, 12 ms."""
    lateness = Lateness()
    late = [lateness.of(round(10 * i * S * (1.0 + ppm * 1e-6)), 10 * i * S) for i in range(8640)]
    assert max(late) <= 60.0 * 200e-6
    assert min(late) >= 0.0


def test_what_stays_late_is_the_rule_after_a_minute() -> None:
    lateness = Lateness()
    before = [lateness.of(i * S, i * S) for i in range(10)]
    after = [lateness.of(i * S + S // 2, i * S) for i in range(10, 80)]
    assert max(before) == 0.0
    assert after[0] == 0.5
    assert after[-1] == 0.0
