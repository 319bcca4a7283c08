"""What flows through the gateway. Frozen, slotted, SI units in the names; arrays are read-only.

A block of sound becomes results, results become measurements, measurements become alerts, alerts become commands;
a Tick carries what one block brought. Times are `t_ns`, nanoseconds since the first sample of the stream, counted in
samples (lost ones included), so that a recording gives the times of the live run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
FULL_SCALE = 1.0 - 2.0**-15
"""From here on a sample counts as clipped: the largest value of a 16-bit converter, which sound servers and files hand
on in longer words. A longer word's own largest value lies above it."""


class Flag(StrEnum):
    """Why a value is to be doubted. The names are the words of the JSON lines."""

    OVERLOAD = "overload"  # a sample reached full scale
    LOW_SIGNAL = "low_signal"  # below the limit of detection
    OFF_RESONANCE = "off_resonance"
    UNLOCKED = "unlocked"  # no phase reference
    LASER_OFF = "laser_off"
    WARM_UP = "warm_up"  # the laser was lit so short a time ago that its light is not trusted
    SWEEPING = "sweeping"  # the laser is stepped across the resonance
    LOST_SAMPLES = "lost_samples"  # sound is missing inside the record
    EXTRAPOLATED = "extrapolated"  # outside the calibrated range
    CAL_EXPIRED = "cal_expired"  # the calibration file's valid_until is over
    STALE = "stale"  # no new value came in time
    NOT_FINITE = "not_finite"  # a sample was NaN or infinite
    IMPULSE = "impulse"  # knocks or clicks were cut out of the record
    TONE = "tone"  # an interfering tone beside the carrier was taken out
    MICROPHONE = "microphone"  # one of two microphones is left out: dead, or at full scale
    PHASE = "phase"  # the signal's phase is not that of the calibration
    ESTIMATED = "estimated"  # restored from overloaded sound
    UNDERDITHERED = "underdithered"  # so little noise that the converter's steps show
    CLIMATE_UNKNOWN = "climate_unknown"  # a correction wants a temperature, pressure or humidity that nobody knows


Flags = frozenset[Flag]
NO_FLAGS: Flags = frozenset()
INVALIDATING: Flags = frozenset(
    {
        Flag.OVERLOAD,
        Flag.UNLOCKED,
        Flag.LASER_OFF,
        Flag.WARM_UP,
        Flag.SWEEPING,
        Flag.LOST_SAMPLES,
        Flag.STALE,
        Flag.NOT_FINITE,
        Flag.PHASE,
    }
)
"""With one of these a value is never published as valid."""


@dataclass(frozen=True, slots=True)
class Light:
    """The laser's modulation as it is: `frequency` achieved, exactly, in hertz; `duty`, the lit part of a period;
    `power_w`, the optical power while lit, as measured where something measures it.
    """

    frequency: Fraction
    duty: float
    power_w: float


@dataclass(frozen=True, slots=True)
class Climate:
    """The gas: degrees Celsius, relative humidity in percent, pascal. None: not known, or too old."""

    temperature_c: float | None = None
    humidity_percent: float | None = None
    pressure_pa: float | None = None


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """A block of sound.

    `samples` is float32 [frames, channels], full scale +-1, read-only; zero frames when the microphone stalled and
    only time moves on. `frame` is the absolute number of the first frame since the stream began, lost frames counted;
    `lost_frames` is how many of those were lost just before this block. `utc_ns` is the wall clock at the first
    frame, None where nobody knows (a recording without a date). `flags` tell what the microphone or laser knows of
    this block; `light` and `climate` are what was read when it came in, None where nothing tells.
    """

    index: int
    frame: int
    rate_hz: int
    samples: Samples
    lost_frames: int = 0
    utc_ns: int | None = None
    flags: Flags = NO_FLAGS
    light: Light | None = None
    climate: Climate | None = None

    @property
    def t_ns(self) -> int:
        """Time of the first frame, nanoseconds since the stream began."""
        return self.frame * 1_000_000_000 // self.rate_hz

    @property
    def end_ns(self) -> int:
        """Time just after the last frame, nanoseconds since the stream began."""
        return (self.frame + len(self.samples)) * 1_000_000_000 // self.rate_hz

    def first_frames(self, frames: int) -> SampleBlock:
        """The block, cut to at most `frames` frames."""
        return self if len(self.samples) <= frames else replace(self, samples=self.samples[:frames])


