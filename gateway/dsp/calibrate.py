"""From calibration gases to a curve: complex background, phase, and a fit with errors on both axes.

A gas of c ppm gives the phasor Z = b + x exp(j phi0): b is what windows and walls add and is subtracted as a vector,
since |Z| - |b| is wrong whenever the two have different phases; phi0 is the phase of the gas. b is the weighted mean
of the zero points, phi0 the axis of the span points about b (maximum likelihood: half the angle of
sum w (Z - b)^2). Along that phase x = Re((Z - b) exp(-j phi0)), and an error of phi0 or of b at right angles counts
only in second order. The curve is

    x = offset + k c / (1 + bend c),    so that    c = y / (1 - bend y),    y = (x - offset) / k

a line for bend = 0; else the cell saturates at y = 1 / bend, and the curve still rises everywhere (a polynomial does
not). Both axes have errors. The true concentration of every gas is fitted along with the curve, by weighted least
squares on ((ppm - c) / sigma_ppm, (x - f(c)) / sigma): the maximum likelihood, for a line the solution of York et al.,
Am. J. Phys. 72 (2004) 367, equal to Deming's for one ratio of errors. Readings of one bottle share its error. The
covariance of the parameters is the inverse of J^T J there; chi-square has (points - parameters) degrees of freedom.
The fitted offset is added to b, so the curve's own is zero, but its variance stays: it is the background's.
"""

from __future__ import annotations

import cmath
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.special

from gateway.errors import CalibrationError

Array = npt.NDArray[np.float64]

LEAST_P = 0.01
"""A fit less probable than this is refused."""
_OPEN = 1e-10
"""Singular value, relative to the largest, below which nothing settles its combination of parameters."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one gas gave: `phasor` in full scale, peak; `sigma` > 0, one standard deviation of its real or imaginary
    part.
    """

    ppm: float
    sigma_ppm: float
    phasor: complex
    sigma: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A calibration curve: `k` in full scale per ppm, `bend` in 1/ppm.

    `covariance`, float64 [p, p], is that of background (along the phase), k and, if p is 3, bend.
    """

    background: complex
    phase_rad: float
    k: float
    bend: float
    covariance: Array

    def along(self, phasor: complex) -> float:
        """The gas's signed part of a phasor, full scale."""
        return ((phasor - self.background) * cmath.exp(-1j * self.phase_rad)).real

    def ppm(self, x: float) -> float | None:
        """Concentration of signal `x`; None at and above saturation, where no concentration gives it."""
        room = 1.0 - self.bend * x / self.k
        return x / self.k / room if room > 0.0 else None

    def slope(self, x: float) -> float:
        """dc/dx below saturation, ppm per full scale."""
        return 1.0 / (self.k * (1.0 - self.bend * x / self.k) ** 2)

    def sigma(self, x: float) -> float:
        """One standard deviation of ppm(x) that the calibration itself has: sqrt(g^T C g) (GUM, JCGM 100, 5.2.2)."""
        y = x / self.k
        gradient = self.slope(x) * np.array([-1.0, -y, self.k * y * y])[: len(self.covariance)]
        return math.sqrt(max(0.0, float(gradient @ self.covariance @ gradient)))


