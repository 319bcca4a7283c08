"""The digital twin: the sound of one scenario, block by block, with the truth that belongs to it.

Tones are carried out by one matrix product: an envelope, steady for 10 ms, times a table of its cosine and sine. The
resonator's ringing (8 ms) is taken to be over. Time is counted in frames of the ADC, those that were lost included.

With every block comes the error that the best unbiased reading would make of its noise (the matched filter with the
true covariance, bench/precision/world.py). Its mean square is the bound; subtracting it from an estimator's error
leaves what the estimator does worse, with little left of the luck of the draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from bench.precision import world as physics
from bench.precision.world import RATE_HZ, SIGNAL, Phasors, Wave, World

SUB = 480
"""Frames during which an envelope is steady: 10 ms."""
_HARMONICS_OF_HUM = 60
_KNOCK_FRAMES = 480


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a frame: "impulse", "lost_samples" or "overload"."""

    frame: int
    name: str


@dataclass(frozen=True, slots=True)
class Block:
    """Sound, float64 [frames, channels], full scale +-1, after `lost_frames` that nobody heard; and the truth.

    `ppm` and `luck_ppm` (the matched filter's error) are of each 10 ms [frames / SUB], `bound_ppm` is for one second.
    `drive_hz`, `power` and `temperature_c` are what a perfect sensor would tell of the block.
    """

    frame: int
    lost_frames: int
    samples: Wave
    ppm: Wave
    luck_ppm: Wave
    bound_ppm: float
    events: tuple[Event, ...]
    drive_hz: float
    power: float
    temperature_c: float


@lru_cache(maxsize=64)
def _carriers(turns: tuple[float, ...]) -> Wave:
    """Cosines, then negative sines, of tones of so many turns per frame, float64 [2 tones, SUB]."""
    phase = 2.0 * np.pi * np.outer(turns, np.arange(SUB))
    return np.concatenate((np.cos(phase), -np.sin(phase)))


def carry(envelopes: Phasors, turns: tuple[float, ...]) -> Wave:
    """Sum of Re(envelope exp(2 pi j turns n)): envelopes complex128 [sub-blocks, tones], result [sub-blocks SUB].

    The envelope holds the phase at its sub-block's first frame.
    """
    return (np.concatenate((envelopes.real, envelopes.imag), axis=1) @ _carriers(turns)).ravel()


def recorded_drive(cycles: Wave, turns: float) -> Wave:
    """A square wave of so many turns per frame, its harmonics above half the sample rate filtered out; `cycles`
    [sub-blocks] is its phase at their first frames. Float64 [sub-blocks SUB].
    """
    orders = np.arange(1, 12, 2)
    weights = 0.4 * np.sin(np.pi * orders / 2) / orders
    return carry(
        weights * np.exp(2j * np.pi * np.outer(cycles, orders)), tuple(order * turns for order in orders.tolist())
    )


