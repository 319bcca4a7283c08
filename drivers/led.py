"""LEDs: target "led/NAME", verbs on and off, and the colours that the LED's parts can make.

An LED of one colour has a single line; one of two or three parts has a line for each of "red", "green",
"blue", and knows the seven mixtures of those it has ("on" lights all parts). Its state is the mixture's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def led_verbs(parts: Iterable[str]) -> tuple[str, ...]:
    """What an LED of these parts can be told."""
    return tuple(_mixtures(parts))


def _mixtures(parts: Iterable[str]) -> dict[str, frozenset[str]]:
    """The parts that each verb lights."""
    own = frozenset(parts)
    made = {name: mixed for name, mixed in MIXTURES.items() if mixed <= own}
    return {"on": own, "off": frozenset(), **made}


class Led:
    """An LED of open lines, by part: {"line": a}, or up to three of {"red": a, "green": b, "blue": c}; see
    gateway.ports.Output. The lines' level must be that of `safe`."""

    def __init__(self, name: str, lines: Mapping[str, Line | SimulatedLine], safe: OnOff) -> None:
        self.target, self.safe = f"led/{name}", safe
        self._lines = dict(lines)
        self._lit = _mixtures(lines)
        self.verbs = led_verbs(lines)

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
