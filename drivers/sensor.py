"""Sensors of the gas that a driver of the kernel reads: BME280 and BMP280 (class iio), SHT4x (hwmon), DS18B20 (w1).

The kernel's driver knows the chip: how to ask it, its checksum, the formula that makes kelvins of its words. What it
found stands in sysfs as text, in these units (Documentation/ABI/testing/sysfs-bus-iio and hwmon/sysfs-interface.rst of
the kernel; w1/slaves/w1_therm.rst):

    iio      in_temp_input   0.001 C     in_humidityrelative_input   0.001 %     in_pressure_input   kilopascal
    hwmon    temp1_input     0.001 C     humidity1_input             0.001 %
    w1       temperature     0.001 C     empty where the checksum was wrong three times

A sensor is looked for by its name at every reading: numbers (iio:device0, hwmon3) differ from boot to boot, and cables
are pulled and put back.

What cannot be is not taken: a temperature outside of what the chips measure, a pressure outside of what they bear. A
DS18B20 whose power failed says 85 C, or 127.94 C, with a right checksum. An SHT4x says -6 to 119 % where it is very
dry or wet, to be cut to 0 to 100 % (its data sheet, section 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["iio", "hwmon", "w1"]
QUANTITIES = ("temperature_c", "humidity_percent", "pressure_pa")
"""What a sensor may measure: the names of gateway.types.Climate."""

_PLACES: Mapping[Kind, str] = {
    "iio": "bus/iio/devices/iio:device*",
    "hwmon": "class/hwmon/hwmon*",
    "w1": "bus/w1/devices/*-*",
}
_FILES: Mapping[Kind, tuple[tuple[str, str, float], ...]] = {
    "iio": (
        ("temperature_c", "in_temp_input", 1e-3),
        ("humidity_percent", "in_humidityrelative_input", 1e-3),
        ("pressure_pa", "in_pressure_input", 1e3),
    ),
    "hwmon": (("temperature_c", "temp1_input", 1e-3), ("humidity_percent", "humidity1_input", 1e-3)),
    "w1": (("temperature_c", "temperature", 1e-3),),
}
_POSSIBLE = {"temperature_c": (-40.0, 125.0), "humidity_percent": (-6.0, 119.0), "pressure_pa": (30e3, 200e3)}
_UNITS = {"temperature_c": "degrees Celsius", "humidity_percent": "% humidity", "pressure_pa": "Pa"}
_POWER_ON_C = 85.0
"""What a DS18B20 holds before its first measurement."""
_WIRING = "Look at its cable and its power"


@dataclass(frozen=True, slots=True)
class Said:
    """What a sensor said at one time: `values` by quantity, and what is wrong, in words for its owner: `faults` by the
    quantity that they concern, "" for the sensor itself.
    """

    values: Mapping[str, float]
    faults: Mapping[str, str]


class KernelSensor:
    """A sensor in one of the kernel's classes. Its `name` is what the class calls it: "bme280", "sht4x"; for w1 the
    family, "28", or one sensor of it, "28-0316a2795a3c".
    """

    def __init__(self, kind: Kind, name: str, sysfs: Path = Path("/sys")) -> None:
        self.title = f"{kind} {name}"
        self._kind, self._name, self._sysfs = kind, name, sysfs

    def read(self) -> Said:
        """Ask it now. Waits for the sensor, which takes up to a second, and several where its bus fails."""
        found = list(self._found())
        if not found:
            return Said({}, {"": f"{self.title} is not there. {self._remedy()}"})
        if len(found) > 1:
            names = " and ".join(place.name for place in found)
            which = "Give the whole name in the board file" if self._kind == "w1" else "Take one out"
            return Said({}, {"": f"{self.title} is there more than once, as {names}, so that none is taken. {which}"})
        values: dict[str, float] = {}
        faults: dict[str, str] = {}
        for quantity, file, scale in _FILES[self._kind]:
            try:
                values[quantity] = self._value(found[0] / file, quantity, scale)
            except FileNotFoundError:
                continue
            except OSError as error:
                faults[quantity] = f"{self.title}: {file} cannot be read: {error.strerror or error}. {_WIRING}"
            except ValueError as error:
                faults[quantity] = f"{self.title}: {file} says {error}. {_WIRING}"
        if not values and not faults:
            known = ", ".join(file for _, file, _ in _FILES[self._kind])
            faults[""] = f"{self.title} measures nothing of {known}. Take it out of the board file"
        return Said(values, faults)

    def _found(self) -> Iterator[Path]:
        """Where in sysfs a sensor of this name is."""
        for place in sorted(self._sysfs.glob(_PLACES[self._kind])):
            if self._kind == "w1":
                if place.name == self._name or place.name.startswith(f"{self._name}-"):
                    yield place
                continue
            try:
                if (place / "name").read_text("utf-8", "replace").strip() == self._name:
                    yield place
            except OSError:
                continue  # it is being plugged in or out

    def _value(self, file: Path, quantity: str, scale: float) -> float:
        """What stands in the file, in the quantity's unit. Raises OSError, and ValueError with what stands there."""
        text = file.read_text("utf-8", "replace").strip()
        if not text:
            raise ValueError("nothing, as after a failed checksum")
        try:
            value = round(float(text) * scale, 3)
        except ValueError:
            raise ValueError(f"{text[:20]!r}, which is no number") from None
        low, high = _POSSIBLE[quantity]
        if not low <= value <= high or not math.isfinite(value):
            raise ValueError(f"{value:g} {_UNITS[quantity]}, which cannot be")
        if self._kind == "w1" and value == _POWER_ON_C:
            raise ValueError(f"{value:g} {_UNITS[quantity]}, as after a failure of its power")
        return min(100.0, max(0.0, value)) if quantity == "humidity_percent" else value

    def _remedy(self) -> str:
        overlay = "w1-gpio" if self._kind == "w1" else f"i2c-sensor,{self._name}"
        return (
            f"Look at its cable, and for `dtoverlay={overlay}` in config.txt; "
            "`climate: {sensor: off}` does without sensors"
        )
