"""The line's and the relaxation's dependence on the air, alone and in the cell."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from drivers.air import Air, water_fraction
from drivers.cell import AMPLITUDE_PER_PPM, Cell
from drivers.gas import RADIATION_CM_K, Line, Relaxation
from drivers.laser import SimulatedLaser
from drivers.resonator import resonance_hz
from gateway.types import Command


def phasor(**options: object) -> complex:
    """What a second of the cell's channel A is against the laser, per ppm."""
    cell = Cell(noise_density=0.0, bits=None, channels=1, **options)  # type: ignore[arg-type]
    SimulatedLaser(cell, 2012.5, 0.5, 0.02).apply(Command("laser", "on"))
    sound = cell.sound(0, 48_000)[:, 0].astype(float)
    angle = 2 * np.pi * ((4025 * np.arange(48_000)) % 96_000) / 96_000
    return complex(2 * np.mean(sound * np.exp(-1j * angle))) / (400 * AMPLITUDE_PER_PPM)


@pytest.mark.parametrize("energy", [0.0, 106.1, 265.0, 1000.0])
@pytest.mark.parametrize("exponent", [0.5, 0.7])
def test_a_line_has_the_slope_of_its_lower_level(energy: float, exponent: float) -> None:
    line, h = Line(energy, exponent), 1e-3
    slope = (line.absorption(Air(20 + h)) - line.absorption(Air(20 - h))) / (2 * h)
    assert slope * 293.15 == pytest.approx(exponent - 2 + RADIATION_CM_K * energy / 293.15, abs=1e-7)
    assert line.absorption(Air()) == 1.0
    assert line.absorption(Air(pressure_pa=8e4, humidity_percent=90)) == 1.0


def test_a_line_of_265_does_not_mind_the_temperature() -> None:
    assert max(abs(Line(265.0).absorption(Air(t)) - 1) for t in (10.0, 15.0, 25.0, 30.0)) < 1e-3
    assert abs(Line(0.0).absorption(Air(30.0)) - 1) > 0.04


def test_relaxation_is_a_low_pass_that_water_opens() -> None:
    gas = Relaxation(dry_s=1e-3, water_per_s=1e6)
    for air in (Air(humidity_percent=0.0), Air(30.0, 80.0), Air(pressure_pa=50_000.0)):
        rate = air.pressure_pa / 101_325 * (1e3 + 1e6 * water_fraction(air))
        assert gas.tau_s(air) == pytest.approx(1 / rate, rel=1e-12)
        wt, wt0 = 2 * math.pi * 1990.0 * gas.tau_s(air), 2 * math.pi * 2012.5 * gas.tau_s(Air())
        ratio = gas.response(air, 1990.0)
        assert abs(ratio) == pytest.approx(math.sqrt((1 + wt0**2) / (1 + wt**2)), rel=1e-12)
        assert cmath.phase(ratio) == pytest.approx(math.atan(wt0) - math.atan(wt), abs=1e-12)
    assert gas.response(Air(), 2012.5) == 1.0


def test_the_round_numbers_are_what_the_text_says() -> None:
    for air, expected in ((Air(humidity_percent=0.0), 0.16), (Air(), 0.85)):
        wt = 2 * math.pi * 2012.5 * Relaxation().tau_s(air)
        assert 1 / math.hypot(1, wt) == pytest.approx(expected, abs=0.005)


def test_the_design_air_changes_nothing() -> None:
    plain = phasor()
    assert phasor(line=Line(106.0), relaxation=Relaxation(), losses=True) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("air", [Air(23.0, 20.0), Air(17.0, 90.0, 95_000.0)])
def test_the_cell_multiplies_by_both(air: Air) -> None:
    f_r = resonance_hz(air)
    resonator = 1 / (1 + 100j * (2012.5 - f_r) / f_r)
    gas = Line(500.0).absorption(air) * Relaxation().response(air, 2012.5)
    assert phasor(air=air, line=Line(500.0), relaxation=Relaxation()) == pytest.approx(resonator * gas, rel=1e-6)
