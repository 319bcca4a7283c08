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
import numpy.typing as npt
import scipy.fft
import scipy.signal

from gateway.types import Samples

Power = npt.NDArray[np.float64]


def hann(frames: int) -> Samples:
    """The periodic Hann window, float32 [frames]."""
    return scipy.signal.get_window("hann", frames).astype(np.float32)


def find_peak(samples: Samples, window: Samples, first: int, shape: Power, false_alarm: float) -> float | None:
    """The frequency (turns per frame) of the strongest tone in a band, to about a twentieth of a bin.

    `samples` float32 [frames] and `window` of the same length. The band is `len(shape)` bins from bin `first` on;
    `shape` float64 is the power gain there of the filters that the sound has passed, by which white noise is made
    white again: without it the middle of a band-pass would look like a tone. None where no peak stands out of the
    noise. The frequency is the vertex of the parabola through the logarithms of the three highest bins; it is a start
    for phasor.fit_tone.
    """
    spectrum = scipy.fft.rfft(samples * window)[first - 1 : first + len(shape) + 1]
    power = spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2
    inner = power[1:-1] / shape
    peaks = np.flatnonzero((power[1:-1] >= power[:-2]) & (power[1:-1] >= power[2:]))
    noise = float(np.median(inner)) / math.log(2.0)
    if not len(peaks):
        return None
    top = int(peaks[np.argmax(inner[peaks])])
    if inner[top] <= noise * threshold(len(inner), false_alarm):
        return None
    left, middle, right = (math.log(max(float(value), 1e-300)) for value in power[top : top + 3])
    curvature = left - 2.0 * middle + right
    shift = 0.5 * (left - right) / curvature if curvature < 0.0 else 0.0
    return (first + top + shift) / len(samples)


def threshold(bins: int, false_alarm: float) -> float:
    """Peak over mean noise above which a record of `bins` bins is by chance only once in 1 / `false_alarm`."""
    return bins * math.expm1(math.log(bins / false_alarm) / bins)
