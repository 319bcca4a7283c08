"""level: how loud the sound is, root mean square and peak over all channels, per window."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from gateway.config.settings import Settings
from gateway.nodes.place import Place
from gateway.nodes.records import Record, Records
from gateway.types import LevelResult, Result, SampleBlock, Samples

_ROW = 256


class LevelSettings(Settings):
    """Settings of a level node."""

    window_s: float = Field(1.0, ge=0.01, le=60, description="time over which the level is taken")


class Level:
    """A sound level meter."""

    Settings = LevelSettings
    STATE = ("_records",)

    def __init__(self, name: str, settings: LevelSettings, place: Place) -> None:
        self.after = place
        self._name = name
        self._rate_hz = place.rate_hz
        frames = max(1, round(settings.window_s * place.rate_hz))
        settling = math.ceil(place.settling_s * place.rate_hz)
        self._records = Records(frames, settling, np.float32, columns=(place.channels,))

    @property
    def due(self) -> int:
        """See ComputingNode."""
        return self._records.due

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """See ComputingNode."""
        return [self._result(record) for record in self._records.push(block.frame, block.samples, block.flags)]

    def _result(self, record: Record[np.float32]) -> LevelResult:
        rms = peak = math.nan
        if record.values is not None:
            values = record.values.ravel()
            rms = math.sqrt(_square(values) / len(values))
            peak = float(max(values.max(), -values.min()))
        t_ns = record.end * 1_000_000_000 // self._rate_hz
        return LevelResult(self._name, t_ns, rms, peak, record.flags)


def _square(values: Samples) -> float:
    """Sum of the squares of float32 [n]: short rows by BLAS, which adds in float32, their sums in float64."""
    even = len(values) // _ROW * _ROW
    rows, rest = values[:even].reshape(-1, _ROW), values[even:]
    return float(np.vecdot(rows, rows).sum(dtype=np.float64) + np.dot(rest, rest))
