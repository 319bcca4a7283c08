"""lock_in: the signed amplitude of the tone at the laser's frequency, and how sure it is.

The sound is demodulated at the exact reference frequency (dsp/demodulator.py) and averaged over records of
`integration_s`; the phasor is freed of what the filters before this node did to it, turned by the calibrated phase
and projected: `in_phase` is the signal, unbiased at every signal-to-noise ratio because it is signed, `quadrature`
what should be nothing but noise. A boxcar record reaches the Cramer-Rao bound for a known frequency, var A = 2
sigma^2 / N (Kay 1993, example 3.14). Sigma comes from the residual beside the tone (dsp/phasor.py).
"""

from __future__ import annotations

import cmath
import math

import numpy as np
from pydantic import Field

from gateway.config.settings import Settings
from gateway.dsp.demodulator import Demodulator, exact
from gateway.dsp.phasor import estimate
from gateway.nodes.place import Channel, NodeFault, Place, one_channel
from gateway.nodes.records import Record, Records
from gateway.types import Flag, LockInResult, Result, SampleBlock


class LockInSettings(Settings):
    """Settings of a lock_in node."""

    integration_s: float = Field(1.0, ge=0.1, le=600, description="length of a record: the averaging time")
    frequency_hz: float | None = Field(None, gt=0, description="reference frequency; the laser's if absent")
    phase_deg: float = Field(0.0, ge=-360, le=360, description="calibrated phase of the signal against the reference")
    channel: Channel = Field("A", description="the channel of stereo sound: A or B")


class LockIn:
    """A coherent detector at the laser's frequency."""

    Settings = LockInSettings

    def __init__(self, name: str, settings: LockInSettings, place: Place) -> None:
        reference = place.reference if settings.frequency_hz is None else exact(settings.frequency_hz)
        if reference >= place.rate_hz / 2:
            message = f"{float(reference):g} Hz is not below half the sample rate, {place.rate_hz / 2:g} Hz"
            raise NodeFault("frequency_hz", message, "Lower it, or sample faster")
        self.after = place
        self._name = name
        self._rate_hz = place.rate_hz
        self._channel = place.channel(settings.channel)
        self._frequency_hz = float(reference)
        self._demodulator = Demodulator(reference, place.rate_hz)
        sub_block = self._demodulator.sub_block
        length = max(6, round(settings.integration_s * place.rate_hz / sub_block))
        self._records = Records(length, math.ceil(place.settling_s * place.rate_hz / sub_block), np.complex128)
        turn = cmath.exp(-1j * math.radians(settings.phase_deg))
        self._calibration = turn / place.response(self._frequency_hz)

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """See ComputingNode."""
        first, z = self._demodulator.push(block.frame, one_channel(block.samples, self._channel))
        return [self._result(record) for record in self._records.push(first, z[:, 0], block.flags)]

    def _result(self, record: Record[np.complex128]) -> LockInResult:
        sub_block = self._demodulator.sub_block
        in_phase = quadrature = sigma = math.nan
        dof, flags = 0, record.flags
        if record.values is not None:
            phasor = estimate(record.values, self._frequency_hz / self._rate_hz, sub_block, record.first)
            value = phasor.value * self._calibration
            in_phase, quadrature, dof = value.real, value.imag, phasor.dof
            sigma = phasor.sigma * abs(self._calibration)
            if abs(value) < 3.0 * sigma:
                flags = flags | {Flag.LOW_SIGNAL}
        return LockInResult(
            self._name,
            record.end * sub_block * 1_000_000_000 // self._rate_hz,
            self._frequency_hz,
            in_phase,
            quadrature,
            sigma,
            dof,
            (record.end - record.first) * sub_block / self._rate_hz,
            flags,
        )
