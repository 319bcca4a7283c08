"""Where a gas line's resonance is, from record to record.

One mode of a cell, driven at f, answers with H = 1 / (1 + j x), x = 2 Q (f - f0) / f0, so that the phase of the signal,
background subtracted and turned so that it is 0 on resonance, is -atan x, and its amplitude falls with sqrt(1 + x^2)
(Miklos, Hess and Bozoki, Rev. Sci. Instrum. 72 (2001) 1937, section III).

Feed-forward. f0 is proportional to the speed of sound: f_ff = f_ref c / c_ref. What it does not know is a constant
offset a (calibration, sensors) and how far it follows the gas: the wall is not as warm as the sensor, so that a part e
of every swing D = f_ff - f_ref is wrong. The belief is Gaussian in (a, e),

    f0 = f_ff + a + e D,    variance of f0 = Paa + 2 D Pae + D^2 Pee,

and a Kalman filter with these two states (Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking and
Navigation (2001), section 5.2) learns them wherever the sound tells f0: a walks randomly, e hardly. So the filter soon
knows the coefficient of feed-forward, and stays right when the gas is gone and nothing can be measured.

Phase (pll). With x' as believed, phase + atan x' = (x' - x) / (1 + x'^2) to first order, with variance
sigma^2 / |z|^2. The phase itself is compared, and not its tangent, because it stays bounded where x is large.

Dither. Without a phase the laser stands half a half-width above and below f0 in turns. In ln |z| = ln gas -
ln(1 + x^2) / 2 a wrong f0 makes one side louder, by 0.8 of its error in half-widths. Compared is each dwell with the
mean of the one before and the one after it, in which a steady change of gas cancels. Neighbouring comparisons share a
dwell and are correlated by 1/6, for which the variance is taken 4/3 times.

The laser is moved when the detuning is more than 0.05 half-widths, at which 0.1 % of the signal is lost and an
uncertain f0 begins to count. Mains plays no part in where it goes: its harmonics are 50 Hz apart, farther than a
resonance is wide, its 40th moves by more than a hertz, and a tone that comes near is removed from the record.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, replace
from typing import Literal

from gateway.dsp.air import Sound, sound_in
from gateway.types import Climate

Mode = Literal["off", "feed_forward", "pll", "dither"]

FEED_FORWARD_ERROR = 0.05
"""One standard deviation of the part of every swing that feed-forward has wrong, as pll and dither set out with it:
they are to learn it, so it is on the large side."""
UNLEARNT_ERROR = 0.01
"""The same where nothing is learnt: a metal cell grows by 20 ppm per kelvin where sound gains 1750."""
FORGET_S = 86_400.0
"""In this time the learnt coefficient of feed-forward becomes as uncertain as it was."""
WALK = 8.34e-4
"""Random walk of the offset, half-widths per root second: with 1 s records at a signal to noise ratio of 100 it gives
the filter a gain of 0.08, the noise bandwidth of a loop of 0.02 Hz."""
UNKNOWN_AIR = 0.01
"""One standard deviation of f0, relative, in air of which nothing is known: 5 K."""
UNKNOWN_DRIFT = 1e-5
"""How fast f0 gets as uncertain as that, relative and per second, once the air is not known: 20 K an hour."""
FREEZE_SNR, PRESENCE = 3.0, 0.2
"""Nothing is learnt where amplitude over sigma is below this in the record, or in the mean power of those before it; in
that mean a record counts `PRESENCE`. Noise alone passes the first in 1 % of all records, the second never."""
GATE, SURPRISES = 4.0, 3
"""An innovation of more than `GATE` deviations counts as a measurement that was that much worse; with `SURPRISES` in a
row it was the belief that was worse."""
SLEW_HZ_PER_S, RANGE = 1.0, 0.05
"""How fast f0 may be moved by what is heard, and how far from feed-forward, relative."""
DWELL_RECORDS, DWELL_PLACE = 5, 0.5
"""Dither: records on a side (a retuning every 5 s costs 0.2 s of sound, 4 %), and half-widths from f0."""
TUNE = 0.05


@dataclass(frozen=True, slots=True)
class Followed:
    """The resonance in a record: its frequency, `detuning` x of the laser in that record, each with one standard
    deviation, and the frequency that the laser should have from now on, None where it should stay.
    """

    f0_hz: float
    sigma_f0_hz: float
    detuning: float
    sigma_detuning: float
    tune_hz: float | None


@dataclass(frozen=True, slots=True)
class Belief:
    """What feed-forward does not know, and the covariance of that: `offset_hz` a, `slope` e of the theory above."""

    offset_hz: float
    slope: float
    p_offset: float
    p_both: float
    p_slope: float

    def shift_hz(self, swing_hz: float) -> float:
        """f0 minus feed-forward."""
        return self.offset_hz + self.slope * swing_hz

    def variance(self, swing_hz: float) -> float:
        """Of f0, hertz squared."""
        return self.p_offset + 2.0 * swing_hz * self.p_both + swing_hz**2 * self.p_slope

    def widened(self, variance: float, most: float = math.inf) -> Belief:
        """With an offset that is more uncertain by `variance`, but not beyond `most`, hertz squared."""
        return replace(self, p_offset=max(0.0, self.p_offset + min(variance, max(0.0, most - self.p_offset))))

    def aged(self, seconds: float) -> Belief:
        """With a coefficient of feed-forward that is `seconds` older."""
        forgotten = FEED_FORWARD_ERROR**2 * min(1.0, seconds / FORGET_S)
        slope = min(FEED_FORWARD_ERROR**2, self.p_slope + forgotten)
        return replace(self, p_slope=slope)

    def corrected(self, swing_hz: float, innovation_hz: float, variance: float, most_hz: float) -> Belief:
        """After f0 was measured `innovation_hz` higher than believed, with `variance`; moves f0 by `most_hz` at most.

        Where that limit cuts the move short, what is left of it is in the uncertainty.
        """
        with_offset = self.p_offset + swing_hz * self.p_both
        with_slope = self.p_both + swing_hz * self.p_slope
        total = self.variance(swing_hz) + variance
        if total <= 0.0:
            return self
        move = innovation_hz * self.variance(swing_hz) / total
        part = min(1.0, most_hz / abs(move)) if move else 1.0
        step = part * innovation_hz / total
        moved = replace(self, offset_hz=self.offset_hz + step * with_offset, slope=self.slope + step * with_slope)
        if part < 1.0:
            return moved.widened(max(0.0, (move * (1.0 - part)) ** 2 - self.variance(swing_hz)))
        return replace(
            moved,
            p_offset=self.p_offset - with_offset**2 / total,
            p_both=self.p_both - with_offset * with_slope / total,
            p_slope=self.p_slope - with_slope**2 / total,
        )


@dataclass(frozen=True, slots=True)
class Dwell:
    """Records on one side: their number, and means of frequency, swing, power |z|^2 less that of noise, and variance of
    that power.
    """

    records: int
    frequency_hz: float
    swing_hz: float
    power: float
    variance: float

    def joined(self, other: Dwell) -> Dwell:
        """Both together."""
        records = self.records + other.records
        mine, others = self.records / records, other.records / records
        return Dwell(
            records,
            mine * self.frequency_hz + others * other.frequency_hz,
            mine * self.swing_hz + others * other.swing_hz,
            mine * self.power + others * other.power,
            mine**2 * self.variance + others**2 * other.variance,
        )

    @property
    def clear(self) -> bool:
        """Whether there is enough signal to compare."""
        return self.power > FREEZE_SNR * math.sqrt(self.variance)


class Follower:
    """Follows the resonance of one gas line; called once per record.

    What it has learnt is in the attributes without an underscore.
    """

    STATE = (
        "reference",
        "belief",
        "before",
        "swing_hz",
        "air_variance",
        "t_s",
        "presence",
        "surprises",
        "dwells",
    )
    LASTING = True

    def __init__(
        self,
        mode: Mode,
        f0_hz: float,
        q: float,
        reference_air: Climate | None,
        sigma_f0_hz: float,
        *,
        sigma_q: float = 0.0,
        sigma_temperature_c: float = 0.1,
    ) -> None:
        """`f0_hz` and `q` with their standard deviations as calibrated in `reference_air`; where nobody knows that air,
        the first that is measured is taken for it. `sigma_temperature_c` is how far the temperature now may differ
        from that of the calibration by the sensors alone.
        """
        self._mode = mode
        self._reference_hz, self._q, self._sigma_q = f0_hz, q, sigma_q
        self._tracking = mode in ("pll", "dither")
        self.reference = sound_in(reference_air)
        variance = sigma_f0_hz**2
        if self.reference is None:
            variance += self._unknown_variance
        else:
            kelvin = self.reference.per_kelvin * sigma_temperature_c
            variance += (f0_hz / self.reference.speed_m_s) ** 2 * (kelvin**2 + self.reference.sigma_m_s**2)
        error = FEED_FORWARD_ERROR if self._tracking else UNLEARNT_ERROR
        self.belief = Belief(0.0, 0.0, variance, 0.0, error**2)
        self.before: Belief | None = None  # the belief of when the air was last known, None while it is known
        self.swing_hz = 0.0
        self.air_variance = 0.0
        self.t_s: float | None = None
        self.presence = 0.0  # running mean of (amplitude / sigma)^2, without the part that noise has in it
        self.surprises = 0
        self.dwells: tuple[Dwell, ...] = ()

    def renewed(self, gap_s: float) -> None:
        """Times are those of a new stream, which began `gap_s` after the last record."""
        self.t_s = None if self.t_s is None else -gap_s

    @property
    def f0_hz(self) -> float:
        """The resonance as believed."""
        return self._resonance_hz(self.swing_hz)

    @property
    def sigma_f0_hz(self) -> float:
        """One standard deviation of that; with mode off it holds the swing that nobody follows."""
        if self._mode == "off":
            return math.sqrt(self.belief.p_offset + self.swing_hz**2)
        return math.sqrt(max(0.0, self.belief.variance(self.swing_hz)))

    def step(
        self,
        t_s: float,
        record_s: float,
        frequency_hz: float,
        phasor: complex | None,
        sigma: float,
        air: Climate | None,
    ) -> Followed:
        """The resonance after a record of `record_s` that ended at `t_s`, with the laser at `frequency_hz`.

        `phasor` is the signal without background, real and positive on resonance (dither: only its amplitude counts),
        None where the record has none that can be trusted; `sigma` is one standard deviation of its real or imaginary
        part; `air` is what was measured of the gas, None where nothing was.
        """
        seconds = record_s if self.t_s is None else max(0.0, t_s - self.t_s)
        self.t_s = t_s
        self._feed(sound_in(air), seconds)
        if self._tracking:
            self.belief = self._aged(self.belief, seconds)
            self.before = self._aged(self.before, seconds) if self.before else None
            heard = phasor is not None and cmath.isfinite(phasor) and math.isfinite(sigma)
            if phasor is not None and heard and self._mode == "pll":
                self._hear_phase(frequency_hz, phasor, sigma, seconds)
            elif phasor is not None and heard:
                self._hear_side(frequency_hz, abs(phasor), sigma, seconds)
        return self._followed(frequency_hz)

    @property
    def _half_width_hz(self) -> float:
        return self._reference_hz / (2.0 * self._q)

    def _aged(self, belief: Belief, seconds: float) -> Belief:
        walked = (WALK * self._half_width_hz) ** 2 * seconds
        return belief.aged(seconds).widened(walked, self._unknown_variance)

    @property
    def _unknown_variance(self) -> float:
        return (UNKNOWN_AIR * self._reference_hz) ** 2

    def _resonance_hz(self, swing_hz: float) -> float:
        if self._mode == "off":
            return self._reference_hz
        forward = self._reference_hz + swing_hz
        return forward + max(-RANGE * forward, min(RANGE * forward, self.belief.shift_hz(swing_hz)))

    def _feed(self, sound: Sound | None, seconds: float) -> None:
        """Moves f0 with the air, or makes it uncertain where the air is not known."""
        if sound is None:
            self.before = self.before or self.belief
            drifted = (math.sqrt(self.belief.p_offset) + UNKNOWN_DRIFT * self._reference_hz * seconds) ** 2
            self.belief = self.belief.widened(drifted - self.belief.p_offset, self._unknown_variance)
            return
        tracked, uncertain = self.f0_hz, self.belief.variance(self.swing_hz)
        self.reference = self.reference or sound
        self.swing_hz = self._reference_hz * (sound.speed_m_s / self.reference.speed_m_s - 1.0)
        variance = (self._reference_hz * sound.sigma_m_s / self.reference.speed_m_s) ** 2
        if self.before is not None:
            self.belief, self.before = self.before, None
            if self._tracking:
                self._correct(self.swing_hz, tracked - self.f0_hz, uncertain, math.inf)
        if variance > self.air_variance or not self._tracking:
            self.belief = self.belief.widened(variance - self.air_variance)
        self.air_variance = variance

    def _hear_phase(self, frequency_hz: float, z: complex, sigma: float, seconds: float) -> None:
        ratio = (abs(z) / sigma) ** 2 if sigma > 0.0 else math.inf
        self.presence += PRESENCE * (min(ratio, 1e6) - 2.0 - self.presence)
        if min(ratio, self.presence) < FREEZE_SNR**2:
            return
        x, per_hz = self._detuning(frequency_hz, self.swing_hz)
        turned = z * complex(1.0, x)
        slope = (1.0 + x**2) / per_hz
        variance = (sigma / abs(z) * slope) ** 2
        self._correct(self.swing_hz, cmath.phase(turned) * slope, variance, SLEW_HZ_PER_S * seconds)

    def _hear_side(self, frequency_hz: float, amplitude: float, sigma: float, seconds: float) -> None:
        """Adds a record to its dwell; with the first of a new one, compares the last three."""
        power = amplitude**2 - 2.0 * sigma**2
        record = Dwell(1, frequency_hz, self.swing_hz, power, 4.0 * sigma**2 * (max(0.0, power) + sigma**2))
        if not self.dwells:
            self.dwells = (record,)
        elif abs(frequency_hz - self.dwells[-1].frequency_hz) < 0.25 * self._half_width_hz:
            self.dwells = (*self.dwells[:-1], self.dwells[-1].joined(record))
        else:
            if len(self.dwells) == 3:
                self._compare(*self.dwells, seconds)
                self.dwells = self.dwells[2:]
            self.dwells = (*self.dwells, record)

    def _compare(self, first: Dwell, middle: Dwell, last: Dwell, seconds: float) -> None:
        dwells, weights = (first, middle, last), (-0.5, 1.0, -0.5)
        if not all(dwell.clear for dwell in dwells):
            return
        difference = variance = per_hz = 0.0
        for dwell, weight in zip(dwells, weights, strict=True):
            x, slope = self._detuning(dwell.frequency_hz, dwell.swing_hz)
            difference += weight * 0.5 * math.log(dwell.power * (1.0 + x**2))
            variance += weight**2 * dwell.variance / (2.0 * dwell.power) ** 2
            per_hz += weight * slope * x / (1.0 + x**2)
        if abs(per_hz) * self._half_width_hz > 0.4:
            most_hz = SLEW_HZ_PER_S * seconds * (first.records + middle.records)
            self._correct(middle.swing_hz, difference / per_hz, 4.0 / 3.0 * variance / per_hz**2, most_hz)

    def _correct(self, swing_hz: float, innovation_hz: float, variance: float, most_hz: float) -> None:
        """Takes in one measurement of f0, but no more of it than `GATE` says."""
        total = self.belief.variance(swing_hz) + variance
        excess = (innovation_hz / GATE) ** 2 - total
        self.surprises = self.surprises + 1 if excess > 0.0 else 0
        if self.surprises >= SURPRISES:
            self.belief = self.belief.widened(excess)
        elif self.surprises:
            variance += excess
        self.belief = self.belief.corrected(swing_hz, innovation_hz, variance, most_hz)

    def _detuning(self, frequency_hz: float, swing_hz: float) -> tuple[float, float]:
        """x of a laser at `frequency_hz` when the swing was that, and how much it falls for one hertz more of f0."""
        f0_hz = self._resonance_hz(swing_hz)
        return 2.0 * self._q * (frequency_hz - f0_hz) / f0_hz, 2.0 * self._q * frequency_hz / f0_hz**2

    def _followed(self, frequency_hz: float) -> Followed:
        f0_hz, sigma_hz = self.f0_hz, self.sigma_f0_hz
        x, per_hz = self._detuning(frequency_hz, self.swing_hz)
        sigma_x = math.hypot(per_hz * sigma_hz, x * self._sigma_q / self._q)
        return Followed(f0_hz, sigma_hz, x, sigma_x, self._tune(frequency_hz, f0_hz, x))

    def _tune(self, frequency_hz: float, f0_hz: float, x: float) -> float | None:
        if self._mode == "dither":
            if not self.dwells or self.dwells[-1].records < DWELL_RECORDS:
                return None
            side = -1.0 if x > 0.0 else 1.0
            return round(f0_hz + side * DWELL_PLACE * self._half_width_hz, 2)
        if self._mode == "off" or abs(x) <= TUNE:
            return None
        return round(f0_hz, 2)
