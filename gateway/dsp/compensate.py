"""From a phasor to a concentration: what has changed since the calibration is undone, each change by its own step.

Under the calibration's own conditions a gas of c ppm gives Z = b + x e^{j phi}, x = k c / (1 + bend c)
(dsp/calibrate.py). Later (Miklos, Hess and Bozoki, Rev. Sci. Instrum. 72 (2001) 1937, sections II and III)

    Z = L (b + e^{j phi} x R M / h),    h = (1 + j d) / (1 + j d_ref)

and the steps back are, in this order,

    light        Z1 = Z / L               L = P sin(pi D) / (P_ref sin(pi D_ref)): the fundamental of light of power P
                                          that is lit for the part D of a period (Fourier series of a rectangle)
    background   Z2 = Z1 - b              a vector: |Z| - |b| is wrong wherever the phases differ
    resonance    Z3 = Z2 h                d = 2 Q (f - f0) / f0, now and then; one mode, close to its resonance
    projection   x1 = Re(Z3 e^{-j phi})   signed, so without bias at any signal-to-noise ratio
    water        x2 = x1 / R              R = R(w) / R(w_ref), R(w) = 1 + r1 w + r2 w^2, w the mole fraction: water
                                          hastens the relaxation of slow gases (Wysocki, Kosterev and Tittel, Appl.
                                          Phys. B 85 (2006) 301)
    gas law      x = x2 / M               M = (T_ref / T)^a (p_ref / p)^q
    curve        c = y / (1 - bend y)     y = x / k

Exponents: a band whose lines are not resolved follows the number density p / T, so a = 1 and q = -1. At the centre of
a line broadened by collisions the width grows with the density, and the pressure cancels: q = 0. With the width
~ p T^-n, and the strength of a linear molecule's line ~ exp(-c2 E / T) / T, E the lower level, c2 = 1.4388 cm K
(Rothman et al., JQSRT 60 (1998) 665, appendix A), a = 2 - n - c2 E / T: from 1.3 to below 0. So q has a default, and a
has none.

Uncertainty (GUM, JCGM 100:2008, 5.1.2), with c' = dc/dx = 1 / (k (1 - bend y)^2), s the noise of Z, r = R M:

    noise         c' s |h| / (L r)                   with the degrees of freedom of s
    curve         sqrt(g^T C g),  g = c' (-Re(h) / r, -y, k y^2),  C of background along phi, slope, bend
    background    c' Im(h) u_b / r                   what h turns of b's other component into the signal
    light         c' Re(Z1 h e^{-j phi}) / r u_L     of the whole phasor, background included; u_L relative
    resonance     c' x (d / (1 + d^2) u_d, sqrt(2) (1 - d^2) / (1 + d^2)^2 u_d^2)
                                                     to second order (GUM 5.1.2, note): on resonance there is no first
    water         c' x (dln R/dw u_w, (w / R(w) - w_ref / R(w_ref)) u_r1)
    gas law       c' x (a u_T / T, q u_p / p)
    steering      c' x u_st                          of the microphones' recombination, relative
    drift         days since the calibration times (ppm a day, percent a day of c)
    calibration   percent of c, what nothing above knows of

each only where it has data. The degrees of freedom are those of Welch and Satterthwaite (GUM G.4), with all but the
noise well known. The limit of detection is three times the uncertainty at x = 0. Nothing is clamped.

Without a phase reference only |Z| is known. With theta the angle from the gas's phasor (e^{j phi} / h) to b,
|Z1|^2 = |b|^2 + 2 |b| g cos(theta) + g^2, so

    g = -|b| cos(theta) + sqrt(|Z1|^2 - |b|^2 sin(theta)^2),    x1 = g |h|

the greater of the two solutions: where b opposes the gas, concentrations that only lessen |Z| are read as larger ones.
With v = |Z1|^2 - |b|^2 sin(theta)^2, taken for 0 below, and u_v^2 = 4 (|Z1|^2 s^2 + s^4), the variance of the square of
a phasor's length, u_g = u_v / (2 sqrt(v + u_v / 2)): |Z1| s / sqrt(v) where that is small, and s at zero without b.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gateway.dsp.calibrate import Curve

MOST_DOF = 10_000
KELVIN = 273.15


@dataclass(frozen=True, slots=True)
class Light:
    """The light of the calibration: watts while lit, lit part of a period; `sigma`, relative, of later powers."""

    power_w: float
    duty: float
    sigma: float

    def ratio(self, power_w: float, duty: float) -> float:
        """The fundamental of that light over the calibration's."""
        return power_w * math.sin(math.pi * duty) / (self.power_w * math.sin(math.pi * self.duty))


