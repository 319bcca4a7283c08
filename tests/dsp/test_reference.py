"""The phase references at baseband, against the same records turned by the phase that they were made with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gateway import state
from gateway.dsp.reference import Aligned, Free, Loopback, SameCodec, debiased

SUB_BLOCK_S, FREQUENCY_HZ = 0.01, 2012.5
MIX = np.ones(1)
WIDTH_HZ = 1e-3 * FREQUENCY_HZ
Phasors = np.ndarray[Any, np.dtype[np.complex128]]


def times(count: int, start_s: float = 0.0) -> np.ndarray:
    return start_s + (np.arange(count) + 0.5) * SUB_BLOCK_S


def tone(t: np.ndarray, ppm: float, phase: float = 0.0) -> Phasors:
    """A unit tone `ppm` off as the demodulator gives it: turning, and shortened by its turning in a sub-block."""
    offset = ppm * 1e-6 * FREQUENCY_HZ
    return np.asarray(np.sinc(offset * SUB_BLOCK_S) * np.exp(1j * (2 * np.pi * offset * t + phase)))


def white(rng: np.random.Generator, count: int, sigma: float) -> Phasors:
    return np.asarray(sigma * (rng.standard_normal(count) + 1j * rng.standard_normal(count)))


def sigma_of(snr_db: float) -> float:
    """Of one part of a sub-block's phasor, for a unit tone at this signal-to-noise ratio per sample (480 of them)."""
    return math.sqrt(2.0 * 0.5 * 10 ** (-snr_db / 10) / 480)


def same_codec() -> SameCodec:
    return SameCodec(MIX, SUB_BLOCK_S, 0.25e-3 * FREQUENCY_HZ)


def loopback(harmonic: int = 1) -> Loopback:
    return Loopback(1, harmonic, SUB_BLOCK_S, WIDTH_HZ)


def free() -> Free:
    return Free(MIX, SUB_BLOCK_S, WIDTH_HZ)


def judged(read: np.ndarray, best: np.ndarray) -> tuple[float, float]:
    """Bias and efficiency of `read` against `best`, which reached the bound on the same records of a unit tone."""
    return float(np.mean(read - best)), float(np.mean((best - 1.0) ** 2) / np.mean((read - 1.0) ** 2))


def deviation(aligned: Aligned, ppm: float) -> float:
    """Of the offset from the true one, in its own sigmas."""
    assert aligned.offset_hz is not None
    assert aligned.sigma_offset_hz is not None
    return (aligned.offset_hz - ppm * 1e-6 * FREQUENCY_HZ) / aligned.sigma_offset_hz


def chi_square_is_right(deviations: list[float], dof: int) -> bool:
    """t-distributed `deviations`: their mean square within 4 of its standard deviations."""
    mean = dof / (dof - 2)
    variance = 2 * dof**2 * (dof - 1) / ((dof - 2) ** 2 * (dof - 4))
    return abs(float(np.mean(np.square(deviations))) - mean) < 4.0 * math.sqrt(variance / len(deviations))


@pytest.mark.parametrize("snr_db", [0, -20, -30])
@pytest.mark.parametrize("ppm", [0, 10, 50, 100, 200, -1000])
def test_loopback_is_unbiased_and_efficient(ppm: float, snr_db: float) -> None:
    rng, reference = np.random.default_rng(1), loopback()
    read, best, deviations = [], [], []
    for index in range(300):
        t = times(100, index * 1.0)
        phase, noise = rng.uniform(0.0, 2.0 * np.pi), white(rng, 100, sigma_of(snr_db))
        clean = tone(t, ppm, phase)
        other = 0.1 * clean + white(rng, 100, 0.001)
        aligned = reference.align(np.stack((clean + noise, other), axis=1), index * 1.0)
        assert aligned.locked
        assert aligned.phase_known
        read.append(float(np.mean((clean + noise) * aligned.turn).real))
        best.append(float(np.mean(1.0 + noise * tone(t, ppm, phase).conj()).real))
        deviations.append(deviation(aligned, ppm))
    bias, efficiency = judged(np.array(read), np.array(best))
    # the reference's own noise turns the record by 2e-3 rad at most, by which the noise across comes in
    assert abs(bias) < 1e-4 + 4.0 * 2e-3 * sigma_of(snr_db) / math.sqrt(100 * 300)
    assert efficiency > 0.95
    assert chi_square_is_right(deviations, 30)


