"""Putting parts together: every board with the built-in configuration, and what the check finds in nodes and rules."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from drivers.gpio import SimulatedLine
from drivers.pwm import KernelPwm
from gateway import board as boards
from gateway import build, configured, design, hardware
from gateway.calibrating import GasLine
from gateway.check import Checked
from gateway.config.sections import Cell
from gateway.errors import ConfigError, DeviceError
from gateway.mqtt import discovery
from gateway.mqtt.face import OutputFace
from gateway.mqtt.lint import lint
from gateway.mqtt.topics import Topics
from gateway.simulation import simulated_cell
from gateway.types import Climate, Command, Flag, LockInResult, SampleBlock
from tests.support.clock import FakeClock
from tests.support.pwm import FakeKernel, channel

BESIDE = {"calibration", "span_gas", "actions", "sweep", "gateway", "identify"}
"""The outputs that lead to no hardware of their own."""
DIALS = {"threshold/co2_concentration_above_1000_for_3s", "integration/co2_lock_in", "integration/co2_peak_finder"}


@pytest.mark.parametrize("name", [name for name in boards.names() if boards.load(name).microphone.channels == 2])
def test_every_board_with_two_microphones_takes_the_built_in_configuration(name: str, tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(f"board: {name}\n")
    config, board = configured.accepted(configured.prepare(file, {}))
    path = design.path(config, board, design.sound(config, board))
    assert path.state.results == {}
    told = hardware.verbs(config, board)
    assert all(f"relay/{relay}" in told for relay in board.relays)
    face = design.face(config, board)
    assert {output.target for output in face.outputs} == {
        *told,
        *DIALS,
        *BESIDE - ({"actions"} | (set() if board.leds else {"identify"}) | (set() if "laser" in told else {"sweep"})),
    }


def test_the_verbs_that_are_checked_are_those_that_the_outputs_have(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("box: {id: lab}\nlaser: {max_on_s: 5}\n")
    config, board = configured.accepted(configured.prepare(file, {}))
    parts = build.parts(config, board, FakeClock())
    assert hardware.verbs(config, board)["laser"] == ("on", "off")  # tune is for procedures: neither rules nor MQTT may
    assert parts.face.output("laser") == OutputFace("laser", ("on", "off"))
    assert parts.outputs.apply([Command("laser", "tune", {"frequency_hz": 2000.0})], 0).results[0].done
    outcome = parts.outputs.apply([Command("cell", "set", {"value": 7.0})], 0)
    assert outcome.results[0].done
    assert outcome.states["cell"] == "7.0"
    assert set(outcome.states) == {*hardware.verbs(config, board), *BESIDE}
    assert parts.face.output("calibration") == OutputFace("calibration", ("zero", "span", "cancel"))
    parts.outputs.close()


LINES = """
processing:
  default_graph:
    nodes:
      - {id: quiet, type: gain, parameters: {gain_db: %s}}
      - {id: level, type: level}
      - {id: differential, type: differential}
      - {id: peak, type: peak_finder, parameters: {frequency_min: 1800, frequency_max: 2200}}
      - {id: ch4, type: concentration, parameters: {source: peak, polynomial_coefficients: [0, %s]}}
%s
"""
LOCK = """\
      - {id: lock, type: lock_in, parameters: {integration_s: 0.5}}
      - {id: co2, type: concentration, parameters: {source: lock, polynomial_coefficients: [0, 1]}}
