"""The simulated photoacoustic cell: light in, sound out, physics in between.

A laser, lit for the part D of each period with power P0, has a fundamental of peak power P1 = (2 P0 / pi)
sin(pi D) (Fourier series of a rectangular wave). The gas absorbs alpha = c * ABSORPTION of it per centimetre
and warms; the cell turns that into pressure, the microphone into a number:

    s = P1 * alpha(c) * CELL_CONSTANT * SENSITIVITY * H(f)            full scale, peak
    H(f) = 1 / (1 + 2j Q (f - f_r) / f_r)                            simple resonator, close to its resonance
    f_r = 2012.5 Hz * v(air) / v(design air)                         v: speed of sound, drivers/air.py

(Miklos, Hess and Bozoki, Rev. Sci. Instrum. 72 (2001) 1937, on cell constant and resonance.) The sound is
Re(E(n) exp(2 pi j phi(n))), with the phase phi counted in integers from frame 0 and the envelope E following

    dE/dt = -(1 + j x) E / tau + drive / tau,   x = 2 Q (f - f_r) / f_r,   tau = Q / (pi f_r)

which has a closed form between two changes of laser, gas or air: the samples do not depend on how they are
cut into blocks. After the laser goes dark the sound dies away at the resonance's own frequency, as it does in
a cell. The microphones sit in opposite halves of a standing wave: channel A hears +s, channel B hears -s;
what comes from outside (hum, speech, knocks) reaches both alike.

Three constants are round numbers of plausible parts; the fourth, the absorption, is what makes the product
exactly the default graph's calibration: A - B, 12 dB of gain, then ppm = 41000 * amplitude.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from drivers import noise
from drivers.air import Air, speed_of_sound
from gateway.errors import CommandRefused
from gateway.types import Command, Samples

DESIGN_HZ = Fraction(4025, 2)
"""Resonance in the design air: on the grid 50 k + 12.5 Hz, away from mains harmonics."""
DESIGN_AIR = Air()
CELL_CONSTANT = 2000.0
"""Pa cm / W. Resonant cells have 1e3 to 1e4 (Miklos 2001)."""
SENSITIVITY: float = 10.0 ** (-26.0 / 20.0) / math.sqrt(2.0)
"""Full scale per pascal: the INMP441 gives a tone of -26 dBFS at 94 dB SPL, that is 1 Pa rms."""
NOISE_DENSITY = 3.2e-7
"""Full scale / sqrt(Hz), one-sided, of each microphone: -87 dBFS over 20 kHz (INMP441 data sheet)."""
AMPLITUDE_PER_PPM: float = 1.0 / (41_000.0 * 2.0 * 10.0 ** (12.0 / 20.0))
"""Full scale per ppm, peak: 3.0634e-6, channel A at resonance, default laser (0.02 W, duty 0.5)."""
MAX_PPM = 1e6


def fundamental_w(power_w: float, duty: float) -> float:
    """Peak power of the fundamental of light that is `power_w` for the part `duty` of each period, else 0."""
    return 2.0 * power_w / math.pi * math.sin(math.pi * duty)


ABSORPTION = AMPLITUDE_PER_PPM / (fundamental_w(0.02, 0.5) * CELL_CONSTANT * SENSITIVITY)
"""1/cm per ppm: 3.39e-6, a line of medium strength at its centre, where it hardly depends on the pressure
(number of molecules and width of the line grow alike). Optically thin up to some percent in a cell of a few
centimetres."""


@dataclass(frozen=True, slots=True)
class Disturbances:
    """Sound from outside, alike in both channels; amplitudes in full scale. None by default."""

    hum: float = 0.0
    mains_hz: float = 50.0
    speech_rms: float = 0.0
    knock_amplitude: float = 0.0
    knocks_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Light:
    """The laser's modulation as the ADC's clock sees it. Phase in cycles: `phase` at frame `origin`."""

    watts: float = 0.0
    frequency: Fraction = DESIGN_HZ
    step: Fraction = Fraction(0)
    origin: int = 0
    phase: float = 0.0


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The sound from frame `first` on, until something changes; rates are per frame.

    E(n) = steady + swing exp(-exchange n) + rest exp(-decay n) and the effective concentration
    y(n) = gas + gas_rest exp(-exchange n), with n counted from `first`; `direct` comes from the background.
    """

    first: int
    steady: complex
    swing: complex
    rest: complex
    decay: complex
    gas: float
    gas_rest: float
    exchange: float
    direct: complex

    def envelope(self, n: noise.Wave) -> npt.NDArray[np.complex128]:
        """E without the background, complex128 like `n`."""
        exchanged, decayed = np.exp(-self.exchange * n), np.exp(-self.decay * n)
        phasor: npt.NDArray[np.complex128] = self.steady + self.swing * exchanged + self.rest * decayed
        return phasor


