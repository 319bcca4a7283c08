"""Is there a tone in this band? A constant false-alarm test on a Hann-windowed periodogram.

In Gaussian noise each bin of the periodogram is exponentially distributed about the local noise power. With K bins
searched and the noise taken from the median of the band (mean of an exponential = median / ln 2), a peak of more than
ln(K / false_alarm) times the noise comes by chance in a fraction `false_alarm` of records. The median's own spread
for small K is covered by the factor of the F distribution with (2, 2K) degrees of freedom: r = K ((K /
false_alarm)^(1/K) - 1), which tends to the logarithm for large K (Richards, Fundamentals of Radar Signal Processing,
section 6.5, cell-averaging CFAR).
"""

from __future__ import annotations

import math

import numpy as np

from gateway.dsp.band import Bins
from gateway.dsp.tone import hann


def find_peak(z: Bins, false_alarm: float) -> float | None:
    """Where in the band the strongest tone is (bins from its first one), to about a twentieth of a bin.

    `z` are the bins of a record (dsp/band.py), those of the band and two more on either side, of sound that no filter
    has coloured: the middle of a band-pass would look like a tone. None where no peak stands out of the noise. The
    place is the vertex of the parabola through the logarithms of the three highest bins; it is a start for
    tone.fit_tone.
    """
    tapered = hann(z)
    power = tapered.real**2 + tapered.imag**2
    inner = power[1:-1]
    half = (len(inner) - 1) // 2, len(inner) // 2
    noise = float(np.partition(inner, half)[half[0] : half[1] + 1].mean()) / math.log(2.0)
    peaks = np.where((power[1:-1] >= power[:-2]) & (power[1:-1] >= power[2:]), inner, 0.0)
    top = int(peaks.argmax())
    if peaks[top] <= noise * threshold(len(inner), false_alarm):
        return None
    left, middle, right = (math.log(max(float(value), 1e-300)) for value in power[top : top + 3])
    curvature = left - 2.0 * middle + right
    return top + (0.5 * (left - right) / curvature if curvature < 0.0 else 0.0)


def threshold(bins: int, false_alarm: float) -> float:
    """Peak over mean noise above which a record of `bins` bins is by chance only once in 1 / `false_alarm`."""
    return bins * math.expm1(math.log(bins / false_alarm) / bins)
