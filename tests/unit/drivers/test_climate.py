"""What is told of the gas: the owner's word, real sensors that come, go and fail, or the simulated cell's air."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from drivers.air import Air
from drivers.cell import Cell
from drivers.climate import FixedClimate, SensorClimate, SimulatedClimate
from drivers.course import Courses, Ramp
from drivers.sensor import KernelSensor
from gateway.dsp.air import water_fraction
from gateway.types import Climate
from tests.support.clock import FakeClock
from tests.support.sysfs import bme280, ds18b20, sht4x
from tests.support.until import until

EVERY_S, STALE_S = 5.0, 60.0
BOSCH = Climate(23.45, 46.333, 96386.199)


class Steps(FakeClock):
    """Time stands until `step` lets the sleeper wake."""

    def __init__(self) -> None:
        super().__init__()
        self._due_ns, self._asleep, self._wake = 0, asyncio.Event(), asyncio.Event()

    async def sleep_until(self, monotonic_ns: int) -> None:
        self._due_ns = monotonic_ns
        self._asleep.set()
        await self._wake.wait()
        self._wake.clear()

    async def asleep(self) -> None:
        await self._asleep.wait()

    async def step(self) -> None:
        self._asleep.clear()
        self.now_ns = max(self.now_ns, self._due_ns)
        self._wake.set()
        await self._asleep.wait()


def run(root: Path, names: list[tuple[Any, str]], use: Callable[[SensorClimate, Steps], Awaitable[None]]) -> None:
    """Let a test use sensors that have been asked once."""

    async def go() -> None:
        clock = Steps()
        climate = SensorClimate([KernelSensor(kind, name, root) for kind, name in names], clock, EVERY_S, STALE_S)
        assert climate.newest() is None
        await climate.start()
        await clock.asleep()
        await use(climate, clock)
        await climate.close()
        await climate.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(go())


def test_a_sensor_is_asked_again_and_again(tmp_path: Path) -> None:
    async def use(climate: SensorClimate, clock: Steps) -> None:
        assert climate.newest() == BOSCH
        begin_ns = clock.now_ns
        bme280(tmp_path, temperature="24000")
        assert climate.newest() == BOSCH
        await clock.step()
        assert clock.now_ns - begin_ns == EVERY_S * 1e9
        assert climate.newest() == Climate(24.0, 46.333, 96386.199)

    bme280(tmp_path)
    run(tmp_path, [("iio", "bme280")], use)


def test_each_quantity_is_that_of_the_first_sensor_that_knows_it(tmp_path: Path) -> None:
    async def use(climate: SensorClimate, clock: Steps) -> None:
        assert climate.newest() == Climate(21.0, 40.0, 96386.199)
        assert {name: told["from"] for name, told in climate.status().items() if name != "sensors"} == {
            "temperature_c": "hwmon sht4x",
            "humidity_percent": "hwmon sht4x",
            "pressure_pa": "iio bme280",
        }
        shutil.rmtree(tmp_path / "class")
        for _ in range(12):
            await clock.step()
        assert climate.newest() == Climate(21.0, 40.0, 96386.199)  # 60 s old, and not older
        await clock.step()
        assert climate.newest() == BOSCH

    bme280(tmp_path)
    sht4x(tmp_path)
    run(tmp_path, [("hwmon", "sht4x"), ("iio", "bme280")], use)


def test_what_is_too_old_is_not_told_and_what_comes_back_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def use(climate: SensorClimate, clock: Steps) -> None:
        place.rename(tmp_path / "unplugged")
        await clock.step()
        clock.advance(STALE_S - EVERY_S)
        assert climate.newest() == BOSCH
        assert climate.status()["temperature_c"]["age_s"] == STALE_S
        clock.advance(1e-9)
        assert climate.newest() is None
        (told,) = climate.status()["sensors"]
        assert (told["sensor"], told["failures"]) == ("iio bme280", 1)
        assert told["problem"].startswith("iio bme280 is not there. ")
        (tmp_path / "unplugged").rename(place.with_name("iio:device3"))
        await clock.step()
        assert climate.newest() == BOSCH
        assert climate.status()["sensors"] == [{"sensor": "iio bme280", "problem": "", "failures": 1}]

    place = bme280(tmp_path)
    run(tmp_path, [("iio", "bme280")], use)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_sensor_that_is_missing_from_the_start_is_told_once_and_taken_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(climate: SensorClimate, clock: Steps) -> None:
        for _ in range(20):
            await clock.step()
        assert climate.newest() is None
        bme280(tmp_path)
        await clock.step()
        assert climate.newest() == BOSCH

    run(tmp_path, [("iio", "bme280")], use)
    (record,) = caplog.records
    assert "dtoverlay=i2c-sensor,bme280" in record.message


def test_what_fails_now_and_then_is_counted_and_told_once_until_it_was_well_for_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(climate: SensorClimate, clock: Steps) -> None:
        for _ in range(5):
            for text in ("85000", "20062", ""):
                ds18b20(tmp_path, temperature=text)
                await clock.step()
                assert climate.newest() == Climate(20.062)
        assert climate.status()["sensors"][0]["failures"] == 10
        assert [record.message for record in caplog.records] == [
            "w1 28: temperature says 85 degrees Celsius, as after a failure of its power. "
            "Look at its cable and its power"
        ]
        ds18b20(tmp_path, temperature="20062")
        for _ in range(11):
            await clock.step()
        assert len(caplog.records) == 1
        await clock.step()
        assert caplog.records[1].message == "w1 28 is well again, after 10 failures"
        ds18b20(tmp_path, temperature="nonsense")
        await clock.step()
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]

    ds18b20(tmp_path, temperature="20062")
    caplog.set_level(logging.INFO, "spectrophone.climate")
    run(tmp_path, [("w1", "28")], use)


def test_two_quantities_that_fail_are_two_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def use(climate: SensorClimate, clock: Steps) -> None:
        bme280(tmp_path, pressure="")
        await clock.step()
        await clock.step()
        bme280(tmp_path, pressure="", humidity="x")
        await clock.step()
        assert climate.newest() == BOSCH
        assert climate.status()["sensors"][0]["problem"] == (
            "iio bme280: in_humidityrelative_input says 'x', which is no number. Look at its cable and its power. "
            "iio bme280: in_pressure_input says nothing, as after a failed checksum. Look at its cable and its power"
        )

    bme280(tmp_path)
    run(tmp_path, [("iio", "bme280")], use)
    assert [record.message.split()[2] for record in caplog.records] == [
        "in_pressure_input",
        "in_humidityrelative_input",
    ]


def test_nobody_waits_for_a_slow_sensor(tmp_path: Path) -> None:
    place = ds18b20(tmp_path)
    (place / "temperature").unlink()
    os.mkfifo(place / "temperature")  # who opens it waits until somebody writes

    async def go() -> None:
        clock = Steps()
        climate = SensorClimate([KernelSensor("w1", "28", tmp_path)], clock, EVERY_S, STALE_S)
        await climate.start()
        for _ in range(50):
            await asyncio.sleep(0.001)
            assert climate.newest() is None
        clock.advance(2.0)
        await asyncio.to_thread((place / "temperature").write_text, "20000\n")
        await until(climate.newest)
        assert climate.newest() == Climate(20.0)
        assert climate.status()["temperature_c"]["age_s"] == 2.0  # counted from the question on
        await climate.close()

    asyncio.run(go())


def test_a_sensor_that_hangs_does_not_keep_the_gateway_from_ending(tmp_path: Path) -> None:
    place = ds18b20(tmp_path)
    (place / "temperature").unlink()
    os.mkfifo(place / "temperature")

    async def go() -> None:
        climate = SensorClimate([KernelSensor("w1", "28", tmp_path)], FakeClock(), EVERY_S, STALE_S)
        await climate.start()
        await asyncio.sleep(0.01)
        await climate.close()
        assert len(asyncio.all_tasks()) == 1
        await asyncio.to_thread((place / "temperature").write_text, "20000\n")  # the thread ends

    asyncio.run(go())


def test_it_can_be_started_again(tmp_path: Path) -> None:
    async def use(climate: SensorClimate, clock: Steps) -> None:
        await climate.close()
        bme280(tmp_path, temperature="30000")
        await climate.start()
        await until(lambda: climate.newest() == Climate(30.0, 46.333, 96386.199))

    bme280(tmp_path)
    run(tmp_path, [("iio", "bme280")], use)


def test_humidity_of_another_sensor_is_told_for_the_gas_with_the_same_water_in_it(tmp_path: Path) -> None:
    async def use(climate: SensorClimate, clock: Steps) -> None:
        told = climate.newest()
        assert told is not None
        assert (told.temperature_c, told.pressure_pa) == (40.0, None)
        assert told.humidity_percent == pytest.approx(17.163, abs=1e-3)
        assert water_fraction(40.0, told.humidity_percent, 1e5) == pytest.approx(
            water_fraction(25.0, 40.0, 1e5), rel=1e-4
        )
        ds18b20(tmp_path, temperature="5000")  # it would rain
        await clock.step()
        assert climate.newest() == Climate(5.0, 100.0)
        sht4x(tmp_path, temperature="")
        for _ in range(13):
            await clock.step()
        assert climate.newest() == Climate(5.0)  # nobody knows where that humidity belongs

    ds18b20(tmp_path, temperature="40000")
    sht4x(tmp_path, temperature="25000", humidity="40000")
    run(tmp_path, [("w1", "28"), ("hwmon", "sht4x")], use)


def test_the_owners_word_stands() -> None:
    fixed = FixedClimate(Climate(21.0, None, 95_000.0))
    assert fixed.newest() == Climate(21.0, None, 95_000.0)
    assert fixed.status() == {
        "temperature_c": {"value": 21.0, "from": "configuration", "age_s": 0.0},
        "pressure_pa": {"value": 95_000.0, "from": "configuration", "age_s": 0.0},
    }


def test_sensors_tell_what_the_owner_does_not(tmp_path: Path) -> None:
    async def go() -> None:
        clock = Steps()
        sensors = SensorClimate([KernelSensor("iio", "bme280", tmp_path)], clock, EVERY_S, STALE_S)
        fixed = FixedClimate(Climate(pressure_pa=150_000.0), sensors)
        warmer = FixedClimate(Climate(40.0), sensors)
        assert fixed.newest() == Climate(pressure_pa=150_000.0)
        await fixed.start()
        await clock.asleep()
        assert fixed.newest() == Climate(23.45, 46.333, 150_000.0)
        told = fixed.status()
        assert (told["temperature_c"]["from"], told["pressure_pa"]["from"]) == ("iio bme280", "configuration")
        assert told["sensors"][0]["problem"] == ""
        humidity = warmer.newest().humidity_percent
        assert humidity is not None
        assert water_fraction(40.0, humidity, 1e5) == pytest.approx(water_fraction(23.45, 46.333, 1e5), rel=1e-4)
        assert warmer.status()["humidity_percent"]["value"] == humidity
        await fixed.close()
        assert len(asyncio.all_tasks()) == 1

    bme280(tmp_path)
    asyncio.run(go())


def test_a_good_sensor_tells_the_air() -> None:
    cell = Cell(8000, air=Air(22.0, 55.0, 99_000.0), courses=Courses(temperature_k=(Ramp(0.0, 10.0, 5.0),)))
    sensor = SimulatedClimate(cell)
    asyncio.run(sensor.start())
    assert sensor.newest() == Climate(22.0, 55.0, 99_000.0)
    assert sensor.status()["pressure_pa"] == {"value": 99_000.0, "from": "simulated cell", "age_s": 0.0}
    cell.sound(0, 32_000)
    assert sensor.newest() == Climate(24.0, 55.0, 99_000.0)
    cell.set_air(Air(10.0, 20.0, 1e5))
    assert sensor.newest() == Climate(12.0, 20.0, 1e5)
    asyncio.run(sensor.close())


def test_a_real_one_errs_by_its_sigma() -> None:
    cell, rms = Cell(8000, 1, seed=3), np.array([0.02, 0.5, 3.0])
    sensor, read = SimulatedClimate(cell, *rms), []
    for frame in range(0, 400_000, 800):
        cell.sound(frame, 0)
        found = sensor.newest()
        assert found == sensor.newest()
        read.append((found.temperature_c, found.humidity_percent, found.pressure_pa))
    pulls = (np.array(read) - (20.0, 40.0, 101_325.0)) / rms
    low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], len(read))
    for column in pulls.T:
        assert low < np.sum(column**2) < high
        assert abs(np.mean(column)) < 4.9 / np.sqrt(len(read))
