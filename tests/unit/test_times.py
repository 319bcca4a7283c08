"""Times of calls: nearest rank, the newest for percentiles and all for the rest, nothing before the first."""

from __future__ import annotations

from gateway.times import KEPT, Times


def test_before_the_first_call_there_is_nothing() -> None:
    times = Times()
    assert (times.calls, times.mean_ms, times.max_ms) == (0, None, None)
    assert times.percentiles() == {"p50_ms": None, "p95_ms": None, "p99_ms": None}


def test_nearest_rank() -> None:
    times = Times()
    for ms in (3, 1, 2, 4):
        times.add(ms * 1_000_000)
    assert (times.mean_ms, times.max_ms) == (2.5, 4.0)
    assert times.percentiles() == {"p50_ms": 2.0, "p95_ms": 4.0, "p99_ms": 4.0}


def test_percentiles_forget_and_the_longest_does_not() -> None:
    times = Times()
    times.add(10**12)
    for _ in range(KEPT):
        times.add(1_000_000)
    assert (times.percentiles()["p99_ms"], times.max_ms, times.calls) == (1.0, 1e6, KEPT + 1)
