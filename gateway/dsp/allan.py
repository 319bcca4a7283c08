"""Overlapping Allan deviation: how far averaging helps, and from when on drift takes it back.

For N values c_i, each the mean over tau0 and one right after the other, and with x their running sum, the
overlapping Allan variance at tau = m tau0 is

    V(tau) = sum_j z_j^2 / (2 m^2 n),    z_j = x_{j+2m} - 2 x_{j+m} + x_j,    n = N - 2m + 1

(Riley and Howe, Handbook of Frequency Stability Analysis, NIST SP 1065, 2008, section 5.2.4). Three kinds of noise
give it three slopes (IEEE Std 952, annex on the Allan variance):

    V(tau) = N^2 / tau + F^2 + K^2 tau / 3,    F^2 = (2 ln 2 / pi) B^2

white noise N, the floor F of flicker noise B, random walk K. Its minimum is where the derivative -N^2/tau^2 + K^2/3
vanishes, at tau = sqrt(3) N / K, wherever the floor is.

Confidence. edf V / E[V] is close to chi-square with edf = 2 E[V]^2 / var V (SP 1065, section 5.3). For Gaussian noise

    edf = n r(0)^2 / sum_{|l|<n} (1 - |l|/n) r(l)^2,    r(l) = 6 s(l) - 4 s(l+m) - 4 s(l-m) + s(l+2m) + s(l-2m)

where r is the autocovariance of z and s the generalised one of x (Greenhall and Riley, Uncertainty of stability
variances based on finite differences, PTTI 2003): -N^2 |t| / 2, F^2 t^2 ln|t| / (4 ln 2) and K^2 |t|^3 / 12 here.
The three add, so a mixture needs no guess which noise it is. r is zero beyond 2m for white noise and random walk, and
falls as l^-2 for flicker: what lies beyond 8m changes edf by 1e-4. The covariance of V at two taus follows in the same
way from that of their z, 2 sum r^2 over all pairs.

The fit is by least squares on V with non-negative N^2, F^2, K^2, weighted with the variance 2 E[V]^2 / edf that the
fit itself expects (the measured V as weight would pull it down), repeated until it stands. It begins with white noise
alone and takes in a further term while that stands three standard deviations above zero, those of the noise without it
(a score test): otherwise half of all white noise would show a random walk. Octaves share their data, so the
uncertainties come from their whole covariance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special

Values = npt.NDArray[np.float64]

CONFIDENCE = 0.95
FEWEST = 10
"""Values below which no deviation is worth its name."""
_ITERATIONS = 30
_TAIL = 8
_SEEN = 3.0
_SECOND_DIFFERENCE = (1.0, -2.0, 1.0)


@dataclass(frozen=True, slots=True)
class Noise:
    """White noise N (unit sqrt(s)), flicker floor F (unit) and random walk K (unit per sqrt(s)), in the values' unit,
    each with its standard uncertainty. 0 where none was seen.
    """

    white: float
    floor: float
    walk: float
    u_white: float = 0.0
    u_floor: float = 0.0
    u_walk: float = 0.0

    @property
    def flicker(self) -> float:
        """B of IEEE Std 952, from the floor."""
        return self.floor / math.sqrt(2.0 * math.log(2.0) / math.pi)

    @property
    def optimum_s(self) -> float:
        """Averaging time of the least deviation, sqrt(3) N / K, seconds; infinite without a random walk."""
        return math.sqrt(3.0) * self.white / self.walk if self.walk else math.inf

    def deviation(self, tau_s: float) -> float:
        """The Allan deviation that these three make at `tau_s`, in the values' unit."""
        return math.sqrt(self.white**2 / tau_s + self.floor**2 + self.walk**2 * tau_s / 3.0)


@dataclass(frozen=True, slots=True)
class Point:
    """Deviation at `tau_s` from `count` overlapping differences; `low` and `high` bound it with 95 % confidence."""

    tau_s: float
    deviation: float
    low: float
    high: float
    count: int
    edf: float


