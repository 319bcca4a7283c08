"""lock_in: the signed amplitude of the tone at the laser's frequency, and how sure it is.

A record of `integration_s` goes through four steps, each a file: the front end demodulates at the laser's exact
frequency (nodes/front.py); the phase reference turns the phasors to the laser's phase (dsp/reference.py); knocks, tones
and the image are taken out and one phasor per microphone remains, with the noise beside it (dsp/reduce.py); the
microphones are mixed as the nodes before it say, and what both said goes along (dsp/combine.py). Filters before the
node do not touch its tone, for it listens at the microphones. The phasor is turned by the calibrated phase: `in_phase`
is the signal, unbiased at every signal-to-noise ratio because it is signed, `quadrature` what should be only noise.
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
from gateway.dsp.demodulator import Phasors, exact, without_images
from gateway.dsp.reduce import Reduced, reduce
from gateway.dsp.reference import Aligned, Free, Loopback, PhaseReference, SameCodec, debiased
from gateway.nodes.front import STEP, Baseband, Tap
from gateway.nodes.place import Channel, NodeFault, Place
from gateway.nodes.records import Record, Records
from gateway.types import Flag, Flags, LockInResult, Pair, Result, SampleBlock

SAME_CLOCK_PPM, TWO_CLOCKS_PPM = 250.0, 1000.0
"""How far apart two clocks are looked for: sound cards are off by 20 to 100 ppm, poor ones by more."""
FEW_STEPS = 64.0
"""A tone of fewer steps of a 16-bit converter may be read wrong where noise does not blur them."""
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
    STATE = ("_records", "_clipped", "_epoch", "_dark", "_reference", "_combiner")

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
        self._loop = _loop(place, tap)
        self._dark = False
        self._microphones = microphones
        self._reference = _reference(place, microphones, weights, tap)
        self._combiner = Combiner(self._weights)
        self._sub_block_s = place.front.sub_block / place.rate_hz
        length = max(6, round(settings.integration_s / self._sub_block_s))
        self._records = Records(length, 0, np.complex128, columns=(place.front.channels,))
        self._clipped: list[tuple[int, npt.NDArray[np.float64]]] = []

    @property
    def due(self) -> int:
        """See ComputingNode."""
        return self._records.due * self._front.sub_block

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """See ComputingNode; `block` is the microphones' own sound."""
        heard = self._front.read(block, self._tap)
        dark = Flag.LASER_OFF in block.flags
        anew = heard.epoch != self._epoch or (self._dark and not dark)
        found: list[Record[np.complex128]] = []
        if anew:
            found = self._records.restart(heard.first, math.ceil(RING_UP_S / self._sub_block_s))
            self._reference.restart()
        self._epoch, self._dark = heard.epoch, dark
        if len(heard.clipped):
            self._clipped.append((heard.clipped_first, heard.clipped))
        z = heard.z
        if self._loop is not None:
            channel, tap = self._loop
            z = z.copy()
            z[:, channel] = self._front.read(block, tap).z[:, channel]
        found += self._records.push(heard.first, z, block.flags)
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
        if record.values is None:
            return result
        return self._measured(result, record.values, record.first)

    def _measured(self, result: LockInResult, z: Phasors, first: int) -> LockInResult:
        """The result with what the record says: phasors `z` [sub-blocks, channels] from number `first` on."""
        clipped = self._clipped_in(first, len(z))
        images = self._front.images(self._tap, first, len(z))
        flags = result.flags
        if clipped.any() and not clipped[:, self._microphones].any():
            flags = flags - {Flag.OVERLOAD}
        aligned = self._reference.align(self._alone(z, images, first), first * self._sub_block_s)
        turned = z[:, self._microphones] * aligned.turn[:, None]
        reduced = reduce(turned, images * aligned.turn**2, clipped[:, self._microphones], self._front.others(self._tap))
        combined = self._combiner.combine(reduced, result.integration_s)
        if self._underdithered(reduced, result.integration_s):
            flags = flags | {Flag.UNDERDITHERED}
        turn = self._turn if aligned.phase_known else 1.0 + 0.0j
        value = combined.value * turn
        if not aligned.phase_known and not aligned.locked:
            value = complex(debiased(abs(value), combined.sigma))
        offset, sigma_offset = aligned.offset_hz, aligned.sigma_offset_hz
        return replace(
            result,
            in_phase=value.real,
            quadrature=value.imag,
            sigma=combined.sigma,
            dof=combined.dof,
            flags=_flags(flags, aligned, reduced, combined),
            clock_offset_ppm=None if offset is None else 1e6 * offset / result.frequency_hz,
            sigma_clock_offset_ppm=None if sigma_offset is None else 1e6 * sigma_offset / result.frequency_hz,
            phase_known=aligned.phase_known,
            pair=_pair(reduced, combined, self._weights, turn),
        )

    def _alone(self, z: Phasors, images: Phasors, first: int) -> Phasors:
        """The tones in `z` without their images, of which the loopback's may be of another frequency."""
        every = np.repeat(images[:, None], z.shape[1], axis=1)
        if self._loop is not None:
            channel, tap = self._loop
            every[:, channel] = self._front.images(tap, first, len(z))
        return without_images(z, every)

    def _underdithered(self, reduced: Reduced, record_s: float) -> bool:
        """Whether a microphone that hears anything has, beside the tone, less than half a step of root mean square:
        rounding is then no noise (Widrow and Kollar, Quantization Noise, 2008, chapter 5). A tone of many steps does
        not mind, and as much noise beside the tone alone makes a look at the sound unnecessary.
        """
        beside = np.mean(np.abs(reduced.noise) ** 2, axis=0) / 4.0 * record_s * self._front.rate_hz
        tones = np.abs(reduced.phasors) ** 2 / 2.0
        doubtful = (beside < STEP**2) & (tones < (FEW_STEPS * STEP) ** 2 / 2.0)
        power = self._front.coarse_power() if doubtful.any() else None
        if power is None:
            return False
        heard = np.array([power[m] for m in self._microphones])
        return bool((doubtful & (heard > 0.0) & (heard - tones < (0.5 * STEP) ** 2)).any())

    def _clipped_in(self, first: int, count: int) -> npt.NDArray[np.float64]:
        """The part of the samples at full scale, float64 [count, channels], from sub-block `first` on."""
        clipped = np.zeros((count, self._front.channels))
        for begin, part in self._clipped:
            low, high = max(first, begin), min(first + count, begin + len(part))
            if low < high:
                clipped[low - first : high - first] += part[low - begin : high - begin]
        self._clipped = [(begin, part) for begin, part in self._clipped if begin + len(part) > first + count]
        return clipped


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


