"""The laser's modulation. Its safe state is off.

Lit, the duty may rise to its value over a ramp, so that driver and diode warm evenly: it begins with a hundredth of its
value and grows at every step, which is to say with the blocks of sound. `light` tells the duty of the moment.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol

from drivers.cell import Cell
from drivers.gpio import Line, SimulatedLine
from drivers.pwm import Wave
from gateway.errors import CommandRefused, DeviceError
from gateway.types import Command, Light

LOWEST_HZ, HIGHEST_HZ = 1, 100_000
LEAST_TICKS = 100
"""Of fewer ticks a period is not made: its duty could not be set to a hundredth."""
FIRST = 0.01
"""Where a ramp begins: lit, and read back as lit, from the first moment."""


class Pwm(Protocol):
    """What makes a square wave of whole ticks: drivers.pwm.KernelPwm, drivers.software_pwm.SoftwarePwm."""

    def ticks(self, frequency: Fraction) -> int:
        """The period nearest to that frequency in hertz."""
        ...

    def frequency(self, ticks: int) -> Fraction:
        """The frequency of such a period, in hertz, exactly."""
        ...

    def duty(self, ticks: int, lit: int) -> float:
        """The lit part of such a period that comes of it."""
        ...

    def drive(self, ticks: int, lit: int) -> None:
        """Run, `lit` of `ticks` ticks."""
        ...

    def off(self) -> None:
        """Dark."""
        ...

    def read(self) -> Wave:
        """What it does."""
        ...

    def close(self) -> None:
        """Dark, and given back."""
        ...


class Ramp:
    """How much of its duty a laser has: `reached` is FIRST at the beginning, grows with each step, 1 after `ramp_s`."""

    def __init__(self, ramp_s: float) -> None:
        self.reached = 1.0
        self._ns = round(ramp_s * 1e9)
        self._since_ns: int | None = None

    def begin(self) -> None:
        """The laser is lit; the time begins with the next step."""
        self.reached, self._since_ns = FIRST if self._ns else 1.0, None

    def end(self) -> None:
        """The laser is dark."""
        self.reached = 1.0

    def step(self, t_ns: int) -> bool:
        """Grow to what is due at `t_ns`; whether that is another part than before."""
        if self.reached == 1.0:
            return False
        if self._since_ns is None:
            self._since_ns = t_ns
        before, part = self.reached, (t_ns - self._since_ns) / self._ns
        self.reached = min(max(part, FIRST), 1.0)
        return self.reached != before


class SimulatedLaser:
    """A laser in front of the simulated cell: target "laser", verbs on and off, and tune {"frequency_hz": number}
    for procedures that step the modulation. Dark at first.

    `light.frequency` is the frequency achieved, exactly: one given as a float is taken as the decimal number that it
    prints as (2013.7 is 20137/10). `duty` is the lit part of a period, `power_w` the optical power while lit, as a
    photodiode sees it: with the drift that the cell has for it.
    """

    target = "laser"
    verbs: tuple[str, ...] = ("on", "off", "tune")

    def __init__(
        self, cell: Cell, frequency_hz: float | Fraction, duty: float, power_w: float, ramp_s: float = 0.0
    ) -> None:
        frequency = frequency_hz if isinstance(frequency_hz, Fraction) else Fraction(str(frequency_hz))
        self._told, self._ramp = Light(frequency, duty, power_w), Ramp(ramp_s)
        self._cell, self._lit = cell, False
        self._drive(False)

    def apply(self, command: Command) -> None:
        """Light, darken or tune it; tuning neither lights nor darkens, and keeps the phase. Raises CommandRefused
        for another verb, and for a frequency outside 1 Hz to 100 kHz.
        """
        if command.verb == "tune":
            self._told = replace(self._told, frequency=tunable(command.args.get("frequency_hz")))
            self._drive(self._lit)
        elif command.verb in self.verbs:
            self._drive(command.verb == "on")
        else:
            raise CommandRefused(f"laser cannot {command.verb}", "It knows on, off and tune")

    @property
    def light(self) -> Light:
        """How the laser is modulated, whether lit or not."""
        power_w = self._told.power_w * self._cell.state(self._cell.next_frame).power
        return replace(self._told, duty=self._told.duty * self._ramp.reached, power_w=power_w)

    def read(self) -> str:
        """The light itself: "on" or "off"."""
        return "on" if self._lit else "off"

    def step(self, t_ns: int) -> None:
        """Go on with the ramp."""
        if self._ramp.step(t_ns):
            self._drive(self._lit)

    def make_safe(self) -> None:
        """Off."""
        self._drive(False)

    def close(self) -> None:
        """Off for good; may be called twice."""
        self._drive(False)

    def _drive(self, lit: bool) -> None:
        if lit != self._lit:
            (self._ramp.begin if lit else self._ramp.end)()
        self._lit = lit
        duty = self._told.duty * self._ramp.reached
        self._cell.drive(self._told.frequency, duty, self._told.power_w if lit else 0.0)


class PwmLaser:
    """A laser that a PWM modulates, and that gives light only while its driver's `enable` says so, if it has one.
    Target and verbs as SimulatedLaser has them; dark at first.

    It is lit by the PWM and then by `enable`, and darkened the other way round; each is tried whatever becomes of the
    other. Tuning goes to the nearest period of whole ticks, and keeps the duty.
    """

    target = "laser"
    verbs: tuple[str, ...] = SimulatedLaser.verbs

    def __init__(
        self,
        pwm: Pwm,
        light: Light,
        duty_max: float,
        ramp_s: float = 0.0,
        enable: Line | SimulatedLine | None = None,
    ) -> None:
        """`light` as the configuration has it; `duty_max`: what laser and driver bear. Raises DeviceError, and
        CommandRefused for a frequency out of reach.
        """
        if light.duty > duty_max:
            message = f"the laser's duty, {light.duty:g}, is more than laser and driver bear, {duty_max:g}"
            raise DeviceError(message, "Lower laser.duty, or look into the board file")
        self._pwm, self._enable, self._ramp = pwm, enable, Ramp(ramp_s)
        self._duty, self._power_w = Fraction(str(light.duty)), light.power_w
        self._ticks = _period(pwm, light.frequency)
        self._lit = False
        self.make_safe()

    def apply(self, command: Command) -> None:
        """Light, darken or tune it; tuning neither lights nor darkens. Raises CommandRefused for another verb and for a
        frequency out of reach, DeviceError where the hardware refuses; then it is dark.
        """
        if command.verb == "tune":
            frequency = tunable(command.args.get("frequency_hz"))
            self._ticks = _period(self._pwm, frequency)
            self._go_on()
        elif command.verb == "on":
            self._light()
        elif command.verb == "off":
            self.make_safe()
        else:
            raise CommandRefused(f"laser cannot {command.verb}", "It knows on, off and tune")

    @property
    def light(self) -> Light:
        """How the laser is modulated, whether lit or not, as achieved."""
        duty = self._pwm.duty(self._ticks, self._lit_ticks)
        return Light(self._pwm.frequency(self._ticks), duty, self._power_w)

    def read(self) -> str:
        """What PWM and enable say: "on" or "off". Raises DeviceError."""
        return "on" if self._pwm.read().lit and (self._enable is None or self._enable.get()) else "off"

    def step(self, t_ns: int) -> None:
        """Go on with the ramp."""
        if self._ramp.step(t_ns):
            self._go_on()

    def make_safe(self) -> None:
        """Off: the enable first."""
        self._lit = False
        self._ramp.end()
        try:
            if self._enable is not None:
                self._enable.set(False)
        finally:
            self._pwm.off()

    def close(self) -> None:
        """Off for good; may be called twice."""
        try:
            self.make_safe()
        finally:
            self._pwm.close()
            if self._enable is not None:
                self._enable.close()

    @property
    def _lit_ticks(self) -> int:
        return max(int(self._duty * self._ticks * Fraction(self._ramp.reached)), 1)

    def _light(self) -> None:
        try:
            if not self._shines():
                self._ramp.begin()
            self._pwm.drive(self._ticks, self._lit_ticks)
            if self._enable is not None:
                self._enable.set(True)
        except DeviceError:
            self.make_safe()
            raise
        self._lit = True

    def _go_on(self) -> None:
        """Take over a new period or duty; who has been darkened from outside stays dark."""
        if self._shines():
            self._light()

    def _shines(self) -> bool:
        return self._lit and self.read() == "on"


def _period(pwm: Pwm, frequency: Fraction) -> int:
    ticks = pwm.ticks(frequency)
    if ticks < LEAST_TICKS:
        highest = float(pwm.frequency(LEAST_TICKS))
        raise CommandRefused(
            f"the laser's PWM makes {float(frequency):g} Hz of {ticks} ticks, too few", f"Give {highest:g} Hz at most"
        )
    return ticks


def tunable(value: Any) -> Fraction:
    """The decimal number `value` prints as, if the laser can be modulated with it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CommandRefused(f"laser tune wants a number of hertz, not {value!r}", 'Send {"frequency_hz": 2012.5}')
    if not LOWEST_HZ <= value <= HIGHEST_HZ:
        raise CommandRefused(f"laser tune: {str(value)[:20]} Hz is out of reach", "Send 1 to 100000")
    return Fraction(str(value))
