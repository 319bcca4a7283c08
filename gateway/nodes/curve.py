"""What a concentration node is told, and what its two curves (polynomial.py, calibrated.py) have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import Field, model_validator

from gateway.config.settings import Settings
from gateway.dsp.compensate import Reading
from gateway.types import Flags, LockInResult, PeakResult, ResonanceResult, SampleBlock

SLACK = 4.5
"""Standard deviations by which noise may leave the calibrated range without being called extrapolated: chance does more
once in ten thousand records of 32 degrees of freedom."""
OFF_RESONANCE = 0.3
"""A detuning beyond which a value is flagged: it weakens the signal by 4 %, and Q counts in first order."""
_COMPENSATION_ONLY = ("q", "reference_temperature_c")
_POLYNOMIAL_ONLY = ("min_ppm", "max_ppm", *_COMPENSATION_ONLY)


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
    temperature_compensation: bool | None = Field(
        None,
        description="whether the value is corrected for the gas's temperature; if absent: with a calibration, for all "
        "that its tables resonance, water and gas_law know; with a polynomial not",
    )
    reference_temperature_c: float = Field(
        20.0, ge=-40, le=125, description="polynomial: temperature at which laser.frequency_hz is the resonance"
    )
    q: float = Field(50.0, gt=0, le=100_000, description="polynomial: quality factor of the resonance")
    smoothing: bool = Field(True, description="whether there is a smoothed value beside the raw one")

    @model_validator(mode="after")
    def _checked(self) -> ConcentrationSettings:
        coefficients = self.polynomial_coefficients
        if (coefficients is None) == (self.calibration is None):
            told = "neither polynomial_coefficients nor calibration is given"
            told = told if coefficients is None else "polynomial_coefficients and calibration are both given"
            raise ValueError(f"{told}. Give exactly one of the two")
        given = [name for name in _POLYNOMIAL_ONLY if name in self.model_fields_set]
        if self.calibration is not None and given:
            raise ValueError(f"the calibration file has its own {' and '.join(given)}. Take that out")
        useless = [name for name in _COMPENSATION_ONLY if name in self.model_fields_set]
        if useless and not self.temperature_compensation:
            raise ValueError(
                f"only temperature_compensation: true makes use of {' and '.join(useless)}. Write it, or take that out"
            )
        if self.min_ppm >= self.max_ppm:
            raise ValueError("min_ppm must be below max_ppm")
        if coefficients is not None and not any(coefficients[1:]):
            raise ValueError(
                "polynomial_coefficients: all but the first are zero, so ppm would not depend on the sound"
            )
        return self


@dataclass(frozen=True, slots=True)
class Read:
    """What a curve makes of a tone: `reading`, None where there is none, what is to be said of it, and where the cell's
    resonance is, if that is followed.
    """

    reading: Reading | None
    flags: Flags
    resonance: ResonanceResult | None = None


class Curve(Protocol):
    """From a tone to a concentration."""

    valid_until_ns: float
    """Wall clock, nanoseconds since 1970, from which on it has expired."""

    def read(self, tone: LockInResult | PeakResult, block: SampleBlock) -> Read:
        """The concentration of a tone whose record ends in `block`."""

    def within(self, ppm: float, sigma: float) -> bool:
        """Whether a value is in the calibrated range, at whose ends noise may be."""