@dataclass(frozen=True, slots=True)
class Water:
    """R(w) = 1 + r1 w + r2 w^2, w the mole fraction of water, `fraction` at the calibration."""

    r1: float
    r2: float
    sigma_r1: float
    fraction: float
    sigma_fraction: float

    def response(self, fraction: float) -> float:
        """R at that mole fraction."""
        return 1.0 + self.r1 * fraction + self.r2 * fraction**2

    def ratio(self, fraction: float) -> float:
        """R at that mole fraction over R at the calibration's."""
        return self.response(fraction) / self.response(self.fraction)

    def sigma(self, fraction: float) -> float:
        """Relative standard uncertainty of ratio()."""
        now, then = self.response(fraction), self.response(self.fraction)
        slope = (self.r1 + 2.0 * self.r2 * fraction) / now
        return math.hypot(slope * self.sigma_fraction, (fraction / now - self.fraction / then) * self.sigma_r1)


@dataclass(frozen=True, slots=True)
class GasLaw:
    """Exponents, and the temperature and pressure of the calibration with the uncertainties of later ones."""

    temperature_exponent: float
    pressure_exponent: float
    temperature_c: float
    pressure_pa: float
    sigma_temperature_k: float
    sigma_pressure_pa: float

    def ratio(self, temperature_c: float, pressure_pa: float) -> float:
        """The signal there over that at the calibration."""
        warmer = (temperature_c + KELVIN) / (self.temperature_c + KELVIN)
        denser = pressure_pa / self.pressure_pa
        return float(warmer**-self.temperature_exponent * denser**-self.pressure_exponent)

    def sigma(self, temperature_c: float, pressure_pa: float) -> float:
        """Relative standard uncertainty of ratio()."""
        return math.hypot(
            self.temperature_exponent * self.sigma_temperature_k / (temperature_c + KELVIN),
            self.pressure_exponent * self.sigma_pressure_pa / pressure_pa,
        )


