"""How long a value is one."""

from __future__ import annotations

from dataclasses import replace

from gateway.fresh import aged, record_s, stale
from gateway.types import NO_FLAGS, Flag, LockInResult, Measurement, PeakResult, ResonanceResult

S = 1_000_000_000
LOCK = LockInResult("lock", 10 * S, 2012.5, 0.1, 0.0, 1e-4, 32, 5.0)
CO2 = Measurement("co2", 10 * S, 412.0, 1.0, 2.04, 32, 3.0, True, NO_FLAGS, LOCK, smoothed=411.0, sigma_smoothed=0.4)


def test_a_measurement_holds_for_three_records() -> None:
    assert aged(CO2, 25 * S - 1) is CO2
    old = aged(CO2, 25 * S)
    assert (old.value, old.sigma, old.u95, old.lod, old.smoothed, old.sigma_smoothed) == (None,) * 6
    assert not old.valid
    assert old.flags == {Flag.STALE}
    assert old.t_ns == CO2.t_ns


def test_a_short_record_holds_for_two_seconds() -> None:
    short = replace(CO2, source=PeakResult("peak", 10 * S, 2012.5, 0.1, 0.1, 1e-4, 8, 0.1, True))
    assert aged(short, 12 * S - 1).valid
    assert not aged(short, 12 * S).valid


def test_what_has_no_record_comes_with_the_longest_of_the_others() -> None:
    resonance = ResonanceResult("co2_resonance", 10 * S, 2013.0, 0.02, 50.0, 0.01)
    assert record_s([resonance, CO2, replace(LOCK, integration_s=1.0)]) == 5.0
    assert record_s([resonance]) == 0.0
    assert not stale(resonance, 25 * S - 1, 5.0)
    assert stale(resonance, 25 * S, 5.0)
    assert stale(LOCK, 25 * S, 60.0)