@dataclass(frozen=True, slots=True)
class Analysis:
    """The deviation at octave taus, and the noise fitted to it."""

    points: tuple[Point, ...]
    noise: Noise

    @property
    def best_s(self) -> float:
        """The optimum, kept within the taus that were measured, seconds."""
        return min(max(self.noise.optimum_s, self.points[0].tau_s), self.points[-1].tau_s)

    @property
    def strays_s(self) -> tuple[float, ...]:
        """Taus at which the fit lies outside the 99.9 % interval: there is something that is none of the three."""
        return tuple(p.tau_s for p in self.points if not _within(self.noise.deviation(p.tau_s), p))


def analyse(values: Values, spacing_s: float) -> Analysis:
    """Allan deviation and noise of `values`, float64 [values], finite and not all equal, one every `spacing_s`.

    Raises ValueError for fewer than 10 values, or values that are all equal.
    """
    if len(values) < FEWEST or not np.ptp(values):
        raise ValueError("an Allan deviation needs ten values that are not all equal")
    steps = octaves(len(values))
    counts = [len(values) - 2 * m + 1 for m in steps]
    measured = np.array([deviation(values, m) for m in steps])
    squares, variances = _fit(steps, counts, measured**2)
    edfs = [edf(m, n, squares) for m, n in zip(steps, counts, strict=True)]
    points = tuple(
        Point(m * spacing_s, float(sigma), *interval(float(sigma), nu), n, nu)
        for m, sigma, n, nu in zip(steps, measured, counts, edfs, strict=True)
    )
    return Analysis(points, _noise(squares, variances, spacing_s))


