"""A calibration file as the curve of a concentration node (docs/calibration.md): every correction whose table is in the
file and whose data are there (dsp/compensate.py has the equations).

Two microphones are combined anew for the gas's calibrated steering, with the least noise. What walls and windows add
reaches them otherwise than the gas does, and every record has its own weights: so the background is taken from each
microphone alone and put back as the calibration heard it.

With a resonance the detuning is estimated from record to record (nodes/following.py), and the laser is told where to go
if laser.track says so.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import replace

from gateway.calibration import Calibration, load
from gateway.config.settings import Settings
from gateway.dsp import compensate
from gateway.dsp.air import water_fraction
from gateway.dsp.combine import recombined
from gateway.dsp.compensate import Change, Doubt, Tone
from gateway.errors import ConfigError
from gateway.nodes.curve import SLACK, ConcentrationSettings, Read
from gateway.nodes.following import Following
from gateway.nodes.place import NodeFault, Place
from gateway.tables import Drift
from gateway.types import NO_FLAGS, Climate, Flag, Flags, LockInResult, PeakResult, SampleBlock

_DAY_NS = 86_400e9
OUT_OF_PHASE = math.radians(20.0)
"""A phase error of which the projection loses 6 %: a resonance that moved, and nobody follows, or a drifting clock."""
STRONG = 0.05
"""Part of the calibrated range below which a phase is that of what walls and windows have gained since."""


def calibrated(name: str, settings: ConcentrationSettings, place: Place) -> Calibrated:
    """The curve in the calibration file of node `name`. Raises NodeFault with every fault of the file, and where the
    temperature is to be compensated without a table that says how.
    """
    assert settings.calibration is not None
    try:
        calibration = load(settings.calibration)
    except ConfigError as error:
        told = "; ".join(str(fault) for fault in error.faults)
        remedy = "Until `spectrophone calibrate` has made a file, give polynomial_coefficients"
        raise NodeFault("calibration", told, remedy) from None
    tables = (calibration.resonance, calibration.water, calibration.gas_law)
    if settings.temperature_compensation and not any(tables):
        message = "the calibration file has no table resonance, water or gas_law, so it does not say how"
        raise NodeFault("temperature_compensation", message, "Take it out, or add one (docs/calibration.md)")
    if settings.temperature_compensation is False:
        calibration = calibration.model_copy(update={"resonance": None, "water": None, "gas_law": None})
    return Calibrated(name, calibration, settings.sigma_calibration_percent, place)


def follows(settings: Settings) -> bool:
    """Whether a node with these settings follows the cell's resonance; False where its calibration has faults."""
    if not isinstance(settings, ConcentrationSettings) or settings.calibration is None:
        return False
    try:
        return settings.temperature_compensation is not False and load(settings.calibration).resonance is not None
    except ConfigError:
        return False


