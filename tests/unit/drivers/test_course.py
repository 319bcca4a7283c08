"""Courses and the clock's walk, by themselves and in the cell: the envelope follows them as theory says, without jumps,
and the same however the sound is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from drivers import noise
from drivers.air import Air
from drivers.cell import AMPLITUDE_PER_PPM, Cell
from drivers.course import Course, Courses, Ramp, Step, Swing, Walk, change
from drivers.laser import SimulatedLaser
from drivers.resonator import resonance_hz
from gateway.types import Command

RATE = 8000


def lit(**options: object) -> Cell:
    cell = Cell(RATE, 1, **{"noise_density": 0.0, "bits": None, **options})  # type: ignore[arg-type]
    SimulatedLaser(cell, 2012.5, 0.5, 0.02).apply(Command("laser", "on"))
    return cell


def envelope(sound: np.ndarray, first: int = 0, hz: float = 2012.5) -> np.ndarray:
    """Phasors of 10 ms each against the laser's phase, by least squares."""
    n = np.arange(80)
    found = []
    for start in range(0, len(sound) - 79, 80):
        angle = 2 * np.pi * np.remainder((first + start + n) * (hz / RATE), 1.0)
        basis = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
        found.append(complex(*np.linalg.lstsq(basis, sound[start : start + 80].astype(float), rcond=None)[0]))
    return np.array(found)


def test_shapes_add_up() -> None:
    course: Course = (Step(10.0, 2.0), Ramp(20.0, 30.0, -4.0), Swing(1.0, 40.0))
    for seconds, expected in ((0.0, 0.0), (10.0, 3.0), (25.0, 2 - 2 - math.sqrt(0.5)), (50.0, -1.0), (80.0, -2.0)):
        assert change(course, seconds) == pytest.approx(expected, abs=1e-12)


def test_what_cannot_be_stays_at_its_limit() -> None:
    steps = Courses(humidity_percent=(Step(0.0, 90.0),), ppm=(Step(0.0, -900.0),), power=(Step(0.0, -2.0),))
    state = Cell(courses=steps).state(0)
    assert (state.air.humidity_percent, state.ppm, state.power) == (100.0, 0.0, 0.0)


def test_the_state_is_the_course() -> None:
    courses = Courses((Swing(5.0, 1200.0),), (Ramp(0, 10, 20.0),), (Step(5, -1000.0),), (Ramp(0, 10, 50.0),))
    cell = lit(courses=courses)
    state = cell.state(300 * RATE)
    assert state.air == Air(25.0, 60.0, 100_325.0)
    assert (state.ppm, state.power, state.clock) == (450.0, 1.0, 1.0)
    cell.sound(300 * RATE, 1)
    assert cell.resonance_hz == pytest.approx(resonance_hz(Air(25.0, 60.0, 100_325.0)), rel=1e-7)
    assert cell.ppm == 400.0


def test_the_sound_follows_a_swing_of_the_temperature() -> None:
    """As slow as x is, the envelope is u (1 + j tau x' / (1 + j x)^2), u = 1 / (1 + j x),
    up to (tau x')^2 = 5e-7; the staircase of the holds adds x' * 10 ms / 8 = 1.2e-4 at most inside of one."""
    cell = lit(courses=Courses(temperature_k=(Swing(5.0, 60.0),)))
    found = envelope(cell.sound(0, 60 * RATE)[:, 0])[50:-1]
    t = (np.arange(50, 50 + len(found)) + 0.5) / 100
    f_r = np.array([resonance_hz(Air(20 + 5 * math.sin(2 * math.pi * s / 60))) for s in t])
    x, tau = 100 * (2012.5 - f_r) / f_r, 50 / (math.pi * f_r)
    u = 1 / (1 + 1j * x)
    expected = 400 * AMPLITUDE_PER_PPM * u * (1 + 1j * tau * np.gradient(x, t) * u**2)
    off = np.abs(found / expected - 1).max()
    print(f"off by {off:.2e} (limit 1.2e-4), swing {np.abs(expected).min() / np.abs(expected).max():.3f}")
    assert off < 1.2e-4
    assert np.abs(expected).min() < 0.75 * np.abs(expected).max()


