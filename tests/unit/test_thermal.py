"""The TEC as configured: what a check says, the simulated one in a gateway, the real one's parts, a changed file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from drivers.adc import KernelAdc
from drivers.gpio import SimulatedLine
from drivers.peltier import SimulatedPlant
from drivers.tec import Tec
from drivers.thermistor import Thermistor
from gateway import board as boards
from gateway import build, configured, design, thermal
from gateway.board import TecLine
from gateway.capture import record
from gateway.config.redact import Secrets
from gateway.config.sections import TecSection
from gateway.errors import DeviceError
from gateway.inbox import CommandInbox
from gateway.inputs import Inputs
from gateway.interlock import Condition, State
from gateway.outputs import Outputs
from gateway.reload import Reloader
from gateway.scan import Plan
from gateway.service import light
from gateway.sweep import sweep
from gateway.tuning import Tuning
from gateway.types import Command, SampleBlock
from tests.support.clock import FakeClock
from tests.support.pwm import FakeKernel, channel
from tests.unit.drivers.test_adc import device

S = 1_000_000_000
LINE = TecLine.model_validate(
    {
        "line": 13,
        "pwm_chip": 0,
        "pwm_channel": 1,
        "clock_hz": 50_000_000,
        "direction": 6,
        "heats": "high",
        "adc": "ads1015",
        "adc_channel": 0,
        "supply_v": 3.3,
        "series_ohm": 10_000,
        "r25_ohm": 10_000,
        "beta_k": 3950,
        "safe": "off",
    }
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "box.yaml"
    path.write_text("tec: {setpoint_c: 25}\n")
    return path


def opened(file: Path) -> tuple[build.Parts, Tec]:
    config, board = configured.accepted(configured.prepare(file, {}))
    parts = build.parts(config, board, FakeClock())
    light(parts.outputs, config, board)
    tec = parts.outputs._outputs["tec"]
    assert isinstance(tec, Tec)
    return parts, tec


def run(outputs: Outputs, begin_s: float, seconds: float) -> None:
    for k in range(round(seconds * 10)):
        outputs.apply((), round((begin_s + k * 0.1) * S))


def test_the_simulated_box_regulates_its_lasers_temperature(file: Path) -> None:
    parts, tec = opened(file)
    assert parts.outputs.apply((), 0).states["tec"] == "settling"
    run(parts.outputs, 0.1, 30)
    assert parts.outputs.apply((), 31 * S).states["tec"] == "stable"
    driven = tec._bridge.level()
    assert driven < 0.0, "the lit laser heats"
    parts.outputs.apply([Command("laser", "off")], 31 * S)
    run(parts.outputs, 31.1, 120)
    assert tec.temperature_c == pytest.approx(25.0, abs=0.02)
    assert tec._bridge.level() > 0.5 * driven
    parts.outputs.make_safe()
    assert parts.outputs.apply((), 200 * S).states["tec"] == "off"
    parts.outputs.close()


def test_the_box_shows_it_only_where_it_is_configured(file: Path) -> None:
    parts, _ = opened(file)
    assert parts.face.output("tec") is not None
    parts.outputs.close()
    file.write_text("box: {id: lab}\n")
    config, board = configured.accepted(configured.prepare(file, {}))
    assert thermal.open_tec(config, board, lambda: False) is None
    assert design.face(config, board).output("tec") is None


def test_after_a_stall_it_goes_on_regulating_at_the_new_set_point(file: Path) -> None:
    parts, tec = opened(file)
    parts.outputs.apply([Command("tec", "set", {"value": 20.0})], S)
    parts.outputs.lose(Condition.LOOP, "the loop hangs")
    assert tec.read() == "off"
    parts.outputs.restore(Condition.LOOP)
    assert tec.read() == "settling"
    assert tec.setpoint_c == 20.0
    parts.outputs.close()


def test_the_laser_waits_for_its_temperature_and_is_dark_with_the_first_fault(file: Path) -> None:
    parts, tec = opened(file)
    assert parts.outputs.safety() == (State.WAITING, "the laser does not have its temperature")
    for k in range(200):
        states = parts.outputs.apply((), k * S // 10).states
        assert (states["laser"] == "on") == (states["tec"] == "stable")
    assert states["laser"] == "on"
    tec._sense._thermistor = Thermistor(30.0, 10_000.0, 10_000.0, 3950.0)  # its supply is not what it was
    states = parts.outputs.apply((), 20 * S).states
    assert (states["laser"], states["tec"]) == ("off", "fault")
    assert parts.outputs.safety()[0] is State.TRIPPED
    tec._sense._thermistor = thermal.SIMULATED
    parts.outputs.lose(Condition.LOOP, "the loop hangs")
    parts.outputs.restore(Condition.LOOP)
    assert parts.outputs.apply((), 21 * S).states["tec"] == "fault", "what it was told before the fault is void"
    assert parts.outputs.apply([Command("tec", "on")], 22 * S).states["tec"] == "settling"
    run(parts.outputs, 22.1, 30)
    assert parts.outputs.apply((), 60 * S).states["laser"] == "off", "somebody must want it again"
    assert parts.outputs.apply([Command("laser", "on")], 61 * S).states["laser"] == "on"
    parts.outputs.close()


def test_a_set_point_that_is_saved_is_applied_and_the_rest_waits(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    config, board = configured.accepted(configured.prepare(file, {}))
    inbox = CommandInbox()
    reloader = Reloader(file, Tuning(config, board, inbox), board, inbox, Secrets())
    file.write_text("tec: {setpoint_c: 22.5}\n")
    assert reloader.changed() == (Command("tec", "set", {"value": 22.5}, "configuration"),)
    caplog.clear()
    file.write_text("tec: {setpoint_c: 22, kp: 0.2}\n")
    with caplog.at_level(logging.WARNING):
        assert reloader.changed() == (Command("tec", "set", {"value": 22.0}, "configuration"),)
    assert any("changes of tec wait for a restart" in message for message in caplog.messages)
    caplog.clear()
    file.write_text("box: {}\n")
    with caplog.at_level(logging.WARNING):
        assert reloader.changed() == ()
    assert any("changes of tec wait for a restart" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("text", "option", "told"),
    [
        ("board: rpi4-codec-zero\ntec: {}", "tec", "the board 'rpi4-codec-zero' has no TEC. Take the section out"),
        ("tec: {setpoint_c: 44.5}", "tec.setpoint_c", "44.5 C is not 1 K inside min_c and max_c. Give 6 to 44"),
        ("tec: {setpoint_c: 5.5}", "tec.setpoint_c", "Give 6 to 44, or move min_c or max_c"),
        ("tec: {min_c: 20, max_c: 21}", "tec.max_c", "20 to 21 C leave no room for a set-point, 1 K inside both"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(file: Path, text: str, option: str, told: str) -> None:
    file.write_text(f"box: {{id: lab}}\n{text}\n")
    faults = configured.prepare(file, {}).faults
    assert [fault.option for fault in faults] == [option]
    assert told in str(faults[0])
    assert faults[0].line == 1 + len(text.splitlines())


def test_the_real_one_is_put_together_from_the_boards_parts(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a kernel of files: 5 degrees needs 2.4 V of the ADC, so that the widest range but one does."""
    kernel, lines = FakeKernel(tmp_path / "pwm"), []
    place = device(tmp_path / "iio")
    monkeypatch.setattr(thermal, "KernelPwm", lambda chip, number, clock_hz: channel(kernel, number))
    monkeypatch.setattr(thermal, "KernelAdc", lambda name, number: KernelAdc(name, number, tmp_path / "iio"))

    def line(chip: str, number: int, active_high: bool, lit: bool) -> SimulatedLine:
        lines.append((chip, number, active_high, lit))
        return SimulatedLine(lit)

    monkeypatch.setattr(thermal, "Line", line)
    board = boards.load("rpi4-codec-zero").model_copy(update={"tec": LINE})
    config, _ = configured.accepted(configured.prepare(file, {}))
    tec = thermal.open_tec(config, board, lambda: True)
    assert tec is not None
    assert lines == [("pinctrl-bcm2711", 6, True, False)]
    assert tec.read() == "off"
    tec.close()
    assert kernel.value("enable", 1) == "0"
    (place / "in_voltage0_scale").write_text("1.000000000\n")
    with pytest.raises(
        DeviceError, match=r"ADC 'ads1015' reads up to 2\.05 V, and at min_c the thermistor has 2\.38 V"
    ):
        thermal.open_tec(config, board, lambda: True)
    (place / "in_voltage0_scale").write_text("4.000000000\n")
    with pytest.raises(DeviceError, match=r"uncertain by 0\.031 K, a step of it, .* tec\.tolerance_k at least 0\.22"):
        thermal.open_tec(config, board, lambda: True)
    with pytest.raises(DeviceError, match="has no TEC"):
        thermal.open_tec(config, board.model_copy(update={"tec": None}), lambda: True)


