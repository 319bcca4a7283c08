"""The same with numpy and scipy, as one would write it: the classic chain and three kinds of lock-in.

All give what ours gives: the lock-ins a phasor of each of both channels every 10 ms (the one with RC poles at every
frame), phase-continuous over blocks; the classic chain one averaged spectrum of A - B.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

from bench.speed.sound import FREQUENCY_HZ, RATE
from gateway.types import SampleBlock

_SUB_BLOCK, _FFT = 480, 4096
_POLE_S = 0.1


class Classic:
    """Band-pass of order 4 on both channels, A - B, Hann FFT of 4096 frames one after the other, highest bin."""

    signal = "A-B"

    def __init__(self) -> None:
        edges = (FREQUENCY_HZ - 100, FREQUENCY_HZ + 100)
        self._sections = scipy.signal.butter(4, edges, "bandpass", fs=RATE, output="sos")
        self._state = np.zeros((len(self._sections), 2, 2))
        self._window = np.hanning(_FFT + 1)[:-1]
        self._power = np.zeros(_FFT // 2 + 1)
        self._frames = 0
        self._rest = np.empty(0)

    def push(self, block: SampleBlock) -> None:
        """Take a block."""
        filtered, self._state = scipy.signal.sosfilt(self._sections, block.samples, axis=0, zi=self._state)
        sound = np.concatenate((self._rest, filtered[:, 0] - filtered[:, 1]))
        while len(sound) >= _FFT:
            bins = scipy.fft.rfft(sound[:_FFT] * self._window)
            self._power += bins.real**2 + bins.imag**2
            self._frames += 1
            sound = sound[_FFT:]
        self._rest = sound

    def amplitude(self) -> float:
        """Of the highest bin."""
        return 2.0 * math.sqrt(self._power.max() / self._frames) / float(self._window.sum())


class ExpPerBlock:
    """Times np.exp, made anew for every block, and averaged over 10 ms."""

    signal = "A"

    def __init__(self) -> None:
        self._phasors: list[np.ndarray] = []

    def push(self, block: SampleBlock) -> None:
        """Take a block."""
        frames = block.frame + np.arange(len(block.samples))
        mixed = block.samples * np.exp((-2j * np.pi * FREQUENCY_HZ / RATE) * frames)[:, None]
        self._phasors.append(mixed.reshape(-1, _SUB_BLOCK, 2).mean(axis=1))

    def amplitude(self) -> float:
        """The mean phasor's length, channel A."""
        return 2.0 * float(abs(np.concatenate(self._phasors)[:, 0].mean()))


class CachedUpfirdn:
    """scipy.signal.upfirdn with a cached table of 480 taps, one output in 480, turned by the block's phase."""

    signal = "A"

    def __init__(self) -> None:
        self._table = _oscillator(_SUB_BLOCK)[::-1].astype(np.complex64)
        self._phasors: list[np.ndarray] = []

    def push(self, block: SampleBlock) -> None:
        """Take a block, a whole number of sub-blocks."""
        sound = np.concatenate((np.zeros((1, 2), np.float32), block.samples))  # taps 0..479 end at frame 480 m - 1
        sums = scipy.signal.upfirdn(self._table, sound, 1, _SUB_BLOCK, axis=0)[1 : 1 + len(block.samples) // _SUB_BLOCK]
        starts = block.frame + _SUB_BLOCK * np.arange(len(sums))
        self._phasors.append(sums * np.exp((-2j * np.pi * FREQUENCY_HZ / RATE) * starts)[:, None])

    def amplitude(self) -> float:
        """The mean phasor's length, channel A."""
        return 2.0 / _SUB_BLOCK * float(abs(np.concatenate(self._phasors)[:, 0].mean()))


class FourPoles:
    """Mixed with a cached table and filtered by four RC poles of 0.1 s at the full rate."""

    signal = "A"

    def __init__(self) -> None:
        pole = math.exp(-1 / (_POLE_S * RATE))
        two_poles = [(1 - pole) ** 2, 0, 0, 1, -2 * pole, pole**2]
        self._sections = np.array([two_poles, two_poles])
        self._state = np.zeros((2, 2, 2), complex)
        self._table = np.empty((0, 1), complex)
        self._last = np.zeros(2, complex)

    def push(self, block: SampleBlock) -> None:
        """Take a block, as long as the last one."""
        if len(self._table) != len(block.samples):
            self._table = _oscillator(len(block.samples))[:, None]
        turn = np.exp(-2j * np.pi * FREQUENCY_HZ * block.frame / RATE)
        mixed = block.samples * (self._table * turn)
        settled, self._state = scipy.signal.sosfilt(self._sections, mixed, axis=0, zi=self._state)
        self._last = settled[-1]

    def amplitude(self) -> float:
        """At the end, channel A."""
        return 2.0 * float(abs(self._last[0]))


def _oscillator(frames: int) -> npt.NDArray[np.complex128]:
    table: npt.NDArray[np.complex128] = np.exp((-2j * np.pi * FREQUENCY_HZ / RATE) * np.arange(frames))
    return table
