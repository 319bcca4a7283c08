"""Sound made by the tests themselves, in float64, with no line shared with what is tested."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gateway.types import NO_FLAGS, Flags, SampleBlock

Wave = npt.NDArray[np.float64]


def tone(frequency_hz: float, amplitude: float, seconds: float, rate_hz: int, phase: float = 0.0) -> Wave:
    """amplitude * cos(2 pi f t + phase), float64 [frames]."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return amplitude * np.cos(2.0 * np.pi * frequency_hz * t + phase)


def noise(density: float, seconds: float, rate_hz: int, seed: int) -> Wave:
    """White noise of one-sided density `density` per root hertz, float64 [frames]."""
    frames = round(seconds * rate_hz)
    return np.random.default_rng(seed).standard_normal(frames) * density * np.sqrt(rate_hz / 2.0)


def stereo(left: Wave, right: Wave | None = None) -> npt.NDArray[np.float32]:
    """float32 [frames, 2]; the right channel is the left one inverted if absent."""
    return np.stack([left, -left if right is None else right], axis=1).astype(np.float32)


def blocks(
    samples: npt.NDArray[np.float32],
    rate_hz: int,
    sizes: int | list[int] = 4800,
    *,
    first_frame: int = 0,
    flags: Flags = NO_FLAGS,
) -> Iterator[SampleBlock]:
    """`samples` [frames, channels] cut into blocks of `sizes` frames (the last size repeats)."""
    plan = [sizes] if isinstance(sizes, int) else list(sizes)
    at = index = 0
    while at < len(samples):
        size = plan[min(index, len(plan) - 1)]
        part = samples[at : at + size]
        yield SampleBlock(index, first_frame + at, rate_hz, part, flags=flags)
        at, index = at + len(part), index + 1
