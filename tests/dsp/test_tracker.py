"""The line fit against the Cramer-Rao bounds, and where there is no line."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.dsp.tracker import fit_line

STEP_S, TRIALS, SIGMA = 0.01, 1000, 0.3


@pytest.mark.parametrize("offset_hz", [0.0, 0.2, -1.7])
def test_rate_phase_and_amplitude_reach_the_bounds(offset_hz: float) -> None:
    rng, t = np.random.default_rng(1), 5.0 + (np.arange(200) + 0.5) * STEP_S
    found = []
    for _ in range(TRIALS):
        noise = SIGMA * (rng.standard_normal(200) + 1j * rng.standard_normal(200))
        found.append(fit_line(t, np.exp(1j * (2.0 * np.pi * offset_hz * (t - 6.0) + 0.5)) + noise, STEP_S, 2.0))
    sigma = SIGMA / math.sqrt(200)
    at_end = np.array([float(line.phase_at(np.array([7.0]))[0]) for line in found]) - 0.5 - 2.0 * np.pi * offset_hz
    for deviations, bound in (
        (np.array([line.amplitude for line in found]) - 1.0, sigma),
        (np.array([line.offset_hz for line in found]) - offset_hz, sigma * math.sqrt(12.0) / (2.0 * math.pi * 2.0)),
        (at_end, 2.0 * sigma),
    ):
        # the variance is known to sqrt(2 / trials); the amplitude has the bias of a magnitude, sigma^2 / 2
        assert abs(np.mean(deviations)) < 4.0 * bound / math.sqrt(TRIALS) + sigma**2
        assert abs(np.var(deviations) / bound**2 - 1.0) < 4.0 * math.sqrt(2.0 / TRIALS) + 0.01
    assert found[0].sigma_phase(7.0) * found[0].snr == pytest.approx(2.0, rel=1e-3)
    assert np.mean([line.sigma**2 for line in found]) == pytest.approx(sigma**2, rel=4.0 * math.sqrt(2.0 / 30 / TRIALS))


def test_times_with_a_gap() -> None:
    t = np.concatenate((np.arange(300), 2000.37 + np.arange(300))) * STEP_S
    line = fit_line(t, 0.2 * np.exp(1j * (2.0 * np.pi * 0.731 * t + 1.0)), STEP_S, 2.0)
    assert line.offset_hz == pytest.approx(0.731, abs=1e-9)
    assert np.allclose(np.exp(1j * line.phase_at(t)), np.exp(1j * (2.0 * np.pi * 0.731 * t + 1.0)))


def test_the_flank_of_another_tone_is_no_line() -> None:
    t = np.arange(100) * STEP_S
    assert fit_line(t, np.exp(2j * np.pi * 0.7 * t), STEP_S, 0.5).amplitude == 0.0
    assert fit_line(t, np.exp(2j * np.pi * 1.3 * t), STEP_S, 0.5).snr < 6.0
    assert fit_line(t, np.exp(2j * np.pi * 0.4 * t), STEP_S, 0.5).amplitude == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize("count", [6, 10, 100, 6001])
def test_silence_is_no_line(count: int) -> None:
    line = fit_line(np.arange(count) * STEP_S, np.zeros(count, np.complex128), STEP_S, 2.0)
    assert line.snr == 0.0
    assert line.sigma_offset_hz == line.sigma_phase(0.0) == math.inf


def test_the_ripple_is_that_of_the_magnitude_without_the_noise() -> None:
    rng, t = np.random.default_rng(2), np.arange(1000) * STEP_S
    noise = 0.1 * (rng.standard_normal(1000) + 1j * rng.standard_normal(1000))
    swell = 1.0 + 0.3 * math.sqrt(2.0) * np.cos(2.0 * np.pi * 0.1 * t)
    # 32 means of a cosine, of which neighbours differ a little, in noise of 0.1 / sqrt(31)
    assert fit_line(t, swell + noise, STEP_S, 0.5).ripple() == pytest.approx(0.3, abs=0.01)
    assert fit_line(t, 1.0 + noise, STEP_S, 0.5).ripple() < 0.018
