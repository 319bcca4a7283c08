"""What holds for every sound: properties of a whole graph, from the samples to ppm."""

from __future__ import annotations

import cmath
import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drivers.alsa import decode
from drivers.sound import condition
from gateway.calibration import CurveShape
from gateway.dsp.calibrate import Curve, Point, fit
from gateway.errors import CalibrationError
from gateway.nodes.place import LaserPhase
from gateway.types import (
    INVALIDATING,
    Flag,
    LevelResult,
    Light,
    LockInResult,
    Measurement,
    PeakResult,
    Result,
    SampleBlock,
    Spectrum,
)
from tests.recordings import words
from tests.support.graphs import RATE, REFERENCE, graph, results, same
from tests.support.sound import Wave, noise, stereo, tone

TWO_WAYS = (
    ("filter", {"type": "bandpass", "center_frequency": 2012.5, "bandwidth": 200}),
    ("lock_in", {"integration_s": 0.2}),
    ("lock_in", {"integration_s": 0.15, "harmonic": 2, "channel": "B"}),
    ("peak_finder", {"frequency_min": 1900, "frequency_max": 2100, "integration_s": 0.2, "channel": "B"}),
    ("level", {"window_s": 0.1}),
    ("spectrum", {"fft_size": 1024, "averages": 4}),
    ("concentration", {"source": "lock_in1", "polynomial_coefficients": [0, 41000]}),
)
"""Two microphones, each with its own lock_in."""
ONE_WAY = tuple(
    (kind, {**settings, "channel": "A"} if "channel" in settings else settings) for kind, settings in TWO_WAYS
)
"""The same at one microphone, for the other channel is the laser's."""
DIFFERENCE = (
    ("differential", {}),
    ("lock_in", {"integration_s": 0.2}),
    ("concentration", {"source": "lock_in1", "polynomial_coefficients": [0, 41000]}),
)
DENSITY = 1e-6
QUICK = settings(max_examples=10)

phases = st.floats(-math.pi, math.pi)
frames = st.integers(0, 40_000)


def hiss(seconds: float, seed: int = 1) -> Wave:
    """Noise of its own in each channel, float64 [frames, 2]."""
    return np.stack([noise(DENSITY, seconds, RATE, seed + channel) for channel in (0, 1)], axis=1)


def phasors(found: list[Result]) -> list[complex]:
    return [complex(r.in_phase, r.quadrature) for r in found if isinstance(r, LockInResult)]


def of(kind: type[Any], found: list[Result]) -> list[Any]:
    return [r for r in found if isinstance(r, kind)]


def retuned(at: int, frames: int) -> np.ndarray:
    """Tone and second harmonic of a laser that goes to 2013.7 Hz at frame `at`, its phase going on, with noise."""
    n = np.arange(frames)
    turns = np.where(n < at, 2012.5 * n, 2012.5 * at + 2013.7 * (n - at)) / RATE
    wave = 1e-3 * np.cos(2 * np.pi * turns) + 3e-4 * np.cos(4 * np.pi * turns)
    return (stereo(wave, -0.5 * wave) + hiss(frames / RATE)).astype(np.float32)


def cut(samples: np.ndarray, at: int, gap: tuple[int, int], sizes: list[int]) -> list[SampleBlock]:
    """Blocks of `sizes` and, beyond them, of any length; a retune at frame `at`, a gap (first, frames)."""
    ends, end = set(), 0
    for size in sizes:
        ends.add(end := end + size)
    ends |= {at, gap[0], sum(gap), len(samples)}
    edges = [0, *sorted(end for end in ends if 0 < end <= len(samples))]
    lights = (Light(REFERENCE, 0.5, 0.02), Light(Fraction(20137, 10), 0.5, 0.02))
    return [
        SampleBlock(index, first, RATE, samples[first:last], light=lights[first >= at])
        for index, (first, last) in enumerate(itertools.pairwise(edges))
        if not gap[0] <= first < sum(gap)
    ]


@given(
    st.lists(st.integers(1, 9000), max_size=12),
    frames,
    frames,
    st.integers(0, 3000),
    st.sampled_from(["same_codec", "loopback", "free"]),
)
@settings(max_examples=40)
def test_any_split_gives_the_same_through_gaps_and_retunes(
    sizes: list[int], at: int, first: int, lost: int, kind: Any
) -> None:
    samples, phase = retuned(at, 48_000), LaserPhase(kind)
    nodes = ONE_WAY if kind == "loopback" else TWO_WAYS
    whole, parts = (
        [r for block in cut(samples, at, (first, lost), s) for r in chain.process(block)]
        for s, chain in (([], graph(*nodes, phase=phase)), (sizes, graph(*nodes, phase=phase)))
    )
    for node in {r.node for r in whole + parts}:
        ours, theirs = ([r for r in found if r.node == node] for found in (whole, parts))
        assert len(ours) == len(theirs)
        assert all(same(one, other) for one, other in zip(ours, theirs, strict=True))


