"""Sensors as the kernel's own drivers read them: registers that the test writes, values that the gateway tells.

What a BME280 should tell is the data sheet's formula in double precision (tests/hil/bme280.py). The driver computes in
whole numbers and cuts temperatures to 0.01 K: at 15 points from -20 to 60 C and 60 to 108 kPa it was off by 0.0099 K,
0.43 Pa and 0.004 % at most.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.hil import bme280
from tests.hil.guest import VENV, Guest

BUS = f"/sys/bus/i2c/devices/i2c-{bme280.BUS}"
READ = """\
import json, sys
from drivers.sensor import KernelSensor
said = KernelSensor(*sys.argv[1:]).read()
print(json.dumps([said.values, said.faults]))
"""
FOLLOW = """\
import asyncio, json
from pathlib import Path
from drivers.climate import SensorClimate
from drivers.sensor import KernelSensor
from gateway.clock import RealClock

async def follow():
    climate = SensorClimate([KernelSensor("iio", "bme280")], RealClock(), 1.0, 2.0)
    await climate.start()
    for known in (True, False, True):
        while (climate.newest() is not None) != known:
            await asyncio.sleep(0.02)
        Path("/run/climate").write_text(json.dumps(climate.status()))
    await climate.close()

asyncio.run(follow())
"""


def read(guest: Guest, kind: str = "iio", name: str = "bme280") -> tuple[dict[str, float], dict[str, str]]:
    """What the gateway's user is told by a sensor."""
    python = ["setpriv", "--reuid=spectrophone", "--init-groups", f"{VENV}/bin/python", "-c", READ, kind, name]
    values, faults = json.loads(guest.run(*python).out)
    return values, faults


@pytest.mark.parametrize(
    ("temperature_c", "pressure_pa", "humidity_percent"),
    [(20.0, 101_325.0, 40.0), (23.45, 96_386.0, 46.3), (-12.3, 65_000.0, 95.0), (61.7, 108_000.0, 3.0)],
)
def test_the_gateway_tells_what_the_sensor_feels(
    guest: Guest, temperature_c: float, pressure_pa: float, humidity_percent: float
) -> None:
    bme280.feel(guest, temperature_c, pressure_pa, humidity_percent)
    words = bme280.words(temperature_c, pressure_pa, humidity_percent)
    t_fine = bme280.fine(int.from_bytes(words[3:6]) >> 4)
    values, faults = read(guest)
    assert faults == {}
    assert values["temperature_c"] == pytest.approx(t_fine / 5120, abs=0.01)
    assert values["pressure_pa"] == pytest.approx(bme280.pressure_pa(int.from_bytes(words[:3]) >> 4, t_fine), abs=1.0)
    assert values["humidity_percent"] == pytest.approx(
        bme280.humidity_percent(int.from_bytes(words[6:]), t_fine), abs=0.01
    )
    assert values["temperature_c"] == pytest.approx(temperature_c, abs=0.011)


def test_a_measurement_that_the_chip_has_skipped_is_a_fault_of_every_quantity(guest: Guest) -> None:
    bme280.feel(guest, 20.0, 101_325.0, 40.0)
    temperature = ["0xfa", "0x80", "0x00", "0x00"]  # data sheet, 5.4.8: what stands there when it was not measured
    guest.run("i2cset", "-f", "-y", str(bme280.BUS), str(bme280.ADDRESS), *temperature, "i")
    values, faults = read(guest)
    assert values == {}
    assert set(faults) == {"temperature_c", "humidity_percent", "pressure_pa"}
    assert all("cannot be read: Input/output error" in words for words in faults.values())
    bme280.feel(guest, 20.0, 101_325.0, 40.0)
    assert read(guest)[1] == {}


def test_a_thermometer_of_class_hwmon(guest: Guest) -> None:
    guest.write(f"{BUS}/new_device", "lm75 0x48")
    try:
        for word, temperature_c in (("0x0019", 25.0), ("0x80e7", -24.5)):  # the high byte comes first, in 1/256 K
            guest.run("i2cset", "-f", "-y", str(bme280.BUS), "0x48", "0x00", word, "w")
            assert read(guest, "hwmon", "lm75") == ({"temperature_c": temperature_c}, {})
    finally:
        guest.write(f"{BUS}/delete_device", "0x48")
    assert read(guest, "hwmon", "lm75")[1][""].startswith("hwmon lm75 is not there. ")


def test_a_sensor_that_goes_and_comes_back_is_taken_up_again(guest: Guest) -> None:
    def told(known: bool) -> dict[str, Any]:
        for _ in range(300):
            if guest.glob("/run/climate") and (text := guest.read("/run/climate")):
                status: dict[str, Any] = json.loads(text)
                if ("temperature_c" in status) == known:
                    return status
            time.sleep(0.1)
        raise AssertionError(f"it was never {'known' if known else 'unknown'}")

    bme280.feel(guest, 20.0, 101_325.0, 40.0)
    guest.run("rm", "-f", "/run/climate")
    follower = guest.start(f"{VENV}/bin/python", "-c", FOLLOW)
    assert told(True)["temperature_c"]["value"] == 20.0
    guest.write(f"{BUS}/delete_device", f"{bme280.ADDRESS:#x}")
    (sensor,) = told(False)["sensors"]
    assert sensor["problem"].startswith("iio bme280 is not there. ")
    bme280.feel(guest, 30.0, 101_325.0, 40.0)
    ran = follower.wait(60)
    assert ran.code == 0, ran.err
    assert told(True)["temperature_c"]["value"] == 30.0
    assert ran.err.count("iio bme280 is not there") == 1
