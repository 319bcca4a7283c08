"""The pickup of the simulated cell: two microphones and the ADC, or one microphone and the laser's modulation.

A microphone makes of a tone of frequency f its own tone, by

    gain exp(j phase)                    of B against A: sensitivity, and place in the standing wave
    1 / (1 - j f_c / f)                  AC coupling, a first-order high-pass with its corner at f_c
    exp(-2 pi j f d / rate)              a digital filter that takes d frames: 17.2 in an INMP441 (data sheet)

The laser's sound is such a tone, slowly varying: the delay is a phase and moves no envelope (0.4 ms). Sound from
outside takes the gain only, hum and noise below the coupling's corner included. Then come the microphone's own noise,
an offset, and the ADC: dither (triangular, two steps wide: Lipshitz, Wannamaker and Vanderkooy, J. Audio Eng. Soc. 40
(1992) 355), rounding to the word, clipping at full scale.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from drivers import noise
from drivers.modulation import Modulation
from gateway.types import Samples

NOISE_DENSITY = 3.2e-7
"""Full scale / sqrt(Hz), one-sided, of each microphone: -87 dBFS over 20 kHz (INMP441 data sheet)."""
CHANNELS = ("a", "b")
DITHER, GAPS = 48, 56
"""First stream numbers of the dither (one per channel) and of the lost frames."""


@dataclass(frozen=True, slots=True)
class Pickup:
    """Microphones and ADC as they are made; levels in full scale.

    `gain_b` and `phase_b_deg` are B's against A; `flicker_hz` is where 1/f noise is as loud as the white noise (0:
    none); `coupling_hz` the corner of the AC coupling (0: none), `delay_frames` the delay of a digital filter. The
    `dead` microphone reads `stuck_at`, whatever happens.
    """

    gain_b: float = 1.0
    phase_b_deg: float = 0.0
    flicker_hz: float = 0.0
    coupling_hz: float = 0.0
    delay_frames: float = 0.0
    offset: float = 0.0
    dead: Literal["a", "b"] | None = None
    stuck_at: float = 0.0
    dither: bool = False

    def transfer(self, channel: int, hz: float, rate_hz: int) -> complex:
        """What a tone of that frequency is multiplied with in channel A (0) or B (1)."""
        mismatch = cmath.rect(self.gain_b, math.radians(self.phase_b_deg)) if channel == 1 else 1.0 + 0.0j
        delay = cmath.exp(-2j * math.pi * hz * self.delay_frames / rate_hz)
        return mismatch * delay / (1.0 - 1j * self.coupling_hz / hz)

    def gain(self, channel: int) -> float:
        """What sound from outside is multiplied with."""
        return self.gain_b if channel == 1 else 1.0

    def own_noise(self, density: float, rate_hz: int, seed: noise.Seed, channel: int, chunk: int) -> noise.Wave | float:
        """A microphone's own noise: float64 [CHUNK], or 0 without any."""
        if not density:
            return 0.0
        white = density * math.sqrt(rate_hz / 2.0) * seed.white(noise.WHITE + channel, chunk)
        if not self.flicker_hz:
            return white
        return white + noise.flicker(density, self.flicker_hz, rate_hz, seed, channel, chunk)

    def converted(self, waves: list[noise.Wave], bits: int | None, seed: noise.Seed, chunk: int) -> Samples:
        """What the ADC makes of a wave per channel: float32 [CHUNK, channels]; `bits` None leaves out the rounding."""
        sound = np.stack(waves, axis=1)
        if self.offset:
            sound += self.offset
        if self.dead in CHANNELS[: len(waves)]:
            sound[:, CHANNELS.index(self.dead)] = self.stuck_at
        if bits is None:
            return np.clip(sound, -1.0, 1.0).astype(np.float32)
        scale = 2.0 ** (bits - 1)
        steps = sound * scale
        if self.dither:
            draws = [seed.generator(DITHER + c, chunk).random((noise.CHUNK, 2)) for c in range(len(waves))]
            steps += np.stack([draw[:, 0] - draw[:, 1] for draw in draws], axis=1)
        return (np.clip(np.rint(steps), -scale, scale - 1.0) / scale).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Loopback:
    """The laser's electrical modulation on a channel in place of its microphone: +-`amplitude`, full scale, in `shape`,
    while the laser is lit. A square has the laser's duty, and those of its harmonics that are below half the rate.
    """

    amplitude: float
    shape: Literal["square", "sine"] = "square"
    channel: Literal["a", "b"] = "b"

    def wave(self, light: Modulation, cycles: noise.Wave, rate_hz: int) -> noise.Wave:
        """That channel for the laser's phase `cycles`, float64 like it: AC coupled."""
        if not light.lit:
            return np.zeros_like(cycles)
        angle = 2.0 * np.pi * cycles
        if self.shape == "sine":
            return self.amplitude * np.cos(angle)
        wave = np.zeros_like(cycles)
        for order in range(1, highest_order(light.hz, rate_hz) + 1):
            height = 4.0 / (math.pi * order) * math.sin(math.pi * order * light.duty)
            wave += self.amplitude * height * np.cos(order * angle)
        return wave


@dataclass(frozen=True, slots=True)
class Gaps:
    """Overruns: `per_s` of them a second on average, each of which loses `seconds` of sound."""

    per_s: float = 0.0
    seconds: float = 0.02

    def lost(self, frame: int, frames: int, rate_hz: int, seed: noise.Seed) -> int:
        """Frames that are lost before the block of `frames` frames at `frame`."""
        if not self.per_s or not frame or seed.generator(GAPS, frame).random() >= self.per_s * frames / rate_hz:
            return 0
        return max(1, round(self.seconds * rate_hz))


def highest_order(hz: float, rate_hz: int) -> int:
    """The last harmonic of a tone below the ADC's half rate, at least 1 and at most 400."""
    return max(1, min(400, math.ceil(rate_hz / 2.0 / hz) - 1))
