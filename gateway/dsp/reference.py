"""How a record's phasors are turned to the laser's phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gateway.dsp.demodulator import Phasors


@dataclass(frozen=True, slots=True)
class Aligned:
    """`turn` complex128 [sub-blocks]: multiplied by it, the record stands still against the laser's phase.

    `offset_hz` is how far the laser's tone is from where it was demodulated, with one standard deviation; None where
    laser and microphone have one clock. `locked` False: nothing tells the phase, or what tells it is lost.
    `phase_known` False: the record is turned so that the signal is real, and its phase says nothing.
    """

    turn: Phasors
    offset_hz: float | None
    sigma_offset_hz: float | None
    locked: bool
    phase_known: bool


class PhaseReference(Protocol):
    """What turns records, which come in order."""

    def align(self, z: Phasors, start_s: float) -> Aligned:
        """`z` complex128 [sub-blocks, channels], demodulated at the nominal frequency; the first began at `start_s`."""
        ...


class SameCodec:
    """Laser and microphone on one clock: nothing to turn."""

    def align(self, z: Phasors, start_s: float) -> Aligned:
        """See PhaseReference."""
        return Aligned(np.ones(len(z), np.complex128), None, None, True, True)
