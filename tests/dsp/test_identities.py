"""Held-out identities: numbers out of books and data sheets, and closed forms, against what our own nodes and commands
give. Nothing here was used to make what it checks."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats

from bench.precision import rivals
from bench.precision.world import World
from gateway.__main__ import main
from gateway.dsp.allan import deviation
from gateway.types import LockInResult, PeakResult, Spectrum
from tests.support.graphs import RATE, REFERENCE, graph, results
from tests.support.sound import Wave, noise, tone

WINDOWS = {
    "boxcar": (3.92, 1.00, (1.0,)),
    "hann": (1.42, 1.50, (0.5, 0.5)),
    "blackmanharris": (0.83, 2.00, (0.35875, 0.48829, 0.14128, 0.01168)),
    "flattop": (0.01, 3.77, (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368)),
}
"""Worst loss between bins in decibels, noise bandwidth in bins, and the window's cosine terms. Harris, Proc. IEEE 66
(1978) 51, table I (its four-term Blackman-Harris window); D'Antona and Ferrero, Digital Signal Processing for
Measurement Systems (2006), for the flat top. LeCroy's manual has the first two rows too; its Blackman-Harris (1.13 /
1.71) and flat top (0.01 / 2.96) are windows of three terms, which the node does not offer."""


def closed_form(window: str, offset_bins: float) -> tuple[float, float]:
    """Loss in decibels so far from the bin, and noise bandwidth in bins, of a sum of cosines a_k: sum_k a_k
    (sinc(d - k) + sinc(d + k)) / 2 a_0, with the Dirichlet kernel's sinc; 1 + sum_{k>0} a_k^2 / 2 a_0^2.
    """
    a = WINDOWS[window][2]
    pairs = (a[k] * (np.sinc(offset_bins - k) + np.sinc(offset_bins + k)) / 2 for k in range(len(a)))
    enbw = 1.0 + sum(term**2 for term in a[1:]) / (2.0 * a[0] ** 2)
    return -20.0 * math.log10(abs(sum(pairs)) / a[0]), enbw


def mono(*waves: Wave) -> np.ndarray:
    return np.sum(waves, axis=0).astype(np.float32)[:, None]


def spectra(samples: np.ndarray, **parameters: Any) -> list[Spectrum]:
    found = results(graph(("spectrum", parameters), channels=1), samples)
    return [r for r in found if isinstance(r, Spectrum)]


def highest(window: str, bin_number: float) -> float:
    """The highest bin of a sine's spectrum, in decibels."""
    wave = tone(bin_number * RATE / 4096, 0.5, 0.2, RATE)
    return 10.0 * math.log10(spectra(mono(wave), fft_size=4096, averages=2, window=window)[0].power.max())


@pytest.mark.parametrize("window", WINDOWS)
def test_scalloping_loss_of_the_windows(window: str) -> None:
    """Limits: the table's last digit; for the closed form what the sine's image at -f leaves in a bin of a boxcar."""
    on_bin = highest(window, 1000.0)
    assert on_bin == pytest.approx(10.0 * math.log10(0.5**2 / 2.0), abs=1e-3)
    losses = {d: on_bin - highest(window, 1000.0 + d) for d in (0.1, 0.25, 0.4, 0.5)}
    for offset, loss in losses.items():
        assert loss == pytest.approx(closed_form(window, offset)[0], abs=5e-3)
    assert max(map(abs, losses.values())) == pytest.approx(WINDOWS[window][0], abs=0.005)


@pytest.mark.parametrize("window", WINDOWS)
def test_noise_bandwidth_of_the_windows(window: str) -> None:
    """White noise of density S shows as S x bandwidth in every bin. Over n averages of half-overlapping segments and K
    bins its mean scatters by at most sqrt(2 w / n K), for at most w bins, the bandwidth, are alike.
    """
    density, size, averages, published = 1e-3, 256, 1000, WINDOWS[window][1]
    sound = mono(noise(density, 2.8, RATE, 11))
    spectrum = spectra(sound, fft_size=size, averages=averages, window=window, overlap="half")[0]
    assert spectrum.enbw_bins == pytest.approx(published, abs=0.005)
    assert spectrum.enbw_bins == pytest.approx(closed_form(window, 0.0)[1], rel=1e-5)
    bins = spectrum.power[5:-5]  # away from 0 Hz, which has one side only
    bandwidth = float(bins.mean()) / (density**2 * spectrum.bin_hz)
    assert bandwidth == pytest.approx(published, rel=4.5 * math.sqrt(2.0 * published / (averages * len(bins))))


