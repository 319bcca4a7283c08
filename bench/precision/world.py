"""The physics of the digital twin: what a photoacoustic cell and its microphones do, and the bound on reading them.

Nothing here is shared with gateway/ or drivers/, so that an error there does not hide itself here.

Light that is on with P0 for the part D of each period has a fundamental of peak (2 P0 / pi) sin(pi D) (Fourier). With
drive p, that over its nominal value, c ppm of gas give microphone A the phasor, against the drive,

    Z = p exp(j phi) k ( y H + b ),   y = c / (1 + c / c_sat),   H = 1 / (1 + j x),   x = 2 Q (f - f_r) / f_r

and microphone B, in the other half of the standing wave, -m Z, m being its gain over A's. f_r follows the speed of
sound (Cramer, J. Acoust. Soc. Am. 93 (1993) 2510). Sound from outside, n_o, reaches both alike: A hears n_o + n_A, B
hears m n_o + n_B. No unbiased reading of c from a record of T seconds can have less variance than

    1 / (2 Re s^H S^-1 s),   s = dZ/dc (1, -m),   S = (2/T) [ e^2 1 + o^2 (1, m) (1, m)^H ]

(Kay, Estimation Theory, 1993, section 15.7), e and o one-sided densities of the microphones' own noise (with the
rounding's, q^2/6 fs) and of the outside's.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float64]
Phasors = npt.NDArray[np.complex128]

RATE_HZ = 48_000
MIC_DENSITY = 3.2e-7
"""Noise of one microphone, full scale per root hertz."""
PER_PPM = 5e-7
"""Peak of microphone A's tone, full scale per ppm, at resonance."""
RESONANCE_HZ, QUALITY = 2012.5, 50.0
GAS_PHASE_RAD = 0.6
POWER_W, DUTY = 0.02, 0.5
SIGNAL = 400.0 * PER_PPM
"""What disturbances are measured in: the tone of 400 ppm."""


@dataclass(frozen=True, slots=True)
class Course:
    """A quantity over time: value + slope t + swing sin(2 pi t / period)."""

    value: float
    slope_per_s: float = 0.0
    swing: float = 0.0
    period_s: float = 1200.0

    def at(self, t_s: Wave) -> Wave:
        """Its values at times [n], seconds."""
        return self.value + self.slope_per_s * t_s + self.swing * np.sin(2.0 * np.pi * t_s / self.period_s)


@dataclass(frozen=True, slots=True)
class World:
    """Everything that one scenario's sound depends on.

    `power` is that of the light over its nominal one. `b_gain` is microphone B's complex gain over A's. `background`
    and `ram` (what a wavelength-modulated laser adds at its own frequency) are in ppm, `common` (noise from outside)
    in densities of a microphone, `hum`, `tone` and `knock` in tones of 400 ppm. With `harmonic` 2 the laser is
    modulated in wavelength, and the gas answers at twice `drive_hz`. With `loopback`, channel B records the drive.
    """

    ppm: Course = Course(400.0)
    temperature_c: Course = Course(20.0)
    power: Course = Course(1.0)
    duty: float = DUTY
    drive_hz: float = RESONANCE_HZ
    harmonic: int = 1
    clock_ppm: float = 0.0
    channels: int = 2
    loopback: bool = False
    b_gain: complex = 1.0 + 0.0j
    b_dead: bool = False
    background: complex = cmath.rect(10.0, 1.2)
    ram: float = 100.0
    saturation_ppm: float = math.inf
    common: float = 0.0
    hum: float = 0.0
    hum_hz: float = 50.03
    tone: float = 0.0
    tone_offset_hz: float = 33.0
    knock: float = 50.0
    knocks_per_s: float = 0.0
    bits: int = 24
    lost_every_s: float = math.inf
    lost_frames: int = 1234

    @property
    def microphones(self) -> int:
        """How many hear the gas."""
        return 1 if self.channels == 1 or self.loopback or self.b_dead else 2

    @property
    def steering(self) -> Phasors:
        """The gas in the microphones over that in A, complex128 [microphones]."""
        return np.array([1.0, -self.b_gain][: self.microphones])


