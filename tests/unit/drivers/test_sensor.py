"""Sensors in the kernel's words: what a driver writes into sysfs, and everything that may stand there instead."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sensor import KernelSensor, Kind
from tests.support.sysfs import bme280, ds18b20, sht4x

BME280 = {"temperature_c": 23.45, "humidity_percent": 46.333, "pressure_pa": 96386.199}


def test_a_bme280_as_linux_6_12_writes_it(tmp_path: Path) -> None:
    bme280(tmp_path, temperature="23450.000000000", humidity="46333.007812500", pressure="96.386199218")
    said = KernelSensor("iio", "bme280", tmp_path).read()
    assert said.faults == {}
    assert said.values == BME280


def test_a_bmp280_has_no_humidity_and_older_kernels_write_whole_numbers(tmp_path: Path) -> None:
    place = bme280(tmp_path, name="bmp280", temperature="-3070")
    (place / "in_humidityrelative_input").unlink()
    said = KernelSensor("iio", "bmp280", tmp_path).read()
    assert said.values == {"temperature_c": -3.07, "pressure_pa": 96386.199}
    assert said.faults == {}


def test_an_sht4x(tmp_path: Path) -> None:
    sht4x(tmp_path, temperature="21347", humidity="38912")
    assert KernelSensor("hwmon", "sht4x", tmp_path).read().values == {
        "temperature_c": 21.347,
        "humidity_percent": 38.912,
    }


@pytest.mark.parametrize(("text", "percent"), [("-2114", 0.0), ("104871", 100.0), ("0", 0.0), ("100000", 100.0)])
def test_an_sht4x_that_is_very_dry_or_wet_is_cut_as_its_data_sheet_wants(
    text: str, percent: float, tmp_path: Path
) -> None:
    sht4x(tmp_path, humidity=text)
    said = KernelSensor("hwmon", "sht4x", tmp_path).read()
    assert said.values["humidity_percent"] == percent
    assert said.faults == {}


@pytest.mark.parametrize("name", ["28", "28-0316a2795a3c"])
def test_a_ds18b20_by_its_family_or_its_whole_name(name: str, tmp_path: Path) -> None:
    ds18b20(tmp_path, temperature="19312")
    said = KernelSensor("w1", name, tmp_path).read()
    assert (said.values, said.faults) == ({"temperature_c": 19.312}, {})
    assert KernelSensor("w1", "28-0316", tmp_path).read().values == {}


def test_it_is_found_by_its_name_whatever_its_number(tmp_path: Path) -> None:
    bme280(tmp_path, number=0, name="bmp280", temperature="1000")
    place = bme280(tmp_path, number=1)
    sensor = KernelSensor("iio", "bme280", tmp_path)
    assert sensor.read().values == BME280
    place.rename(place.with_name("iio:device7"))
    assert sensor.read().values == BME280


@pytest.mark.parametrize(
    ("kind", "name", "remedy"),
    [
        ("iio", "bme280", "`dtoverlay=i2c-sensor,bme280`"),
        ("hwmon", "sht4x", "`dtoverlay=i2c-sensor,sht4x`"),
        ("w1", "28", "`dtoverlay=w1-gpio`"),
    ],
)
def test_one_that_is_not_there(kind: Kind, name: str, remedy: str, tmp_path: Path) -> None:
    (tmp_path / "class" / "hwmon" / "hwmon0").mkdir(parents=True)  # a device on its way out has no name
    said = KernelSensor(kind, name, tmp_path).read()
    assert said.values == {}
    (fault,) = said.faults.values()
    assert fault.startswith(f"{kind} {name} is not there. ")
    assert remedy in fault


def test_of_two_alike_none_is_taken(tmp_path: Path) -> None:
    bme280(tmp_path, number=0)
    bme280(tmp_path, number=1)
    said = KernelSensor("iio", "bme280", tmp_path).read()
    assert said.values == {}
    assert said.faults == {
        "": "iio bme280 is there more than once, as iio:device0 and iio:device1, so that none is taken. Take one out"
    }
    ds18b20(tmp_path)
    ds18b20(tmp_path, serial="0416b3b1aeff")
    said = KernelSensor("w1", "28", tmp_path).read()
    assert said.faults[""].endswith("Give the whole name in the board file")
    assert KernelSensor("w1", "28-0416b3b1aeff", tmp_path).read().values == {"temperature_c": 20.0}


def test_one_that_measures_something_else(tmp_path: Path) -> None:
    place = sht4x(tmp_path, name="cpu_fan")
    for file in ("temp1_input", "humidity1_input"):
        (place / file).unlink()
    said = KernelSensor("hwmon", "cpu_fan", tmp_path).read()
    assert said.faults == {
        "": "hwmon cpu_fan measures nothing of temp1_input, humidity1_input. Take it out of the board file"
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "says nothing, as after a failed checksum"),
        ("85000", "says 85 degrees Celsius, as after a failure of its power"),
        ("127937", "says 127.937 degrees Celsius, which cannot be"),
        ("-55000", "says -55 degrees Celsius, which cannot be"),
        ("nan", "says nan degrees Celsius, which cannot be"),
        ("inf", "says inf degrees Celsius, which cannot be"),
        ("12ab", "says '12ab', which is no number"),
    ],
)
def test_what_a_ds18b20_cannot_mean(text: str, words: str, tmp_path: Path) -> None:
    ds18b20(tmp_path, temperature=text)
    said = KernelSensor("w1", "28", tmp_path).read()
    assert said.values == {}
    assert said.faults == {"temperature_c": f"w1 28: temperature {words}. Look at its cable and its power"}


def test_85_degrees_are_a_temperature_like_others_to_other_sensors(tmp_path: Path) -> None:
    bme280(tmp_path, temperature="85000.000000000")
    assert KernelSensor("iio", "bme280", tmp_path).read().values["temperature_c"] == 85.0


def test_one_quantity_that_fails_leaves_the_others(tmp_path: Path) -> None:
    place = bme280(tmp_path, pressure="0.000000000")
    (place / "in_humidityrelative_input").unlink()
    (place / "in_humidityrelative_input").symlink_to("/proc/self/mem")  # the kernel gives EIO for its first byte
    said = KernelSensor("iio", "bme280", tmp_path).read()
    assert said.values == {"temperature_c": 23.45}
    assert said.faults == {
        "humidity_percent": "iio bme280: in_humidityrelative_input cannot be read: Input/output error. "
        "Look at its cable and its power",
        "pressure_pa": "iio bme280: in_pressure_input says 0 Pa, which cannot be. Look at its cable and its power",
    }


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.EAGAIN, errno.ENODEV, errno.EREMOTEIO, errno.ETIMEDOUT, errno.EACCES]
)
def test_what_the_kernel_refuses_is_told_in_its_words(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds18b20(tmp_path)

    def refuse(path: Path, *args: object) -> str:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    said = KernelSensor("w1", "28", tmp_path).read()
    assert said.values == {}
    assert f"temperature cannot be read: {os.strerror(number)}. " in said.faults["temperature_c"]


@given(st.binary(max_size=40) | st.floats().map(lambda x: str(x).encode()))
def test_any_text_is_a_possible_value_or_a_fault(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    root = tmp_path_factory.mktemp("sys")
    place = bme280(root)
    files = {
        "temperature_c": "in_temp_input",
        "humidity_percent": "in_humidityrelative_input",
        "pressure_pa": "in_pressure_input",
    }
    for file in files.values():
        (place / file).write_bytes(text)
    said = KernelSensor("iio", "bme280", root).read()
    assert {*said.values, *said.faults} == set(files)
    assert not set(said.values) & set(said.faults)
    limits = {"temperature_c": (-40, 125), "humidity_percent": (0, 100), "pressure_pa": (30e3, 200e3)}
    assert all(limits[name][0] <= value <= limits[name][1] for name, value in said.values.items())
