"""The speed of sound: Cramer's table to its last printed digit, and the sensitivities that follow from it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dsp.air import (
    ZERO_C,
    in_range,
    sound_in,
    speed_of_sound,
    speed_per_kelvin,
    water_fraction,
)
from gateway.types import Climate

HUMIDITIES = (0.0, 25.0, 50.0, 75.0, 100.0)
TABLE = {
    0.0: (331.448, 331.526, 331.604, 331.681, 331.759),
    5.0: (334.467, 334.580, 334.693, 334.806, 334.919),
    10.0: (337.459, 337.620, 337.781, 337.942, 338.103),
    15.0: (340.423, 340.650, 340.876, 341.102, 341.328),
    20.0: (343.359, 343.673, 343.987, 344.300, 344.613),
    25.0: (346.268, 346.697, 347.127, 347.555, 347.984),
    30.0: (349.148, 349.729, 350.310, 350.890, 351.469),
}
"""Metres per second at 101.325 kPa and 400 ppm CO2, by degrees Celsius and relative humidity."""
P = 101_325.0


@pytest.mark.parametrize("celsius", TABLE)
def test_the_table_to_its_printed_digits(celsius: float) -> None:
    for humidity, printed in zip(HUMIDITIES, TABLE[celsius], strict=True):
        assert round(speed_of_sound(celsius, humidity, P), 3) == printed


def test_what_moves_a_resonance_of_2012_5_hz() -> None:
    here = speed_of_sound(20.0, 40.0, P)

    def moved(celsius: float, humidity: float, pressure: float, co2: float) -> float:
        return 2012.5 * (speed_of_sound(celsius, humidity, pressure, co2) / here - 1.0)

    assert 2012.5 * speed_per_kelvin(20.0, 40.0, P) / here == pytest.approx(3.61, abs=0.005)
    assert moved(20.0, 41.0, P, 400.0) == pytest.approx(0.073, abs=0.0005)
    assert moved(20.0, 40.0, P, 1400.0) == pytest.approx(-0.52, abs=0.005)
    assert moved(20.0, 40.0, P + 1000.0, 400.0) == pytest.approx(-0.026, abs=0.0005)


def test_dry_air_follows_the_square_root_of_temperature() -> None:
    start = speed_of_sound(0.0, 0.0, P) / math.sqrt(ZERO_C)
    worst = max(abs(speed_of_sound(t, 0.0, P) / (start * math.sqrt(t + ZERO_C)) - 1.0) for t in range(31))
    print(f"worst {worst * 1e6:.0f} ppm (limit 80)")
    assert worst < 80e-6


@given(st.floats(0.0, 30.0), st.floats(0.0, 100.0), st.floats(75e3, 102e3))
def test_the_derivative_is_that_of_the_speed(celsius: float, humidity: float, pressure: float) -> None:
    chord = speed_of_sound(celsius + 0.5, humidity, pressure) - speed_of_sound(celsius - 0.5, humidity, pressure)
    assert speed_per_kelvin(celsius, humidity, pressure) == pytest.approx(chord, abs=2e-4)


def test_water() -> None:
    """At 100 C and 101 325 Pa water boils: its vapour's pressure is all of the pressure, within the formula's reach."""
    assert water_fraction(20.0, 0.0, P) == 0.0
    assert water_fraction(100.0, 100.0, P) == pytest.approx(1.0, abs=0.02)
    assert water_fraction(20.0, 100.0, P) * P == pytest.approx(2339.0, rel=0.006)  # saturated vapour, steam tables


def test_range() -> None:
    assert in_range(20.0, 40.0, P)
    assert in_range(30.0, 100.0, P)
    for outside in [(-0.1, 40.0, P), (30.1, 40.0, P), (20.0, 40.0, 74e3), (20.0, 40.0, 103e3)]:
        assert not in_range(*outside)


def test_what_is_not_known_is_in_the_uncertainty() -> None:
    full = sound_in(Climate(20.0, 50.0, P))
    dry = sound_in(Climate(20.0, None, P))
    alone = sound_in(Climate(20.0))
    assert full is not None
    assert dry is not None
    assert alone is not None
    assert full.sigma_m_s == 0.0
    assert full.speed_m_s == dry.speed_m_s == alone.speed_m_s == pytest.approx(speed_of_sound(20.0, 50.0, P), rel=1e-15)
    assert dry.sigma_m_s == pytest.approx((TABLE[20.0][4] - TABLE[20.0][0]) / math.sqrt(12.0), rel=0.01)
    assert dry.sigma_m_s < alone.sigma_m_s < 1.1 * dry.sigma_m_s


def test_without_a_temperature_nothing_is_told() -> None:
    assert sound_in(None) is None
    assert sound_in(Climate(None, 40.0, P)) is None
