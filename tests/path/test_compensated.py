"""The path with a calibration file in changed conditions: air, light, water and microphones are not those of the
calibration, and the concentration is right within its uncertainty.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.air import Air
from drivers.cell import AMPLITUDE_PER_PPM, Cell
from drivers.climate import FixedClimate
from drivers.laser import SimulatedLaser
from drivers.microphone import SimulatedMicrophone
from gateway import calibration, configured, design
from gateway.calibrating import Mean
from gateway.carried import alone
from gateway.dsp.calibrate import fit
from gateway.inputs import Inputs
from gateway.outputs import Outputs
from gateway.tables import Reading
from gateway.types import Climate, Command, Flag, Light, LockInResult, Measurement, ResonanceResult, Result, SampleBlock
from tests.support.clock import FakeClock

PPM = 400.0
GRAPH = """
laser: {{track: {track}, power_w: {power_w}}}
processing:
  default_graph:
    nodes:
      - {{id: differential, type: differential}}
      - {{id: lock, type: lock_in, parameters: {{integration_s: 1.0}}}}
      - {{id: co2, type: concentration, parameters: {{source: lock, {curve}}}}}
rules: []
"""
BACKGROUND = 0.02 - 0.03j  # of one microphone, full scale per watt
POWER_1 = 2 * 0.02 / math.pi
HEADER = "schema = 1\ncreated = 2026-03-04\nnode = 'co2'\nphase_deg = 0\n"
CURVE = (
    f"background = {{re = {2 * POWER_1 * BACKGROUND.real}, im = {2 * POWER_1 * BACKGROUND.imag}}}\n"
    f"[curve]\ntype = 'line'\nslope = {2 * AMPLITUDE_PER_PPM}\nmax_ppm = 5000\ncovariance = [[0, 0], [0, 0]]\n"
)
LIGHT = "[light]\npower_w = 0.02\nduty = 0.5\nsigma_power_percent = 0.05\n"
RESONANCE = (
    "[resonance]\nf0_hz = 2012.5\nsigma_f0_hz = 0.05\nq = 50\nsigma_q = 0.1\n"
    "temperature_c = 20\nhumidity_percent = 40\npressure_pa = 101325\nsigma_temperature_k = 0.05\n"
)


def box(directory: Path, tables: str, track: str = "off", power_w: float = 0.02, curve: str = "") -> Path:
    """A configuration with a calibration file of these tables; or with another `curve`."""
    (directory / "co2.toml").write_text(HEADER + CURVE + tables)
    file = directory / "box.yaml"
    curve = curve or f"calibration: {directory / 'co2.toml'}"
    file.write_text(GRAPH.format(track=track, power_w=power_w, curve=curve))
    return file


def run(
    file: Path, air: Air, *, seconds: int = 6, power_w: float = 0.02, climate: Climate | None = None, **cell: Any
) -> list[Result]:
    """What the path gives; its commands reach the laser, whose light the next block tells."""
    config, board = configured.accepted(configured.prepare(file, {}))
    simulated = Cell(**{"ppm": PPM, "seed": 3, "air": air, "background": BACKGROUND, **cell})
    laser = SimulatedLaser(simulated, 2012.5, 0.5, power_w)
    laser.apply(Command("laser", "on"))
    path, found = design.path(config, board, design.sound(config, board)), []
    told = climate or Climate(air.temperature_c, air.humidity_percent, air.pressure_pa)
    for index in range(seconds * 10):
        light = Light(laser.light.frequency, 0.5, power_w)
        sound = simulated.sound(index * 4800, 4800)
        block = SampleBlock(index, index * 4800, 48_000, sound, light=light, climate=told)
        tick = path.tick(block, ())
        for command in tick.commands:
            assert (command.target, command.verb, command.origin) == ("laser", "tune", "track")
            laser.apply(command)
        found += tick.results
    return found


def measurements(found: Sequence[Result]) -> list[Measurement]:
    return [r for r in found if isinstance(r, Measurement)]


def right(found: Sequence[Measurement], ppm: float = PPM) -> None:
    """Every value is within 4 sigma, and sigma is of use."""
    assert len(found) >= 4
    for m in found:
        assert m.valid
        assert m.value is not None
        assert m.sigma is not None
        assert abs(m.value - ppm) < 4.0 * m.sigma
        assert m.sigma < 0.02 * ppm


WARM = Air(temperature_c=23.0, humidity_percent=60.0)


def test_in_other_air_and_light_with_the_laser_where_it_was(tmp_path: Path) -> None:
    """3 K and a tenth of the light; the detuning is more than half a half-width and is told."""
    found = measurements(run(box(tmp_path, LIGHT + RESONANCE), WARM, power_w=0.018))
    right(found)
    assert all(m.flags == {Flag.OFF_RESONANCE} for m in found)
    uncorrected = measurements(run(box(tmp_path, ""), WARM, power_w=0.018))
    assert all(m.value is not None and m.value < 0.75 * PPM for m in uncorrected)


@pytest.mark.parametrize("track", ["feed_forward", "pll"])
def test_a_laser_that_follows_raises_no_flag(track: str, tmp_path: Path) -> None:
    found = run(box(tmp_path, LIGHT + RESONANCE, track), WARM, power_w=0.018, seconds=8)
    first, *later = measurements(found)
    assert first.flags == {Flag.OFF_RESONANCE}
    right(later)
    assert all(not m.flags for m in later)
    assert max(m.sigma or 0.0 for m in later) < 0.003 * PPM
    resonances = [r for r in found if isinstance(r, ResonanceResult)]
    assert len(resonances) == len(later) + 1
    assert {r.node for r in resonances} == {"co2_resonance"}
    true_hz = Cell(air=WARM).resonance_hz
    assert resonances[0].tune_hz == pytest.approx(true_hz, abs=0.6)
    for r in resonances[1:]:
        assert abs(r.f0_hz - true_hz) < 4.0 * r.sigma_f0_hz
        assert abs(r.detuning) < 0.05
    assert [r.frequency_hz for r in found if isinstance(r, LockInResult)][-1] == resonances[0].tune_hz


def test_the_smoothed_value_is_there_and_calmer(tmp_path: Path) -> None:
    found = measurements(run(box(tmp_path, LIGHT), Air(), seconds=20))
    values, smoothed = ([getattr(m, name) for m in found[10:]] for name in ("value", "smoothed"))
    assert np.std(smoothed) < 0.6 * np.std(values)
    assert all(m.smoothed is not None and abs(m.smoothed - PPM) < 4 * (m.sigma_smoothed or 0.0) for m in found)
    assert all(m.sigma_smoothed is not None and m.sigma_smoothed <= (m.sigma or 0.0) for m in found[1:])


def test_smoothing_can_be_left_out(tmp_path: Path) -> None:
    curve = "polynomial_coefficients: [0, 163240], smoothing: false"
    assert all(m.smoothed is None for m in measurements(run(box(tmp_path, "", curve=curve), Air(), seconds=2)))


WATER = "[water]\nr1 = 20\nr2 = -100\nsigma_r1 = 0.1\nfraction = 0.01\nsigma_fraction = 1e-4\n"
GAS_LAW = "[gas_law]\ntemperature_exponent = 1\npressure_exponent = -1\ntemperature_c = 20\nsigma_pressure_pa = 20\n"


@pytest.mark.parametrize("table", [RESONANCE, WATER, GAS_LAW])
def test_a_climate_that_nobody_knows_is_told(table: str, tmp_path: Path) -> None:
    cold = Climate(humidity_percent=40.0)
    found = measurements(run(box(tmp_path, table), Air(), climate=cold, seconds=2))
    assert all(m.flags == {Flag.CLIMATE_UNKNOWN} and m.valid for m in found)
    assert all(m.value == pytest.approx(PPM, rel=0.01) for m in found)
    off = f"calibration: {tmp_path / 'co2.toml'}, temperature_compensation: false"
    assert all(not m.flags for m in measurements(run(box(tmp_path, table, curve=off), Air(), climate=cold, seconds=2)))


def test_water_and_gas_law_are_undone(tmp_path: Path) -> None:
    """The cell's gas does not know them, so that the reading is off by the factors of docs/calibration.md."""
    air = Air(temperature_c=20.0, humidity_percent=40.0, pressure_pa=95_000.0)
    plain, corrected = (measurements(run(box(tmp_path, t), air, seconds=2)) for t in ("", WATER + GAS_LAW))
    w = 0.40 * 2339.2 * 1.00382 / 95_000.0  # saturation pressure at 20 C, enhancement factor
    factor = (1 + 20 * 0.01 - 100 * 0.01**2) / (1 + 20 * w - 100 * w**2) * (95_000 / 101_325) ** -1.0
    for one, other in zip(plain, corrected, strict=True):
        assert other.value == pytest.approx((one.value or 0.0) * factor, rel=1e-4)
        assert (other.sigma or 0.0) > 2 * (one.sigma or 0.0)


