"""One phasor, with its uncertainty, from a record of baseband phasors.

The mean Z of M sub-block phasors is A + eps A*, where eps is what the boxcar leaves of the tone's image at -2f;
solving the two real equations for A is the three-parameter sine fit (IEEE Std 1057, annex on sine fits) written at
baseband:

    A = (Z - eps Z*) / (1 - |eps|^2),    eps = e0 mean_i r_i^2,    e0 = (1/D) sum_{k<D} exp(-2j w k),

r_i the rotation of sub-block i. The noise is taken from the residual after removing tone and image, in the bins
beside the tone (2 to 9 record bins away on either side), so that coloured noise and drift do not fool it. Sub-blocks do
not overlap, so white noise is white among them, and each bin holds 2 sigma^2 with two degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from gateway.dsp.demodulator import Phasors

FIRST_BIN, LAST_BIN = 2, 9


@dataclass(frozen=True, slots=True)
class Phasor:
    """`value`: complex peak amplitude, full scale; `sigma`: one standard deviation of its real (or imaginary) part,
    with `dof` degrees of freedom.
    """

    value: complex
    sigma: float
    dof: int


def estimate(z: Phasors, turns_per_frame: float, sub_block: int, first: int = 0) -> Phasor:
    """The tone in `z`, complex128 [sub-blocks], at least 6 of them, demodulated at `turns_per_frame` (f / fs).

    `first` is the number of the first sub-block on the absolute grid, which sets the phase of the image.
    """
    image = _image(len(z), turns_per_frame, sub_block, first)
    epsilon = complex(image.mean())
    mean = complex(z.mean())
    value = (mean - epsilon * mean.conjugate()) / (1.0 - abs(epsilon) ** 2)
    residual = z - value - value.conjugate() * image
    bins = np.arange(FIRST_BIN, min(LAST_BIN, (len(z) - 1) // 2) + 1)
    power = np.abs(scipy.fft.fft(residual)) ** 2 / len(z) ** 2
    noise = np.concatenate((power[bins], power[-bins]))
    return Phasor(value, math.sqrt(float(noise.mean()) / 2.0), 2 * len(noise))


def _image(count: int, turns_per_frame: float, sub_block: int, first: int) -> Phasors:
    """What a unit tone's conjugate leaves in each sub-block, complex128 [count]."""
    e0 = np.exp(-4j * np.pi * turns_per_frame * np.arange(sub_block)).mean()
    turns = (2.0 * (turns_per_frame * sub_block % 1.0)) % 1.0
    return np.asarray(e0 * np.exp(-2j * np.pi * (turns * (first + np.arange(count)) % 1.0)))


def refine(z: Phasors, sub_block: int, iterations: int = 3) -> float:
    """How far (turns per frame) the tone in `z` is from the frequency it was demodulated at.

    Newton's method on |sum_i z_i exp(-2j pi d i D)|^2, the likelihood of one tone in white noise; converges from
    within half a record bin (Rife and Boorstyn, IEEE Trans. Inf. Theory 20, 1974, section V).
    """
    t = np.arange(len(z)) - (len(z) - 1) / 2.0
    offset = 0.0
    for _ in range(iterations):
        rotated = z * np.exp(-1j * offset * t)
        s0, s1, s2 = rotated.sum(), (t * rotated).sum(), (t * t * rotated).sum()
        curvature = float((s0.conjugate() * s2).real - abs(s1) ** 2)
        if curvature <= 0.0:
            break
        offset += float((s0.conjugate() * s1).imag) / curvature
    return offset / (2.0 * math.pi * sub_block)
