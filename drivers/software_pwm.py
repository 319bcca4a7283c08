"""A PWM that a thread of lgpio makes, through gpiozero: the second choice, for a line without hardware PWM.

lgpio sleeps from edge to edge, to whole microseconds of the machine's monotonic clock (lgPthTx.c of joan2937/lg), so
the mean frequency is 1e6 / microseconds in that clock, which is neither the codec's nor quite steady; every edge is as
late as the scheduler is, tens of microseconds on an idle Pi and milliseconds on a busy one. gpiozero sets the duty in
whole percent. It wants `laser.reference: free` or `loopback`.

When the process is killed or stopped the line stays as it is, and that may be lit: a hardware PWM would go on with its
duty. Who is next in line must make the line safe, and strict_gpiod should be in config.txt.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

from drivers.pwm import Wave
from gateway.errors import DeviceError

log = logging.getLogger("spectrophone.laser")

SECOND_US = 1_000_000
REMEDY = "On a Raspberry Pi: pip install 'spectrophone[software-pwm]'; better, take a line that has a hardware PWM"


class SoftwarePwm:
    """A square wave on BCM line `line`, in ticks of a microsecond, dark at first. Raises DeviceError."""

    def __init__(self, line: int, factory: Any = None) -> None:
        """`factory`: gpiozero's pin factory; that of lgpio if absent."""
        try:
            import gpiozero

            if factory is None:
                from gpiozero.pins.lgpio import LGPIOFactory

                factory = LGPIOFactory()
            self._device: Any = gpiozero.PWMOutputDevice(line, initial_value=0, frequency=1000, pin_factory=factory)
        except Exception as error:  # lgpio's own errors have no name here
            message = f"GPIO line {line} makes no PWM: {str(error).rstrip('.!')}"
            raise DeviceError(message, REMEDY) from None
        log.warning(
            "the laser on line %d is modulated by software: its edges jitter by tens of microseconds and more, and its "
            "frequency is that of no sound card. Take a line with a hardware PWM where there is one",
            line,
        )

    def ticks(self, frequency: Fraction) -> int:
        """The period whose frequency is nearest to that many hertz, in microseconds."""
        below = max(int(SECOND_US / frequency), 1)
        return min(below, below + 1, key=lambda ticks: abs(self.frequency(ticks) - frequency))

    def frequency(self, ticks: int) -> Fraction:
        """The mean frequency of a period of that many microseconds, in hertz, by the machine's clock."""
        return Fraction(SECOND_US, ticks)

    def duty(self, ticks: int, lit: int) -> float:
        """The lit part that comes of it: a whole percent, at least one."""
        return max(100 * lit // ticks, 1) / 100

    def drive(self, ticks: int, lit: int) -> None:
        """Run with a period of `ticks` microseconds, lit for duty(ticks, lit)."""
        if ticks != round(SECOND_US / self._device.frequency):
            self._device.frequency = SECOND_US / ticks
        self._device.value = self.duty(ticks, lit) + 0.005  # gpiozero cuts off what is no whole percent

    def off(self) -> None:
        """Dark."""
        if not self._device.closed:
            self._device.value = 0

    def read(self) -> Wave:
        """What gpiozero was told: nothing can be read back of a wave that a thread makes."""
        if self._device.closed:
            return Wave(False, 0, 0)
        period_ns = round(1e9 / self._device.frequency)
        return Wave(True, period_ns, int(self._device.value * period_ns))

    def close(self) -> None:
        """Dark, and given back; may be called twice."""
        self.off()
        self._device.close()
