"""The simulated photoacoustic cell: light in, sound out, physics in between.

A laser's light has a harmonic of peak power P1 at the cell's resonance (drivers/modulation.py). The gas absorbs
alpha = c * ABSORPTION of it per centimetre and warms (drivers/gas.py); the cell turns that into pressure
(drivers/resonator.py), the microphone into a number (drivers/pickup.py):

    s = P1 * alpha(c) * CELL_CONSTANT * SENSITIVITY * H(f)            full scale, peak

(Miklos, Hess and Bozoki, Rev. Sci. Instrum. 72 (2001) 1937, on cell constant and resonance.) The sound is
Re(E(n) exp(2 pi j phi(n))), with the phase phi counted in integers from frame 0 and an envelope E that has a closed
form between two changes of laser, gas or air: the samples do not depend on how they are cut into blocks. What changes
by itself (drivers/course.py) does so at fixed frames. After the laser goes dark the sound dies away at the resonance's
own frequency, as it does in a cell. The microphones sit in opposite halves of a standing wave: channel A hears +s,
channel B hears -s; what comes from outside (drivers/noise.py) reaches both alike.

Three constants are round numbers of plausible parts; the fourth, the absorption, is what makes the product
exactly the default graph's calibration: A - B, 12 dB of gain, then ppm = 41000 * amplitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from drivers import noise
from drivers.air import Air
from drivers.course import HOLDS_PER_S, Courses, Walk, change
from drivers.gas import Line, Relaxation
from drivers.modulation import Harmonic, Modulation, Shape, fundamental_w, harmonics
from drivers.noise import Disturbances
from drivers.pickup import CHANNELS, NOISE_DENSITY, Gaps, Loopback, Pickup, highest_order
from drivers.resonator import (
    DESIGN_AIR,
    DESIGN_HZ,
    Overtone,
    Phasors,
    Stretch,
    off_resonance,
    quality_factor,
    resonance_hz,
)
from gateway.errors import CommandRefused
from gateway.types import Command, Samples

CELL_CONSTANT = 2000.0
"""Pa cm / W. Resonant cells have 1e3 to 1e4 (Miklos 2001)."""
SENSITIVITY: float = 10.0 ** (-26.0 / 20.0) / math.sqrt(2.0)
"""Full scale per pascal: the INMP441 gives a tone of -26 dBFS at 94 dB SPL, that is 1 Pa rms."""
AMPLITUDE_PER_PPM: float = 1.0 / (41_000.0 * 2.0 * 10.0 ** (12.0 / 20.0))
"""Full scale per ppm, peak: 3.0634e-6, channel A at resonance, default laser (0.02 W, duty 0.5)."""
MAX_PPM = 1e6
ABSORPTION = AMPLITUDE_PER_PPM / (fundamental_w(0.02, 0.5) * CELL_CONSTANT * SENSITIVITY)
"""1/cm per ppm: 3.39e-6, a line of medium strength at its centre, where it hardly depends on the pressure
(number of molecules and width of the line grow alike). Optically thin up to some percent in a cell of a few
centimetres."""


_STEADY, _QUIET, _PLAIN, _WHOLE = Courses(), Disturbances(), Pickup(), Gaps()


@dataclass(frozen=True, slots=True)
class State:
    """What holds at a moment, courses included: the concentration that is let in, the air, the light relative to what
    the laser is told, and how much faster the laser's clock runs than the ADC's (1 + ppm / 1e6).
    """

    ppm: float
    air: Air
    power: float
    clock: float


class Cell:
    """Gas, resonator and microphones. Make it once and give it to laser and microphone; frames are absolute.

    `background` is what windows and walls add, full scale per watt of P1, a phasor against the laser;
    `saturation_ppm` bends the answer to c / (1 + c / saturation_ppm); `exchange_s` is the time constant with
    which new gas fills the cell (0: at once, else at least 0.1 s); `clock_offset_ppm` is how much faster the
    laser's clock runs than the ADC's, and `clock_wander_ppm` how far that walks in an hour (standard deviation); `bits`
    None leaves out the ADC's rounding. `co2_detunes` lets the concentration itself change the speed of sound (-0.52 Hz
    per 1000 ppm, up to 1 %), as it does when the gas is CO2; otherwise `air.co2_ppm` counts.

    The design air's loudness and Q hold in any air unless `losses` follow the air, the absorption has a `line` and the
    gas a `relaxation`: each by itself, so that a test can tell them apart. `loopback` puts the modulation on a channel.

    What is set before the first sound has been so for ever; later changes ring up and down from the next frame on.
    """

    def __init__(
        self,
        rate_hz: int = 48_000,
        channels: int = 2,
        *,
        ppm: float = 400.0,
        seed: int = 1,
        air: Air = DESIGN_AIR,
        clock_offset_ppm: float = 0.0,
        clock_wander_ppm: float = 0.0,
        noise_density: float = NOISE_DENSITY,
        bits: int | None = 24,
        quality: float = 50.0,
        background: complex = 0j,
        saturation_ppm: float = math.inf,
        exchange_s: float = 0.0,
        co2_detunes: bool = False,
        losses: bool = False,
        line: Line | None = None,
        relaxation: Relaxation | None = None,
        shape: Shape = "fundamental",
        courses: Courses = _STEADY,
        disturbances: Disturbances = _QUIET,
        pickup: Pickup = _PLAIN,
        loopback: Loopback | None = None,
        gaps: Gaps = _WHOLE,
    ) -> None:
        if exchange_s != 0.0 and exchange_s < 0.1:
            raise ValueError(f"exchange_s is {exchange_s}: 0, or at least 0.1 s")
        self.rate_hz, self.channels, self.seed = rate_hz, channels, noise.Seed(seed)
        self._clock = 1 + Fraction(str(clock_offset_ppm)) / 1_000_000
        self._walk = Walk(clock_wander_ppm * 1e-6 / 60.0, self.seed, rate_hz) if clock_wander_ppm else None
        self._noise_density, self._bits, self._quality, self._background = noise_density, bits, quality, background
        self._saturation, self._exchange_s = saturation_ppm, exchange_s
        self._co2_detunes, self._losses, self._line, self._relaxation = co2_detunes, losses, line, relaxation
        self._shape, self._courses, self._disturbances = shape, courses, disturbances
        self._pickup, self._loopback, self._gaps = pickup, loopback, gaps
        self._ppm, self._air, self._light = checked_ppm(ppm), air, Modulation(harmonics(shape, 0.0, 0.5, 1))
        self._next = 0
        self._made: tuple[int, Samples] | None = None
        self._stretches = [self._settled(0)]

    @property
    def ppm(self) -> float:
        """The concentration that was set last."""
        return self._ppm

    @property
    def air(self) -> Air:
        """The state of the gas at the next frame."""
        return self.state(self._next).air

    @property
    def resonance_hz(self) -> float:
        """Frequency of the resonance in the present air."""
        return self._resonance(self.state(self._next))

    @property
    def next_frame(self) -> int:
        """The first frame that has not been heard."""
        return self._next

    def state(self, frame: int) -> State:
        """What holds at a frame, if nothing more is set until then."""
        clock = float(self._clock) * self._wander(frame)
        if not self._courses.moving:
            return State(self._ppm, self._air, 1.0, clock)
        c, air, seconds = self._courses, self._air, frame / self.rate_hz
        moved = replace(
            air,
            temperature_c=air.temperature_c + change(c.temperature_k, seconds),
            humidity_percent=min(max(air.humidity_percent + change(c.humidity_percent, seconds), 0.0), 100.0),
            pressure_pa=air.pressure_pa + change(c.pressure_pa, seconds),
        )
        ppm = min(max(self._ppm + change(c.ppm, seconds), 0.0), MAX_PPM)
        return State(ppm, moved, max(1.0 + change(c.power, seconds), 0.0), clock)

    def set_ppm(self, ppm: float) -> None:
        """Let in gas of this concentration, 0 to 1e6 ppm. Raises ValueError with the reason."""
        self._ppm = checked_ppm(ppm)
        self._change()

    def set_air(self, air: Air) -> None:
        """Change temperature, humidity, pressure or CO2 of the gas, at once."""
        self._air = air
        self._change()

    def set_pickup(self, pickup: Pickup) -> None:
        """Change the microphones from the next frame on: one dies, say."""
        self._pickup, self._made = pickup, None

    def drive(self, frequency: Fraction, duty: float, power_w: float) -> None:
        """Modulate the laser from the next frame on; `power_w` 0 is dark. A new frequency keeps the phase."""
        light = self._light
        if frequency != light.frequency or not light.step:
            hz = frequency * self._clock
            light = Modulation(
                (), frequency, float(hz), noise.step(hz, self.rate_hz), self._next, *self._phase(self._next)
            )
        made = harmonics(self._shape, power_w, duty, highest_order(light.hz, self.rate_hz))
        self._light = replace(light, harmonics=made, duty=duty, lit=power_w > 0.0)
        self._change()

    def lost(self, frame: int, frames: int) -> int:
        """Frames that an overrun loses before the block of `frames` frames at `frame`."""
        return self._gaps.lost(frame, frames, self.rate_hz, self.seed)

    def sound(self, frame: int, frames: int) -> Samples:
        """Samples `frame` to `frame + frames`, float32 [frames, channels], full scale +-1.

        `frame` must not be before the end of the last call (ValueError); it may be later.
        """
        if frame < self._next:
            raise ValueError(f"frame {frame} is over: the next one is {self._next}")
        out = np.empty((frames, self.channels), np.float32)
        done = 0
        while done < frames:
            chunk, start = divmod(frame + done, noise.CHUNK)
            part = self._chunk(chunk)[start : start + frames - done]
            out[done : done + len(part)] = part
            done += len(part)
        self._next = frame + frames
        self._advance(self._next + 1)
        return out

    def _change(self) -> None:
        """Begin a new stretch at the next frame, going on from where the old one is."""
        self._made = None
        settled = self._settled(self._next)
        if self._next > 0:
            settled = next(old for old in reversed(self._stretches) if old.first <= self._next).then(settled)
        self._stretches = [settled]

    def _advance(self, frame: int) -> None:
        """Go on to just before `frame`, stretch by stretch, where something changes by itself. What is over is
        forgotten.
        """
        if not self._courses.moving and self._walk is None:
            return
        hold = self.rate_hz // HOLDS_PER_S
        while (first := (self._stretches[-1].first // hold + 1) * hold) < frame:
            self._stretches.append(self._stretches[-1].then(self._settled(first)))
            if len(self._stretches) > 2 * noise.CHUNK // hold + 8:
                del self._stretches[0]

    def _settled(self, first: int) -> Stretch:
        """The stretch from frame `first` on as it is after everything has died away, in the state of that hold."""
        hold = self.rate_hz // HOLDS_PER_S
        middle = first // hold * hold + hold // 2
        state = self.state(middle)
        f_r = self._resonance(state)
        quality = self._quality * (quality_factor(state.air) if self._losses else 1.0)
        main, *others = self._light.harmonics
        f = self._light.hz * self._wander(middle)
        detuning = 1.0 + 2j * quality * (main.order * f - f_r) / f_r
        gas = state.ppm / (1.0 + state.ppm / self._saturation)
        per_ppm = self._per_ppm(main, state, f)
        return Stretch(
            first=first,
            per_ppm=per_ppm,
            steady=per_ppm * gas / detuning,
            decay=detuning * math.pi * f_r / (quality * self.rate_hz),
            gas=gas,
            exchange=1.0 / (self._exchange_s * self.rate_hz) if self._exchange_s else 0.0,
            direct=self._background * main.direct * state.power,
            overtones=tuple(
                Overtone(
                    self._per_ppm(other, state, f) / off_resonance(other.order * f, f_r, quality),
                    self._background * other.direct * state.power,
                )
                for other in others
            ),
        )

    def _per_ppm(self, light: Harmonic, state: State, hz: float) -> complex:
        """Full scale per ppm at resonance of a harmonic of the light, whose first is at `hz`."""
        per_ppm = light.absorbed * ABSORPTION * CELL_CONSTANT * SENSITIVITY * state.power
        if self._losses:
            per_ppm *= quality_factor(state.air) * float(DESIGN_HZ) / self._resonance(state)
        if self._line:
            per_ppm *= self._line.absorption(state.air)
        if self._relaxation:
            per_ppm *= self._relaxation.response(state.air, light.order * hz)
        return per_ppm

    def _resonance(self, state: State) -> float:
        """Frequency of the resonance in that state."""
        return resonance_hz(replace(state.air, co2_ppm=min(state.ppm, 10_000.0)) if self._co2_detunes else state.air)

    def _wander(self, frame: int) -> float:
        """The laser's clock at a frame, relative to what it is on average."""
        return 1.0 + self._walk.error(frame) if self._walk else 1.0

    def _phase(self, frame: int) -> tuple[float, float]:
        """The laser's phase at a frame, in cycles, [0, 1), and the time that its clock has gained by walking."""
        light = self._light
        gained_s = float(self._walk.time_error(frame, 1)[0]) if self._walk else 0.0
        elapsed = float(light.step * (frame - light.origin) % 1) + light.hz * (gained_s - light.gained_s)
        return (light.phase + elapsed) % 1.0, gained_s

    def _cycles(self, first: int) -> noise.Wave:
        """The laser's phase in cycles from frame `first` on, float64 [CHUNK]."""
        light = self._light
        cycles = noise.cycles(light.step, first - light.origin) + light.phase
        if self._walk:
            cycles += light.hz * (self._walk.time_error(first, noise.CHUNK) - light.gained_s)
        return cycles

    def _chunk(self, chunk: int) -> Samples:
        """All samples of an absolute chunk; those before the present stretch began mean nothing."""
        if self._made is None or self._made[0] != chunk:
            cycles = self._cycles(chunk * noise.CHUNK)
            outside = noise.outside(self._disturbances, self.rate_hz, self.seed, chunk)
            waves = [
                sign * tone + self._pickup.gain(channel) * outside
                for channel, (sign, tone) in enumerate(zip((1.0, -1.0), self._tones(chunk, cycles), strict=False))
            ]
            if self._loopback and self._loopback.channel in CHANNELS[: self.channels]:
                waves[CHANNELS.index(self._loopback.channel)] = self._loopback.wave(self._light, cycles, self.rate_hz)
            for channel, wave in enumerate(waves):
                wave += self._pickup.own_noise(self._noise_density, self.rate_hz, self.seed, channel, chunk)
            self._made = chunk, self._pickup.converted(waves, self._bits, self.seed, chunk)
        return self._made[1]

    def _tones(self, chunk: int, cycles: noise.Wave) -> list[noise.Wave]:
        """What the laser makes each microphone hear, float64 [CHUNK]; B without the standing wave's sign."""
        first = chunk * noise.CHUNK
        self._advance(first + noise.CHUNK)
        tones = [np.zeros(noise.CHUNK) for _ in range(self.channels)]
        for number, harmonic in enumerate(self._light.harmonics):
            phasors = self._phasors(number, first)
            angle = 2.0 * np.pi * (harmonic.order * cycles)
            cosine, sine = np.cos(angle), np.sin(angle)
            for channel, tone in enumerate(tones):
                transfer = self._pickup.transfer(channel, harmonic.order * self._light.hz, self.rate_hz)
                heard = phasors if transfer == 1.0 else phasors * transfer
                tone += heard.real * cosine - heard.imag * sine
        return tones

    def _phasors(self, number: int, first: int) -> Phasors:
        """The phasor of a harmonic of the light from frame `first` on, complex128 [CHUNK]."""
        pieces, last = [], first + noise.CHUNK
        ends = [stretch.first for stretch in self._stretches[1:]] + [last]
        for stretch, end in zip(self._stretches, ends, strict=True):
            if first < min(end, last):
                n = np.arange(first - stretch.first, min(end, last) - stretch.first)
                pieces.append(stretch.phasors(number, np.maximum(n, 0).astype(np.float64)))
                first = min(end, last)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def checked_ppm(ppm: float) -> float:
    """`ppm` itself if a cell can hold it; ValueError with the reason otherwise."""
    if not 0.0 <= ppm <= MAX_PPM:
        raise ValueError(f"{ppm:g} ppm is not a concentration: 0 to {MAX_PPM:.0f} ppm is possible")
    return ppm


class SimulatedCellOutput:
    """The gas inlet of the simulated cell: `cell set {"value": ppm}`."""

    target = "cell"
    verbs: tuple[str, ...] = ("set",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def apply(self, command: Command) -> None:
        """Set the concentration. Raises CommandRefused for anything but a number from 0 to 1e6."""
        if command.verb != "set":
            raise CommandRefused(f"cell cannot {command.verb}", 'It knows set, with a "value" in ppm')
        value = command.args.get("value")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CommandRefused(f"cell set wants a number of ppm, not {value!r}", 'Send {"value": 400}')
        try:
            self._cell.set_ppm(float(value))
        except (ValueError, OverflowError) as error:
            raise CommandRefused(f"cell set: {error}", f"Send 0 to {MAX_PPM:.0f}") from None

    def read(self) -> str:
        """The concentration that was set, in ppm: "400.0"."""
        return str(self._cell.ppm)

    def step(self, t_ns: int) -> None:
        """Nothing goes on by itself."""

    def make_safe(self) -> None:
        """Gas in a simulation harms nobody: nothing to do."""

    def close(self) -> None:
        """Nothing to give back."""
