"""Each step from phasor to concentration against its closed form, each uncertainty against a Monte Carlo of its
input."""

from __future__ import annotations

import cmath
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dsp.calibrate import Curve
from gateway.dsp.compensate import Change, Doubt, GasLaw, Light, Reading, Tone, Water, effective_dof, read

LINE = Curve(3e-4 - 7e-4j, 2.2, 2.4e-5, 0.0, np.zeros((2, 2)))
BENT = replace(LINE, bend=4e-5, covariance=np.zeros((3, 3)))
CERTAIN, UNCHANGED = Doubt(), Change()
TRIALS = 20_000


def phasor(curve: Curve, ppm: float, change: Change = UNCHANGED) -> complex:
    """What the lock_in hears of a concentration: the model, forwards."""
    x = curve.k * ppm / (1.0 + curve.bend * ppm)
    ring = (1.0 + 1j * change.detuning) / (1.0 + 1j * change.detuning_then)
    return change.light * (curve.background + x * cmath.exp(1j * curve.phase_rad) * change.response / ring)


def found(curve: Curve, z: complex, change: Change = UNCHANGED, doubt: Doubt = CERTAIN, sigma: float = 0.0) -> Reading:
    reading = read(curve, Tone(z, sigma, 30), change, doubt)
    assert reading is not None
    return reading


changes = st.builds(
    Change,
    light=st.floats(0.2, 3.0),
    detuning=st.floats(-2.0, 2.0),
    detuning_then=st.floats(-0.5, 0.5),
    response=st.floats(0.3, 3.0),
)


@given(changes, st.floats(-50.0, 10_000.0), st.sampled_from([LINE, BENT]))
def test_what_changed_is_undone_exactly(change: Change, ppm: float, curve: Curve) -> None:
    assert found(curve, phasor(curve, ppm, change), change).ppm == pytest.approx(ppm, rel=1e-9, abs=1e-8)


@given(changes, st.floats(0.0, 5000.0), st.floats(0.1, 10.0))
def test_gain_and_phase_of_the_chain_do_not_matter(change: Change, ppm: float, gain: float) -> None:
    """Everything before the lock_in that the calibration saw as well: gain g and turn a."""
    turn = gain * cmath.exp(0.7j)
    change = replace(change, sigma_light=0.01, sigma_detuning=0.02)
    other = replace(LINE, background=LINE.background * turn, phase_rad=LINE.phase_rad + 0.7, k=LINE.k * gain)
    one = found(LINE, phasor(LINE, ppm, change), change, Doubt(1e-6), 2e-6)
    two = found(other, phasor(LINE, ppm, change) * turn, change, Doubt(1e-6 * gain), 2e-6 * gain)
    assert two.ppm == pytest.approx(one.ppm, rel=1e-9, abs=1e-8)
    assert two.lod == pytest.approx(one.lod, rel=1e-9)
    assert two.terms == pytest.approx(dict(one.terms), rel=1e-9, abs=1e-12)


def test_the_fundamental_of_the_light() -> None:
    light = Light(0.02, 0.5, 0.0)
    assert light.ratio(0.018, 0.5) == pytest.approx(0.9)
    assert light.ratio(0.02, 1.0 / 6.0) == pytest.approx(0.5)  # sin(30 degrees)
    t = (np.arange(360_000) + 0.5) / 360_000
    for duty in (0.1, 0.37, 0.5):
        lit = (t < duty).astype(float)
        fundamental = abs(np.mean(lit * np.exp(-2j * np.pi * t)))
        assert light.ratio(0.02, duty) == pytest.approx(math.pi * fundamental, rel=1e-4)


def test_water_and_gas_law() -> None:
    water = Water(30.0, -200.0, 0.5, 0.01, 1e-4)
    assert water.ratio(0.01) == 1.0
    assert water.ratio(0.02) == pytest.approx((1 + 0.6 - 0.08) / (1 + 0.3 - 0.02))
    law = GasLaw(1.3, -1.0, 20.0, 101_325.0, 0.2, 50.0)
    assert law.ratio(20.0, 101_325.0) == 1.0
    assert law.ratio(35.0, 90_000.0) == pytest.approx((293.15 / 308.15) ** 1.3 * (90_000 / 101_325))
    assert law.sigma(35.0, 90_000.0) == pytest.approx(math.hypot(1.3 * 0.2 / 308.15, 50 / 90_000))


def normal(seed: int, sigma: float, size: int = TRIALS) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, sigma, size)


