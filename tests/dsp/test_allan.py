"""Allan deviation against published numbers, identities of the three noises, and limits from theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dsp.allan import Noise, analyse, deviation, edf, interval, octaves

WHITE = np.array([1.0, 0.0, 0.0])


def walk(count: int, per_sqrt_s: float, spacing_s: float, rng: np.random.Generator) -> np.ndarray:
    """Averages of a Wiener process over adjacent records: exact, by the mean of a Brownian bridge."""
    steps = rng.standard_normal(count) * math.sqrt(spacing_s)
    bridge = rng.standard_normal(count) * math.sqrt(spacing_s / 12.0)
    return per_sqrt_s * (np.cumsum(steps) - steps / 2.0 + bridge)


def flicker(count: int, floor: float, rng: np.random.Generator) -> np.ndarray:
    """1/f noise whose Allan deviation is `floor`: sidebands of power h/f, floor^2 = 2 ln 2 h."""
    size = 8 * count
    f = np.fft.rfftfreq(size)[1:]
    h = floor**2 / (2.0 * math.log(2.0))
    averaged = np.sqrt(h / f) * np.sinc(f)
    lines = (rng.standard_normal(len(f)) + 1j * rng.standard_normal(len(f))) * averaged * math.sqrt(size) / 2.0
    return np.fft.irfft(np.concatenate(([0.0], lines)), size)[:count]


def slope(values: np.ndarray, first: int = 1) -> float:
    """Slope of log deviation over log tau, weighted with the degrees of freedom of white noise."""
    steps = [m for m in octaves(len(values)) if m >= first]
    weights = [math.sqrt(len(values) / m) for m in steps]
    return float(np.polyfit(np.log(steps), np.log([deviation(values, m) for m in steps]), 1, w=weights)[0])


def test_three_values_by_hand() -> None:
    # differences of [1, 3, 2, 6]: 2, -1, 4; half the mean of 4, 1, 16 is 3.5. Pairs: mean 2 and 4, (4 - 2)^2 / 2 = 2
    values = np.array([1.0, 3.0, 2.0, 6.0])
    assert deviation(values, 1) == pytest.approx(math.sqrt(3.5), rel=1e-14)
    assert deviation(values, 2) == pytest.approx(math.sqrt(2.0), rel=1e-14)


def test_the_published_nine_values() -> None:
    """NIST SP 1065, section 12.4, the small data set."""
    values = np.array([892.0, 809.0, 823.0, 798.0, 671.0, 644.0, 883.0, 903.0, 677.0])
    assert deviation(values, 1) == pytest.approx(91.22945, abs=5e-6)
    assert deviation(values, 2) == pytest.approx(85.95287, abs=5e-6)


@pytest.mark.parametrize(("m", "published"), [(1, 2.922319e-1), (10, 9.159953e-2), (100, 3.241343e-2)])
def test_the_published_thousand_values(m: int, published: float) -> None:
    """NIST SP 1065, section 12.4, table 31."""
    number, values = 1234567890, []
    for _ in range(1000):
        values.append(number / 2147483647)
        number = 16807 * number % 2147483647
    assert deviation(np.array(values), m) == pytest.approx(published, rel=5e-7)


def test_white_noise() -> None:
    values = np.random.default_rng(1).standard_normal(30_000) * 0.45
    assert abs(slope(values) + 0.5) < 0.05
    found = analyse(values, 2.0)
    for point in found.points:
        low, high = interval(point.deviation, point.edf, 0.9999)
        assert low < 0.45 / math.sqrt(point.tau_s / 2.0) < high
    assert found.noise.walk == found.noise.floor == 0.0
    assert found.noise.optimum_s == math.inf
    assert found.best_s == found.points[-1].tau_s
    assert abs(found.noise.white - 0.45 * math.sqrt(2.0)) < 4.5 * found.noise.u_white
    # all that N values can tell of their variance: sigma / sqrt(2 N)
    assert found.noise.u_white == pytest.approx(0.45 * math.sqrt(2.0) / math.sqrt(2 * 30_000), rel=0.1)


def test_random_walk_rises_with_one_half() -> None:
    values = walk(100_000, 1.0, 1.0, np.random.default_rng(2))
    assert abs(slope(values) - 0.5) < 0.05


@pytest.mark.parametrize("m", [1, 8, 32])
def test_a_drift_is_its_rate_times_tau_over_sqrt_two(m: int) -> None:
    assert deviation(100.0 + 0.25 * np.arange(100.0), m) == pytest.approx(0.25 * m / math.sqrt(2.0), rel=1e-12)


def test_a_drift_is_not_explained() -> None:
    values = np.random.default_rng(3).standard_normal(4000) + 0.05 * np.arange(4000.0)
    assert analyse(values, 1.0).strays_s


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_recovers_white_noise_and_random_walk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = analyse(rng.standard_normal(20_000) * 0.45 / 2.0 + walk(20_000, 3e-3, 4.0, rng), 4.0)
    assert abs(found.noise.white - 0.45) < 4.5 * found.noise.u_white
    assert abs(found.noise.walk - 3e-3) < 4.5 * found.noise.u_walk
    assert found.noise.u_walk < 0.2 * 3e-3
    assert abs(found.best_s - 260) < 4.5 * 260 * math.hypot(found.noise.u_walk / 3e-3, found.noise.u_white / 0.45)
    assert not found.strays_s


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_recovers_a_floor(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = analyse(rng.standard_normal(20_000) + flicker(20_000, 0.2, rng), 1.0)
    assert abs(found.noise.white - 1.0) < 4.5 * found.noise.u_white
    assert abs(found.noise.floor - 0.2) < 4.5 * found.noise.u_floor
    assert found.noise.flicker == pytest.approx(found.noise.floor / 0.664, rel=1e-3)


def test_degrees_of_freedom_are_those_of_simulated_noise() -> None:
    """edf = 2 mean^2 / variance of the Allan variance over 4000 series; its error is 1/sqrt(2000) = 2.2 %."""
    rng = np.random.default_rng(5)
    for m in (1, 4, 16):
        squares = np.array([deviation(rng.standard_normal(64), m) ** 2 for _ in range(4000)])
        # the variance of a skewed variable scatters more: kurtosis of chi-square adds 6 / edf
        nu = edf(m, 64 - 2 * m + 1, WHITE)
        limit = 4.5 * math.sqrt((2.0 + 12.0 / nu) / 4000)
        assert abs(2.0 * squares.mean() ** 2 / squares.var() / nu - 1.0) < limit


def test_degrees_of_freedom_of_white_noise_by_hand() -> None:
    # r(0) = 2, r(1) = -1: edf = 4 n / (4 + 2 (1 - 1/n))
    assert edf(1, 99, WHITE) == pytest.approx(99 * 4 / (4 + 2 * (1 - 1 / 99)), rel=1e-12)


def test_the_interval_is_that_of_chi_square() -> None:
    # 95 % of chi-square with 10 degrees of freedom lie between 3.24697 and 20.48318 (any table)
    assert interval(2.0, 10.0) == pytest.approx((2 * math.sqrt(10 / 20.48318), 2 * math.sqrt(10 / 3.24697)), rel=1e-6)


def test_the_optimum_of_the_notes() -> None:
    noise = Noise(white=0.45, floor=0.0, walk=3e-3)
    assert noise.optimum_s == pytest.approx(259.8, abs=0.1)
    assert noise.deviation(noise.optimum_s) == pytest.approx(0.0395, abs=5e-5)
    for factor in (0.99, 1.01):
        assert noise.deviation(noise.optimum_s * factor) > noise.deviation(noise.optimum_s)


@given(st.integers(0, 2**32), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(10, 200))
def test_an_offset_changes_nothing_and_a_factor_scales(seed: int, offset: float, factor: float, count: int) -> None:
    values = np.random.default_rng(seed).standard_normal(count)
    for m in octaves(count):
        assert deviation(values + offset, m) == pytest.approx(deviation(values, m), rel=1e-7, abs=1e-10)
        assert deviation(values * factor, m) == pytest.approx(
            factor * deviation(values, m), rel=1e-7, abs=1e-10 * factor
        )


@pytest.mark.parametrize("values", [np.arange(9.0), np.full(20, 3.0)])
def test_too_few_or_equal_values_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="ten values"):
        analyse(values, 1.0)
