"""A PID controller: numbers in, a number out.

    u = I - kp y - kd y',   I' = ki (r - y) + (sat(u) - u) / Tt,   ki = kp / Ti,   kd = kp Td

the parallel form of K. J. Astrom, T. Hagglund, "Advanced PID Control" (ISA, 2006), chapters 3 and 13, with set-point
weights 0 on P and D: only the integral sees the set-point r, so that a step of it moves nothing at that moment, and the
loop's own poles alone shape the answer. The derivative of the measured y goes through a first-order filter of
Tf = Td / 5 by backward differences, stable for every step length h:

    D_k = (Tf D_(k-1) - kd (y_k - y_(k-1))) / (Tf + h)

The integral is led back while the output is at its limit (back-calculation) with the tracking time Tt = sqrt(Ti Td), or
Ti where there is no derivative; the share of a step is h / (Tt + h), which never overshoots, however late the step is.
So the integral lies at most ki |r - y| (Tt + h) beyond the limit, and no longer saturation makes that more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FILTER = 5.0
"""Td / Tf: up to this many times above 1 / Td the derivative is one."""
LONGEST_S = 2.0
"""After a longer time without a step nothing is known of what lies between: it begins anew at the output it has."""


@dataclass(frozen=True, slots=True)
class Gains:
    """Output per kelvin, per kelvin and second, and per kelvin a second (for a measured temperature): kp > 0, ki >= 0,
    kd >= 0.
    """

    kp: float
    ki: float
    kd: float

    @property
    def filter_s(self) -> float:
        """Time constant Tf of the derivative's filter."""
        return self.kd / (self.kp * FILTER)

    @property
    def tracking_s(self) -> float:
        """Tt, with which the integral comes back from saturation."""
        if self.ki == 0.0:
            return math.inf
        return math.sqrt(self.kd / self.ki) if self.kd else self.kp / self.ki


class Pid:
    """The controller's state. The output lies within -limit to +limit, and rises when the measured value is too low."""

    def __init__(self, gains: Gains, limit: float) -> None:
        self._gains, self._limit = gains, limit
        self._integral = self._derivative = self._measured = 0.0
        self._t_ns: int | None = None
        self.output = 0.0

    def forget(self) -> None:
        """The next step is the first, and gives 0."""
        self._t_ns, self.output = None, 0.0

    def step(self, setpoint: float, measured: float, t_ns: int) -> float:
        """The output from time `t_ns` on; the same again where no time has passed."""
        gains, limit = self._gains, self._limit
        h = math.inf if self._t_ns is None else (t_ns - self._t_ns) * 1e-9
        if h <= 0.0:
            return self.output
        if h > LONGEST_S:
            self._integral, self._derivative = self.output + gains.kp * measured, 0.0
        else:
            moved = gains.filter_s * self._derivative - gains.kd * (measured - self._measured)
            self._derivative = moved / (gains.filter_s + h)
            self._integral += gains.ki * h * (setpoint - measured)
            free = self._integral - gains.kp * measured + self._derivative
            self.output = min(max(free, -limit), limit)
            self._integral += h / (gains.tracking_s + h) * (self.output - free)
        self._t_ns, self._measured = t_ns, measured
        return self.output