class Calibrated:
    """The curve of a calibration file."""

    STATE = ("_following",)

    def __init__(self, name: str, calibration: Calibration, percent: float, place: Place) -> None:
        self._calibration, self._curve = calibration, calibration.numbers
        expiry, drift = calibration.valid_until, calibration.drift or Drift()
        self.valid_until_ns = math.inf if expiry is None else expiry.timestamp() * 1e9
        self._created_ns = calibration.created.timestamp() * 1e9
        self._doubt = Doubt(calibration.background.sigma, drift.ppm_per_day, drift.percent_per_day, percent)
        self._following, self._unlit = None, Change()
        if calibration.resonance is not None:
            then = calibration.resonance.detuning
            self._following = Following(name, calibration.resonance, place)
            self._unlit = Change(detuning=then, detuning_then=then)

    def read(self, tone: LockInResult | PeakResult, block: SampleBlock) -> Read:
        """See Curve."""
        if not isinstance(tone, LockInResult):
            return Read(None, NO_FLAGS)
        change = replace(self._lit(tone), days=self._days(tone, block))
        there = math.isfinite(tone.in_phase) and math.isfinite(tone.sigma) and change.light > 0.0
        heard, change = self._heard(tone, change)
        change, flags = self._in_air(tone.climate, change)
        resonance = None
        if self._following is not None:
            found = self._following.step(tone, compensate.gas(self._curve, heard, change) if there else None)
            change = replace(change, detuning=found.detuning, sigma_detuning=found.sigma)
            resonance, flags = found.result, flags | found.flags
        if not there:
            return Read(None, flags, resonance)
        if self._out_of_phase(compensate.gas(self._curve, heard, change), change):
            flags = flags | {Flag.PHASE}
        reading = compensate.read(self._curve, heard, change, self._doubt)
        return Read(reading, flags if reading else flags | {Flag.EXTRAPOLATED}, resonance)

    def _out_of_phase(self, gas: Tone, change: Change) -> bool:
        """Whether a strong signal is off the calibrated phase by more than OUT_OF_PHASE, and by more than noise is."""
        if not gas.phase_known:
            return False
        ring = (1.0 + 1j * change.detuning) / (1.0 + 1j * change.detuning_then)
        signal, sigma = gas.phasor * ring, gas.sigma * abs(ring)
        strong = abs(signal) > STRONG * self._curve.k * self._calibration.curve.max_ppm
        return strong and abs(signal.imag) > 5.0 * sigma and abs(cmath.phase(signal)) > OUT_OF_PHASE

    def within(self, ppm: float, sigma: float) -> bool:
        """See Curve."""
        curve = self._calibration.curve
        return curve.min_ppm - SLACK * sigma <= ppm <= curve.max_ppm + SLACK * sigma

    def _lit(self, tone: LockInResult) -> Change:
        """The change of the light, where it is known."""
        then, now = self._calibration.light, tone.light
        if then is None or now is None:
            return self._unlit
        light = then.reference
        return replace(self._unlit, light=light.ratio(now.power_w, now.duty), sigma_light=light.sigma)

    def _days(self, tone: LockInResult, block: SampleBlock) -> float:
        """Since the calibration; 0 where the sound has no date."""
        if block.utc_ns is None:
            return 0.0
        return max(0.0, (block.utc_ns + tone.t_ns - block.t_ns - self._created_ns) / _DAY_NS)

    def _heard(self, tone: LockInResult, change: Change) -> tuple[Tone, Change]:
        """What the lock_in heard; of two microphones combined for the gas, if its steering is known."""
        steering, pair = self._calibration.steering, tone.pair
        if steering is None or pair is None or not tone.phase_known:
            return Tone(complex(tone.in_phase, tone.quadrature), tone.sigma, tone.dof, tone.phase_known), change
        s, (a, b) = complex(steering.re, steering.im), pair.weights
        backs = [change.light * back for back in self._calibration.background.microphones or (0j, 0j)]
        bare = replace(pair, phasors=(pair.phasors[0] - backs[0], pair.phasors[1] - backs[1]))
        value, sigma = recombined(bare, s)
        weight_b, _ = recombined(replace(pair, phasors=(0j, 1.0 + 0j)), s)
        wrong = abs(weight_b - b) / abs(a + b * s) * steering.sigma
        return Tone(value + a * backs[0] + b * backs[1], sigma, tone.dof), replace(change, sigma_steering=wrong)

    def _in_air(self, climate: Climate | None, change: Change) -> tuple[Change, Flags]:
        """The change by water and gas law, and the flag where somebody should have told of the air."""
        air, unknown = climate or Climate(), False
        t, h, p = air.temperature_c, air.humidity_percent, air.pressure_pa
        if self._calibration.water is not None:
            water = self._calibration.water.reference
            if t is None or h is None or p is None:
                unknown = True
            else:
                w = water_fraction(t, h, p)
                change = replace(change, response=change.response * water.ratio(w), sigma_water=water.sigma(w))
        if self._calibration.gas_law is not None:
            law = self._calibration.gas_law.reference
            if (t is None and law.temperature_exponent) or (p is None and law.pressure_exponent):
                unknown = True
            else:
                t, p = law.temperature_c if t is None else t, law.pressure_pa if p is None else p
                change = replace(change, response=change.response * law.ratio(t, p), sigma_gas=law.sigma(t, p))
        return change, frozenset({Flag.CLIMATE_UNKNOWN}) if unknown else NO_FLAGS