def fundamental(power: Wave, duty: float, order: int = 1) -> Wave:
    """Peak of a pulsed light's harmonic over the fundamental's nominal value."""
    return power * math.sin(order * math.pi * duty) / (order * math.sin(math.pi * DUTY))


def speed_of_sound(temperature_c: Wave, humidity_percent: float = 40.0, pressure_pa: float = 101_325.0) -> Wave:
    """Speed of sound in air with 400 ppm of carbon dioxide, m/s, +-300 ppm from 0 to 30 degrees (Cramer 1993)."""
    t, p, kelvin, xc = temperature_c, pressure_pa, temperature_c + 273.15, 4e-4
    vapour = np.exp(1.2811805e-5 * kelvin**2 - 1.9509874e-2 * kelvin + 34.04926034 - 6353.6311 / kelvin)
    xw = humidity_percent / 100.0 * (1.00062 + 3.14e-8 * p + 5.6e-7 * t**2) * vapour / p
    dry = 331.5024 + 0.603055 * t - 0.000528 * t**2
    wet = (51.471935 + 0.1495874 * t - 0.000782 * t**2) * xw
    pressed = (-1.82e-7 + 3.73e-8 * t - 2.93e-10 * t**2) * p
    carbonated = (-85.20931 - 0.228525 * t + 5.91e-5 * t**2) * xc
    return (
        dry
        + wet
        + pressed
        + carbonated
        - 2.835149 * xw**2
        - 2.15e-13 * p**2
        + 29.179762 * xc**2
        + 4.86e-4 * xw * p * xc
    )


_DESIGN_SPEED = float(speed_of_sound(np.array(20.0)))


def resonance_hz(temperature_c: Wave) -> Wave:
    """Where the cell rings at 40 % humidity."""
    return RESONANCE_HZ * speed_of_sound(temperature_c) / _DESIGN_SPEED


def response(frequency_hz: float, temperature_c: Wave) -> Phasors:
    """H of the resonator, 1 at its resonance."""
    f_r = resonance_hz(temperature_c)
    return np.asarray(1.0 / (1.0 + 2j * QUALITY * (frequency_hz - f_r) / f_r), np.complex128)


def gas_phasor(world: World, frequency_hz: float, t_s: Wave) -> Phasors:
    """Microphone A's phasor at `frequency_hz`, full scale, against the drive."""
    c = world.ppm.at(t_s)
    y = c / (1.0 + c / world.saturation_ppm)
    drive = fundamental(world.power.at(t_s), world.duty) * cmath.exp(1j * GAS_PHASE_RAD)
    return drive * PER_PPM * (y * response(frequency_hz, world.temperature_c.at(t_s)) + world.background)


def sensitivity(world: World, frequency_hz: float, t_s: float) -> Phasors:
    """s of the bound: what one more ppm adds to the microphones, complex128 [microphones]."""
    t = np.array(t_s)
    bent = (1.0 + world.ppm.at(t) / world.saturation_ppm) ** -2
    h = response(frequency_hz, world.temperature_c.at(t))
    drive = fundamental(world.power.at(t), world.duty) * cmath.exp(1j * GAS_PHASE_RAD)
    return np.asarray(drive * PER_PPM * bent * h * world.steering)


def covariance(world: World, seconds: float = 1.0) -> Phasors:
    """S of the bound: covariance of the microphones' noise phasors over a record, [microphones, microphones]."""
    rounding = (2.0 ** (1 - world.bits)) ** 2 / (6.0 * RATE_HZ)
    heard = np.array([1.0, world.b_gain][: world.microphones])
    own = (MIC_DENSITY**2 + rounding) * np.eye(world.microphones)
    return np.asarray(2.0 / seconds * (own + (world.common * MIC_DENSITY) ** 2 * np.outer(heard, heard.conj())))


def best_weights(world: World, frequency_hz: float, t_s: float) -> tuple[Phasors, float]:
    """The weights w for which Re(w^H n) is the error of the best unbiased reading that hears noise phasors n, ppm; and
    the bound for one second, ppm.
    """
    s, noise = sensitivity(world, frequency_hz, t_s), covariance(world)
    v = np.linalg.solve(noise, s)
    information = float(np.vdot(s, v).real)
    return np.asarray(v / information, np.complex128), math.sqrt(0.5 / information)
