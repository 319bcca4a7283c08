"""The light of the simulated laser: the harmonics of its modulation that the cell can hear.

Peak power of harmonic k against the cosine of the laser's phase, for a power P0 while lit:

    square, lit for the part D:   P_k = (2 P0 / (pi k)) sin(pi k D)           (Fourier series of a rectangular wave)
    sine, (1 + cos) P0 / 2:       P_1 = P0 / 2

"fundamental" is the square without its overtones: what is left of them behind the resonator is 1/400 of the
fundamental at k = 3, seen by nobody who looks near the resonance.

"wms": the laser's wavelength is dithered across a line, x = m sin(phase) in half-widths, and the cell is tuned to twice
the dither's frequency. A Lorentz line 1 / (1 + x^2) then takes from the constant light (Arndt, J. Appl. Phys. 36 (1965)
2522; Reid and Labrie, Appl. Phys. B 26 (1981) 203)

    H_0 = 1 / sqrt(1 + m^2),   H_2 = (2 / m^2) ((2 + m^2) / sqrt(1 + m^2) - 2) = 0.343 at m = 2.2, its maximum

in the mean and at 2f. With the wavelength the power swings too, by RAM at 1f and by a hundredth of that at 2f: this is
what windows and walls answer to, and what the line takes of it is RAM (H_0 - H_2 / 2) at 1f.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from drivers.resonator import DESIGN_HZ

Shape = Literal["fundamental", "square", "sine", "wms"]

DEPTH = 2.2
RAM = 0.1
BENT = 0.01
"""Modulation depth m, residual amplitude modulation, and the part of that which is at 2f: round, plausible numbers."""


@dataclass(frozen=True, slots=True)
class Harmonic:
    """The part of the light at `order` times the laser's frequency, in watts, peak, as a phasor against the laser:
    `absorbed` of it a gas that takes everything would take, `direct` of it windows and walls see.
    """

    order: int
    absorbed: complex
    direct: complex


@dataclass(frozen=True, slots=True)
class Modulation:
    """The laser's modulation as the ADC's clock sees it. Phase in cycles: `phase` at frame `origin`.

    `hz` is the frequency in that clock on average, `step` its cycles per frame, `gained_s` what the laser's clock had
    gained at `origin` by walking. The first of `harmonics` is the one at the resonance.
    """

    harmonics: tuple[Harmonic, ...]
    frequency: Fraction = DESIGN_HZ
    hz: float = float(DESIGN_HZ)
    step: Fraction = Fraction(0)
    origin: int = 0
    phase: float = 0.0
    gained_s: float = 0.0
    duty: float = 0.5
    lit: bool = False


def fundamental_w(power_w: float, duty: float) -> float:
    """Peak power of the fundamental of light that is `power_w` for the part `duty` of each period, else 0."""
    return 2.0 * power_w / math.pi * math.sin(math.pi * duty)


def harmonics(shape: Shape, power_w: float, duty: float, highest: int) -> tuple[Harmonic, ...]:
    """The light in that shape, the harmonic at the resonance first; `highest` is the last order of a square."""
    if shape == "wms":
        return _dithered(power_w)
    first = power_w / 2.0 if shape == "sine" else fundamental_w(power_w, duty)
    found = [Harmonic(1, first, first)]
    for order in range(2, highest + 1) if shape == "square" else ():
        watts = 2.0 * power_w / (math.pi * order) * math.sin(math.pi * order * duty)
        if abs(watts) > 1e-9 * power_w:
            found.append(Harmonic(order, watts, watts))
    return tuple(found)


def _dithered(power_w: float) -> tuple[Harmonic, ...]:
    root = math.sqrt(1.0 + DEPTH**2)
    mean, second = 1.0 / root, 2.0 / DEPTH**2 * ((2.0 + DEPTH**2) / root - 2.0)
    swing = -1j * RAM * power_w
    return (
        Harmonic(2, second * power_w, BENT * RAM * power_w),
        Harmonic(1, (mean - second / 2.0) * swing, swing),
    )