CHANGE = Change(light=0.9, detuning=0.5, detuning_then=-0.1, response=1.2)


def spread(values: list[float], expected: float) -> None:
    """The standard deviation is within five of its own standard errors, and 1 % of second order, of `expected`."""
    assert np.std(values) == pytest.approx(expected, rel=5.0 / math.sqrt(2 * TRIALS) + 0.01)


@pytest.mark.parametrize("curve", [LINE, BENT])
@pytest.mark.parametrize("ppm", [0.0, 1500.0])
def test_noise_and_background(curve: Curve, ppm: float) -> None:
    z, s = phasor(curve, ppm, CHANGE), 2e-6
    noise = normal(1, s) + 1j * normal(2, s)
    spread([found(curve, z + n, CHANGE).ppm for n in noise], found(curve, z, CHANGE, sigma=s).terms["noise"])
    turned = cmath.exp(1j * curve.phase_rad)
    wrong = [found(replace(curve, background=curve.background + turned * n), z, CHANGE).ppm for n in noise]
    known = np.zeros_like(curve.covariance)
    known[0, 0] = s**2
    told = found(replace(curve, covariance=known), z, CHANGE, Doubt(s)).terms
    spread(wrong, math.hypot(told["curve"], told["background"]))


def test_curve() -> None:
    true, z = BENT, phasor(BENT, 1500.0, CHANGE)
    deviations = np.diag([0.0, 3e-8, 2e-6])
    covariance = deviations @ np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.6], [0.0, 0.6, 1.0]]) @ deviations
    drawn = np.random.default_rng(3).multivariate_normal([0.0, true.k, true.bend], covariance, TRIALS)
    values = [found(replace(true, k=k, bend=bend), z, CHANGE).ppm for _, k, bend in drawn]
    spread(values, found(replace(true, covariance=covariance), z, CHANGE).terms["curve"])


@pytest.mark.parametrize("ppm", [0.0, 1500.0])
def test_light(ppm: float) -> None:
    z, u = phasor(BENT, ppm, CHANGE), 0.01
    values = [found(BENT, z, replace(CHANGE, light=CHANGE.light * (1 + n))).ppm for n in normal(4, u)]
    spread(values, found(BENT, z, replace(CHANGE, sigma_light=u)).terms["light"])


@pytest.mark.parametrize("detuning", [-0.5, 0.5, 1.5])
def test_resonance(detuning: float) -> None:
    change = replace(CHANGE, detuning=detuning)
    z, u = phasor(BENT, 1500.0, change), 0.01
    values = [found(BENT, z, replace(change, detuning=detuning + n)).ppm for n in normal(5, u)]
    spread(values, found(BENT, z, replace(change, sigma_detuning=u)).terms["resonance"])


def test_an_uncertain_resonance_counts_on_resonance_in_second_order() -> None:
    on = Change()
    told = found(LINE, phasor(LINE, 1000.0), replace(on, sigma_detuning=0.05)).terms["resonance"]
    values = [found(LINE, phasor(LINE, 1000.0, replace(on, detuning=n))).ppm for n in normal(14, 0.05)]
    assert np.std(values) == pytest.approx(told, rel=0.05)


def test_water_gas_law_and_steering() -> None:
    z = phasor(BENT, 1500.0, CHANGE)
    water = Water(30.0, -200.0, 0.5, 0.01, 3e-4)
    w, r1 = 0.02 + normal(6, 3e-4), 30.0 + normal(7, 0.5)
    ratios = [replace(water, r1=float(r)).ratio(float(x)) / water.ratio(0.02) for r, x in zip(r1, w, strict=True)]
    assert np.std(ratios) == pytest.approx(water.sigma(0.02), rel=0.03)
    law = GasLaw(1.3, -1.0, 20.0, 101_325.0, 0.5, 300.0)
    t, p = 35.0 + normal(8, 0.5), 90_000.0 + normal(9, 300.0)
    masses = [law.ratio(float(a), float(b)) / law.ratio(35.0, 90_000.0) for a, b in zip(t, p, strict=True)]
    assert np.std(masses) == pytest.approx(law.sigma(35.0, 90_000.0), rel=0.03)
    values = [found(BENT, z, replace(CHANGE, response=CHANGE.response * ratio)).ppm for ratio in ratios]
    for name in ("water", "gas", "steering"):
        told = found(BENT, z, replace(CHANGE, **{f"sigma_{name}": water.sigma(0.02)})).terms
        spread(values, told["gas law" if name == "gas" else name])
        assert math.hypot(*told.values()) == told["gas law" if name == "gas" else name]