@dataclass(frozen=True, slots=True)
class Pair:
    """What two microphones say of one tone, each in its own full scale, peak.

    `phasors` (A, B), turned like the lock_in's own phasor; `covariance` of their noise, 2 x 2 complex, its diagonal the
    variance of the real (or imaginary) part; `weights` with which the nodes before the lock_in mix A and B.
    """

    phasors: tuple[complex, complex]
    covariance: tuple[tuple[complex, complex], tuple[complex, complex]]
    weights: tuple[float, float]


@dataclass(frozen=True, slots=True)
class LockInResult:
    """The phasor of the tone at the reference frequency, over one record.

    `in_phase` is the signed projection on the calibrated phase, `quadrature` what is left at right angles (full
    scale, linear, peak); `sigma` is one standard deviation of either, from the noise beside the tone, with `dof`
    degrees of freedom. `t_ns` is the end of the record. `frequency_hz` is the laser's as its own clock has it;
    `clock_offset_ppm` is how much faster that clock runs than the microphone's, None where they are one. Where
    `phase_known` is False the phasor is real, its length that of the signal, and says nothing of a phase. `pair` is
    there where two microphones were combined; `light` and `climate` are those at the record's end.
    """

    node: str
    t_ns: int
    frequency_hz: float
    in_phase: float
    quadrature: float
    sigma: float
    dof: int
    integration_s: float
    flags: Flags = NO_FLAGS
    clock_offset_ppm: float | None = None
    sigma_clock_offset_ppm: float | None = None
    phase_known: bool = True
    pair: Pair | None = None
    light: Light | None = None
    climate: Climate | None = None

    @property
    def valid(self) -> bool:
        """Whether there is a phasor and nothing speaks against it."""
        return math.isfinite(self.in_phase) and not self.flags & INVALIDATING

    @property
    def amplitude(self) -> float:
        """Length of the phasor, full scale, linear."""
        return math.hypot(self.in_phase, self.quadrature)

    @property
    def snr_db(self) -> float:
        """20 log10(amplitude / sigma): the power of the tone over that of the noise in the record's bandwidth."""
        return snr_db(self.amplitude, self.sigma)


