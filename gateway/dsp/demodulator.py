"""The phase-exact demodulator: sound in, a slow complex baseband out, one matrix product a block.

A tone x(n) = A cos(2 pi f n / fs + phi) becomes, for every sub-block of D frames, the phasor

    z_i = (2/D) sum_{k<D} x(iD + k) exp(-2j pi f (iD + k) / fs)  =  A exp(j phi)  + image + noise.

The exponential splits into a table over k, the same for every sub-block, and one rotation per sub-block. The table
makes the sum a matrix product. The rotation is computed from the absolute frame number in integers: with f = p/q
exactly, the phase is ((p n) mod (q fs)) / (q fs) turns, so it does not drift, whatever the length of the run (notes:
an accumulated float phase errs by 6e-5 rad after eight months; this one by nothing). Sub-blocks lie on the absolute
grid of D frames, so any split of the sound into blocks gives the same z.

The sum is the boxcar matched filter; its efficiency for white noise is 1 (Kay, Fundamentals of Statistical Signal
Processing: Estimation Theory, 1993, example 3.14 and section 7.8).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from gateway.types import Samples

Phasors = npt.NDArray[np.complex128]
SUB_BLOCKS_PER_SECOND = 100


def sub_block_frames(rate_hz: int) -> int:
    """Length D of a sub-block: about 10 ms, a whole number of frames."""
    return max(1, round(rate_hz / SUB_BLOCKS_PER_SECOND))


def exact(frequency_hz: float) -> Fraction:
    """A frequency as written in decimal (2012.5, 2013.7) as an exact fraction of hertz."""
    return Fraction(repr(float(frequency_hz)))


def table(turns_per_frame: float, frames: int, channels: int) -> Samples:
    """The demodulation table, float32 [frames * channels, 2 * channels], for interleaved sound.

    Columns 2c and 2c+1 give real and imaginary part of channel c; rows of other channels are zero.
    """
    phase = np.exp(-2j * np.pi * ((turns_per_frame * np.arange(frames)) % 1.0)) * (2.0 / frames)
    out = np.zeros((frames, channels, channels, 2), np.float32)
    for channel in range(channels):
        out[:, channel, channel, 0] = phase.real
        out[:, channel, channel, 1] = phase.imag
    return out.reshape(frames * channels, 2 * channels)


class Demodulator:
    """Demodulates interleaved sound at one exact frequency; carries the unfinished sub-block from call to call."""

    def __init__(self, frequency: Fraction, rate_hz: int, channels: int = 1) -> None:
        """`frequency` in hertz, exact; `channels` of the sound that push() will get."""
        self.sub_block = sub_block_frames(rate_hz)
        self._channels = channels
        self._turns = Fraction(frequency) / rate_hz % 1
        self._table = table(float(self._turns), self.sub_block, channels)
        self._rest: Samples = np.empty((0, channels), np.float32)
        self._next = 0

    def push(self, frame: int, samples: Samples) -> tuple[int, Phasors]:
        """Take the sound that begins at absolute `frame`: float32 [frames, channels].

        Returns the number of the first finished sub-block and the phasors, complex128 [sub-blocks, channels]. Sound
        that does not join on to the last call (lost frames) restarts at the next sub-block of the grid; the phase
        stays right.
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
        rows = np.ascontiguousarray(samples[:used]).reshape(count, self.sub_block * self._channels)
        z = (rows @ self._table).view(np.complex64).astype(np.complex128)
        return first, z * self._rotations(first, count)[:, None]

    def _rotations(self, first: int, count: int) -> Phasors:
        """exp(-2j pi f n / fs) at the beginning of each sub-block, from integer phases."""
        p, q = self._turns.numerator, self._turns.denominator
        step = p * self.sub_block % q
        start = step * first % q
        turns = [(start + step * i) % q / q for i in range(count)]
        return np.exp(-2j * np.pi * np.array(turns))
