"""The digital twin is what it says: its sound holds its truth, its noise has its bound, its physics is the books'."""

from __future__ import annotations

import ast
import cmath
import math
from pathlib import Path

import numpy as np
import pytest

from bench.precision import twin
from bench.precision import world as physics
from bench.precision.twin import SUB, Block, Twin
from bench.precision.world import PER_PPM, RATE_HZ, SIGNAL, Course, World

MISMATCH = cmath.rect(1.05, math.radians(2.0))
WORLDS = {
    "clean": World(),
    "zero gas": World(ppm=Course(0.0)),
    "mismatch and common noise": World(b_gain=MISMATCH, common=10.0),
    "16 bit": World(bits=16),
    "warm, weak and bent": World(temperature_c=Course(23.0), power=Course(0.9), saturation_ppm=30_000.0),
    "another clock, drive recorded": World(clock_ppm=200.0, loopback=True),
    "wavelength modulation": World(harmonic=2, drive_hz=physics.RESONANCE_HZ / 2.0),
    "one microphone": World(channels=1),
    "B dead": World(b_dead=True),
    "short pulses": World(duty=0.3),
    "lost frames": World(lost_every_s=0.31),
}


def blocks(world: World, count: int, seed: int = 5, sub_blocks: int = 10) -> list[Block]:
    sound = Twin(world, np.random.SeedSequence(seed))
    return [sound.block(sub_blocks) for _ in range(count)]


def phasors(block: Block, drive_hz: float, order: int = 1) -> np.ndarray:
    """A harmonic of each channel over the block, complex128 [channels]: least squares with the first three."""
    n = block.frame + np.arange(len(block.samples))
    angles = [2.0 * np.pi * k * drive_hz / RATE_HZ * n for k in (1, 2, 3)]
    waves = np.stack([wave(angle) for angle in angles for wave in (np.cos, np.sin)], axis=1)
    fitted = np.linalg.lstsq(waves, block.samples)[0]
    return fitted[2 * order - 2] - 1j * fitted[2 * order - 1]


@pytest.mark.parametrize("name", WORLDS)
def test_the_best_reading_of_the_sound_is_the_truth_and_its_noise(name: str) -> None:
    """Over 2 s, whole periods but for another clock; what leaks from the other harmonics' noise, 0.5 ppm, is less than
    1 / (N sin(w / 2)) = 8e-5 of it.
    """
    world = WORLDS[name]
    drive_hz = world.drive_hz * (1.0 + 1e-6 * world.clock_ppm)
    for block in blocks(world, 2, sub_blocks=200):
        t_s = np.array((block.frame + len(block.samples) / 2) / RATE_HZ)
        weights, bound = physics.best_weights(world, drive_hz * world.harmonic, float(t_s))
        assert bound == pytest.approx(block.bound_ppm)
        gas = physics.gas_phasor(world, drive_hz * world.harmonic, t_s) * world.steering
        found = phasors(block, drive_hz, world.harmonic)[: len(weights)]
        assert np.vdot(weights, found - gas).real == pytest.approx(block.luck_ppm.mean(), abs=5e-4)


@pytest.mark.parametrize("name", WORLDS)
def test_the_matched_filter_reaches_the_bound(name: str) -> None:
    """Of n errors of 10 ms the mean square has the relative standard deviation sqrt(2 / n)."""
    luck = np.concatenate([block.luck_ppm for block in blocks(WORLDS[name], 80, sub_blocks=50)])
    bound = blocks(WORLDS[name], 1)[0].bound_ppm * math.sqrt(RATE_HZ / SUB)
    assert np.mean(luck**2) / bound**2 == pytest.approx(1.0, abs=4.0 * math.sqrt(2.0 / len(luck)))
    assert luck.mean() == pytest.approx(0.0, abs=4.0 * bound / math.sqrt(len(luck)))


def test_the_bounds_of_one_and_two_microphones() -> None:
    """var A = e^2 / T (Kay 1993, example 3.14), halved by a second microphone of the same kind."""
    one = physics.MIC_DENSITY / PER_PPM
    assert blocks(World(channels=1), 1)[0].bound_ppm == pytest.approx(one, rel=1e-5)
    assert blocks(World(), 1)[0].bound_ppm == pytest.approx(one / math.sqrt(2.0), rel=1e-5)
    sixteen = one * math.sqrt((1.0 + 2.0**-30 / 6.0 / RATE_HZ / physics.MIC_DENSITY**2) / 2.0)
    assert blocks(World(bits=16), 1)[0].bound_ppm == pytest.approx(sixteen, rel=1e-9)


@pytest.mark.parametrize("duty", [0.5, 0.3, 0.1])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_harmonics_of_a_square_wave(duty: float, order: int) -> None:
    """Against the discrete transform of one, whose first edge counts half; nominal is that of duty 0.5."""
    n = 100_000
    light = (np.arange(n) < duty * n).astype(float)
    peak, nominal = 2.0 / n * abs(np.fft.fft(light)[order]), 2.0 / math.pi
    assert abs(physics.fundamental(np.array(1.0), duty, order)) == pytest.approx(peak / nominal, abs=1e-4)


