"""The phase-exact demodulator: sound in, a slow complex baseband out, one matrix product a block.

A tone x(n) = A cos(2 pi f n / fs + phi) becomes, for every sub-block of D frames, the phasor

    z_i = (2/D) sum_{k<D} x(iD + k) exp(-2j pi f (iD + k) / fs)  =  A exp(j phi)  + image + noise.

The exponential splits into a table over k, the same for every sub-block, and one rotation per sub-block. The table
makes the sum a matrix product. The rotation is computed from the absolute frame number in integers: with f = p/q
exactly, the phase is ((p n) mod (q fs)) / (q fs) turns, so it does not drift, whatever the length of the run (notes:
an accumulated float phase errs by 6e-5 rad after eight months; this one by nothing). Sub-blocks lie on the absolute
grid of D frames, so any split of the sound into blocks gives the same z.

The sub-block's mean is taken out of the table, so that a constant (a converter's offset, the slowest rumble) leaves
nothing in z; the tone itself keeps gain 1, and what its conjugate leaves is known exactly (`images`).

Several frequencies share the product, for another column costs little beside the pass over the sound. A frequency may
change at a frame: the reference then goes on from the phase it has there, as a laser does that keeps its phase.

The sum is the boxcar matched filter; its efficiency for white noise is 1 (Kay, Fundamentals of Statistical Signal
Processing: Estimation Theory, 1993, example 3.14 and section 7.8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from gateway.types import Samples

Phasors = npt.NDArray[np.complex128]
SUB_BLOCKS_PER_SECOND = 100
_FINEST = 1 << 60
_INT64 = 1 << 62


def sub_block_frames(rate_hz: int) -> int:
    """Length D of a sub-block: about 10 ms, a whole number of frames."""
    return max(1, round(rate_hz / SUB_BLOCKS_PER_SECOND))


def exact(frequency_hz: float) -> Fraction:
    """A frequency as written in decimal (2012.5, 2013.7) as an exact fraction of hertz."""
    return Fraction(repr(float(frequency_hz)))


def without_images(z: Phasors, images: Phasors) -> Phasors:
    """The tones in `z` without their images, sub-block by sub-block: z = A + images A* solved for A. The shapes go
    together as those of numpy do.
    """
    return np.asarray((z - images * z.conj()) / (1.0 - np.abs(images) ** 2))


@dataclass(frozen=True, slots=True)
class Reference:
    """The phase that a tone is compared with: `turns` at frame `origin`, and `step` turns more for every frame."""

    step: Fraction
    origin: int = 0
    turns: Fraction = Fraction(0)

    def at(self, frame: int) -> Fraction:
        """Turns at `frame`, in [0, 1)."""
        return (self.turns + self.step * (frame - self.origin)) % 1

    def changed(self, step: Fraction, frame: int) -> Reference:
        """The reference that goes on from its phase at `frame` with another step.

        The phase is kept to 2^-60 turns, or its denominator would grow with every change.
        """
        return Reference(step, frame, Fraction(round(self.at(frame) * _FINEST), _FINEST))

    def rotations(self, first: int, count: int, sub_block: int) -> Phasors:
        """exp(-2j pi turns) at the beginning of `count` sub-blocks from number `first` on, from integer phases."""
        q = math.lcm(self.step.denominator, self.turns.denominator)
        step = self.step.numerator * (q // self.step.denominator)
        start = self.turns.numerator * (q // self.turns.denominator) + step * (first * sub_block - self.origin)
        if q * max(1, count) < _INT64:
            turns = (start % q + step * sub_block % q * np.arange(count)) % q / q
        else:
            turns = np.array([(start + step * sub_block * i) % q / q for i in range(count)])
        return np.asarray(np.exp(-2j * np.pi * turns))


class Demodulator:
    """Demodulates interleaved sound at exact frequencies; carries the unfinished sub-block from call to call."""

    STATE = ("_references", "_rest", "_next")

    def __init__(self, frequencies: Sequence[Fraction], rate_hz: int, channels: int = 1) -> None:
        """`frequencies` in hertz, exact; `channels` of the sound that push() will get."""
        self.sub_block = sub_block_frames(rate_hz)
        self._rate_hz, self._channels = rate_hz, channels
        self._references = [Reference(Fraction(frequency) / rate_hz % 1) for frequency in frequencies]
        self.restored()
        self._rest: Samples = np.empty((0, channels), np.float32)
        self._next = 0

    def change(self, frequencies: Sequence[Fraction], frame: int) -> None:
        """Go on with other frequencies from absolute `frame` on, each with the phase that its old one has there.

        The unfinished sub-block is given up.
        """
        steps = [Fraction(frequency) / self._rate_hz % 1 for frequency in frequencies]
        self._references = [
            old if old.step == step else old.changed(step, frame)
            for old, step in zip(self._references, steps, strict=True)
        ]
        self.restored()
        self._rest = self._rest[:0]

    def images(self, index: int, first: int, count: int) -> Phasors:
        """What the conjugate of a unit tone leaves in `count` sub-blocks from number `first` on, complex128 [count]: a
        tone A gives z_i = A + images_i A*, A* its conjugate.
        """
        return self._images[index] * self._references[index].rotations(first, count, self.sub_block) ** 2

    def push(self, frame: int, samples: Samples) -> tuple[int, Phasors]:
        """Take the sound that begins at absolute `frame`: float32 [frames, channels].

        Returns the number of the first finished sub-block and the phasors, complex128 [sub-blocks, channels,
        frequencies]. Sound that does not join on to the last call (lost frames) restarts at the next sub-block of the
        grid; the phase stays right.
        """
        if frame != self._next:
            self._rest = self._rest[:0]
        frame_of_rest = frame - len(self._rest)
        if not len(self._rest):
            skip = min(-frame % self.sub_block, len(samples))
            samples, frame_of_rest = samples[skip:], frame + skip
        self._next = frame_of_rest + len(self._rest) + len(samples)
        if len(self._rest):
            samples = np.concatenate((self._rest, samples))
        first = -(-frame_of_rest // self.sub_block)
        count = len(samples) // self.sub_block
        used = count * self.sub_block
        self._rest = samples[used:].copy() if used < len(samples) else samples[:0]
        rows = samples[:used].reshape(count, self.sub_block * self._channels)
        z = (rows @ self._table).view(np.complex64).astype(np.complex128)
        z = z.reshape(count, self._channels, len(self._references))
        for index, reference in enumerate(self._references):
            z[:, :, index] *= reference.rotations(first, count, self.sub_block)[:, None]
        return first, z

    def restored(self) -> None:
        """Make what follows from the references: the table, float32 [sub_block * channels, 2 * channels *
        frequencies], of columns without mean and of gain 1.
        """
        count, frames = len(self._references), self.sub_block
        self._images = []
        out = np.zeros((frames, self._channels, self._channels, count, 2), np.float32)
        for index, reference in enumerate(self._references):
            wave = np.exp(-2j * np.pi * (float(reference.step) * np.arange(frames) % 1.0))
            column = wave - wave.mean()
            column *= 2.0 / (column @ wave.conj())
            self._images.append(complex(column @ wave) / 2.0)
            for channel in range(self._channels):
                out[:, channel, channel, index, 0] = column.real
                out[:, channel, channel, index, 1] = column.imag
        self._table = out.reshape(frames * self._channels, 2 * self._channels * count)
