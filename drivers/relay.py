"""Relays: target "relay/NAME", verbs on and off, a declared safe state in which they begin and end."""

from __future__ import annotations

from typing import Literal

from drivers.gpio import Line, SimulatedLine
from gateway.errors import CommandRefused
from gateway.types import Command

OnOff = Literal["on", "off"]


class _Relay:
    """What the real and the simulated relay have in common; see gateway.ports.Output."""

    verbs: tuple[str, ...] = ("on", "off")

    def __init__(self, name: str, line: Line | SimulatedLine, safe: OnOff) -> None:
        self.target, self.safe = f"relay/{name}", safe
        self._line = line

    def apply(self, command: Command) -> None:
        """Switch. Raises CommandRefused for another verb."""
        if command.verb not in self.verbs:
            raise CommandRefused(f"{self.target} cannot {command.verb}", "It knows on and off")
        self._line.set(command.verb == "on")

    def read(self) -> str:
        """What the line says: "on" or "off"."""
        return "on" if self._line.get() else "off"

    def step(self, t_ns: int) -> None:
        """Nothing goes on by itself."""

    def make_safe(self) -> None:
        """Go to the safe state."""
        self._line.set(self.safe == "on")

    def close(self) -> None:
        """Safe state, then give the line back; may be called twice."""
        self.make_safe()
        self._line.close()


class GpioRelay(_Relay):
    """A relay on BCM line `line`; `active_high` False where a low level switches it on. Raises
    DeviceError."""

    def __init__(self, name: str, line: int, active_high: bool = True, safe: OnOff = "off") -> None:
        super().__init__(name, Line(line, active_high, safe == "on"), safe)


class SimulatedRelay(_Relay):
    """A relay of no board."""

    def __init__(self, name: str, safe: OnOff = "off") -> None:
        super().__init__(name, SimulatedLine(safe == "on"), safe)
