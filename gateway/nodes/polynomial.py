"""A configured polynomial as the curve of a concentration node: c = p(x), x the signed in-phase amplitude of a lock_in
or the amplitude of a peak_finder.

The uncertainty is propagated to second order, u_x^2 = (p' s)^2 + (p'' s^2)^2 / 2, which stays honest where the slope is
zero.

With temperature_compensation the polynomial is that of the cell on resonance: at `reference_temperature_c` its
resonance is where the laser was configured to be, f_ref. An ideal gas carries sound with sqrt(T), within 80 ppm of
Cramer's air (J. Acoust. Soc. Am. 93 (1993) 2510), so that

    f0 = f_ref sqrt(T / T_ref),    d = 2 q (f - f0) / f0,    x = Re(Z (1 + j d)), or |Z| |1 + j d| without a phase

undoes the detuning. Humidity (36 ppm of f0 for 1 %) and the change of the gas's absorption are left to a calibration
file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gateway.dsp.compensate import KELVIN, Reading
from gateway.nodes.curve import OFF_RESONANCE, SLACK, ConcentrationSettings, Read
from gateway.types import NO_FLAGS, Climate, Flag, LockInResult, PeakResult, SampleBlock


class Polynomial:
    """The configured polynomial; `laser_hz` is the modulation frequency that is configured."""

    STATE = ()
    valid_until_ns = math.inf

    def __init__(self, settings: ConcentrationSettings, laser_hz: float) -> None:
        self._settings, self._laser_hz = settings, laser_hz
        self._coefficients = tuple(settings.polynomial_coefficients or (0.0,))

    def read(self, tone: LockInResult | PeakResult, block: SampleBlock) -> Read:
        """See Curve."""
        detuning = self._detuning(tone, block.climate) if self._settings.temperature_compensation else 0.0
        flags = NO_FLAGS
        if detuning is None:
            flags, detuning = frozenset({Flag.CLIMATE_UNKNOWN}), 0.0
        elif abs(detuning) > OFF_RESONANCE:
            flags = frozenset({Flag.OFF_RESONANCE})
        x, sigma = _signal(tone, 1.0 + 1j * detuning), tone.sigma * math.hypot(1.0, detuning)
        if x is None or not math.isfinite(x) or not math.isfinite(sigma):
            return Read(None, flags)
        ppm, slope, bend = _derivatives(self._coefficients, x)
        noise = math.hypot(slope * sigma, bend * sigma**2 / math.sqrt(2.0))
        lod = 3.0 * abs(self._coefficients[1] if len(self._coefficients) > 1 else 0.0) * sigma
        terms = {"noise": noise, "calibration": abs(self._settings.sigma_calibration_percent / 100.0 * ppm)}
        return Read(Reading(ppm, terms, tone.dof, lod), flags)

    def within(self, ppm: float, sigma: float) -> bool:
        """See Curve."""
        return self._settings.min_ppm - SLACK * sigma <= ppm <= self._settings.max_ppm

    def _detuning(self, tone: LockInResult | PeakResult, climate: Climate | None) -> float | None:
        """d; None where the temperature is not known."""
        f = tone.frequency_hz
        if f is None:
            return 0.0
        if climate is None or climate.temperature_c is None:
            return None
        warmer = (climate.temperature_c + KELVIN) / (self._settings.reference_temperature_c + KELVIN)
        f0 = max(1, round(f / self._laser_hz)) * self._laser_hz * math.sqrt(warmer)
        return 2.0 * self._settings.q * (f - f0) / f0


def _derivatives(coefficients: Sequence[float], x: float) -> tuple[float, float, float]:
    """c0 + c1 x + c2 x^2 + ..., its slope and its second derivative, by Horner's rule."""
    value = slope = half_bend = 0.0
    for coefficient in reversed(coefficients):
        half_bend = half_bend * x + slope
        slope = slope * x + value
        value = value * x + coefficient
    return value, slope, 2.0 * half_bend


def _signal(tone: LockInResult | PeakResult, ring: complex) -> float | None:
    """x, full scale; None without a tone."""
    if isinstance(tone, PeakResult):
        return None if tone.amplitude is None else tone.amplitude * abs(ring)
    if not tone.phase_known:
        return tone.in_phase * abs(ring)
    return (complex(tone.in_phase, tone.quadrature) * ring).real
