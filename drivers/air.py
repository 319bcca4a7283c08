"""Speed of sound in humid air, for the simulated cell.

O. Cramer, "The variation of the specific heat ratio and the speed of sound in air with temperature, pressure,
humidity, and CO2 concentration", J. Acoust. Soc. Am. 93 (1993) 2510, equation 15 with table III; water vapour
by Giacomo (1982), as in Cramer's appendix. Stated uncertainty below 300 ppm for 0 to 30 C, 75 to 102 kPa,
water mole fraction up to 0.06 and CO2 up to 1 %. The estimators have their own copy: simulated truth and
measurement share no code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Air:
    """The state of the gas: degrees Celsius, relative humidity in percent, pascal, CO2 in ppm."""

    temperature_c: float = 20.0
    humidity_percent: float = 40.0
    pressure_pa: float = 101_325.0
    co2_ppm: float = 400.0


def speed_of_sound(air: Air) -> float:
    """Speed of sound at zero frequency, m/s (Cramer 1993, equation 15)."""
    t, p, xc = air.temperature_c, air.pressure_pa, air.co2_ppm * 1e-6
    xw = water_fraction(air)
    dry = 331.5024 + 0.603055 * t - 0.000528 * t**2
    water = (51.471935 + 0.1495874 * t - 0.000782 * t**2) * xw
    pressure = (-1.82e-7 + 3.73e-8 * t - 2.93e-10 * t**2) * p
    carbon = (-85.20931 - 0.228525 * t + 5.91e-5 * t**2) * xc
    squares = -2.835149 * xw**2 - 2.15e-13 * p**2 + 29.179762 * xc**2 + 0.000486 * xw * p * xc
    return dry + water + pressure + carbon + squares


def water_fraction(air: Air) -> float:
    """Mole fraction of water vapour: saturation pressure times enhancement factor (Giacomo 1982)."""
    kelvin = air.temperature_c + 273.15
    saturation_pa = math.exp(1.2811805e-5 * kelvin**2 - 1.9509874e-2 * kelvin + 34.04926034 - 6353.6311 / kelvin)
    enhancement = 1.00062 + 3.14e-8 * air.pressure_pa + 5.6e-7 * air.temperature_c**2
    return air.humidity_percent / 100.0 * enhancement * saturation_pa / air.pressure_pa
