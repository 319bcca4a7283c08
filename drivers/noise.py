"""What a microphone hears beside the gas: white and 1/f noise, mains hum, pumps, speech, knocks.

Everything is a function of the absolute frame number. Random sound is made in chunks of CHUNK frames, each
from a counter-based generator (Philox, Salmon et al., SC11) whose counter is the chunk's number: the sound
does not depend on how it is cut into blocks, nor on anything else that happens, and a seed repeats it
exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

CHUNK = 4096
"""Frames that are made at once."""

Wave = npt.NDArray[np.float64]

WHITE, COMMON, FLICKER, SPEECH, KNOCKS = 0, 4, 8, 16, 32
"""First stream number of each kind; white noise and 1/f noise take one stream per channel."""

DENOMINATOR = 1 << 49
"""Largest denominator of a phase step, so that CHUNK steps fit into 63 bits; the rounding is below 1e-29."""


@dataclass(frozen=True, slots=True)
class Disturbances:
    """Sound from outside, alike in both channels; amplitudes in full scale. None by default.

    `common_density` is white noise, full scale / sqrt(Hz), one-sided; `tones` are pumps and fans, each a frequency in
    hertz and an amplitude.
    """

    hum: float = 0.0
    mains_hz: float = 50.0
    speech_rms: float = 0.0
    knock_amplitude: float = 0.0
    knocks_per_s: float = 0.0
    common_density: float = 0.0
    tones: tuple[tuple[float, float], ...] = ()


class Seed:
    """Where the random chunks come from."""

    def __init__(self, seed: int) -> None:
        self._key = np.random.SeedSequence(seed).generate_state(2, np.uint64)

    def generator(self, stream: int, chunk: int) -> np.random.Generator:
        """The generator of one chunk of one stream, always from its beginning."""
        counter = np.array([0, 0, stream, chunk], np.uint64)
        return np.random.Generator(np.random.Philox(key=self._key, counter=counter))

    def white(self, stream: int, chunk: int, frames: int = CHUNK) -> Wave:
        """Gaussian noise of unit variance, float64 [frames]."""
        return self.generator(stream, chunk).standard_normal(frames)


def step(frequency_hz: Fraction, rate_hz: int) -> Fraction:
    """Cycles per frame, as a fraction that `cycles` can count exactly."""
    return (frequency_hz / rate_hz).limit_denominator(DENOMINATOR)


def cycles(cycles_per_frame: Fraction, first: int, frames: int = CHUNK) -> Wave:
    """Phase of an oscillator in cycles, [0, 1), for the frames from `first` on: float64 [frames].

    Counted in integers: exact after any time. `frames` is at most CHUNK.
    """
    over = cycles_per_frame.denominator
    start = cycles_per_frame.numerator * first % over
    counts = (start + (cycles_per_frame.numerator % over) * np.arange(frames, dtype=np.int64)) % over
    return counts / float(over)


def outside(d: Disturbances, rate_hz: int, seed: Seed, chunk: int) -> Wave:
    """All disturbances together, float64 [CHUNK]."""
    wave = np.zeros(CHUNK)
    if d.hum:
        wave += hum(d.hum, Fraction(str(d.mains_hz)), rate_hz, chunk)
    if d.speech_rms:
        wave += speech(d.speech_rms, rate_hz, seed, chunk)
    if d.knock_amplitude and d.knocks_per_s:
        wave += knocks(d.knock_amplitude, d.knocks_per_s, rate_hz, seed, chunk)
    if d.common_density:
        wave += d.common_density * np.sqrt(rate_hz / 2.0) * seed.white(COMMON, chunk)
    for hz, amplitude in d.tones:
        wave += amplitude * np.sin(2.0 * np.pi * cycles(step(Fraction(str(hz)), rate_hz), chunk * CHUNK))
    return wave


def hum(amplitude: float, mains_hz: Fraction, rate_hz: int, chunk: int) -> Wave:
    """Mains hum: harmonics k = 1 to 5 with amplitude / k, in sine phase; float64 [CHUNK]."""
    angle = 2.0 * np.pi * cycles(step(mains_hz, rate_hz), chunk * CHUNK)
    wave: Wave = sum((np.sin(k * angle) / k for k in range(1, 6)), np.zeros(CHUNK))
    return amplitude * wave


def speech(rms: float, rate_hz: int, seed: Seed, chunk: int) -> Wave:
    """Noise that sounds like a distant voice: float64 [CHUNK], root mean square `rms`.

    Long-term spectrum flat from 100 to 500 Hz and falling by 9 dB an octave above (after Byrne et al., J.
    Acoust. Soc. Am. 96 (1994) 2108), loudness swinging at the syllables' 4 Hz. Neighbouring chunks overlap
    with sine windows, whose squares add up to one.
    """
    hz = np.fft.rfftfreq(2 * CHUNK, 1.0 / rate_hz)
    shape = (hz > 100.0) / (1.0 + (hz / 500.0) ** 2) ** 0.75
    shape /= np.sqrt(np.mean(shape**2))
    wave = _shaped(shape, seed, SPEECH, chunk)
    syllables = 1.0 - np.cos(2.0 * np.pi * cycles(step(Fraction(4), rate_hz), chunk * CHUNK))
    swung: Wave = rms * wave * syllables / np.sqrt(1.5)
    return swung


def flicker(density: float, corner_hz: float, rate_hz: int, seed: Seed, channel: int, chunk: int) -> Wave:
    """1/f noise of a microphone: float64 [CHUNK], spectral density `density`^2 `corner_hz` / f: at `corner_hz` as loud
    as white noise of `density` (full scale / sqrt(Hz), one-sided). It ends at rate / (2 CHUNK), 6 Hz.
    """
    hz = np.fft.rfftfreq(2 * CHUNK, 1.0 / rate_hz)
    shape = np.concatenate([[0.0], np.sqrt(corner_hz / hz[1:])])
    wave: Wave = density * np.sqrt(rate_hz / 2.0) * _shaped(shape, seed, FLICKER + channel, chunk)
    return wave


def _shaped(shape: Wave, seed: Seed, stream: int, chunk: int) -> Wave:
    """White noise of unit variance with its spectrum times `shape` (float64 [CHUNK + 1]): float64 [CHUNK]."""
    window = np.sin(np.pi * (np.arange(2 * CHUNK) + 0.5) / (2 * CHUNK))
    before = window[CHUNK:] * _coloured(shape, seed, stream, chunk - 1)[CHUNK:] if chunk else np.zeros(CHUNK)
    wave: Wave = before + window[:CHUNK] * _coloured(shape, seed, stream, chunk)[:CHUNK]
    return wave


def _coloured(shape: Wave, seed: Seed, stream: int, chunk: int) -> Wave:
    """One window of it, float64 [2 CHUNK]."""
    wave: Wave = np.fft.irfft(np.fft.rfft(seed.white(stream, chunk, 2 * CHUNK)) * shape)
    return wave


def knocks(amplitude: float, per_second: float, rate_hz: int, seed: Seed, chunk: int) -> Wave:
    """Impulses at random moments: float64 [CHUNK].

    Their number is Poisson distributed. Each rings at 1.5 kHz and dies away in 2 ms, with a random sign.
    """
    wave = np.zeros(2 * CHUNK)
    for number in (chunk - 1, chunk):
        if number < 0:
            continue
        generator = seed.generator(KNOCKS, number)
        count = generator.poisson(per_second * CHUNK / rate_hz)
        places = generator.integers(0, CHUNK, count)
        signs = generator.choice((-1.0, 1.0), count)
        seconds = np.arange(CHUNK) / rate_hz
        ring = amplitude * np.exp(-seconds / 0.002) * np.sin(2.0 * np.pi * 1500.0 * seconds)
        for place, sign in zip(places, signs, strict=True):
            first = int(place) + (number - chunk + 1) * CHUNK
            last = min(first + CHUNK, 2 * CHUNK)
            wave[first:last] += sign * ring[: last - first]
    return wave[CHUNK:]
