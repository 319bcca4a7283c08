"""The smoother in white noise, on steps and on ramps; noise of 0.45 ppm as in the notes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dsp.smooth import Smoother

SIGMA = 0.45
Reals = npt.NDArray[np.float64]


def smoothed(values: Reals, walk: float | None) -> tuple[Reals, Reals]:
    smoother = Smoother(walk)
    out = [smoother.step(float(value), SIGMA, float(i)) for i, value in enumerate(values)]
    mean, sigma = np.array(out, dtype=np.float64).T
    return mean, sigma


def noise(count: int, seed: int) -> Reals:
    return SIGMA * np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize(("walk", "most"), [(0.02, 0.07), (0.003, 0.032), (None, 0.032)])
def test_a_steady_value(walk: float | None, most: float) -> None:
    """The rows of the table: the standard deviation; the sigma that is told covers it, and is small nearly always."""
    mean, sigma = smoothed(400.0 + noise(20_600, 1), walk)
    mean, sigma = mean[600:] - 400.0, sigma[600:]
    covered = float((np.abs(mean) < 1.96 * sigma).mean())
    wide = float((sigma > 0.3 * SIGMA).mean())
    print(f"sd {mean.std():.4f} (limit {most}), covered {covered:.4f}, told too wide {wide:.4f}")
    assert mean.std() < most
    assert covered > 0.93
    assert wide < 0.01


@pytest.mark.parametrize("walk", [0.02, 0.003, None])
@pytest.mark.parametrize(("step", "records"), [(5.0, 2), (50.0, 1)])
def test_a_step_is_followed(walk: float | None, step: float, records: int) -> None:
    """t90 of the median of 60 steps."""
    answers = []
    for seed in range(60):
        values = noise(320, seed)
        values[300:] += step * SIGMA
        answers.append(smoothed(values, walk)[0][300:] / (step * SIGMA))
    reached = np.median(np.array(answers), axis=0) > 0.9
    print(f"t90 {int(np.argmax(reached)) + 1} records (limit {records})")
    assert reached[records - 1]


def test_a_wandering_value_is_covered() -> None:
    """The truth walks as it was told: the filter is optimal, and 95 % lie within 1.96 sigma."""
    generator = np.random.default_rng(2)
    truth = 400.0 + np.cumsum(0.02 * generator.standard_normal(20_000))
    mean, sigma = smoothed(truth + noise(20_000, 3), 0.02)
    covered = float((np.abs(mean - truth) < 1.96 * sigma)[300:].mean())
    print(f"covered {covered:.3f}, rms {np.std((mean - truth)[300:]):.3f}, told {np.median(sigma):.3f}")
    assert 0.93 < covered < 0.98


@pytest.mark.parametrize("slope", [0.01, 0.05, 0.2, 1.0])
def test_a_ramp_lags_and_the_sigma_says_so(slope: float) -> None:
    """Slope in sigmas a second. The lag is at most 2 sigma on average, and the sigma that is told is at least two
    thirds of the error that is made.
    """
    truth = slope * SIGMA * np.maximum(0.0, np.arange(4000.0) - 300.0)
    mean, sigma = smoothed(truth + noise(4000, 4), None)
    error = (mean - truth)[600:] / SIGMA
    made, told = math.sqrt(float((error**2).mean())), math.sqrt(float((sigma[600:] ** 2).mean())) / SIGMA
    covered = float((np.abs(error) < 1.96 * sigma[600:] / SIGMA).mean())
    print(f"lag {-error.mean():.2f} sigma, error {made:.2f}, told {told:.2f}, covered {covered:.2f}")
    assert -error.mean() < 2.0
    assert told > 0.67 * made


def test_false_resets_are_rare() -> None:
    """One in 56 000 records by Siegmund's approximation: in 60 000 more than 6 have a chance of 2e-4."""
    smoother, resets = Smoother(0.0), 0
    for i, value in enumerate(noise(60_000, 5)):
        before = smoother.variance
        smoother.step(float(value), SIGMA, float(i))
        resets += i > 0 and smoother.variance > before
    print(f"{resets} resets in 60 000 records (limit 6)")
    assert resets <= 6


def test_without_a_walk_it_is_the_weighted_mean() -> None:
    """Varying sigmas: weights 1 / sigma^2, variance 1 / sum of them."""
    values, sigmas = (1.0, 1.2, 0.9, 1.1), (0.5, 0.2, 1.0, 0.4)
    smoother = Smoother(0.0)
    for i, (value, sigma) in enumerate(zip(values, sigmas, strict=True)):
        last = smoother.step(value, sigma, float(i))
    weights = np.array(sigmas) ** -2.0
    assert last is not None
    assert last[0] == pytest.approx(float((weights * values).sum() / weights.sum()), rel=1e-12)
    assert last[1] == pytest.approx(float(weights.sum() ** -0.5), rel=1e-12)


def test_missing_values_and_gaps_only_add_age() -> None:
    smoother = Smoother(0.1)
    assert smoother.step(None, 1.0, 0.0) is None
    assert smoother.step(math.nan, 1.0, 1.0) is None
    assert smoother.step(5.0, 1.0, 2.0) == (5.0, 1.0)
    for value, sigma in [(None, 1.0), (math.nan, 1.0), (math.inf, 1.0), (9.0, math.nan), (9.0, math.inf)]:
        told = smoother.step(value, sigma, 302.0)
        assert told is not None
        assert told[0] == 5.0
        assert told[1] == pytest.approx(math.sqrt(1.0 + 0.1**2 * 300.0))


def test_a_value_without_noise_is_taken_as_it_is() -> None:
    smoother = Smoother()
    assert [smoother.step(value, 0.0, float(i)) for i, value in enumerate((0.0, 0.0, 3.0))][-1] == (
        3.0,
        pytest.approx(0.0),
    )


@given(st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_scale_and_offset_go_through(scale: float, offset: float) -> None:
    values = np.random.default_rng(6).standard_normal(60)
    values[40:] += 6.0
    one, other = Smoother(), Smoother()
    for i, value in enumerate(values):
        first = one.step(float(value), 1.0, float(i))
        second = other.step(float(scale * (value + offset)), scale, float(i))
    assert first is not None
    assert second is not None
    assert second[0] == pytest.approx(scale * (first[0] + offset), abs=1e-6 * scale)
    assert second[1] == pytest.approx(scale * first[1], rel=1e-6)


@pytest.mark.parametrize("gap_s", [0.0, 1000.0])
def test_a_new_stream_goes_on_with_the_old_value_as_uncertain_as_the_pause_made_it(gap_s: float) -> None:
    """After 1000 values the next one of a new stream, a second on, finds the variance p + q (gap + 1)."""
    walk = 0.02
    smoother = Smoother(walk)
    for i, value in enumerate(400.0 + noise(1000, 3)):
        smoother.step(float(value), SIGMA, float(i))
    before = smoother.variance
    smoother.renewed(gap_s)
    predicted = before + walk**2 * (gap_s + 1.0)
    found = smoother.step(None, SIGMA, 1.0)
    assert found is not None
    assert smoother.variance == pytest.approx(predicted)
    assert abs(found[0] - 400.0) < 4.5 * math.sqrt(predicted)
