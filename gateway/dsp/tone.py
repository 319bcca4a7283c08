"""Frequency and phasor of one tone, from the bins of a record's discrete Fourier transform around it.

With the zero of time in the middle of a record of N frames (dsp/band.py) a tone at u bins, of phasor A there, shows as

    Z[k] = A c(u, k) + A* d(u, k) + noise,    c = sin(pi u) / (N sin(pi (u - k) / N)),    d = c(-u, k),

both real, so Re Z = Re A (c + d) and Im Z = Im A (c - d): two real fits for a given u. Gauss and Newton's step for u,
along A dc/du freed of what A can take up, makes of it the four-parameter sine fit (IEEE Std 1057), maximum likelihood
for one tone in white noise. (The slope of the image, smaller by 2u, is left out: below some ten bins it would be
missed.) Of the tone's energy all but 2 sin^2(pi u) / (pi^2 REACH) lies in REACH bins on either side: nothing more is
needed.

A boxcar record suffers from strong tones far away, which leak into it as 1 / distance. Where that shows, in bins
beside the tone that are well above those of the same record under a Hann window, the fit is done again with the sound
weighted by that window: leakage falls as 1 / distance^3, at 1.5 times the variance (Harris, Proc. IEEE 66, 1978, table
I: equivalent noise bandwidth).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.dsp.band import Bins
from gateway.dsp.phasor import Phasor

REACH = 100
FIRST_BIN, LAST_BIN = 2, 9
"""Distances from the tone of the bins beside it that the noise is taken from."""
_LEAKS = 3.0
"""Power of those bins, over their power under a Hann window, from which a record is taken to suffer from leakage."""
_HANN_POWER, _HANN_DOF = 0.375, 0.55
"""Mean square of a Hann window; degrees of freedom of neighbouring bins under it, over those of independent ones."""
_STEPS = 2
Real = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tone:
    """Frequency in bins of the record, with one standard deviation, and the phasor in the record's middle."""

    bins: float
    sigma_bins: float
    phasor: Phasor


def fit_tone(z: Bins, first: int, start: float, frames: int) -> Tone:
    """The tone within half a bin of `start` (bins), from the bins `z` of a record of `frames`, bin `first` and on."""
    fit = _fit(z, first, start, frames, REACH, tapered=False)
    beside, count = _beside(fit.residual, fit.middle)
    under_hann = _beside(hann(fit.residual), fit.middle - 1)[0] / _HANN_POWER
    dof = 2 * count
    if beside > _LEAKS * under_hann:
        fit = _fit(z, first, start, frames, LAST_BIN + 1, tapered=True)
        beside, dof = _beside(hann(fit.residual), fit.middle - 1)[0] / _HANN_POWER, int(_HANN_DOF * dof)
    sigma = math.sqrt(beside / 2.0)
    sigma_u = sigma * fit.spread_u / abs(fit.value) if fit.value else math.inf
    return Tone(fit.u, sigma_u, Phasor(fit.value, sigma * fit.spread, dof))


def hann(z: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Bins [..., n] as they are under a Hann window: [..., n - 2], without the outermost."""
    return np.asarray(0.5 * z[..., 1:-1] - 0.25 * (z[..., :-2] + z[..., 2:]))


@dataclass(frozen=True, slots=True)
class _Fit:
    """A fit: the tone at `u` bins, what is left in the bins around the one of index `middle`, and by how much a
    standard deviation of the noise in the real part of a bin moves phasor (`spread`) and u (`spread_u` over |value|).
    """

    u: float
    value: complex
    residual: Bins
    middle: int
    spread: float
    spread_u: float


def _fit(z: Bins, first: int, u: float, frames: int, reach: int, *, tapered: bool) -> _Fit:
    """The tone near `u` in the bins up to `reach` away."""
    middle = round(u)
    low, high = max(1, first, middle - reach), min(first + len(z), middle + reach + 1)
    z = z[low - first : high - first]
    turn = _turn(low - middle, high - middle, frames)
    rows = np.empty((5, len(z)))
    rows[3], rows[4] = z.real, z.imag
    for step in range(_STEPS + 1):
        _kernels(rows, turn, u - middle, middle, frames)
        (ss, sc, sd, sx, sy), (_, cc, cd, cx, cy), (_, _, dd, dx, dy) = _products(rows, tapered)
        plus, minus = cc + 2.0 * cd + dd, cc - 2.0 * cd + dd
        a, b = (cx + dx) / plus, (cy - dy) / minus
        if step < _STEPS:
            force = a * (sx - a * (sc + sd)) + b * (sy - b * (sc - sd))
            stiffness = a * a * (ss - (sc + sd) ** 2 / plus) + b * b * (ss - (sc - sd) ** 2 / minus)
            u += max(-0.5, min(0.5, force / stiffness)) if stiffness > 0.0 else 0.0
    residual = z - complex(a, b) * rows[1] - complex(a, -b) * rows[2]
    slope, kernel = hann(rows[:2]) if tapered else rows[:2]
    spread, spread_u = math.sqrt(kernel @ kernel) / cc, math.sqrt(slope @ slope) / ss
    return _Fit(u, complex(a, b), residual, middle - low, spread, spread_u)


@lru_cache(maxsize=8)
def _turn(low: int, high: int, frames: int) -> tuple[Real, Real]:
    """Cosine and sine of pi k / N from k = low to high."""
    angle = np.arange(low, high) * (math.pi / frames)
    return np.cos(angle), np.sin(angle)


def _products(rows: Real, tapered: bool) -> list[list[float]]:
    """Products of the first three rows with all: sums over time of the sound weighted by a Hann window, or not."""
    products = rows[:3, 1:-1] @ hann(rows).T if tapered else rows[:3] @ rows.T
    return products.tolist()  # type: ignore[no-any-return]


def _kernels(rows: Real, turn: tuple[Real, Real], offset: float, middle: int, frames: int) -> None:
    """Write dc/du, c and d into the first three rows for a tone `offset` bins from the bin `middle`.

    `turn`: cosine and sine of pi (k - middle) / N, from which those of pi (u -+ k) / N follow without a cancellation.
    """
    if abs(offset - round(offset)) < 1e-7:
        offset = round(offset) + 1e-7
    scale = math.pi / frames
    cos, sin = math.cos(scale * offset), math.sin(scale * offset)
    far_cos, far_sin = (f(scale * (offset + 2 * middle)) for f in (math.cos, math.sin))
    height = (-1) ** middle * math.sin(math.pi * offset) / frames
    inverse = 1.0 / (sin * turn[0] - cos * turn[1])
    np.multiply(height, inverse, out=rows[1])
    slope = math.pi / math.tan(math.pi * offset) - scale * inverse * (cos * turn[0] + sin * turn[1])
    np.multiply(rows[1], slope, out=rows[0])
    np.divide(height, far_sin * turn[0] + far_cos * turn[1], out=rows[2])


def _beside(residual: Bins, middle: int) -> tuple[float, int]:
    """Mean power of the bins on either side of `middle` (index), and how many there are."""
    left = residual[max(0, middle - LAST_BIN) : middle - FIRST_BIN + 1]
    right = residual[middle + FIRST_BIN : middle + LAST_BIN + 1]
    power = float(np.vdot(left, left).real + np.vdot(right, right).real)
    count = len(left) + len(right)
    return power / count, count