@dataclass(frozen=True, slots=True)
class PeakResult:
    """The strongest tone in a band over one record; `valid` is False where there is none above the noise.

    `amplitude` is full scale, linear, peak; `sigma` one standard deviation of it, `sigma_frequency_hz` of the
    frequency. Without a tone, frequency and amplitude are None.
    """

    node: str
    t_ns: int
    frequency_hz: float | None
    sigma_frequency_hz: float | None
    amplitude: float | None
    sigma: float
    dof: int
    integration_s: float
    valid: bool
    flags: Flags = NO_FLAGS

    @property
    def snr_db(self) -> float | None:
        """As LockInResult.snr_db; None without a tone."""
        return None if self.amplitude is None else snr_db(self.amplitude, self.sigma)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Power spectrum: `power` float64 [bins], mean square of a sine in full scale squared, from 0 Hz in `bin_hz`
    steps.
    """

    node: str
    t_ns: int
    bin_hz: float
    power: npt.NDArray[np.float64]
    enbw_bins: float
    averages: int
    flags: Flags = NO_FLAGS


@dataclass(frozen=True, slots=True)
class LevelResult:
    """Loudness over one record: `rms` and `peak`, full scale, linear."""

    node: str
    t_ns: int
    rms: float
    peak: float
    flags: Flags = NO_FLAGS


@dataclass(frozen=True, slots=True)
class Measurement:
    """A concentration with its uncertainty; all values in `unit`.

    `value` is signed and None when there is none to give; `sigma` one standard deviation, `u95` the expanded
    uncertainty with `dof` degrees of freedom, `lod` the limit of detection (three sigma at zero). `smoothed` follows
    the value with less noise, and jumps with it where it jumps; None where there is no value.
    """

    node: str
    t_ns: int
    value: float | None
    sigma: float | None
    u95: float | None
    dof: int
    lod: float | None
    valid: bool
    flags: Flags
    source: LockInResult | PeakResult
    unit: str = "ppm"
    smoothed: float | None = None
    sigma_smoothed: float | None = None


@dataclass(frozen=True, slots=True)
class ResonanceResult:
    """Where the cell's resonance is believed to be: `f0_hz` with one standard deviation, `q`.

    `detuning` is 2 q (f - f0) / f0 of the laser's frequency f. `tune_hz` is the frequency to which the laser should go
    now, None where it is to stay.
    """

    node: str
    t_ns: int
    f0_hz: float
    sigma_f0_hz: float
    q: float
    detuning: float
    tune_hz: float | None = None
    flags: Flags = NO_FLAGS


Result = LockInResult | PeakResult | Spectrum | LevelResult | Measurement | ResonanceResult

Trigger = Literal["concentration", "amplitude", "frequency_deviation", "data_timeout", "custom"]
Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Alert:
    """A change of a rule's state: `state` is raised or cleared. `value` is None when data are missing.

    `told` is what somebody, a customer's script, has to say in words, `message`: it is not raised, and never cleared.
    """

    rule: str
    type: Trigger
    severity: Severity
    state: Literal["raised", "cleared", "told"]
    value: float | None
    threshold: float | None
    source: str
    t_ns: int
    message: str = ""


TELL = "tell"
"""The target of a command that is words for people: `message` and `severity`, of who is in its origin."""


@dataclass(frozen=True, slots=True)
class Command:
    """A wish to change the world: `target` ("laser", "relay/fan", "led/status", "cell"), `verb` ("on", "red", "set").

    `origin` says who asks ("rule:x", "mqtt", "cli"); `reply_to` is the origin's own token for the answer.
    """

    target: str
    verb: str
    args: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    origin: str = ""
    reply_to: Any = None


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a command: `done`, and then `reason` says what is still to come, or refused with the `reason`;
    `state` is the target's state afterwards.
    """

    command: Command
    done: bool
    reason: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The newest result of every node and the alerts that are raised, by node and by rule. Immutable: share freely."""

    results: Mapping[str, Result] = field(default_factory=lambda: MappingProxyType({}))
    alerts: Mapping[str, Alert] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Tick:
    """What one block brought. `state` is the snapshot after it; `t_ns` is the block's end."""

    index: int
    t_ns: int
    utc_ns: int | None
    results: tuple[Result, ...]
    alerts: tuple[Alert, ...]
    commands: tuple[Command, ...]
    state: Snapshot
    lost_frames: int = 0

    def utc_of(self, t_ns: int) -> int | None:
        """Wall clock (nanoseconds since 1970) of stream time `t_ns`; None where nobody knows."""
        return None if self.utc_ns is None else self.utc_ns + (t_ns - self.t_ns)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the outputs made of a tick: an answer per command, and the state of every output, read back. `laser` is the
    interlock's word for the laser ("lit", "tripped"), and why it is dark although it is wanted; `barred`, why it would
    stay dark whatever it is told, "" if it would not.
    """

    results: tuple[CommandResult, ...] = ()
    states: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    laser: tuple[str, str] = ("", "")
    barred: str = ""


def snr_db(amplitude: float, sigma: float) -> float:
    """20 log10(amplitude / sigma), kept within +-300 dB so that zero noise or silence stay finite."""
    if amplitude <= 0.0:
        return -300.0
    if sigma <= 0.0:
        return 300.0
    return max(-300.0, min(300.0, 20.0 * math.log10(amplitude / sigma)))


def iso_utc(utc_ns: int | None) -> str | None:
    """Wall clock time as ISO 8601 in whole milliseconds, 2026-11-22T10:00:03.120Z; None where nobody knows it."""
    if utc_ns is None:
        return None
    ms = utc_ns // 1_000_000
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
