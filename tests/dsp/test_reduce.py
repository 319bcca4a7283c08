"""One phasor of a record, whatever else is heard: against the bound of white noise alone, with limits from theory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dsp.demodulator import Demodulator, Phasors, exact
from gateway.dsp.reduce import Reduced, reduce

RATE_HZ = 48_000
COUNT = 100
SIGMA = math.sqrt(0.5 * 2.0 / 480.0)
"""Of a sub-block's real part, in sound with as much white noise as signal (0 dB a sample) and an amplitude of 1."""
BOUND = SIGMA**2 / COUNT
ENTANGLED = np.linalg.cholesky(np.array([[1.0, 0.0], [0.0, 1.0]]) + 1000.0 * np.array([[1.0, 0.8], [0.8, 0.64]]))

Disturbance = Callable[[np.random.Generator], Phasors]


def gaussian(generator: np.random.Generator, *shape: int) -> Phasors:
    return np.asarray(generator.standard_normal(shape) + 1j * generator.standard_normal(shape))


def images(frequency_hz: float) -> Phasors:
    return Demodulator([exact(frequency_hz)], RATE_HZ).images(0, 0, COUNT)


def heard(carrier_hz: float, sound: npt.NDArray[np.float64]) -> Phasors:
    """What a demodulator at `carrier_hz` makes of a second of sound, complex128 [sub-blocks]."""
    demodulator = Demodulator([exact(carrier_hz)], RATE_HZ)
    return demodulator.push(0, sound.astype(np.float32)[:, None])[1][:, 0, 0]


def tones(carrier_hz: float, frequencies_hz: list[float], amplitudes: list[float]) -> Disturbance:
    """Tones with random phases."""
    time = np.arange(RATE_HZ) / RATE_HZ
    waves = [
        [heard(carrier_hz, amplitude * turn(2.0 * np.pi * hertz * time)) for turn in (np.cos, np.sin)]
        for hertz, amplitude in zip(frequencies_hz, amplitudes, strict=True)
    ]

    def make(generator: np.random.Generator) -> Phasors:
        phases = generator.uniform(0.0, 2.0 * np.pi, len(waves))
        return np.asarray(sum(c * math.cos(p) + s * math.sin(p) for (c, s), p in zip(waves, phases, strict=True)))

    return make


def hum(carrier_hz: float, mains_hz: float) -> Disturbance:
    """60 harmonics, the first 20 times the signal, their power falling as 1/k."""
    order = np.arange(1, 61)
    return tones(carrier_hz, (mains_hz * order).tolist(), (20.0 / np.sqrt(order)).tolist())


