"""The bins of a band of a long record's discrete Fourier transform, without transforming all of the record.

Wanted are, for bins k of a band, the phasors of a record of N frames,

    Z[k] = (2/N) sum_n x(n) exp(-2j pi k (n + 1/2) / N).

The half frame puts the zero of time into the middle of the record (n = -1/2 .. N - 1/2 turns to +-N/2), where the
kernels of a tone are real (dsp/tone.py). The record, taken as periodic, is correlated with the taps t of a complex
band-pass and only every D-th value is kept, M = N / D in all:

    y(i) = sum_j t(j) x((iD + j) mod N),    Y[k mod M] = (1/D) sum over k' = k (mod M) of X[k'] T(k'),

T(k) = sum_j t(j) exp(2j pi k j / N). The taps, a sinc with a Kaiser window (Kaiser 1974; Oppenheim and Schafer,
Discrete-Time Signal Processing, section 7.6) turned to the middle of the band, leave of every k' but the one in the
band STOP_DB below it, and T(k) is known: so X[k] = D Y[k mod M] / T(k), exactly but for that. With the sound in rows of
D frames the correlation is one matrix product, table [2K, D] times rows [D, M], of which shifted rows are added.
Nothing is said of the sound beyond the record, so records do not know how the sound was cut into blocks.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.fft

from gateway.types import Samples

Bins = npt.NDArray[np.complex128]
STOP_DB = 130.0
_ROOM = 2.5
"""Bins of the decimated transform per bin of the band: fewer need longer taps, more a longer transform."""
_SHORTEST = 20
"""Bins more than that, so that the taps of a narrow band are not longer than the record."""
_FEWEST = 8
"""A decimation by less than this costs more than it saves."""
_ALONE = 250_000
"""Products in a call of BLAS that it makes in one thread: helpers cost more, in waiting for work, than they help."""


class BandTransform:
    """The bins `first` to `last` of records of `frames` frames."""

    def __init__(self, frames: int, first: int, last: int) -> None:
        """0 <= first <= last <= frames / 2."""
        bins = np.arange(first, last + 1)
        turn = np.exp(-1j * np.pi * bins / frames) * 2.0 / frames
        self._step = _decimation(frames, len(bins))
        if self._step < _FEWEST:
            self._step = 1
            self._picked, self._factor = bins, turn
            return
        count = frames // self._step
        taps = _taps(frames, count, bins)
        self._parts = len(taps) // self._step
        self._table = np.concatenate((taps.real, taps.imag)).reshape(-1, self._step)
        self._picked = bins % count
        self._factor = turn * self._step / scipy.fft.ifft(taps, frames, norm="forward")[bins]

    def bins(self, samples: Samples) -> Bins:
        """Z, complex128 [last - first + 1], of one record, float32 [frames]."""
        if self._step == 1:
            return np.asarray(scipy.fft.rfft(samples)[self._picked] * self._factor)
        rows = samples.reshape(-1, self._step)
        count, parts = len(rows), self._parts
        products = np.empty((2 * parts, count + parts - 1), np.float32)
        at_once = max(1, _ALONE // self._table.size)
        for at in range(0, count, at_once):
            np.matmul(self._table, rows[at : at + at_once].T, out=products[:, at : min(at + at_once, count)])
        products[:, count:] = products[:, : parts - 1]
        row, item = products.strides
        shifted = np.lib.stride_tricks.as_strided(products, (2, parts, count), (parts * row, row + item, item))
        y = np.empty(count, np.complex64)
        y.real, y.imag = shifted.sum(axis=1)
        return np.asarray(scipy.fft.fft(y, overwrite_x=True)[self._picked] * self._factor)


def _decimation(frames: int, bins: int) -> int:
    """The largest divisor D of `frames` that leaves room for the band."""
    return max(d for d in range(1, max(1, int(frames / (_ROOM * bins + _SHORTEST))) + 1) if frames % d == 0)


def _taps(frames: int, count: int, bins: npt.NDArray[np.int64]) -> npt.NDArray[np.complex64]:
    """A band-pass for `bins` whose stop band begins `count` bins from either end of them; whole rows of D taps."""
    step, centre = frames // count, (bins[0] + bins[-1]) / 2.0
    transition = 2.0 * math.pi * (count - len(bins)) / frames
    length = step * math.ceil(((STOP_DB - 7.95) / (2.285 * transition) + 1.0) / step)
    time = np.arange(length) - (length - 1) / 2.0
    low_pass = np.sinc(time * count / frames) * np.kaiser(length, 0.1102 * (STOP_DB - 8.7))
    return np.asarray(low_pass / low_pass.sum() * np.exp(-2j * np.pi * centre / frames * time), np.complex64)