@given(st.integers(0, 30_000))
@QUICK
def test_a_retune_loses_no_samples_and_waits_for_the_cell(at: int) -> None:
    blocks = cut(retuned(at, 48_000), at, (0, 0), [])
    chain = graph(("lock_in", {"integration_s": 0.2}))
    after = [r for block in blocks for r in chain.process(block) if block.frame >= at]
    assert not any(Flag.LOST_SAMPLES in r.flags for r in after)
    waited_s = of(LockInResult, after)[0].t_ns / 1e9 - 0.2 - at / RATE
    assert (0.09 if at else 0.0) <= waited_s < 0.11, "ten milliseconds are the grid"


@given(st.floats(1e-3, 300.0), st.sampled_from([TWO_WAYS, DIFFERENCE]))
@QUICK
def test_louder_sound_is_the_same_in_larger_numbers(gain: float, chain: Any) -> None:
    sound = stereo(tone(2012.5, 1e-3, 0.6, RATE, 0.4), tone(2012.5, -6e-4, 0.6, RATE, 0.4)) + hiss(0.6)
    plain, loud = (results(graph(*chain), (sound * g).astype(np.float32)) for g in (1.0, gain))
    assert len(plain) == len(loud) > 4
    for one, other in zip(plain, loud, strict=True):
        assert one.flags == other.flags
        for name, power in (
            ("in_phase", 1),
            ("quadrature", 1),
            ("sigma", 1),
            ("amplitude", 1),
            ("rms", 1),
            ("peak", 1),
            ("value", 1),
            ("u95", 1),
            ("lod", 1),
            ("power", 2),
            ("frequency_hz", 0),
        ):
            if hasattr(one, name):
                scale = gain**power
                floor = 1e-9 if name == "power" else 1e-7 * getattr(one, "amplitude", 0.0)
                got = np.asarray(getattr(other, name)) / scale
                assert got == pytest.approx(np.asarray(getattr(one, name)), rel=1e-4, abs=floor), name


@given(st.floats(0.0, 0.3), phases, st.floats(0.0, 0.3), phases, st.integers(0, 99))
@QUICK
def test_tones_add_as_vectors(size: float, phase: float, more: float, turn: float, seed: int) -> None:
    """With one and the same noise; the mean of float32 sines is exact to 1e-7 of the loudest."""
    chain = DIFFERENCE[:2]
    one, other = (tone(2012.5, a, 0.4, RATE, p) for a, p in ((size, phase), (more, turn)))
    base, both = (
        results(graph(*chain), (stereo(wave) + hiss(0.4, seed)).astype(np.float32)) for wave in (one, one + other)
    )
    added = 2.0 * more * cmath.exp(1j * turn)
    for before, after in zip(phasors(base), phasors(both), strict=True):
        assert abs(after - before - added) < 1e-6 * (size + more) + 0.01 * DENSITY


@given(st.floats(-360, 360))
@QUICK
def test_the_calibrated_phase_turns_the_phasor_and_nothing_else(degrees: float) -> None:
    sound = (stereo(tone(2012.5, 1e-3, 0.4, RATE, 0.4)) + hiss(0.4)).astype(np.float32)
    plain, turned = (
        of(
            LockInResult,
            results(graph(("differential", {}), ("lock_in", {"integration_s": 0.2, "phase_deg": d})), sound),
        )
        for d in (0.0, degrees)
    )
    for one, other in zip(plain, turned, strict=True):
        expected = complex(one.in_phase, one.quadrature) * cmath.exp(-1j * math.radians(degrees))
        assert complex(other.in_phase, other.quadrature) == pytest.approx(expected, abs=1e-12)
        assert (one.sigma, one.dof, one.flags) == (other.sigma, other.dof, other.flags)


@given(frames, st.integers(1, 10**12), phases)
@QUICK
def test_a_gap_keeps_the_phase(first: int, lost: int, phase: float) -> None:
    """However long it is: the frame number tells the time."""
    turns = float(REFERENCE / RATE * (first + lost) % 1)
    before, after = (stereo(tone(2012.5, 1e-2, 0.9, RATE, p)) for p in (phase, phase + 2 * math.pi * turns))
    chain = graph(*DIFFERENCE[:2])
    found = results(chain, before[:first]) + results(chain, after, first_frame=first + lost)
    voided = [Flag.LOST_SAMPLES in r.flags for r in of(LockInResult, found)]
    assert sum(voided) == 1
    whole = [z for z, void in zip(phasors(found), voided, strict=True) if not void]
    assert len(whole) >= 4
    assert whole == pytest.approx([2e-2 * cmath.exp(1j * phase)] * len(whole), abs=1e-7)