def _loop(place: Place, tap: Tap) -> tuple[int, int] | None:
    """Where the lock_in hears a harmonic: the loopback's channel and the tap at the frequency that it carries."""
    if place.laser.kind != "loopback" or tap.harmonic == 1:
        return None
    return "AB".index(place.laser.channel), place.front.tap(Tap())


def _reference(place: Place, microphones: list[int], weights: npt.NDArray[np.float64], tap: Tap) -> PhaseReference:
    """How the laser's phase is known here; NodeFault where it cannot be."""
    laser, front = place.laser, place.front
    sub_block_s = front.sub_block / front.rate_hz
    hertz = float(tap.frequency(place.reference))
    if laser.kind == "same_codec":
        return SameCodec(weights, sub_block_s, SAME_CLOCK_PPM * 1e-6 * hertz)
    if laser.kind == "free":
        return Free(weights, sub_block_s, TWO_CLOCKS_PPM * 1e-6 * hertz)
    channel = "AB".index(laser.channel)
    if channel >= front.channels:
        message = f"the laser's modulation should come in on channel {laser.channel}, but the sound is mono"
        raise NodeFault("channel", message, "Record stereo, or write free as reference of the laser")
    if channel in microphones:
        other = "BA"[channel]
        message = f"channel {laser.channel}, which it listens to, carries the laser's modulation"
        raise NodeFault("channel", message, f"Put a channel_selector for channel {other} in front, or write {other}")
    return Loopback(channel, tap.harmonic, sub_block_s, TWO_CLOCKS_PPM * 1e-6 * hertz / tap.harmonic)


def _checked_frequency(hertz: Fraction, settings: LockInSettings, place: Place) -> None:
    if hertz < place.rate_hz / 2:
        return
    option = "frequency_hz" if settings.frequency_hz is not None else "harmonic"
    message = f"{float(hertz):g} Hz is not below half the sample rate, {place.rate_hz / 2:g} Hz"
    raise NodeFault(option, message, "Lower it, or sample faster")