def test_a_polynomial_with_temperature_compensation(tmp_path: Path) -> None:
    """It goes by the square root of the temperature, while the cell's air takes up water as it gets warmer."""
    curve = "polynomial_coefficients: [0, 163226], temperature_compensation: true"
    air = Air(temperature_c=23.0)
    f0 = Cell(air=air).resonance_hz
    true, law = (100.0 * (2012.5 - f) / f for f in (f0, 2012.5 * math.sqrt(296.15 / 293.15)))
    left = (1.0 + law * true) / (1.0 + true**2)
    assert left == pytest.approx(1.0, abs=0.015)
    found = measurements(run(box(tmp_path, "", curve=curve), air, background=0j))
    assert all(m.flags == {Flag.OFF_RESONANCE} for m in found)
    assert all(m.value is not None and abs(m.value - left * PPM) < 4.5 * (m.sigma or 0.0) for m in found)
    unknown = measurements(run(box(tmp_path, "", curve=curve), air, background=0j, climate=Climate()))
    assert all(m.flags == {Flag.CLIMATE_UNKNOWN} for m in unknown)
    for m in unknown:
        assert m.value is not None
        assert abs(m.value - PPM / (1.0 + true**2)) < 4.5 * (m.sigma or 0.0)


@pytest.mark.parametrize(
    ("tables", "track", "curve", "option", "part"),
    [
        ("", "pll", "", "laser.track", "needs a concentration whose calibration has a table [resonance]"),
        (RESONANCE, "pll", "calibration: {file}, temperature_compensation: false", "laser.track", "there is none"),
        (
            LIGHT,
            "off",
            "calibration: {file}, temperature_compensation: true",
            "processing.default_graph.nodes[2].parameters.temperature_compensation",
            "no table resonance, water or gas_law",
        ),
        (
            "",
            "off",
            "calibration: {file}, q: 20",
            "processing.default_graph.nodes[2].parameters",
            "the calibration file has its own q",
        ),
        (
            "",
            "off",
            "polynomial_coefficients: [0, 1], q: 20",
            "processing.default_graph.nodes[2].parameters",
            "only temperature_compensation: true makes use of q",
        ),
    ],
)
def test_what_cannot_work(tables: str, track: str, curve: str, option: str, part: str, tmp_path: Path) -> None:
    file = box(tmp_path, tables, track, curve=curve.format(file=tmp_path / "co2.toml"))
    (fault,) = configured.prepare(file, {}).faults
    assert fault.option == option
    assert part in fault.message
    assert fault.line
    assert fault.remedy