def test_loopback_of_a_harmonic() -> None:
    t = times(100)
    fundamental, signal = tone(t, 150.0, 0.7), tone(t, 300.0, 1.4)
    aligned = loopback(harmonic=2).align(np.stack((signal, fundamental), axis=1), 0.0)
    assert np.allclose(signal * aligned.turn, 1.0, atol=1e-5)
    assert aligned.offset_hz == pytest.approx(300e-6 * FREQUENCY_HZ, rel=1e-6)


def test_loopback_follows_clocks_that_wander_over_ten_minutes() -> None:
    t = times(60_000)
    phase = 2.0 * np.pi * np.cumsum(0.2 + 0.002 * np.sin(2.0 * np.pi * t / 300.0)) * SUB_BLOCK_S
    z = np.exp(1j * phase)
    aligned = loopback().align(np.stack((z, 0.3 * z), axis=1), 0.0)
    assert abs(np.mean(z * aligned.turn) * np.sinc(0.002) - 1.0) < 1e-6


@pytest.mark.parametrize("level", [0.0, 1e-5, 1e-2])
def test_a_loopback_that_is_lost_turns_nothing(level: float) -> None:
    """Nothing but noise, a residue in it, and a clean residue below a fifth of what was there."""
    rng, reference, t = np.random.default_rng(2), loopback(), times(100)
    carrier = np.stack((tone(t, 50.0), 0.2 * tone(t, 50.0)), axis=1)
    assert reference.align(carrier, 0.0).locked
    residue = level * tone(t, 50.0) + white(rng, 100, 1e-4 if level < 1e-3 else 1e-6)
    lost = reference.align(np.stack((tone(t, 50.0), residue), axis=1), 1.0)
    assert not lost.locked
    assert lost.offset_hz is None
    assert np.all(lost.turn == 1.0)
    assert reference.align(carrier, 2.0).locked


def test_a_loopback_that_goes_out_within_a_record_is_lost() -> None:
    t = times(100)
    half = 0.2 * tone(t, 50.0) * (t < 0.5) + white(np.random.default_rng(2), 100, 1e-5)
    assert not loopback().align(np.stack((tone(t, 50.0), half), axis=1), 0.0).locked


@pytest.mark.parametrize("snr_db", [0, -20, -30])
@pytest.mark.parametrize("ppm", [0, 100, -200])
def test_free_is_efficient_after_a_minute(ppm: float, snr_db: float) -> None:
    rng, sigma = np.random.default_rng(3), sigma_of(snr_db)
    read, best, deviations = [], [], []
    for _ in range(4):
        reference, phase, begin = free(), rng.uniform(0.0, 2.0 * np.pi), int(rng.integers(10_000))
        for index in range(begin, begin + 90):
            t, noise = times(100, float(index)), white(rng, 100, sigma)
            clean = tone(t, ppm, phase)
            aligned = reference.align((clean + noise)[:, None], float(index))
            if index < begin + 60:
                continue
            assert aligned.locked
            assert not aligned.phase_known
            read.append(float(np.mean((clean + noise) * aligned.turn).real))
            best.append(float(np.mean(1.0 + noise * tone(t, ppm, phase).conj()).real))
        deviations.append(deviation(aligned, ppm))
    bias, efficiency = judged(np.array(read), np.array(best))
    spread = float(np.std(np.array(read) - np.array(best))) / math.sqrt(len(read))
    assert abs(bias) < 3.0 * spread + 1e-4
    assert efficiency > 0.95
    assert max(map(abs, deviations)) < 5.0


def test_the_free_offset_has_the_sigma_it_says() -> None:
    rng, deviations = np.random.default_rng(4), []
    for _ in range(200):
        reference, ppm = free(), rng.uniform(-900.0, 900.0)
        for index in range(4):
            record = tone(times(100, float(index)), ppm) + white(rng, 100, 0.3)
            aligned = reference.align(record[:, None], float(index))
        deviations.append(deviation(aligned, ppm))
    assert chi_square_is_right(deviations, 30)


def test_the_first_free_record_is_turned_by_its_own_phase() -> None:
    rng = np.random.default_rng(5)
    z = tone(times(100), 200.0, 2.0) + white(rng, 100, 0.05)
    aligned = free().align(z[:, None], 0.0)
    assert not aligned.locked
    assert not aligned.phase_known
    assert abs(complex(np.mean(z * aligned.turn)) - 1.0) < 5.0 * 0.005


