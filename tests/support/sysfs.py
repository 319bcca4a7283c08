"""Sensors as the kernel shows them in sysfs, in a directory of a test."""

from __future__ import annotations

from pathlib import Path


def bme280(
    root: Path,
    *,
    number: int = 0,
    name: str = "bme280",
    temperature: str = "23450.000000000",
    humidity: str = "46333.007812500",
    pressure: str = "96.386199218",
) -> Path:
    """drivers/iio/pressure/bmp280-core.c: fractions with nine digits since Linux 6.12."""
    files = {"in_temp_input": temperature, "in_humidityrelative_input": humidity, "in_pressure_input": pressure}
    return _device(root / "bus" / "iio" / "devices" / f"iio:device{number}", {"name": name, **files})


def sht4x(
    root: Path, *, number: int = 0, name: str = "sht4x", temperature: str = "21000", humidity: str = "40000"
) -> Path:
    """drivers/hwmon/sht4x.c: whole numbers."""
    files = {"name": name, "temp1_input": temperature, "humidity1_input": humidity, "update_interval": "2000"}
    return _device(root / "class" / "hwmon" / f"hwmon{number}", files)


def ds18b20(root: Path, *, serial: str = "0316a2795a3c", temperature: str = "20000") -> Path:
    """drivers/w1/slaves/w1_therm.c, beside its bus."""
    devices = root / "bus" / "w1" / "devices"
    _device(devices / "w1_bus_master1", {"w1_master_name": "w1_bus_master1"})
    return _device(devices / f"28-{serial}", {"name": f"28-{serial}", "temperature": temperature})


def _device(place: Path, files: dict[str, str]) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (place / file).write_text(f"{text}\n" if text else "")
    return place
