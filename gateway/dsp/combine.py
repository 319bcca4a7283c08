"""Two microphones become one signal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.dsp.demodulator import Phasors
from gateway.dsp.reduce import Reduced

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Combined:
    """The signal of a record.

    `value`: as the weights say it; `sigma`: one standard deviation of its real or imaginary part, with `dof` degrees of
    freedom; `covariance` complex128 [microphones, microphones] of the phasors' noise (diagonal: variance of the real
    part); `left_out`: a microphone was not used; `estimated`: the value rests on clipped sound.
    """

    value: complex
    sigma: float
    dof: int
    covariance: Phasors
    left_out: bool
    estimated: bool


class Combiner:
    """Combines the microphones of one lock_in from record to record."""

    def __init__(self, weights: Reals) -> None:
        """`weights` float64 [microphones], none of them 0: with which the nodes before the lock_in mix them."""
        self._weights = weights

    def combine(self, reduced: Reduced, record_s: float) -> Combined:
        """The signal of a record of `record_s` seconds."""
        value = complex(self._weights @ reduced.phasors)
        noise = reduced.noise @ self._weights
        sigma = math.sqrt(float(np.mean(np.abs(noise) ** 2)) / 2.0)
        covariance = reduced.noise.T @ reduced.noise.conj() / (2.0 * len(noise))
        return Combined(value, sigma, 2 * len(noise), covariance, False, bool(reduced.estimated.any()))
