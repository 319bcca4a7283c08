"""One output line of a Raspberry Pi, through gpiozero, and its simulated twin.

gpiozero is imported on open. A line is opened already in its safe state: it never passes through the other
one. On close the line is driven to its safe state and given back; then it is an input, and the board's pull
resistor holds it. Lines are set and read, nothing else: gpiozero's blinking would start a thread.
"""

from __future__ import annotations

import warnings

from gateway.errors import DeviceError

REMEDY = "On a Raspberry Pi: pip install 'spectrophone[pi]'; elsewhere choose board: sim"


class Line:
    """An open output line, BCM number `line`; `active_high` False turns its level round; it begins with
    `lit`.

    Raises DeviceError where there are no such lines, or the line is in use.
    """

    def __init__(self, line: int, active_high: bool, lit: bool) -> None:
        try:
            import gpiozero
        except ImportError as error:
            raise DeviceError(f"GPIO line {line} cannot be opened: {str(error).rstrip('.!')}", REMEDY) from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", gpiozero.PinFactoryFallback)
                self._device = gpiozero.OutputDevice(line, active_high=active_high, initial_value=lit)
        except gpiozero.GPIOPinInUse:
            raise DeviceError(f"GPIO line {line} is in use already", "Give each output its own line") from None
        except (gpiozero.GPIOZeroError, OSError, ImportError) as error:
            raise DeviceError(f"GPIO line {line} cannot be opened: {str(error).rstrip('.!')}", REMEDY) from None

    def set(self, lit: bool) -> None:
        """Drive the line."""
        if not self._device.closed:
            self._device.value = lit

    def get(self) -> bool:
        """The pin's level, read back; False once it is closed."""
        return not self._device.closed and bool(self._device.value)

    def close(self) -> None:
        """Give the line back; may be called twice."""
        self._device.close()


class SimulatedLine:
    """A line of no board."""

    def __init__(self, lit: bool) -> None:
        self._lit = lit

    def set(self, lit: bool) -> None:
        """See Line."""
        self._lit = lit

    def get(self) -> bool:
        """See Line."""
        return self._lit

    def close(self) -> None:
        """See Line."""
