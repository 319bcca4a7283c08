"""Amplitude precision against the Cramer-Rao bound, for the lock-in, the peak finder and two common ways of doing it.

One tone in white noise, 1 s records of 48 kHz, frequency off the FFT grid; the signal-to-noise ratio is that of a
sample, A^2 / 2 sigma^2. Efficiency is the bound over the mean square error; 1 is the best that an unbiased estimator
can do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import scipy.signal

from gateway.graph import Fitted, Graph, Step, fit
from gateway.nodes import SETTINGS
from gateway.nodes.place import start
from gateway.types import LockInResult, PeakResult, SampleBlock

RATE, TRIALS, FREQUENCY = 48_000, 300, Fraction(20137, 10)
Estimator = Callable[[np.ndarray], float | None]


def node(kind: str, parameters: dict[str, float]) -> Graph:
    """A graph of one node."""
    step = Step(kind, kind, SETTINGS[kind].model_validate(parameters), None)
    (fitted,) = fit([step], start(RATE, 1, FREQUENCY))
    assert isinstance(fitted, Fitted)
    return Graph([fitted])


def lock_in(samples: np.ndarray) -> float | None:
    """Our lock_in: the signed projection."""
    (result,) = node("lock_in", {}).process(SampleBlock(0, 0, RATE, samples))
    assert isinstance(result, LockInResult)
    return result.in_phase


def peak_finder(samples: np.ndarray) -> float | None:
    """Our peak_finder; nothing where it sees no tone."""
    graph = node("peak_finder", {"frequency_min": 1800.0, "frequency_max": 2200.0})
    (result,) = graph.process(SampleBlock(0, 0, RATE, samples))
    assert isinstance(result, PeakResult)
    return result.amplitude


def highest_bin(samples: np.ndarray) -> float | None:
    """The highest bin of averaged 4096-point Hann periodograms."""
    f, power = scipy.signal.welch(samples[:, 0], RATE, "hann", 4096, scaling="spectrum")
    band = (f >= 1800) & (f <= 2200)
    return math.sqrt(2.0 * float(power[band].max()))


def four_poles(samples: np.ndarray) -> float | None:
    """A lock-in with four RC poles that settle to 1 % within the record."""
    t = np.arange(RATE) / RATE
    mixed = samples[:, 0] * 2.0 * np.exp(-2j * np.pi * float(FREQUENCY) * t)
    pole = math.exp(-10.045 / RATE)
    for _ in range(4):
        mixed = scipy.signal.lfilter([1 - pole], [1, -pole], mixed)
    return float(mixed[-1].real)


def main() -> None:
    """Measure and print."""
    methods: list[Estimator] = [lock_in, peak_finder, highest_bin, four_poles]
    rng = np.random.default_rng(20261122)
    print("bias % / efficiency (bound over mean square error)")
    print("SNR of a sample " + "".join(f"{method.__name__:>20}" for method in methods))
    t = np.arange(RATE) / RATE
    for snr_db in (-20, -10, 0, 10, 20, 40):
        amplitude = 0.1
        sigma = amplitude / math.sqrt(2.0 * 10 ** (snr_db / 10))
        clean = amplitude * np.cos(2 * np.pi * float(FREQUENCY) * t)
        found: dict[str, list[float]] = {method.__name__: [] for method in methods}
        bound = []
        for _ in range(TRIALS):
            noise = sigma * rng.standard_normal(RATE)
            samples = (clean + noise).astype(np.float32)[:, None]
            bound.append(2.0 * float(np.mean(noise * np.cos(2 * np.pi * float(FREQUENCY) * t))))
            for method in methods:
                if (value := method(samples)) is not None:
                    found[method.__name__].append(value)
        floor = float(np.mean(np.square(bound)))  # the same noise seen by the matched filter: takes the luck out
        cells = []
        for values in found.values():
            error = np.array(values) - amplitude
            efficiency = floor / float(np.mean(error**2)) if len(values) else math.nan
            cells.append(f"{100 * error.mean() / amplitude:+10.3f} / {efficiency:6.4f}")
        print(f"{snr_db:+10} dB   " + "".join(f"{cell:>20}" for cell in cells))
    print(f"{TRIALS} trials; the floor is the matched filter on the same noise")


if __name__ == "__main__":
    main()
