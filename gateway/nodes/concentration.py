"""concentration: from the tone to ppm, with its uncertainty. Two ways, of which one is given: a polynomial
(nodes/polynomial.py), or a calibration file (nodes/calibrated.py), which is read once, when the node is made.

What the curve does not know, `sigma_calibration_percent`, is joined in squares (GUM, JCGM 100:2008, 5.1.2). The
expanded uncertainty is t_{0.975}(dof) u with the effective degrees of freedom of Welch and Satterthwaite (GUM G.4). The
limit of detection is three sigma at zero. Values are never clamped: below zero is what noise about zero looks like.

When values stay away, the last one is said to be stale: nobody shall take an old number for a new one.

Beside the raw value stands a smoothed one (dsp/smooth.py), made of valid values only. Smoothing lessens the noise and
nothing else: what a calibration is uncertain by is in the smoothed value's sigma as well.
"""

from __future__ import annotations

import math
from dataclasses import replace

import scipy.special

from gateway.dsp.compensate import Reading
from gateway.dsp.smooth import Smoother
from gateway.nodes.calibrated import calibrated
from gateway.nodes.curve import ConcentrationSettings, Curve, Read
from gateway.nodes.place import Place
from gateway.nodes.polynomial import Polynomial
from gateway.types import (
    INVALIDATING,
    NO_FLAGS,
    Flag,
    Flags,
    LockInResult,
    Measurement,
    PeakResult,
    Result,
    SampleBlock,
)

LATE, LATE_S = 3.0, 2.0


class Concentration:
    """A calibration curve."""

    Settings = ConcentrationSettings
    STATE = ("_curve", "_smoother", "_last", "_told")

    def __init__(self, name: str, settings: ConcentrationSettings, place: Place) -> None:
        self.after = place
        self._name, self._source = name, settings.source
        self._curve = _curve(name, settings, place)
        self._smoother = Smoother() if settings.smoothing else None
        self._last: LockInResult | PeakResult | None = None
        self._told = False

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """See ComputingNode."""
        made: list[Result] = []
        for tone in results:
            if isinstance(tone, LockInResult | PeakResult) and tone.node == self._source:
                read = self._curve.read(tone, block)
                if read.reading is None:
                    read = replace(read, flags=read.flags | self._overdue(tone.t_ns))
                else:
                    self._last, self._told = tone, False
                made.append(self._measurement(tone, read, self._expired(tone.t_ns, block)))
                if read.resonance is not None:
                    made.append(read.resonance)
        if made or self._told or self._last is None or not self._overdue(block.end_ns):
            return made
        self._told = True
        nothing = replace(self._last, t_ns=block.end_ns, flags=NO_FLAGS)
        return [self._measurement(nothing, Read(None, self._overdue(block.end_ns)), NO_FLAGS)]

    def _overdue(self, t_ns: int) -> Flags:
        """The flag stale where the last value is older than LATE records and LATE_S seconds."""
        last = self._last
        if last is None or t_ns - last.t_ns < 1e9 * max(LATE_S, LATE * last.integration_s):
            return NO_FLAGS
        return frozenset({Flag.STALE})

    def _measurement(self, tone: LockInResult | PeakResult, read: Read, expired: Flags) -> Measurement:
        reading = read.reading
        if reading is None:
            return Measurement(self._name, tone.t_ns, None, None, None, 0, None, False, tone.flags | read.flags, tone)
        flags = tone.flags - {Flag.LOW_SIGNAL} | read.flags | expired
        if reading.ppm < reading.lod:
            flags |= {Flag.LOW_SIGNAL}
        if not self._curve.within(reading.ppm, reading.sigma):
            flags |= {Flag.EXTRAPOLATED}
        valid = not flags & INVALIDATING
        smoothed, sigma_smoothed = self._smoothed(reading, tone.t_ns) if valid else (None, None)
        return Measurement(
            self._name,
            tone.t_ns,
            reading.ppm,
            reading.sigma,
            float(scipy.special.stdtrit(reading.dof, 0.975)) * reading.sigma,
            reading.dof,
            reading.lod,
            valid,
            flags,
            tone,
            smoothed=smoothed,
            sigma_smoothed=sigma_smoothed,
        )

    def _smoothed(self, reading: Reading, t_ns: int) -> tuple[float | None, float | None]:
        """The smoothed value and its standard deviation."""
        found = self._smoother.step(reading.ppm, reading.terms["noise"], t_ns / 1e9) if self._smoother else None
        return (None, None) if found is None else (found[0], math.hypot(found[1], reading.rest))

    def _expired(self, t_ns: int, block: SampleBlock) -> Flags:
        """The flag where the sound has a date, and that is after the calibration's last."""
        if block.utc_ns is None or block.utc_ns + t_ns - block.t_ns <= self._curve.valid_until_ns:
            return NO_FLAGS
        return frozenset({Flag.CAL_EXPIRED})


def _curve(name: str, settings: ConcentrationSettings, place: Place) -> Curve:
    if settings.calibration is None:
        return Polynomial(settings, float(place.reference))
    return calibrated(name, settings, place)