def test_two_that_would_follow(tmp_path: Path) -> None:
    file = box(tmp_path, RESONANCE, "feed_forward")
    node = next(line for line in file.read_text().splitlines() if "co2" in line)
    file.write_text(file.read_text().replace(node, f"{node}\n{node.replace('id: co2', 'id: other')}"))
    (fault,) = configured.prepare(file, {}).faults
    assert "co2, other would each send the laser" in fault.message


def sound_of_two(ppm: float, seconds: int, seed: int) -> np.ndarray:
    """Microphones that hear the gas, the walls and the room unlike: float32 [frames, 2]."""
    rng, n = np.random.default_rng(seed), np.arange(seconds * 48_000)
    carrier = np.exp(2j * np.pi * ((4025 * n) % 96_000) / 96_000)
    room = rng.normal(0.0, 1e-3, len(n))
    phasors = (2e-4 + 1e-4j + 3e-6 * ppm, 5e-4 - 3e-4j - 2.6e-6 * ppm * np.exp(0.1j))
    waves = [(z * carrier).real + part * room for z, part in zip(phasors, (1.0, 0.7), strict=True)]
    return np.stack([wave + rng.normal(0.0, 1e-5, len(n)) for wave in waves], axis=1).astype(np.float32)


def heard(file: Path, ppm: float, seconds: int, seed: int) -> list[Result]:
    config, board = configured.accepted(configured.prepare(file, {}))
    path = design.path(config, board, design.sound(config, board))
    blocks = np.split(sound_of_two(ppm, seconds, seed), seconds * 10)
    return [
        r for i, samples in enumerate(blocks) for r in path.tick(SampleBlock(i, i * 4800, 48_000, samples), ()).results
    ]


