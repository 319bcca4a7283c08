"""Two microphones become one signal: as the wires mix them, and with the least noise once the gas's steering is known.

The wires (gains, mixes, the difference) read the microphones' phasors x as w x, and that is the lock_in's signal: it is
what was asked for, whatever the microphones' gains. Where a calibration knows the steering s, the phasors that the gas
gives the microphones, every g with g s = w s reads the gas the same, and generalised least squares has the least noise:
with S = E n n^H the covariance of the phasors' noise, value = (w s) (s^H S^-1 x) / (s^H S^-1 s) and its variance
|w s|^2 / (s^H S^-1 s), the Cramer-Rao bound for two sensors (Kay, Estimation Theory, 1993, section 4.5 and chapter 15).
Noise that the microphones have in common goes out to the last, whatever their gains; with the wires' own weights only
as far as they match. A steering that is wrong by 5 % at one microphone makes an error of 2.5 %, which changes with the
noise: so it is not done on a guess (`recombined`).

S is learnt: the mean over the records so far, from FORGETTING_S on one that forgets. The record itself is part of it,
by its share p, so that a burst is met at once. Its noise is then a little less in the direction g than it is in truth,
for g was chosen to make it so: of K snapshots p (2 - p) / K of its variance is hidden. And g strays from the best: that
costs q / (K - 1) of variance, q the sum of the squared shares. Both are put right in the covariance that goes with the
record, for s = sign(w), which is about what the wires are for; with p = q = 1, a record by itself, this is exactly
Reed, Mallett and Brennan, IEEE Trans. Aerosp. Electron. Syst. 10 (1974) 853, equation 20.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.dsp.demodulator import Phasors
from gateway.dsp.reduce import Reduced
from gateway.types import Pair

Reals = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FORGETTING_S = 60.0
LOADING = 1e-3
"""Part of each microphone's own noise that is added to it in S; it bounds the condition of S, and with it the weights,
and costs nothing: what it lets through of the common noise is its part squared."""
DEAD = 1e-3
"""Noise power against the other microphone's, compared with what it was, below which a microphone is dead: a matched
pair differs by a few decibels and loud sound from outside reaches both, so 30 dB do not come about by themselves."""
DEAF = 0.1
"""Where one hears a clear tone (CLEAR times its noise) and the other less than this part of it, that part of noise
power is enough: an open input of a plain converter has noise of its own, hardly below a microphone's."""
CLEAR = 10.0


@dataclass(frozen=True, slots=True)
class Combined:
    """The signal of a record.

    `value`: as the weights say it; `sigma`: one standard deviation of its real or imaginary part, with `dof` degrees of
    freedom; `covariance` complex128 [microphones, microphones] of the phasors' noise (diagonal: variance of the real
    part), as learnt, and as loud as this record; `left_out`: a microphone was not used; `estimated`: the value rests on
    clipped sound.
    """

    value: complex
    sigma: float
    dof: int
    covariance: Phasors
    left_out: bool
    estimated: bool