@pytest.mark.parametrize("at_s", [0.3, 0.3042])
def test_a_step_rings_in_as_the_differential_equation_says(at_s: float) -> None:
    """Against a numerical solution; the step comes with the hold that has it in its first half."""
    cell = lit(courses=Courses(temperature_k=(Step(at_s, 4.0),), power=(Step(at_s, -0.5),)))
    sound = cell.sound(0, RATE)[:, 0].astype(float)
    f_r = resonance_hz(Air(24.0))
    x, tau, drive = 100 * (2012.5 - f_r) / f_r, 50 / (math.pi * f_r), 200 * AMPLITUDE_PER_PPM
    t = np.arange(RATE - 2400) / RATE
    solved = integrate.solve_ivp(
        lambda _, e: (drive - (1 + 1j * x) * e) / tau, (0, t[-1]), [2 * drive + 0j], t_eval=t, rtol=1e-9, atol=1e-15
    )
    angle = 2 * np.pi * np.remainder((np.arange(2400, RATE)) * (2012.5 / RATE), 1.0)
    expected = (solved.y[0] * np.exp(1j * angle)).real
    assert np.abs(sound[2400:] - expected).max() < 400 * AMPLITUDE_PER_PPM * 2e-7
    assert np.abs(envelope(sound[:2400]) - 2 * drive).max() < 1e-9


def test_gas_that_ramps_comes_late_by_its_time_constant() -> None:
    """y' = (c - y) / T for c = a t, y(0) = 0: y = a (t - T (1 - exp(-t / T)))."""
    cell = lit(ppm=0.0, exchange_s=0.5, courses=Courses(ppm=(Ramp(0.0, 10.0, 1000.0),)))
    found = envelope(cell.sound(0, 8 * RATE)[:, 0])
    for second in (2.0, 4.0, 7.0):
        t = second + 0.005 - 50 / math.pi / 2012.5
        expected = 100 * (t - 0.5 * (1 - math.exp(-t / 0.5)))
        assert abs(found[round(second * 100)]) / AMPLITUDE_PER_PPM == pytest.approx(expected, rel=5e-4)


EVERYTHING_MOVES = Courses(
    (Swing(5.0, 1.0), Step(0.2, -3.0)),
    (Ramp(0.0, 1.0, 40.0),),
    (Step(0.5, -3e3),),
    (Ramp(0.1, 0.4, 900.0),),
    (Swing(0.1, 0.7),),
)


