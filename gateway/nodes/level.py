"""level: how loud the sound is, root mean square and peak over all channels, per window."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from gateway.config.settings import Settings
from gateway.nodes.place import Place
from gateway.nodes.records import Record, Records
from gateway.types import LevelResult, Result, SampleBlock


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
        self._channels = place.channels
        frames = max(1, round(settings.window_s * place.rate_hz))
        settling = math.ceil(place.settling_s * place.rate_hz)
        self._records = Records(frames * place.channels, settling * place.channels, np.float32)

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """See ComputingNode."""
        first = block.frame * self._channels
        return [self._result(record) for record in self._records.push(first, block.samples.ravel(), block.flags)]

    def _result(self, record: Record[np.float32]) -> LevelResult:
        rms = peak = math.nan
        if record.values is not None:
            rms = math.sqrt(float(np.mean(np.square(record.values, dtype=np.float64))))
            peak = float(np.max(np.abs(record.values)))
        t_ns = record.end // self._channels * 1_000_000_000 // self._rate_hz
        return LevelResult(self._name, t_ns, rms, peak, record.flags)
