"""The tables of a calibration file; docs/calibration.md tells what each is for. A correction without its table is not
made.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from gateway.config.settings import Settings
from gateway.dsp import compensate
from gateway.dsp.calibrate import Point
from gateway.types import Climate


def _time(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value} is no time. Write it as 2026-03-04T05:06:07Z") from None
    return time.replace(tzinfo=UTC) if re.fullmatch(r"\d{4}-\d\d-\d\d", value) else time


Time = Annotated[AwareDatetime, BeforeValidator(_time)]
"""A time with its zone; a date alone is its beginning in UTC."""
Phasor = tuple[float, float, float]
"""What one microphone hears: in-phase part, quadrature, and one standard deviation of either."""


class Conditions(Settings):
    """What the calibration was made under, as far as it was known."""

    temperature_c: float | None = Field(None, ge=-100, le=200, description="temperature of the gas")
    pressure_pa: float | None = Field(None, gt=0, description="pressure of the gas")
    humidity_percent: float | None = Field(None, ge=0, le=100, description="relative humidity")
    frequency_hz: float | None = Field(None, gt=0, description="modulation frequency")
    duty: float | None = Field(None, gt=0, lt=1, description="part of the period that the laser is lit")
    power_w: float | None = Field(None, ge=0, description="optical power while lit")


class Background(Settings):
    """What is heard without gas: a phasor, full scale, as the lock_in gives it."""

    re: float = Field(description="its in-phase part")
    im: float = Field(description="its quadrature")
    sigma: float = Field(0.0, ge=0, description="one standard deviation of either, from the zero points")
    a_re: float | None = Field(None, description="in-phase part at microphone A")
    a_im: float | None = Field(None, description="quadrature at microphone A")
    b_re: float | None = Field(None, description="in-phase part at microphone B")
    b_im: float | None = Field(None, description="quadrature at microphone B")

    @model_validator(mode="after")
    def _checked(self) -> Background:
        given = [value is not None for value in (self.a_re, self.a_im, self.b_re, self.b_im)]
        if any(given) and not all(given):
            raise ValueError("the microphones' background is incomplete. Give all of a_re, a_im, b_re and b_im")
        return self

    @property
    def microphones(self) -> tuple[complex, complex] | None:
        """A and B, each in its own full scale; None where only their mix is known."""
        if self.a_re is None or self.a_im is None or self.b_re is None or self.b_im is None:
            return None
        return complex(self.a_re, self.a_im), complex(self.b_re, self.b_im)


class CurveShape(Settings):
    """ppm = y / (1 - bend y), y = x / slope, x the signal along the phase less the background."""

    type: Literal["line", "saturating"] = Field(description="line: bend is 0; saturating: y = 1 / bend is the most")
    slope: float = Field(gt=0, description="signal per ppm, full scale")
    bend: float = Field(0.0, description="1 / saturation, in 1/ppm")
    covariance: tuple[tuple[float, ...], ...] = Field(
        description="of background, slope and (saturating) bend: 2 x 2 or 3 x 3"
    )
    min_ppm: float = Field(0.0, description="lower end of the calibrated range")
    max_ppm: float = Field(gt=0, description="upper end of the calibrated range")

    @model_validator(mode="after")
    def _checked(self) -> CurveShape:
        size = 3 if self.type == "saturating" else 2
        if [len(row) for row in self.covariance] != [size] * size:
            raise ValueError(f"covariance must be {size} x {size} for a {self.type} curve. Write zeros where unknown")
        covariance = np.array(self.covariance)
        spread = np.sqrt(np.abs(np.outer(np.diag(covariance), np.diag(covariance))))
        scaled = covariance / np.where(spread > 0.0, spread, 1.0)
        if not np.allclose(scaled, scaled.T) or np.linalg.eigvalsh(scaled).min() < -1e-6:
            raise ValueError("covariance is none: it must be symmetric, with no negative variance in any direction")
        if self.type == "line" and self.bend:
            raise ValueError('a line has no bend. Write type = "saturating", or bend = 0')
        if self.min_ppm >= self.max_ppm:
            raise ValueError("min_ppm must be below max_ppm")
        if min(1.0 + self.bend * ppm for ppm in (self.min_ppm, self.max_ppm)) <= 0.0:
            pole = -1.0 / self.bend
            raise ValueError(f"the curve does not rise over the whole range: it has a pole at {pole:g} ppm")
        return self


class Light(Settings):
    """The light that the gases were read with. Signal and background grow with power_w sin(pi duty)."""

    power_w: float = Field(gt=0, description="optical power while lit")
    duty: float = Field(0.5, gt=0, lt=1, description="part of the period that the laser is lit")
    sigma_power_percent: float = Field(
        0.0, ge=0, le=100, description="one standard deviation of later powers against this one"
    )

    @property
    def reference(self) -> compensate.Light:
        """As numbers to compute with."""
        return compensate.Light(self.power_w, self.duty, self.sigma_power_percent / 100.0)


class Resonance(Settings):
    """The cell's resonance, and the air in which it was found."""

    f0_hz: float = Field(gt=0, description="its frequency")
    sigma_f0_hz: float = Field(0.0, ge=0, description="one standard deviation of it")
    q: float = Field(gt=0, le=100_000, description="its quality factor")
    sigma_q: float = Field(0.0, ge=0, description="one standard deviation of it")
    temperature_c: float = Field(ge=-100, le=200, description="temperature of the gas then")
    humidity_percent: float | None = Field(None, ge=0, le=100, description="relative humidity then, if known")
    pressure_pa: float | None = Field(None, gt=0, description="pressure then, if known")
    sigma_temperature_k: float = Field(
        0.1, ge=0, le=100, description="one standard deviation of later temperatures against this one"
    )
    detuning: float = Field(
        0.0, description="2 q (f - f0) / f0 while the gases were read at f; 0: they were read on resonance"
    )

    @property
    def climate(self) -> Climate:
        """The air in which it was found."""
        return Climate(self.temperature_c, self.humidity_percent, self.pressure_pa)


