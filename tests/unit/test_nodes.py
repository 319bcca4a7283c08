"""The graph nodes: right values, and the same ones however the sound is cut into blocks."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.nodes import SETTINGS
from gateway.nodes.concentration import Concentration
from gateway.nodes.place import LaserPhase, NodeFault, start
from gateway.nodes.spectrum import _window as spectrum_window
from gateway.types import Flag, LevelResult, LockInResult, Measurement, PeakResult, Result, SampleBlock, Spectrum
from tests.support.graphs import RATE, graph, results, same
from tests.support.sound import noise, stereo, tone

BAND = {"frequency_min": 1800, "frequency_max": 2200}
BANDPASS = {"type": "bandpass", "center_frequency": 2012.5, "bandwidth": 200}


LOOPBACK, FREE = LaserPhase("loopback", "B"), LaserPhase("free")


CLASSIC = (
    ("input", {}),
    ("filter", BANDPASS),
    ("gain", {"gain_db": 12}),
    ("differential", {}),
    ("lock_in", {"integration_s": 0.2}),
    ("peak_finder", {**BAND, "integration_s": 0.25}),
    ("level", {"window_s": 0.1}),
    ("spectrum", {"fft_size": 1024, "averages": 4}),
    ("concentration", {"source": "lock_in4", "polynomial_coefficients": [0, 41000]}),
    ("output", {}),
)


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=20))
@settings(max_examples=30)
def test_any_split_into_blocks_gives_the_same_results(sizes: list[int]) -> None:
    samples = stereo(tone(2012.5, 1e-3, 1.2, RATE) + noise(1e-6, 1.2, RATE, 1))
    whole = results(graph(*CLASSIC), samples, len(samples))
    cut = results(graph(*CLASSIC), samples, [*sizes, 4800])
    by_node = {result.node for result in whole}
    assert len(by_node) == 5
    for node in by_node:
        ours, theirs = ([r for r in found if r.node == node] for found in (whole, cut))
        assert len(ours) == len(theirs)
        assert all(same(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("block", [480, 4800, 1234, 48_000])
def test_the_classic_chain_measures_ppm_whatever_the_block_length(block: int) -> None:
    samples = stereo(tone(2012.5, 1e-3, 2.2, RATE) + noise(1e-7, 2.2, RATE, 1))
    found = [r for r in results(graph(*CLASSIC), samples, block) if isinstance(r, Measurement)]
    true_ppm = 41000 * 2 * 10 ** (12 / 20) * 1e-3
    assert len(found) == 11
    for measurement in found:
        assert measurement.valid
        assert measurement.value is not None
        assert measurement.sigma is not None
        assert abs(measurement.value - true_ppm) < 5 * measurement.sigma + 1e-5 * true_ppm
        assert measurement.sigma < 1e-3 * true_ppm


@pytest.mark.parametrize("fft_size", [256, 4096, 65536])
def test_ppm_does_not_know_the_size_of_the_spectrum(fft_size: int) -> None:
    samples = stereo(tone(2012.5, 1e-3, 1.2, RATE))
    chain = [(kind, {**p, "fft_size": fft_size} if kind == "spectrum" else p) for kind, p in CLASSIC]
    ours = [r.value for r in results(graph(*chain), samples) if isinstance(r, Measurement)]
    theirs = [r.value for r in results(graph(*CLASSIC), samples) if isinstance(r, Measurement)]
    assert ours == theirs


def test_a_filter_off_its_middle_is_undone() -> None:
    chain = (("filter", {**BANDPASS, "center_frequency": 1990.0}), ("lock_in", {}), ("peak_finder", BAND))
    found = results(graph(*chain), stereo(tone(2012.5, 1e-2, 2.2, RATE)))
    for result in found:
        assert isinstance(result, LockInResult | PeakResult)
        assert result.amplitude == pytest.approx(1e-2, rel=1e-5)
        if isinstance(result, LockInResult):
            assert result.in_phase == pytest.approx(1e-2, rel=1e-5)


def test_the_projection_is_signed_and_turned_by_the_calibrated_phase() -> None:
    samples = stereo(tone(2012.5, 1e-2, 1.0, RATE, math.radians(150.0)))
    plain, turned = (next(iter(results(graph(("lock_in", {"phase_deg": phase})), samples))) for phase in (0.0, 150.0))
    assert isinstance(plain, LockInResult)
    assert isinstance(turned, LockInResult)
    assert plain.in_phase == pytest.approx(1e-2 * math.cos(math.radians(150.0)), rel=1e-5)
    assert turned.in_phase == pytest.approx(1e-2, rel=1e-5)
    assert abs(turned.quadrature) < 1e-7


@pytest.mark.parametrize("channels", [1, 2])
def test_a_peak_between_strong_tones_outside_its_band(channels: int) -> None:
    hum = tone(1650.3, 0.5, 1.0, RATE) + tone(2350.8, 0.4, 1.0, RATE)
    samples = stereo(hum, hum + tone(2013.7, 5e-4, 1.0, RATE))[:, -channels:]
    (peak,) = results(graph(("peak_finder", {**BAND, "channel": "AB"[channels - 1]}), channels=channels), samples)
    assert isinstance(peak, PeakResult)
    assert peak.valid
    assert peak.frequency_hz == pytest.approx(2013.7, abs=1e-3)
    assert peak.amplitude == pytest.approx(5e-4, rel=1e-3)


@pytest.mark.parametrize("before", [(), (("filter", BANDPASS),), (("filter", {**BANDPASS, "bandwidth": 100}),)])
def test_white_noise_alone_yields_no_detection(before: tuple[tuple[str, dict[str, Any]], ...]) -> None:
    chain = graph(*before, ("peak_finder", {**BAND, "integration_s": 0.25}))
    found = results(chain, stereo(noise(1e-4, 60.0, RATE, 3)))
    assert len(found) in (239, 240)
    assert not any(isinstance(r, PeakResult) and r.valid for r in found)


def test_lost_frames_void_the_record_they_fall_into_and_no_other() -> None:
    wave = stereo(tone(2012.5, 1e-2, 6.0, RATE))
    chain = graph(("lock_in", {}), ("peak_finder", BAND), ("level", {}))
    found = results(chain, wave[:70_000]) + results(chain, wave[84_321:], first_frame=84_321)
    for kind in (LockInResult, PeakResult, LevelResult):
        ours = [r for r in found if isinstance(r, kind)]
        assert [Flag.LOST_SAMPLES in r.flags for r in ours] == [False, True, False, False, False, False]
        for result in ours:
            value = result.rms if isinstance(result, LevelResult) else result.amplitude
            if Flag.LOST_SAMPLES in result.flags:
                assert value is None or math.isnan(value)
            else:
                true = 1e-2 / math.sqrt(2) if isinstance(result, LevelResult) else 1e-2
                assert value == pytest.approx(true, rel=1e-5)


def test_flags_of_a_block_reach_the_measurement() -> None:
    chain = graph(("lock_in", {}), ("concentration", {"source": "lock_in0", "polynomial_coefficients": [0, 1e5]}))
    clean = stereo(tone(2012.5, 1e-2, 2.0, RATE))
    found = results(chain, clean[:48_000], flags=frozenset({Flag.LASER_OFF}))
    found += results(chain, np.concatenate((clean[48_000:], clean[:9600])), first_frame=48_000)
    measurements = [r for r in found if isinstance(r, Measurement)]
    assert [m.valid for m in measurements] == [False, True]
    assert measurements[1].t_ns == 2_100_000_000, "the cell rings up first"
    assert Flag.LASER_OFF in measurements[0].flags


def test_concentration_carries_its_uncertainty() -> None:
    parameters = {
        "source": "lock_in0",
        "polynomial_coefficients": [0, 1e5],
        "max_ppm": 500,
        "sigma_calibration_percent": 1.0,
    }
    chain = graph(("lock_in", {}), ("concentration", parameters))
    samples = stereo(tone(2012.5, 1e-2, 1.0, RATE) + noise(1e-6, 1.0, RATE, 5))
    measurement = next(r for r in results(chain, samples) if isinstance(r, Measurement))
    assert measurement.value == pytest.approx(1000.0, abs=1.0)
    assert measurement.sigma == pytest.approx(10.0, rel=0.01)  # 1 % of the value outweighs 0.1 ppm of noise
    assert measurement.u95 == pytest.approx(19.6, rel=0.01)
    assert measurement.dof == 10_000
    assert Flag.EXTRAPOLATED in measurement.flags


def test_zero_gas_is_below_the_limit_of_detection_and_not_clamped() -> None:
    chain = graph(("lock_in", {}), ("concentration", {"source": "lock_in0", "polynomial_coefficients": [0, 1e5]}))
    found = [r for r in results(chain, stereo(noise(1e-6, 40.0, RATE, 7))) if isinstance(r, Measurement)]
    values = [m.value for m in found if m.value is not None]
    assert len(values) == 40
    assert min(values) < 0.0 < max(values)
    assert all(Flag.LOW_SIGNAL in m.flags and m.valid for m in found if m.value is not None and m.value < m.lod)


def test_a_polynomial_without_slope_at_zero_still_has_uncertainty() -> None:
    chain = graph(("lock_in", {}), ("concentration", {"source": "lock_in0", "polynomial_coefficients": [0, 0, 1e5]}))
    found = [r for r in results(chain, stereo(noise(1e-3, 1.0, RATE, 7))) if isinstance(r, Measurement)]
    assert found[0].sigma is not None
    assert found[0].sigma > 0.0


@pytest.mark.parametrize(
    ("kind", "parameters", "rms"),
    [
        ("channel_selector", {"channel": "A"}, 0.1 / math.sqrt(2)),
        ("channel_selector", {"channel": "B"}, 0.3 / math.sqrt(2)),
        ("channel_mixer", {"weights": [0.5, 0.5]}, 0.1 / math.sqrt(2)),
        ("differential", {}, 0.4 / math.sqrt(2)),
        ("gain", {"gain_db": -20}, math.sqrt((0.1**2 + 0.3**2) / 4) / 10),
    ],
)
def test_channels_and_gain(kind: str, parameters: dict[str, Any], rms: float) -> None:
    wave = tone(1000.0, 1.0, 1.0, RATE)
    found = results(graph((kind, parameters), ("level", {})), stereo(0.1 * wave, -0.3 * wave))
    assert isinstance(found[0], LevelResult)
    assert found[0].rms == pytest.approx(rms, rel=1e-5)


def test_the_spectrum_shows_amplitude_and_density() -> None:
    chain = graph(("spectrum", {"fft_size": 4096, "averages": 20}))
    wave = tone(187.5 * 16, 0.1, 2.0, RATE) + noise(1e-4, 2.0, RATE, 1)
    spectrum = results(chain, stereo(wave))[0]
    assert isinstance(spectrum, Spectrum)
    assert spectrum.power[256] == pytest.approx(0.1**2 / 2, rel=0.01)
    density = np.median(spectrum.power[400:1600]) / (spectrum.enbw_bins * spectrum.bin_hz)
    assert density == pytest.approx(1e-4**2, rel=0.1)
    assert not spectrum.power.flags.writeable


@pytest.mark.parametrize("averages", [1, 7, 40])
@pytest.mark.parametrize(("window", "overlap", "step"), [("hann", "half", 2048), ("boxcar", "none", 4096)])
def test_the_spectrum_is_that_of_welch(averages: int, window: str, overlap: str, step: int) -> None:
    samples = noise(1e-3, 4.0, RATE, 2).astype(np.float32)[: step * (averages - 1) + 4096]
    parameters = {"fft_size": 4096, "averages": averages, "window": window, "overlap": overlap}
    (spectrum,) = results(graph(("spectrum", parameters), channels=1), samples[:, None])
    assert isinstance(spectrum, Spectrum)
    exact = scipy.signal.welch(
        samples.astype(np.float64), RATE, window, 4096, 4096 - step, detrend=False, scaling="spectrum"
    )[1]
    assert spectrum.averages == averages
    assert np.abs(spectrum.power - exact).max() < 100 * 2.0**-24 * exact.max()


@pytest.mark.parametrize("window_s", [0.01, 0.1111, 1.0])
def test_the_level_is_exact_to_float32(window_s: float) -> None:
    samples = stereo(noise(1e-3, window_s, RATE, 2), tone(1234.5, 0.3, window_s, RATE) - 0.1)
    (level,) = results(graph(("level", {"window_s": window_s})), samples)
    assert isinstance(level, LevelResult)
    assert level.rms == pytest.approx(math.sqrt(np.mean(samples.astype(np.float64) ** 2)), rel=256 * 2.0**-24)
    assert level.peak == np.abs(samples).max()


def lock_ins(found: list[Result]) -> list[LockInResult]:
    return [result for result in found if isinstance(result, LockInResult)]


def square(frequency_hz: float, level: float, seconds: float) -> np.ndarray:
    """A square wave of phase 0, each sample the mean of 16 around it."""
    middle = 2.0 * math.pi * frequency_hz * 7.5 / (16 * RATE)
    return level * np.sign(tone(frequency_hz, 1.0, seconds, 16 * RATE, -middle)).reshape(-1, 16).mean(axis=1)


@pytest.mark.parametrize("level", [0.02, 1.0])
@pytest.mark.parametrize("ppm", [0.0, 30.0, -200.0])
def test_the_modulation_on_the_other_channel_is_the_phase_reference(ppm: float, level: float) -> None:
    hertz = 2012.5 * (1.0 + 1e-6 * ppm)
    signal = tone(hertz, 1e-3, 3.0, RATE, 0.9) + noise(1e-6, 3.0, RATE, 5)
    samples = stereo(signal, square(hertz, level, 3.0))
    for result in lock_ins(results(graph(("lock_in", {"phase_deg": math.degrees(0.9)}), phase=LOOPBACK), samples)):
        assert result.phase_known
        assert result.flags == frozenset()
        # the edges of the wave fall on the grid of samples: their harmonics come down beside the tone, below 1e-3
        assert abs(result.in_phase - 1e-3) < 5 * result.sigma + 1e-6
        assert abs(result.quadrature) < 5 * result.sigma + 1e-6
        assert result.clock_offset_ppm == pytest.approx(ppm, abs=0.3)


def test_a_loopback_at_full_scale_is_no_overload_of_the_microphone() -> None:
    samples = stereo(tone(2012.5, 1e-3, 1.0, RATE), 1.2 * tone(2012.5, 1.0, 1.0, RATE).clip(-1 / 1.2, 1 / 1.2))
    (result,) = lock_ins(results(graph(("lock_in", {}), phase=LOOPBACK), samples, flags=frozenset({Flag.OVERLOAD})))
    assert Flag.OVERLOAD not in result.flags
    loud = stereo(tone(2012.5, 1.0, 1.0, RATE), 0.1 * tone(2012.5, 1.0, 1.0, RATE))
    (result,) = lock_ins(results(graph(("lock_in", {}), phase=LOOPBACK), loud, flags=frozenset({Flag.OVERLOAD})))
    assert Flag.OVERLOAD in result.flags


def test_a_harmonic_is_turned_by_twice_the_phase_of_the_loopback() -> None:
    samples = stereo(tone(4025.0 * 1.0001, 1e-3, 2.0, RATE, 1.0), tone(2012.5 * 1.0001, 0.1, 2.0, RATE, 0.5))
    for result in lock_ins(results(graph(("lock_in", {"harmonic": 2}), phase=LOOPBACK), samples)):
        assert result.in_phase == pytest.approx(1e-3, rel=1e-4)
        assert result.clock_offset_ppm == pytest.approx(100.0, abs=0.01)


def test_a_lost_loopback_is_told_and_turns_nothing() -> None:
    samples = stereo(tone(2012.5, 1e-3, 1.0, RATE), noise(1e-6, 1.0, RATE, 6))
    (result,) = lock_ins(results(graph(("lock_in", {}), phase=LOOPBACK), samples))
    assert Flag.UNLOCKED in result.flags
    assert result.clock_offset_ppm is None
    assert result.in_phase == pytest.approx(1e-3, rel=1e-5)


def test_lost_samples_leave_the_phase_of_the_loopback() -> None:
    chain = graph(("lock_in", {"integration_s": 0.5}), phase=LOOPBACK)
    whole = stereo(tone(2012.5 * 1.0001, 1e-3, 5.0, RATE, 0.4), tone(2012.5 * 1.0001, 0.1, 5.0, RATE, 0.4))
    found = results(chain, whole[:70_001]) + results(chain, whole[90_007:], first_frame=90_007)
    values = [result.in_phase for result in lock_ins(found) if Flag.LOST_SAMPLES not in result.flags]
    assert len(values) >= 7
    assert values == pytest.approx([1e-3] * len(values), rel=1e-5)


def test_free_projects_on_the_tone_that_it_tracks() -> None:
    hertz = 2012.5 * 1.0001
    samples = stereo(tone(hertz, 1e-3, 12.0, RATE, 2.0) + noise(1e-5, 12.0, RATE, 7))
    found = lock_ins(results(graph(("differential", {}), ("lock_in", {"phase_deg": 77.0}), phase=FREE), samples))
    assert [Flag.UNLOCKED in result.flags for result in found][::11] == [True, False]
    assert not any(result.phase_known for result in found)
    assert all(abs(result.in_phase - 2e-3) < 5 * result.sigma for result in found)
    last = found[-1]
    assert last.clock_offset_ppm is not None
    assert last.sigma_clock_offset_ppm is not None
    assert abs(last.clock_offset_ppm - 100.0) < 5 * last.sigma_clock_offset_ppm


def test_free_without_a_tone_is_unlocked_and_takes_the_noise_off_the_magnitude() -> None:
    samples = stereo(noise(1e-5, 8.0, RATE, 8), noise(1e-5, 8.0, RATE, 9))
    found = lock_ins(results(graph(("lock_in", {}), phase=FREE), samples))
    assert all(Flag.UNLOCKED in result.flags for result in found)
    assert all(result.quadrature == 0.0 for result in found)
    assert any(result.in_phase == 0.0 for result in found)


def test_two_clocks_where_one_was_said_are_told() -> None:
    found = lock_ins(results(graph(("lock_in", {})), stereo(tone(2012.5 * 1.0001, 1e-3, 3.0, RATE))))
    assert all(Flag.UNLOCKED in result.flags for result in found)
    assert found[0].clock_offset_ppm == pytest.approx(100.0, abs=0.1)


@pytest.mark.parametrize(
    ("nodes", "channels", "word"),
    [
        ((("lock_in", {}),), 1, "mono"),
        ((("lock_in", {"channel": "B"}),), 2, "channel_selector for channel A"),
        ((("differential", {}), ("lock_in", {})), 2, "channel_selector"),
        ((("channel_mixer", {"weights": [0.5, 0.5]}), ("lock_in", {})), 2, "channel_selector"),
    ],
)
def test_where_a_loopback_cannot_be(nodes: tuple[tuple[str, dict[str, Any]], ...], channels: int, word: str) -> None:
    with pytest.raises(NodeFault) as fault:
        graph(*nodes, channels=channels, phase=LOOPBACK)
    assert word in str(fault.value)


@pytest.mark.parametrize(
    ("kind", "parameters", "channels", "option"),
    [
        ("differential", {}, 1, "type"),
        ("channel_selector", {"channel": "B"}, 1, "channel"),
        ("channel_mixer", {"weights": [1.0]}, 2, "weights"),
        ("lock_in", {"frequency_hz": 24_000}, 2, "frequency_hz"),
        ("lock_in", {"channel": "B"}, 1, "channel"),
        ("peak_finder", {"frequency_min": 2000, "frequency_max": 30_000}, 2, "frequency_max"),
        ("peak_finder", {"frequency_min": 2000, "frequency_max": 2005}, 2, "frequency_max"),
        ("filter", {"type": "bandpass", "center_frequency": 2000}, 2, "bandwidth"),
        ("filter", {"type": "bandpass", "center_frequency": 2000, "bandwidth": 24_000}, 2, "bandwidth"),
        ("filter", {"type": "lowpass", "cutoff_frequency": 30_000}, 2, "cutoff_frequency"),
        ("filter", {"type": "lowpass", "cutoff_frequency": 3000, "bandwidth": 3}, 2, "bandwidth"),
    ],
)
def test_settings_that_cannot_work_here(kind: str, parameters: dict[str, Any], channels: int, option: str) -> None:
    with pytest.raises(NodeFault) as fault:
        graph((kind, parameters), channels=channels)
    assert fault.value.option == option
    assert fault.value.message
    assert fault.value.remedy


def test_an_unchanged_node_goes_on_when_the_graph_is_exchanged() -> None:
    samples = stereo(tone(2012.5, 1e-2, 3.0, RATE))
    one, other = graph(("lock_in", {}), ("level", {})), graph(("lock_in", {}), ("level", {"window_s": 0.5}))
    found = results(one, samples[:72_000])
    found += results(other.adopt(one), samples[72_000:], first_frame=72_000)
    assert [r.t_ns for r in found if isinstance(r, LockInResult)] == [1_000_000_000, 2_000_000_000, 3_000_000_000]


def test_every_break_is_told_even_between_two_records() -> None:
    wave = stereo(tone(2012.5, 1e-2, 4.0, RATE))
    chain = graph(("lock_in", {}), ("level", {}))
    found = results(chain, wave[:96_000]) + results(chain, wave[144_000:], first_frame=144_000)
    for kind in (LockInResult, LevelResult):
        told = [(r.t_ns, Flag.LOST_SAMPLES in r.flags) for r in found if isinstance(r, kind)]
        assert told == [(10**9, False), (2 * 10**9, False), (2 * 10**9, True), (4 * 10**9, False)]


@pytest.mark.parametrize(("rms_steps", "doubted"), [(0.1, True), (0.3, True), (0.7, False), (2.0, False)])
def test_a_converter_without_noise_is_told(rms_steps: float, doubted: bool) -> None:
    """A tone of 40 steps of a 16-bit converter and a little noise; rounding adds its own 0.29 steps."""
    step = 2.0**-15
    wave = tone(2012.5, 40 * step, 1.0, RATE) + noise(rms_steps * step / math.sqrt(RATE / 2), 1.0, RATE, 1)
    rounded = (np.rint(wave / step) * step).astype(np.float32)[:, None]
    (sixteen,) = results(graph(("lock_in", {}), channels=1), rounded)
    assert (Flag.UNDERDITHERED in sixteen.flags) is doubted
    finer = (np.rint(wave / step * 256) * step / 256).astype(np.float32)[:, None]
    (twenty_four,) = results(graph(("lock_in", {}), channels=1), finer)
    assert Flag.UNDERDITHERED not in twenty_four.flags


def test_a_value_that_stays_away_is_stale() -> None:
    """A microphone that stalls: time goes on, sound does not come."""
    chain = graph(("lock_in", {}), ("concentration", {"source": "lock_in0", "polynomial_coefficients": [0, 1e5]}))
    found = results(chain, stereo(tone(2012.5, 1e-2, 1.0, RATE)))
    for second in range(1, 7):
        found += chain.process(SampleBlock(second, second * RATE, RATE, np.zeros((0, 2), np.float32)))
    found += results(chain, stereo(tone(2012.5, 1e-2, 1.0, RATE)), first_frame=7 * RATE)
    told = [(r.t_ns // 10**9, r.value is None, Flag.STALE in r.flags) for r in found if isinstance(r, Measurement)]
    assert told[0] == (1, False, False)
    assert told[-1] == (8, False, False)
    assert {stale for second, gone, stale in told if gone and second < 4} == {False}
    assert {stale for second, gone, stale in told if gone and second >= 4} == {True}


def test_a_source_that_falls_silent_makes_the_value_stale_once() -> None:
    settings_of = SETTINGS["concentration"].model_validate({"source": "lock", "polynomial_coefficients": [0, 1e5]})
    node = Concentration("ppm", settings_of, start(RATE, 2, Fraction(2000)))
    block = SampleBlock(0, 0, RATE, np.zeros((RATE, 2), np.float32))
    tone_of = LockInResult("lock", 10**9, 2000.0, 1e-3, 0.0, 1e-6, 32, 1.0)
    found = [*node.process(block, [tone_of])]
    for second in range(1, 8):
        found += node.process(SampleBlock(second, second * RATE, RATE, block.samples), [])
    told = [(r.t_ns // 10**9, r.flags) for r in found if isinstance(r, Measurement)]
    assert told == [(1, frozenset()), (4, frozenset({Flag.STALE}))]


@pytest.mark.parametrize("name", ["hann", "blackmanharris", "flattop", "boxcar"])
def test_the_windows_are_scipys(name: str) -> None:
    theirs = scipy.signal.get_window(name, 1024)
    assert spectrum_window(name, 1024) == pytest.approx(theirs, abs=1e-7)
