"""The sound that everybody gets: two microphones in opposite phase, white noise, 16 bits.

The true amplitudes are those of the least-squares fit of the tones (IEEE Std 1057, three-parameter fit) to this very
sound. The noise is small on purpose: a method with a wider noise bandwidth must not look wrong for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.types import SampleBlock, Samples

RATE = 48_000
FREQUENCY_HZ, SECOND_HZ = 2012.5, 2062.5
"""The laser's frequency, and that of a second laser on the same cell."""
WARM_S, TIMED_S = 2, 8
"""Seconds that are not timed, so that filters and records have settled, and seconds that are."""
BLOCKS_MS = (10, 50, 100, 1000)
_NOISE, _STEP = 2e-5, 1 / 32768


@dataclass(frozen=True, slots=True)
class Sound:
    """Sound, float32 [frames, 2], and the true amplitude at FREQUENCY_HZ of `A` and of `A-B`, full scale."""

    samples: Samples
    truth: dict[str, float]


def sound(*frequencies_hz: float) -> Sound:
    """Tones at these frequencies; the first one is FREQUENCY_HZ."""
    frames = RATE * (WARM_S + TIMED_S)
    t = np.arange(frames) / RATE
    phasors = np.exp(2j * np.pi * np.array(frequencies_hz)[:, None] * t)
    tones = (np.exp(0.7j) * phasors).real.sum(axis=0)[:, None] * np.array([0.05, -0.04])
    noise = _NOISE * np.random.default_rng(20261122).standard_normal((frames, 2))
    samples = (np.round((tones + noise) / _STEP) * _STEP).astype(np.float32)
    waves = np.column_stack([*phasors.real, *phasors.imag, np.ones(frames)])
    fitted = np.linalg.lstsq(waves, samples.astype(np.float64), rcond=None)[0]
    left, right = fitted[0] - 1j * fitted[len(frequencies_hz)]
    return Sound(samples, {"A": float(abs(left)), "A-B": float(abs(left - right))})


def blocks(samples: Samples, block_ms: int) -> list[SampleBlock]:
    """The sound in blocks."""
    size = RATE * block_ms // 1000
    starts = range(0, len(samples), size)
    return [SampleBlock(index, at, RATE, samples[at : at + size]) for index, at in enumerate(starts)]


def split(all_blocks: Sequence[SampleBlock]) -> tuple[Sequence[SampleBlock], Sequence[SampleBlock]]:
    """The blocks that are not timed, and those that are."""
    at = len(all_blocks) * WARM_S // (WARM_S + TIMED_S)
    return all_blocks[:at], all_blocks[at:]
