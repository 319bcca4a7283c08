"""Counts and times of one function."""

from __future__ import annotations

from gateway.scripts.meter import Meter
from gateway.times import KEPT


def test_percentiles_are_of_the_newest_and_the_longest_of_all() -> None:
    meter = Meter()
    meter.called(9_000_000_000)
    for ms in range(1, KEPT + 1):
        meter.called(ms * 1_000_000)
    found = meter.as_object()
    assert found["calls"] == KEPT + 1
    assert found["max_ms"] == 9000.0
    assert abs(found["p50_ms"] - 500) <= 1
    assert abs(found["p95_ms"] - 950) <= 1
    assert abs(found["p99_ms"] - 990) <= 1


def test_before_the_first_call_there_are_no_times() -> None:
    assert Meter().as_object() == {"calls": 0, "errors": 0, "timeouts": 0, "killed": 0}


def test_one_call_is_every_percentile() -> None:
    meter = Meter()
    meter.called(2_000_000)
    assert {meter.as_object()[name] for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")} == {2.0}
