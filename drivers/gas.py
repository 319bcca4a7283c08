"""How the state of the air changes what the gas makes of the light. Every factor is exactly 1 in the design air.

Line. The absorption at the centre of a line broadened by collisions is N S / (pi gamma): number density N ~ p / T,
half-width gamma ~ p T^-n (HITRAN's n, about 0.7 for CO2), strength S ~ exp(-c2 E / T) / T for a linear molecule with
the lower level at E (Rothman et al., JQSRT 60 (1998) 665, appendix A; the vibrational partition sum and stimulated
emission, below 1 % over 40 K, are left out). Pressure cancels, and

    alpha ~ T^(n - 2) exp(-c2 E / T),   d ln alpha / d ln T = n - 2 + c2 E / T,   c2 = 1.4388 cm K

which is 0 at E = (2 - n) T / c2 = 265 cm^-1. Without a Line the cell's line is such a one: whoever may choose a line
chooses one whose strength does not depend on the temperature.

Relaxation. What the molecules took up becomes heat with the time constant tau, so that the sound is

    R = 1 / (1 + j w tau),   1 / tau = (p / 1 atm) (1 / tau_dry + k x_w)

(Hess, Topics in Current Chemistry 111 (1983) 1; Wysocki, Kosterev and Tittel, Appl. Phys. B 85 (2006) 301, on CO2 in
humid N2): N2 takes over the quanta of CO2 and keeps them long, water takes them away. The two rates here are round
numbers of the right order, not measured ones: R is 0.16 in dry and 0.85 in the design air.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from drivers.air import Air, water_fraction
from drivers.resonator import DESIGN_AIR, DESIGN_HZ

RADIATION_CM_K = 1.438777
"""Second radiation constant c2 = h c / k."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its lower level at `lower_energy_cm` (1/cm) and the width's temperature exponent n."""

    lower_energy_cm: float
    width_exponent: float = 0.7

    def absorption(self, air: Air) -> float:
        """Absorption per ppm, relative to the design air."""
        t, t0 = air.temperature_c + 273.15, DESIGN_AIR.temperature_c + 273.15
        boltzmann = math.exp(RADIATION_CM_K * self.lower_energy_cm * (1.0 / t0 - 1.0 / t))
        return float((t / t0) ** (self.width_exponent - 2.0) * boltzmann)


@dataclass(frozen=True, slots=True)
class Relaxation:
    """Rates at one atmosphere: 1 / `dry_s` without water, and `water_per_s` more per unit mole fraction of it."""

    dry_s: float = 5e-4
    water_per_s: float = 2e6

    def tau_s(self, air: Air) -> float:
        """The time constant in that air."""
        return 101_325.0 / air.pressure_pa / (1.0 / self.dry_s + self.water_per_s * water_fraction(air))

    def response(self, air: Air, hz: float) -> complex:
        """R at that frequency, relative to the design air and its resonance."""
        design = 1.0 + 2j * math.pi * float(DESIGN_HZ) * self.tau_s(DESIGN_AIR)
        return design / (1.0 + 2j * math.pi * hz * self.tau_s(air))
