"""The resonator: where its resonance is, how sharp, and how its sound grows and dies away.

    f_r = 2012.5 Hz * v(air) / v(design air)                         v: speed of sound, drivers/air.py
    H(f) = 1 / (1 + j x),   x = 2 Q (f - f_r) / f_r                  close to the resonance
    H(f) = 1 / (1 + j Q (f / f_r - f_r / f))                         far from it: another harmonic of the light

(Miklos, Hess and Bozoki, Rev. Sci. Instrum. 72 (2001) 1937.) The sound is Re(E(n) exp(j angle(n))), and its envelope E
follows

    dE/dt = -(1 + j x) E / tau + drive / tau,   tau = Q / (pi f_r)

which has a closed form as long as nothing but the gas (exponentially) changes: a Stretch. Where something does, the
next one goes on from where the last one is, so that a resonator without light rings at its own frequency, as it does.

Losses. The sound of such a cell dies in the boundary layers at its walls, whose thickness is sqrt(2 mu / (rho w)), that
of heat alike; so Q ~ sqrt(rho f / mu), with the density rho ~ p (1 - 0.378 x_w) / T of humid air and Sutherland's
viscosity mu ~ T^1.5 / (T + 110.4). The sound at resonance is (gamma - 1) Q L / (w V) times the absorbed power: it
follows Q / f (both Miklos 2001). From 20 to 25 C that is -1.0 % in Q and -1.8 % in sound; absorption inside the humid
gas itself (ISO 9613-1: 11 dB/km at 2 kHz) would be a Q of 14000 and is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from drivers import noise
from drivers.air import Air, speed_of_sound, water_fraction

DESIGN_HZ = Fraction(4025, 2)
"""Resonance in the design air: on the grid 50 k + 12.5 Hz, away from mains harmonics."""
DESIGN_AIR = Air()

Phasors = npt.NDArray[np.complex128]


def resonance_hz(air: Air) -> float:
    """Frequency of the resonance in that air."""
    return float(DESIGN_HZ) * (speed_of_sound(air) / speed_of_sound(DESIGN_AIR))


def quality_factor(air: Air) -> float:
    """Q in that air, relative to the design air."""
    return math.sqrt(_sharpness(air) / _sharpness(DESIGN_AIR))


def _sharpness(air: Air) -> float:
    """rho f / mu, in units of its own."""
    kelvin = air.temperature_c + 273.15
    density = air.pressure_pa * (1.0 - 0.378 * water_fraction(air)) / kelvin
    return float(density * speed_of_sound(air) * (kelvin + 110.4) / kelvin**1.5)


def off_resonance(hz: float, resonance: float, quality: float) -> complex:
    """1 / H(f) of a resonator of that frequency and Q, anywhere."""
    return 1.0 + 1j * quality * (hz / resonance - resonance / hz)


@dataclass(frozen=True, slots=True)
class Overtone:
    """A harmonic of the light far from the resonance: `per_ppm` of what the gas does, and `direct` without it. It
    follows light and gas at once: its own ringing, three orders below the resonance's, is left out.
    """

    per_ppm: complex
    direct: complex


@dataclass(frozen=True, slots=True)
class Stretch:
    """The sound from frame `first` on, until something changes; rates are per frame.

    E(n) = steady + swing exp(-exchange n) + rest exp(-decay n) and the effective concentration
    y(n) = gas + gas_rest exp(-exchange n), with n counted from `first`; `per_ppm` is the drive per y, `direct` comes
    from the background.
    """

    first: int
    per_ppm: complex
    steady: complex
    decay: complex
    gas: float
    exchange: float
    direct: complex
    overtones: tuple[Overtone, ...] = ()
    swing: complex = 0j
    rest: complex = 0j
    gas_rest: float = 0.0

    def envelope(self, n: noise.Wave) -> Phasors:
        """E without the background, complex128 like `n`."""
        exchanged, decayed = np.exp(-self.exchange * n), np.exp(-self.decay * n)
        phasor: Phasors = self.steady + self.swing * exchanged + self.rest * decayed
        return phasor

    def phasors(self, number: int, n: noise.Wave) -> Phasors:
        """The sound of harmonic `number` of the light, 0 the one at the resonance: complex128 like `n`."""
        if number == 0:
            return self.envelope(n) + self.direct
        overtone = self.overtones[number - 1]
        y = (self.gas + self.gas_rest * np.exp(-self.exchange * n)).astype(np.complex128)
        return overtone.per_ppm * y + overtone.direct

    def then(self, settled: Stretch) -> Stretch:
        """The stretch that settles to `settled`, going on from where this one is."""
        n = np.array([float(settled.first - self.first)])
        rest_of_gas = 0.0
        if settled.exchange:
            rest_of_gas = self.gas + self.gas_rest * math.exp(-self.exchange * n[0]) - settled.gas
        pull = settled.per_ppm * settled.decay.real / (settled.decay - settled.exchange)
        swing = pull * rest_of_gas
        rest = complex(self.envelope(n)[0]) - settled.steady - swing
        return replace(settled, swing=swing, rest=rest, gas_rest=rest_of_gas)