@dataclass(frozen=True, slots=True)
class Tone:
    """What a lock_in heard: `phasor` full scale, `sigma` of either part with `dof` degrees of freedom. Where
    `phase_known` is False only the phasor's length counts.
    """

    phasor: complex
    sigma: float
    dof: int
    phase_known: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What is different from the calibration; by default nothing.

    `light`: L; `detuning` d and `detuning_then` d_ref; `response`: R M, water and gas law together. `sigma_light`,
    `sigma_water`, `sigma_gas`, `sigma_steering`: relative; `sigma_detuning` of d; `days` since the calibration.
    """

    light: float = 1.0
    sigma_light: float = 0.0
    detuning: float = 0.0
    detuning_then: float = 0.0
    sigma_detuning: float = 0.0
    response: float = 1.0
    sigma_water: float = 0.0
    sigma_gas: float = 0.0
    sigma_steering: float = 0.0
    days: float = 0.0

    @property
    def resonance(self) -> complex:
        """h."""
        return (1.0 + 1j * self.detuning) / (1.0 + 1j * self.detuning_then)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the curve's covariance does not hold: `sigma_background` of either component of b, full scale, drift a
    day, and `percent` of the value.
    """

    sigma_background: float = 0.0
    drift_ppm: float = 0.0
    drift_percent: float = 0.0
    percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A concentration: `terms` are the standard uncertainties it is made of, by name, ppm; `dof` those of the noise."""

    ppm: float
    terms: Mapping[str, float]
    noise_dof: int
    lod: float

    @property
    def sigma(self) -> float:
        """Standard uncertainty, ppm."""
        return math.hypot(*self.terms.values())

    @property
    def rest(self) -> float:
        """What averaging does not lessen: all but the noise, ppm."""
        return math.hypot(*(term for name, term in self.terms.items() if name != "noise"))

    @property
    def dof(self) -> int:
        """Effective degrees of freedom, at most 10 000."""
        return effective_dof(self.sigma, self.terms["noise"], self.noise_dof)


def effective_dof(sigma: float, noise: float, dof: int) -> int:
    """Welch and Satterthwaite: dof sigma^4 / noise^4 where all but the noise is well known; 10 000 at most."""
    return min(MOST_DOF, math.floor(dof * (sigma / noise) ** 4)) if noise > 0.0 else MOST_DOF


def read(curve: Curve, tone: Tone, change: Change, doubt: Doubt) -> Reading | None:
    """The concentration that gives that tone; None where none does: above saturation, or in the dark.

    The tone's numbers are finite.
    """
    if change.light <= 0.0 or change.response <= 0.0:
        return None
    x, here, at_zero = (_projected if tone.phase_known else _from_length)(curve, tone, change, doubt)
    ppm = curve.ppm(x)
    if ppm is None:
        return None
    lod = 3.0 * math.hypot(*_terms(curve, 0.0, 0.0, at_zero, change, doubt).values())
    return Reading(ppm, _terms(curve, x, ppm, here, change, doubt), tone.dof, lod)


def gas(curve: Curve, tone: Tone, change: Change) -> Tone:
    """The gas's own phasor, by light and background only: real under the calibration's conditions. Without a phase its
    length. `change.light` > 0.
    """
    turn = cmath.exp(-1j * curve.phase_rad)
    if not tone.phase_known:
        change = Change(light=change.light)
        x, here, _ = _from_length(curve, tone, change, Doubt())
        return replace(tone, phasor=complex(x), sigma=here.noise)
    z = (tone.phasor / change.light - curve.background) * turn
    return replace(tone, phasor=z, sigma=tone.sigma / change.light)


@dataclass(frozen=True, slots=True)
class _Spread:
    """Standard uncertainties of x, full scale, by cause; `along`: dx over an error of b along the phase."""

    noise: float
    along: float
    across: float
    light: float


def _projected(curve: Curve, tone: Tone, change: Change, doubt: Doubt) -> tuple[float, _Spread, _Spread]:
    """x, and its spread there and at zero."""
    h, r = change.resonance, change.response
    turn = h * cmath.exp(-1j * curve.phase_rad) / r
    x = ((tone.phasor / change.light - curve.background) * turn).real
    back = (curve.background * turn).real

    def spread(x: float) -> _Spread:
        return _Spread(
            abs(h) / (change.light * r) * tone.sigma,
            h.real / r,
            abs(h.imag) / r * doubt.sigma_background,
            abs(x + back) * change.sigma_light,
        )

    return x, spread(x), spread(0.0)


def _from_length(curve: Curve, tone: Tone, change: Change, doubt: Doubt) -> tuple[float, _Spread, _Spread]:
    """The same where only the phasor's length is known."""
    h, background = change.resonance, abs(curve.background)
    theta = cmath.phase(curve.background) - curve.phase_rad + cmath.phase(h)
    sine = background * math.sin(theta)
    scale = abs(h) / change.response

    def spread(length: float) -> _Spread:
        causes = (tone.sigma / change.light, doubt.sigma_background, length * change.sigma_light)
        noise, across, light = (scale * _sigma_of_root(length, sine, cause) for cause in causes)
        return _Spread(noise, 0.0, across, light)

    length = abs(tone.phasor) / change.light
    root = math.sqrt(max(0.0, length**2 - sine**2))
    return scale * (root - background * math.cos(theta)), spread(length), spread(background)


def _sigma_of_root(length: float, sine: float, sigma: float) -> float:
    """Standard uncertainty of sqrt(length^2 - sine^2) for `sigma` of either component of the phasor."""
    if sigma == 0.0:
        return 0.0
    spread = 2.0 * math.sqrt(length**2 * sigma**2 + sigma**4)
    return spread / (2.0 * math.sqrt(max(0.0, length**2 - sine**2) + spread / 2.0))


def _terms(curve: Curve, x: float, ppm: float, spread: _Spread, change: Change, doubt: Doubt) -> Mapping[str, float]:
    """The standard uncertainties of a concentration, ppm."""
    slope = curve.slope(x)
    rise, y = abs(slope * x), x / curve.k
    d, u = change.detuning, change.sigma_detuning
    gradient = slope * np.array([-spread.along, -y, curve.k * y * y])[: len(curve.covariance)]
    return {
        "noise": slope * spread.noise,
        "curve": math.sqrt(max(0.0, float(gradient @ curve.covariance @ gradient))),
        "background": slope * spread.across,
        "light": slope * spread.light,
        "resonance": rise
        * math.hypot(d * (1.0 + d * d) * u, math.sqrt(2.0) * (1.0 - d * d) * u * u)
        / (1.0 + d * d) ** 2,
        "water": rise * change.sigma_water,
        "gas law": rise * change.sigma_gas,
        "steering": rise * change.sigma_steering,
        "drift": change.days * math.hypot(doubt.drift_ppm, doubt.drift_percent / 100.0 * ppm),
        "calibration": abs(doubt.percent / 100.0 * ppm),
    }