SETTLING = (4.605, 6.638, 8.406, 10.045)
BANDWIDTH = (1 / 4, 1 / 8, 3 / 32, 5 / 64)
"""Of one to four RC poles: time to 1 % in time constants, noise bandwidth times the time constant (Stanford Research
Systems, SR844 and SR865A manuals)."""


def test_the_bandwidth_of_rc_poles_is_the_closed_form() -> None:
    """1 / (2 pi T) integral dw / (1 + w^2)^n = Gamma(n - 1/2) / (4 sqrt(pi) Gamma(n) T), and settling is
    the incomplete gamma function: so the published numbers are what they are taken for.
    """
    for poles, (settling, bandwidth) in enumerate(zip(SETTLING, BANDWIDTH, strict=True), 1):
        closed = scipy.special.gamma(poles - 0.5) / (4.0 * math.sqrt(math.pi) * scipy.special.gamma(poles))
        assert closed == pytest.approx(bandwidth, rel=1e-12)
        assert scipy.special.gammaincinv(poles, 0.99) == pytest.approx(settling, abs=0.0006)


def test_the_four_pole_rival_settles_to_one_percent_in_its_second() -> None:
    world = World(channels=1)
    found = rivals.four_poles(tone(world.drive_hz, 0.2, 1.0, RATE)[:, None], world)
    assert found == pytest.approx(0.99 * 0.1, abs=1e-5 * 0.1)


def test_the_four_pole_rival_has_the_published_noise_bandwidth() -> None:
    """Its response h to impulses at every 240th frame: bandwidth = (rate / 2) sum h^2 / (sum h)^2, against 5 / 64 T,
    10.045 T a second. The comb, and what is to come after the second, leave 6e-4.
    """
    world, comb = World(channels=1), 240
    response = []
    for frame in range(0, RATE, comb):
        impulse = np.zeros((RATE, 1))
        impulse[frame] = 1.0
        response.append(rivals.four_poles(impulse, world))
    h = np.array(response)
    bandwidth_hz = RATE / 2 * np.sum(h**2) / np.sum(h) ** 2 / comb
    # 1 % of the step is to come after the second, so sum h is 0.99; of h^2 next to nothing is left
    assert bandwidth_hz == pytest.approx(BANDWIDTH[3] * SETTLING[3] / 0.99**2, rel=1e-3)
    assert 0.5 / (BANDWIDTH[3] * SETTLING[3]) == pytest.approx(0.637, abs=0.0005), "its efficiency, at best"


DENSITY, AMPLITUDE, RECORD_S, RECORDS = 1e-5, 1e-3, 0.2, 300
SIGMA = DENSITY / math.sqrt(RECORD_S)
"""The Cramer-Rao bound of an amplitude: var A >= 2 sigma^2 / N = e_n^2 / T (Rife and Boorstyn 1974)."""


def heard(amplitude: float, phase: float = 0.0) -> list[Any]:
    """What a lock_in and a peak_finder make of a tone in white noise."""
    seconds = RECORD_S * RECORDS
    sound = mono(tone(float(REFERENCE), amplitude, seconds, RATE, phase), noise(DENSITY, seconds, RATE, 5))
    band = {"frequency_min": 1900, "frequency_max": 2100, "integration_s": RECORD_S}
    return results(graph(("lock_in", {"integration_s": RECORD_S}), ("peak_finder", band), channels=1), sound)


def at_the_bound(values: Sequence[float], true: float, bound: float) -> None:
    """No bias, and the variance of the bound: efficiency 1 within what `values` can tell (1e-5 to either side)."""
    scatter = np.array(values)
    assert abs(scatter.mean() - true) < 4.5 * bound / math.sqrt(len(values))
    low, high = scipy.stats.chi2.ppf([1e-5, 1 - 1e-5], len(values) - 1) / (len(values) - 1)
    efficiency = bound**2 / scatter.var(ddof=1)
    print(f"efficiency {efficiency:.3f} (limits {1 / high:.3f} {1 / low:.3f})")
    assert 1 / high < efficiency < 1 / low


@pytest.fixture(scope="module")
def loud() -> list[Any]:
    return heard(AMPLITUDE, 0.7)


