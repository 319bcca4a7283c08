"""The demodulator: exact phase, any split, lost frames, and its numerical error."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dsp.demodulator import Demodulator, exact, sub_block_frames
from tests.support.sound import noise, tone

RATE = 48_000


def whole(samples: np.ndarray, frequency_hz: float, rate_hz: int = RATE, frame: int = 0) -> np.ndarray:
    first, z = Demodulator([exact(frequency_hz)], rate_hz, samples.shape[1]).push(frame, samples)
    assert first == -(-frame // sub_block_frames(rate_hz))
    return z


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_any_split_gives_the_same_phasors(sizes: list[int]) -> None:
    samples = np.stack([noise(1e-3, 0.5, RATE, seed) for seed in (1, 2)], axis=1).astype(np.float32)
    demodulator, at, parts = Demodulator([exact(2012.5)], RATE, 2), 0, []
    for size in [*sizes, len(samples)]:
        parts.append(demodulator.push(at, samples[at : at + size])[1])
        at = min(at + size, len(samples))
    # the matrix product may sum in another order: float32 rounding of one sub-block, nothing more
    np.testing.assert_allclose(np.concatenate(parts), whole(samples, 2012.5), rtol=0, atol=2e-7)


@pytest.mark.parametrize(("rate_hz", "frequency_hz"), [(44_100, 997.3), (48_000, 2012.5), (96_000, 2013.7)])
def test_a_tone_becomes_its_phasor(rate_hz: int, frequency_hz: float) -> None:
    z = whole(tone(frequency_hz, 0.25, 1.0, rate_hz, 0.7).astype(np.float32)[:, None], frequency_hz, rate_hz)[:, 0]
    assert abs(z.mean() - 0.25 * np.exp(0.7j)) < 0.25 / (2 * np.pi * 2 * frequency_hz) * 2  # the image's share


def test_phase_does_not_drift_in_a_hundred_years() -> None:
    frame = 2**57 // 480 * 480
    turns = Fraction(4025, 2 * RATE) * frame % 1
    t = np.arange(RATE)
    samples = np.cos(2 * np.pi * (float(turns) + 2012.5 * t / RATE)).astype(np.float32)[:, None]
    z = whole(samples, 2012.5, frame=frame)
    assert abs(np.angle(z.mean())) < 1e-6


def test_lost_frames_move_time_on() -> None:
    samples = tone(2012.5, 0.1, 2.0, RATE).astype(np.float32)[:, None]
    demodulator = Demodulator([exact(2012.5)], RATE)
    demodulator.push(0, samples[:10_000])
    first, z = demodulator.push(33_333, samples[33_333:])
    assert first == -(-33_333 // 480)
    assert np.max(np.abs(np.angle(z))) < 0.02  # the image alone; a frame lost unseen would turn it by 0.26 rad


@given(st.integers(1, 2000), st.lists(st.integers(1, 700), min_size=1, max_size=30))
def test_after_a_break_any_split_is_on_the_grid_again(gap: int, sizes: list[int]) -> None:
    samples = tone(2012.5, 0.1, 0.5, RATE).astype(np.float32)[:, None]
    demodulator, at = Demodulator([exact(2012.5)], RATE), 5000 + gap
    demodulator.push(0, samples[:5000])
    first: int | None = None
    parts = []
    for size in [*sizes, len(samples)]:
        number, z = demodulator.push(at, samples[at : at + size])
        first = number if first is None and len(z) else first
        parts.append(z)
        at = min(at + size, len(samples))
    assert first == -(-(5000 + gap) // 480)
    z = np.concatenate(parts)
    np.testing.assert_allclose(z, whole(samples, 2012.5)[first:], rtol=0, atol=2e-7)


def test_float32_error_is_below_the_converter() -> None:
    loud = 0.98 * np.cos(2 * np.pi * 440.0 * np.arange(RATE) / RATE)
    quiet = loud + 1e-6 * np.cos(2 * np.pi * 2012.5 * np.arange(RATE) / RATE)
    difference = (
        whole(quiet.astype(np.float32)[:, None], 2012.5).mean() - whole(loud.astype(np.float32)[:, None], 2012.5).mean()
    )
    assert abs(difference - 1e-6) < 2e-8  # 154 dB below full scale


def test_a_block_too_short_for_a_phasor_after_a_change_of_frequency() -> None:
    """The phase at a change is kept to 2^-60 turns; a block without frames once did not get over that."""
    samples = tone(2012.5, 0.1, 0.1, RATE).astype(np.float32)[:, None]
    demodulator = Demodulator([exact(2012.5)], RATE)
    demodulator.push(0, samples[:1001])
    demodulator.change([exact(2013.7)], 1001)
    for first, last in ((1001, 1001), (1001, 1003), (1003, 1003)):
        assert demodulator.push(first, samples[first:last])[1].shape == (0, 1, 1)
