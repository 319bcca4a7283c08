"""Statistics of an action: counts, and percentiles by nearest rank."""

from __future__ import annotations

from gateway.actions.statistics import Statistics
from gateway.times import KEPT


def test_times() -> None:
    statistics = Statistics()
    assert statistics.as_object()["p95_ms"] is None
    for ms in range(1, 101):
        statistics.called(ms * 1_000_000)
    found = statistics.as_object()
    assert {name: found[name] for name in ("calls", "mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")} == {
        "calls": 100,
        "mean_ms": 50.5,
        "p50_ms": 50.0,
        "p95_ms": 95.0,
        "p99_ms": 99.0,
        "max_ms": 100.0,
    }


def test_percentiles_are_of_the_newest_and_the_longest_of_all() -> None:
    statistics = Statistics()
    statistics.called(10**12)
    for _ in range(KEPT):
        statistics.called(1_000_000)
    assert (statistics.as_object()["p99_ms"], statistics.as_object()["max_ms"]) == (1.0, 10**6)


def test_reset() -> None:
    statistics = Statistics()
    statistics.called(5)
    statistics.refused = 3
    statistics.reset()
    assert statistics.as_object() == Statistics().as_object()
