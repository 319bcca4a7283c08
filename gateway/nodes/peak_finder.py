"""peak_finder: the strongest tone in a band, with frequency and amplitude between the bins, or none.

The node listens at the microphones, mixed as the nodes before it would mix them; filters before it only narrow the
band. Of the whole record only the band is transformed (dsp/band.py). A Hann periodogram of it finds the tone and tests
it against the noise (dsp/detect.py); the four-parameter sine fit on the same bins (dsp/tone.py) gives frequency,
amplitude and sigma, so none depends on where the bins lie. The length of a noisy phasor is too long by sigma^2 / 2A on
average (Rice); it is taken off: A = sqrt(|z|^2 - sigma^2). The frequency's own uncertainty is the Cramer-Rao bound,
sigma_f = sqrt(12) sigma / (2 pi A T) (Rife and Boorstyn 1974, equation 19), or that of the window where strong tones
elsewhere made one necessary.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from gateway.config.settings import Settings
from gateway.dsp.band import BandTransform
from gateway.dsp.detect import find_peak
from gateway.dsp.tone import Tone, fit_tone
from gateway.nodes.place import Channel, NodeFault, Place
from gateway.nodes.records import Record, Records
from gateway.types import Flag, PeakResult, Result, SampleBlock, Samples

_PASSED = 1e-4
"""Power gain (-40 dB) below which a filter is taken to let nothing pass."""
_FEWEST_BINS = 10
_MARGIN = 40
"""Bins on either side of the band that are transformed with it: a tone at its edge shows in them too."""


class PeakFinderSettings(Settings):
    """Settings of a peak_finder node."""

    frequency_min: float = Field(ge=1, description="lower end of the band, in Hz")
    frequency_max: float = Field(gt=1, description="upper end of the band, in Hz")
    integration_s: float = Field(1.0, ge=0.1, le=10, description="length of a record")
    false_alarm: float = Field(
        1e-6, gt=1e-12, lt=0.1, description="part of records of pure noise in which a tone may be seen"
    )
    channel: Channel = Field("A", description="the channel of stereo sound: A or B")

    @property
    def shortest_s(self) -> float:
        """The shortest record of which the band is wide enough."""
        return _FEWEST_BINS / (self.frequency_max - self.frequency_min)


class PeakFinder:
    """Looks for one tone in a band."""

    Settings = PeakFinderSettings
    STATE = ("_records",)

    def __init__(self, name: str, settings: PeakFinderSettings, place: Place) -> None:
        nyquist_hz = place.rate_hz / 2
        if settings.frequency_max >= nyquist_hz:
            message = f"{settings.frequency_max:g} Hz is not below half the sample rate, {nyquist_hz:g} Hz"
            raise NodeFault("frequency_max", message, "Lower it, or sample faster")
        if (settings.frequency_max - settings.frequency_min) * settings.integration_s < _FEWEST_BINS:
            width_hz = _FEWEST_BINS / settings.integration_s
            message = f"the band is narrower than ten bins of a record of {settings.integration_s:g} s"
            raise NodeFault("frequency_max", message, f"Make it at least {width_hz:g} Hz wide")
        self.after = place
        self._name = name
        self._rate_hz = place.rate_hz
        self._weights = np.array(place.mix[place.channel(settings.channel)], np.float32)
        self._low, self._high = (f / place.rate_hz for f in (settings.frequency_min, settings.frequency_max))
        self._false_alarm = settings.false_alarm
        self._frames = round(settings.integration_s * place.rate_hz)
        self._first, last = _band(settings, place, self._frames)
        self._bins = last - self._first + 1
        self._start = max(0, self._first - _MARGIN)
        stop = min(self._frames // 2, last + _MARGIN)
        self._transform = BandTransform(self._frames, self._start, stop)
        self._records = Records(self._frames, 0, np.float32)

    @property
    def due(self) -> int:
        """See ComputingNode."""
        return self._records.due

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """See ComputingNode; `block` is the microphones' own sound."""
        samples = block.samples @ self._weights
        return [self._result(record) for record in self._records.push(block.frame, samples, block.flags)]

    def _result(self, record: Record[np.float32]) -> PeakResult:
        integration_s = (record.end - record.first) / self._rate_hz
        t_ns = record.end * 1_000_000_000 // self._rate_hz
        tone = None if record.values is None else self._tone(record.values)
        if tone is None:
            flags = record.flags if record.values is None else record.flags | {Flag.LOW_SIGNAL}
            return PeakResult(self._name, t_ns, None, None, None, math.nan, 0, integration_s, False, flags)
        turns = tone.bins / self._frames
        sigma, length = tone.phasor.sigma, abs(tone.phasor.value)
        amplitude = math.sqrt(max(0.0, length**2 - sigma**2))
        sigma_hz = tone.sigma_bins / integration_s * length / amplitude if amplitude > 0.0 else math.inf
        inside = self._low <= turns <= self._high
        return PeakResult(
            self._name,
            t_ns,
            turns * self._rate_hz,
            sigma_hz,
            amplitude,
            sigma,
            tone.phasor.dof,
            integration_s,
            inside and not record.flags,
            record.flags,
        )

    def _tone(self, samples: Samples) -> Tone | None:
        """The tone in one record, if there is one."""
        z = self._transform.bins(samples)
        at = self._first - self._start
        place = find_peak(z[at - 2 : at + self._bins + 2], self._false_alarm)
        return None if place is None else fit_tone(z, self._start, self._first + place, self._frames)


def _band(settings: PeakFinderSettings, place: Place, frames: int) -> tuple[int, int]:
    """First and last bin of the band, as far as the filters before this node let it pass."""
    first = max(2, math.ceil(settings.frequency_min * frames / place.rate_hz))
    last = min(frames // 2 - 2, math.floor(settings.frequency_max * frames / place.rate_hz))
    bins = np.arange(first, last + 1)
    shape = np.array([abs(place.response(k * place.rate_hz / frames)) ** 2 for k in bins])
    passed = np.flatnonzero(shape > _PASSED)
    if not len(passed) or passed[-1] - passed[0] < _FEWEST_BINS:
        message = "the filters before this node let next to nothing of the band pass"
        raise NodeFault("frequency_min", message, "Search where they pass, or widen them")
    return first + int(passed[0]), first + int(passed[-1])