@given(st.integers(1, 10**9))
@QUICK
def test_sound_that_comes_sub_blocks_later_is_the_same_sound(count: int) -> None:
    """Only the phase turns, by what the laser's wave went on."""
    sound = (stereo(tone(2012.5, 1e-3, 0.5, RATE)) + hiss(0.5)).astype(np.float32)
    now = of(LockInResult, results(graph(*DIFFERENCE), sound))
    gap, *later = of(LockInResult, results(graph(*DIFFERENCE), sound, first_frame=480 * count))
    assert Flag.LOST_SAMPLES in gap.flags
    turn = cmath.exp(-2j * math.pi * float(REFERENCE / 100 * count % 1))
    for one, other in zip(now, later, strict=True):
        assert other.t_ns == one.t_ns + count * 10_000_000
        assert (other.dof, other.flags) == (one.dof, one.flags)
        assert other.sigma == pytest.approx(one.sigma, rel=1e-6)
        z, shifted = phasors([one, other])
        assert shifted == pytest.approx(z * turn, abs=1e-9)


@given(st.floats(1e-5, 0.4), st.integers(0, 99))
@QUICK
def test_sixteen_bits_are_the_same_in_longer_words(amplitude: float, seed: int) -> None:
    """S16 as a card gives it, and the same numbers as S24, S32 and FLOAT: not a bit differs in what comes out."""
    sound = np.rint((stereo(tone(2012.5, amplitude, 0.5, RATE)) + hiss(0.5, seed)) * 2**15) / 2**15
    formats = {"S16_LE": "PCM_16", "S24_3LE": "PCM_24", "S32_LE": "PCM_32", "FLOAT_LE": "FLOAT"}
    heard = {name: decode(words(sound, subtype), name, 2) for name, subtype in formats.items()}
    one, *others = (repr(results(graph(*DIFFERENCE), samples)) for samples in heard.values())
    assert others == [one] * 3


@given(phases, st.floats(0.1, 3.0), st.integers(0, 99))
@QUICK
def test_swapped_microphones_change_the_sign_and_nothing_else(phase: float, ratio: float, seed: int) -> None:
    wave = tone(2012.5, 1e-3, 0.5, RATE, phase)
    sound = (stereo(wave, -ratio * wave) + hiss(0.5, seed)).astype(np.float32)
    one, other = (results(graph(*DIFFERENCE), s) for s in (sound, sound[:, ::-1].copy()))
    for ours, theirs in zip(of(LockInResult, one), of(LockInResult, other), strict=True):
        assert (ours.flags, ours.dof) == (theirs.flags, theirs.dof)
        assert theirs.sigma == pytest.approx(ours.sigma, rel=1e-6)
    assert phasors(other) == pytest.approx([-z for z in phasors(one)], abs=1e-9)


@given(st.integers(0, 999), st.floats(0.0, 1e-5))
@QUICK
def test_noise_upside_down_reads_as_much_below_zero(seed: int, amplitude: float) -> None:
    """So noise whose sign is even odds, as all noise's is, shifts the mean of ppm by nothing, at zero and anywhere."""
    wave, sound = stereo(tone(2012.5, amplitude, 0.5, RATE)), hiss(0.5, seed)
    up, down = (of(Measurement, results(graph(*DIFFERENCE), (wave + s * sound).astype(np.float32))) for s in (1, -1))
    true_ppm = 41000 * 2 * amplitude
    for one, other in zip(up, down, strict=True):
        assert one.value + other.value == pytest.approx(2 * true_ppm, abs=1e-3 * one.sigma + 1e-6 * true_ppm)
        assert one.sigma == pytest.approx(other.sigma, rel=1e-3)


def test_uncertainty_falls_with_the_root_of_time() -> None:
    """64 seconds of one noise in records of 0.5 to 4 s; the sigma of 16 records of 32 degrees of freedom and more has a
    standard deviation of 1 / sqrt(2 x 16 x 32) = 3 %.
    """
    rate_hz = 16_000
    sound = (tone(2012.5, 1e-3, 64.0, rate_hz) + noise(DENSITY, 64.0, rate_hz, 3)).astype(np.float32)[:, None]
    for seconds in (0.5, 1.0, 2.0, 4.0):
        chain = graph(("lock_in", {"integration_s": seconds}), rate_hz=rate_hz, channels=1)
        found = of(LockInResult, results(chain, sound, rate_hz, rate_hz))
        sigma = math.sqrt(np.mean([r.sigma**2 for r in found]))
        assert len(found) == 64 / seconds
        assert sigma * math.sqrt(seconds) == pytest.approx(DENSITY, rel=0.1)