def knocks(carrier_hz: float) -> Disturbance:
    """Four a second on average, 50 times the signal, ringing at 1.5 kHz for 2 ms."""
    time = np.arange(RATE_HZ // 10) / RATE_HZ
    ring = 50.0 * np.exp(-time / 0.002) * np.sin(2.0 * np.pi * 1500.0 * time)

    def make(generator: np.random.Generator) -> Phasors:
        sound = np.zeros(RATE_HZ + len(ring))
        for place in generator.integers(0, RATE_HZ, generator.poisson(4.0)):
            sound[place : place + len(ring)] += generator.choice((-1.0, 1.0)) * ring
        return heard(carrier_hz, sound[:RATE_HZ])

    return make


def trial(
    seed: int, carrier_hz: float, disturbance: Disturbance | None, steering: npt.ArrayLike, amplitude: float = 1.0
) -> tuple[Reduced, Phasors]:
    """A record with a tone of `amplitude` times `steering`, and what a plain mean makes of its noise alone."""
    generator = np.random.default_rng(seed)
    s = np.asarray(steering, complex)
    z = (amplitude + images(carrier_hz) * amplitude)[:, None] * s
    if disturbance is not None:
        z = z + disturbance(generator)[:, None] * s
    noise = SIGMA * gaussian(generator, COUNT, len(s))
    return reduce(z + noise, images(carrier_hz), np.zeros(z.shape)), noise.mean(axis=0)


def check(
    found: list[Reduced], plain: list[Phasors], expected: complex, efficiency: float, cautious: float = 1.1
) -> None:
    """Unbiased, as efficient as asked, and with a sigma that says so, or at most is `cautious`; for
    the first microphone.
    """
    values = np.array([reduced.phasors[0] for reduced in found]) - expected
    strayed = values - np.array(plain)[:, 0]
    excess = float(np.mean(np.abs(strayed) ** 2)) / 2.0 / BOUND
    bias = abs(strayed.mean()) / math.sqrt(np.mean(np.abs(strayed) ** 2) / len(found) + 1e-30)
    power = np.array([np.mean(np.abs(reduced.noise[:, 0]) ** 2) / 2.0 for reduced in found])
    dof = np.array([2 * len(reduced.noise) for reduced in found])
    honest = float(np.median(power)) / BOUND / (1.0 + excess)
    inside = np.abs(np.concatenate((values.real, values.imag))) < np.tile(
        scipy.stats.t.ppf(0.975, dof) * np.sqrt(power), 2
    )
    low, high = scipy.stats.binom.ppf([1e-4, 1.0 - 1e-4], len(inside), 0.95) / len(inside)
    print(
        f"efficiency {1.0 / (1.0 + excess):.3f} (limit {efficiency}), bias {bias:.2f} standard errors (limit 4.5), "
        f"variance said over true {honest:.3f} (limits 0.9 {cautious}), coverage {inside.mean():.3f} "
        f"(limits {low:.3f} {high:.3f})"
    )
    assert 1.0 / (1.0 + excess) >= efficiency
    assert bias < 4.5
    assert 0.9 < honest < cautious
    assert low <= inside.mean() <= high


def test_a_clean_record_gives_its_mean() -> None:
    for seed in range(20):
        reduced, plain = trial(seed, 2013.7, None, [1.0, -0.8])
        assert np.allclose(reduced.phasors - [1.0, -0.8], plain, atol=0.02 * math.sqrt(BOUND))
        assert reduced.noise.shape == (16, 2)
        assert (reduced.masked, reduced.tones, reduced.estimated.any()) == (0.0, 0, False)


@pytest.mark.parametrize("count", [10, 100])
@pytest.mark.parametrize("mixture", [np.eye(1), np.eye(2), ENTANGLED], ids=["one", "two", "two with common noise"])
def test_a_clean_record_is_rarely_called_disturbed(count: int, mixture: Phasors) -> None:
    trials = 3000
    generator = np.random.default_rng(11)
    image = 0.01 * np.exp(0.5j * np.pi * np.arange(count))
    clipped = np.zeros((count, len(mixture)))
    found = [reduce(3.0 + gaussian(generator, count, len(mixture)) @ mixture.T, image, clipped) for _ in range(trials)]
    called = sum(reduced.masked > 0.0 or reduced.tones > 0 for reduced in found)
    limit = scipy.stats.binom.ppf(1.0 - 1e-4, trials, 1e-3)
    print(f"{called} of {trials} (limit {limit:.0f})")
    assert called <= limit


def test_the_noise_is_that_of_the_phasors() -> None:
    """Also between the microphones, and in phase: E n n^H is alike."""
    generator = np.random.default_rng(12)
    mixture = np.array([[1.0, 0.0], [0.6 + 0.5j, 0.4]])
    found = [
        reduce(gaussian(generator, COUNT, 2) @ mixture.T, np.zeros(COUNT, complex), np.zeros((COUNT, 2)))
        for _ in range(400)
    ]
    noise = np.concatenate([reduced.noise for reduced in found])
    expected = mixture @ mixture.conj().T * 2.0 / COUNT
    assert np.allclose(noise.T @ noise.conj() / len(noise), expected, atol=5.0 * expected.max().real / 80.0)


@pytest.mark.parametrize("carrier_hz", [2012.5, 2013.7])
@pytest.mark.parametrize("mains_hz", [50.0, 50.03, 49.95])
def test_hum_is_taken_out(carrier_hz: float, mains_hz: float) -> None:
    disturbance = hum(carrier_hz, mains_hz)
    found, plain = zip(*(trial(seed, carrier_hz, disturbance, [1.0]) for seed in range(80)), strict=True)
    assert all(reduced.tones > 0 for reduced in found)
    check(list(found), list(plain), 1.0, 0.9, 1.2)


@pytest.mark.parametrize(("offset_hz", "amplitude"), [(7.3, 3.0), (7.3, 0.15), (33.3, 30.0), (-3.4, 1.0)])
@pytest.mark.parametrize("steering", [[1.0], [1.0, -0.8]], ids=["one", "two"])
def test_a_tone_is_taken_out(offset_hz: float, amplitude: float, steering: list[float]) -> None:
    disturbance = tones(2012.5, [2012.5 + offset_hz], [amplitude])
    found, plain = zip(*(trial(seed, 2012.5, disturbance, steering) for seed in range(150)), strict=True)
    assert all(reduced.tones > 0 and reduced.masked == 0.0 for reduced in found)
    check(list(found), list(plain), 1.0, 0.95)


def test_knocks_are_cut_out() -> None:
    disturbance = knocks(2012.5)
    found, plain = zip(*(trial(seed, 2012.5, disturbance, [1.0, -1.0]) for seed in range(200)), strict=True)
    struck = sum(reduced.masked > 0.0 for reduced in found)
    assert struck >= scipy.stats.binom.ppf(1e-4, 200, 1.0 - math.exp(-4.0))
    assert all(reduced.tones == 0 for reduced in found)
    check(list(found), list(plain), 1.0, 0.88)


def test_all_at_once() -> None:
    parts = [knocks(2012.5), hum(2012.5, 50.03), tones(2012.5, [2045.8], [30.0])]
    found, plain = zip(
        *(trial(seed, 2012.5, lambda g: sum(part(g) for part in parts), [1.0, -1.0]) for seed in range(80)), strict=True
    )
    check(list(found), list(plain), 1.0, 0.78)


def test_knocks_in_step_are_no_tones() -> None:
    generator = np.random.default_rng(5)
    z = SIGMA * gaussian(generator, COUNT, 2)
    z[10::25] += 1.0
    struck = reduce(z, np.zeros(COUNT, complex), np.zeros(z.shape))
    assert (struck.tones, struck.masked) == (0, pytest.approx(0.04, abs=0.02))


def test_gas_that_comes_within_the_record_is_no_noise() -> None:
    generator = np.random.default_rng(6)
    ramp = np.linspace(0.0, 2.0, COUNT)[:, None]
    z = ramp + SIGMA * gaussian(generator, COUNT, 1)
    reduced = reduce(z, np.zeros(COUNT, complex), np.zeros(z.shape))
    sigma = math.sqrt(np.mean(np.abs(reduced.noise) ** 2) / 2.0)
    low, high = np.sqrt(scipy.stats.chi2.ppf([1e-4, 1.0 - 1e-4], 32) / 32.0 * BOUND)
    assert reduced.phasors[0] == pytest.approx(1.0, abs=5.0 * math.sqrt(BOUND))
    assert low < sigma < high
    assert (reduced.masked, reduced.tones) == (0.0, 0)


def test_clipped_sub_blocks_are_cut_out_where_they_are_few() -> None:
    z = np.full((COUNT, 2), 1.0 + 0j) + SIGMA * gaussian(np.random.default_rng(7), COUNT, 2)
    clipped = np.zeros(z.shape)
    z[20:30] *= 0.5
    clipped[20:30] = 0.5
    reduced = reduce(z, np.zeros(COUNT, complex), clipped)
    assert reduced.phasors == pytest.approx(1.0, abs=5.0 * math.sqrt(BOUND / 0.9))
    assert reduced.estimated.tolist() == [True, True]
    assert (reduced.masked, reduced.tones) == (0.0, 0)


def test_sound_clipped_throughout_is_restored() -> None:
    """A tone of 1.1 full scale at 213 Hz clips the sound; what is heard at the carrier is less by the clipped part."""
    time = np.arange(RATE_HZ) / RATE_HZ
    loud = 1.1 * np.cos(2.0 * np.pi * 213.0 * time) + 0.01 * np.cos(2.0 * np.pi * 2012.5 * time)
    loud += 0.01 * math.sqrt(0.5) * np.random.default_rng(8).standard_normal(RATE_HZ)
    part = np.mean(np.abs(loud) >= 1.0)
    z = heard(2012.5, np.clip(loud, -1.0, 1.0))[:, None]
    reduced = reduce(z, images(2012.5), np.full(z.shape, part))
    sigma = math.sqrt(np.mean(np.abs(reduced.noise) ** 2) / 2.0)
    assert part > 0.2
    assert reduced.estimated.tolist() == [True]
    assert reduced.phasors[0].real == pytest.approx(0.01, abs=5.0 * sigma)
    assert sigma < 0.02 * 0.01


def test_one_clipped_microphone_costs_the_other_nothing() -> None:
    z = np.full((COUNT, 2), 1.0 + 0j) + SIGMA * gaussian(np.random.default_rng(9), COUNT, 2)
    clipped = np.zeros(z.shape)
    clipped[20:30, 0] = 0.5
    reduced = reduce(z, np.zeros(COUNT, complex), clipped)
    assert reduced.estimated.tolist() == [True, False]
    assert reduced.phasors[1] == pytest.approx(z[:, 1].mean(), rel=1e-9)


@pytest.mark.parametrize("count", [6, 7, 10, 33, 1000])
def test_silence_and_identical_microphones_are_met(count: int) -> None:
    silent = reduce(np.zeros((count, 2), complex), np.zeros(count, complex), np.zeros((count, 2)))
    assert np.array_equal(silent.phasors, [0.0, 0.0])
    assert not silent.noise.any()
    one = 1.0 + 0.1 * gaussian(np.random.default_rng(10), count, 1)
    same = reduce(np.repeat(one, 2, axis=1), np.zeros(count, complex), np.zeros((count, 2)))
    assert same.phasors == pytest.approx(one.mean(), rel=1e-9)
    assert (same.masked, same.tones) == (0.0, 0)
    assert np.isfinite(same.noise).all()


def test_a_loud_pure_tone_is_not_called_disturbed() -> None:
    """Rounding leaves lines and steps; they are far below everything."""
    for carrier_hz in (2012.5, 2013.7, 1999.9):
        sound = 0.5 * np.cos(2.0 * np.pi * carrier_hz * np.arange(RATE_HZ) / RATE_HZ)
        reduced = reduce(heard(carrier_hz, sound)[:, None], images(carrier_hz), np.zeros((COUNT, 1)))
        assert (reduced.masked, reduced.tones) == (0.0, 0)
        assert reduced.phasors[0] == pytest.approx(0.5, rel=1e-6)


@given(st.floats(1e-6, 1e3), st.floats(0.0, 6.28), st.integers(0, 3))
@settings(max_examples=25)
def test_louder_or_turned_sound_gives_a_louder_or_turned_phasor(gain: float, phase: float, seed: int) -> None:
    """The image of a turned tone turns the other way."""
    generator = np.random.default_rng(seed)
    image = 0.01 * np.exp(0.5j * np.pi * np.arange(COUNT))
    z = 1.0 + image[:, None] + SIGMA * gaussian(generator, COUNT, 2)
    z[30] += 2.0
    z += np.exp(0.63j * np.arange(COUNT))[:, None] * [3.0, 1.0]
    turn = gain * np.exp(1j * phase)
    one = reduce(z, image, np.zeros(z.shape))
    other = reduce(turn * z, image * np.exp(2j * phase), np.zeros(z.shape))
    assert other.phasors == pytest.approx(turn * one.phasors, rel=1e-6)
    assert other.noise == pytest.approx(turn * one.noise, abs=1e-6 * gain)
    assert (other.masked, other.tones) == (one.masked, one.tones)
    assert one.masked > 0.0
    assert one.tones > 0
