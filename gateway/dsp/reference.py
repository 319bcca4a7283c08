"""How a record's phasors are turned to the laser's phase.

Three ways. Where one clock drives laser and microphone there is nothing to turn, only to notice if that is not so.
Where the modulation comes in on a channel of its own, its phase is taken off, as a lock-in does with its reference
input. Where nothing tells the phase, the microphone's own tone does: a frequency from the last minute says what phase
the next record has, so that the record is projected, not taken by its magnitude, which noise would raise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gateway.dsp.demodulator import Phasors
from gateway.dsp.tracker import MEANS, Line, Reals, fit_line, turns


@dataclass(frozen=True, slots=True)
class Aligned:
    """`turn` complex128 [sub-blocks]: multiplied by it, the record stands still against the laser's phase.

    `offset_hz` is how far the laser's tone is from where it was demodulated, with one standard deviation; None where
    laser and microphone have one clock, or where it is not known. `locked` False: nothing tells the phase, or what
    tells it is lost. `phase_known` False: the record is turned so that the signal is real, and its phase says nothing;
    if it is not locked either, it is turned by its own phase, noise and all, and only its magnitude says something.
    """

    turn: Phasors
    offset_hz: float | None
    sigma_offset_hz: float | None
    locked: bool
    phase_known: bool


class PhaseReference(Protocol):
    """What turns records, which come in order."""

    def align(self, z: Phasors, start_s: float) -> Aligned:
        """`z` complex128 [sub-blocks, channels], at least 6 sub-blocks, demodulated at the nominal frequency, without
        the tones' images; the first began at `start_s`.
        """
        ...

    def restart(self) -> None:
        """The laser was lit, or its frequency changed: its phase before says nothing about its phase from here on."""
        ...


def debiased(magnitude: float, sigma: float) -> float:
    """sqrt(max(0, R^2 - 2 sigma^2)): a magnitude without what noise adds to its square, `sigma` that of one part."""
    return math.sqrt(max(0.0, magnitude**2 - 2.0 * sigma**2))


def _told(line: Line | None) -> tuple[float | None, float | None]:
    """The offset and its sigma, where there is a line."""
    return (None, None) if line is None else (line.offset_hz, line.sigma_offset_hz)


def _times(z: Phasors, start_s: float, sub_block_s: float) -> Reals:
    """The middles of the sub-blocks, seconds."""
    return np.asarray(start_s + (np.arange(len(z)) + 0.5) * sub_block_s)


def _without_knocks(still: Phasors) -> Phasors:
    """Phasors that stand still, those farther than 6 sigma from their median put there."""
    middle = complex(float(np.median(still.real)), float(np.median(still.imag)))
    away = np.abs(still - middle)
    # the median of a Rayleigh distribution is 1.18 sigma
    return np.where(away > 6.0 / 1.18 * float(np.median(away)), middle, still)


class SameCodec:
    """Laser and microphone on one clock: nothing to turn, and a watch for clocks that are two.

    With two clocks the microphone's phasor turns and turns. What gas, background and temperature do is different: gas
    moves the phasor along a straight line, which seen from the origin is less than half a turn, and the cell's
    resonance turns it by a quarter to either side, slowly. So there are two clocks where the phasor turned by more than
    HALF_TURN from record to record, faster than SLOWEST, or by an eighth of a turn within a record while its magnitude
    stood still. Either is believed for three times as long as a turn by HALF_TURN took.
    """

    STATE = ("_doubted_until_s", "_last_s", "_last_phase", "_last_hz", "_since_s", "_turned")
    GOOD = 6.0
    HALF_TURN = math.radians(200.0)
    SLOWEST = math.radians(0.5)

    def __init__(self, mix: Reals, sub_block_s: float, width_hz: float) -> None:
        """`mix` float64 [channels]: how the signal is made of the channels; offsets up to `width_hz` are noticed."""
        self._mix, self._sub_block_s, self._width_hz = mix, sub_block_s, width_hz
        self._doubted_until_s = -math.inf
        self.restart()

    def restart(self) -> None:
        """See PhaseReference."""
        self._last_s, self._last_phase, self._last_hz = -math.inf, 0.0, 0.0
        self._since_s, self._turned = -math.inf, 0.0

    def align(self, z: Phasors, start_s: float) -> Aligned:
        """See PhaseReference."""
        signal, record_s = z @ self._mix, len(z) * self._sub_block_s
        turn = np.ones(len(z), np.complex128)
        still = _still(signal)
        if still is not None and start_s > self._doubted_until_s:
            self._watch(start_s + record_s / 2.0, still, 0.0, record_s, None)
            return Aligned(turn, None, None, True, True)
        line = fit_line(_times(z, start_s, self._sub_block_s), signal, self._sub_block_s, self._width_hz)
        good = line.snr >= self.GOOD
        if good:
            took_s = self.HALF_TURN / (2.0 * math.pi * abs(line.offset_hz)) if _turning(line, record_s) else None
            self._watch(line.centre_s, line.phase, line.offset_hz, record_s, took_s)
        else:
            self.restart()
        if line.centre_s > self._doubted_until_s:
            return Aligned(turn, None, None, True, True)
        return Aligned(turn, *_told(line if good else None), False, True)

    def _watch(self, now_s: float, phase: float, offset_hz: float, record_s: float, took_s: float | None) -> None:
        """Go on to a record whose middle is `now_s`; `took_s`: how long HALF_TURN takes, where it visibly turns."""
        gap = now_s - self._last_s > 1.5 * record_s
        expected = 0.0 if gap else math.pi * (self._last_hz + offset_hz) * (now_s - self._last_s)
        self._turned += expected + math.remainder(phase - self._last_phase - expected, 2.0 * math.pi)
        self._last_s, self._last_phase, self._last_hz = now_s, phase, offset_hz
        slow = now_s - self._since_s > self.HALF_TURN / self.SLOWEST
        if took_s is not None:
            self._doubt(now_s, took_s)
        elif not gap and not slow and abs(self._turned) > self.HALF_TURN:
            self._doubt(now_s, now_s - self._since_s)
        elif not gap and not slow:
            return
        self._since_s, self._turned = now_s, 0.0

    def _doubt(self, now_s: float, took_s: float) -> None:
        self._doubted_until_s = max(self._doubted_until_s, now_s + 3.0 * took_s)


def _still(signal: Phasors) -> float | None:
    """The phase of a record whose quarters agree to a tenth, radians; None where they do not, or it is too short."""
    quarter = len(signal) // 4
    if quarter < 2:
        return None
    parts = signal[: 4 * quarter].reshape(4, quarter).sum(axis=1).tolist()
    whole = sum(parts)
    if not all(abs(4.0 * part - whole) < 0.1 * abs(whole) for part in parts):
        return None
    return math.atan2(whole.imag, whole.real)


def _turning(line: Line, record_s: float) -> bool:
    """The record turns by an eighth of a turn or more at a steady rate and magnitude, beyond any doubt by noise."""
    clear = abs(line.offset_hz) * record_s > 0.125 and abs(line.offset_hz) > 20.0 * line.sigma_offset_hz
    return clear and line.ripple() < 0.02 + 0.8 * math.sqrt(MEANS) / line.snr


class Loopback:
    """The modulation comes in on an ADC channel: its phase is taken off the record.

    Its phase is a straight line over a second or less, for longer records one for each second, and the line's noise is
    a hundred times less than that of a sub-block. It is missing where its signal-to-noise ratio in a sub-block is below
    20 dB, or where it has less than a fifth of the level that it had when it was last there.
    """

    STATE = ("_level",)
    PIECE_S = 1.0
    SNR = 10.0
    PART = 0.2

    def __init__(self, channel: int, harmonic: int, sub_block_s: float, width_hz: float) -> None:
        """`channel`, demodulated at the modulation's frequency, carries it; the others are at `harmonic` times this."""
        self._channel, self._harmonic = channel, harmonic
        self._sub_block_s, self._width_hz = sub_block_s, width_hz
        self._level = 0.0

    def restart(self) -> None:
        """See PhaseReference."""
        self._level = 0.0

    def align(self, z: Phasors, start_s: float) -> Aligned:
        """See PhaseReference."""
        t, reference = _times(z, start_s, self._sub_block_s), z[:, self._channel]
        pieces = math.ceil(len(z) * self._sub_block_s / self.PIECE_S - 0.1)
        parts = list(zip(np.array_split(t, max(1, pieces)), np.array_split(reference, max(1, pieces)), strict=True))
        lines = [fit_line(*part, self._sub_block_s, self._width_hz) for part in parts]
        if not all(line.snr >= self.SNR * math.sqrt(line.count) for line in lines):
            return Aligned(np.ones(len(z), np.complex128), None, None, False, True)
        level = max(line.amplitude for line in lines)
        if float(np.abs(reference).min()) < self.PART * max(level, self._level):
            return Aligned(np.ones(len(z), np.complex128), None, None, False, True)
        self._level = level
        whole = lines[0] if len(lines) == 1 else fit_line(t, reference, self._sub_block_s, self._width_hz)
        phase = np.concatenate([line.phase_at(part[0]) for line, part in zip(lines, parts, strict=True)])
        offset = self._harmonic * whole.offset_hz
        turn = np.exp(-1j * self._harmonic * phase) / np.sinc(offset * self._sub_block_s)
        return Aligned(np.asarray(turn), offset, self._harmonic * whole.sigma_offset_hz, True, True)


