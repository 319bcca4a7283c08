"""The cell's resonance behind a calibrated concentration: how far off the laser is in each record, for the correction,
and where the laser should go (dsp/follow.py).

With laser.track off the laser stays where it is, and the correction goes by the temperature alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.dsp.compensate import Tone
from gateway.dsp.follow import Follower
from gateway.nodes.curve import OFF_RESONANCE
from gateway.nodes.place import Place
from gateway.tables import Resonance
from gateway.types import NO_FLAGS, Flag, Flags, LockInResult, ResonanceResult


@dataclass(frozen=True, slots=True)
class Found:
    """The detuning d in a record with its standard deviation, what is to be said of it, and the result."""

    detuning: float
    sigma: float
    flags: Flags
    result: ResonanceResult


class Following:
    """Follows the resonance for one concentration node."""

    STATE = ("_follower",)

    def __init__(self, name: str, resonance: Resonance, place: Place) -> None:
        self._node, self._resonance, self._front = f"{name}_resonance", resonance, place.front
        self._track = place.laser.track
        self._follower = Follower(
            "feed_forward" if self._track == "off" else self._track,
            resonance.f0_hz,
            resonance.q,
            resonance.climate,
            resonance.sigma_f0_hz,
            sigma_q=resonance.sigma_q,
            sigma_temperature_c=resonance.sigma_temperature_k,
        )

    def step(self, tone: LockInResult, gas: Tone | None) -> Found:
        """After a record; `gas` is the gas's own phasor, real where the calibration was made, None where there is none.

        Without a phase its length is told, which is of use to dither only.
        """
        phasor, sigma = None, math.inf
        if gas is not None and tone.valid and (gas.phase_known or self._track == "dither"):
            then = 1.0 + 1j * self._resonance.detuning
            phasor, sigma = gas.phasor / then, gas.sigma / abs(then)
        t_s = tone.t_ns / 1e9
        found = self._follower.step(t_s, tone.integration_s, tone.frequency_hz, phasor, sigma, tone.climate)
        flags = self._flags(tone, found.detuning)
        result = ResonanceResult(
            self._node,
            tone.t_ns,
            found.f0_hz,
            found.sigma_f0_hz,
            self._resonance.q,
            found.detuning,
            None if found.tune_hz is None else self._laser_hz(tone, found.tune_hz),
            flags,
        )
        return Found(found.detuning, found.sigma_detuning, flags, result)

    def _flags(self, tone: LockInResult, detuning: float) -> Flags:
        unknown = tone.climate is None or tone.climate.temperature_c is None
        said = {
            Flag.OFF_RESONANCE: abs(detuning) > OFF_RESONANCE and self._track != "dither",
            Flag.CLIMATE_UNKNOWN: unknown and self._track in ("off", "feed_forward"),
        }
        return frozenset(flag for flag, true in said.items() if true) or NO_FLAGS

    def _laser_hz(self, tone: LockInResult, resonance_hz: float) -> float | None:
        """The laser's frequency for that resonance; None where it stays, or is not what the lock_in listens to."""
        laser_hz = float(self._front.laser)
        harmonic = round(tone.frequency_hz / laser_hz)
        if self._track == "off" or harmonic < 1 or not math.isclose(tone.frequency_hz, harmonic * laser_hz):
            return None
        return round(resonance_hz / harmonic, 3)