def test_amplitude_and_phase_of_a_lock_in_reach_their_bounds(loud: list[Any]) -> None:
    """Efficiency 1 is a noise bandwidth of 0.5 / T: a boxcar's. var phi >= 1 / (N SNR) = sigma_A^2 / A^2."""
    found = [r for r in loud if isinstance(r, LockInResult)]
    assert len(found) == RECORDS
    at_the_bound([r.amplitude for r in found], math.hypot(AMPLITUDE, SIGMA / math.sqrt(2)), SIGMA)
    at_the_bound([math.atan2(r.quadrature, r.in_phase) for r in found], 0.7, SIGMA / AMPLITUDE)
    at_the_bound([r.in_phase for r in found], AMPLITUDE * math.cos(0.7), SIGMA)


def test_amplitude_and_frequency_of_a_peak_reach_their_bounds(loud: list[Any]) -> None:
    """var w >= 12 / (SNR N (N^2 - 1)) with SNR = A^2 / 2 sigma^2; the amplitude's is no larger for not knowing it."""
    found = [r for r in loud if isinstance(r, PeakResult)]
    assert len(found) == RECORDS
    frames = RECORD_S * RATE
    snr = AMPLITUDE**2 / (2.0 * DENSITY**2 * RATE / 2.0)
    bound_hz = math.sqrt(12.0 / (snr * frames * (frames**2 - 1.0))) * RATE / (2.0 * math.pi)
    at_the_bound([r.frequency_hz for r in found], float(REFERENCE), bound_hz)
    at_the_bound([r.amplitude for r in found], AMPLITUDE, SIGMA)
    told = np.mean([r.sigma_frequency_hz for r in found])
    assert told == pytest.approx(bound_hz, rel=4.5 / math.sqrt(2 * 32 * RECORDS) + 0.01)  # the mean of a root


def test_zero_gas_has_a_length_but_no_projection() -> None:
    """Rice at zero is Rayleigh: E|Z| = sqrt(pi / 2) sigma = 1.2533 sigma, var |Z| = (2 - pi / 2) sigma^2."""
    found = [r for r in heard(0.0) if isinstance(r, LockInResult)]
    at_the_bound([r.in_phase for r in found], 0.0, SIGMA)
    lengths = np.mean([r.amplitude for r in found]) / SIGMA
    assert lengths == pytest.approx(1.2533, abs=4.5 * math.sqrt((2.0 - math.pi / 2.0) / RECORDS))


def of_spectrum(exponent: float, count: int, seed: int) -> np.ndarray:
    """Noise of power density f^exponent, float64 [count], from the middle of four times as much."""
    rng, f = np.random.default_rng(seed), np.fft.rfftfreq(4 * count)[1:]
    lines = (rng.standard_normal(len(f)) + 1j * rng.standard_normal(len(f))) * f ** (exponent / 2.0)
    made: np.ndarray = np.fft.irfft(np.concatenate(([0.0], lines)), 4 * count)[count : 2 * count]
    return made / made.std()


COUNT = 20_000
NOISES = {
    "white": (of_spectrum(0.0, COUNT, 1), -0.5),
    "flicker": (of_spectrum(-1.0, COUNT, 2), 0.0),
    "random walk": (of_spectrum(-2.0, COUNT, 3), 0.5),
    "drift": (1e-3 * np.arange(COUNT), 1.0),
}
"""Slope of the Allan deviation over the averaging time, both logarithmic (NIST SP 1065, table 3)."""
AVERAGED = (8, 16, 32, 64, 128, 256)
"""Where sampling no longer shows and some eighty independent averages are left: 6 % of each, a slope within 0.06."""


def slope(deviations: Sequence[float]) -> float:
    return float(np.polyfit(np.log(AVERAGED), np.log(deviations), 1, w=[m**-0.5 for m in AVERAGED])[0])


@pytest.mark.parametrize("kind", NOISES)
def test_slopes_of_the_allan_deviation(kind: str) -> None:
    values, expected = NOISES[kind]
    assert slope([deviation(values, m) for m in AVERAGED]) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("kind", NOISES)
def test_slopes_as_the_command_tells_them(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values, expected = NOISES[kind]
    fields = {"kind": "measurement", "node": "co2", "valid": True}
    lines = [json.dumps({**fields, "t_s": 2.0 * i, "ppm": 400.0 + x}) for i, x in enumerate(values.tolist())]
    (tmp_path / "record.jsonl").write_text("\n".join(lines))
    assert main(["allan", str(tmp_path / "record.jsonl"), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_tau = {fields["tau_s"]: fields["adev_ppm"] for fields in told if fields["kind"] == "allan"}
    assert slope([by_tau[2.0 * m] for m in AVERAGED]) == pytest.approx(expected, abs=0.06)