def test_what_was_opened_is_given_back_when_the_rest_fails(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = FakeKernel(tmp_path / "pwm")
    device(tmp_path / "iio")
    pwm = channel(kernel, 1)
    monkeypatch.setattr(thermal, "KernelPwm", lambda chip, number, clock_hz: pwm)
    monkeypatch.setattr(thermal, "KernelAdc", lambda name, number: KernelAdc(name, number, tmp_path / "iio"))
    config, _ = configured.accepted(configured.prepare(file, {}))
    board = boards.load("rpi4-codec-zero").model_copy(update={"tec": LINE})
    with pytest.raises(DeviceError):  # there is no GPIO chip pinctrl-bcm2711 on a machine that is no Pi
        thermal.open_tec(config, board, lambda: True)
    with pytest.raises(DeviceError, match="is closed"):
        pwm.read()


def test_a_recording_begins_when_the_laser_has_its_temperature(file: Path, tmp_path: Path) -> None:
    file.write_text("tec: {setpoint_c: 24, settle_s: 2}\nlaser: {ramp_s: 0.5}\n")
    config, board = configured.accepted(configured.prepare(file, {}))
    made = record(
        tmp_path / "out.wav", 2.0, config, board, FakeClock(), written={}, overwrite=False, seen=lambda seconds: None
    )
    assert asyncio.run(made)["seconds"] == 2.0
    sound, rate_hz = soundfile.read(tmp_path / "out.wav")
    lit = [np.std(second) for second in np.split(sound[:, 0], 2)]
    assert rate_hz == 48_000
    # 400 ppm sound with an amplitude of about 1e-3 of full scale, in white noise of 5e-5
    assert lit[1] > 10 * 5e-5


def test_a_sweep_waits_for_the_lasers_temperature(file: Path) -> None:
    file.write_text("tec: {setpoint_c: 24, settle_s: 2}\n")
    config, board = configured.accepted(configured.prepare(file, {}))
    plan = Plan(span=2.0, points=9, seconds=0.3)
    found = asyncio.run(sweep(config, board, FakeClock(), plan, told=lambda note: None, seen=lambda part: None))
    assert found is not None
    assert found.resonance.f0_hz == pytest.approx(2012.5, abs=15.0)


class Stalled:
    """A microphone that gives nothing, once a second."""

    rate_hz, channels = 48_000, 2

    async def blocks(self) -> AsyncGenerator[SampleBlock]:
        for second in range(700):
            yield SampleBlock(second, 48_000 * second, 48_000, np.zeros((0, 2), np.float32))

    def close(self) -> None:
        """Nothing to give back."""


def test_who_waits_for_the_temperature_is_told_what_is_wrong() -> None:
    broken = SimulatedPlant(thermal.SIMULATED, range_v=1.0)
    outputs = Outputs([Tec(broken, broken, thermal.SIMULATED, thermal.regulation(TecSection()), 0.4)])

    async def take() -> None:
        async for _ in Inputs(Stalled(), outputs).settled():
            pytest.fail("the laser has no temperature")

    with pytest.raises(DeviceError, match="the laser does not have its temperature after 10 minutes"):
        asyncio.run(take())
    outputs.apply([Command("tec", "on")], 0)
    with pytest.raises(DeviceError, match=r"the thermistor is open: beyond the ADC's range.*Mend it and begin again"):
        asyncio.run(take())
