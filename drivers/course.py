"""What changes by itself over time in the simulated cell: courses of gas, air and laser power, and a clock's walk.

A course is a sum of shapes, each a function of the seconds since frame 0, and is added to what is set. The cell looks
at it in the middle of every HOLDS_PER_S-th of a second, counted in absolute frames, and takes it as constant so long
(a zero-order hold; a swing of 5 K in 20 minutes moves the resonance by 1 mHz in that time).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drivers import noise

HOLDS_PER_S = 100
WALK = 64
"""Stream of random numbers of the clock's walk."""


@dataclass(frozen=True, slots=True)
class Step:
    """`by` from `at_s` on, 0 before."""

    at_s: float
    by: float

    def at(self, seconds: float) -> float:
        """The change at that time."""
        return self.by if seconds >= self.at_s else 0.0


@dataclass(frozen=True, slots=True)
class Ramp:
    """0 until `start_s`, `by` from `end_s` on, a straight line in between."""

    start_s: float
    end_s: float
    by: float

    def at(self, seconds: float) -> float:
        """The change at that time."""
        return self.by * min(max((seconds - self.start_s) / (self.end_s - self.start_s), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Swing:
    """A sine of `amplitude` and `period_s`, from 0 upwards at 0 s."""

    amplitude: float
    period_s: float

    def at(self, seconds: float) -> float:
        """The change at that time."""
        return self.amplitude * math.sin(2.0 * math.pi * seconds / self.period_s)


Course = Sequence[Step | Ramp | Swing]


@dataclass(frozen=True, slots=True)
class Courses:
    """What is added to the gas and the air that are set: kelvin, percent, pascal, ppm. `power` is relative: 0.1 is a
    tenth more light. Relative humidity stays when the temperature moves, unless it has a course of its own. Sums beyond
    what there can be (humidity 0 to 100 %, ppm 0 to 1e6, light from 0 on) stay at the limit.
    """

    temperature_k: Course = ()
    humidity_percent: Course = ()
    pressure_pa: Course = ()
    ppm: Course = ()
    power: Course = ()

    @property
    def moving(self) -> bool:
        """Whether there is any."""
        return any((self.temperature_k, self.humidity_percent, self.pressure_pa, self.ppm, self.power))


def change(course: Course, seconds: float) -> float:
    """The sum of all shapes of a course at that time."""
    return sum(shape.at(seconds) for shape in course)


class Walk:
    """A clock whose relative frequency error y walks at random: its knots, a second apart, differ by independent normal
    numbers, and between two knots it runs straight. So it has the random-walk FM of a crystal in changing air (IEEE Std
    1139, S_y ~ f^-2), and its integral, the time error, is continuous. `rms` is the standard deviation of y's change
    in a second; y is 0 at frame 0.
    """

    def __init__(self, rms: float, seed: noise.Seed, rate_hz: int) -> None:
        self._rms, self._seed, self._rate = rms, seed, rate_hz
        self._first, self._knots = 0, [(0.0, 0.0)]

    def error(self, frame: int) -> float:
        """y at that frame."""
        second, rest = divmod(frame, self._rate)
        start, end = self._knot(second)[0], self._knot(second + 1)[0]
        return start + (end - start) * rest / self._rate

    def time_error(self, frame: int, frames: int) -> noise.Wave:
        """Integral of y from frame 0 on, in seconds: float64 [frames], for `frame` and those after it."""
        n = np.arange(frame, frame + frames)
        seconds: npt.NDArray[np.int64] = n // self._rate
        u = (n % self._rate) / self._rate
        low = int(seconds[0])
        knots = np.array([self._knot(k) for k in range(low, int(seconds[-1]) + 2)])
        y, integral = knots[seconds - low].T
        error: noise.Wave = integral + u * (y + 0.5 * u * (knots[seconds - low + 1, 0] - y))
        return error

    def _knot(self, second: int) -> tuple[float, float]:
        """y and its integral at a full second. The last few are kept; what is older is walked to once more."""
        if second < self._first:
            self._first, self._knots = 0, [(0.0, 0.0)]
        while second >= self._first + len(self._knots):
            y, integral = self._knots[-1]
            number = self._first + len(self._knots)
            following = y + self._rms * float(self._seed.generator(WALK, number).standard_normal())
            self._knots.append((following, integral + 0.5 * (y + following)))
            if len(self._knots) > 8:
                self._first += 1
                del self._knots[0]
        return self._knots[second - self._first]
