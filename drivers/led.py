"""LEDs: target "led/NAME", verbs on and off, and the colours that the LED's parts can make.

An LED of one colour has a single line; one of two or three parts has a line for each of "red", "green",
"blue", and knows the seven mixtures of those it has ("on" lights all parts). Its state is the mixture's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from drivers.gpio import Line, SimulatedLine
from gateway.errors import CommandRefused
from gateway.types import Command

OnOff = Literal["on", "off"]

MIXTURES = {
    "red": frozenset({"red"}),
    "green": frozenset({"green"}),
    "blue": frozenset({"blue"}),
    "yellow": frozenset({"red", "green"}),
    "magenta": frozenset({"red", "blue"}),
    "cyan": frozenset({"green", "blue"}),
    "white": frozenset({"red", "green", "blue"}),
}
SINGLE = "line"
"""Name of the only part of an LED of one colour."""


class _Led:
    """What the real and the simulated LED have in common; see gateway.ports.Output. `lines` by part."""

    def __init__(self, name: str, lines: Mapping[str, Line | SimulatedLine], safe: OnOff) -> None:
        self.target, self.safe = f"led/{name}", safe
        self._lines = dict(lines)
        self._lit = {"on": frozenset(lines), "off": frozenset()}
        self._lit |= {name: parts for name, parts in MIXTURES.items() if parts <= frozenset(lines)}
        self.verbs: tuple[str, ...] = tuple(self._lit)

    def apply(self, command: Command) -> None:
        """Show a colour. Raises CommandRefused for one that it cannot make."""
        if command.verb not in self._lit:
            raise CommandRefused(f"{self.target} cannot {command.verb}", f"It knows {', '.join(self.verbs)}")
        self._show(command.verb)

    def read(self) -> str:
        """What the lines say: "off", the colour's name, or "on" for an LED of one colour."""
        lit = frozenset(part for part, line in self._lines.items() if line.get())
        names = {parts: name for name, parts in self._lit.items()}
        return names[lit]

    def step(self, t_ns: int) -> None:
        """Nothing goes on by itself."""

    def make_safe(self) -> None:
        """Go to the safe state."""
        self._show(self.safe)

    def close(self) -> None:
        """Safe state, then give the lines back; may be called twice."""
        self.make_safe()
        for line in self._lines.values():
            line.close()

    def _show(self, verb: str) -> None:
        for part, line in self._lines.items():
            line.set(part in self._lit[verb])


class GpioLed(_Led):
    """An LED on BCM lines: {"line": 17}, or up to three of {"red": 5, "green": 6, "blue": 13}. Raises
    DeviceError."""

    def __init__(self, name: str, lines: Mapping[str, int], active_high: bool = True, safe: OnOff = "off") -> None:
        opened: dict[str, Line] = {}
        try:
            for part, line in lines.items():
                opened[part] = Line(line, active_high, safe == "on")
        except Exception:
            for line_opened in opened.values():
                line_opened.close()
            raise
        super().__init__(name, opened, safe)


class SimulatedLed(_Led):
    """An LED of no board; `colours` are its parts, none for an LED of one colour."""

    def __init__(self, name: str, colours: tuple[str, ...] = (), safe: OnOff = "off") -> None:
        super().__init__(name, {part: SimulatedLine(safe == "on") for part in colours or (SINGLE,)}, safe)
