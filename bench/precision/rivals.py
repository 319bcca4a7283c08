"""Other ways of reading the same sound, each calibrated with noise-free zero gas and 400 ppm under design conditions.

They get the sound as it arrives, cut into seconds, know the nominal frequency, and know nothing of lost frames,
temperature or power; that is what they are in the field. All read a magnitude, less that of zero gas.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.signal

from bench.precision import world as physics
from bench.precision.readings import Reading, Trial, Truth
from bench.precision.scenarios import Scenario
from bench.precision.twin import SUB, Twin, recorded_drive
from bench.precision.world import RATE_HZ, Course, Phasors, Wave, World

Magnitude = Callable[[Wave, World], float]
"""From a second of sound, float64 [48000, channels], to the tone's magnitude in any unit."""

SPAN_PPM = 400.0
FRAME = 4096
ULIA = "ulia 2023.2.1 is not here, so its column is left out: bench/speed/need installs it"
_PEERS = Path(__file__).parents[2] / ".venv" / "peers"
"""Where bench/speed/need installs packages to compare with."""


def last_frame(sound: Wave, world: World) -> float:
    """Band-pass, A - B, Hann window of 4096 frames, the highest bin of the last one."""
    spectrum = np.abs(np.fft.rfft(_filtered(sound, world)[-FRAME:] * scipy.signal.windows.hann(FRAME, sym=False)))
    return float(spectrum[_band(world)].max())


def averaged(sound: Wave, world: World) -> float:
    """The same with the power of all frames of the second, half overlapping, averaged."""
    _, power = scipy.signal.welch(_filtered(sound, world), RATE_HZ, "hann", FRAME, scaling="spectrum")
    return math.sqrt(float(power[_band(world)].max()))


def four_poles(sound: Wave, world: World) -> float:
    """A lock-in at the nominal frequency with four RC poles, which settle to 1 % within the second."""
    mixed = _difference(sound, world) * _oscillator(_nominal_hz(world)).conj()
    pole = math.exp(-10.045 / RATE_HZ)
    for _ in range(4):
        mixed = scipy.signal.lfilter([1.0 - pole], [1.0, -pole], mixed)
    return float(abs(mixed[-1]))


def ulia(sound: Wave, world: World) -> float:
    """The published package ulia: its phase-locked loop on the reference, its second-order low pass at 1 Hz, x and y.

    The loop is given the nominal frequency to begin with, without which it would not lock within a second.
    """
    lock_in = importlib.import_module("ulia").ULIA(RATE_HZ, RATE_HZ, 1.0, 2, bandwidth=1e-3)
    recorded = world.loopback and world.harmonic == 1
    reference = sound[:, 1] if recorded else _oscillator(_nominal_hz(world))
    lock_in.afreq[0] = 2.0 * math.pi * _nominal_hz(world) / RATE_HZ
    lock_in.load_data(reference, _difference(sound, world))
    lock_in.execute()
    return math.hypot(lock_in.x[-1], lock_in.y[-1])


def available() -> Mapping[str, Magnitude]:
    """The estimators by the names of their columns; ulia only where it is installed."""
    sys.path += [str(place) for place in _PEERS.glob("lib/python*/site-packages") if str(place) not in sys.path]
    always: dict[str, Magnitude] = {"last frame": last_frame, "averaged": averaged, "4-pole RC": four_poles}
    return {**always, "ulia": ulia} if importlib.util.find_spec("ulia") else always


def trials(scenario: Scenario, records: int, seed: np.random.SeedSequence) -> Mapping[str, list[Trial]]:
    """`records` readings of each, by name, all of the same seconds of sound."""
    named = available()
    scales = {name: _calibrated(magnitude, scenario.world) for name, magnitude in named.items()}
    found: dict[str, list[Trial]] = {name: [] for name in named}
    truth = Truth()
    for _, (first, end, sound) in zip(range(records), _seconds(scenario.world, seed, truth), strict=False):
        for name, magnitude in named.items():
            zero, per_ppm = scales[name]
            ppm = (magnitude(sound, scenario.world) - zero) / per_ppm
            found[name].append(truth.of(Reading(first, end, ppm, math.nan, frozenset())))
    return found


def _seconds(world: World, seed: np.random.SeedSequence, truth: Truth) -> Iterator[tuple[int, int, Wave]]:
    """First frame, end and sound of every 48000 frames that arrive."""
    twin = Twin(world, seed)
    while True:
        blocks = [twin.block() for _ in range(10)]
        for block in blocks:
            truth.add(block)
        end = blocks[-1].frame + len(blocks[-1].samples)
        yield blocks[0].frame, end, np.concatenate([block.samples for block in blocks])


def _calibrated(magnitude: Magnitude, world: World) -> tuple[float, float]:
    """What it makes of zero gas, and of one ppm more."""
    zero, span = (magnitude(_noise_free(world, ppm), world) for ppm in (0.0, SPAN_PPM))
    return zero, (span - zero) / SPAN_PPM


def _noise_free(world: World, ppm: float) -> Wave:
    """A second of the tone alone, under design conditions."""
    design = replace(world, ppm=Course(ppm), temperature_c=Course(20.0), power=Course(1.0))
    frequency_hz = _nominal_hz(world)
    tone = physics.gas_phasor(design, frequency_hz, np.zeros(1)) * _oscillator(frequency_hz)
    sound = np.zeros((RATE_HZ, world.channels))
    sound[:, 0] = tone.real
    if world.loopback:
        turns = frequency_hz / RATE_HZ
        sound[:, 1] = recorded_drive(turns * np.arange(0.0, RATE_HZ, SUB), turns)
    elif world.channels == 2:
        sound[:, 1] = (-world.b_gain * tone).real
    return sound


def _nominal_hz(world: World) -> float:
    return world.drive_hz * world.harmonic


@lru_cache(maxsize=4)
def _oscillator(frequency_hz: float) -> Phasors:
    return np.asarray(np.exp(2j * np.pi * (frequency_hz / RATE_HZ * np.arange(RATE_HZ) % 1.0)), np.complex128)


def _difference(sound: Wave, world: World) -> Wave:
    return sound[:, 0] if world.channels == 1 or world.loopback else sound[:, 0] - sound[:, 1]


@lru_cache(maxsize=4)
def _band_pass(frequency_hz: float) -> Wave:
    band = (frequency_hz - 100.0, frequency_hz + 100.0)
    return np.asarray(scipy.signal.butter(4, band, "bandpass", fs=RATE_HZ, output="sos"))


def _filtered(sound: Wave, world: World) -> Wave:
    return np.asarray(scipy.signal.sosfilt(_band_pass(_nominal_hz(world)), _difference(sound, world)))


def _band(world: World) -> slice:
    """The bins within 100 Hz of the tone."""
    bin_hz, frequency_hz = RATE_HZ / FRAME, _nominal_hz(world)
    return slice(math.ceil((frequency_hz - 100.0) / bin_hz), math.floor((frequency_hz + 100.0) / bin_hz) + 1)
