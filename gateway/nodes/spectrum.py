"""spectrum: averaged power spectrum for eyes and other nodes (Welch, IEEE Trans. Audio Electroacoust. 15, 1967).

Segments of `fft_size` samples stand side by side, or overlap by half. A sine of amplitude a that lies on a bin shows as
a^2 / 2 in it; noise of density S (full scale squared per hertz) as S x enbw_bins x bin_hz. Nothing that is measured
depends on this node.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.fft
from pydantic import Field

from gateway.config.settings import Settings
from gateway.nodes.place import Channel, Place, one_channel
from gateway.nodes.records import Record, Records
from gateway.types import Result, SampleBlock, Samples, Spectrum

_AT_ONCE = 131_072
"""Samples that are transformed in one call."""


class SpectrumSettings(Settings):
    """Settings of a spectrum node."""

    fft_size: Literal[256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] = Field(
        4096, description="samples per segment"
    )
    averages: int = Field(20, ge=1, le=1000, description="segments that are averaged")
    interval_s: float = Field(
        0.0, ge=0, le=3600, description="shortest time from one spectrum to the next; segments are the newest of it"
    )
    overlap: Literal["none", "half"] = Field(
        "none", description="of one segment with the next; half finds more in noise, for twice the work"
    )
    window: Literal["hann", "blackmanharris", "flattop", "boxcar"] = Field("hann", description="window of a segment")
    channel: Channel = Field("A", description="the channel of stereo sound: A or B")


class SpectrumNode:
    """Averages power spectra."""

    Settings = SpectrumSettings
    STATE = ("_records",)

    def __init__(self, name: str, settings: SpectrumSettings, place: Place) -> None:
        self.after = place
        self._name = name
        self._rate_hz = place.rate_hz
        self._channel = place.channel(settings.channel)
        self._size = settings.fft_size
        self._averages = settings.averages
        self._window = _window(settings.window, self._size)
        self._enbw_bins = float(self._size * np.sum(self._window**2) / np.sum(self._window) ** 2)
        self._step = self._size // 2 if settings.overlap == "half" else self._size
        self._needed = self._step * (self._averages - 1) + self._size
        frames = max(self._needed, round(settings.interval_s * place.rate_hz))
        self._records = Records(frames, math.ceil(place.settling_s * place.rate_hz), np.float32)

    @property
    def due(self) -> int:
        """See ComputingNode."""
        return self._records.due

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """See ComputingNode."""
        samples = one_channel(block.samples, self._channel)[:, 0]
        return [self._result(record) for record in self._records.push(block.frame, samples, block.flags)]

    def _result(self, record: Record[np.float32]) -> Spectrum:
        power = np.full(self._size // 2 + 1, math.nan)
        if record.values is not None:
            power = self._power(record.values[-self._needed :]) * (
                2.0 / float(np.sum(self._window)) ** 2 / self._averages
            )
            power[0] /= 2.0
            power[-1] /= 2.0
        power.flags.writeable = False
        t_ns = record.end * 1_000_000_000 // self._rate_hz
        bin_hz = self._rate_hz / self._size
        return Spectrum(self._name, t_ns, bin_hz, power, self._enbw_bins, self._averages, record.flags)

    def _power(self, samples: Samples) -> npt.NDArray[np.float64]:
        """Sum over the segments of |X|^2, float64 [bins]; so many segments at once that they stay in the cache."""
        segments = np.lib.stride_tricks.sliding_window_view(samples, self._size)[:: self._step]
        at_once = max(4, _AT_ONCE // self._size)
        power = np.zeros(self._size // 2 + 1)
        for at in range(0, len(segments), at_once):
            spectra = scipy.fft.rfft(segments[at : at + at_once] * self._window, axis=1).view(np.float32)
            np.square(spectra, out=spectra)
            squares = spectra.sum(axis=0)
            power += squares[0::2]
            power += squares[1::2]
        return power


_COSINES = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}
"""Windows as sums of cosines of alternating sign: Harris, Proc. IEEE 66 (1978) 51; flat top: D'Antona and Ferrero,
Digital Signal Processing for Measurement Systems (2006), 70."""


def _window(name: str, size: int) -> npt.NDArray[np.float32]:
    """float32 [size], periodic: the sample after the last would be the first again."""
    turn = 2.0 * np.pi * np.arange(size) / size
    window = np.zeros(size)
    for k, part in enumerate(_COSINES[name]):
        window += (-1) ** k * part * np.cos(k * turn)
    return window.astype(np.float32)
