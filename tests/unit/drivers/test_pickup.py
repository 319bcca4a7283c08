"""Microphones and ADC: transfer, mismatch, noise, offset, words and dither; the loopback channel; overruns."""

from __future__ import annotations

import cmath
import math
from typing import Literal

import numpy as np
import pytest
from scipy import stats

from drivers import noise
from drivers.cell import AMPLITUDE_PER_PPM, Cell
from drivers.laser import SimulatedLaser
from drivers.noise import Disturbances
from drivers.pickup import Gaps, Loopback, Pickup
from gateway.types import Command

RATE = 48_000
TONE = 400 * AMPLITUDE_PER_PPM


def lit(frequency: float = 2012.5, **options: object) -> Cell:
    cell = Cell(**{"noise_density": 0.0, "bits": None, **options})  # type: ignore[arg-type]
    SimulatedLaser(cell, frequency, 0.5, 0.02).apply(Command("laser", "on"))
    return cell


def phasors(sound: np.ndarray, hz: float = 2012.5) -> np.ndarray:
    wave = np.exp(-2j * np.pi * np.remainder(np.arange(len(sound)) * (hz / RATE), 1.0))
    return 2 * np.mean(sound.astype(float) * wave[:, None], axis=0)


def test_a_plain_pickup_passes_everything() -> None:
    assert [Pickup().transfer(c, hz, RATE) for c in (0, 1) for hz in (1.0, 2012.5)] == [1.0] * 4


def test_b_differs_from_a_by_gain_and_phase() -> None:
    a, b = phasors(lit(pickup=Pickup(gain_b=0.9, phase_b_deg=3.0)).sound(0, RATE * 2))
    assert a == pytest.approx(TONE, rel=1e-6)
    assert b == pytest.approx(-TONE * cmath.rect(0.9, math.radians(3.0)), rel=1e-6)


def test_coupling_and_filter_delay_turn_the_phase() -> None:
    pickup = Pickup(coupling_hz=60.0, delay_frames=17.2)
    z = phasors(lit(pickup=pickup).sound(0, RATE * 2))[0]
    assert abs(z) == pytest.approx(TONE / math.hypot(1, 60 / 2012.5), rel=1e-6)
    turned = (-2 * math.pi * 2012.5 * 17.2 / RATE + math.atan(60 / 2012.5)) % (2 * math.pi)
    assert cmath.phase(z) % (2 * math.pi) == pytest.approx(turned, abs=1e-6)


def test_sound_from_outside_is_alike_up_to_the_gain() -> None:
    heard = Disturbances(hum=0.01, common_density=1e-5, tones=((2045.5, 0.02), (130.0, 0.01)))
    sound = Cell(noise_density=0.0, bits=None, disturbances=heard, pickup=Pickup(gain_b=0.8)).sound(0, RATE)
    assert np.abs(sound[:, 1] - 0.8 * sound[:, 0]).max() < 1e-8
    assert np.abs(phasors(Cell(disturbances=heard).sound(0, 2 * RATE), 2045.5))[0] == pytest.approx(0.02, rel=1e-3)


def test_common_noise_has_its_density() -> None:
    sound = Cell(noise_density=0.0, bits=None, disturbances=Disturbances(common_density=1e-5)).sound(0, RATE)
    low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], RATE)
    assert low < np.sum(sound[:, 0].astype(float) ** 2) / (1e-10 * RATE / 2) < high
    assert np.array_equal(sound[:, 0], sound[:, 1])


def test_flicker_noise_is_as_loud_as_white_at_its_corner() -> None:
    """Averaged periodogram against 1 + corner / f, bands of 20 segments x bins of chi-square with two degrees each."""
    cell = Cell(bits=None, noise_density=1e-5, pickup=Pickup(flicker_hz=500.0), seed=8)
    sound = cell.sound(0, 60 * 8192).astype(float).T
    window = np.hanning(8192)
    for channel in sound:
        segments = channel.reshape(60, 8192) * window
        power = np.mean(np.abs(np.fft.rfft(segments)) ** 2, axis=0) / (np.sum(window**2) * RATE / 2)
        hz = np.fft.rfftfreq(8192, 1 / RATE)
        for low, high in ((50.0, 150.0), (400.0, 600.0), (4000.0, 6000.0)):
            band = (hz >= low) & (hz <= high)
            ratio = np.mean(power[band] / (1e-10 * (1 + 500 / hz[band])))
            sigma = math.sqrt(1.5 / (60 * band.sum()))
            print(f"{low:.0f} to {high:.0f} Hz: {(ratio - 1) / sigma:.2f} sigma (limit 4.5)")
            assert abs(ratio - 1) < 4.5 * sigma
    assert abs(np.corrcoef(sound)[0, 1]) < 0.05


