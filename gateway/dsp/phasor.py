"""A phasor with its uncertainty, and how far a tone is from the frequency that it was demodulated at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gateway.dsp.demodulator import Phasors


@dataclass(frozen=True, slots=True)
class Phasor:
    """`value`: complex peak amplitude, full scale; `sigma`: one standard deviation of its real (or imaginary) part,
    with `dof` degrees of freedom.
    """

    value: complex
    sigma: float
    dof: int


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
