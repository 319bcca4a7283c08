"""Detection, frequency, amplitude and sigma of a tone against the Cramer-Rao bounds, with limits from theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from gateway.dsp.band import BandTransform
from gateway.dsp.detect import find_peak, threshold
from gateway.dsp.tone import Tone, fit_tone
from tests.support.sound import noise, tone

RATE, TRIALS = 48_000, 300
MARGIN = 40
DENSITY = 1e-5


def found(samples: np.ndarray, low_hz: float = 1800, high_hz: float = 2200, rate_hz: int = RATE) -> Tone | None:
    """As the peak_finder finds it, with a false alarm in a million records."""
    first, last = (round(f * len(samples) / rate_hz) for f in (low_hz, high_hz))
    begin = max(0, first - MARGIN)
    z = BandTransform(len(samples), begin, last + MARGIN).bins(samples.astype(np.float32))
    place = find_peak(z[first - 2 - begin : last + 3 - begin], 1e-6)
    return None if place is None else fit_tone(z, begin, first + place, len(samples))


def many(frequency_hz: float, amplitude: float, trials: int = TRIALS, more: float | np.ndarray = 0.0) -> list[Tone]:
    """The tone in noise of DENSITY, so that sigma at the bound is DENSITY too, over 1 s."""
    clean = tone(frequency_hz, amplitude, 1.0, RATE, 0.5) + more
    tones = [found(clean + noise(DENSITY, 1.0, RATE, seed)) for seed in range(trials)]
    assert None not in tones
    return [t for t in tones if t is not None]


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("frequency_hz", [1999.9371, 2002.0, 2013.7])
def test_a_clean_tone_is_found_to_float32_precision(rate_hz: int, frequency_hz: float) -> None:
    result = found(tone(frequency_hz, 0.1, 1.0, rate_hz, 1.1), rate_hz=rate_hz)
    assert result is not None
    assert abs(result.bins - frequency_hz) < 1e-5
    assert abs(abs(result.phasor.value) / 0.1 - 1.0) < 1e-6


@pytest.mark.parametrize("frequency_hz", [12.5, 23_990.4])
def test_its_image_is_told_from_the_tone_at_either_end(frequency_hz: float) -> None:
    z = BandTransform(RATE, max(0, round(frequency_hz) - 60), min(RATE // 2, round(frequency_hz) + 60))
    samples = tone(frequency_hz, 0.1, 1.0, RATE, 1.1).astype(np.float32)
    result = fit_tone(z.bins(samples), max(0, round(frequency_hz) - 60), frequency_hz + 0.05, RATE)
    assert abs(result.bins - frequency_hz) < 1e-4
    assert abs(abs(result.phasor.value) / 0.1 - 1.0) < 1e-4


@pytest.mark.parametrize("frequency_hz", [2013.0, 2013.5, 1800.5])
def test_next_to_nothing_of_the_record_is_wasted(frequency_hz: float) -> None:
    """Beside the matched filter on the same noise: what the fit adds to its error is under 1 % of its variance."""
    matched = np.exp(-2j * np.pi * frequency_hz * np.arange(RATE) / RATE - 0.5j) * 2.0 / RATE
    bound = [float((noise(DENSITY, 1.0, RATE, seed) @ matched).real) for seed in range(TRIALS)]
    errors = [abs(t.phasor.value) - 0.1 for t in many(frequency_hz, 0.1)]
    wasted = np.mean((np.array(errors) - bound) ** 2) / np.mean(np.square(bound))
    print(f"wasted {wasted:.4f} (limit 0.01)")
    assert wasted < 0.01


@pytest.mark.parametrize("snr_db", [-20, 0, 40])
def test_amplitude_and_frequency_reach_their_bounds_and_sigma_says_so(snr_db: float) -> None:
    amplitude = DENSITY * math.sqrt(
        RATE * 10 ** (snr_db / 10)
    )  # of a sample: A^2 / 2 sigma^2, sigma^2 = density^2 fs / 2
    tones = many(2013.7, amplitude)
    sigma = np.array([t.phasor.sigma for t in tones])
    length = np.array([abs(t.phasor.value) for t in tones])
    error = np.sqrt(length**2 - sigma**2) - amplitude
    frequency = np.array([t.bins for t in tones]) - 2013.7
    bound_hz = math.sqrt(12.0) * DENSITY / (2.0 * math.pi * amplitude)
    low, high = scipy.stats.chi2.ppf([1e-5, 1 - 1e-5], TRIALS) / TRIALS
    assert abs(error.mean()) < 4.5 * DENSITY / math.sqrt(TRIALS)
    assert abs(frequency.mean()) < 4.5 * bound_hz / math.sqrt(TRIALS)
    assert low < np.mean(error**2) / DENSITY**2 < high
    assert low < np.mean(frequency**2) / bound_hz**2 < high
    low, high = scipy.stats.chi2.ppf([1e-5, 1 - 1e-5], 32 * TRIALS) / (32 * TRIALS)
    assert all(t.phasor.dof == 32 for t in tones)  # no leakage is seen where there is none
    assert 0.99 * low < np.mean(sigma**2) / DENSITY**2 < high  # the fit takes up to 1 % of the noise beside it
    assert np.mean([t.sigma_bins for t in tones]) == pytest.approx(bound_hz, rel=0.05)


@pytest.mark.parametrize("hum_hz", [1700.21, 2300.37])
@pytest.mark.parametrize("frequency_hz", [2013.7, 2190.3])
def test_a_tone_a_thousand_times_as_strong_beside_the_band_does_not_disturb(frequency_hz: float, hum_hz: float) -> None:
    amplitude, trials = 1e-3, 100
    tones = many(frequency_hz, amplitude, trials, tone(hum_hz, 1000.0 * amplitude, 1.0, RATE, 1.0))
    error = np.array([abs(t.phasor.value) for t in tones]) - amplitude
    frequency = np.array([t.bins for t in tones]) - frequency_hz
    sigma = DENSITY * math.sqrt(1.5)  # the price of a Hann window
    low, high = scipy.stats.chi2.ppf([1e-5, 1 - 1e-5], trials) / trials
    assert abs(error.mean()) < 4.5 * sigma / math.sqrt(trials) + 1e-3 * amplitude
    assert low < np.mean(error**2) / sigma**2 < high
    assert low < np.mean(frequency**2) / np.mean([t.sigma_bins**2 for t in tones]) < high
    assert np.mean([t.phasor.sigma for t in tones]) == pytest.approx(sigma, rel=0.1)


def test_noise_alone_is_seldom_taken_for_a_tone() -> None:
    rate, transform = 1e-2, BandTransform(4800, 98, 302)
    waves = (noise(1e-3, 0.1, RATE, seed).astype(np.float32) for seed in range(2000))
    seen = sum(find_peak(transform.bins(wave), rate) is not None for wave in waves)
    assert seen <= scipy.stats.binom.ppf(1 - 1e-5, 2000, 2 * rate)  # twice: the median of 200 bins scatters too


def test_threshold_tends_to_the_logarithm() -> None:
    assert threshold(1_000_000, 1e-6) == pytest.approx(math.log(1e12), rel=1e-3)


def test_silence_has_no_tone() -> None:
    assert found(np.zeros(4800), 1000, 3000) is None
