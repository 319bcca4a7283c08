"""A record of baseband phasors becomes one phasor per microphone, with the noise beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from gateway.dsp.demodulator import Phasors

FIRST_BIN, LAST_BIN = 2, 9


@dataclass(frozen=True, slots=True)
class Reduced:
    """What a record of one or two microphones says.

    `phasors` complex128 [microphones], peak amplitude, full scale; `noise` complex128 [snapshots, microphones]:
    samples of the phasors' own noise, E|n|^2 / 2 the variance of the real or imaginary part. `masked`: the part of the
    record that was cut out; `tones`: how many interfering tones were taken out; `estimated` [microphones]: restored
    from clipped sound.
    """

    phasors: Phasors
    noise: Phasors
    masked: float
    tones: int
    estimated: npt.NDArray[np.bool_]


def reduce(z: Phasors, images: Phasors, clipped: npt.NDArray[np.float64]) -> Reduced:
    """`z` complex128 [sub-blocks, microphones], at least 6 sub-blocks, of which a tone A gives A + images A* ;
    `images` complex128 [sub-blocks]; `clipped` float64 like `z`, the part of the samples at full scale.
    """
    epsilon = complex(images.mean())
    mean = z.mean(axis=0)
    value = (mean - epsilon * mean.conj()) / (1.0 - abs(epsilon) ** 2)
    residual = z - value - images[:, None] * value.conj()
    bins = np.arange(FIRST_BIN, min(LAST_BIN, (len(z) - 1) // 2) + 1)
    noise = scipy.fft.fft(residual, axis=0) / len(z)
    estimated = np.asarray(clipped > 0.0).any(axis=0)
    return Reduced(value, np.concatenate((noise[bins], noise[-bins])), 0.0, 0, np.asarray(estimated))
