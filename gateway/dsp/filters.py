"""Design of the second-order sections of a filter with unity gain, and no phase, at the middle of its band.

A band-pass is made from a low-pass prototype by s -> (s^2 + w0^2) / (B s), which maps the prototype's zero frequency
to w0: there the gain is that of the prototype at 0 and the phase is zero. After the bilinear transform this holds at
the frequency whose pre-warped value is w0, the geometric mean of the pre-warped edges. So the edges f1, f2 = f1 + B
are chosen to put it exactly on the centre frequency fc:  tan(a) tan(a + b) = tan(c)^2 with a, b, c = pi f1/fs, pi
B/fs, pi fc/fs,  which is cos(2a + b) = cos(b) cos(2c). (Bilinear design: Oppenheim and Schafer, Discrete-Time Signal
Processing, section 7.2.)

Butterworth filters are designed here, the others by scipy.signal, whose import takes 50 MB and half a second: a box
with the built-in graph does without.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

Sections = npt.NDArray[np.float64]
Design = Literal["butterworth", "chebyshev", "elliptic"]
Band = Literal["lowpass", "highpass", "bandpass"]

_FTYPE: dict[Design, Literal["cheby1", "ellip"]] = {"chebyshev": "cheby1", "elliptic": "ellip"}
_ZEROS: dict[Band, tuple[float, float]] = {"lowpass": (-1.0, -1.0), "highpass": (1.0, 1.0), "bandpass": (1.0, -1.0)}
"""Of a section: a low-pass has them at half the rate, a high-pass at 0, a band-pass at both."""


def band_edges(center_hz: float, bandwidth_hz: float, rate_hz: int) -> tuple[float, float]:
    """Edges of a band of `bandwidth_hz` whose pre-warped geometric mean is `center_hz`. Raises ValueError if there
    are none.
    """
    b, c = math.pi * bandwidth_hz / rate_hz, math.pi * center_hz / rate_hz
    low = (math.acos(math.cos(b) * math.cos(2.0 * c)) - b) / 2.0 * rate_hz / math.pi
    high = low + bandwidth_hz
    if not 0.0 < low < center_hz < high < rate_hz / 2.0:
        raise ValueError(f"a band of {bandwidth_hz:g} Hz around {center_hz:g} Hz does not fit below {rate_hz / 2:g} Hz")
    return low, high


def design(
    band: Band,
    edges_hz: tuple[float, ...],
    middle_hz: float,
    rate_hz: int,
    *,
    kind: Design = "butterworth",
    order: int = 4,
    ripple_db: float = 0.5,
    attenuation_db: float = 60.0,
) -> Sections:
    """Second-order sections, float64 [sections, 6], with gain 1 at `middle_hz` (0 for a low-pass, fs/2 for a
    high-pass).

    `order` is the prototype's; `ripple_db` serves Chebyshev and elliptic designs, `attenuation_db` elliptic ones.
    """
    if kind == "butterworth":
        sections = _butterworth(band, edges_hz, order, rate_hz)
    else:
        import scipy.signal

        sections = scipy.signal.iirfilter(
            order,
            edges_hz if len(edges_hz) > 1 else edges_hz[0],
            rp=ripple_db,
            rs=attenuation_db,
            btype=band,
            ftype=_FTYPE[kind],
            output="sos",
            fs=rate_hz,
        )
    sections[0, :3] /= abs(response(sections, middle_hz, rate_hz))
    return sections


def _butterworth(band: Band, edges_hz: tuple[float, ...], order: int, rate_hz: int) -> Sections:
    """Sections of a Butterworth filter, the pole nearest to the unit circle last, with some gain.

    Prototype: poles exp(j pi (2 k + n + 1) / 2 n), k = 0 ... n - 1 (Oppenheim and Schafer, appendix B.1); band
    transformations s -> s / w, w / s, (s^2 + w0^2) / (B s); bilinear transform z = (1 + s) / (1 - s) with
    w = tan(pi f / fs).
    """
    prototype = np.exp(1j * np.pi * (2.0 * np.arange(order) + order + 1.0) / (2.0 * order))
    w = np.tan(np.pi * np.array(edges_hz) / rate_hz)
    if band == "bandpass":
        half, square = prototype * (w[1] - w[0]) / 2.0, w[0] * w[1]
        root = np.sqrt(half**2 - square)
        s = np.concatenate([half + root, half - root])
    else:
        s = prototype * w[0] if band == "lowpass" else w[0] / prototype
    z = (1.0 + s) / (1.0 - s)
    real = np.abs(z.imag) < 1e-12 * np.abs(z)
    pairs = [(pole, pole.conjugate()) for pole in z[~real & (z.imag > 0.0)]]
    singles = sorted(z[real].real)
    pairs += [(complex(one), complex(other)) for one, other in zip(singles[0::2], singles[1::2], strict=False)]
    pairs.sort(key=lambda pair: max(abs(pair[0]), abs(pair[1])))
    first, second = _ZEROS[band]
    sections = [[1.0, -first - second, first * second, 1.0, -(p + q).real, (p * q).real] for p, q in pairs]
    if len(singles) % 2:
        sections.insert(0, [1.0, -first, 0.0, 1.0, -singles[-1], 0.0])
    return np.array(sections)


def response(sections: Sections, frequency_hz: float, rate_hz: int) -> complex:
    """The filter's complex gain at one frequency."""
    z = np.exp(-2j * np.pi * frequency_hz / rate_hz * np.arange(3))
    return complex(np.prod((sections[:, :3] @ z) / (sections[:, 3:] @ z)))


def settling_s(sections: Sections, rate_hz: int, level: float = 1e-6) -> float:
    """Seconds until a transient has fallen to `level`, from the pole nearest to the unit circle."""
    poles = [abs(pole) for section in sections for pole in np.roots(section[3:])]
    radius = max(poles, default=0.0)
    return math.log(level) / math.log(radius) / rate_hz if 0.0 < radius < 1.0 else 0.0
