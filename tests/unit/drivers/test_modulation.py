"""The light's harmonics against numerical Fourier integrals, and what the cell makes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.cell import ABSORPTION, AMPLITUDE_PER_PPM, CELL_CONSTANT, SENSITIVITY, Cell
from drivers.laser import SimulatedLaser
from drivers.modulation import BENT, DEPTH, RAM, Shape, harmonics
from drivers.resonator import off_resonance
from gateway.types import Command

POINTS = 100_000
ANGLE = 2 * np.pi * (np.arange(POINTS) + 0.5) / POINTS
PER_WATT = ABSORPTION * CELL_CONSTANT * SENSITIVITY


def fourier(wave: np.ndarray, order: int) -> complex:
    return complex(2 * np.mean(wave * np.exp(-1j * order * ANGLE)))


@pytest.mark.parametrize("duty", [0.5, 0.3, 0.07])
def test_a_square_has_the_harmonics_of_a_rectangle(duty: float) -> None:
    wave = 0.02 * (np.abs(np.remainder(ANGLE / (2 * np.pi) + 0.5, 1) - 0.5) < duty / 2)
    found = {harmonic.order: harmonic.absorbed for harmonic in harmonics("square", 0.02, duty, 11)}
    for order in range(1, 12):
        assert found.get(order, 0.0) == pytest.approx(fourier(wave, order), abs=2e-6 * 0.02 * order)
    assert harmonics("fundamental", 0.02, duty, 11) == harmonics("square", 0.02, duty, 1)
    assert (2 in found) == (duty != 0.5)


def test_a_sine_is_one_harmonic() -> None:
    (only,) = harmonics("sine", 0.02, 0.5, 11)
    assert only.absorbed == pytest.approx(fourier(0.01 * (1 + np.cos(ANGLE)), 1), rel=1e-9)
    ratio = harmonics("square", 0.02, 0.5, 1)[0].absorbed / only.absorbed
    assert ratio == pytest.approx(4 / math.pi, rel=1e-12)


def test_dithered_light_is_absorbed_as_a_lorentz_line_says() -> None:
    power = 0.02 * (1 + RAM * np.sin(ANGLE) + BENT * RAM * np.cos(2 * ANGLE))
    absorbed = power / (1 + (DEPTH * np.sin(ANGLE)) ** 2)
    second, first = harmonics("wms", 0.02, 0.5, 1)
    assert (second.order, first.order) == (2, 1)
    assert second.absorbed == pytest.approx(fourier(absorbed, 2), rel=3e-3)  # the text leaves BENT out
    assert second.absorbed == pytest.approx(0.343 * 0.02, rel=1e-3)
    assert first.absorbed == pytest.approx(fourier(absorbed, 1), rel=3e-3)
    assert second.direct == pytest.approx(fourier(power, 2), rel=1e-9)
    assert first.direct == pytest.approx(fourier(power, 1), rel=1e-9)


def heard(shape: Shape, laser_hz: float, hz: float, **options: object) -> complex:
    """The phasor at `hz` of four seconds of channel A, against the laser's phase."""
    cell = Cell(noise_density=0.0, bits=None, shape=shape, **options)  # type: ignore[arg-type]
    SimulatedLaser(cell, laser_hz, 0.5, 0.02).apply(Command("laser", "on"))
    sound = cell.sound(0, 192_000)[:, 0].astype(float)
    return complex(2 * np.mean(sound * np.exp(-2j * np.pi * np.remainder(np.arange(192_000) * (hz / 48_000), 1.0))))


@pytest.mark.parametrize("order", [1, 3, 5, 11])
def test_the_square_is_heard_through_the_resonator(order: int) -> None:
    z = heard("square", 2012.5, order * 2012.5, background=1e-3j)
    watts = 0.04 / (math.pi * order) * math.sin(math.pi * order / 2)
    expected = watts * (400 * PER_WATT / off_resonance(order * 2012.5, 2012.5, 50.0) + 1e-3j)
    assert z == pytest.approx(expected, abs=1e-10)
    assert order == 1 or abs(heard("fundamental", 2012.5, order * 2012.5, background=1e-3j)) < 1e-10


def test_the_sine_is_a_little_fainter_than_the_square() -> None:
    assert heard("sine", 2012.5, 2012.5) == pytest.approx(400 * AMPLITUDE_PER_PPM * math.pi / 4, rel=1e-6)


def test_a_dithered_laser_is_heard_at_twice_its_frequency() -> None:
    """The background is 100 times as large at 1f as at 2f, where the gas is."""
    second, first = harmonics("wms", 0.02, 0.5, 1)
    for ppm in (0.0, 400.0):
        at_2f = heard("wms", 1006.25, 2012.5, ppm=ppm, background=1e-2)
        at_1f = heard("wms", 1006.25, 1006.25, ppm=ppm, background=1e-2)
        assert at_2f == pytest.approx(second.absorbed * ppm * PER_WATT + 1e-2 * second.direct, abs=1e-10)
        far = off_resonance(1006.25, 2012.5, 50.0)
        assert at_1f == pytest.approx(first.absorbed * ppm * PER_WATT / far + 1e-2 * first.direct, abs=1e-10)
    assert abs(first.direct) == pytest.approx(abs(second.direct) / BENT)


def test_dithered_light_rings_down_at_the_resonance() -> None:
    cell = Cell(noise_density=0.0, bits=None, shape="wms", channels=1)
    laser = SimulatedLaser(cell, 1006.25, 0.5, 0.02)
    laser.apply(Command("laser", "on"))
    cell.sound(0, 4800)
    laser.make_safe()
    sound = cell.sound(4800, 2000)[:, 0].astype(float)
    t = np.arange(2000) / 48_000
    wave = np.exp((-math.pi / 50 + 2j * math.pi) * 2012.5 * t)
    basis = np.stack([wave.real, wave.imag], axis=1)
    residual = sound - basis @ np.linalg.lstsq(basis, sound, rcond=None)[0]
    assert np.abs(residual).max() < 1e-9
    assert np.abs(sound).max() > 1e-4
