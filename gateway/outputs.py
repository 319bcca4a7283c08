"""The only door to the hardware: commands in, answers and the states read back out, and the way to safety.

The laser is lit only while somebody wants it, nothing forbids it, and its time is not over. What forbids it (no
sound, the loop hangs) is set and lifted by `watch`, from its own thread, so every entry takes the lock.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import MappingProxyType

from gateway.errors import CommandRefused, SpectrophoneError
from gateway.ports import Laser, Output
from gateway.types import Command, CommandResult, Light, Outcome

log = logging.getLogger("spectrophone.outputs")

LASER = "laser"
PASSING = frozenset({"tune", "set", "zero", "span", "cancel", "configure", "reset", "notify"})
"""What an output is told to do once; everything else is what it is told to be."""


class Outputs:
    """Every output of the box."""

    def __init__(self, outputs: Sequence[Output], max_on_s: float | None = None) -> None:
        """`max_on_s`: the longest time the laser may be lit without a new command."""
        self._outputs = {output.target: output for output in outputs}
        self._max_on_ns = None if max_on_s is None else round(max_on_s * 1e9)
        self._lit_since_ns: int | None = None
        self._forbidden = ""
        self._wanted: dict[str, Command] = {}
        self._lock = threading.RLock()

    def apply(self, commands: Sequence[Command], t_ns: int) -> Outcome:
        """Carry the commands out, at stream time `t_ns`. A fault of one output refuses its command and touches no
        other.
        """
        with self._lock:
            self._limit_laser(t_ns)
            results = tuple(self._carry_out(command, t_ns) for command in commands)
            for output in self._outputs.values():
                output.step(t_ns)
            return Outcome(
                results,
                MappingProxyType({target: _state(output) for target, output in self._outputs.items()}),
            )

    def lit(self) -> bool | None:
        """Whether the laser is lit, read back; None where there is no laser."""
        laser = self._outputs.get(LASER)
        return None if laser is None else _state(laser) == "on"

    def light(self) -> Light | None:
        """How the laser is modulated, None where there is none."""
        laser = self._outputs.get(LASER)
        return laser.light if isinstance(laser, Laser) else None

    def forbid(self, reason: str) -> None:
        """Make everything safe, and refuse to light the laser until allow()."""
        with self._lock:
            self._forbidden = reason
            self.make_safe()
        log.error("outputs made safe: %s", reason)

    def allow(self) -> None:
        """Lift what forbid() set; every output goes back to what it was last told."""
        with self._lock:
            if not self._forbidden:
                return
            log.warning("outputs allowed again after: %s", self._forbidden)
            self._forbidden = ""
            for command in self._wanted.values():
                try:
                    self._outputs[command.target].apply(command)
                except (SpectrophoneError, OSError) as error:
                    log.warning("%s does not go back to '%s': %s", command.target, command.verb, error)

    def make_safe(self) -> None:
        """Put every output in its safe state, the laser first, whatever any of them says."""
        with self._lock:
            for target in sorted(self._outputs, key=lambda target: target != LASER):
                try:
                    self._outputs[target].make_safe()
                except Exception:
                    log.exception("output %s could not be made safe", target)

    def close(self) -> None:
        """Make everything safe and give the hardware back."""
        with self._lock:
            self.make_safe()
            for output in self._outputs.values():
                output.close()
            self._outputs = {}

    def _limit_laser(self, t_ns: int) -> None:
        if self._max_on_ns is None or self._lit_since_ns is None or t_ns - self._lit_since_ns < self._max_on_ns:
            return
        log.warning("laser off: lit for max_on_s, %g s. Send it 'on' again to go on", self._max_on_ns / 1e9)
        self._wanted.pop(LASER)
        self._lit_since_ns = None
        self._outputs[LASER].make_safe()

    def _carry_out(self, command: Command, t_ns: int) -> CommandResult:
        output = self._outputs.get(command.target)
        try:
            if output is None:
                raise CommandRefused(f"there is no output '{command.target}'", f"There are: {', '.join(self._outputs)}")
            if command.verb not in output.verbs:
                raise CommandRefused(
                    f"{command.target} cannot be told '{command.verb}'",
                    f"It knows: {', '.join(output.verbs)}",
                )
            if command.verb not in PASSING:
                self._want(command, t_ns)
            output.apply(command)
        except (SpectrophoneError, OSError) as error:
            log.warning("%s %s refused: %s", command.target, command.verb, error)
            return CommandResult(command, False, str(error), _state(output) if output else "")
        return CommandResult(command, True, "", _state(output))

    def _want(self, command: Command, t_ns: int) -> None:
        """Remember what the output was told to be: it comes back to that after what forbids it is over."""
        self._wanted[command.target] = command
        if command.target == LASER:
            self._lit_since_ns = t_ns if command.verb == "on" else None
            if self._forbidden and command.verb == "on":
                raise CommandRefused(f"the laser stays off: {self._forbidden}", "It is lit when that is over")


def _state(output: Output) -> str:
    try:
        return output.read()
    except (SpectrophoneError, OSError) as error:
        log.warning("%s cannot be read back: %s", output.target, error)
        return "unknown"
