"""A thermistor below a resistor, read as a voltage: the B equation.

    R(T) = R25 exp(B (1/T - 1/T25)),   V = Vs R / (R + Rs),   |dT/dV| = T^2 / B * Vs / (V (Vs - V))

(IEC 60539-1 for the B value; T in kelvin.) The supply Vs is taken as it is said to be: 1 % of it is 0.5 K at 25 degrees
with Rs = R25 and B = 3950 K, the same all the time, and a supply that moves with the load looks like a temperature that
moves. B itself, for a range other than the thermistor's own, adds tenths of a kelvin 10 K away from 25 degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ZERO_C = 273.15
COLDEST_C, HOTTEST_C = -40.0, 125.0
"""Beyond this a thermistor is no thermistor: open below, short above."""


@dataclass(frozen=True, slots=True)
class Thermistor:
    """The divider: `supply_v` over `series_ohm` over the thermistor, at whose upper end the voltage is read."""

    supply_v: float
    series_ohm: float
    r25_ohm: float
    beta_k: float

    def volts(self, celsius: float) -> float:
        """The voltage at that temperature."""
        ohm = self.r25_ohm * math.exp(self.beta_k * (1.0 / (celsius + ZERO_C) - 1.0 / (25.0 + ZERO_C)))
        return self.supply_v * ohm / (ohm + self.series_ohm)

    def celsius(self, volts: float) -> float:
        """The temperature at that voltage, between 0 V and the supply."""
        ohm = self.series_ohm * volts / (self.supply_v - volts)
        return 1.0 / (1.0 / (25.0 + ZERO_C) + math.log(ohm / self.r25_ohm) / self.beta_k) - ZERO_C

    def fault(self, volts: float) -> str:
        """What the voltage says of it: "open", "short", or "" where it is a temperature."""
        if volts >= self.volts(COLDEST_C):
            return "open"
        return "short" if volts <= self.volts(HOTTEST_C) else ""

    def kelvin_per_volt(self, celsius: float) -> float:
        """|dT/dV| at that temperature."""
        volts = self.volts(celsius)
        return (celsius + ZERO_C) ** 2 / self.beta_k * self.supply_v / (volts * (self.supply_v - volts))

    def uncertainty_k(self, celsius: float, step_v: float) -> float:
        """Standard uncertainty at that temperature from the ADC's step alone: evenly spread over it (GUM, 4.3.7)."""
        return self.kelvin_per_volt(celsius) * step_v / math.sqrt(12.0)
