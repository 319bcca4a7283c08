"""The laser's modulation, played by the codec that listens: one clock makes both, so the frequency is exact.

The wave is a sine about zero, the only shape that a codec's AC-coupled output and its reconstruction filter hand on as
it is, and the one whose edges do not lie on the grid of samples: a driver with an analogue input follows it about its
bias, a comparator makes of it a square wave of the duty that its threshold sets. Dark is no sound at all: the device is
stopped, and what it has not played yet is dropped.

The phase is counted in integers, as in gateway.dsp.demodulator: with f = p/q the phase at frame n is a fraction of
q fs, so it does not drift; a table over one buffer makes the sine of it with one complex rotation. A retune goes on
from the phase of the next frame to be written, at most BUFFER_S ahead of what sounds.

When it is lit the amplitude rises over the ramp, and with it the light's power.

Between playback and capture the phase is constant as long as the device runs, and anew at each start, that is whenever
the laser is lit (docs/decisions/0007-playback.md).

The device is fed by the event loop, without waiting, and holds BUFFER_S at most: if the loop hangs, the laser goes dark
by itself. That is an underrun; it is counted, and the laser stays dark for so long that a block is flagged laser_off
before it is lit again. The watch makes the laser safe from its own thread, hence the lock.
"""

from __future__ import annotations

import asyncio
import cmath
import contextlib
import logging
import math
import select
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from drivers.alsa import Playback
from drivers.laser import Ramp, tunable
from gateway.errors import CommandRefused, DeviceError
from gateway.types import Command, Light

log = logging.getLogger("spectrophone.laser")

PERIOD_S = 0.01
"""How often the device asks for more."""
BUFFER_S = 0.06
"""The most that it holds: how long the event loop may be busy, how late a retune sounds."""
_FINEST = 1 << 60


def buffer_frames(rate_hz: int) -> int:
    """The most that the device holds, in frames: a whole number of periods."""
    return period_frames(rate_hz) * round(BUFFER_S / PERIOD_S)


def period_frames(rate_hz: int) -> int:
    """How many frames the device asks for at a time."""
    return round(rate_hz * PERIOD_S)


class Sine:
    """sin(2 pi f n / fs) of the frames to come, at most `most` at a time; f may change, the phase goes on."""

    def __init__(self, rate_hz: int, frequency: Fraction, most: int, gains: Sequence[float]) -> None:
        """`frequency` in hertz, exact; `gains`: the amplitude on each channel, full scale 1."""
        self._rate_hz, self._most, self._gains = rate_hz, most, np.array(gains)
        self._turns = Fraction(0)
        self.tune(frequency)

    def tune(self, frequency: Fraction) -> None:
        """Another frequency from the next frame on. The phase is kept to 2^-60 turns, or its denominator would grow."""
        self._turns = Fraction(round(self._turns * _FINEST), _FINEST)
        self._step = frequency / self._rate_hz % 1
        wave = np.exp(2j * np.pi * (float(self._step) * np.arange(self._most) % 1.0))
        self._table = np.outer(wave, self._gains)

    def next(self, frames: int) -> npt.NDArray[np.float64]:
        """The next `frames` frames, float64 [frames, channels]; the same again until advance()."""
        return np.asarray((self._table[:frames] * cmath.exp(2j * math.pi * float(self._turns))).imag)

    def advance(self, frames: int) -> None:
        """`frames` frames have been taken."""
        self._turns = (self._turns + self._step * frames) % 1

    def restart(self) -> None:
        """Begin with phase 0."""
        self._turns = Fraction(0)


