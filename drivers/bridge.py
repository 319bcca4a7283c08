"""An H-bridge behind a PWM and a line: how strong, and which way round.

The PWM runs at 30 kHz. Nobody hears that, and in the sound it folds to 18 kHz at 48000 samples a second (14.1 kHz at
44100), far from the cell, where 50 kHz would fold to 2 kHz. A filter between bridge and module makes a current of it:
ripple heats, and cools nothing.
"""

from __future__ import annotations

from fractions import Fraction

from drivers.gpio import Line, SimulatedLine
from drivers.pwm import KernelPwm

FREQUENCY = Fraction(30_000)


class PwmBridge:
    """See drivers.tec.Bridge. `direction` set heats."""

    def __init__(self, pwm: KernelPwm, direction: Line | SimulatedLine) -> None:
        self._pwm, self._direction = pwm, direction
        self._ticks = pwm.ticks(FREQUENCY)
        self._heats = direction.get()
        self._closed = False

    def drive(self, level: float) -> None:
        """Drive it; the current is off while the direction changes. Raises DeviceError."""
        heats = level > 0.0
        if heats != self._heats:
            self._pwm.off()
            self._direction.set(heats)
            self._heats = heats
        self._pwm.drive(self._ticks, round(abs(level) * self._ticks))

    def off(self) -> None:
        """No current. Raises DeviceError."""
        if not self._closed:
            self._pwm.off()

    def level(self) -> float:
        """What PWM and line say. Raises DeviceError."""
        if self._closed:
            return 0.0
        wave = self._pwm.read()
        if not wave.lit:
            return 0.0
        return wave.duty_ns / wave.period_ns * (1.0 if self._direction.get() else -1.0)

    def close(self) -> None:
        """Off, and given back; may be called twice."""
        self._closed = True
        self._pwm.close()
        self._direction.close()
