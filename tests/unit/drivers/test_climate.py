"""What the sensors say of the gas: the owner's word, or the simulated cell's air with its errors."""

from __future__ import annotations

import numpy as np
from scipy import stats

from drivers.air import Air
from drivers.cell import Cell
from drivers.climate import FixedClimate, SimulatedClimate
from drivers.course import Courses, Ramp
from gateway.types import Climate


def test_the_owners_word_stands() -> None:
    assert FixedClimate(Climate(21.0, None, 95_000.0)).newest() == Climate(21.0, None, 95_000.0)


def test_a_good_sensor_tells_the_air() -> None:
    cell = Cell(8000, air=Air(22.0, 55.0, 99_000.0), courses=Courses(temperature_k=(Ramp(0.0, 10.0, 5.0),)))
    sensor = SimulatedClimate(cell)
    assert sensor.newest() == Climate(22.0, 55.0, 99_000.0)
    cell.sound(0, 32_000)
    assert sensor.newest() == Climate(24.0, 55.0, 99_000.0)
    cell.set_air(Air(10.0, 20.0, 1e5))
    assert sensor.newest() == Climate(12.0, 20.0, 1e5)


def test_a_real_one_errs_by_its_sigma() -> None:
    cell, rms = Cell(8000, 1, seed=3), np.array([0.02, 0.5, 3.0])
    sensor, read = SimulatedClimate(cell, *rms), []
    for frame in range(0, 400_000, 800):
        cell.sound(frame, 0)
        found = sensor.newest()
        assert found == sensor.newest()
        read.append((found.temperature_c, found.humidity_percent, found.pressure_pa))
    pulls = (np.array(read) - (20.0, 40.0, 101_325.0)) / rms
    low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], len(read))
    for column in pulls.T:
        assert low < np.sum(column**2) < high
        assert abs(np.mean(column)) < 4.9 / np.sqrt(len(read))
