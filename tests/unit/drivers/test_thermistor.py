"""The thermistor: the B equation both ways, its slope, and what is no thermistor."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.thermistor import COLDEST_C, HOTTEST_C, Thermistor

DIVIDER = Thermistor(3.3, 10_000.0, 10_000.0, 3950.0)


def test_at_25_degrees_it_has_its_nominal_resistance() -> None:
    assert DIVIDER.volts(25.0) == pytest.approx(1.65, rel=1e-12)
    assert Thermistor(5.0, 20_000.0, 10_000.0, 3435.0).volts(25.0) == pytest.approx(5.0 / 3.0, rel=1e-12)


def test_b_is_the_slope_between_25_and_85_degrees() -> None:
    """B25/85 = ln(R25 / R85) / (1 / T25 - 1 / T85), as IEC 60539-1 defines it."""
    volts = DIVIDER.volts(85.0)
    ohm = 10_000.0 * volts / (3.3 - volts)
    assert math.log(10_000.0 / ohm) / (1.0 / 298.15 - 1.0 / 358.15) == pytest.approx(3950.0, rel=1e-12)


@given(st.floats(COLDEST_C, HOTTEST_C), st.floats(500, 1e6), st.floats(500, 1e6), st.floats(1500, 6000))
def test_back_and_forth_gives_the_same_temperature(celsius: float, series: float, r25: float, beta: float) -> None:
    divider = Thermistor(3.3, series, r25, beta)
    volts = divider.volts(celsius)
    assert 0.0 < volts < 3.3
    step = divider.kelvin_per_volt(celsius) * 3.3 * 4 * np.finfo(float).eps
    assert divider.celsius(volts) == pytest.approx(celsius, abs=1e-9 + step)


@pytest.mark.parametrize("celsius", [-20.0, 0.0, 25.0, 60.0])
def test_the_slope_is_that_of_the_curve(celsius: float) -> None:
    h = 1e-3
    slope = 2 * h / (DIVIDER.volts(celsius - h) - DIVIDER.volts(celsius + h))
    assert DIVIDER.kelvin_per_volt(celsius) == pytest.approx(slope, rel=1e-6)


def test_the_steps_of_the_adc_make_the_uncertainty() -> None:
    """Readings of all temperatures near 25 degrees, rounded to 2 mV: their errors have the spread that is said."""
    temperatures = np.linspace(24.0, 26.0, 20_001)
    errors = [DIVIDER.celsius(2e-3 * round(DIVIDER.volts(t) / 2e-3)) - t for t in temperatures]
    assert np.std(errors) == pytest.approx(DIVIDER.uncertainty_k(25.0, 2e-3), rel=0.05)


@pytest.mark.parametrize(
    ("volts", "fault"),
    [
        (3.3, "open"),
        (math.inf, "open"),
        (DIVIDER.volts(COLDEST_C), "open"),
        (DIVIDER.volts(COLDEST_C + 1), ""),
        (1.65, ""),
        (DIVIDER.volts(HOTTEST_C - 1), ""),
        (DIVIDER.volts(HOTTEST_C), "short"),
        (0.0, "short"),
        (-0.002, "short"),
    ],
)
def test_what_no_thermistor_reads_is_told(volts: float, fault: str) -> None:
    assert DIVIDER.fault(volts) == fault
