"""The laser's modulation. Its safe state is off."""

from __future__ import annotations

from fractions import Fraction

from drivers.cell import Cell
from gateway.errors import CommandRefused
from gateway.types import Command


class SimulatedLaser:
    """A laser in front of the simulated cell: target "laser", verbs on and off. Dark at first.

    `frequency` is the frequency achieved, exactly: a frequency given as a float is taken as the decimal
    number that it prints as (2013.7 is 20137/10). `duty` is the lit part of a period, `power_w` the optical
    power while lit.
    """

    target = "laser"
    verbs: tuple[str, ...] = ("on", "off")

    def __init__(self, cell: Cell, frequency_hz: float | Fraction, duty: float, power_w: float) -> None:
        self.frequency = frequency_hz if isinstance(frequency_hz, Fraction) else Fraction(str(frequency_hz))
        self.duty, self.power_w = duty, power_w
        self._cell, self._lit = cell, False
        self._drive(False)

    def apply(self, command: Command) -> None:
        """Light or darken it. Raises CommandRefused for another verb."""
        if command.verb not in self.verbs:
            raise CommandRefused(f"laser cannot {command.verb}", "It knows on and off")
        self._drive(command.verb == "on")

    def read(self) -> str:
        """The light itself: "on" or "off"."""
        return "on" if self._lit else "off"

    def make_safe(self) -> None:
        """Off."""
        self._drive(False)

    def close(self) -> None:
        """Off for good; may be called twice."""
        self._drive(False)

    def _drive(self, lit: bool) -> None:
        self._lit = lit
        self._cell.drive(self.frequency, self.duty, self.power_w if lit else 0.0)