class Free:
    """Two clocks and nothing between them: the microphone's own tone is tracked.

    The last minute gives the frequency; of it, as much as the phase needs gives the phase of the next record, which is
    turned by it before it joins the window: its own noise has no part in its turn, so the projection is signed and
    unbiased (the factor exp(-var / 2), by which the error of the phase shortens it, is known). A record that stands
    across what was predicted by more than 6 sigma and a milliradian, as when background and gas differ in phase,
    ends the window. Locked is what has a signal-to-noise ratio of LOCK in its window and a phase known to WORST_PHASE.
    """

    STATE = ("_t", "_y", "_record_s")
    WINDOW_S = 60.0
    FOUND, LOCK = 7.0, 10.0
    SIGMA_PHASE = 0.03
    WORST_PHASE = 0.2
    SURPRISE, HARMLESS = 6.0, 1e-3

    def __init__(self, mix: Reals, sub_block_s: float, width_hz: float) -> None:
        """`mix` float64 [channels]: how the signal is made of the channels; the tone is within `width_hz`."""
        self._mix, self._sub_block_s, self._width_hz = mix, sub_block_s, width_hz
        self.restart()

    def restart(self) -> None:
        """See PhaseReference."""
        self._t, self._y, self._record_s = np.empty(0), np.empty(0, np.complex128), 0.0
        self._whole: Line | None = None
        self._line: Line | None = None

    def restored(self) -> None:
        """The window was put in from a saved state."""
        if len(self._t):
            self._fit()

    def align(self, z: Phasors, start_s: float) -> Aligned:
        """See PhaseReference."""
        t, y = _times(z, start_s, self._sub_block_s), z @ self._mix
        line = self._line
        sigma_phase = math.inf if line is None else line.sigma_phase(float(t.mean()))
        if line is not None and sigma_phase <= self.WORST_PHASE:
            stop = np.exp(-1j * line.phase_at(t))
            still = _without_knocks(y * stop)
            y = still * stop.conj()
            across = float(np.mean(still.imag))
            noise = line.sigma * math.sqrt(line.count * 2 / len(y))
            if abs(across) <= self.SURPRISE * math.hypot(noise, line.amplitude * max(sigma_phase, self.HARMLESS)):
                self._learn(t, y)
                turn = np.exp(-1j * line.phase_at(t) + sigma_phase**2 / 2.0)
                return self._aligned(turn, line.offset_hz, True)
            self.restart()
        self._learn(t, y)
        whole = self._whole
        offset = whole.offset_hz if whole is not None and whole.snr >= self.FOUND else 0.0
        turn = turns(offset, t)
        return self._aligned(turn * np.exp(-1j * np.angle(np.mean(y * turn))), offset, False)

    def _aligned(self, turn: Phasors, offset_hz: float, locked: bool) -> Aligned:
        found = self._whole if self._whole is not None and self._whole.snr >= self.FOUND else None
        return Aligned(np.asarray(turn / np.sinc(offset_hz * self._sub_block_s)), *_told(found), locked, False)

    def _learn(self, t: Reals, y: Phasors) -> None:
        """Put a record into the window, two sub-blocks in one, and fit anew."""
        pairs = len(t) // 2
        t, y = t[: 2 * pairs].reshape(pairs, 2).mean(axis=1), y[: 2 * pairs].reshape(pairs, 2).mean(axis=1)
        self._record_s = 2 * pairs * self._sub_block_s
        kept = self._t > t[-1] - max(self.WINDOW_S, self._record_s)
        self._t, self._y = np.concatenate((self._t[kept], t)), np.concatenate((self._y[kept], y))
        self._fit()

    def _fit(self) -> None:
        """Fit the window, and so much of its end that the next record's phase is known to SIGMA_PHASE."""
        t, step_s = self._t, 2.0 * self._sub_block_s
        whole = fit_line(t, self._y, step_s, self._width_hz)
        self._whole, self._line = whole, whole if whole.snr >= self.LOCK else None
        if self._line is None:
            return
        window_s = float(t[-1] - t[0])
        length_s = max(window_s * (2.0 / (self.SIGMA_PHASE * whole.snr)) ** 2, 3.0 * self._record_s)
        if length_s < 0.8 * window_s:
            last = t > t[-1] - length_s
            short = fit_line(t[last], self._y[last], step_s, 0.0, whole.offset_hz)
            if short.sigma_phase(float(t[-1]) + self._record_s / 2.0) <= 2.0 * self.SIGMA_PHASE:
                self._line = short
