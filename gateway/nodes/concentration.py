"""concentration: from the tone to ppm, with its uncertainty. Two ways, of which one is given.

`polynomial_coefficients`: c = p(x), x the signed in-phase amplitude of a lock_in (or the amplitude of a peak_finder).
The uncertainty is propagated to second order, u_x^2 = (p' s)^2 + (p'' s^2)^2 / 2, which stays honest where the slope is
zero.

`calibration`: a file of `spectrophone calibrate` (gateway/calibration.py), read once, when the node is made. Of the
lock_in's phasor the background is subtracted as a vector, the rest is projected on the gas's phase, and the curve gives
c(x) with u^2 = (c' s)^2 + g^T C g, g the gradient after background, slope and bend, C their covariance
(dsp/calibrate.py).

Both are joined by u_c = percent x c / 100, what the calibration's making does not know of (GUM, JCGM 100:2008, 5.1.2
with its note). The expanded uncertainty is t_{0.975}(dof) u with the effective degrees of freedom of Welch and
Satterthwaite, dof = dof_x u^4 / u_x^4 (GUM G.4). The limit of detection is three sigma at zero. Values are never
clamped: below zero is what noise about zero looks like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.special
from pydantic import Field, model_validator

from gateway.calibration import Calibration, load
from gateway.config.settings import Settings
from gateway.errors import ConfigError
from gateway.nodes.place import NodeFault, Place
from gateway.types import INVALIDATING, Flag, Flags, LockInResult, Measurement, PeakResult, Result, SampleBlock

_MOST_DOF = 10_000


class ConcentrationSettings(Settings):
    """Settings of a concentration node."""

    sources: ClassVar[dict[str, tuple[str, ...]]] = {"source": ("lock_in", "peak_finder")}

    source: str = Field(description="id of the lock_in or peak_finder whose amplitude is taken")
    polynomial_coefficients: list[float] | None = Field(
        None, min_length=2, max_length=8, description="ppm = c0 + c1 x + c2 x^2 ..., x the amplitude in full scale"
    )
    calibration: Path | None = Field(
        None,
        description="a file of `spectrophone calibrate`, from the working directory, instead of a polynomial",
    )
    min_ppm: float = Field(0.0, description="lower end of the polynomial's range; a calibration has its own")
    max_ppm: float = Field(
        1_000_000.0, gt=0, description="upper end of the polynomial's range; a calibration has its own"
    )
    sigma_calibration_percent: float = Field(
        0.0, ge=0, le=100, description="uncertainty of the value beside the noise and the calibration file, one sigma"
    )

    @model_validator(mode="after")
    def _checked(self) -> ConcentrationSettings:
        coefficients = self.polynomial_coefficients
        if (coefficients is None) == (self.calibration is None):
            told = "neither polynomial_coefficients nor calibration is given"
            told = told if coefficients is None else "polynomial_coefficients and calibration are both given"
            raise ValueError(f"{told}. Give exactly one of the two")
        if self.calibration is not None and self.model_fields_set & {"min_ppm", "max_ppm"}:
            raise ValueError("min_ppm and max_ppm are those of the calibration file. Take them out")
        if self.min_ppm >= self.max_ppm:
            raise ValueError("min_ppm must be below max_ppm")
        if coefficients is not None and not any(coefficients[1:]):
            raise ValueError(
                "polynomial_coefficients: all but the first are zero, so ppm would not depend on the sound"
            )
        return self


@dataclass(frozen=True, slots=True)
class _Reading:
    """A tone in ppm: `u_tone` from its noise, `u_curve` from the curve."""

    ppm: float
    u_tone: float
    u_curve: float
    lod: float


class _Polynomial:
    """The configured polynomial."""

    valid_until_ns = math.inf

    def __init__(self, settings: ConcentrationSettings) -> None:
        self.min_ppm, self.max_ppm = settings.min_ppm, settings.max_ppm
        self._curve = np.polynomial.Polynomial(settings.polynomial_coefficients or (0.0,))
        self._slope = self._curve.deriv()
        self._bend = self._slope.deriv()

    def read(self, tone: LockInResult | PeakResult) -> _Reading | None:
        """None where there is no tone."""
        x = tone.in_phase if isinstance(tone, LockInResult) else tone.amplitude
        if x is None or not math.isfinite(x) or not math.isfinite(tone.sigma):
            return None
        u_tone = math.hypot(float(self._slope(x)) * tone.sigma, float(self._bend(x)) * tone.sigma**2 / math.sqrt(2.0))
        return _Reading(float(self._curve(x)), u_tone, 0.0, 3.0 * abs(float(self._slope(0.0))) * tone.sigma)

    def within(self, ppm: float, sigma: float) -> bool:
        """Whether a value is in the calibrated range; below its lower end noise may be."""
        return self.min_ppm - 3.0 * sigma <= ppm <= self.max_ppm


class _Calibrated:
    """The curve of a calibration file."""

    def __init__(self, calibration: Calibration) -> None:
        self.min_ppm, self.max_ppm = calibration.curve.min_ppm, calibration.curve.max_ppm
        expiry = calibration.valid_until
        self.valid_until_ns = math.inf if expiry is None else expiry.timestamp() * 1e9
        self._curve = calibration.numbers

    def read(self, tone: LockInResult | PeakResult) -> _Reading | None:
        """None where there is no phasor, or one that no concentration gives."""
        if not isinstance(tone, LockInResult) or not math.isfinite(tone.in_phase) or not math.isfinite(tone.sigma):
            return None
        curve = self._curve
        x = curve.along(complex(tone.in_phase, tone.quadrature))
        ppm = curve.ppm(x)
        if ppm is None:
            return None
        lod = 3.0 * math.hypot(curve.slope(0.0) * tone.sigma, curve.sigma(0.0))
        return _Reading(ppm, curve.slope(x) * tone.sigma, curve.sigma(x), lod)

    def within(self, ppm: float, sigma: float) -> bool:
        """Whether a value is in the calibrated range, at whose ends the noise of the gases there may be."""
        return self.min_ppm - 3.0 * sigma <= ppm <= self.max_ppm + 3.0 * sigma


class Concentration:
    """A calibration curve."""

    Settings = ConcentrationSettings
    STATE = ()

    def __init__(self, name: str, settings: ConcentrationSettings, place: Place) -> None:
        self.after = place
        self._name = name
        self._settings = settings
        self._curve = _Polynomial(settings) if settings.calibration is None else _calibrated(settings.calibration)

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """See ComputingNode."""
        source = self._settings.source
        tones = (
            result for result in results if isinstance(result, LockInResult | PeakResult) and result.node == source
        )
        return [self._measurement(tone, block) for tone in tones]

    def _measurement(self, tone: LockInResult | PeakResult, block: SampleBlock) -> Measurement:
        flags = tone.flags - {Flag.LOW_SIGNAL} | self._expired(tone.t_ns, block)
        reading = self._curve.read(tone)
        if reading is None:
            saturated = isinstance(tone, LockInResult) and math.isfinite(tone.in_phase)
            flags = tone.flags | {Flag.EXTRAPOLATED} if saturated else tone.flags
            return Measurement(self._name, tone.t_ns, None, None, None, 0, None, False, flags, tone)
        value, u_tone = reading.ppm, reading.u_tone
        sigma = math.hypot(u_tone, reading.u_curve, self._settings.sigma_calibration_percent / 100.0 * value)
        dof = min(_MOST_DOF, math.floor(tone.dof * (sigma / u_tone) ** 4)) if u_tone > 0.0 else _MOST_DOF
        if value < reading.lod:
            flags |= {Flag.LOW_SIGNAL}
        if not self._curve.within(value, sigma):
            flags |= {Flag.EXTRAPOLATED}
        return Measurement(
            self._name,
            tone.t_ns,
            value,
            sigma,
            float(scipy.special.stdtrit(dof, 0.975)) * sigma,
            dof,
            reading.lod,
            not flags & INVALIDATING,
            flags,
            tone,
        )

    def _expired(self, t_ns: int, block: SampleBlock) -> Flags:
        """The flag where the sound has a date, and that is after the calibration's last."""
        if block.utc_ns is None or block.utc_ns + t_ns - block.t_ns <= self._curve.valid_until_ns:
            return frozenset()
        return frozenset({Flag.CAL_EXPIRED})


def _calibrated(file: Path) -> _Calibrated:
    """The curve in a calibration file. Raises NodeFault with every fault of the file."""
    try:
        return _Calibrated(load(file))
    except ConfigError as error:
        told = "; ".join(str(fault) for fault in error.faults)
        remedy = "Until `spectrophone calibrate` has made a file, give polynomial_coefficients"
        raise NodeFault("calibration", told, remedy) from None