class Twin:
    """The sound of `world`; the same seed gives the same sound, whatever is tuned."""

    def __init__(self, world: World, seed: np.random.SeedSequence) -> None:
        self.world = self._told = world
        self._rng = np.random.default_rng(seed)
        self._frame = 0
        self._drive_hz = world.drive_hz
        self._origin, self._cycles = 0, 0.0
        self._next_loss = world.lost_every_s * RATE_HZ
        self._hum_phases = self._rng.uniform(0.0, 2.0 * np.pi, _HARMONICS_OF_HUM)
        self._taps = _two_taps(world.b_gain)
        self._before = [0.0, 0.0]

    def tune(self, drive_hz: float) -> None:
        """Modulate the laser at another frequency from the next block on; its phase goes on."""
        self._cycles = float(self._cycles_at(np.array(float(self._frame))))
        self._origin, self._drive_hz = self._frame, drive_hz

    def deviate(self, temperature_k: float, power: float) -> None:
        """Make the truth differ from what is told, by so many kelvin and that part of the power."""
        warmer = replace(self._told.temperature_c, value=self._told.temperature_c.value + temperature_k)
        brighter = replace(self._told.power, value=self._told.power.value * (1.0 + power))
        self.world = replace(self._told, temperature_c=warmer, power=brighter)

    def block(self, sub_blocks: int = 10) -> Block:
        """The next `sub_blocks` times 10 ms."""
        lost = self._lost()
        starts = np.asarray(self._frame + SUB * np.arange(sub_blocks), np.float64)
        t_s = (starts + SUB / 2) / RATE_HZ
        cycles = self._cycles_at(starts)
        outside, events = self._outside(starts)
        gas = self._gas(cycles, t_s)
        common = self._white(len(gas)) * self.world.common if self.world.common else np.zeros(len(gas))
        clean = [gas + outside[0], self._heard_by_b(outside[1] - gas, 0)]
        noise = [self._white(len(gas)) + common, self._white(len(gas)) + self._heard_by_b(common, 1)]
        if self.world.loopback:
            clean[1], noise[1] = recorded_drive(cycles, self._turns()), noise[1] - self._heard_by_b(common, 1)
        exact = np.stack(clean[: self.world.channels], axis=1)
        analogue = exact + np.stack(noise[: self.world.channels], axis=1)
        if self.world.b_dead:
            exact[:, 1] = analogue[:, 1] = 0.0
        samples = _rounded(analogue, self.world.bits)
        if np.abs(analogue).max() >= 1.0:
            events = (*events, Event(int(starts[0]), "overload"))
        luck, bound = self._luck(samples - exact, cycles, float(t_s.mean()))
        made = Block(
            self._frame,
            lost,
            samples,
            self.world.ppm.at(t_s),
            luck,
            bound,
            (Event(self._frame - lost, "lost_samples"), *events) if lost else events,
            self._drive_hz,
            float(self._told.power.at(t_s).mean()),
            float(self._told.temperature_c.at(t_s).mean()),
        )
        self._frame += SUB * sub_blocks
        return made

    def _turns(self) -> float:
        """Turns of the drive per frame of the ADC, whose clock is the one that is off: the laser is where it says."""
        return self._drive_hz * (1.0 + 1e-6 * self.world.clock_ppm) / RATE_HZ

    def _cycles_at(self, frame: Wave) -> Wave:
        return (self._cycles + self._turns() * (frame - self._origin)) % 1.0

    def _lost(self) -> int:
        if self._frame < self._next_loss:
            return 0
        self._next_loss += self.world.lost_every_s * RATE_HZ
        self._frame += self.world.lost_frames
        return self.world.lost_frames

    def _gas(self, cycles: Wave, t_s: Wave) -> Wave:
        """What the light makes microphone A hear, its harmonics with it."""
        world, turns = self.world, self._turns()
        wavelength = world.harmonic == 2
        orders = (1, 2) if wavelength else (1, 2, 3, 5, 7)
        main = physics.gas_phasor(world, world.harmonic * self._drive_hz, t_s)
        power = world.power.at(t_s)
        columns = []
        for order in orders:
            if order == world.harmonic:
                column = main
            elif wavelength:
                column = np.asarray(power * world.ram * physics.PER_PPM, np.complex128)
            else:
                over = physics.fundamental(power, world.duty, order) / physics.fundamental(power, world.duty)
                h = physics.response(order * self._drive_hz, world.temperature_c.at(t_s))
                column = np.asarray(main * over * h, np.complex128)
            columns.append(column * np.exp(2j * np.pi * order * cycles))
        return carry(np.stack(columns, axis=1), tuple(order * turns for order in orders))

    def _outside(self, starts: Wave) -> tuple[list[Wave], tuple[Event, ...]]:
        """Hum, a tone and knocks, as they reach the two microphones, and the knocks as events."""
        world = self.world
        sound = np.zeros(len(starts) * SUB)
        if world.hum:
            orders = np.arange(1, _HARMONICS_OF_HUM + 1)
            turns = orders * world.hum_hz / RATE_HZ
            phases = 2.0 * np.pi * np.outer(starts, turns) + self._hum_phases
            sound += carry(world.hum * SIGNAL / math.sqrt(len(orders)) * np.exp(1j * phases), tuple(turns.tolist()))
        if world.tone:
            turn = (world.drive_hz * world.harmonic + world.tone_offset_hz) / RATE_HZ
            sound += carry(world.tone * SIGNAL * np.exp(2j * np.pi * turn * starts)[:, None], (turn,))
        if not world.knocks_per_s:
            return [sound, sound], ()
        knocks, events = self._knocks(len(sound), int(starts[0]))
        return [sound + knocks, sound + 0.7 * knocks], events

    def _knocks(self, frames: int, first: int) -> tuple[Wave, tuple[Event, ...]]:
        """Damped tones of 1 to 3 kHz at random times; none goes on into the next block."""
        sound, events = np.zeros(frames), []
        t_s = np.arange(_KNOCK_FRAMES) / RATE_HZ
        for _ in range(self._rng.poisson(self.world.knocks_per_s * frames / RATE_HZ)):
            start = int(self._rng.integers(frames - _KNOCK_FRAMES + 1))
            wave = np.exp(-t_s / 1e-3) * np.cos(2.0 * np.pi * self._rng.uniform(1e3, 3e3) * t_s)
            sound[start : start + _KNOCK_FRAMES] += self.world.knock * SIGNAL * wave
            events.append(Event(first + start, "impulse"))
        return sound, tuple(events)

    def _white(self, frames: int) -> Wave:
        return self._rng.standard_normal(frames) * (physics.MIC_DENSITY * math.sqrt(RATE_HZ / 2.0))

    def _heard_by_b(self, sound: Wave, which: int) -> Wave:
        """`sound` with microphone B's gain and phase; `which` of two streams it belongs to."""
        now, past = self._taps
        delayed = np.concatenate(([self._before[which]], sound[:-1]))
        self._before[which] = float(sound[-1])
        return now * sound + past * delayed

    def _luck(self, noise: Wave, cycles: Wave, t_s: float) -> tuple[Wave, float]:
        """The matched filter's error of every sub-block, ppm, and the bound."""
        turns = self._turns() * self.world.harmonic
        weights, bound = physics.best_weights(self.world, turns * RATE_HZ, t_s)
        heard = noise[:, : len(weights)].reshape(len(cycles), SUB, len(weights))
        wave = _carriers((turns,))
        z = 2.0 / SUB * (np.tensordot(heard, wave[0], (1, 0)) + 1j * np.tensordot(heard, wave[1], (1, 0)))
        turned = z * np.exp(-2j * np.pi * self.world.harmonic * cycles)[:, None]
        return (turned @ weights.conj()).real, bound


def _two_taps(gain: complex) -> tuple[float, float]:
    """The filter a0 + a1 z^-1 that has this complex gain at the resonance."""
    angle = 2.0 * math.pi * physics.RESONANCE_HZ / RATE_HZ
    past = -gain.imag / math.sin(angle)
    return gain.real - past * math.cos(angle), past


def _rounded(sound: Wave, bits: int) -> Wave:
    """What an ADC of `bits` makes of it."""
    steps = 2.0 ** (bits - 1)
    return np.clip(np.rint(sound * steps), -steps, steps - 1.0) / steps