def test_without_a_tone_free_is_not_locked_and_debiasing_leaves_no_signal() -> None:
    rng, reference, squares = np.random.default_rng(6), free(), []
    for index in range(400):
        z = white(rng, 100, 1.0)
        aligned = reference.align(z[:, None], float(index))
        assert not aligned.locked
        assert aligned.offset_hz is None
        squares.append(abs(complex(np.mean(z * aligned.turn))) ** 2 - 2.0 * 0.01)
    # the square of a magnitude is exponential: its standard deviation is its mean
    assert abs(np.mean(squares)) < 4.0 * 2.0 * 0.01 / math.sqrt(400)


def test_debiasing() -> None:
    assert debiased(5.0, math.sqrt(4.5)) == pytest.approx(4.0)
    assert debiased(0.1, 1.0) == 0.0


def test_lost_samples_do_not_make_free_lose_the_phase() -> None:
    rng, reference = np.random.default_rng(7), free()
    starts = [*range(30), *(index + 12.3457 for index in range(30, 60))]
    for start in starts:
        z = tone(times(100, start), 120.0, 1.0) + white(rng, 100, 0.5)
        aligned = reference.align(z[:, None], start)
        if start > 20.0:
            assert aligned.locked
            assert abs(complex(np.mean(z * aligned.turn)).real - 1.0) < 5.0 * 0.05


def test_after_a_restart_free_knows_nothing() -> None:
    reference = free()
    for index in range(20):
        record = tone(times(100, float(index)), 120.0)
        assert reference.align(record[:, None], float(index)).locked == (index > 0)
    reference.restart()
    assert not reference.align(tone(times(100, 20.0), 120.0, 2.0)[:, None], 20.0).locked


@pytest.mark.parametrize("jump", [0.3, 1.0, 3.0])
def test_a_step_of_gas_that_turns_the_phase_is_never_read_wrong_unflagged(jump: float) -> None:
    rng, reference, unlocked = np.random.default_rng(8), free(), 0
    for index in range(60):
        z = tone(times(100, float(index)), 80.0, jump * (index >= 30)) + white(rng, 100, 0.05)
        aligned = reference.align(z[:, None], float(index))
        value = complex(np.mean(z * aligned.turn)).real
        unlocked += index >= 30 and not aligned.locked
        assert not aligned.locked or abs(value - 1.0) < 6.0 * 0.005 + 0.002
    assert 1 <= unlocked <= 4


def test_a_step_of_the_amplitude_keeps_free_locked() -> None:
    rng, reference = np.random.default_rng(9), free()
    for index in range(60):
        amplitude = 1.0 if index < 30 else 0.1 if index < 45 else 3.0
        z = amplitude * tone(times(100, float(index)), 80.0) + white(rng, 100, 0.05)
        aligned = reference.align(z[:, None], float(index))
        assert aligned.locked or index < 3
        assert abs(complex(np.mean(z * aligned.turn)).real - amplitude) < 5.0 * 0.005 + 0.002 * amplitude


def test_knocks_do_not_unlock_free() -> None:
    rng, reference = np.random.default_rng(18), free()
    for index in range(40):
        z = tone(times(100, float(index)), 80.0) + white(rng, 100, 0.05)
        if index >= 5:
            z[rng.integers(0, 100, 6)] += 30.0 * np.exp(2j * np.pi * rng.random(6))
        aligned = reference.align(z[:, None], float(index))
        assert aligned.locked or index < 3
        turned = tone(times(100, float(index)), 80.0) * aligned.turn
        assert index < 5 or abs(np.angle(np.mean(turned))) < 0.05


def doubted(z: Phasors, length: int = 100) -> list[bool]:
    reference, first = same_codec(), range(0, len(z) - length + 1, length)
    return [not reference.align(z[i : i + length, None], i * SUB_BLOCK_S).locked for i in first]


T = times(100 * 60)


@pytest.mark.parametrize("sigma", [0.0, 1e-3, 0.03, 0.5, 1.5, 5.0])
def test_noise_makes_no_second_clock(sigma: float) -> None:
    rng = np.random.default_rng(10)
    for _ in range(5):
        assert not any(doubted(1.0 + white(rng, len(T), sigma)))


