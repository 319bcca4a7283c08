"""lock_in: the signed amplitude of the tone at the laser's frequency, and how sure it is.

A record of `integration_s` goes through four steps, each a file: the front end demodulates at the laser's exact
frequency (nodes/front.py); the phase reference turns the phasors to the laser's phase (dsp/reference.py); knocks, tones
and the image are taken out and one phasor per microphone remains, with the noise beside it (dsp/reduce.py); the
microphones are combined with the least noise that leaves the signal as it is (dsp/combine.py). Filters before the node
do not touch its tone, for it listens at the microphones. The phasor is turned by the calibrated phase: `in_phase` is
the signal, unbiased at every signal-to-noise ratio because it is signed, `quadrature` what should be only noise.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from gateway.config.settings import Settings
from gateway.dsp.combine import Combined, Combiner
from gateway.dsp.demodulator import exact
from gateway.dsp.reduce import Reduced, reduce
from gateway.dsp.reference import Aligned, PhaseReference, SameCodec
from gateway.nodes.front import Baseband, Tap
from gateway.nodes.place import Channel, NodeFault, Place
from gateway.nodes.records import Record, Records
from gateway.types import Flag, Flags, LockInResult, Pair, Result, SampleBlock

RING_UP_S = 0.1
"""When the laser is lit or its frequency changes, the cell needs 10 time constants Q / (pi f): 80 ms for Q 50."""


class LockInSettings(Settings):
    """Settings of a lock_in node."""

    integration_s: float = Field(1.0, ge=0.1, le=600, description="length of a record: the averaging time")
    frequency_hz: float | None = Field(None, gt=0, description="reference frequency; the laser's if absent")
    harmonic: int = Field(
        1, ge=1, le=8, description="multiple of the laser's frequency that is listened to: 2 for wavelength modulation"
    )
    phase_deg: float = Field(0.0, ge=-360, le=360, description="calibrated phase of the signal against the reference")
    channel: Channel = Field("A", description="the channel of stereo sound: A or B")

    @model_validator(mode="after")
    def _checked(self) -> LockInSettings:
        if self.frequency_hz is not None and self.harmonic != 1:
            raise ValueError("harmonic is that of the laser's frequency. Take out frequency_hz or harmonic")
        return self


class LockIn:
    """A coherent detector at the laser's frequency."""

    Settings = LockInSettings
    STATE = ("_records", "_epoch", "_dark", "_reference", "_combiner")

    def __init__(self, name: str, settings: LockInSettings, place: Place) -> None:
        fixed = None if settings.frequency_hz is None else exact(settings.frequency_hz)
        tap = Tap(settings.harmonic, fixed)
        _checked_frequency(tap.frequency(place.reference), settings, place)
        weights = np.array(place.mix[place.channel(settings.channel)])
        microphones = [int(index) for index in np.flatnonzero(weights)]
        self.after = place
        self._name = name
        self._turn = cmath.exp(-1j * math.radians(settings.phase_deg))
        self._weights = weights[microphones]
        self._front, self._tap, self._epoch = place.front, place.front.tap(tap), 0
        self._dark = False
        self._microphones = microphones
        self._reference: PhaseReference = _reference(place, microphones)
        self._combiner = Combiner(self._weights)
        self._sub_block_s = place.front.sub_block / place.rate_hz
        length = max(6, round(settings.integration_s / self._sub_block_s))
        self._records = Records(length, 0, np.complex128, columns=(2 * place.front.channels + 1,))

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """See ComputingNode; `block` is the microphones' own sound."""
        heard = self._front.read(block, self._tap)
        dark = Flag.LASER_OFF in heard.flags
        anew = heard.epoch != self._epoch or (self._dark and not dark)
        found = self._records.restart(heard.first, math.ceil(RING_UP_S / self._sub_block_s)) if anew else []
        self._epoch, self._dark = heard.epoch, dark
        rows = np.column_stack((heard.z, heard.clipped, heard.images))
        found += self._records.push(heard.first, rows, heard.flags)
        return [self._result(record, heard, block) for record in found]

    def _result(self, record: Record[np.complex128], heard: Baseband, block: SampleBlock) -> LockInResult:
        result = LockInResult(
            self._name,
            record.end * self._front.sub_block * 1_000_000_000 // self._front.rate_hz,
            float(heard.frequency),
            math.nan,
            math.nan,
            math.nan,
            0,
            (record.end - record.first) * self._sub_block_s,
            record.flags,
            light=block.light,
            climate=block.climate,
        )
        return result if record.values is None else self._measured(result, record.values, record.first)

    def _measured(self, result: LockInResult, values: npt.NDArray[np.complex128], first: int) -> LockInResult:
        """The result with what the record says. `values` as pushed, [sub-blocks, columns]."""
        channels = self._front.channels
        z, clipped, images = np.split(values, (channels, 2 * channels), axis=1)
        aligned = self._reference.align(z, first * self._sub_block_s)
        turned = z[:, self._microphones] * aligned.turn[:, None]
        reduced = reduce(turned, images[:, 0] * aligned.turn**2, clipped[:, self._microphones].real)
        combined = self._combiner.combine(reduced, result.integration_s)
        value = combined.value * self._turn
        offset, sigma_offset = aligned.offset_hz, aligned.sigma_offset_hz
        return replace(
            result,
            in_phase=value.real,
            quadrature=value.imag,
            sigma=combined.sigma,
            dof=combined.dof,
            flags=_flags(result.flags, aligned, reduced, combined),
            clock_offset_ppm=None if offset is None else 1e6 * offset / result.frequency_hz,
            sigma_clock_offset_ppm=None if sigma_offset is None else 1e6 * sigma_offset / result.frequency_hz,
            phase_known=aligned.phase_known,
            pair=_pair(reduced, combined, self._weights, self._turn),
        )


def _flags(flags: Flags, aligned: Aligned, reduced: Reduced, combined: Combined) -> Flags:
    """What is to be said of a record, beside what its blocks said."""
    said = {
        Flag.UNLOCKED: not aligned.locked,
        Flag.IMPULSE: reduced.masked > 0.0,
        Flag.TONE: reduced.tones > 0,
        Flag.MICROPHONE: combined.left_out,
        Flag.ESTIMATED: combined.estimated,
        Flag.LOW_SIGNAL: abs(combined.value) < 3.0 * combined.sigma,
    }
    if combined.left_out and not combined.estimated:
        flags = flags - {Flag.OVERLOAD}
    return flags | {flag for flag, true in said.items() if true}


def _pair(reduced: Reduced, combined: Combined, weights: npt.NDArray[np.float64], turn: complex) -> Pair | None:
    """Both microphones, where both were used."""
    if len(weights) != 2 or combined.left_out:
        return None
    a, b = (complex(phasor) * turn for phasor in reduced.phasors)
    (aa, ab), (ba, bb) = combined.covariance.tolist()
    return Pair((a, b), ((aa, ab), (ba, bb)), (float(weights[0]), float(weights[1])))


def _reference(place: Place, microphones: list[int]) -> PhaseReference:
    """How the laser's phase is known here; NodeFault where it cannot be."""
    return SameCodec()


def _checked_frequency(hertz: Fraction, settings: LockInSettings, place: Place) -> None:
    if hertz < place.rate_hz / 2:
        return
    option = "frequency_hz" if settings.frequency_hz is not None else "harmonic"
    message = f"{float(hertz):g} Hz is not below half the sample rate, {place.rate_hz / 2:g} Hz"
    raise NodeFault(option, message, "Lower it, or sample faster")