@pytest.mark.parametrize(
    ("temperature_c", "humidity", "speed"),
    [(0, 0, 331.448), (0, 100, 331.759), (10, 50, 337.781), (20, 0, 343.359), (20, 50, 343.987), (30, 100, 351.469)],
)
def test_cramers_speed_of_sound(temperature_c: float, humidity: float, speed: float) -> None:
    assert physics.speed_of_sound(np.array(float(temperature_c)), humidity) == pytest.approx(speed, abs=6e-4)


def test_the_resonance() -> None:
    design = np.array(20.0)
    assert physics.response(physics.RESONANCE_HZ, design) == pytest.approx(1.0)
    half = physics.RESONANCE_HZ / (2.0 * physics.QUALITY)
    assert abs(physics.response(physics.RESONANCE_HZ + half, design)) == pytest.approx(math.sqrt(0.5))
    assert cmath.phase(complex(physics.response(physics.RESONANCE_HZ + half, design))) == pytest.approx(-math.pi / 4)
    assert physics.resonance_hz(np.array(21.0)) - physics.RESONANCE_HZ == pytest.approx(3.61, abs=0.01)


def test_saturation() -> None:
    """At c_sat the answer is half of the straight line's, and a quarter as steep."""
    bent, straight = World(ppm=Course(3e4), saturation_ppm=3e4, background=0j), World(ppm=Course(3e4), background=0j)
    f, t = physics.RESONANCE_HZ, np.array(0.0)
    assert physics.gas_phasor(bent, f, t) / physics.gas_phasor(straight, f, t) == pytest.approx(0.5)
    assert physics.sensitivity(bent, f, 0.0) / physics.sensitivity(straight, f, 0.0) == pytest.approx(0.25)


def test_microphone_b_has_its_gain_and_phase() -> None:
    z = phasors(blocks(World(b_gain=MISMATCH), 1, sub_blocks=200)[0], physics.RESONANCE_HZ)
    sigma = physics.MIC_DENSITY / math.sqrt(2.0) / abs(z[0])
    assert abs(z[1] / z[0] + MISMATCH) < 4.0 * 2.0 * sigma


def test_hum_tone_and_knocks_are_as_loud_as_they_should_be() -> None:
    quiet = World(ppm=Course(0.0), background=0j)
    noise = physics.MIC_DENSITY**2 * RATE_HZ / 2.0
    for world, square in (
        (World(ppm=Course(0.0), background=0j, hum=20.0, hum_hz=50.0), (20.0 * SIGNAL) ** 2 / 2.0),
        (World(ppm=Course(0.0), background=0j, tone=30.0), (30.0 * SIGNAL) ** 2 / 2.0),
    ):
        samples = blocks(world, 1, sub_blocks=200)[0].samples
        assert np.mean(samples**2, axis=0) == pytest.approx(square + noise, rel=0.005)
    knocking = blocks(World(ppm=quiet.ppm, background=0j, knocks_per_s=4.0), 100)
    events = [event for block in knocking for event in block.events]
    assert {event.name for event in events} == {"impulse"}
    assert len(events) == pytest.approx(40, abs=4 * math.sqrt(40))
    assert max(np.abs(block.samples).max() for block in knocking) == pytest.approx(50.0 * SIGNAL, rel=0.5)
    silent = [block for block in knocking if not block.events]
    assert max(np.abs(block.samples).max() for block in silent) < 6.0 * math.sqrt(noise)


def test_tuning_goes_on_with_the_phase() -> None:
    """The recorded drive's fundamental, fitted in the last 10 ms of one block and the first of the next."""
    tuned = Twin(World(loopback=True), np.random.SeedSequence(1))
    before, old = tuned.block(1), physics.RESONANCE_HZ
    tuned.tune(new := 2020.0)
    after = tuned.block(1)
    border = after.frame
    ends = [
        cmath.phase(phasors(b, f)[1] * cmath.exp(2j * math.pi * f / RATE_HZ * border))
        for b, f in ((before, old), (after, new))
    ]
    assert ends[1] == pytest.approx(ends[0], abs=0.02)
    assert after.drive_hz == new


def test_lost_frames_are_counted_and_told() -> None:
    found = blocks(World(lost_every_s=0.35, lost_frames=1234), 8)
    at = [block.frame for block in found if block.lost_frames]
    assert at == [4 * 4800 + 1234, 7 * 4800 + 2 * 1234]
    events = [event for block in found for event in block.events]
    assert [(event.frame, event.name) for event in events] == [
        (at[0] - 1234, "lost_samples"),
        (at[1] - 1234, "lost_samples"),
    ]


def test_a_perfect_sensor_does_not_see_the_deviation() -> None:
    other = Twin(World(), np.random.SeedSequence(1))
    other.deviate(3.0, -0.1)
    block = other.block()
    assert (block.temperature_c, block.power) == (20.0, 1.0)
    warm = World(temperature_c=Course(23.0), power=Course(0.9))
    assert block.bound_ppm == pytest.approx(blocks(warm, 1)[0].bound_ppm)


def test_the_twin_shares_nothing_with_what_it_tests() -> None:
    for module in (physics, twin):
        tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        named = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        named += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert "numpy" in named
        assert not [name for name in named if name.split(".")[0] in ("gateway", "drivers")]


def test_a_seed_repeats_everything() -> None:
    world = World(common=10.0, hum=20.0, knocks_per_s=4.0)
    first, again, other = (blocks(world, 3, seed) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a.samples, b.samples)
        assert not np.array_equal(a.samples, c.samples)
