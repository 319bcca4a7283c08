"""The calibration's fit: exact data give back what made them, errors are as large as they are said to be, a textbook
example agrees, and what is no calibration is refused."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import scipy.stats

from gateway.dsp.calibrate import Curve, Point, _monotone, fit, fit_curve
from gateway.errors import CalibrationError

BACKGROUND, PHASE, K, SATURATION = 3e-4 - 7e-4j, 2.2, 2.4e-5, 20_000.0
GASES = (0.0, 0.0, 200.0, 500.0, 1000.0, 2000.0)


def phasor(ppm: float, saturation_ppm: float = math.inf) -> complex:
    return BACKGROUND + K * ppm / (1.0 + ppm / saturation_ppm) * cmath.exp(1j * PHASE)


def points(
    gases: tuple[float, ...], sigma: float, sigma_percent: float, saturation_ppm: float, rng: np.random.Generator | None
) -> list[Point]:
    """Readings of these gases; with `rng`, with errors of the gases and of the readings."""
    noise = rng.standard_normal if rng else lambda n: np.zeros(n)
    bottles = {ppm: ppm * (1.0 + sigma_percent / 100.0 * noise(1)[0]) for ppm in gases}
    found = []
    for ppm in gases:
        error = sigma * complex(*noise(2))
        found.append(Point(ppm, ppm * sigma_percent / 100.0, phasor(bottles[ppm], saturation_ppm) + error, sigma))
    return found


@pytest.mark.parametrize("saturation_ppm", [math.inf, SATURATION])
@pytest.mark.parametrize("percent", [0.0, 1.0])
def test_exact_points_give_back_what_made_them(saturation_ppm: float, percent: float) -> None:
    found = fit(points(GASES, 1e-9, percent, saturation_ppm, None), saturating=saturation_ppm < math.inf)
    curve = found.curve
    assert abs(curve.background - BACKGROUND) < 1e-13
    assert cmath.exp(1j * (curve.phase_rad - PHASE)) == pytest.approx(1.0, abs=1e-9)
    assert pytest.approx(K, rel=1e-9) == curve.k
    assert curve.bend == pytest.approx(1.0 / saturation_ppm, rel=1e-7)
    assert found.chi2 < 1e-6
    assert found.dof == 6 - len(curve.covariance)
    for ppm in (0.0, 123.0, 1999.0, 5000.0):
        assert curve.ppm(curve.along(phasor(ppm, saturation_ppm))) == pytest.approx(ppm, rel=1e-7, abs=1e-6)


@pytest.mark.parametrize("saturating", [False, True])
def test_pulls_are_standard_normal(saturating: bool) -> None:
    """Over 200 trials the mean square of each pull lies within the 1e-5 limits of chi-square / 200."""
    rng, trials = np.random.default_rng(5), 200
    saturation = SATURATION if saturating else math.inf
    pulls, chances = [], []
    for _ in range(trials):
        found = fit_or_none(points(GASES, 2e-5, 0.5, saturation, rng), saturating)
        if found is None:
            continue
        curve = found.curve
        true = [0.0, K, 1.0 / saturation][: len(curve.covariance)]
        off = curve.along(BACKGROUND)
        values = [-off, curve.k, curve.bend][: len(true)]
        x = K * 800.0 / (1.0 + 800.0 / saturation)
        z = BACKGROUND + x * cmath.exp(1j * PHASE)
        reading = curve.along(z)
        deviation = [*(np.array(values) - true) / np.sqrt(np.diag(curve.covariance))]
        pulls.append([*deviation, ((curve.ppm(reading) or math.nan) - 800.0) / curve.sigma(reading)])
        chances.append(found.p_value)
    assert len(pulls) >= trials - 9  # 1 % are refused for lack of fit: 9 or more with a chance of 1e-4
    low, high = scipy.stats.chi2.ppf([1e-5, 1 - 1e-5], len(pulls)) / len(pulls)
    square = np.mean(np.square(pulls), axis=0)
    assert np.all((low < square) & (square < high)), f"{square} not within {low:.3f} to {high:.3f}"
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 4.5 / math.sqrt(len(pulls)))
    assert scipy.stats.kstest(chances, scipy.stats.uniform(0.01, 0.99).cdf).pvalue > 1e-4


def fit_or_none(found: list[Point], saturating: bool):  # type: ignore[no-untyped-def]
    try:
        return fit(found, saturating=saturating)
    except CalibrationError:
        return None


def test_pearsons_data_with_yorks_weights() -> None:
    """York et al., Am. J. Phys. 72 (2004) 367: intercept 5.47991, slope -0.480533,
    chi-square 11.86635; the standard errors by their equations 13c and d."""
    ppm = np.array([0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
    x = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
    weight_ppm = np.array([1000, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1.0])
    weight_x = np.array([1, 1.8, 4, 8, 20, 20, 70, 70, 100, 500])
    values, covariance, chi2 = fit_curve(x, weight_x**-0.5, ppm, weight_ppm**-0.5, saturating=False)
    assert values == pytest.approx([5.479910, -0.480533], abs=2e-6)
    assert chi2 == pytest.approx(11.86635, abs=1e-5)
    slope, intercept, sigma_slope, sigma_intercept = york(ppm, x, weight_ppm, weight_x)
    assert values == pytest.approx([intercept, slope], rel=1e-7)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([sigma_intercept, sigma_slope], rel=1e-3)


def york(x: np.ndarray, y: np.ndarray, wx: np.ndarray, wy: np.ndarray) -> tuple[float, float, float, float]:
    """York 2004, equations 13a to 13d, for errors without correlation."""
    b = float(np.polyfit(x, y, 1)[0])
    for _ in range(200):
        w = wx * wy / (wx + b * b * wy)
        u, v = x - np.average(x, weights=w), y - np.average(y, weights=w)
        beta = w * (u / wy + b * v / wx)
        b = float(np.sum(w * beta * v) / np.sum(w * beta * u))
    a = float(np.average(y, weights=w) - b * np.average(x, weights=w))
    adjusted = np.average(x, weights=w) + beta
    mean = float(np.average(adjusted, weights=w))
    sigma_b = float(np.sum(w * (adjusted - mean) ** 2) ** -0.5)
    return b, a, sigma_b, math.sqrt(1.0 / float(w.sum()) + (mean * sigma_b) ** 2)


def test_readings_of_one_bottle_share_its_error() -> None:
    once = fit(points((0.0, 1000.0), 1e-9, 1.0, math.inf, None))
    often = fit(points((0.0, *[1000.0] * 9), 1e-9, 1.0, math.inf, None))
    for found in (once, often):
        assert math.sqrt(found.curve.covariance[1, 1]) == pytest.approx(0.01 * K, rel=1e-3)


def test_zero_and_one_span_leave_nothing_to_check() -> None:
    found = fit(points((0.0, 1000.0), 1e-6, 1.0, math.inf, None))
    assert (found.dof, found.p_value) == (0, None)
    x = K * 1000.0
    assert found.curve.sigma(x) == pytest.approx(math.hypot(10.0, 1e-6 / K), rel=1e-6)  # at the span: gas and reading
    assert found.curve.sigma(0.0) == pytest.approx(1e-6 / K, rel=1e-6)  # at zero: the background alone


@pytest.mark.parametrize(
    ("gases", "saturating", "part"),
    [
        ((200.0, 400.0), False, "no zero point"),
        ((0.0, 0.0, 0.0), False, "there is only 0 ppm"),
        ((0.0, 400.0, 400.0), True, "curve of 3 .* only 0, 400 ppm"),
        ((-5.0, 0.0, 400.0), False, "less than 0 ppm"),
        ((), False, "no zero point"),
    ],
)
def test_too_few_points_are_refused(gases: tuple[float, ...], saturating: bool, part: str) -> None:
    with pytest.raises(CalibrationError, match=part):
        fit(points(gases, 1e-6, 0.0, math.inf, None), saturating=saturating)


@pytest.mark.parametrize("saturating", [False, True])
def test_a_signal_that_falls_is_refused(saturating: bool) -> None:
    readings = [(0.0, 0.0), (200.0, 5e-3), (400.0, 3e-3), (800.0, 4e-3)]
    with pytest.raises(CalibrationError, match=r"falls from 0\.005 at 200 ppm to 0\.003 at 400 ppm"):
        fit([Point(ppm, 0.0, complex(x), 1e-6) for ppm, x in readings], saturating=saturating)


def test_a_curve_with_a_pole_in_the_range_is_refused() -> None:
    curve = Curve(0j, 0.0, K, -1.0 / 500.0, np.zeros((3, 3)))
    _monotone(curve, 499.0)
    with pytest.raises(CalibrationError, match="pole at 500 ppm"):
        _monotone(curve, 501.0)


def test_a_span_in_the_noise_is_refused() -> None:
    with pytest.raises(CalibrationError, match="does not rise"):
        fit([Point(0.0, 0.0, 0j, 1e-3), Point(100.0, 0.0, 1e-3 + 0j, 1e-3)])


def test_a_line_through_a_bend_is_refused_and_names_the_residuals() -> None:
    bent = points(GASES, 1e-6, 0.01, SATURATION, None)
    with pytest.raises(CalibrationError, match=r"p = .*2000 ppm off by -66\.7 ppm \(-325.*saturating"):
        fit(bent)
    assert fit(bent, saturating=True).p_value == pytest.approx(1.0)


def test_above_saturation_there_is_no_concentration() -> None:
    curve = Curve(0j, 0.0, K, 1.0 / SATURATION, np.zeros((3, 3)))
    assert curve.ppm(K * SATURATION * 0.999) is not None
    assert curve.ppm(K * SATURATION) is None
    assert curve.ppm(K * SATURATION * 2) is None


def test_a_curve_that_the_points_all_but_leave_open_is_refused() -> None:
    """Slope and bend run off together here; a variance rounded to below zero once stopped the program."""
    rng, k = np.random.default_rng(256), 0.0009823113531273542
    readings = {ppm: k * ppm / (1.0 + 6.612692239817144 * ppm / 4940.0) for ppm in (0.0, 2932.0, 4940.0)}
    sigma = 0.28125 * k * 2932.0
    noisy = [Point(c, 0.01 * c, x + sigma * complex(*rng.standard_normal(2)), sigma) for c, x in readings.items()]
    with pytest.raises(CalibrationError, match="does not rise"):
        fit(noisy, saturating=True)
