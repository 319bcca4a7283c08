"""The resonator's losses, its answer far from the resonance, and stretches of sound that join."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.air import Air
from drivers.cell import AMPLITUDE_PER_PPM, Cell
from drivers.laser import SimulatedLaser
from drivers.resonator import DESIGN_AIR, Stretch, off_resonance, quality_factor, resonance_hz
from gateway.types import Command


def test_losses_follow_the_boundary_layers() -> None:
    """Q ~ sqrt(p) at one temperature; T^(-0.6) in dry air, where viscosity goes with T^0.77; less in humid."""
    assert quality_factor(DESIGN_AIR) == 1.0
    half = quality_factor(Air(20.0, 0.0, 60_000.0)) / quality_factor(Air(20.0, 0.0, 120_000.0))
    assert half == pytest.approx(math.sqrt(0.5), rel=2e-4)
    exponent = math.log(quality_factor(Air(21.0, 0.0)) / quality_factor(Air(19.0, 0.0))) / math.log(294.15 / 292.15)
    sutherland = 1.5 - 293.15 / (293.15 + 110.4)
    assert exponent == pytest.approx((-1 + 0.5 - sutherland) / 2, abs=2e-3)
    assert 0.996 < quality_factor(Air(20.0, 90.0)) / quality_factor(Air(20.0, 0.0)) < 1.0


def test_the_numbers_of_the_text() -> None:
    air = Air(25.0)
    quality = quality_factor(air)
    assert quality == pytest.approx(1 - 0.0105, abs=0.001)
    assert quality * resonance_hz(Air()) / resonance_hz(air) == pytest.approx(1 - 0.0195, abs=0.001)


@pytest.mark.parametrize("air", [Air(26.0), Air(12.0, 80.0, 90_000.0)])
def test_the_cell_rings_with_those_losses(air: Air) -> None:
    cell = Cell(noise_density=0.0, bits=None, channels=1, air=air, losses=True)
    SimulatedLaser(cell, round(resonance_hz(air), 1), 0.5, 0.02).apply(Command("laser", "on"))
    f, f_r, quality = round(resonance_hz(air), 1), resonance_hz(air), 50 * quality_factor(air)
    sound = cell.sound(0, 48_000)[:, 0].astype(float)
    z = 2 * np.mean(sound * np.exp(-2j * np.pi * np.remainder(np.arange(48_000) * (f / 48_000), 1.0)))
    expected = 400 * AMPLITUDE_PER_PPM * quality_factor(air) * 2012.5 / f_r / (1 + 2j * quality * (f - f_r) / f_r)
    assert z == pytest.approx(expected, rel=1e-4)


def test_far_and_near_agree_near_the_resonance() -> None:
    for hz in (2010.0, 2012.5, 2014.0):
        near = 1 + 100j * (hz - 2012.5) / 2012.5
        assert off_resonance(hz, 2012.5, 50.0) == pytest.approx(near, abs=50.5 * ((hz - 2012.5) / 2012.5) ** 2 + 1e-12)
    assert abs(off_resonance(3 * 2012.5, 2012.5, 50.0)) == pytest.approx(50 * 8 / 3, rel=1e-4)


def test_a_stretch_cut_in_two_is_the_same_stretch() -> None:
    start = Stretch(0, 2e-6, 3e-4 + 1e-4j, 0.003 + 0.001j, 100.0, 1e-4, 0j)
    long = start.then(Stretch(50, 1e-6 + 1e-6j, 1e-4 - 2e-4j, 0.002 - 0.001j, 500.0, 1e-4, 0j))
    again = long.then(Stretch(1050, 1e-6 + 1e-6j, 1e-4 - 2e-4j, 0.002 - 0.001j, 500.0, 1e-4, 0j))
    n = np.arange(0.0, 3000.0, 7.0)
    assert long.envelope(np.zeros(1))[0] == pytest.approx(start.envelope(np.array([50.0]))[0], rel=1e-12)
    assert np.abs(again.envelope(n) - long.envelope(n + 1000.0)).max() < 1e-15
    assert again.gas_rest == pytest.approx(long.gas_rest * math.exp(-0.1), rel=1e-12)