class Water(Settings):
    """What water does to the gas's signal: R(xw) = 1 + r1 xw + r2 xw^2, xw its mole fraction."""

    r1: float = Field(description="per mole fraction")
    r2: float = Field(0.0, description="per mole fraction squared")
    sigma_r1: float = Field(0.0, ge=0, description="one standard deviation of r1")
    fraction: float = Field(0.0, ge=0, le=1, description="mole fraction in the calibration gases")
    sigma_fraction: float = Field(0.0, ge=0, description="one standard deviation of later fractions")

    @model_validator(mode="after")
    def _checked(self) -> Water:
        if self.reference.response(self.fraction) <= 0.0:
            raise ValueError("R is not above zero in the calibration gases. Check r1, r2 and fraction")
        return self

    @property
    def reference(self) -> compensate.Water:
        """As numbers to compute with."""
        return compensate.Water(self.r1, self.r2, self.sigma_r1, self.fraction, self.sigma_fraction)


class GasLaw(Settings):
    """The signal is multiplied by (T / T_ref)^temperature_exponent (p / p_ref)^pressure_exponent, T in kelvin."""

    temperature_exponent: float = Field(ge=-20, le=20, description="2 - n - c2 E / T for a line; 1 for a broad band")
    pressure_exponent: float = Field(0.0, ge=-5, le=5, description="0 for a line at its centre; -1 for a broad band")
    temperature_c: float = Field(ge=-100, le=200, description="temperature of the calibration gases")
    pressure_pa: float = Field(101_325.0, gt=0, description="their pressure")
    sigma_temperature_k: float = Field(0.0, ge=0, description="one standard deviation of later temperatures")
    sigma_pressure_pa: float = Field(0.0, ge=0, description="one standard deviation of later pressures")

    @property
    def reference(self) -> compensate.GasLaw:
        """As numbers to compute with."""
        return compensate.GasLaw(
            self.temperature_exponent,
            self.pressure_exponent,
            self.temperature_c,
            self.pressure_pa,
            self.sigma_temperature_k,
            self.sigma_pressure_pa,
        )


class Steering(Settings):
    """How the gas reaches the microphones: the phasor at B over that at A, each in its own full scale."""

    re: float = Field(description="its real part: -1 for equal microphones in opposite halves of a standing wave")
    im: float = Field(0.0, description="its imaginary part")
    sigma: float = Field(0.0, ge=0, description="one standard deviation of either")


class Drift(Settings):
    """How far a reading may be off, one standard deviation, a day after the calibration; n times that after n days."""

    percent_per_day: float = Field(0.0, ge=0, description="of the value")
    ppm_per_day: float = Field(0.0, ge=0, description="of zero")


class Checks(Settings):
    """How well the curve fits."""

    chi2: float = Field(ge=0, description="sum of the squared residuals in their standard deviations")
    dof: int = Field(ge=0, description="points less parameters")
    p_value: float | None = Field(None, ge=0, le=1, description="chance of a chi2 as large; none where dof is 0")


class Reading(Settings):
    """A point: what one gas gave."""

    ppm: float = Field(ge=0, description="concentration, 0 for zero gas")
    sigma_ppm: float = Field(0.0, ge=0, description="one standard deviation of it, from the certificate")
    re: float = Field(description="in-phase part of the phasor, full scale")
    im: float = Field(description="its quadrature")
    sigma: float = Field(gt=0, description="one standard deviation of either")
    records: int = Field(1, ge=1, description="how many records of the lock_in were averaged")
    taken: Time | None = Field(None, description="when")
    a: Phasor | None = Field(None, description="microphone A alone: in-phase part, quadrature, standard deviation")
    b: Phasor | None = Field(None, description="microphone B alone, likewise")

    @property
    def point(self) -> Point:
        """As numbers for the fit."""
        return Point(self.ppm, self.sigma_ppm, complex(self.re, self.im), self.sigma)