class PlaybackLaser:
    """A laser behind a codec's output: target "laser", verbs on, off and tune, as drivers.laser.SimulatedLaser has
    them. Dark at first. Made where an event loop runs, which feeds it; every method may be called from any thread.

    `underruns` counts how often the device ran dry while lit. Raises DeviceError for one that cannot be waited for.
    """

    target = "laser"
    verbs: tuple[str, ...] = ("on", "off", "tune")

    def __init__(
        self,
        player: Playback,
        rate_hz: int,
        gains: Sequence[float],
        light: Light,
        dark_s: float,
        ramp_s: float = 0.0,
    ) -> None:
        """`gains`: the sine's amplitude on each channel, full scale 1. `light` as the configuration has it. `dark_s`:
        how long the laser stays dark after an underrun; more than a block of sound.
        """
        self.underruns = 0
        self._player, self._light = player, light
        self._rate_hz, self._most = rate_hz, buffer_frames(rate_hz)
        self._sine = Sine(rate_hz, light.frequency, self._most, gains)
        self._dark_s, self._ramp = dark_s, Ramp(ramp_s)
        self._lit = self._held = self._fed = False
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._feed()
        self._starve()

    def apply(self, command: Command) -> None:
        """Light, darken or tune it. Raises CommandRefused as SimulatedLaser does and for what the codec cannot play,
        DeviceError if the device is gone.
        """
        if command.verb == "tune":
            self._tune(tunable(command.args.get("frequency_hz")))
        elif command.verb == "on":
            with self._lock:
                self._lit = True
                if not self._held and not self._player.running:
                    self._begin()
        elif command.verb == "off":
            self.make_safe()
        else:
            raise CommandRefused(f"laser cannot {command.verb}", "It knows on, off and tune")

    @property
    def light(self) -> Light:
        """How the laser is modulated, whether lit or not; a new frequency sounds after BUFFER_S at most."""
        return replace(self._light, power_w=self._light.power_w * self._ramp.reached)

    def read(self) -> str:
        """What is played: "on" or "off"."""
        with self._lock:
            return "on" if self._lit and self._player.running else "off"

    def step(self, t_ns: int) -> None:
        """Go on with the ramp; it sounds after BUFFER_S at most."""
        with self._lock:
            self._ramp.step(t_ns)

    def make_safe(self) -> None:
        """Off at once: what was not played yet is never played."""
        with self._lock:
            self._lit = False
            self._ramp.end()
            self._player.drop()
        self._soon(self._settle)

    def close(self) -> None:
        """Off for good; may be called twice."""
        self.make_safe()
        with self._lock:
            self._player.close()

    def _tune(self, frequency: Fraction) -> None:
        if 2 * frequency >= self._rate_hz:
            message = f"laser tune: {float(frequency):g} Hz is not below half the sample rate"
            raise CommandRefused(message, f"Send less than {self._rate_hz // 2}")
        with self._lock:
            self._sine.tune(frequency)
            self._light = replace(self._light, frequency=frequency)

    def _begin(self) -> None:
        """Start the device with a full buffer. The lock is held."""
        self._sine.restart()
        self._ramp.begin()
        try:
            self._write(self._most)
        except DeviceError:
            self._lit = False
            self._ramp.end()
            raise
        self._soon(self._settle)

    def _write(self, frames: int) -> None:
        sound = self._ramp.reached * self._sine.next(min(frames, self._most))
        self._sine.advance(self._player.write(sound))

    def _ready(self) -> None:
        """The device asks for more, or has run dry, or is to be left alone."""
        with self._lock:
            if self._lit and not self._held:
                try:
                    self._refill()
                except DeviceError as fault:
                    self._lit = False
                    log.error("laser off: %s", fault)
        self._settle()

    def _refill(self) -> None:
        if not self._player.running:
            self._ran_dry()
        elif free := self._player.free():
            self._write(free)

    def _ran_dry(self) -> None:
        """Stay dark, so that a block tells it. What the device plays next has another phase."""
        self.underruns += 1
        self._held = True
        self._player.drop()
        self._loop.call_later(self._dark_s, self._resume)
        log.warning("laser dark for %g s: its output ran dry, because the event loop was busy", self._dark_s)

    def _resume(self) -> None:
        with self._lock:
            self._held = False
            if not self._lit:
                return
            try:
                self._begin()
            except DeviceError as fault:
                log.error("laser off: %s", fault)

    def _settle(self) -> None:
        """Let the event loop look after the device while it plays, and only then."""
        if self._lit and not self._held:
            self._feed()
        else:
            self._starve()

    def _feed(self) -> None:
        if self._fed:
            return
        try:
            for descriptor, events in self._player.descriptors:
                add = self._loop.add_writer if events & select.POLLOUT else self._loop.add_reader
                add(descriptor, self._ready)
        except PermissionError:
            raise DeviceError(
                f"laser's output {self._player.device} cannot be waited for: it is not a real device",
                "ALSA's null and file devices have no clock: choose another",
            ) from None
        self._fed = True

    def _starve(self) -> None:
        for descriptor, _ in self._player.descriptors if self._fed else ():
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)
        self._fed = False

    def _soon(self, do: Callable[[], None]) -> None:
        """Do it in the event loop, if that still runs."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(do)