"""


def test_gas_lines_are_told_apart_by_what_stands_before_them(tmp_path: Path) -> None:
    def told(gain_db: int, slope: int, rest: str) -> tuple[GasLine, ...]:
        file = tmp_path / "box.yaml"
        file.write_text(LINES % (gain_db, slope, rest))
        config, board = configured.accepted(configured.prepare(file, {}))
        calibrates = build.calibrator(config, FakeClock()) is not None
        assert calibrates == (design.face(config, board).output("calibration") is not None) == (rest == LOCK)
        return design.gas_lines(config)

    assert [line.node for line in told(0, 1, "")] == ["ch4"]
    ch4, co2 = told(0, 1, LOCK)
    assert (ch4.source, ch4.kind) == ("peak", "peak_finder")
    assert (co2.source, co2.kind, co2.integration_s, co2.file) == ("lock", "lock_in", 0.5, None)
    assert told(0, 2, LOCK)[1] == co2
    assert told(3, 1, LOCK)[1] != co2


@pytest.mark.parametrize(
    ("text", "option", "message"),
    [
        (
            "rules: [{when: co3 above 5}]\n",
            "rules[0].when",
            "there is no node 'co3'",
        ),
        (
            "rules: [{when: co2_concentration above 5, do: [relay fna on]}]\n",
            "rules[0].do",
            "there is no output 'relay fna'",
        ),
        (
            "rules: [{when: co2_concentration above 5, do: [laser tune]}]\n",
            "rules[0].do",
            "laser cannot be told 'tune'",
        ),
        (
            'homeassistant: {min_version: "2024.10.4"}',
            "homeassistant.min_version",
            "Home Assistant 2024.10.4 does not take a whole device in one message",
        ),
        (
            "mqtt: {host: broker, expire_s: 5}\nprocessing: {default_graph: {nodes: [{id: slow, type: lock_in, "
            "parameters: {integration_s: 10}}]}}\n",
            "mqtt.expire_s",
            "5 s are too short for slow, which gives a value every 10 s",
        ),
        (
            "acquisition: {channels: 1}\nprocessing: {default_graph: {nodes: [{id: both, type: differential}]}}\n",
            "processing.default_graph.nodes[0].type",
            "differential needs two channels",
        ),
        (
            "acquisition: {rate_hz: 8000, block_ms: 100}\nlaser: {frequency_hz: 1000}\n"
            "processing: {default_graph: {nodes: [{id: p, type: peak_finder, "
            "parameters: {frequency_min: 3000, frequency_max: 4500}}]}}\n",
            "processing.default_graph.nodes[0].parameters.frequency_max",
            "4500 Hz is not below half the sample rate",
        ),
        (
            "climate: {every_s: 40}\n",
            "climate.stale_s",
            "60 s are too short for sensors that are asked every 40 s",
        ),
        (
            "climate: {temperature_c: 120, humidity_percent: 60, pressure_pa: 100000}\n",
            "climate.humidity_percent",
            "at 120 degrees Celsius and 100000 Pa this much humidity would be 1.2 times all of the gas",
        ),
    ],
)
def test_faults_of_nodes_and_rules_have_a_place(text: str, option: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(text)
    checked = configured.prepare(file, {})
    assert checked.config is None
    fault = next(fault for fault in checked.faults if fault.option == option)
    assert message in fault.message
    assert fault.remedy
    assert fault.line > 0
    with pytest.raises(ConfigError):
        configured.accepted(checked)


SIMULATED = Climate(20.0, 40.0, 101_325.0)
CLIMATES: list[tuple[str, str, tuple[str, ...], Climate | None]] = [
    ("sim", "{}", (), SIMULATED),
    ("sim", "{sensor: off}", (), None),
    ("sim", "{pressure_pa: 90000}", (), Climate(20.0, 40.0, 90_000.0)),
    ("sim", "{sensor: off, pressure_pa: 90000}", (), Climate(pressure_pa=90_000.0)),
    ("box", "{}", ("iio bme280", "w1 28"), None),
    ("box", "{sensor: off}", (), None),
    ("box", "{temperature_c: 21}", ("iio bme280", "w1 28"), Climate(21.0)),
    ("box", "{temperature_c: 21, humidity_percent: 50, pressure_pa: 90000}", (), Climate(21.0, 50.0, 90_000.0)),
    ("bare", "{}", (), None),
]


@pytest.mark.parametrize(("board", "text", "asked", "told"), CLIMATES)
def test_who_tells_of_the_climate(
    board: str, text: str, asked: tuple[str, ...], told: Climate | None, tmp_path: Path
) -> None:
    sensors = (boards.Sensor(kind="iio", name="bme280"), boards.Sensor(kind="w1", name="28"))
    file = tmp_path / "box.yaml"
    file.write_text(f"climate: {text}\n")
    config, sim = configured.accepted(configured.prepare(file, {}))
    made = sim.model_copy(update={"climate": sensors if board == "box" else ()})
    cell = simulated_cell(config, 48_000, 2) if board == "sim" else None
    found = hardware.climate(config, hardware.climate_sensor(config, made, FakeClock(), cell))
    assert (found.newest() if found else None) == told
    status = found.status() if found else {}
    assert tuple(sensor["sensor"] for sensor in status.get("sensors", ())) == asked


CELL = {
    "ppm": "500",
    "ppm_per_hour": "36000",
    "seed": "2",
    "exchange_s": "0.5, ppm_per_hour: 36000",
    "temperature_c": "22",
    "humidity_percent": "70",
    "pressure_pa": "90000",
    "temperature_swing_k": "5",
    "swing_period_s": "60, temperature_swing_k: 5",
    "quality": "20, temperature_c: 22",
    "losses": "true, temperature_c: 25",
    "relaxation": "true, humidity_percent: 10",
    "line_energy_cm": "0, temperature_c: 22",
    "co2_detunes": "true, ppm: 4000",
    "saturation_ppm": "1000",
    "background_re": "0.01",
    "background_im": "0.01",
    "light": "sine",
    "power_drift_percent": "50",
    "clock_offset_ppm": "100",
    "clock_wander_ppm": "50",
    "hum": "0.1",
    "mains_hz": "60, hum: 0.1",
    "speech_rms": "0.01",
    "knock_amplitude": "0.5, knock_rate_hz: 10",
    "knock_rate_hz": "20, knock_amplitude: 0.5",
    "tone_hz": "2020, tone_amplitude: 0.1",
    "tone_amplitude": "0.1",
    "common_density": "1.0e-5",
    "noise_density": "1.0e-5",
    "flicker_hz": "1000",
    "gain_b": "0.9",
    "phase_b_deg": "5",
    "coupling_hz": "20",
    "delay_frames": "17.2",
    "offset": "0.1",
    "dead_microphone": "b",
    "stuck_at": "0.1, dead_microphone: a",
    "bits": "16",
    "dither": "true",
    "loopback_amplitude": "0.2",
    "loopback_shape": "sine, loopback_amplitude: 0.2",
    "loopback_channel": "a, loopback_amplitude: 0.2",
    "gap_rate_hz": "5",
    "gap_s": "0.5, gap_rate_hz: 5",
}
"""A value for each option of the cell, with what it needs to be heard. What follows the comma stays without it."""


@pytest.mark.parametrize("option", Cell.model_fields)
def test_every_option_of_the_cell_is_heard(option: str, tmp_path: Path) -> None:
    others = CELL[option].partition(", ")[2]

    def heard(text: str) -> tuple[bytes, list[int]]:
        file = tmp_path / "box.yaml"
        file.write_text(f"cell: {{{text}}}\n")
        config, _ = configured.accepted(configured.prepare(file, {}))
        cell = simulated_cell(config, 48_000, 2)
        cell.drive(Fraction(4025, 2), 0.5, 0.02)
        return cell.sound(0, 48_000).tobytes(), [cell.lost(frame, 4800) for frame in range(0, 480_000, 4800)]

    assert heard(f"{option}: {CELL[option]}") != heard(others)


PLAYBACK = """\
title = "A codec"
[microphone]
device = "default"
formats = ["S32_LE"]
[laser]
playback = "default"
channel = "B"
safe = "off"
"""


@pytest.fixture
def codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of a board whose laser hangs on a codec's output."""
    (tmp_path / "codec.toml").write_text(PLAYBACK)
    monkeypatch.setattr(boards, "directory", lambda: tmp_path)
    return tmp_path / "box.yaml"


