"""The resonance fit: exact data to rounding, noisy data against the normal distribution, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from gateway.dsp.resonance import NoResonance, Resonance, fit_resonance

TRIALS = 200
SWEEP = 2012.5 + np.linspace(-30.0, 30.0, 11)


def answer(f: np.ndarray, f0: float, q: float, peak: complex, background: complex = 0j) -> np.ndarray:
    return peak * f0 / (f0 + 2j * q * (f - f0)) + background


def noisy(z: np.ndarray, sigma: np.ndarray, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return z + sigma * (generator.standard_normal(len(z)) + 1j * generator.standard_normal(len(z)))


@pytest.mark.parametrize("background", [None, 0j, 0.3 - 0.2j])
@pytest.mark.parametrize("size", [1e-9, 1.0])
@pytest.mark.parametrize(("f0", "q"), [(2012.5, 50.0), (1990.1, 35.0), (2034.9, 400.0), (2001.234, 8.0)])
def test_exact_data_give_exact_values(f0: float, q: float, size: float, background: complex | None) -> None:
    z = size * answer(SWEEP, f0, q, 0.6 - 0.8j, background or 0j)
    found = fit_resonance(SWEEP, z, np.full(11, 1e-6 * size), background=background is not None)
    assert found.f0_hz == pytest.approx(f0, rel=1e-9)
    assert found.q == pytest.approx(q, rel=1e-9)
    assert found.peak == pytest.approx(size * (0.6 - 0.8j), rel=1e-9)
    if background is None:
        assert found.background is None
    else:
        assert found.background == pytest.approx(size * background, abs=1e-9 * size)
    assert np.abs(found.at(SWEEP) - z).max() < 1e-9 * size
    assert found.good
    assert found.dof == (18 if background is None else 16)


def trials(background: complex | None) -> list[Resonance]:
    z = answer(SWEEP, 2015.0, 50.0, 1.0 + 0.5j, background or 0j)
    sigma = np.linspace(1e-3, 3e-3, 11)
    return [
        fit_resonance(SWEEP, noisy(z, sigma, seed), sigma, background=background is not None) for seed in range(TRIALS)
    ]


@pytest.mark.parametrize("background", [None, 0.2 + 0.1j])
def test_pulls_are_standard_normal(background: complex | None) -> None:
    found = trials(background)
    low, high = scipy.stats.chi2.ppf([1e-5, 1 - 1e-5], TRIALS)
    pulls = {
        "f0": np.array([(fit.f0_hz - 2015.0) / fit.sigma_f0_hz for fit in found]),
        "Q": np.array([(fit.q - 50.0) / fit.sigma_q for fit in found]),
    }
    if background is not None:
        pulls["b"] = np.array([(fit.background - background).imag / fit.sigma_background for fit in found])
    for name, pull in pulls.items():
        bias, square = abs(pull.mean()) * math.sqrt(TRIALS), float((pull**2).sum())
        print(f"{name}: bias {bias:.2f} (limit 4.5), sum of squares {square:.0f} (limits {low:.0f} {high:.0f})")
        assert bias < 4.5
        assert low < square < high


@pytest.mark.parametrize("background", [None, 0.2 + 0.1j])
def test_chi2_and_its_probability_are_those_of_the_theory(background: complex | None) -> None:
    found = trials(background)
    low, high = scipy.stats.chi2.ppf([1e-5, 1 - 1e-5], TRIALS * found[0].dof)
    assert low < sum(fit.chi2 for fit in found) < high
    assert scipy.stats.kstest([fit.p_value for fit in found], "uniform").pvalue > 1e-5
    assert sum(not fit.good for fit in found) <= scipy.stats.binom.ppf(1 - 1e-5, TRIALS, 1e-3)


def test_sigmas_that_are_too_small_are_seen_and_made_good() -> None:
    z = noisy(answer(SWEEP, 2015.0, 50.0, 1.0), np.full(11, 1e-3), 1)
    right, wrong = fit_resonance(SWEEP, z, np.full(11, 1e-3)), fit_resonance(SWEEP, z, np.full(11, 1e-4))
    assert right.good
    assert right.scale == 1.0
    assert not wrong.good
    assert wrong.scale == pytest.approx(math.sqrt(wrong.chi2 / 18))
    assert wrong.sigma_f0_hz == pytest.approx(right.sigma_f0_hz * math.sqrt(right.chi2 / 18), rel=1e-6)


def test_a_background_that_is_not_fitted_makes_the_fit_bad() -> None:
    z = noisy(answer(SWEEP, 2015.0, 50.0, 1.0, 0.1 + 0.1j), np.full(11, 1e-3), 1)
    assert not fit_resonance(SWEEP, z, np.full(11, 1e-3)).good
    assert fit_resonance(SWEEP, z, np.full(11, 1e-3), background=True).good


def test_a_small_background_moves_f0_before_it_is_seen() -> None:
    """As the module says: 4.2 sigmas of b across S are missed every other time, and move f0 by 6.9 sigmas; with b the
    sigma is 1.7 times as large.
    """
    f, sigma = 2012.5 + 20.125 * np.linspace(-1.5, 1.5, 11), np.full(11, 3e-4)
    z = answer(f, 2012.5, 50.0, 1.0)
    noise = [noisy(z + 4.19 * 3e-4j, sigma, seed) for seed in range(TRIALS)]
    without = [fit_resonance(f, points, sigma) for points in noise]
    beside = [fit_resonance(f, points, sigma, background=True) for points in noise]
    assert scipy.stats.binomtest(sum(fit.good for fit in without), TRIALS, 0.5).pvalue > 1e-5
    good = [fit for fit in without if fit.good]
    shift = np.mean([(fit.f0_hz - 2012.5) / fit.sigma_f0_hz for fit in good])
    assert abs(shift) == pytest.approx(6.9, abs=0.05 + 4.5 / math.sqrt(len(good)))
    assert np.mean([fit.f0_hz for fit in beside]) == pytest.approx(2012.5, abs=4.5 * 0.0087 / math.sqrt(TRIALS))
    assert beside[0].sigma_f0_hz / good[0].sigma_f0_hz == pytest.approx(1.70, rel=0.01)


def test_an_even_turn_is_a_background_and_moves_nothing() -> None:
    turn = 1e-4 * (SWEEP - 2012.5)
    z = answer(SWEEP, 2015.0, 50.0, 1.0 + 0.5j) * np.exp(1j * turn)
    found = fit_resonance(SWEEP, z, np.full(11, 1e-5), background=True)
    assert found.background == pytest.approx((1.0 + 0.5j) * 1e-4 * 2015.0 / 100.0, rel=0.02)
    second = float(np.max(turn**2)) / 2.0  # of Z, which is off by as much of half a width
    assert abs(found.f0_hz - 2015.0) < second * 2015.0 / 50.0
    assert abs(found.q - 50.0) < second * 50.0


@pytest.mark.parametrize("f0", [1960.0, 2060.0])
def test_a_resonance_outside_is_refused_and_told(f0: float) -> None:
    z = noisy(answer(SWEEP, f0, 50.0, 1.0), np.full(11, 1e-3), 3)
    with pytest.raises(NoResonance, match=f"outside the sweep of 1982.5 to 2042.5 Hz, near {f0:.0f}"):
        fit_resonance(SWEEP, z, np.full(11, 1e-3))


@pytest.mark.parametrize("background", [False, True])
def test_noise_is_no_signal(background: bool) -> None:
    for seed in range(TRIALS):
        with pytest.raises(NoResonance, match="no signal above the noise"):
            fit_resonance(SWEEP, noisy(np.zeros(11), np.ones(11), seed), np.ones(11), background=background)


def test_what_cannot_be_a_resonance_is_refused() -> None:
    z, sigma = answer(SWEEP, 2012.5, 50.0, 1.0), np.full(11, 1e-3)
    with pytest.raises(NoResonance, match="3 points are too few"):
        fit_resonance(SWEEP[:3], z[:3], sigma[:3])
    with pytest.raises(NoResonance, match="sigma above 0"):
        fit_resonance(SWEEP, z, 0.0 * sigma)
    with pytest.raises(NoResonance, match="finite phasor"):
        fit_resonance(SWEEP, z * np.nan, sigma)
    with pytest.raises(NoResonance, match="do not lie on a resonance"):
        fit_resonance(SWEEP, z.conj(), sigma)
    with pytest.raises(NoResonance, match="5 points are too few for a resonance: 6"):
        fit_resonance(SWEEP[:5], z[:5], sigma[:5], background=True)
    top = 2012.5 + (SWEEP - 2012.5) / 20.0
    z_top = noisy(answer(top, 2012.5, 50.0, 10.0), np.ones(11), 1)
    with pytest.raises(NoResonance, match="too weak"):
        fit_resonance(top, z_top, np.ones(11))
    with pytest.raises(NoResonance, match=r"do not|outside|too weak"):
        fit_resonance(SWEEP, np.ones(11, np.complex128), sigma)


def test_four_points_suffice() -> None:
    f = SWEEP[::3]
    found = fit_resonance(f, noisy(answer(f, 2012.5, 50.0, 1.0), np.full(4, 1e-3), 2), np.full(4, 1e-3))
    assert abs(found.f0_hz - 2012.5) < 4.5 * found.sigma_f0_hz
    assert found.dof == 4
