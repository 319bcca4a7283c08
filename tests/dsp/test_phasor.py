"""Amplitude and sigma against the Cramer-Rao bounds, with limits from theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from gateway.dsp.demodulator import Demodulator, exact
from gateway.dsp.phasor import Phasor
from gateway.dsp.reduce import reduce
from tests.support.sound import noise, tone

TRIALS = 300


def phasor(samples: np.ndarray, frequency_hz: float, rate_hz: int, turn_rad: float = 0.0) -> Phasor:
    """As the lock_in finds it, turned by `turn_rad`."""
    demodulator = Demodulator([exact(frequency_hz)], rate_hz)
    z = demodulator.push(0, samples)[1][:, :, 0] * np.exp(1j * turn_rad)
    images = demodulator.images(0, 0, len(z)) * np.exp(2j * turn_rad)
    found = reduce(z, images, np.zeros(z.shape))
    sigma = math.sqrt(float(np.mean(np.abs(found.noise) ** 2)) / 2.0)
    return Phasor(complex(found.phasors[0]), sigma, 2 * len(found.noise))


def estimates(frequency_hz: float, amplitude: float, density: float, rate_hz: int = 48_000) -> list[Phasor]:
    clean = tone(frequency_hz, amplitude, 1.0, rate_hz, 0.3)
    out = []
    for seed in range(TRIALS):
        samples = (clean + noise(density, 1.0, rate_hz, seed)).astype(np.float32)[:, None]
        out.append(phasor(samples, frequency_hz, rate_hz, -0.3))
    return out


@pytest.mark.parametrize("amplitude", [0.0, 1e-6, 1e-3, 0.5])
def test_the_projection_is_unbiased_and_reaches_the_bound(amplitude: float) -> None:
    density = 1e-5
    bound = density  # var A = e_n^2 / T, T = 1 s
    found = np.array([phasor.value.real for phasor in estimates(2012.5, amplitude, density)])
    bias = abs(found.mean() - amplitude) / (bound / math.sqrt(TRIALS))
    low, high = scipy.stats.chi2.ppf([1e-5, 1 - 1e-5], TRIALS - 1) / (TRIALS - 1)
    ratio = found.var(ddof=1) / bound**2
    print(f"bias {bias:.2f} standard errors (limit 4.5), variance over bound {ratio:.3f} (limits {low:.3f} {high:.3f})")
    assert bias < 4.5
    assert low < ratio < high


def test_sigma_says_what_the_scatter_is() -> None:
    density = 1e-5
    phasors = estimates(2013.7, 0.01, density)
    dof = phasors[0].dof
    assert dof == 32
    mean_square = np.mean([phasor.sigma**2 for phasor in phasors]) / density**2
    low, high = scipy.stats.chi2.ppf([1e-5, 1 - 1e-5], TRIALS * dof) / (TRIALS * dof)
    assert low < mean_square < high


def test_sigma_of_a_short_record_is_right_too() -> None:
    density, seconds = 1e-5, 0.1
    squares, dof = [], 0
    for seed in range(TRIALS):
        samples = noise(density, seconds, 48_000, seed).astype(np.float32)[:, None]
        found = phasor(samples, 2012.5, 48_000)
        squares.append(found.sigma**2 * seconds / density**2)
        dof = found.dof
    low, high = scipy.stats.chi2.ppf([1e-5, 1 - 1e-5], TRIALS * dof) / (TRIALS * dof)
    assert low < np.mean(squares) < high


def test_coverage_is_that_of_student() -> None:
    phasors = estimates(2012.5, 0.01, 1e-5)
    t = scipy.stats.t.ppf(0.975, phasors[0].dof)
    covered = sum(abs(phasor.value.real - 0.01) < t * phasor.sigma for phasor in phasors)
    low, high = scipy.stats.binom.ppf([1e-5, 1 - 1e-5], TRIALS, 0.95)
    assert low <= covered <= high