@pytest.mark.parametrize("amplitude", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("beside_hz", [1.5, -3.0, 11.0, 12.5, -25.0, 33.0])
def test_a_tone_makes_no_second_clock(beside_hz: float, amplitude: float) -> None:
    rng = np.random.default_rng(11)
    assert not any(doubted(1.0 + amplitude * np.exp(2j * np.pi * beside_hz * T) + white(rng, len(T), 0.003)))


def test_knocks_make_no_second_clock() -> None:
    rng = np.random.default_rng(12)
    z = 1.0 + white(rng, len(T), 0.01)
    struck = rng.integers(0, len(T), 240)
    z[struck] += np.geomspace(1.0, 100.0, 240) * np.exp(2j * np.pi * rng.random(240))
    assert not any(doubted(z))


@pytest.mark.parametrize("exchange_s", [1e-6, 0.3, 3.0, 20.0])
@pytest.mark.parametrize("angle_deg", [0, 60, 100, 150])
def test_gas_makes_no_second_clock(angle_deg: float, exchange_s: float) -> None:
    """On a background of another phase, gas turns the phasor, but along a straight line."""
    rng = np.random.default_rng(13)
    come = np.where(T > 20.37, 1.0 - np.exp(-(T - 20.37).clip(0.0) / exchange_s), 0.0)
    for gas in (0.3, 3.0, 30.0):
        z = 1.0 + gas * np.exp(1j * np.radians(angle_deg)) * come
        assert not any(doubted(z + white(rng, len(T), 0.01)))


def test_a_resonance_that_drifts_makes_no_second_clock() -> None:
    """5 K in 20 minutes move a resonance of 40 Hz width by 18 Hz: two half widths, 45 degrees to either side."""
    t = times(120_000)
    detuning = np.cos(2.0 * np.pi * t / 1200.0)
    z = 1.0 / (1.0 + 1j * detuning) + white(np.random.default_rng(14), len(t), 1e-3)
    assert not any(doubted(z))


@pytest.mark.parametrize("snr", [20.0, 1000.0])
@pytest.mark.parametrize("ppm", [5, -20, 60, 100, -150, 200])
def test_two_clocks_are_noticed_within_200_degrees(ppm: float, snr: float) -> None:
    rng = np.random.default_rng(15)
    found = doubted(tone(T, ppm) + white(rng, len(T), 10.0 / snr))
    latest = math.ceil(200.0 / 360.0 / (abs(ppm) * 1e-6 * FREQUENCY_HZ)) + 1
    assert all(found[latest:])
    assert latest < len(found)


def test_two_clocks_are_told_in_a_long_record_and_believed_until_the_phase_stands() -> None:
    reference = same_codec()
    z = tone(times(1000), 150.0) + white(np.random.default_rng(16), 1000, 0.01)
    told = reference.align(z[:, None], 0.0)
    assert not told.locked
    assert abs(deviation(told, 150.0)) < 5.0
    still = np.ones((1000, 1), np.complex128)
    assert [reference.align(still, 10.0 * index).locked for index in range(1, 10)][-1]


@pytest.mark.parametrize("make", [same_codec, loopback, free])
def test_saved_and_restored(make: Callable[[], SameCodec | Loopback | Free]) -> None:
    rng = np.random.default_rng(17)
    records = []
    for index in range(12):
        t = times(25, index * 0.25)
        records.append(np.stack((tone(t, 100.0) + white(rng, 25, 0.05), tone(t, 100.0)), axis=1))
    straight, second = make(), make()
    for reference in (straight, second):
        if not isinstance(reference, Loopback):
            reference._mix = np.array([1.0, 0.0])

    def turned(reference: Any, numbers: range) -> list[Aligned]:
        return [reference.align(records[index], index * 0.25) for index in numbers]

    turned(straight, range(6))
    text = state.text_of({"reference": straight}, "")
    assert json.loads(text)
    state.restore({"reference": second}, text, "")
    for one, other in zip(turned(straight, range(6, 12)), turned(second, range(6, 12)), strict=True):
        assert np.array_equal(one.turn, other.turn)
        assert (one.offset_hz, one.locked) == (other.offset_hz, other.locked)


@pytest.mark.parametrize("make", [same_codec, loopback, free])
@pytest.mark.parametrize("count", [6, 25, 6000])
def test_silence(make: Callable[[], SameCodec | Loopback | Free], count: int) -> None:
    reference = make()
    channels = 2 if isinstance(reference, Loopback) else 1
    for index in range(3):
        aligned = reference.align(np.zeros((count, channels), np.complex128), index * count * SUB_BLOCK_S)
        assert aligned.locked == isinstance(reference, SameCodec)
        assert aligned.offset_hz is None
        assert np.allclose(np.abs(aligned.turn), 1.0)
