"""Two microphones against the bound for two, and what happens when one fails."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from gateway.dsp.combine import Combined, Combiner, recombined
from gateway.dsp.demodulator import Phasors
from gateway.dsp.reduce import Reduced
from gateway.types import Pair

WIRES = np.array([1.0, -1.0])
CLEAN = np.zeros(2, bool)


def covariance(common_db: float, gain: float = 1.0, phase_deg: float = 0.0) -> Phasors:
    """Of two microphones with noise 1 of their own and noise in common, that B hears with another gain and phase."""
    heard = 10.0 ** (common_db / 20.0) * np.array([1.0, gain * np.exp(1j * math.radians(phase_deg))])
    return np.asarray(np.eye(2) + np.outer(heard, heard.conj()))


def record(generator: np.random.Generator, noise: Phasors, signal: npt.ArrayLike, snapshots: int = 16) -> Reduced:
    """A record of microphones with the covariance `noise` that hear `signal`."""
    shape = (snapshots + 1, len(noise))
    white = (generator.standard_normal(shape) + 1j * generator.standard_normal(shape)) / math.sqrt(2.0)
    drawn = white @ np.linalg.cholesky(noise + 1e-30 * np.eye(len(noise))).T
    return Reduced(np.asarray(signal) + drawn[0], drawn[1:], 0.0, 0, CLEAN)


def bound(noise: Phasors, weights: npt.NDArray[np.float64] = WIRES) -> float:
    """Least variance of the real part."""
    steering = np.sign(weights)
    return float((weights @ steering) ** 2 / (2.0 * (steering @ np.linalg.inv(noise) @ steering).real))


def run(noise: Phasors, records: int, record_s: float, anew: bool = False, snapshots: int = 16) -> tuple[float, float]:
    """How much the variance is above the bound, dB, and what sigma^2 says of it; the coverage is checked."""
    generator = np.random.default_rng(1)
    combiner = Combiner(WIRES)
    found: list[tuple[complex, float, int]] = []
    for _ in range(records):
        combiner = Combiner(WIRES) if anew else combiner
        heard = record(generator, noise, [5.0, -5.0], snapshots)
        combined = combiner.combine(heard, record_s)
        found.append((*recombined(pair(heard, combined), -1.0), combined.dof))
    errors = np.array([value - 10.0 for value, _, _ in found])
    sigma = np.array([sigma for _, sigma, _ in found])
    limit = scipy.stats.t.ppf(0.975, [dof for _, _, dof in found]) * sigma
    inside = np.concatenate((np.abs(errors.real) < limit, np.abs(errors.imag) < limit))
    low, high = scipy.stats.binom.ppf([1e-4, 1.0 - 1e-4], len(inside), 0.95) / len(inside)
    variance = float(np.mean(np.abs(errors) ** 2)) / 2.0
    excess = 10.0 * math.log10(variance / bound(noise))
    said = float(np.mean(sigma**2)) / variance
    print(f"{excess:.2f} dB above the bound, variance said over true {said:.3f}, coverage {inside.mean():.3f}")
    assert low <= inside.mean() <= high
    assert abs(errors.mean()) < 4.5 * math.sqrt(2.0 * variance / records)
    return excess, said


@pytest.mark.parametrize(
    ("common_db", "gain", "phase_deg"), [(0, 1.05, 2), (20, 1.05, 2), (20, 1.2, 5), (30, 1.2, 5), (40, 1.2, 5)]
)
def test_noise_in_common_goes_out_whatever_the_mismatch(common_db: float, gain: float, phase_deg: float) -> None:
    excess, said = run(covariance(common_db, gain, phase_deg), 1500, 1.0)
    scatter = 4.5 / math.sqrt(1500.0)
    assert 10.0 ** (excess / 10.0) < 1.0 + 1.0 / (16 * 60) + scatter
    assert said == pytest.approx(1.0, abs=scatter)


@pytest.mark.parametrize("snapshots", [6, 16])
def test_a_record_by_itself_pays_for_its_own_covariance(snapshots: int) -> None:
    """Variance K / (K - 1) times the bound, and a sigma that knows it."""
    excess, said = run(covariance(30, 1.2, 5), 1500, 1.0, anew=True, snapshots=snapshots)
    scatter = 4.5 * math.sqrt(1.0 / 1500.0 + 1.0 / (1500.0 * snapshots))
    assert 10.0 ** (excess / 10.0) == pytest.approx(snapshots / (snapshots - 1.0), rel=1.5 * scatter)
    assert said == pytest.approx(1.0, abs=1.5 * scatter)


@pytest.mark.parametrize("record_s", [10.0, 30.0, 600.0])
def test_sigma_is_honest_for_every_share_of_a_record(record_s: float) -> None:
    _, said = run(covariance(30, 1.2, 5), 1500, record_s)
    assert said == pytest.approx(1.0, abs=6.0 / math.sqrt(1500.0))


def test_one_microphone_is_as_it_is() -> None:
    reduced = Reduced(np.array([2.0 + 1j]), np.full((16, 1), 0.5 + 0j), 0.0, 0, np.array([False]))
    combined = Combiner(np.array([-3.0])).combine(reduced, 1.0)
    assert combined.value == pytest.approx(-6.0 - 3.0j)
    assert combined.sigma == pytest.approx(1.5 / math.sqrt(2.0))
    assert (combined.dof, combined.left_out, combined.estimated) == (32, False, False)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [0.5, 0.5], [2.0, -0.7]])
def test_the_gas_reads_as_the_wires_read_it(weights: list[float]) -> None:
    w = np.array(weights)
    gas = (3.0 + 4.0j) * np.sign(w)
    combiner = Combiner(w)
    for seed in range(3):
        noise = record(np.random.default_rng(seed), covariance(20, 1.3), [0.0, 0.0]).noise
        combined = combiner.combine(Reduced(gas, noise, 0.0, 0, CLEAN), 1.0)
        assert combined.value == pytest.approx(complex(w @ gas), rel=1e-9)


def silent(reduced: Reduced, index: int, part: float = 0.0) -> Reduced:
    """With one microphone down to `part` of its noise, and deaf."""
    phasors, noise = reduced.phasors.copy(), reduced.noise.copy()
    noise[:, index] *= part
    phasors[index] = noise[:, index].mean()
    return Reduced(phasors, noise, 0.0, 0, CLEAN)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("part", "signal"), [(0.0, 50.0), (0.0, 0.0), (0.01, 0.0), (0.2, 500.0)])
@pytest.mark.parametrize("learnt", [0, 30])
def test_a_dead_microphone_drops_out_and_comes_back(index: int, part: float, signal: float, learnt: int) -> None:
    """Silent, or an open input with noise of its own, before anything is learnt and after."""
    generator = np.random.default_rng(3)
    noise = covariance(10, 1.1)
    combiner, without = Combiner(WIRES), Combiner(WIRES)
    heard = signal * WIRES
    for _ in range(learnt):
        reduced = record(generator, noise, heard)
        assert not combiner.combine(reduced, 1.0).left_out
        without.combine(reduced, 1.0)
    for _ in range(100):
        reduced = silent(record(generator, noise, heard), index, part)
        combined = combiner.combine(reduced, 1.0)
        assert combined.left_out
        assert combined.value == pytest.approx(2.0 * WIRES[1 - index] * complex(reduced.phasors[1 - index]))
        assert combined.sigma == pytest.approx(2.0 * math.sqrt(np.mean(np.abs(reduced.noise[:, 1 - index]) ** 2) / 2.0))
    for _ in range(3):
        reduced = record(generator, noise, heard)
        back, never = combiner.combine(reduced, 1.0), without.combine(reduced, 1.0)
        assert (back.left_out, back.value, back.sigma) == (False, never.value, never.sigma)


def test_a_quiet_room_and_a_loud_one_kill_no_microphone() -> None:
    generator = np.random.default_rng(4)
    combiner = Combiner(WIRES)
    for common_db in [40.0] * 30 + [-40.0] * 30 + [40.0] * 5:
        assert not combiner.combine(record(generator, covariance(common_db, 1.2), [0.0, 0.0]), 1.0).left_out
    combiner = Combiner(WIRES)
    for loud in [1.0] * 3 + [1e5] * 10:
        rattling = np.diag([loud, 1.0]) + 0j
        assert not combiner.combine(record(generator, rattling, [0.0, 0.0]), 1.0).left_out


def test_a_clipped_microphone_drops_out_unless_both_are() -> None:
    generator = np.random.default_rng(5)
    reduced = record(generator, covariance(0), [5.0, -5.0])
    one = Reduced(reduced.phasors, reduced.noise, 0.0, 0, np.array([True, False]))
    both = Reduced(reduced.phasors, reduced.noise, 0.0, 0, np.array([True, True]))
    a, b = Combiner(WIRES).combine(one, 1.0), Combiner(WIRES).combine(both, 1.0)
    assert (a.left_out, a.estimated, b.left_out, b.estimated) == (True, False, False, True)
    assert a.value == pytest.approx(-2.0 * complex(reduced.phasors[1]))
    dead = silent(reduced, 1)
    c = Combiner(WIRES).combine(Reduced(dead.phasors, dead.noise, 0.0, 0, np.array([True, False])), 1.0)
    assert (c.left_out, c.estimated) == (True, True)
    assert c.value == pytest.approx(2.0 * complex(reduced.phasors[0]))


def test_silence_is_read_as_the_wires_read_it() -> None:
    nothing = Reduced(np.zeros(2, complex), np.zeros((16, 2), complex), 0.0, 0, CLEAN)
    combiner = Combiner(WIRES)
    combined = combiner.combine(nothing, 1.0)
    assert (combined.value, combined.sigma, combined.left_out) == (0.0, 0.0, False)
    generator = np.random.default_rng(6)
    woken = combiner.combine(silent(record(generator, covariance(0), [5.0, -5.0]), 1), 1.0)
    assert woken.left_out


def pair(reduced: Reduced, combined: Combined) -> Pair:
    (aa, ab), (ba, bb) = combined.covariance.tolist()
    a, b = reduced.phasors.tolist()
    return Pair((a, b), ((aa, ab), (ba, bb)), (1.0, -1.0))


def test_the_result_is_as_the_wires_mix_it() -> None:
    """Whatever the noise in common: nobody has said what the steering is."""
    generator = np.random.default_rng(7)
    combiner = Combiner(WIRES)
    found, heard = [], 5.0 * np.array([1.0, -0.9])
    for _ in range(1000):
        reduced = record(generator, covariance(20, 1.2, 5), heard)
        combined = combiner.combine(reduced, 1.0)
        assert combined.value == pytest.approx(complex(WIRES @ reduced.phasors), rel=1e-12)
        found.append((combined.value, combined.sigma))
    errors = np.array([value for value, _ in found]) - complex(WIRES @ heard)
    variance = float((WIRES @ covariance(20, 1.2, 5) @ WIRES).real) / 2.0
    assert abs(errors.mean()) < 4.5 * math.sqrt(2.0 * variance / 1000.0)
    assert np.mean([sigma**2 for _, sigma in found]) == pytest.approx(variance, rel=4.5 / math.sqrt(16_000.0))


def test_a_calibrated_steering_takes_the_bias_out() -> None:
    """B hears the gas with 0.7 of A and 10 degrees late: the value is then as the wires would read that."""
    steering = -0.7 * np.exp(-1j * math.radians(10.0))
    noise = covariance(30, 1.2, 5)
    heard = 5.0 * np.array([1.0, steering])
    generator = np.random.default_rng(8)
    combiner = Combiner(WIRES)
    found = []
    for _ in range(1000):
        reduced = record(generator, noise, heard)
        found.append(recombined(pair(reduced, combiner.combine(reduced, 1.0)), complex(steering)))
    errors = np.array([value for value, _ in found]) - complex(WIRES @ heard)
    variance = float(np.mean(np.abs(errors) ** 2)) / 2.0
    s = np.array([1.0, steering])
    least = abs(1.0 - steering) ** 2 / (2.0 * (s.conj() @ np.linalg.inv(noise) @ s).real)
    said = float(np.mean([sigma**2 for _, sigma in found])) / variance
    print(f"variance over bound {variance / least:.3f}, said over true {said:.3f} (limits 1 +- 0.14)")
    assert abs(errors.mean()) < 4.5 * math.sqrt(2.0 * variance / 1000.0)
    assert variance / least == pytest.approx(1.0, abs=4.5 / math.sqrt(1000.0))
    assert said == pytest.approx(1.0, abs=4.5 / math.sqrt(1000.0))
