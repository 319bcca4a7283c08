"""Resonance frequency and quality factor from phasors measured across a resonance.

One mode of a cell, driven close to its resonance with constant light, answers with the complex Lorentzian

    Z(f) = S / (1 + j x) + b,    x = 2 Q (f - f0) / f0

(Miklos, Hess and Bozoki, Rev. Sci. Instrum. 72 (2001) 1937, section III), S the answer at resonance and b what does
not ring (windows, walls, pick-up); b is fitted only if it is asked for.

Without b the fit tells a wrong f0 long before its chi2 is seen to be too large, for a small b does nearly what a change
of S, f0 and Q does: at 11 points over 1.5 half-widths to either side, a b that passes as chance every other time moves
f0 or Q by 7 sigmas. With b the sigmas are 1.7 times as large, and nothing is assumed. Whether to fit b is therefore no
question to put to the data. What turns Z evenly with f, by a small angle a (f - f0), as a slow clock or a short delay
does, is a b too, to first order, and moves neither f0 nor Q: j a (f - f0) Z = a S f0 / (2 Q) (1 - 1 / (1 + j x)).

Without b the inverse is a straight line in f,

    1 / Z = alpha + beta f,    -alpha / beta = f0 + j f0 / (2 Q),

and since d(1/Z) = -dZ / Z^2, its weights are |Z|^4 / sigma^2. With b, Z (f - p) = r + b (f - p), p = f0 + j f0 / (2 Q),
is linear in p, b and r - b p (Levy, IRE Trans. Autom. Control 4 (1959) 37). Either gives the start of a weighted least
squares on real and imaginary parts (Levenberg and Marquardt), which for Gaussian noise is maximum likelihood; the
covariance is (J^T J)^-1, J the derivatives over sigma. chi2 has 2 n - 4 degrees of freedom, 2 n - 6 with b. If chi2 is
too large to be chance, the model or the sigmas are wrong, and the uncertainties are multiplied by sqrt(chi2 / dof).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc

Reals = npt.NDArray[np.float64]
Phasors = npt.NDArray[np.complex128]

GOOD = 1e-3
"""A fit whose chi2 would be exceeded by chance less often than this is not good."""
FALSE_ALARM = 1e-6
"""How often noise alone may pass for sound."""
WEAKEST = 1.0 / 3.0
"""A Q that is uncertain by more than this part of itself is none: the covariance holds for small errors only."""
FEWEST, FEWEST_WITH_BACKGROUND = 4, 6
"""Points that a fit needs, without b and with b: twice as many numbers as there are parameters."""
FARTHEST = 2.0
"""A resonance above this multiple of the highest frequency is not one that the sweep has seen."""
_EPS = float(np.finfo(np.float64).eps)


class NoResonance(ValueError):
    """Why there is no resonance to be told."""


@dataclass(frozen=True, slots=True)
class Resonance:
    """A fitted resonance; sigmas are one standard deviation, already multiplied by `scale`.

    `peak` is S and `background` b, in the unit of Z, b None where it was not fitted; `sigma_background` is that of
    either part of b; `p_value` is how often chance gives a larger `chi2` with `dof` degrees of freedom; `scale` is 1
    where the fit is good.
    """

    f0_hz: float
    sigma_f0_hz: float
    q: float
    sigma_q: float
    peak: complex
    background: complex | None
    sigma_background: float
    chi2: float
    dof: int
    p_value: float
    scale: float

    @property
    def good(self) -> bool:
        """Whether the points lie on the curve as closely as their sigmas say."""
        return self.p_value >= GOOD

    def at(self, frequency_hz: Reals) -> Phasors:
        """The fitted curve, complex128 like `frequency_hz` [n], hertz."""
        return _curve(np.array(_packed(self.peak, self.f0_hz, self.q, self.background or 0j)), frequency_hz)


def load() -> None:
    """Import what a fit needs, half a second's work: for who must not wait for it when the fit is due."""
    import scipy.optimize  # noqa: F401


def fit_resonance(frequency_hz: Reals, z: Phasors, sigma: Reals, *, background: bool = False) -> Resonance:
    """The resonance in phasors `z`, complex128 [n], at `frequency_hz`, float64 [n]; `sigma`, float64 [n], is one
    standard deviation of the real, and of the imaginary part of each.

    Raises NoResonance with the reason: fewer than 4 points, or 6 with background, values that are not finite, no signal
    above the noise, no resonance, a resonance outside the sweep, or one too weak to tell its Q.
    """
    from scipy.optimize import least_squares  # 20 MB that only a sweep needs

    _check(frequency_hz, z, sigma, background)
    size = float(np.abs(z).max())
    start = (_start_with_background if background else _start)(frequency_hz, z / size, sigma / size)
    count = 6 if background else 4

    def residuals(values: Reals) -> Reals:
        return _parts((_curve(values, frequency_hz) - z / size) / (sigma / size))

    def derivatives(values: Reals) -> Reals:
        return _parts(_slopes(values, frequency_hz)[:count] / (sigma / size)).T

    found = least_squares(
        residuals, start[:count], derivatives, method="lm", x_scale="jac", xtol=4 * _EPS, ftol=4 * _EPS, gtol=4 * _EPS
    )
    f0_hz, q = float(found.x[2]), float(found.x[3])
    _check_place(f0_hz, q, frequency_hz)
    chi2, dof = 2.0 * float(found.cost), 2 * len(z) - count
    p_value = float(gammaincc(dof / 2.0, chi2 / 2.0))
    scale = math.sqrt(chi2 / dof) if p_value < GOOD else 1.0
    _, _, sigma_f0_hz, sigma_q, *rest = (scale * _deviations(derivatives(found.x))).tolist()
    if sigma_q > WEAKEST * q:
        raise NoResonance(f"the sound is too weak to tell a resonance: Q is {q:.3g} +- {sigma_q:.2g}")
    peak = complex(found.x[0], found.x[1]) * size
    b = complex(found.x[4], found.x[5]) * size if background else None
    sigma_b = rest[0] * size if background else 0.0
    return Resonance(f0_hz, sigma_f0_hz, q, sigma_q, peak, b, sigma_b, chi2, dof, p_value, scale)


