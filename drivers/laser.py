"""The laser's modulation. Its safe state is off."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from drivers.cell import Cell
from gateway.errors import CommandRefused
from gateway.types import Command, Light

LOWEST_HZ, HIGHEST_HZ = 1, 100_000


class SimulatedLaser:
    """A laser in front of the simulated cell: target "laser", verbs on and off, and tune {"frequency_hz": number}
    for procedures that step the modulation. Dark at first.

    `light.frequency` is the frequency achieved, exactly: one given as a float is taken as the decimal number that it
    prints as (2013.7 is 20137/10). `duty` is the lit part of a period, `power_w` the optical power while lit, as a
    photodiode sees it: with the drift that the cell has for it.
    """

    target = "laser"
    verbs: tuple[str, ...] = ("on", "off", "tune")

    def __init__(self, cell: Cell, frequency_hz: float | Fraction, duty: float, power_w: float) -> None:
        frequency = frequency_hz if isinstance(frequency_hz, Fraction) else Fraction(str(frequency_hz))
        self._told = Light(frequency, duty, power_w)
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
        return replace(self._told, power_w=self._told.power_w * self._cell.state(self._cell.next_frame).power)

    def read(self) -> str:
        """The light itself: "on" or "off"."""
        return "on" if self._lit else "off"

    def step(self, t_ns: int) -> None:
        """Nothing goes on by itself."""

    def make_safe(self) -> None:
        """Off."""
        self._drive(False)

    def close(self) -> None:
        """Off for good; may be called twice."""
        self._drive(False)

    def _drive(self, lit: bool) -> None:
        self._lit = lit
        self._cell.drive(self._told.frequency, self._told.duty, self._told.power_w if lit else 0.0)


def tunable(value: Any) -> Fraction:
    """The decimal number `value` prints as, if the laser can be modulated with it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CommandRefused(f"laser tune wants a number of hertz, not {value!r}", 'Send {"frequency_hz": 2012.5}')
    if not LOWEST_HZ <= value <= HIGHEST_HZ:
        raise CommandRefused(f"laser tune: {str(value)[:20]} Hz is out of reach", "Send 1 to 100000")
    return Fraction(str(value))