@settings(max_examples=20)
@given(
    cuts=st.lists(st.integers(1, 3000), min_size=1, max_size=8),
    exchange_s=st.sampled_from([0.0, 0.2]),
    rate=st.sampled_from([8000, 44_100, 48_000]),
    change_at=st.integers(1, 5000),
)
def test_any_split_gives_the_same_bits(cuts: list[int], exchange_s: float, rate: int, change_at: int) -> None:
    def parts(before: list[int], after: list[int]) -> np.ndarray:
        cell = Cell(rate, courses=EVERYTHING_MOVES, exchange_s=exchange_s, clock_wander_ppm=20.0, shape="square")
        SimulatedLaser(cell, 2013.7, 0.5, 0.02).apply(Command("laser", "on"))
        frame, out = 0, []
        for size in before:
            out.append(cell.sound(frame, size))
            frame += size
        cell.set_ppm(900.0)
        cell.set_air(Air(23.0))
        for size in after:
            out.append(cell.sound(frame, size))
            frame += size
        return np.concatenate(out)

    halves = [change_at // 2, change_at - change_at // 2]
    assert np.array_equal(parts(halves, cuts), parts([change_at], [sum(cuts)]))


def test_frames_may_be_skipped() -> None:
    one, other = (lit(courses=EVERYTHING_MOVES, clock_wander_ppm=20.0) for _ in range(2))
    assert np.array_equal(one.sound(0, 40_000)[30_000:], other.sound(30_000, 10_000))


def test_frames_may_be_skipped_ahead_of_a_change() -> None:
    def after(skip: bool) -> np.ndarray:
        cell = lit(courses=EVERYTHING_MOVES, clock_wander_ppm=20.0)
        cell.sound(0, 1000)
        cell.sound(8000 if skip else 1000, 0 if skip else 7000)
        cell.set_air(Air(15.0))
        return cell.sound(8000, 4000)

    assert np.array_equal(after(skip=True), after(skip=False))


def test_nothing_jumps() -> None:
    sound = lit(ppm=100.0, courses=EVERYTHING_MOVES, clock_wander_ppm=50.0).sound(0, 2 * RATE)[:, 0]
    found = envelope(sound)
    largest = 1000 * AMPLITUDE_PER_PPM * 1.1
    assert np.abs(np.diff(found)).max() < largest * (1 - math.exp(-0.01 * math.pi * 2040 / 50))
    assert np.abs(found).max() < largest


@pytest.mark.parametrize("rms", [1e-9, 1e-6])
def test_the_walk_steps_by_its_rms_and_its_time_is_the_integral(rms: float) -> None:
    walk = Walk(rms, noise.Seed(5), 10)
    y = np.array([walk.error(10 * k) for k in range(500)])
    assert y[0] == 0.0
    low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], 499)
    assert low < np.sum(np.diff(y) ** 2) / rms**2 < high
    dense = np.array([walk.error(n) for n in range(401)])
    trapezoids = np.concatenate([[0.0], np.cumsum(dense[1:] + dense[:-1]) / 20])
    times = np.concatenate([walk.time_error(n, 25) for n in range(0, 400, 25)])
    assert np.abs(times - trapezoids[:400]).max() < 1e-12 * rms + 1e-22


def test_the_walk_is_the_same_whatever_was_asked_before() -> None:
    forth, straight = Walk(1e-8, noise.Seed(5), 10), Walk(1e-8, noise.Seed(5), 10)
    forth.error(5000)
    assert forth.error(123) == straight.error(123)
    assert np.array_equal(forth.time_error(995, 20), straight.time_error(995, 20))


def test_the_laser_runs_at_the_wandering_clock() -> None:
    cell = lit(clock_wander_ppm=300.0, clock_offset_ppm=50.0, seed=4)
    sound, seconds = cell.sound(0, 30 * RATE)[:, 0], 30
    found = envelope(sound, hz=2012.5)
    turned = np.unwrap(np.angle(found)) / (2 * np.pi)
    clocks = np.array([cell.state(k * RATE).clock - 1 for k in range(seconds + 1)])
    expected = 2012.5 * np.concatenate([[0.0], np.cumsum(clocks[1:] + clocks[:-1]) / 2])
    assert np.abs(turned[::100] - expected[:-1]).max() < 0.01
    assert clocks[0] == pytest.approx(50e-6, rel=1e-12)
    assert np.ptp(clocks) > 5e-6


def test_tuning_keeps_the_phase_of_a_wandering_clock() -> None:
    """A frequency that is tuned away and back an instant later has gone on as if nothing had been."""
    plain, tuned = (lit(clock_wander_ppm=300.0, seed=4) for _ in range(2))
    laser = SimulatedLaser(tuned, 2012.5, 0.5, 0.02)
    laser.apply(Command("laser", "on"))
    whole = plain.sound(0, 5 * RATE)
    first = tuned.sound(0, 20_001)
    laser.apply(Command("laser", "tune", {"frequency_hz": 2020}))
    laser.apply(Command("laser", "tune", {"frequency_hz": 2012.5}))
    second = tuned.sound(20_001, 5 * RATE - 20_001)
    assert np.abs(np.concatenate([first, second]) - whole).max() < 1e-9