def _check(frequency_hz: Reals, z: Phasors, sigma: Reals, background: bool) -> None:
    """Raises NoResonance for points that no resonance can be found in."""
    fewest = FEWEST_WITH_BACKGROUND if background else FEWEST
    if len(z) < fewest:
        raise NoResonance(f"{len(z)} points are too few for a resonance: {fewest} are the fewest")
    if not (np.isfinite(frequency_hz).all() and np.isfinite(z).all() and np.isfinite(sigma).all() and sigma.min() > 0):
        raise NoResonance("every point needs a finite phasor and a sigma above 0")
    weights = sigma**-2
    mean = complex((z * weights).sum() / weights.sum()) if background else 0j
    power = float((np.abs(z - mean) ** 2 * weights).sum())
    if gammaincc(len(z) - background, power / 2.0) > FALSE_ALARM:
        raise NoResonance("there is no signal above the noise")


def _check_place(f0_hz: float, q: float, frequency_hz: Reals) -> None:
    """Raises NoResonance for a resonance that is none, or outside the sweep."""
    low, high = float(frequency_hz.min()), float(frequency_hz.max())
    if not (0.0 < f0_hz < FARTHEST * high and 0.0 < q < math.inf):
        raise NoResonance("the points do not lie on a resonance")
    if not low <= f0_hz <= high:
        raise NoResonance(f"the resonance is outside the sweep of {low:.1f} to {high:.1f} Hz, near {f0_hz:.0f} Hz")


def _start(f: Reals, z: Phasors, sigma: Reals) -> Reals:
    """Start values from the straight line 1 / Z."""
    middle, width = float(f.mean()), float(np.ptp(f)) or 1.0
    line = np.stack([np.ones(len(f)), (f - middle) / width], axis=1)
    weight = np.abs(z) ** 2 / sigma
    inverse = np.divide(1.0, z, out=np.zeros_like(z), where=z != 0)
    alpha, beta = np.linalg.lstsq(line * weight[:, None], inverse * weight, rcond=None)[0]
    pole = complex(middle - alpha / beta * width) if beta else complex(middle, width)
    peak = 1.0 / (complex(alpha + beta * (pole.real - middle) / width) or 1.0)
    return np.array(_packed(peak, pole.real, _quality(pole), 0j))


def _start_with_background(f: Reals, z: Phasors, sigma: Reals) -> Reals:
    """Start values from Levy's equation, a second time with the weights that the first pole gives."""
    middle, width = float(f.mean()), float(np.ptp(f)) or 1.0
    t, weight = (f - middle) / width, 1.0 / sigma
    pole = rest = constant = 0j
    for _ in range(2):
        columns = np.stack([z, t.astype(np.complex128), np.ones(len(f), np.complex128)], axis=1)
        solved = np.linalg.lstsq(columns * weight[:, None], z * t * weight, rcond=None)[0]
        pole, rest, constant = (complex(value) for value in solved)
        weight = 1.0 / (sigma * np.maximum(np.abs(t - pole), _EPS))
    peak = 1j * (constant + rest * pole) / (pole.imag or _EPS)
    pole = middle + width * pole
    return np.array(_packed(peak, pole.real, _quality(pole), rest))


def _quality(pole: complex) -> float:
    return pole.real / (2.0 * pole.imag) if pole.imag else 1.0


def _packed(peak: complex, f0_hz: float, q: float, background: complex) -> tuple[float, ...]:
    return peak.real, peak.imag, f0_hz, q, background.real, background.imag


def _curve(values: Reals, f: Reals) -> Phasors:
    """The model at `values`, float64 [4] or [6]: S, f0, Q and, if there, b."""
    s_re, s_im, f0, q, *rest = values
    z = complex(s_re, s_im) / (1.0 + 2j * q * (f - f0) / f0)
    return np.asarray(z + complex(*rest) if rest else z)


def _slopes(values: Reals, f: Reals) -> Phasors:
    """Derivatives of the model with respect to all six values, complex128 [6, n]."""
    s_re, s_im, f0, q = values[:4]
    unit = 1.0 / (1.0 + 2j * q * (f - f0) / f0)
    along = -1j * complex(s_re, s_im) * unit**2
    one = np.ones(len(f), np.complex128)
    return np.stack([unit, 1j * unit, along * (-2.0 * q * f / f0**2), along * (2.0 * (f - f0) / f0), one, 1j * one])


def _parts(z: Phasors) -> Reals:
    """Real parts, then imaginary parts, along the last axis."""
    return np.concatenate([z.real, z.imag], axis=-1)


def _deviations(derivatives: Reals) -> Reals:
    """Square roots of the diagonal of (J^T J)^-1, float64 [parameters]. Raises NoResonance where J has no full rank."""
    size = np.linalg.norm(derivatives, axis=0)
    try:
        inverse = np.linalg.inv((derivatives / size).T @ (derivatives / size))
    except np.linalg.LinAlgError:
        raise NoResonance("the points do not determine a resonance") from None
    return np.asarray(np.sqrt(np.maximum(np.diag(inverse), 0.0)) / size)
