"""The follower against a cell whose temperature swings (notes: resonance tracking), and at the edges."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import pytest

from gateway.dsp.air import speed_of_sound
from gateway.dsp.follow import WALK, Followed, Follower, Mode
from gateway.types import Climate

F0, Q = 2012.5, 50.0
HALF_WIDTH = F0 / (2.0 * Q)
AIR = Climate(20.0, 40.0, 101_325.0)
PERIOD = 1200


def resonance(celsius: float, obeyed: float = 1.0) -> float:
    """f0 of a cell that follows `obeyed` of what the speed of sound says."""
    return F0 * (
        1.0 + obeyed * (speed_of_sound(celsius, 40.0, 101_325.0) / speed_of_sound(20.0, 40.0, 101_325.0) - 1.0)
    )


class Cell:
    """A follower and its laser on a simulated cell, one record of 1 s at a time."""

    def __init__(self, mode: Mode, snr: float, seed: int = 1, **known: float) -> None:
        self.follower = Follower(mode, F0, Q, AIR, known.get("sigma_f0_hz", 0.05), sigma_q=known.get("sigma_q", 0.0))
        self.generator, self.snr, self.laser_hz, self.t_s = np.random.default_rng(seed), snr, F0, 0.0
        self.magnitude = mode == "dither"

    def record(self, f0: float, air: Climate | None, gas: float = 1.0) -> tuple[Followed, float, float]:
        """What was followed, the true x, and the corrected signal."""
        x = 2.0 * Q * (self.laser_hz - f0) / f0
        noise = self.generator.standard_normal(2) / self.snr
        z = gas / complex(1.0, x) + complex(*noise)
        self.t_s += 1.0
        heard = complex(abs(z)) if self.magnitude else z
        found = self.follower.step(self.t_s, 1.0, self.laser_hz, heard, 1.0 / self.snr, air)
        self.laser_hz = self.laser_hz if found.tune_hz is None else found.tune_hz
        return found, x, (z * complex(1.0, found.detuning)).real


@dataclass(frozen=True)
class Outcome:
    bias_percent: float
    rmse_percent: float
    pull: float
    worst_x: float
    retunings: int


@functools.cache
def swing(mode: Mode, kelvin: float, snr: float, known_air: bool = True) -> Outcome:
    """Two periods of a sine of temperature, feed-forward 10 % wrong."""
    cell = Cell(mode, snr)
    errors, pulls, wrong, retunings = [], [], [], 0
    for i in range(2 * PERIOD):
        celsius = 20.0 + kelvin * math.sin(2.0 * math.pi * i / PERIOD)
        air = Climate(celsius, 40.0, 101_325.0) if known_air else None
        found, x, signal = cell.record(resonance(celsius, 1.0 / 1.1), air)
        errors.append(100.0 * (signal - 1.0))
        wrong.append(found.detuning - x)
        pulls.append(wrong[-1] / found.sigma_detuning)
        retunings += found.tune_hz is not None
    rms = math.sqrt(float(np.mean(np.square(errors))))
    pull = math.sqrt(float(np.mean(np.square(pulls))))
    return Outcome(float(np.mean(errors)), rms, pull, float(np.abs(wrong).max()), retunings)


@pytest.mark.parametrize("kelvin", [2.0, 5.0])
@pytest.mark.parametrize("snr", [1000.0, 100.0, 10.0, 3.0, 0.3])
def test_phase_lock_is_at_the_noise_floor(kelvin: float, snr: float) -> None:
    outcome, floor = swing("pll", kelvin, snr), 100.0 / snr
    print(f"{outcome}, floor {floor:.2f} %")
    assert outcome.rmse_percent < 1.1 * floor
    assert abs(outcome.bias_percent) < max(0.05, 4.5 * floor / math.sqrt(2 * PERIOD))
    assert outcome.worst_x < 0.15
    assert outcome.pull < 1.5


@pytest.mark.parametrize("kelvin", [2.0, 5.0])
@pytest.mark.parametrize("snr", [1000.0, 100.0, 10.0])
def test_dither_pays_an_eighth_of_noise(kelvin: float, snr: float) -> None:
    """At half a half-width the corrected noise is sqrt(1.25) = 1.118 times that on resonance."""
    outcome, floor = swing("dither", kelvin, snr), 111.8 / snr
    print(f"{outcome}, floor {floor:.2f} %")
    assert outcome.rmse_percent < 1.1 * floor
    assert abs(outcome.bias_percent) < max(0.05, 4.5 * floor / math.sqrt(2 * PERIOD))
    assert outcome.pull < 1.5


@pytest.mark.parametrize("kelvin", [2.0, 5.0])
def test_feed_forward_keeps_a_tenth_of_the_swing(kelvin: float) -> None:
    """x is wrong by 0.1 / 1.1 of the swing; at x' = 0 half the square of its amplitude is lost on average. The laser
    stands still up to x' = 0.05, always behind the swing, which takes some of that away.
    """
    amplitude = (resonance(20.0 + kelvin) - F0) * 0.1 / 1.1 / HALF_WIDTH
    outcome = swing("feed_forward", kelvin, 1000.0)
    print(f"{outcome}, theory {-50.0 * amplitude**2:.3f} %")
    assert outcome.bias_percent == pytest.approx(-50.0 * amplitude**2, rel=0.2)
    assert outcome.rmse_percent < 0.5


def test_off_stands_still_and_says_so() -> None:
    outcome = swing("off", 5.0, 1000.0)
    assert outcome.retunings == 0
    assert outcome.bias_percent < -20.0
    assert 0.5 < outcome.pull < 1.5


@pytest.mark.parametrize(("snr", "floor_times"), [(1000.0, 1.1), (100.0, 1.1), (10.0, 1.1)])
def test_phase_alone_follows_where_no_air_is_known(snr: float, floor_times: float) -> None:
    outcome = swing("pll", 5.0, snr, known_air=False)
    print(outcome)
    assert outcome.rmse_percent < floor_times * 100.0 / snr
    assert outcome.pull < 2.0


def test_the_laser_is_not_moved_more_often_than_it_pays() -> None:
    """A swing of 4 x 18 Hz in half-widths over 0.05 is 73 moves a period at most; noise adds next to none."""
    moves = 2 * 4.0 * (resonance(25.0) - F0) / HALF_WIDTH / 0.05
    assert swing("pll", 5.0, 100.0).retunings < 1.05 * moves
    assert swing("pll", 5.0, 10.0).retunings < 1.05 * moves


@pytest.mark.parametrize("mode", ["pll", "dither"])
@pytest.mark.parametrize("offset_hz", [12.0, -45.0, 95.0])
def test_capture_from_far_away(mode: Mode, offset_hz: float) -> None:
    """Up to five half-widths off, where the phase is nearly 90 degrees: f0 comes in at 1 Hz/s and stays."""
    cell = Cell(mode, 1000.0)
    seen = [cell.record(F0 + offset_hz, AIR)[0].f0_hz for _ in range(500)]
    steps = np.abs(np.diff(seen))
    print(f"ends {seen[-1] - F0 - offset_hz:.3f} Hz off, fastest {steps.max():.2f} Hz")
    assert abs(seen[-1] - F0 - offset_hz) < 0.005 * HALF_WIDTH
    assert steps.max() <= (1.0 if mode == "pll" else 10.0) + 1e-9


def test_noise_alone_moves_nothing() -> None:
    cell = Cell("pll", 100.0)
    for _ in range(20_000):
        found, _, _ = cell.record(F0, AIR, gas=0.0)
    assert abs(found.f0_hz - F0) < found.sigma_f0_hz
    assert abs(found.f0_hz - F0) < 0.1 * HALF_WIDTH
    assert found.sigma_f0_hz < 0.01 * F0


def test_what_was_learnt_about_feed_forward_holds_without_gas() -> None:
    cell = Cell("pll", 100.0)
    for i in range(3 * PERIOD):
        celsius = 20.0 + 5.0 * math.sin(2.0 * math.pi * i / PERIOD)
        gas = 1.0 if i < 2 * PERIOD else 0.0
        found, x, _ = cell.record(resonance(celsius, 1.0 / 1.1), Climate(celsius, 40.0, 101_325.0), gas)
        if gas == 0.0:
            assert abs(found.detuning - x) < 0.02  # feed-forward alone: 0.082


def test_one_bad_record_is_hardly_believed() -> None:
    cell = Cell("pll", 100.0)
    for _ in range(200):
        before = cell.record(F0, AIR)[0]
    after = cell.follower.step(cell.t_s + 1.0, 1.0, cell.laser_hz, 1j, 0.01, AIR)
    assert abs(after.f0_hz - before.f0_hz) < 2.0 * before.sigma_f0_hz


def test_a_changed_cell_is_followed() -> None:
    cell = Cell("pll", 100.0)
    for i in range(260):
        found, x, _ = cell.record(F0 + (8.0 if i >= 200 else 0.0), AIR)
    assert abs(found.detuning - x) < 5.0 * found.sigma_detuning


@pytest.mark.parametrize("gas", [1.0, 0.0])
def test_air_that_comes_back(gas: float) -> None:
    """Ten minutes without air, in which it warms by 2 K: with gas the phase follows, without it the uncertainty grows;
    either way f0 is not moved twice when the air is known again.
    """
    cell = Cell("pll", 100.0)
    for i in range(1000):
        celsius = 20.0 + 2.0 * min(1.0, max(0.0, (i - 200) / 600.0))
        air = None if 200 <= i < 800 else Climate(celsius, 40.0, 101_325.0)
        found, x, _ = cell.record(resonance(celsius), air, 1.0 if i < 200 else gas)
        assert abs(found.detuning - x) < max(4.5 * found.sigma_detuning, 0.03)
    assert abs(found.detuning - x) < 0.02


def test_nothing_that_is_not_a_number_is_learnt() -> None:
    cell = Cell("pll", 100.0)
    cell.record(F0, AIR)
    belief = cell.follower.belief
    for phasor, sigma in [(None, 0.01), (complex(math.nan, 0.0), 0.01), (1j, math.inf), (1j, math.nan)]:
        found = cell.follower.step(cell.t_s, 1.0, F0, phasor, sigma, AIR)
        assert math.isfinite(found.f0_hz)
        assert math.isfinite(found.sigma_detuning)
        assert cell.follower.belief == belief


def test_q_counts_where_the_laser_is_not_on_resonance() -> None:
    follower = Follower("off", F0, Q, AIR, 0.0, sigma_q=1.0, sigma_temperature_c=0.0)
    assert follower.step(1.0, 1.0, F0, None, 0.01, AIR).sigma_detuning == 0.0
    beside = follower.step(2.0, 1.0, F0 + HALF_WIDTH, None, 0.01, AIR)
    assert beside.detuning == pytest.approx(1.0)
    assert beside.sigma_detuning == pytest.approx(1.0 / Q)


def test_what_nobody_measures_is_in_the_uncertainty() -> None:
    """Unknown humidity is 29 % by its standard deviation, 2.1 Hz at 0.073 Hz/%; a temperature 0.1 K off, 0.36 Hz."""
    known = Follower("feed_forward", F0, Q, AIR, 0.0).step(1.0, 1.0, F0, None, 0.01, AIR)
    without = Follower("feed_forward", F0, Q, AIR, 0.0).step(1.0, 1.0, F0, None, 0.01, Climate(20.0, None, 101_325.0))
    assert known.sigma_f0_hz == pytest.approx(0.361, rel=0.01)
    assert without.sigma_f0_hz == pytest.approx(2.14, rel=0.03)


def test_the_first_air_is_the_reference_where_none_was_noted() -> None:
    follower = Follower("feed_forward", F0, Q, None, 0.05)
    first = follower.step(1.0, 1.0, F0, None, 0.01, Climate(25.0, 40.0, 101_325.0))
    later = follower.step(2.0, 1.0, F0, None, 0.01, Climate(26.0, 40.0, 101_325.0))
    assert first.f0_hz == F0
    assert first.sigma_f0_hz == pytest.approx(0.01 * F0, rel=0.01)
    assert later.f0_hz == pytest.approx(F0 + 3.6, abs=0.1)


def test_a_new_stream_goes_on_with_what_was_learnt_as_uncertain_as_the_pause_made_it() -> None:
    """Of the offset's random walk, WALK half-widths per root second."""
    fresh = Cell("pll", 100.0).follower
    fresh.renewed(100.0)
    assert fresh.t_s is None
    sigmas = []
    for gap_s in (0.0, 3600.0):
        cell = Cell("pll", 100.0)
        for _ in range(300):
            cell.record(resonance(25.0, 0.9), Climate(25.0, 40.0, 101_325.0))
        learnt = cell.follower.f0_hz
        cell.follower.renewed(gap_s)
        found = cell.follower.step(1.0, 1.0, cell.laser_hz, None, math.inf, Climate(25.0, 40.0, 101_325.0))
        assert found.f0_hz == learnt
        sigmas.append(found.sigma_f0_hz)
    grown = math.sqrt(sigmas[1] ** 2 - sigmas[0] ** 2)
    assert grown > WALK * HALF_WIDTH * math.sqrt(3600.0) * 0.999
    assert grown < 2.0 * WALK * HALF_WIDTH * math.sqrt(3600.0)