class Cell:
    """Gas, resonator and microphones. Make it once and give it to laser and microphone; frames are absolute.

    `background` is what windows and walls add, full scale per watt of P1, a phasor against the laser;
    `saturation_ppm` bends the answer to c / (1 + c / saturation_ppm); `exchange_s` is the time constant with
    which new gas fills the cell (0: at once, else at least 0.1 s); `clock_offset_ppm` is how much faster the
    laser's clock runs than the ADC's; `bits` None leaves out the ADC's rounding. `co2_detunes` lets the
    concentration itself change the speed of sound (-0.52 Hz per 1000 ppm, up to 1 %), as it does when the gas
    is CO2; otherwise `air.co2_ppm` counts. What is set before the first sound has been so for ever; later
    changes ring up and down from the next frame on.
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
        noise_density: float = NOISE_DENSITY,
        bits: int | None = 24,
        quality: float = 50.0,
        background: complex = 0j,
        saturation_ppm: float = math.inf,
        exchange_s: float = 0.0,
        co2_detunes: bool = False,
        disturbances: Disturbances = Disturbances(),
    ) -> None:
        if exchange_s != 0.0 and exchange_s < 0.1:
            raise ValueError(f"exchange_s is {exchange_s}: 0, or at least 0.1 s")
        self.rate_hz, self.channels = rate_hz, channels
        self._seed = noise.Seed(seed)
        self._clock = 1 + Fraction(str(clock_offset_ppm)) / 1_000_000
        self._noise_rms = noise_density * math.sqrt(rate_hz / 2.0)
        self._bits, self._quality, self._background = bits, quality, background
        self._saturation, self._exchange_s = saturation_ppm, exchange_s
        self._co2_detunes, self._disturbances = co2_detunes, disturbances
        self._ppm, self._air, self._light = checked_ppm(ppm), air, _Light()
        self._next = 0
        self._made: tuple[int, Samples] | None = None
        self._stretch = self._settled()

    @property
    def ppm(self) -> float:
        """The concentration that was set last."""
        return self._ppm

    @property
    def air(self) -> Air:
        """The state of the gas."""
        return self._air

    @property
    def resonance_hz(self) -> float:
        """Frequency of the resonance in the present air."""
        air = replace(self._air, co2_ppm=min(self._ppm, 10_000.0)) if self._co2_detunes else self._air
        return float(DESIGN_HZ) * (speed_of_sound(air) / speed_of_sound(DESIGN_AIR))

    def set_ppm(self, ppm: float) -> None:
        """Let in gas of this concentration, 0 to 1e6 ppm. Raises ValueError with the reason."""
        self._ppm = checked_ppm(ppm)
        self._change()

    def set_air(self, air: Air) -> None:
        """Change temperature, humidity, pressure or CO2 of the gas, at once."""
        self._air = air
        self._change()

    def drive(self, frequency: Fraction, duty: float, power_w: float) -> None:
        """Modulate the laser from the next frame on; `power_w` 0 is dark. A new frequency keeps the phase."""
        light = self._light
        if frequency != light.frequency or not light.step:
            step = noise.step(frequency * self._clock, self.rate_hz)
            elapsed = float(light.step * (self._next - light.origin) % 1)
            light = _Light(0.0, frequency, step, self._next, (light.phase + elapsed) % 1.0)
        self._light = replace(light, watts=fundamental_w(power_w, duty))
        self._change()

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
        return out

    def _change(self) -> None:
        """Begin a new stretch at the next frame, going on from where the old one is."""
        self._made = None
        settled, old = self._settled(), self._stretch
        if self._next == 0:
            self._stretch = settled
            return
        n = np.array([float(self._next - old.first)])
        rest_of_gas = 0.0
        if self._exchange_s:
            rest_of_gas = old.gas + old.gas_rest * math.exp(-old.exchange * n[0]) - settled.gas
        pull = self._per_ppm() * settled.decay.real / (settled.decay - settled.exchange)
        swing = pull * rest_of_gas
        rest = complex(old.envelope(n)[0]) - settled.steady - swing
        self._stretch = replace(settled, swing=swing, rest=rest, gas_rest=rest_of_gas)

    def _settled(self) -> _Stretch:
        """The stretch after everything has died away."""
        f, f_r = float(self._light.frequency * self._clock), self.resonance_hz
        detuning = 1.0 + 2j * self._quality * (f - f_r) / f_r
        gas = self._ppm / (1.0 + self._ppm / self._saturation)
        return _Stretch(
            first=self._next,
            steady=self._per_ppm() * gas / detuning,
            swing=0j,
            rest=0j,
            decay=detuning * math.pi * f_r / (self._quality * self.rate_hz),
            gas=gas,
            gas_rest=0.0,
            exchange=1.0 / (self._exchange_s * self.rate_hz) if self._exchange_s else 0.0,
            direct=self._background * self._light.watts,
        )

    def _per_ppm(self) -> float:
        """Full scale per ppm at resonance under the present light."""
        return self._light.watts * ABSORPTION * CELL_CONSTANT * SENSITIVITY

    def _chunk(self, chunk: int) -> Samples:
        """All samples of an absolute chunk; those before the present stretch began mean nothing."""
        if self._made is None or self._made[0] != chunk:
            tone, outside = self._tone(chunk), self._outside(chunk)
            waves = [sign * tone + outside + self._white(c, chunk) for c, sign in self._signs()]
            self._made = chunk, self._converted(waves)
        return self._made[1]

    def _signs(self) -> Sequence[tuple[int, float]]:
        return ((0, 1.0), (1, -1.0))[: self.channels]

    def _tone(self, chunk: int) -> noise.Wave:
        """What the laser makes channel A hear, float64 [CHUNK]."""
        stretch, light = self._stretch, self._light
        first = chunk * noise.CHUNK
        n = np.maximum(np.arange(first - stretch.first, first - stretch.first + noise.CHUNK), 0)
        phasor = stretch.envelope(n.astype(np.float64)) + stretch.direct
        angle = 2.0 * np.pi * (noise.cycles(light.step, first - light.origin) + light.phase)
        return phasor.real * np.cos(angle) - phasor.imag * np.sin(angle)

    def _outside(self, chunk: int) -> noise.Wave:
        """What both channels hear of the surroundings, float64 [CHUNK]."""
        d, rate = self._disturbances, self.rate_hz
        wave = np.zeros(noise.CHUNK)
        if d.hum:
            wave += noise.hum(d.hum, Fraction(str(d.mains_hz)), rate, chunk)
        if d.speech_rms:
            wave += noise.speech(d.speech_rms, rate, self._seed, chunk)
        if d.knock_amplitude and d.knocks_per_s:
            wave += noise.knocks(d.knock_amplitude, d.knocks_per_s, rate, self._seed, chunk)
        return wave

    def _white(self, channel: int, chunk: int) -> noise.Wave | float:
        """The microphone's own noise."""
        return self._noise_rms * self._seed.white(noise.WHITE + channel, chunk) if self._noise_rms else 0.0

    def _converted(self, waves: list[noise.Wave]) -> Samples:
        """What the ADC makes of it: rounded to its word, clipped at full scale."""
        sound = np.stack(waves, axis=1)
        if self._bits is None:
            return np.clip(sound, -1.0, 1.0).astype(np.float32)
        scale = 2.0 ** (self._bits - 1)
        return (np.clip(np.rint(sound * scale), -scale, scale - 1.0) / scale).astype(np.float32)


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

    def make_safe(self) -> None:
        """Gas in a simulation harms nobody: nothing to do."""

    def close(self) -> None:
        """Nothing to give back."""
