"""concentration: from the tone's amplitude to ppm, with its uncertainty.

c = p(x) with p the calibration polynomial and x the signed in-phase amplitude of a lock_in (or the amplitude of a
peak_finder). The uncertainty is propagated to second order, u_x^2 = (p' s)^2 + (p'' s^2)^2 / 2, which stays honest
where the slope is zero, and joined by the calibration's own, u_c = percent x c / 100 (GUM, JCGM 100:2008, 5.1.2 with
its note). The expanded uncertainty is t_{0.975}(dof) u with the effective degrees of freedom of Welch and
Satterthwaite, dof = dof_x u^4 / u_x^4 (GUM G.4). The limit of detection is 3 |p'(0)| s. Values are never clamped:
below zero is what noise about zero looks like.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import scipy.special
from pydantic import Field, model_validator

from gateway.config.settings import Settings
from gateway.nodes.place import Place
from gateway.types import INVALIDATING, Flag, LockInResult, Measurement, PeakResult, Result, SampleBlock

_MOST_DOF = 10_000


class ConcentrationSettings(Settings):
    """Settings of a concentration node."""

    sources: ClassVar[dict[str, tuple[str, ...]]] = {"source": ("lock_in", "peak_finder")}

    source: str = Field(description="id of the lock_in or peak_finder whose amplitude is taken")
    polynomial_coefficients: list[float] = Field(
        min_length=2, max_length=8, description="ppm = c0 + c1 x + c2 x^2 ..., x the amplitude in full scale"
    )
    min_ppm: float = Field(0.0, description="lower end of the calibrated range")
    max_ppm: float = Field(1_000_000.0, gt=0, description="upper end of the calibrated range")
    sigma_calibration_percent: float = Field(
        0.0, ge=0, le=100, description="the calibration's own uncertainty, one sigma"
    )

    @model_validator(mode="after")
    def _checked(self) -> ConcentrationSettings:
        if self.min_ppm >= self.max_ppm:
            raise ValueError("min_ppm must be below max_ppm")
        if not any(self.polynomial_coefficients[1:]):
            raise ValueError(
                "polynomial_coefficients: all but the first are zero, so ppm would not depend on the sound"
            )
        return self


class Concentration:
    """A calibration curve."""

    Settings = ConcentrationSettings

    def __init__(self, name: str, settings: ConcentrationSettings, place: Place) -> None:
        self.after = place
        self._name = name
        self._settings = settings
        self._curve = np.polynomial.Polynomial(settings.polynomial_coefficients)
        self._slope = self._curve.deriv()
        self._bend = self._slope.deriv()

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """See ComputingNode."""
        source = self._settings.source
        tones = (
            result for result in results if isinstance(result, LockInResult | PeakResult) and result.node == source
        )
        return [self._measurement(tone) for tone in tones]

    def _measurement(self, tone: LockInResult | PeakResult) -> Measurement:
        x = tone.in_phase if isinstance(tone, LockInResult) else tone.amplitude
        if x is None or not math.isfinite(x) or not math.isfinite(tone.sigma):
            return Measurement(self._name, tone.t_ns, None, None, None, 0, None, False, tone.flags, tone)
        value = float(self._curve(x))
        u_tone = math.hypot(float(self._slope(x)) * tone.sigma, float(self._bend(x)) * tone.sigma**2 / math.sqrt(2.0))
        sigma = math.hypot(u_tone, self._settings.sigma_calibration_percent / 100.0 * value)
        dof = min(_MOST_DOF, math.floor(tone.dof * (sigma / u_tone) ** 4)) if u_tone > 0.0 else _MOST_DOF
        lod = 3.0 * abs(float(self._slope(0.0))) * tone.sigma
        flags = tone.flags - {Flag.LOW_SIGNAL}
        if value < lod:
            flags |= {Flag.LOW_SIGNAL}
        if not self._settings.min_ppm - 3.0 * sigma <= value <= self._settings.max_ppm:
            flags |= {Flag.EXTRAPOLATED}
        return Measurement(
            self._name,
            tone.t_ns,
            value,
            sigma,
            float(scipy.special.stdtrit(dof, 0.975)) * sigma,
            dof,
            lod,
            not flags & INVALIDATING,
            flags,
            tone,
        )