FAULTS = (math.nan, math.inf, -math.inf, 1.0, -1.0, 0.0, 1e-42)


@given(
    st.lists(st.tuples(st.sampled_from(FAULTS), frames, st.integers(1, 20_000), st.integers(0, 2)), max_size=6),
    st.sampled_from([0.0, 1e-42, 1e-3]),
    st.sampled_from(
        [(TWO_WAYS, "same_codec"), (DIFFERENCE, "free"), (DIFFERENCE, "same_codec"), (ONE_WAY, "loopback")]
    ),
)
@settings(max_examples=40)
def test_no_sound_makes_a_node_raise_or_say_nan_and_mean_it(faults: Any, loudness: float, box: Any) -> None:
    wave = stereo(tone(2012.5, loudness, 0.9, RATE)) + 1e3 * loudness * hiss(0.9)
    sound = wave.astype(np.float32)
    for value, first, length, channel in faults:
        sound[first : first + length, slice(channel, channel + 1) if channel < 2 else slice(None)] = value
    nodes, kind = box
    chain = graph(*nodes, phase=LaserPhase(kind))
    for index in range(9):
        samples, flags = condition(sound[4800 * index : 4800 * (index + 1)].copy())
        for result in chain.process(SampleBlock(index, 4800 * index, RATE, samples, flags=flags)):
            meant(result)


def meant(result: Result) -> None:
    """Fail for a value that is no number where nothing says so."""
    told = bool(result.flags & INVALIDATING)
    match result:
        case LockInResult():
            assert told or np.isfinite([result.in_phase, result.quadrature, result.sigma]).all()
            assert result.sigma >= 0.0 or told
            assert not math.isnan(result.snr_db) or told or result.sigma == 0.0
        case PeakResult():
            values = [result.frequency_hz, result.amplitude, result.sigma, result.sigma_frequency_hz]
            assert not result.valid or np.isfinite(np.array(values, float)).all()
            assert result.amplitude is None or math.isfinite(result.amplitude)
        case Measurement():
            values = [result.value, result.sigma, result.u95, result.lod]
            assert all(v is None or math.isfinite(v) for v in values)
            assert not result.valid or None not in values
        case Spectrum():
            assert told or np.isfinite(result.power).all()
        case LevelResult():
            assert told or np.isfinite([result.rms, result.peak]).all()


@given(
    st.floats(1e-7, 1e-3),
    st.floats(-0.5, 10.0),
    st.lists(st.floats(1.0, 1e4), min_size=2, max_size=5, unique=True),
    st.floats(1e-4, 0.3),
    st.integers(0, 9999),
    st.booleans(),
)
@settings(max_examples=40)
def test_an_accepted_calibration_rises_everywhere(
    k: float, bend: float, gases: list[float], noise_part: float, seed: int, saturating: bool
) -> None:
    rng, top = np.random.default_rng(seed), max(gases)
    sigma = noise_part * k * min(gases)
    points = [
        Point(c, 0.01 * c, k * c / (1.0 + bend * c / top) + sigma * complex(*rng.standard_normal(2)), sigma)
        for c in (0.0, *gases)
    ]
    try:
        curve = fit(points, saturating=saturating).curve
    except CalibrationError:
        assume(False)
    signal = np.array([curve.k * c / (1.0 + curve.bend * c) for c in np.linspace(0.0, top, 200)])
    ppm = [curve.ppm(x) for x in signal]
    assert ppm == pytest.approx(np.linspace(0.0, top, 200).tolist(), rel=1e-6, abs=1e-6 * top)
    assert np.all(np.diff(signal) > 0.0)


@given(st.floats(1e-7, 1e-3), st.floats(-0.01, 0.01), st.floats(-500.0, 0.0), st.floats(1.0, 5000.0))
@settings(max_examples=60)
def test_a_calibration_file_is_taken_if_and_only_if_it_rises(k: float, bend: float, low: float, top: float) -> None:
    ppm = np.linspace(low, top, 2001)
    rises = bool(np.all(1.0 + bend * ppm > 0.0))
    shape = {"type": "saturating", "slope": k, "bend": bend, "covariance": [[0.0] * 3] * 3}
    shape |= {"min_ppm": low, "max_ppm": top}
    if not rises:
        with pytest.raises(ValueError, match="does not rise over the whole range"):
            CurveShape.model_validate(shape)
        return
    taken = CurveShape.model_validate(shape)
    curve = Curve(0j, 0.0, taken.slope, taken.bend, np.array(taken.covariance))
    signal = k * ppm / (1.0 + bend * ppm)
    read = [curve.ppm(float(x)) for x in signal]
    assert read == pytest.approx(ppm.tolist(), rel=1e-6, abs=1e-6 * (top - low))
    assert np.all(np.diff(np.array(read, float)) > 0.0)
