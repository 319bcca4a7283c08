"""Alarms: every transition of the table, and silence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.alarms import Alarm, Alarms
from gateway.types import NO_FLAGS, Alert, LockInResult, Measurement, PeakResult

SECOND = 1_000_000_000


def measurement(value: float | None, t_s: float, node: str = "co2", valid: bool = True) -> Measurement:
    t_ns = round(t_s * SECOND)
    source = LockInResult("lock_in", t_ns, 2012.5, 0.0, 0.0, 1.0, 32, 1.0)
    return Measurement(node, t_ns, value, 1.0, 2.0, 32, 3.0, valid, NO_FLAGS, source)


def run(alarm: Alarm, *values: float | None) -> list[tuple[str, float]]:
    """One value a second from 1 s on; None is an invalid one. State and time of each alert."""
    alarms, alerts = Alarms([alarm]), []
    for second, value in enumerate(values, 1):
        found = (measurement(value, second, valid=value is not None),)
        alerts += alarms.step(found, second * SECOND)
    return [(alert.state, alert.t_ns / SECOND) for alert in alerts]


ABOVE = Alarm("high", "co2", "concentration", "above", 1000.0, hysteresis=0.0)


def test_speaks_on_change_only() -> None:
    assert run(ABOVE, 900, 1001, 1500, 1500, 999, 900) == [("raised", 2), ("cleared", 5)]


def test_the_threshold_itself_is_not_above_it() -> None:
    assert run(ABOVE, 1000, 1000) == []


def test_below() -> None:
    assert run(Alarm("low", "co2", "concentration", "below", 5.0, hysteresis=0.0), 6, 4, 6) == [
        ("raised", 2),
        ("cleared", 3),
    ]


def test_hysteresis() -> None:
    alarm = Alarm("high", "co2", "concentration", "above", 1000.0, hysteresis=50.0)
    assert run(alarm, 1001, 960, 951, 950, 1001) == [("raised", 1), ("cleared", 4), ("raised", 5)]


def test_without_a_hysteresis_six_standard_deviations_of_the_value() -> None:
    alarm = Alarm("high", "co2", "concentration", "above", 1000.0)
    assert run(alarm, 1001, 995, 994.1, 994, 1001) == [("raised", 1), ("cleared", 4), ("raised", 5)]


@pytest.mark.parametrize("mean", [999.0, 1000.0, 1001.0])
def test_noise_about_the_threshold_raises_once(mean: float) -> None:
    """Over an hour: to clear, a reading one sigma below the threshold would have to stray by five more."""
    noise = np.random.default_rng(4).normal(mean, 1.0, 3600)
    alerts = run(Alarm("high", "co2", "concentration", "above", 1000.0), 900.0, *noise, 900.0)
    assert [state for state, _ in alerts] == ["raised", "cleared"]


def test_minimum_duration() -> None:
    alarm = Alarm("high", "co2", "concentration", "above", 1000.0, duration_ns=3 * SECOND)
    assert run(alarm, 1001, 1001, 999, 1001, 1001, 1001, 1001) == [("raised", 7)]


def test_hold_off() -> None:
    alarm = Alarm("high", "co2", "concentration", "above", 1000.0, hold_off_ns=3 * SECOND, hysteresis=0.0)
    assert run(alarm, 1001, 999, 1001, 1001, 1001) == [("raised", 1), ("cleared", 2), ("raised", 5)]


def test_invalid_values_neither_raise_nor_clear() -> None:
    assert run(ABOVE, 1001, None, None, 999) == [("raised", 1), ("cleared", 4)]
    assert run(ABOVE, None, None) == []


def test_silence_and_its_end() -> None:
    alarm = Alarm("gone", "co2", "data_timeout", "above", 3.0, duration_ns=3 * SECOND, silence=True)
    assert run(alarm, 1, None, None, None, None, 5) == [("raised", 4), ("cleared", 6)]


def test_silence_from_the_beginning_with_no_results_at_all() -> None:
    alarms = Alarms([Alarm("gone", "co2", "data_timeout", "above", 3.0, duration_ns=3 * SECOND, silence=True)])
    assert alarms.step((), 2 * SECOND) == ()
    (alert,) = alarms.step((), 3 * SECOND)
    assert (alert.state, alert.value, alert.type) == ("raised", None, "data_timeout")
    assert alarms.step((), 9 * SECOND) == ()


def test_frequency_deviation() -> None:
    alarms = Alarms([Alarm("off", "peak", "frequency_deviation", "above", 20.0, nominal=2012.5)])
    states: list[Alert] = []
    for second, frequency_hz in enumerate((2012.0, 1992.0, 2040.0, 2020.0), 1):
        peak = PeakResult("peak", second * SECOND, frequency_hz, 0.1, 1e-3, 1e-6, 32, 1.0, True)
        states += alarms.step((peak,), second * SECOND)
    assert [(alert.state, alert.value) for alert in states] == [("raised", 20.5), ("cleared", 7.5)]


def test_other_nodes_do_not_matter() -> None:
    alarms = Alarms([ABOVE])
    assert alarms.step((measurement(5000.0, 1.0, node="other"),), SECOND) == ()


def test_new_settings_take_over_the_old_state() -> None:
    old = Alarms([ABOVE])
    old.step((measurement(1500.0, 1.0),), SECOND)
    new = Alarms([Alarm("high", "co2", "concentration", "above", 1200.0)])
    new.adopt(old)
    assert new.step((measurement(1500.0, 2.0),), 2 * SECOND) == ()
    (alert,) = new.step((measurement(1100.0, 3.0),), 3 * SECOND)
    assert alert.state == "cleared"


@given(st.lists(st.one_of(st.none(), st.floats(0, 2000)), max_size=60), st.integers(0, 4), st.floats(0, 200))
def test_alerts_alternate_and_name_the_threshold(values: list[float | None], hold_s: int, hysteresis: float) -> None:
    alarm = Alarm("a", "co2", "concentration", "above", 1000.0, SECOND, hysteresis, hold_s * SECOND)
    states = [state for state, _ in run(alarm, *values)]
    assert states == ["raised", "cleared"] * (len(states) // 2) + ["raised"] * (len(states) % 2)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_no_value(value: float) -> None:
    assert run(ABOVE, value, value) == []