def test_drift_and_the_rest() -> None:
    doubt = Doubt(drift_ppm=0.3, drift_percent=0.1, percent=2.0)
    terms = found(LINE, phasor(LINE, 500.0), Change(days=10.0), doubt).terms
    assert terms["drift"] == pytest.approx(math.hypot(3.0, 5.0))
    assert terms["calibration"] == pytest.approx(10.0)
    assert found(LINE, phasor(LINE, 0.0), Change(days=10.0), doubt).terms["drift"] == pytest.approx(3.0)


def test_nothing_is_uncertain_that_is_not_told() -> None:
    terms = found(BENT, phasor(BENT, 500.0, CHANGE), CHANGE).terms
    assert set(terms.values()) == {0.0}


def test_the_limit_of_detection_is_three_sigma_at_zero_whatever_is_read() -> None:
    change = replace(CHANGE, sigma_light=0.01, sigma_detuning=0.1, sigma_gas=0.1, days=3.0)
    doubt = Doubt(1e-6, 0.01, 0.5, 3.0)
    at_zero, above = (found(BENT, phasor(BENT, ppm, change), change, doubt, 2e-6) for ppm in (0.0, 3000.0))
    assert at_zero.lod == pytest.approx(3.0 * at_zero.sigma, rel=1e-9)
    assert above.lod == pytest.approx(at_zero.lod, rel=1e-9)
    assert above.sigma > 10 * at_zero.sigma


def test_degrees_of_freedom() -> None:
    reading = found(LINE, phasor(LINE, 500.0), doubt=Doubt(percent=1.0), sigma=1.2e-4)  # 5 ppm and 5 ppm
    assert reading.sigma == pytest.approx(5.0 * math.sqrt(2.0))
    assert reading.dof == 120  # 30 * 2^2, rounded down
    assert reading.rest == pytest.approx(5.0)
    assert effective_dof(1.0, 0.0, 30) == effective_dof(1.0, 1e-3, 30) == 10_000


def test_no_concentration_gives_that() -> None:
    saturated = phasor(BENT, 1e12)
    assert read(BENT, Tone(BENT.background + 1.001 * (saturated - BENT.background), 0.0, 1), Change(), CERTAIN) is None
    for nothing in (Change(light=0.0), Change(response=0.0)):
        assert read(BENT, Tone(1.0, 0.0, 1), nothing, CERTAIN) is None


def length_of(curve: Curve, length: float, change: Change = CHANGE, doubt: Doubt = CERTAIN, s: float = 0.0) -> Reading:
    reading = read(curve, Tone(length, s, 30, phase_known=False), change, doubt)
    assert reading is not None
    return reading


@given(changes, st.floats(100.0, 10_000.0), st.sampled_from([LINE, BENT]))
def test_without_a_phase_the_length_is_inverted(change: Change, ppm: float, curve: Curve) -> None:
    """Exactly, above the concentration at which the length is least."""
    z = phasor(curve, ppm, change)
    direction = phasor(curve, ppm, change) - phasor(curve, 0.0, change)
    if (z * direction.conjugate()).real > 0.0:
        assert length_of(curve, abs(z), change).ppm == pytest.approx(ppm, rel=1e-6, abs=1e-3)


def test_without_a_phase_the_uncertainties() -> None:
    z, s = phasor(BENT, 1500.0, CHANGE), 2e-5
    noise = normal(11, s) + 1j * normal(12, s)
    spread([length_of(BENT, abs(z + n)).ppm for n in noise], length_of(BENT, abs(z), s=s).terms["noise"])
    wrong = [length_of(replace(BENT, background=BENT.background + n), abs(z)).ppm for n in noise]
    assert np.std(wrong) == pytest.approx(length_of(BENT, abs(z), doubt=Doubt(s)).terms["background"], rel=0.05)
    values = [length_of(BENT, abs(z), replace(CHANGE, light=0.9 * (1 + n))).ppm for n in normal(13, 0.005)]
    spread(values, length_of(BENT, abs(z), replace(CHANGE, sigma_light=0.005)).terms["light"])


def test_without_a_phase_and_background_zero_gas_has_the_noise_of_a_component() -> None:
    bare = replace(LINE, background=0j)
    reading = length_of(bare, 0.0, Change(), s=2.4e-6)
    assert reading.ppm == 0.0
    assert reading.terms["noise"] == pytest.approx(0.1)
    assert reading.lod == pytest.approx(0.3)