class Combiner:
    """Combines the microphones of one lock_in from record to record."""

    STATE = ("_covariance", "_records", "_spread")
    LASTING = True

    def __init__(self, weights: Reals) -> None:
        """`weights` float64 [microphones], none of them 0: with which the nodes before the lock_in mix them."""
        self._weights = weights
        self._steering = np.sign(weights)
        self._covariance: Phasors | None = None
        self._records, self._spread = 0, 0.0

    def combine(self, reduced: Reduced, record_s: float) -> Combined:
        """The signal of a record of `record_s` seconds.

        A microphone that is dead, or at full scale where the other is not, is left out: the signal is then the other's,
        as large as the two would give it, and nothing is learnt.
        """
        used = self._used(reduced)
        if np.count_nonzero(used) < 2:
            return self._single(reduced, int(used.argmax()))
        count = len(reduced.noise)
        now = reduced.noise.T @ reduced.noise.conj() / count
        covariance, hidden = self._learn(now, record_s, count)
        return Combined(
            complex(self._weights @ reduced.phasors),
            math.sqrt(float(np.mean(np.abs(reduced.noise @ self._weights) ** 2)) / 2.0),
            max(1, round(2.0 * count * (1.0 - hidden))),
            covariance,
            False,
            bool(reduced.estimated.any()),
        )

    def _single(self, reduced: Reduced, index: int) -> Combined:
        """The signal as microphone `index` alone gives it."""
        gain = float(self._weights @ self._steering / self._steering[index])
        noise = reduced.noise[:, index] * gain
        covariance = reduced.noise.T @ reduced.noise.conj() / (2.0 * len(noise))
        return Combined(
            gain * complex(reduced.phasors[index]),
            math.sqrt(float(np.mean(np.abs(noise) ** 2)) / 2.0),
            2 * len(noise),
            covariance,
            len(self._weights) > 1,
            bool(reduced.estimated[index]),
        )

    def _used(self, reduced: Reduced) -> Bools:
        """Which microphones are used."""
        used = np.ones(len(self._weights), bool)
        if len(used) < 2:
            return used
        used = ~self._dead(reduced)
        used = used if used.any() else ~used
        clean = used & ~reduced.estimated
        return clean if clean.any() else used

    def _dead(self, reduced: Reduced) -> Bools:
        """Which microphone is silent: its noise has fallen far, by itself and against the other's, and it does not hear
        the tone. Where nothing is learnt yet, microphones of one kind are expected.
        """
        noise = np.mean(np.abs(reduced.noise) ** 2, axis=0)
        tone = np.abs(reduced.phasors)
        clear = tone[::-1] > CLEAR * np.sqrt(noise[::-1])
        limit = np.where(clear & (tone < DEAF * tone[::-1]), DEAF, DEAD)
        fallen = noise < limit * noise[::-1]
        if self._covariance is not None:
            usual = np.diag(self._covariance).real
            fallen = (noise * usual[::-1] < limit * noise[::-1] * usual) & (noise < limit * usual)
            fallen |= noise == 0.0
        return np.asarray(fallen & ((tone < 0.3 * tone[::-1]) | ~clear))

    def _learn(self, now: Phasors, record_s: float, count: int) -> tuple[Phasors, float]:
        """Take this record's covariance in, that of `count` snapshots. Returns the phasors' for `recombined`, and the
        part of the variance that is hidden from it.
        """
        self._records += 1
        share = max(1.0 / self._records, min(1.0, record_s / FORGETTING_S))
        before = now if self._covariance is None else self._covariance
        self._covariance = before + share * (now - before)
        self._spread = (1.0 - share) ** 2 * self._spread + share**2
        hidden = share * (2.0 - share) / count
        if hidden > 0.5:
            return np.diag(np.diag(now)) / 2.0, 0.0
        loaded = self._covariance + LOADING * np.diag(np.diag(self._covariance))
        gains = _gains(loaded, self._steering, self._weights)
        power = float((gains @ now @ gains.conj()).real) * (1.0 + self._spread / max(1, count - 1)) / (1.0 - hidden)
        expected = float((gains @ loaded @ gains.conj()).real)
        return loaded * (power / 2.0 / expected) if expected > 0.0 else loaded, hidden


def recombined(pair: Pair, steering: complex) -> tuple[complex, float]:
    """The signal of a lock_in's pair when the gas gives microphone B `steering` times the phasor of A.

    Returns the value, in the units of LockInResult's in_phase and quadrature and as the weights read that gas, and its
    sigma, with the degrees of freedom of the result.
    """
    covariance = np.array(pair.covariance)
    gains = _gains(covariance, np.array([1.0, steering]), np.array(pair.weights))
    return complex(gains @ np.array(pair.phasors)), math.sqrt(float((gains @ covariance @ gains.conj()).real))


def _gains(covariance: Phasors, steering: Phasors | Reals, weights: Reals) -> Phasors:
    """g of g x, complex128 [microphones]: the least noise with g s = w s; the weights where nothing is known of S."""
    (a, b), (c, d) = covariance
    row = np.array([d * steering[0] - b * steering[1], a * steering[1] - c * steering[0]]).conj()
    heard = complex(row @ steering)
    if not (math.isfinite(abs(heard)) and abs(heard) > 0.0):
        return weights.astype(complex)
    return np.asarray(row * (complex(weights @ steering) / heard))
