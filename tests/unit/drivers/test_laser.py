"""The simulated laser: tuning keeps its phase and its light, and refuses what it cannot reach."""

from __future__ import annotations

from fractions import Fraction

import pytest

from drivers.cell import Cell
from drivers.course import Courses, Ramp
from drivers.laser import SimulatedLaser
from gateway.errors import CommandRefused
from gateway.types import Command, Light


def tune(value: object) -> Command:
    return Command("laser", "tune", {"frequency_hz": value})


def laser() -> SimulatedLaser:
    return SimulatedLaser(Cell(), 2012.5, 0.5, 0.02)


@pytest.mark.parametrize("value", [1, 1.0, 2013.7, 100_000])
def test_it_is_tuned_to_the_decimal_number(value: float) -> None:
    tuned = laser()
    tuned.apply(tune(value))
    assert tuned.light.frequency == Fraction(str(value))
    assert tuned.read() == "off"
    tuned.apply(Command("laser", "on"))
    tuned.apply(tune(2000))
    assert tuned.read() == "on"


@pytest.mark.parametrize("value", [0.5, 100_001, -2012.5, float("nan"), float("inf"), 10**400, True, "2012.5", None])
def test_frequencies_out_of_reach_are_refused(value: object) -> None:
    tuned = laser()
    with pytest.raises(CommandRefused, match="laser tune"):
        tuned.apply(tune(value))
    assert tuned.light.frequency == Fraction(4025, 2)


def test_an_unknown_verb_is_refused() -> None:
    with pytest.raises(CommandRefused, match="It knows on, off and tune"):
        laser().apply(Command("laser", "explode"))


def test_the_light_drifts_and_is_seen() -> None:
    cell = Cell(8000, courses=Courses(power=(Ramp(0.0, 10.0, -0.2),)))
    drifting = SimulatedLaser(cell, 2012.5, 0.5, 0.02)
    assert drifting.light == Light(Fraction(4025, 2), 0.5, 0.02)
    cell.sound(0, 40_000)
    assert drifting.light.power_w == pytest.approx(0.018, rel=1e-12)
    drifting.apply(tune(2020))
    assert drifting.light.frequency == 2020