def test_a_laser_on_a_codecs_output_is_switched_and_its_phase_is_learnt(codec: Path) -> None:
    codec.write_text("board: codec\nprocessing: {default_graph: {nodes: [{id: lock, type: lock_in}]}}\n")
    config, board = configured.accepted(configured.prepare(codec, {}))
    assert hardware.verbs(config, board)["laser"] == ("on", "off")
    path = design.path(config, board, design.sound(config, board))
    turns = np.arange(48_000) * 2012.5 / 48_000
    sound = np.repeat(np.sin(2 * np.pi * turns)[:, None], 2, axis=1).astype(np.float32)
    path.tick(SampleBlock(0, 0, 48_000, sound, 0, 0), ())
    lock = path.state.results["lock"]
    assert isinstance(lock, LockInResult)
    assert not lock.phase_known
    assert Flag.UNLOCKED in lock.flags


def test_a_codec_that_plays_mono_has_no_channel_b(codec: Path) -> None:
    codec.write_text(
        "board: codec\nprocessing: {default_graph: {nodes: [{id: level, type: level}]}}\nacquisition: {channels: 1}\n"
    )
    (found,) = configured.prepare(codec, {}).faults
    assert "acquisition.channels: the board's laser hangs on channel B of the codec" in str(found)


PWM = """
title = "Board with a PWM"
models = ["Raspberry Pi 4 Model B"]
gpiochip = "pinctrl-bcm2711"
[microphone]
device = "default"
format = "S32_LE"
formats = ["S32_LE"]
[laser]
line = 12
pwm_chip = 0
pwm_channel = 0
clock_hz = 50000000
duty_max = 0.4
safe = "off"
"""
LEVEL = "processing: {default_graph: {nodes: [{id: level, type: level}]}}\n"