def test_two_unlike_microphones_from_gases_to_ppm(tmp_path: Path) -> None:
    """The room is louder than the gas. With steering and both backgrounds nothing of it is left, and nothing biased."""
    plain = box(tmp_path, "", curve="polynomial_coefficients: [0, 163226]")
    readings = []
    for seed, ppm in enumerate((0.0, 1000.0), 1):
        mean = Mean()
        for tone in heard(plain, ppm, 12, seed):
            if isinstance(tone, LockInResult):
                mean.add(tone)
        re, im, sigma = mean.signal.fields
        readings.append(Reading(ppm=ppm, re=re, im=im, sigma=sigma, **mean.alone))
    backgrounds, steering = alone(readings)
    assert steering is not None
    assert abs(complex(steering.re, steering.im) + 2.6 / 3 * np.exp(0.1j)) < 4.5 * steering.sigma
    fitted = fit([reading.point for reading in readings])
    created = datetime(2026, 1, 1, tzinfo=UTC)
    made = calibration.made(fitted, tuple(readings), backgrounds, node="co2", created=created, steering=steering)
    calibration.save(tmp_path, made)
    file = tmp_path / "two.yaml"
    file.write_text(GRAPH.format(track="off", power_w=0.02, curve=f"calibration: {tmp_path / 'co2.toml'}"))
    found = measurements(heard(file, 300.0, 12, 3))
    right(found, 300.0)
    noise = 3e-4 * math.sqrt(2 / 48_000) / 5.6e-6  # of A - B, in which 0.3 of the room is left
    assert np.std([m.value for m in found]) < 0.2 * noise


@pytest.mark.parametrize("cell", [{"clock_offset_ppm": 10.0}, {"air": Air(temperature_c=24.0)}])
def test_a_value_that_its_phase_makes_wrong_is_not_valid(tmp_path: Path, cell: dict[str, Any]) -> None:
    """A drifting clock, and a resonance that moved while the file knows of none: the projection loses 1 - cos."""
    air = cell.pop("air", Air())
    found = measurements(run(box(tmp_path, ""), air, seconds=8, **cell))
    wrong = [m for m in found if m.value is None or abs(m.value - PPM) > 0.07 * PPM]
    assert len(wrong) >= 3
    assert not any(m.valid for m in wrong)
    assert all(m.flags & {Flag.PHASE, Flag.UNLOCKED} for m in wrong)


@pytest.mark.parametrize("track", ["off", "pll"])
def test_a_ramp_is_flagged_and_leaves_nothing_behind(tmp_path: Path, track: str) -> None:
    config, board = configured.accepted(configured.prepare(box(tmp_path, LIGHT + RESONANCE, track), {}))
    air = Air(temperature_c=20.5)
    cell = Cell(ppm=PPM, seed=3, air=air, background=BACKGROUND)
    outputs = Outputs([SimulatedLaser(cell, 2012.5, 0.5, 0.02, ramp_s=2.0)])
    path, found = design.path(config, board, design.sound(config, board)), []

    async def go() -> None:
        microphone = SimulatedMicrophone(cell, 4800, realtime=False, clock=FakeClock())
        inputs = Inputs(microphone, outputs, FixedClimate(Climate(20.5, 40.0, 101_325.0)), warm_s=3.0)
        outputs.apply([Command("laser", "on")], 0)
        async for block in inputs.blocks():
            tick = path.tick(block, ())
            outputs.apply(tick.commands, tick.t_ns)
            found.extend(r for r in tick.results if isinstance(r, Measurement))
            if tick.t_ns >= 9_000_000_000:
                return

    asyncio.run(go())
    for m in found:
        warm = m.t_ns >= 4_100_000_000  # lit in the first block, 3 s, and the record that began in them
        assert (Flag.WARM_UP in m.flags) is not warm
        assert m.valid is warm
        assert m.smoothed is None or warm
        if (
            m.t_ns >= 3_100_000_000
        ):  # the ramp itself was over before the record: the light is compensated for, trusted or not
            assert m.value is not None
            assert m.sigma is not None
            assert abs(m.value - PPM) < 4.5 * m.sigma
    assert sum(m.valid for m in found) >= 4
