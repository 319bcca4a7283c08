"""A laser on a Peltier module on a heat sink, for the simulated box. Cold side c, hot side h, current I > 0 cools:

    Qc = a I Tc - I^2 R / 2 - K (Th - Tc),   Qh = a I Th + I^2 R / 2 - K (Th - Tc),   V = I R + a (Th - Tc)

(D. M. Rowe, ed., CRC Handbook of Thermoelectrics, 1995, chapter 1). Seebeck coefficient a, resistance R and
conductance K of a module follow from its data sheet (S. Lineykin, S. Ben-Yaakov, "Modeling and Analysis of
Thermoelectric Modules", IEEE Trans. Ind. Appl. 43 (2007) 505):

    a = Vmax / Th,   R = Vmax (Th - dTmax) / (Imax Th),   K = Vmax Imax (Th - dTmax) / (2 Th dTmax)

Each side has a heat capacity; the cold one carries the laser and sees the room through its insulation, the hot one
through the heat sink. The thermistor follows the cold side with a delay of the first order. The bridge is a voltage
source of so large a part of its supply as it is told, and open when it is off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from drivers.thermistor import ZERO_C, Thermistor
from gateway.errors import DeviceError

SUBSTEP_S = 0.25
"""The longest step of the integration (Runge-Kutta of fourth order): the shortest time constant is 1.5 s, so that a
step is off by about (0.25 / 1.5)^5 / 120, a millionth of what is left to settle."""

Temperatures = tuple[float, float, float]
"""Cold side, hot side, thermistor, in kelvin."""


@dataclass(frozen=True, slots=True)
class Module:
    """A Peltier module as its data sheet has it, at a hot side of `hot_k`. The default is a TEC1-3105T (20 x 20 mm)."""

    imax_a: float = 5.0
    vmax_v: float = 3.75
    dtmax_k: float = 67.0
    hot_k: float = 300.0

    @property
    def seebeck_v_per_k(self) -> float:
        """a."""
        return self.vmax_v / self.hot_k

    @property
    def ohm(self) -> float:
        """R."""
        return self.vmax_v * (self.hot_k - self.dtmax_k) / (self.imax_a * self.hot_k)

    @property
    def w_per_k(self) -> float:
        """K."""
        return self.vmax_v * self.imax_a * (self.hot_k - self.dtmax_k) / (2.0 * self.hot_k * self.dtmax_k)


@dataclass(frozen=True, slots=True)
class Mount:
    """What the module sits between: heat capacities, resistances to the room, the thermistor's delay, and the bridge's
    supply.
    """

    cold_j_per_k: float = 30.0
    hot_j_per_k: float = 150.0
    insulation_k_per_w: float = 20.0
    sink_k_per_w: float = 1.0
    sensor_s: float = 1.5
    ambient_c: float = 25.0
    supply_v: float = 5.0


def change(
    temperatures: Temperatures, drive: float | None, load_w: float, module: Module, mount: Mount
) -> Temperatures:
    """Time derivatives, in kelvin a second. `drive` is part of the supply, positive heats; None is an open bridge."""
    cold, hot, sensor = temperatures
    ambient = mount.ambient_c + ZERO_C
    seebeck = module.seebeck_v_per_k
    amperes = 0.0 if drive is None else (-drive * mount.supply_v - seebeck * (hot - cold)) / module.ohm
    joule, through = amperes * amperes * module.ohm / 2.0, module.w_per_k * (hot - cold)
    absorbed = seebeck * amperes * cold - joule - through
    rejected = seebeck * amperes * hot + joule - through
    return (
        (load_w + (ambient - cold) / mount.insulation_k_per_w - absorbed) / mount.cold_j_per_k,
        (rejected - (hot - ambient) / mount.sink_k_per_w) / mount.hot_j_per_k,
        (cold - sensor) / mount.sensor_s,
    )


class SimulatedPlant:
    """Bridge and thermometer of no board (see drivers/tec.py), at the room's temperature at first.

    `load_w` is asked what heat the laser gives off. The ADC has steps of `step_v` up to `range_v` and normal noise of
    `noise_v`, which the seed repeats.
    """

    def __init__(
        self,
        thermistor: Thermistor,
        load_w: Callable[[], float] = lambda: 0.0,
        module: Module | None = None,
        mount: Mount | None = None,
        *,
        step_v: float = 125e-6,
        range_v: float = 4.096,
        noise_v: float = 100e-6,
        seed: int = 1,
    ) -> None:
        self.module, self.mount = module or Module(), mount or Mount()
        self._thermistor, self._load_w = thermistor, load_w
        self._step_v, self._range_v, self._noise_v = step_v, range_v, noise_v
        self._noise = np.random.default_rng(seed)
        ambient = self.mount.ambient_c + ZERO_C
        self.temperatures: Temperatures = (ambient, ambient, ambient)
        self._drive: float | None = None
        self._t_ns: int | None = None
        self._newest: tuple[int, float | DeviceError] = (0, DeviceError("nothing was read yet"))

    def drive(self, level: float) -> None:
        """Drive the module with that part of the supply; positive heats."""
        self._drive = level

    def off(self) -> None:
        """Open the bridge."""
        self._drive = None

    def level(self) -> float:
        """What it is driven with, 0 where the bridge is open."""
        return self._drive or 0.0

    def ask(self, t_ns: int) -> None:
        """Let the time pass to `t_ns`, and read."""
        if self._t_ns is not None and t_ns > self._t_ns:
            self._pass((t_ns - self._t_ns) * 1e-9)
        self._t_ns = t_ns
        volts = self._thermistor.volts(self.temperatures[2] - ZERO_C) + self._noise_v * self._noise.standard_normal()
        volts = self._step_v * round(volts / self._step_v)
        self._newest = (self._newest[0] + 1, volts if volts < self._range_v else math.inf)

    def newest(self) -> tuple[int, float | DeviceError]:
        """How many readings there were, and the last one in volts."""
        return self._newest

    def close(self) -> None:
        """Nothing to give back."""

    def _pass(self, seconds: float) -> None:
        steps = math.ceil(seconds / SUBSTEP_S)
        load_w, h = self._load_w(), seconds / steps
        for _ in range(steps):
            self.temperatures = self._stepped(self.temperatures, h, load_w)

    def _stepped(self, at: Temperatures, h: float, load_w: float) -> Temperatures:
        def slope(here: Temperatures) -> Temperatures:
            return change(here, self._drive, load_w, self.module, self.mount)

        def gone(k: Temperatures, part: float) -> Temperatures:
            return (at[0] + part * k[0], at[1] + part * k[1], at[2] + part * k[2])

        a = slope(at)
        b = slope(gone(a, h / 2.0))
        c = slope(gone(b, h / 2.0))
        d = slope(gone(c, h))
        mean = ((a[i] + 2.0 * (b[i] + c[i]) + d[i]) / 6.0 for i in range(3))
        return gone((next(mean), next(mean), next(mean)), h)
