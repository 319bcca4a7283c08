"""Sensors and ADC, from files as the kernel shows them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from drivers.thermistor import Thermistor
from gateway.board import TecLine
from gateway.doctor import sensors
from gateway.doctor.place import Place
from gateway.errors import DeviceError
from tests.support import sysfs
from tests.unit.doctor.machines import pi4

TEC = TecLine(
    line=13, pwm_chip="fe20c000.pwm", pwm_channel=1, clock_hz=100_000_000, direction=16, heats="high", adc="ads1115",
    adc_channel=0, supply_v=3.3, series_ohm=10_000, r25_ohm=10_000, beta_k=3950, safe="off",
)  # fmt: skip
DIVIDER = Thermistor(3.3, 10_000.0, 10_000.0, 3950.0)


def test_a_sensor_that_measures(tmp_path: Path) -> None:
    sysfs.bme280(tmp_path / "sys")
    said = sensors.climate(pi4(tmp_path))
    assert (said.state, said.found) == ("ok", "bme280: 23.4 C 46 % 96386 Pa")


def test_a_sensor_that_is_not_there(tmp_path: Path) -> None:
    said = sensors.climate(pi4(tmp_path))
    assert (said.state, said.found) == ("missing", "iio bme280 is not there")
    assert "dtoverlay=i2c-sensor,bme280" in said.remedy


def test_a_sensor_that_fails_in_part(tmp_path: Path) -> None:
    sysfs.bme280(tmp_path / "sys", humidity="")
    said = sensors.climate(pi4(tmp_path))
    assert said.state == "warning"
    assert "in_humidityrelative_input says nothing" in said.found
    assert said.found.endswith("bme280: 23.4 C 96386 Pa")


def test_sensors_that_nobody_wants(tmp_path: Path) -> None:
    said = sensors.climate(pi4(tmp_path, "board: rpi4-codec-zero\nclimate: {sensor: off}\n"))
    assert said.state == "not needed"


def with_tec(root: Path, celsius: float | None) -> Place:
    """A Pi 4 with a TEC on an ADS1115 that reads the thermistor at that temperature; None: no ADC."""
    place = pi4(root)
    board = place.board.model_copy(update={"tec": TEC})
    config = pi4(root, "board: sim\ntec: {}\n").config
    if celsius is not None:
        device = root / "sys/bus/iio/devices/iio:device0"
        (device / "scan_elements").mkdir(parents=True)
        (device / "name").write_text("ads1115\n")
        (device / "in_voltage0_scale").write_text("0.125\n")
        (device / "in_voltage0_raw").write_text(f"{round(DIVIDER.volts(celsius) / 0.125e-3)}\n")
        (device / "scan_elements/in_voltage0_type").write_text("le:s16/16>>0\n")
    checked = dataclasses.replace(place.checked, board=board, config=config)
    return dataclasses.replace(place, checked=checked)


def test_the_thermistors_temperature(tmp_path: Path) -> None:
    said = sensors.tec(with_tec(tmp_path, 25.0))
    assert (said.state, said.found) == ("ok", "ADC ads1115, input 0: 1.650 V, 25.00 C")


@pytest.mark.parametrize(
    ("celsius", "state", "words"),
    [
        (60.0, "warning", "outside of tec.min_c"),
        (-80.0, "missing", "that is open"),
        (250.0, "missing", "that is short"),
    ],
)
def test_a_thermistor_that_is_at_fault(tmp_path: Path, celsius: float, state: str, words: str) -> None:
    said = sensors.tec(with_tec(tmp_path, celsius))
    assert said.state == state
    assert words in said.found


def test_no_adc(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="there is no ADC 'ads1115'"):
        sensors.tec(with_tec(tmp_path, None))
    assert sensors.tec(pi4(tmp_path)).state == "not needed"