def octaves(count: int) -> tuple[int, ...]:
    """1, 2, 4 ... up to a third of `count` values: beyond that fewer than about two degrees of freedom are left."""
    return tuple(2**k for k in range((count // 3).bit_length()))


def deviation(values: Values, m: int) -> float:
    """Overlapping Allan deviation of `values`, float64 [values], at `m` values' averaging; 2m at most their number."""
    x = np.concatenate(([0.0], np.cumsum(values - values.mean())))
    z = x[2 * m :] - 2.0 * x[m:-m] + x[: -2 * m]
    return math.sqrt(float(np.mean(z * z)) / 2.0) / m


def interval(sigma: float, edf: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Lower and upper bound of the true deviation behind the measured `sigma` (SP 1065, section 5.3.2)."""
    tail = (1.0 - confidence) / 2.0
    low, high = (2.0 * float(scipy.special.gammaincinv(edf / 2.0, p)) for p in (1.0 - tail, tail))
    return sigma * math.sqrt(edf / low), sigma * math.sqrt(edf / high)


def edf(m: int, count: int, squares: Values) -> float:
    """Equivalent degrees of freedom of the variance from `count` differences at `m`, for noise of `squares`
    [N^2, F^2, K^2] in units of one value's spacing.
    """
    return 2.0 / _covariance(m, m, count, count, squares)


def _covariance(m: int, k: int, count_m: int, count_k: int, squares: Values) -> float:
    """Covariance of the variances at `m` and at `k` >= m, relative to the product of their expectations."""
    reach = k * (_TAIL if squares[1] else 2)
    first, last = -min(count_m - 1, reach), min(count_k - 1, reach)
    lags = np.arange(first, last + 1, dtype=np.float64)
    pairs = np.minimum(count_m, count_k - lags) - np.maximum(0.0, -lags)
    r = _differences(lags, m, k, squares)
    at_zero = [_differences(np.zeros(1), step, step, squares)[0] for step in (m, k)]
    return float(2.0 * np.sum(pairs * r * r) / (count_m * count_k * at_zero[0] * at_zero[1]))


def _differences(lags: Values, m: int, k: int, squares: Values) -> Values:
    """Covariance of z at `m` with z at `k`, `lags` later, float64 [lags]."""
    r = np.zeros(len(lags))
    for i, one in enumerate(_SECOND_DIFFERENCE):
        for j, other in enumerate(_SECOND_DIFFERENCE):
            r += one * other * _autocovariance(np.abs(lags + j * k - i * m), squares)
    return r


def _autocovariance(t: Values, squares: Values) -> Values:
    """Generalised autocovariance of the running sum at lags `t` >= 0, float64 [lags]."""
    white, floor, walk = squares
    s = t * (walk / 12.0 * t * t - white / 2.0)
    if floor:
        s += floor / (4.0 * math.log(2.0)) * scipy.special.xlogy(t * t, t)
    return np.asarray(s)


def _fit(steps: tuple[int, ...], counts: list[int], measured: Values) -> tuple[Values, Values]:
    """[N^2, F^2, K^2] in units of the spacing, and their variances, from the variances `measured` at `steps`."""
    terms = [0]
    squares = _fit_terms(terms, steps, counts, measured)
    while len(terms) < min(3, len(steps)):
        scores: dict[int, float] = {}
        for k in {0, 1, 2} - set(terms):
            solver, expected, covariance = _solver([*terms, k], steps, counts, squares)
            scores[k] = float(solver[-1] @ (measured / expected)) / math.sqrt(covariance[-1, -1])
        newcomer = max(scores, key=scores.__getitem__)
        if scores[newcomer] <= _SEEN:
            break
        terms.append(newcomer)
        squares = _fit_terms(terms, steps, counts, measured)
    variances = np.zeros(3)
    variances[terms] = np.diag(_solver(terms, steps, counts, squares)[2])
    return squares, variances


def _fit_terms(terms: list[int], steps: tuple[int, ...], counts: list[int], measured: Values) -> Values:
    """[N^2, F^2, K^2] with only `terms` above zero."""
    design = _design(steps)
    squares = np.array([measured[0], 0.0, 0.0])
    for _ in range(_ITERATIONS):
        expected = design @ squares
        weights = np.array([math.sqrt(edf(m, n, squares) / 2.0) for m, n in zip(steps, counts, strict=True)])
        rows = design[:, terms] * (weights / expected)[:, None]
        scale = np.linalg.norm(rows, axis=0)
        solution, _rest = scipy.optimize.nnls(rows / scale, measured / expected * weights)
        squares = np.zeros(3)
        squares[terms] = solution / scale
        if np.allclose(design @ squares, expected, rtol=1e-6, atol=0.0):
            break
    return squares


def _solver(
    terms: list[int], steps: tuple[int, ...], counts: list[int], squares: Values
) -> tuple[Values, Values, Values]:
    """What noise of `squares` lets expect: the matrix from relative variances to `terms`, float64 [terms, steps], the
    variances expected at `steps`, and the covariance of the terms so found.
    """
    expected = _design(steps) @ squares
    correlations = _correlations(steps, counts, squares)
    weights = 1.0 / np.sqrt(np.diag(correlations))
    rows = _design(steps)[:, terms] * (weights / expected)[:, None]
    scale = np.linalg.norm(rows, axis=0)
    solver = np.linalg.pinv(rows / scale) / scale[:, None] * weights
    return solver, expected, np.asarray(solver @ correlations @ solver.T)


def _design(steps: tuple[int, ...]) -> Values:
    """Variance that each noise makes at `steps`, float64 [steps, 3]."""
    tau = np.array(steps, dtype=np.float64)
    return np.stack((1.0 / tau, np.ones_like(tau), tau / 3.0), axis=1)


def _correlations(steps: tuple[int, ...], counts: list[int], squares: Values) -> Values:
    """Covariance of the variances at `steps`, each relative to its expectation, float64 [steps, steps]."""
    matrix = np.zeros((len(steps), len(steps)))
    for i, m in enumerate(steps):
        for j in range(i, len(steps)):
            matrix[i, j] = matrix[j, i] = _covariance(m, steps[j], counts[i], counts[j], squares)
    return matrix


def _noise(squares: Values, variances: Values, spacing_s: float) -> Noise:
    units = np.array([spacing_s, 1.0, 1.0 / spacing_s])
    found = np.sqrt(squares * units)
    spread = np.divide(np.sqrt(variances) * units, 2.0 * found, out=np.zeros(3), where=found > 0.0)
    return Noise(*(float(value) for value in (*found, *spread)))


def _within(sigma: float, point: Point) -> bool:
    low, high = interval(point.deviation, point.edf, 0.999)
    return low <= sigma <= high
