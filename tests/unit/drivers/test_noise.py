from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from drivers import noise

RATE = 48_000


def test_phase_is_exact_after_ten_years() -> None:
    frame = 10 * 365 * 86_400 * RATE
    step = noise.step(Fraction(20137, 10), RATE)
    first = float(Fraction(20137, 10) * frame / RATE % 1)
    assert noise.cycles(step, frame)[0] == pytest.approx(first, abs=1e-15)


def test_phase_step_of_an_odd_clock_is_kept_to_the_limit() -> None:
    exact = Fraction(4025, 2) * (1 + Fraction("123.456789") / 1_000_000) / RATE
    assert abs(noise.step(exact * RATE, RATE) - exact) < Fraction(1, 10**29)


def test_streams_and_chunks_are_independent() -> None:
    seed = noise.Seed(7)
    a, b, c = seed.white(0, 0), seed.white(1, 0), seed.white(0, 1)
    limit = stats.norm.isf(1e-6) / np.sqrt(noise.CHUNK)
    for x, y in ((a, b), (a, c), (b, c)):
        assert abs(np.corrcoef(x, y)[0, 1]) < limit


def test_speech_has_its_loudness_and_no_seams() -> None:
    chunks = [noise.speech(0.01, RATE, noise.Seed(3), k) for k in range(1, 118)]
    sound = np.concatenate(chunks)
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.01, rel=0.1)
    steps = np.abs(np.diff(sound))
    seams = steps[noise.CHUNK - 1 :: noise.CHUNK]
    assert seams.max() < steps.max() * 1.0001
    power = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)

    def band(low: float, high: float) -> float:
        return float(power[(hz > low) & (hz < high)].mean())

    assert band(1000, 2000) / band(200, 400) < 0.2
    assert band(10_000, 20_000) / band(200, 400) < 0.001


def test_knocks_come_at_their_rate_and_ring_across_chunks() -> None:
    seed, per_second = noise.Seed(5), 2.0
    chunks = 1000
    sound = np.concatenate([noise.knocks(0.5, per_second, RATE, seed, k) for k in range(chunks)])
    expected = per_second * chunks * noise.CHUNK / RATE
    counts = sum(seed.generator(noise.KNOCKS, k).poisson(per_second * noise.CHUNK / RATE) for k in range(chunks))
    low, high = stats.poisson.ppf([1e-5, 1 - 1e-5], expected)
    assert low <= counts <= high
    assert 0.3 < np.abs(sound).max() < 1.5
    inside = np.abs(np.diff(sound)).max()
    assert np.abs(np.diff(sound))[noise.CHUNK - 1 :: noise.CHUNK].max() <= inside


def test_hum_has_its_harmonics() -> None:
    sound = np.concatenate([noise.hum(0.1, Fraction(50), RATE, k) for k in range(24)])[:RATE]
    lines = np.abs(np.fft.rfft(sound)) / (RATE / 2)
    for k in range(1, 6):
        assert lines[50 * k] == pytest.approx(0.1 / k, rel=1e-9)