@pytest.mark.parametrize(("dead", "stuck_at"), [("a", 0.0), ("b", 0.25), ("b", 1.0)])
def test_a_dead_microphone_reads_one_number(dead: Literal["a", "b"], stuck_at: float) -> None:
    cell = lit(noise_density=1e-6, bits=24, disturbances=Disturbances(hum=0.1))
    alive = cell.sound(0, 5000)
    cell.set_pickup(Pickup(dead=dead, stuck_at=stuck_at))
    sound = cell.sound(5000, 5000)
    channel = "ab".index(dead)
    assert np.ptp(alive[:, channel]) > 0.1
    assert np.all(sound[:, channel] == np.float32(min(stuck_at, 1 - 2.0**-23)))
    assert np.array_equal(
        sound[:, 1 - channel],
        lit(noise_density=1e-6, bits=24, disturbances=Disturbances(hum=0.1)).sound(0, 10_000)[5000:, 1 - channel],
    )


def test_one_microphone_has_no_b_to_die() -> None:
    dying = lit(channels=1, pickup=Pickup(dead="b"))
    assert np.array_equal(dying.sound(0, 1000), lit(channels=1).sound(0, 1000))


def test_the_offset_is_added() -> None:
    moved, plain = lit(pickup=Pickup(offset=0.01)).sound(0, 1000), lit().sound(0, 1000)
    assert np.abs(moved - plain - 0.01).max() < 1e-9


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_words_are_rounded(bits: int) -> None:
    rounded, exact = lit(bits=bits).sound(0, 4800).astype(float), lit().sound(0, 4800).astype(float)
    assert np.abs(rounded - exact).max() <= 2.0**-bits + TONE * 2.0**-24
    steps = rounded * 2.0 ** (bits - 1)
    assert np.array_equal(steps, np.rint(steps))


def test_dither_frees_a_small_tone() -> None:
    """0.4 steps are lost in 16 bits without dither, and right with it; its noise is (1/6 + 1/12) steps^2."""
    ppm, lsb = 0.4 * 2.0**-15 / AMPLITUDE_PER_PPM, 2.0**-15
    assert not lit(ppm=ppm, bits=16).sound(0, RATE).any()
    sound = lit(ppm=ppm, bits=16, pickup=Pickup(dither=True)).sound(0, 4 * RATE)
    for channel, sign in enumerate((1, -1)):
        sigma = lsb * math.sqrt(0.25 * 2 / (4 * RATE))
        off = abs(phasors(sound)[channel] - sign * 0.4 * lsb) / sigma
        print(f"channel {channel}: {off:.2f} sigma (limit 4.5)")
        assert off < 4.5
        rest = sound[:, channel].astype(float) - sign * lit(ppm=ppm).sound(0, 4 * RATE)[:, 0]
        assert np.mean(rest**2) / (0.25 * lsb**2) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("shape", ["square", "sine"])
def test_the_loopback_carries_the_modulation(shape: Literal["square", "sine"]) -> None:
    cell = lit(loopback=Loopback(0.25, shape), clock_offset_ppm=40.0, disturbances=Disturbances(hum=0.1))
    hz = 2012.5 * (1 + 40e-6)
    n = np.arange(2 * RATE)
    angle = 2 * np.pi * np.remainder(n * (hz / RATE), 1.0)
    sound = cell.sound(0, 2 * RATE)[:, 1].astype(float)
    if shape == "sine":
        assert np.abs(sound - 0.25 * np.cos(angle)).max() < 1e-7
        return
    for order in (1, 2, 3, 11):
        basis = np.stack([np.cos(order * angle), np.sin(order * angle)], axis=1)
        found = np.linalg.lstsq(basis, sound, rcond=None)[0]
        expected = 0.25 * 4 / (math.pi * order) * math.sin(math.pi * order / 2)
        assert found == pytest.approx([expected, 0.0], abs=1e-4)
    assert np.mean(sound**2) == pytest.approx(0.0625 * sum(8 / (math.pi * k) ** 2 for k in range(1, 12, 2)), rel=1e-3)


def test_the_loopback_is_silent_in_the_dark_and_leaves_a_alone() -> None:
    assert not Cell(noise_density=0.0, loopback=Loopback(0.5)).sound(0, 1000).any()
    cell = Cell(loopback=Loopback(0.5), seed=3)
    assert np.array_equal(cell.sound(0, 9000)[:, 0], Cell(seed=3).sound(0, 9000)[:, 0])
    assert cell.sound(9000, 100)[:, 1].any()
    other = Cell(loopback=Loopback(0.5, channel="a"), seed=3).sound(0, 9000)
    assert np.array_equal(other[:, 1], Cell(seed=3).sound(0, 9000)[:, 1])
    assert lit(channels=1, loopback=Loopback(0.5)).sound(0, 100).shape == (100, 1)


def test_overruns_come_at_their_rate() -> None:
    gaps, seed = Gaps(0.5, 0.02), noise.Seed(2)
    lost = [gaps.lost(frame, 4800, RATE, seed) for frame in range(0, 5000 * 4800, 4800)]
    low, high = stats.binom.ppf([1e-6, 1 - 1e-6], 5000, 0.05)
    assert low < np.count_nonzero(lost) < high
    assert set(lost) == {0, 960}
    assert lost[0] == 0
    assert Gaps().lost(4800, 4800, RATE, seed) == 0
