"""The registers of a BME280 that feels a given temperature, pressure and humidity, for the kernel's i2c-stub.

Register map, calibration words and compensation are those of Bosch Sensortec's data sheet BST-BME280-DS002, chapter 4.2
and appendix 8.1 (the formulas in double precision). The words for temperature and pressure are the example worked in
the BMP280's data sheet BST-BMP280-DS001, chapter 3.12.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.hil.guest import Guest

ADDRESS = 0x76
BUS = 1
TEMPERATURE = (27504, 26435, -1000)
PRESSURE = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
HUMIDITY = (75, 370, 0, 309, 50, 30)


def fine(raw: int) -> float:
    """`t_fine` of the data sheet, 5120 a kelvin, from a 20 bit word."""
    t1, t2, t3 = TEMPERATURE
    return (raw / 16384 - t1 / 1024) * t2 + (raw / 131072 - t1 / 8192) ** 2 * t3


def pressure_pa(raw: int, t_fine: float) -> float:
    """Pressure in Pa from a 20 bit word."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = PRESSURE
    x = t_fine / 2 - 64000
    y = (x * x * p6 / 32768 + x * p5 * 2) / 4 + p4 * 65536
    x = (1 + (p3 * x * x / 524288 + p2 * x) / 524288 / 32768) * p1
    p = (1048576 - raw - y / 4096) * 6250 / x
    return p + (p9 * p * p / 2147483648 + p * p8 / 32768 + p7) / 16


def humidity_percent(raw: int, t_fine: float) -> float:
    """Relative humidity in percent from a 16 bit word."""
    h1, h2, h3, h4, h5, h6 = HUMIDITY
    x = t_fine - 76800
    h = (raw - (h4 * 64 + h5 / 16384 * x)) * (h2 / 65536 * (1 + h6 / 67108864 * x * (1 + h3 / 67108864 * x)))
    return h * (1 - h1 * h / 524288)


def words(temperature_c: float, pressure: float, humidity: float) -> bytes:
    """The measurement registers 0xf7 to 0xfe for degrees Celsius, Pa and percent."""
    t = _solve(lambda raw: fine(raw) / 5120, temperature_c, 20)
    p = _solve(lambda raw: -pressure_pa(raw, fine(t)), -pressure, 20)
    h = _solve(lambda raw: humidity_percent(raw, fine(t)), humidity, 16)
    return (p << 4).to_bytes(3) + (t << 4).to_bytes(3) + h.to_bytes(2)


def calibration() -> dict[int, bytes]:
    """The registers that do not change, by where they begin: the chip's name, 0xd0, and its calibration words."""
    h1, h2, h3, h4, h5, h6 = HUMIDITY
    return {
        0xD0: b"\x60",
        0x88: struct.pack("<H2hH8h", *TEMPERATURE, *PRESSURE),
        0xA1: bytes([h1]),
        0xE1: struct.pack("<hBBBBb", h2, h3, h4 >> 4, h4 & 15 | (h5 & 15) << 4, h5 >> 4, h6),
    }


def feel(guest: Guest, temperature_c: float, pressure: float, humidity: float) -> str:
    """Let the guest's sensor feel this; the directory of its iio device, which appears at the first call."""
    registers = {0xF7: words(temperature_c, pressure, humidity)}
    device = f"/sys/bus/i2c/devices/{BUS}-{ADDRESS:04x}"
    new = not guest.glob(device)
    if new:
        registers |= calibration()
    for start, data in registers.items():
        values = [str(value) for value in data]
        guest.run("i2cset", "-f", "-y", str(BUS), str(ADDRESS), str(start), *values, "i")
    if new:
        guest.write(f"/sys/bus/i2c/devices/i2c-{BUS}/new_device", f"bme280 {ADDRESS}")
    return guest.glob(f"{device}/iio:device*")[0]


def _solve(rising: Callable[[int], float], wanted: float, bits: int) -> int:
    """The lowest word at which a rising function has reached what is wanted."""
    low, high = 0, 2**bits - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if rising(middle) >= wanted else (middle + 1, high)
    return low
