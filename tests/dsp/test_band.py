"""The transform of a band against the whole transform in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dsp.band import STOP_DB, BandTransform

ROUNDING = 100 * 2.0**-24
"""Of the root mean square of all bins: a float32 sum of a thousand products errs by less."""


def plain(samples: np.ndarray, first: int, last: int) -> np.ndarray:
    k = np.arange(first, last + 1)
    return np.fft.rfft(samples)[k] * np.exp(-1j * np.pi * k / len(samples)) * 2.0 / len(samples)


def error(frames: int, first: int, last: int, seed: int) -> float:
    samples = np.random.default_rng(seed).standard_normal(frames).astype(np.float32)
    wanted = plain(samples.astype(np.float64), first, last)
    return float(np.abs(BandTransform(frames, first, last).bins(samples) - wanted).max() * np.sqrt(frames) / 2.0)


@pytest.mark.parametrize(
    ("frames", "first", "last"),
    [
        (48_000, 1760, 2240),
        (44_100, 1760, 2240),
        (4800, 140, 260),
        (48_000, 0, 300),
        (48_000, 23_600, 24_000),
        (48_000, 2000, 14_000),
        (4799, 100, 200),
    ],
)
def test_a_band_is_that_of_the_whole_transform(frames: int, first: int, last: int) -> None:
    assert error(frames, first, last, 1) < ROUNDING


@given(st.integers(1, 3000), st.data())
@settings(max_examples=60)
def test_any_band_of_any_record(frames: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, frames // 2))
    assert error(frames, first, data.draw(st.integers(first, frames // 2)), frames) < ROUNDING


def test_a_tone_outside_is_left_out() -> None:
    frames, first, last = 48_000, 1760, 2240
    transform = BandTransform(frames, first, last)
    t = np.arange(frames)
    outside = [*range(0, first, 83), first - 1, last + 1, *range(last + 100, frames // 2, 301)]
    left = [np.abs(transform.bins(np.cos(2 * np.pi * k * t / frames).astype(np.float32))).max() for k in outside]
    print(f"{20 * np.log10(max(left)):.1f} dB (limit {-STOP_DB + 1:.0f})")
    assert 20 * np.log10(max(left)) < -STOP_DB + 1
