"""A tone that turns at a constant rate: how far it is from where it was demodulated, and where its phase is.

The likelihood of one tone in white noise is |sum_i z_i exp(-j w t_i)|^2; its highest point is found on a zero-padded
Fourier transform, and from there by Newton's method (Rife and Boorstyn, IEEE Trans. Inf. Theory 20, 1974, section V).
With A the amplitude, s its standard deviation and t counted from the middle, the tone is A exp(j (p + w t)) and

    var(w) = s^2 / (A^2 m),    var(p + w t) = s^2 / A^2 (1 + t^2 / m),    m = mean t_i^2  (T^2 / 12 for a record T),

the Cramer-Rao bounds (ibid., section II). Newton's method and the noise work on at most 32 means of equal length: what
disturbs the rate is within 16 / T of the tone, so the noise is measured there, whatever its colour. The noise is taken
from what stands across the phasor, which a changing amplitude leaves alone. A strong tone b / T away, even one that
fits a whole number of turns, shifts the rate by less than 4.4 / b of the sigmas that it causes itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from gateway.dsp.demodulator import Phasors

MEANS = 32
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """The tone amplitude exp(j (phase + 2 pi offset_hz (t - centre_s))) as fitted to `count` phasors.

    `sigma`: one standard deviation of the amplitude, with `dof` degrees of freedom; `spread_s`: sqrt(m) above.
    `along` float64 [means]: the means along the phasor.
    """

    centre_s: float
    spread_s: float
    count: int
    amplitude: float
    phase: float
    offset_hz: float
    sigma: float
    dof: int
    along: Reals

    @property
    def snr(self) -> float:
        """Amplitude over its sigma; 0 where there is nothing."""
        return self.amplitude / self.sigma if self.sigma > 0.0 else math.inf if self.amplitude > 0.0 else 0.0

    @property
    def sigma_offset_hz(self) -> float:
        """One standard deviation of the offset."""
        return math.inf if self.snr == 0.0 else 1.0 / (2.0 * math.pi * self.spread_s * self.snr)

    def phase_at(self, t_s: Reals) -> Reals:
        """Radians at times `t_s`."""
        return self.phase + 2.0 * math.pi * self.offset_hz * (t_s - self.centre_s)

    def sigma_phase(self, t_s: float) -> float:
        """One standard deviation of the phase at `t_s`, radians."""
        return math.inf if self.snr == 0.0 else math.hypot(1.0, (t_s - self.centre_s) / self.spread_s) / self.snr

    def ripple(self) -> float:
        """How the magnitude varies in the record beyond white noise: its standard deviation over the amplitude."""
        noise = float(np.mean(np.diff(self.along) ** 2)) / 2.0
        return math.sqrt(max(0.0, float(np.var(self.along)) - noise)) / self.amplitude


def fit_line(t_s: Reals, z: Phasors, step_s: float, width_hz: float, around_hz: float = 0.0) -> Line:
    """The strongest tone within `width_hz` of `around_hz` in `z` complex128 [n], n at least 3, at times `t_s` [n].

    The times rise by about `step_s`, and by more where something is missing. The amplitude is 0 if the likelihood
    has no peak there: it was the flank of another tone. A `width_hz` of 0 searches nothing, and refines `around_hz`.
    """
    start_hz = around_hz
    edges, counts, share = _parts(len(z))
    count, centre = len(counts), float(t_s.sum()) / len(z)
    reach = width_hz * float(t_s[-1] - t_s[0])
    if reach > MEANS / 4:
        around_hz += _coarse_hz(t_s, z * turns(around_hz, t_s), step_s, width_hz)
    t = np.add.reduceat(t_s, edges) / counts - centre
    if 0.25 < reach <= MEANS / 4:
        means = np.add.reduceat(z * turns(around_hz, t_s - centre) if around_hz else z, edges) / counts
        around_hz += _coarse_hz(t, means, len(z) / count * step_s, width_hz)
    if around_hz:
        z = z * turns(around_hz, t_s - centre)
    means = np.add.reduceat(z, edges) / counts
    moments = np.stack((share, share * t, share * t * t))
    spread = math.sqrt(float(moments[2].sum()))
    more_hz = 0.0
    for _ in range(3):
        s0, s1, s2 = (moments @ (means * turns(more_hz, t))).tolist()
        curvature = (s0.conjugate() * s2).real - abs(s1) ** 2
        if curvature <= 0.0:
            break
        more_hz += (s0.conjugate() * s1).imag / curvature / (2.0 * math.pi)
    turned = means * turns(more_hz, t)
    value = complex(share @ turned)
    amplitude, phase = abs(value), math.atan2(value.imag, value.real)
    upright = turned * complex(math.cos(phase), -math.sin(phase))
    sigma = math.sqrt(float(share @ upright.imag**2) / (count - 2))
    line = Line(centre, spread, len(z), amplitude, phase, around_hz + more_hz, sigma, count - 2, upright.real)
    outside = width_hz > 0.0 and abs(line.offset_hz - start_hz) > width_hz + 4.0 * line.sigma_offset_hz
    return replace(line, amplitude=0.0) if outside else line


@lru_cache(16)
def _parts(length: int) -> tuple[npt.NDArray[np.intp], Reals, Reals]:
    """Where at most 32 equal parts of `length` values begin, how many each has, and which share of all that is."""
    count = min(MEANS, length)
    edges = np.arange(count) * length // count
    counts = np.diff(edges, append=length).astype(np.float64)
    return edges, counts, counts / length


def turns(hertz: float, t_s: Reals) -> Phasors:
    """exp(-2j pi hertz t), complex128 like `t_s`: what stops a tone that turns at `hertz`."""
    return np.asarray(np.exp((-2j * math.pi * hertz) * t_s))


def _coarse_hz(t_s: Reals, z: npt.NDArray[Any], step_s: float, width_hz: float) -> float:
    """Where |sum_i z_i exp(-j w t_i)| is highest within `width_hz`, hertz, to a quarter of 1 / T."""
    places = ((t_s - t_s[0]) / step_s + 0.5).astype(np.intp)
    length = 1 << int(2 * places[-1] + 1).bit_length()
    grid = np.zeros(length, np.complex128)
    grid[places] = z
    reach = min(math.ceil(width_hz * length * step_s), length // 2 - 1)
    spectrum = scipy.fft.fft(grid, overwrite_x=True)
    near = np.abs(np.concatenate((spectrum[-reach:], spectrum[: reach + 1])))
    return (int(np.argmax(near)) - reach) / (length * step_s)
