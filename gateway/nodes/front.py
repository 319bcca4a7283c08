"""The front end: one demodulator for all lock_ins that hear the same microphones.

A lock_in hears one frequency, so a filter before it could only spoil its tone and ring after a break; gains, mixes and
the difference of two microphones are weights, which it can apply to phasors, a hundred a second instead of 48000
samples. So it listens at the microphones, and all lock_ins of a graph share the pass over the sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from gateway.dsp.demodulator import Demodulator, Phasors, sub_block_frames
from gateway.types import FULL_SCALE, Flag, SampleBlock

STEP = 2.0**-15
"""Of a 16-bit converter. Coarser ones are not in use, and finer ones lie below every microphone's noise."""
_FEW = 500


@dataclass(frozen=True, slots=True)
class Baseband:
    """One block at one frequency, in hertz.

    `z` complex128 [sub-blocks, channels], of which the first is number `first` on the grid. `clipped` float64 [touched
    sub-blocks, channels]: the part of a sub-block's samples that this block has at full scale, the first of them number
    `clipped_first`; none where none is. `epoch` counts the changes of the laser's frequency.
    """

    first: int
    z: Phasors
    clipped_first: int
    clipped: npt.NDArray[np.float64]
    frequency: Fraction
    epoch: int


@dataclass(frozen=True, slots=True)
class Tap:
    """What a lock_in asks for: `harmonic` times the laser's frequency, or a `fixed` one, hertz."""

    harmonic: int = 1
    fixed: Fraction | None = None

    def frequency(self, laser: Fraction) -> Fraction:
        """In hertz, exact."""
        return laser * self.harmonic if self.fixed is None else self.fixed


class FrontEnd:
    """Demodulates each block once, at every frequency that is asked for."""

    STATE = ("laser", "_demodulator", "_epoch")

    def __init__(self, rate_hz: int, channels: int, laser: Fraction) -> None:
        """`laser`: its frequency as long as no block tells another."""
        self.rate_hz, self.channels, self.laser = rate_hz, channels, laser
        self.sub_block = sub_block_frames(rate_hz)
        self._taps: list[Tap] = []
        self._frequencies: list[Fraction] = []
        self._others: list[tuple[float, ...]] = []
        self._demodulator = Demodulator([], rate_hz, channels)
        self._epoch = 0
        self._block: SampleBlock | None = None
        self._first, self._z = 0, np.empty((0, channels, 0), np.complex128)

    def tap(self, tap: Tap) -> int:
        """Ask for a frequency, before the first block; returns the number to read it with."""
        if tap not in self._taps:
            self._taps.append(tap)
            self.restored()
            self._demodulator = Demodulator(self._frequencies, self.rate_hz, self.channels)
        return self._taps.index(tap)

    def read(self, block: SampleBlock, number: int) -> Baseband:
        """What tap `number` hears of `block`; blocks come in order, each to be read by any number of taps."""
        self._push(block)
        first, clipped = self._clipped(block)
        z = self._z[:, :, number]
        return Baseband(self._first, z, first, clipped, self._frequencies[number], self._epoch)

    def coarse_power(self) -> tuple[float, ...] | None:
        """Mean square per channel of the newest sound, where it has the steps of a 16-bit converter, as a look at _FEW
        frames tells; else None.
        """
        samples = np.empty((0, self.channels), np.float32) if self._block is None else self._block.samples
        few = samples[:: max(1, len(samples) // _FEW)] / STEP
        if not len(samples) or not np.array_equal(few, np.rint(few)):
            return None
        return tuple(np.mean(samples.astype(np.float64) ** 2, axis=0).tolist())

    def _clipped(self, block: SampleBlock) -> tuple[int, npt.NDArray[np.float64]]:
        """See Baseband."""
        if Flag.OVERLOAD not in block.flags or not len(block.samples):
            return 0, np.zeros((0, self.channels))
        first = block.frame // self.sub_block
        frames, channels = np.nonzero(np.abs(block.samples) >= FULL_SCALE)
        part = np.zeros(((block.frame + len(block.samples) - 1) // self.sub_block - first + 1, self.channels))
        np.add.at(part, ((block.frame + frames) // self.sub_block - first, channels), 1.0 / self.sub_block)
        return first, part

    def others(self, number: int) -> tuple[float, ...]:
        """Where the tones at the other taps' frequencies, and their images, are in the baseband of tap `number`: turns
        per sub-block from -1/2 to 1/2.
        """
        return self._others[number]

    def images(self, number: int, first: int, count: int) -> Phasors:
        """As Demodulator.images, for tap `number`."""
        return self._demodulator.images(number, first, count)

    def _push(self, block: SampleBlock) -> None:
        if block is self._block:
            return
        self._block = block
        if block.light is not None and block.light.frequency != self.laser:
            self.laser = block.light.frequency
            self.restored()
            self._demodulator.change(self._frequencies, block.frame)
            self._epoch += 1
        self._first, self._z = self._demodulator.push(block.frame, block.samples)

    def restored(self) -> None:
        """Make what follows from the laser's frequency."""
        self._frequencies = [tap.frequency(self.laser) for tap in self._taps]
        self._others = [self._beside(own) for own in self._frequencies]

    def _beside(self, own: Fraction) -> tuple[float, ...]:
        each = Fraction(self.sub_block, self.rate_hz)
        away = [f for other in self._frequencies if other != own for f in (other - own, -other - own)]
        return tuple(float((f * each + Fraction(1, 2)) % 1) - 0.5 for f in away)
