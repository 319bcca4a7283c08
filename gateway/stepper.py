"""The laser is stepped from frequency to frequency, and at each the phasor of the sound is taken against the laser.

At each step the laser is told its frequency through the ordinary door, the sound rings up for 10 time constants,
exp(-10) = 5e-5 of the step is left then, and the phasor of what follows is taken at the frequency that the laser has
then. Time is frames; no clock is read. The laser's phase is known in one of two ways.

Counted, where laser and microphone share one clock: the laser goes on with its phase from step to step; it has turned
by sum_i f_i n_i / fs when it has made n_i frames at f_i, which is counted in fractions. At a clock offset d the phasors
turn by 2 pi f d t while the sweep lasts, which is noticed from 1 ppm on, or so.

Compared, where the modulation comes in on a channel of its own (`laser.reference: loopback`): its phase is taken off
that of the sound, in the same record and with the same samples (gateway.dsp.reference.Loopback), whatever the clocks do
and whenever a retune begins.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from gateway.dsp.demodulator import Demodulator, Phasors, exact, sub_block_frames, without_images
from gateway.dsp.phasor import Phasor
from gateway.dsp.reduce import reduce
from gateway.dsp.reference import Loopback
from gateway.dsp.tracker import fit_line
from gateway.errors import DeviceError, SpectrophoneError
from gateway.outputs import Outputs
from gateway.types import FULL_SCALE, INVALIDATING, Command, Flag, SampleBlock, Samples

ORIGIN = "sweep"
LARGEST_Q = 200.0
"""The largest Q that the ring-up is waited for."""
RING_UPS = 10.0
LEAST_WAIT_S = 0.1
LATE_S = 0.1
"""How much later than told a laser whose modulation comes in may begin a frequency: a codec plays from a buffer."""
WIDEST_PPM = 1000.0
"""How far apart two clocks may be where the modulation comes in."""


@dataclass(frozen=True, slots=True)
class Point:
    """The phasor at one frequency, full scale, peak, against the laser; `sigma` as in gateway.dsp.phasor.Phasor."""

    frequency_hz: float
    value: complex
    sigma: float

    def fields(self) -> dict[str, Any]:
        """The object of kind sweep_point."""
        return {
            "kind": "sweep_point",
            "frequency_hz": self.frequency_hz,
            "in_phase": self.value.real,
            "quadrature": self.value.imag,
            "sigma": self.sigma,
        }


class Stepper:
    """Steps the laser and listens; keeps account of frames, and of the laser's phase in exact turns."""

    def __init__(
        self,
        blocks: AsyncIterator[SampleBlock],
        rate_hz: int,
        outputs: Outputs,
        seconds: float,
        loopback: int | None = None,
        *,
        lights: bool = True,
    ) -> None:
        """`seconds` of sound at each frequency; `loopback`: the channel, 0 or 1, that carries the modulation; None: one
        clock drives laser and microphone. `lights`: whether it lights the laser, or finds it lit.
        """
        self._blocks, self._rate_hz, self._outputs, self._loopback = blocks, rate_hz, outputs, loopback
        self._lights = lights
        self._sub_block = sub_block_frames(self._rate_hz)
        self._count = max(6, round(seconds * self._rate_hz / self._sub_block))
        self._frequency, self._turns, self._frame = Fraction(0), Fraction(0), 0
        self._loudest, self._offset = 0.0, (0.0, 0.0)
        self._just_lit = self._warm = False

    @property
    def t_ns(self) -> int:
        """Stream time at the end of what was heard."""
        return self._frame * 1_000_000_000 // self._rate_hz

    async def begin(self) -> None:
        """Listen to a block, in the dark if the light is ours: there is no light before there is sound."""
        light, self._just_lit = self._outputs.light(), self._lights
        self._frequency = Fraction(0) if light is None else light.frequency
        await self._next()
        self._warm = False

    async def point(self, frequency_hz: float) -> Point:
        """The phasor where the laser is told `frequency_hz`; the point has the frequency that the laser made of it.

        Raises SpectrophoneError where the laser refuses or goes dark, or sound or modulation is missing.
        """
        ahead = self._tune(exact(frequency_hz))
        while not self._warm:
            await self._next()
        wait_s = max(LEAST_WAIT_S, RING_UPS * LARGEST_Q / (math.pi * frequency_hz))
        wait_s += 0.0 if self._loopback is None else LATE_S
        first = math.ceil((self._frame + wait_s * self._rate_hz) / self._sub_block)
        z, images = await self._listen(first)
        found = self._counted(z[:, 0], images, ahead) if self._loopback is None else self._compared(z, images)
        return Point(float(self._frequency), found.value, found.sigma)

    def two_clocks(self) -> str:
        """A sentence about the clocks, if the strongest sound so far was not at the laser's frequency, else nothing.

        Cramer-Rao bound of a tone's frequency: Rife and Boorstyn, IEEE Trans. Inf. Theory 20 (1974) 591.
        """
        offset, sigma = self._offset
        if abs(offset) <= 5.0 * sigma:
            return ""
        message = "The sound is not quite at the laser's frequency: a sweep needs one clock for laser and microphone"
        return f"{message}, or the modulation on a channel of its own (laser.reference: loopback)"

    def _counted(self, z: Phasors, images: Phasors, ahead: float) -> Phasor:
        """The phasor in `z` [sub-blocks], turned back by the `ahead` turns of the laser."""
        found = _phasor(z, images)
        if abs(found.value) > self._loudest:
            self._loudest = abs(found.value)
            self._offset = self._clock_offset(z, images)
        return Phasor(found.value * cmath.exp(-2j * math.pi * ahead), found.sigma, found.dof)

    def _compared(self, z: Phasors, images: Phasors) -> Phasor:
        """The phasor in `z` [sub-blocks, 2], microphone and modulation, against the modulation's phase, whose own
        uncertainty counts as noise: 1 / snr of a line that is fitted to a record T, 2 pi T / sqrt(12) sigma_offset.
        """
        alone = without_images(z, images[:, None])
        sub_block_s = self._sub_block / self._rate_hz
        aligned = Loopback(1, 1, sub_block_s, WIDEST_PPM * 1e-6 * float(self._frequency)).align(alone, 0.0)
        if not aligned.locked or aligned.sigma_offset_hz is None:
            channel = "AB"[self._loopback or 0]
            message = f"the laser's modulation does not come in on channel {channel}"
            raise SpectrophoneError(message, "Look at its cable and level, and at laser.reference_channel")
        found = _phasor(z[:, 0] * aligned.turn, images * aligned.turn**2)
        sigma_phase = 2.0 * math.pi * len(z) * sub_block_s / math.sqrt(12.0) * aligned.sigma_offset_hz
        return Phasor(found.value, math.hypot(found.sigma, abs(found.value) * sigma_phase), found.dof)

    def _clock_offset(self, z: Phasors, images: Phasors) -> tuple[float, float]:
        """How much faster the tone in `z` turns than the laser was told to, as a part of its frequency, and sigma."""
        sub_block_s = self._sub_block / self._rate_hz
        t_s = np.arange(len(z), dtype=np.float64) * sub_block_s
        line = fit_line(t_s, without_images(z, images), sub_block_s, 0.0)
        return line.offset_hz / float(self._frequency), line.sigma_offset_hz / float(self._frequency)

    def _tune(self, frequency: Fraction) -> float:
        """Tune and light the laser from the next frame on; how many turns it is ahead of frequency * frame / rate."""
        told = [Command("laser", "tune", {"frequency_hz": float(frequency)}, ORIGIN)]
        told += [Command("laser", "on", origin=ORIGIN)] if self._lights else []
        outcome = self._outputs.apply(told, self.t_ns)
        for result in outcome.results:
            if not result.done:
                raise SpectrophoneError(f"the laser refused: {result.reason}")
        light = self._outputs.light()
        frequency = frequency if light is None else light.frequency
        turns = self._turns + self._frequency * self._frame / self._rate_hz
        self._turns = (turns - frequency * self._frame / self._rate_hz) % 1
        self._frequency, self._just_lit = frequency, self._lights
        return float(self._turns)

    async def _listen(self, first: int) -> tuple[Phasors, Phasors]:
        """The phasors of the sub-blocks from number `first` on, complex128 [sub-blocks, channels], and their images,
        [sub-blocks].
        """
        demodulator = Demodulator([self._frequency], self._rate_hz, 1 if self._loopback is None else 2)
        begin, parts, count = first * self._sub_block, [], 0
        while count < self._count:
            samples = await self._next()
            frame = self._frame - len(samples)
            if self._frame > begin:
                late = max(0, begin - frame)
                _, z = demodulator.push(frame + late, samples[late:])
                parts.append(z[:, :, 0])
                count += len(z)
        return np.concatenate(parts)[: self._count], demodulator.images(0, first, self._count)

    async def _next(self) -> Samples:
        """The sound of the next block, the two channels' difference where there are two: float32 [frames, 1]; or
        microphone and modulation, [frames, 2].
        """
        try:
            block = await anext(self._blocks)
        except StopAsyncIteration:
            raise DeviceError("the sound ended before the sweep did", "Sweep with a microphone") from None
        just_lit, self._just_lit = self._just_lit, False
        if Flag.LASER_OFF in block.flags and not just_lit:
            raise SpectrophoneError(
                f"the laser went dark during the sweep: {self._outputs.safety()[1] or 'told to be off'}"
            )
        if not len(block.samples):
            raise DeviceError("the microphone is silent", "Look after it and sweep again")
        sound = self._heard(block.samples)
        self._warm = Flag.WARM_UP not in block.flags
        spoilt = block.flags & INVALIDATING - {Flag.LASER_OFF, Flag.WARM_UP}
        if self._loopback is not None and float(np.abs(sound[:, 0]).max()) < FULL_SCALE:
            spoilt -= {Flag.OVERLOAD}
        if block.lost_frames or spoilt:
            words = ", ".join(sorted(spoilt)) or "lost_samples"
            raise SpectrophoneError(f"the sound was not whole ({words}), and its phase is not known", "Sweep again")
        self._frame = block.frame + len(block.samples)
        return sound

    def _heard(self, samples: Samples) -> Samples:
        """See _next."""
        if self._loopback is not None:
            return samples[:, [1 - self._loopback, self._loopback]]
        return samples if samples.shape[1] == 1 else samples[:, :1] - samples[:, 1:]


def _phasor(z: Phasors, images: Phasors) -> Phasor:
    """The tone in sub-blocks of one signal, complex128 [sub-blocks]."""
    found = reduce(z[:, None], images, np.zeros((len(z), 1)))
    sigma = math.sqrt(float(np.mean(np.abs(found.noise) ** 2)) / 2.0)
    return Phasor(complex(found.phasors[0]), sigma, 2 * len(found.noise))