def on_a_pwm(directory: Path, monkeypatch: pytest.MonkeyPatch, laser: str, **board: str) -> Checked:
    text = PWM
    if "by" in board:
        text = "".join(line for line in text.splitlines(True) if not line.startswith(("pwm_", "clock_")))
    for key, value in board.items():
        text += f"{key} = {value}\n"
    (directory / "pwm.toml").write_text(text)
    monkeypatch.setattr(boards, "directory", lambda: directory)
    (directory / "box.yaml").write_text(f"board: pwm\nlaser: {laser}\n{LEVEL}")
    return configured.prepare(directory / "box.yaml", {})


@pytest.mark.parametrize(
    ("laser", "board", "fault"),
    [
        (
            "{duty: 0.45}",
            {},
            "box.yaml:2:9: laser.duty: 0.45 is more than the laser of board 'pwm' bears. Give at most 0.4",
        ),
        (
            "{duty: 0.4, frequency_hz: 12000}",
            {"by": '"gpiozero"'},
            "laser.frequency_hz: 12000 Hz is too fast for the PWM of board 'pwm': it counts 1000000 Hz",
        ),
        (
            "{duty: 0.4}",
            {"by": '"gpiozero"', "active_high": "false", "enable": "26"},
            "board: the laser of board 'pwm' is lit on a low level",
        ),
    ],
)
def test_what_a_pwm_cannot_do_is_a_fault(
    laser: str, board: dict[str, str], fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = on_a_pwm(tmp_path, monkeypatch, laser, **board).faults
    assert fault in str(found)


def test_a_laser_on_a_pwm_is_made_of_board_and_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(tmp_path / "sysfs")
    opened: list[tuple[object, ...]] = []

    def pwm(chip: int, number: int, clock_hz: int, active_high: bool) -> KernelPwm:
        opened.append((chip, number, clock_hz, active_high))
        return channel(kernel, number, active_high)

    def line(label: str, offset: int, active_high: bool, lit: bool) -> SimulatedLine:
        opened.append((label, offset, active_high, lit))
        return SimulatedLine(lit)

    monkeypatch.setattr(hardware, "KernelPwm", pwm)
    monkeypatch.setattr(hardware, "Line", line)
    told = "{duty: 0.4, frequency_hz: 2000, ramp_s: 0.2, reference: loopback}"
    config, board = configured.accepted(on_a_pwm(tmp_path, monkeypatch, told, enable="7", enable_high="false"))
    assert hardware.verbs(config, board)["laser"] == ("on", "off")
    (laser,) = hardware.outputs(config, board, None)
    assert opened == [("pinctrl-bcm2711", 7, False, False), (0, 0, 50_000_000, True)]
    laser.apply(Command("laser", "on"))
    for t_ns in (0, 100_000_000):
        laser.step(t_ns)
    assert kernel.pin == (25_000, 5_000)
    laser.close()


def test_a_pwm_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, board = configured.accepted(on_a_pwm(tmp_path, monkeypatch, "{duty: 0.4}"))
    with pytest.raises(DeviceError, match=r"there is no PWM chip 0: .*dtoverlay=pwm"):
        hardware.outputs(config, board, None)


def test_home_assistant_takes_all_of_a_box(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("box: {id: lab}\ntec: {}\nmqtt: {host: broker}\n")
    face = design.face(*configured.accepted(configured.prepare(file, {})))
    message = discovery.payload(face, Topics("spectrophone", "lab"), 30)
    assert lint(message) == []
    assert len(json.dumps(message, separators=(",", ":"))) < 20_000
    bounds = {
        key: (c["min"], c["max"], c.get("unit_of_meas")) for key, c in message["cmps"].items() if c["p"] == "number"
    }
    assert bounds["cell"] == (0.0, 1_000_000.0, "ppm")
    assert bounds["integration_co2_lock_in"] == (0.1, 15.0, "s")
    assert bounds["threshold_co2_concentration_above_1000_for_3s"] == (0.0, 1_000_000.0, "ppm")
    assert {"gateway_restart", "safe_mode", "identify_identify", "tec", "climate_pressure"} <= message["cmps"].keys()