@dataclass(frozen=True, slots=True)
class Residual:
    """How far a point is from the curve: in ppm, and in its own standard deviations."""

    ppm: float
    sigmas: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A curve and how well it fits; `p_value` is None where there are no degrees of freedom to tell."""

    curve: Curve
    sigma_background: float
    residuals: tuple[Residual, ...]
    chi2: float
    dof: int
    p_value: float | None


def fit(points: Sequence[Point], *, saturating: bool = False) -> Fit:
    """The curve through the points, a line unless `saturating`.

    Raises CalibrationError for too few points, a signal that does not rise with the concentration, and lack of fit.
    """
    _enough(points, 3 if saturating else 2)
    zeros = [point for point in points if point.ppm == 0.0]
    weights = np.array([point.sigma**-2 for point in zeros])
    background = complex(np.average([point.phasor for point in zeros], weights=weights))
    phase = _phase(points, background)
    found = Curve(background, phase, 1.0, 0.0, np.zeros((0, 0)))
    x = np.array([found.along(point.phasor) for point in points])
    sigma = np.array([point.sigma for point in points])
    _rising(points, x)
    ppm, sigma_ppm = (np.array([getattr(point, name) for point in points]) for name in ("ppm", "sigma_ppm"))
    values, covariance, chi2 = fit_curve(x, sigma, ppm, sigma_ppm, saturating=saturating)
    offset, k, bend = float(values[0]), float(values[1]), float(values[2]) if saturating else 0.0
    curve = Curve(background + offset * cmath.exp(1j * phase), phase, k, bend, covariance)
    _monotone(curve, max(point.ppm for point in points))
    dof = len(points) - len(values)
    p_value = float(scipy.special.gammaincc(dof / 2.0, chi2 / 2.0)) if dof else None
    fitted = Fit(curve, float(weights.sum() ** -0.5), residuals(curve, points), chi2, dof, p_value)
    if p_value is not None and p_value < LEAST_P:
        raise CalibrationError(_lack(fitted, points), _advice(saturating))
    return fitted


def fit_curve(x: Array, sigma: Array, ppm: Array, sigma_ppm: Array, *, saturating: bool) -> tuple[Array, Array, float]:
    """(offset, k[, bend]), their covariance [p, p], and chi-square; all arguments float64 [points], `sigma` > 0.

    Points of equal ppm and sigma_ppm are of one gas. Raises CalibrationError where the points do not settle it.
    """
    from scipy.optimize import least_squares  # 20 MB that only a calibration needs

    unit_x, unit_c = float(np.abs(x).max()) or 1.0, float(np.abs(ppm).max()) or 1.0
    number = 3 if saturating else 2
    problem = _Problem(x / unit_x, sigma / unit_x, ppm / unit_c, sigma_ppm / unit_c, number)
    found = least_squares(
        problem.residuals, problem.start(), problem.jacobian, method="lm", x_scale="jac", xtol=1e-14, ftol=1e-14
    )
    covariance = _covariance(problem.jacobian(found.x))[:number, :number]
    units = np.array([unit_x, unit_x / unit_c, 1.0 / unit_c])[:number]
    return found.x[:number] * units, covariance * np.outer(units, units), 2.0 * float(found.cost)


class _Problem:
    """The least squares of fit_curve. The unknowns: offset, k[, bend], then the true concentration of each gas whose
    own is uncertain.
    """

    def __init__(self, x: Array, sigma: Array, ppm: Array, sigma_ppm: Array, number: int) -> None:
        gases, gas = np.unique(np.column_stack((ppm, sigma_ppm)), axis=0, return_inverse=True)
        self._x, self._sigma, self._number = x, sigma, number
        self._ppm, self._gas = gases[:, 0], gas.reshape(-1)
        self._loose = np.flatnonzero(gases[:, 1] > 0.0)
        self._spread = gases[self._loose, 1]

    def start(self) -> Array:
        """A line through zero, and the concentrations as given."""
        given = self._ppm[self._gas]
        slope = float(self._x @ given) / float(given @ given)
        return np.concatenate(([0.0, slope, 0.0][: self._number], self._ppm[self._loose]))

    def residuals(self, v: Array) -> Array:
        """Readings, then concentrations, in their standard deviations."""
        c, bend = self._true(v)
        readings = (self._x - v[0] - v[1] * c / (1.0 + bend * c)) / self._sigma
        return np.concatenate((readings, (self._ppm[self._loose] - v[self._number :]) / self._spread))

    def jacobian(self, v: Array) -> Array:
        """Derivatives of `residuals`, float64 [residuals, unknowns]."""
        c, bend = self._true(v)
        points, number, room = len(c), self._number, 1.0 + bend * c
        j = np.zeros((points + len(self._loose), len(v)))
        columns = np.column_stack((np.ones(points), c / room, -v[1] * c * c / room**2))
        j[:points, :number] = -columns[:, :number] / self._sigma[:, None]
        j[:points, number:] = -(v[1] / room**2 / self._sigma)[:, None] * (self._gas[:, None] == self._loose)
        j[points:, number:] = np.diag(-1.0 / self._spread)
        return j

    def _true(self, v: Array) -> tuple[Array, float]:
        """Concentration at every point, and bend."""
        c = self._ppm.copy()
        c[self._loose] = v[self._number :]
        return c[self._gas], float(v[2]) if self._number == 3 else 0.0


def _covariance(jacobian: Array) -> Array:
    """(J^T J)^-1, its columns brought to one length first; from the singular values of J, so no variance can come out
    negative where the points all but leave a parameter open.
    """
    length = np.linalg.norm(jacobian, axis=0)
    if np.all(length > 0.0):
        _, values, axes = np.linalg.svd(jacobian / length, full_matrices=False)
        if len(values) == len(length) and values[-1] > _OPEN * values[0]:
            root = axes.T / values
            return np.asarray(root @ root.T / np.outer(length, length))
    raise CalibrationError("the points do not settle the curve", "Take gases of more different concentrations")


def _enough(points: Sequence[Point], parameters: int) -> None:
    """Refuse points that are too few for the curve."""
    gases = {point.ppm for point in points}
    if 0.0 not in gases:
        raise CalibrationError("there is no zero point, so the background is unknown", "Take one with zero gas")
    if any(point.ppm < 0.0 for point in points):
        raise CalibrationError("a point has less than 0 ppm", "Give the concentration on the certificate")
    if len(gases) < parameters:
        told = ", ".join(f"{ppm:g}" for ppm in sorted(gases))
        message = f"a curve of {parameters} parameters needs as many concentrations, and there is only {told} ppm"
        raise CalibrationError(message, "Take a span point of another gas")


def _phase(points: Sequence[Point], background: complex) -> float:
    """The axis of the span points about the background, in the direction in which the signal rises."""
    spans = [(point.phasor - background, point) for point in points if point.ppm > 0.0]
    axis = cmath.phase(sum(z * z / point.sigma**2 for z, point in spans)) / 2.0
    rise = sum((z * cmath.exp(-1j * axis)).real * point.ppm / point.sigma**2 for z, point in spans)
    return axis if rise >= 0.0 else cmath.phase(-cmath.exp(1j * axis))


def _rising(points: Sequence[Point], x: Array) -> None:
    """Refuse a signal that falls, by more than three sigma, where the concentration rises."""
    k = float(x.max()) / max(point.ppm for point in points)
    order = sorted(range(len(points)), key=lambda i: points[i].ppm)
    for low, high in itertools.pairwise(order):
        one, other = points[low], points[high]
        doubt = math.hypot(one.sigma, other.sigma, k * one.sigma_ppm, k * other.sigma_ppm)
        if other.ppm > one.ppm and x[low] - x[high] > 3.0 * doubt:
            message = f"the signal falls from {x[low]:.4g} at {one.ppm:g} ppm to {x[high]:.4g} at {other.ppm:g} ppm"
            raise CalibrationError(message, "A curve must rise: repeat these points")


def _monotone(curve: Curve, most_ppm: float) -> None:
    """Refuse a curve that does not rise over the whole range, or whose rise is lost in the noise."""
    if curve.k <= 3.0 * math.sqrt(curve.covariance[1, 1]):
        message = f"the signal does not rise with the concentration: {curve.k:.3g} full scale per ppm"
        raise CalibrationError(message, "Check that the laser is lit and the gas arrives, or take longer readings")
    if 1.0 + curve.bend * most_ppm <= 0.0:
        message = f"the curve does not rise everywhere: it has a pole at {-1.0 / curve.bend:.4g} ppm"
        raise CalibrationError(message, "Take a line, or repeat the points")


def residuals(curve: Curve, points: Sequence[Point]) -> tuple[Residual, ...]:
    """Every point's distance from the curve; infinite where it lies above saturation."""
    found = []
    for point in points:
        x = curve.along(point.phasor)
        ppm = curve.ppm(x)
        far = math.inf if ppm is None else ppm - point.ppm
        found.append(Residual(far, far / math.hypot(curve.slope(x) * point.sigma, point.sigma_ppm)))
    return tuple(found)


def _lack(fitted: Fit, points: Sequence[Point]) -> str:
    told = ", ".join(
        f"{point.ppm:g} ppm off by {residual.ppm:+.3g} ppm ({residual.sigmas:+.1f} sigma)"
        for point, residual in zip(points, fitted.residuals, strict=True)
    )
    chance = f"chi-square {fitted.chi2:.1f} with {fitted.dof} degrees of freedom, p = {fitted.p_value:.2g}"
    return f"the curve does not fit the points ({chance}): {told}"


def _advice(saturating: bool) -> str:
    if saturating:
        return "Repeat the worst point, or give the gases' true uncertainties"
    return "Repeat the worst point, or fit a saturating curve if the signal bends"
