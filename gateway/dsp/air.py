"""The speed of sound in humid air, and how it depends on what is not known exactly.

O. Cramer, "The variation of the specific heat ratio and the speed of sound in air with temperature, pressure,
humidity, and CO2 concentration", J. Acoust. Soc. Am. 93 (1993) 2510, equation 15:

    c = a0 + a1 t + a2 t^2 + (a3 + a4 t + a5 t^2) xw + (a6 + a7 t + a8 t^2) p + (a9 + a10 t + a11 t^2) xc
        + a12 xw^2 + a13 p^2 + a14 xc^2 + a15 xw p xc,

t in degrees Celsius, p in pascal, xw and xc the mole fractions of water and CO2. Cramer states 300 ppm of uncertainty
inside his range. A resonance is proportional to c, so that only ratios of c are used here, and in them nearly all of
this cancels.

The mole fraction of water is that of P. Giacomo, "Equation for the determination of the density of moist air (1981)",
Metrologia 18 (1982) 33:

    xw = h f psv / p,    f = 1.00062 + 3.14e-8 p + 5.6e-7 t^2,
    psv = exp(1.2811805e-5 T^2 - 1.9509874e-2 T + 34.04926034 - 6353.6311 / T),    T in kelvin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.types import Climate

CO2_PPM = 400.0
"""CO2 in air where nothing else is known; 1000 ppm more make sound 260 ppm slower."""
HUMIDITY_PERCENT, SIGMA_HUMIDITY_PERCENT = 50.0, 100.0 / math.sqrt(12.0)
"""Taken where the humidity is not known: anything from 0 to 100 % alike. At 20 C it makes c uncertain by 0.11 %."""
PRESSURE_PA, SIGMA_PRESSURE_PA = 101_325.0, 8_000.0
"""Taken where the pressure is not known: weather, and homes up to some 1500 m. It makes c uncertain by 0.01 %."""
ZERO_C = 273.15

_DRY = (331.5024, 0.603055, -0.000528)
_WATER = (51.471935, 0.1495874, -0.000782)
_PRESSURE = (-1.82e-7, 3.73e-8, -2.93e-10)
_CO2 = (-85.20931, -0.228525, 5.91e-5)
_WATER2, _PRESSURE2, _CO2_2, _PRODUCT = -2.835149, -2.15e-13, 29.179762, 0.000486


@dataclass(frozen=True, slots=True)
class Sound:
    """Sound in some air: its speed, the speed's derivative by temperature, and one standard deviation of the speed from
    humidity or pressure that nobody measured (0 where both are known).
    """

    speed_m_s: float
    per_kelvin: float
    sigma_m_s: float


def water_fraction(temperature_c: float, humidity_percent: float, pressure_pa: float) -> float:
    """Mole fraction of water vapour at relative humidity `humidity_percent` (Giacomo 1982)."""
    kelvin = temperature_c + ZERO_C
    saturation_pa = math.exp(1.2811805e-5 * kelvin**2 - 1.9509874e-2 * kelvin + 34.04926034 - 6353.6311 / kelvin)
    enhancement = 1.00062 + 3.14e-8 * pressure_pa + 5.6e-7 * temperature_c**2
    return humidity_percent / 100.0 * enhancement * saturation_pa / pressure_pa


def speed_of_sound(
    temperature_c: float, humidity_percent: float, pressure_pa: float, co2_ppm: float = CO2_PPM
) -> float:
    """Speed of sound in air, metres per second (Cramer 1993, equation 15); outside `in_range` an extrapolation."""
    water, co2 = water_fraction(temperature_c, humidity_percent, pressure_pa), co2_ppm * 1e-6

    def quadratic(coefficients: tuple[float, float, float]) -> float:
        a, b, c = coefficients
        return a + b * temperature_c + c * temperature_c**2

    linear = quadratic(_DRY) + quadratic(_WATER) * water + quadratic(_PRESSURE) * pressure_pa + quadratic(_CO2) * co2
    squares = _WATER2 * water**2 + _PRESSURE2 * pressure_pa**2 + _CO2_2 * co2**2
    return linear + squares + _PRODUCT * water * pressure_pa * co2


def speed_per_kelvin(
    temperature_c: float, humidity_percent: float, pressure_pa: float, co2_ppm: float = CO2_PPM
) -> float:
    """Derivative of `speed_of_sound` by temperature at constant relative humidity, metres per second and kelvin."""
    step = 1e-3
    above = speed_of_sound(temperature_c + step, humidity_percent, pressure_pa, co2_ppm)
    return (above - speed_of_sound(temperature_c - step, humidity_percent, pressure_pa, co2_ppm)) / (2.0 * step)


def in_range(temperature_c: float, humidity_percent: float, pressure_pa: float) -> bool:
    """Whether Cramer vouches for the equation here: 0 to 30 C, 75 to 102 kPa, at most 0.06 of water."""
    if not (0.0 <= temperature_c <= 30.0 and 75e3 <= pressure_pa <= 102e3):
        return False
    return water_fraction(temperature_c, humidity_percent, pressure_pa) <= 0.06


def sound_in(climate: Climate | None, co2_ppm: float = CO2_PPM) -> Sound | None:
    """Sound in measured air, None where its temperature is not known.

    Humidity and pressure that are not known are taken as `HUMIDITY_PERCENT` and `PRESSURE_PA`; what that leaves open is
    in the result's sigma.
    """
    if climate is None or climate.temperature_c is None:
        return None
    celsius, humidity, pressure = climate.temperature_c, climate.humidity_percent, climate.pressure_pa
    h = HUMIDITY_PERCENT if humidity is None else humidity
    p = PRESSURE_PA if pressure is None else pressure
    speed = speed_of_sound(celsius, h, p, co2_ppm)
    by_humidity = by_pressure = 0.0
    if humidity is None:
        by_humidity = speed_of_sound(celsius, h + SIGMA_HUMIDITY_PERCENT, p, co2_ppm) - speed
    if pressure is None:
        by_pressure = speed_of_sound(celsius, h, p + SIGMA_PRESSURE_PA, co2_ppm) - speed
    return Sound(speed, speed_per_kelvin(celsius, h, p, co2_ppm), math.hypot(by_humidity, by_pressure))
