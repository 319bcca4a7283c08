"""Relays: target "relay/NAME", verbs on and off, a declared safe state in which they begin and end.

What hangs on a relay may not bear to be switched again at once (a compressor), or together with another (the two
directions of a motor). So a switching that comes before `min_interval_s` is over waits, and only the newest wish
counts; the begin counts as a switching, since nobody knows what was before. A relay that excludes another is refused
while that one is wanted on, and waits until that one's contact has had time to open. The safe state waits for nothing.

Contacts weld. `feedback` is an input that is active while the relay's own contact is closed; without one the level of
the driven line is all that can be read back. Where that differs from what is driven for longer than any contact
bounces, the relay's state is "stuck".
"""

from __future__ import annotations

import logging
from typing import Literal

from drivers.gpio import Input, Line, SimulatedInput, SimulatedLine
from gateway.errors import CommandRefused, DeviceError
from gateway.types import Command

log = logging.getLogger("spectrophone.relay")

OnOff = Literal["on", "off"]
SETTLED_NS = 500_000_000
"""After this time no contact bounces, and all have moved."""


class Relay:
    """A relay on an open `line`; see gateway.ports.Output. The line's level must be that of `safe`."""

    verbs: tuple[str, ...] = ("on", "off")

    def __init__(
        self,
        name: str,
        line: Line | SimulatedLine,
        safe: OnOff,
        min_interval_s: float = 0.0,
        feedback: Input | SimulatedInput | None = None,
    ) -> None:
        self.target, self.safe = f"relay/{name}", safe
        self._line, self._feedback = line, feedback
        self._interval_ns = round(min_interval_s * 1e9)
        self._excluded: list[Relay] = []
        self._wanted = self._driven = safe == "on"
        self._now_ns = self._switched_ns = self._agreed_ns = 0
        self._fault: Literal["", "stuck", "unknown"] = ""

    def exclude(self, other: Relay) -> None:
        """From now on neither is on while the other is."""
        if other not in self._excluded:
            self._excluded.append(other)
            other._excluded.append(self)

    def apply(self, command: Command) -> str | None:
        """Switch now, or as soon as it may be; what it waits for, if it does. Raises CommandRefused for another verb,
        and where a relay that it excludes is wanted on or stuck; DeviceError.
        """
        if command.verb not in self.verbs:
            raise CommandRefused(f"{self.target} cannot {command.verb}", "It knows on and off")
        for other in self._excluded if command.verb == "on" else ():
            if other._wanted:
                told = f"{self.target} may not be on together with {other.target}"
                raise CommandRefused(told, f"Switch {other.target} off first")
            if other._fault:
                raise CommandRefused(f"{self.target} stays off: {other.target} is {other._fault}", "Mend that one")
        self._wanted = command.verb == "on"
        waiting = self._waits()
        if not waiting:
            self._drive(self._wanted)
        return waiting or None

    def step(self, t_ns: int) -> None:
        """Carry out what waited, and compare the contact with what is driven. Faults are told in the log, once."""
        self._now_ns = t_ns
        try:
            if self._wanted != self._driven and not self._waits():
                self._drive(self._wanted)
        except DeviceError as error:
            log.error("%s does not go %s: %s", self.target, _word(not self._driven), error)
        self._compare()

    def read(self) -> str:
        """What line and contact say: "on" or "off", "stuck" where they do not do what is driven. Raises DeviceError."""
        lit = self._line.get()
        return self._fault or _word(lit)

    def make_safe(self) -> None:
        """Go to the safe state at once; where that is on, those that it excludes go off before."""
        self._wanted = self.safe == "on"
        for other in self._excluded if self._wanted else ():
            other._wanted = False
            other._drive(False)
        self._drive(self._wanted)

    def close(self) -> None:
        """Safe state, then give the lines back; may be called twice."""
        self.make_safe()
        self._line.close()
        if self._feedback is not None:
            self._feedback.close()

    def _drive(self, lit: bool) -> None:
        try:
            self._line.set(lit)
        except DeviceError:
            self._wanted = self._driven
            raise
        if lit != self._driven:
            self._driven = lit
            self._switched_ns = self._agreed_ns = self._now_ns

    def _waits(self) -> str:
        """What a switching waits for, in words; nothing if it may be."""
        if self._wanted == self._driven:
            return ""
        left_ns = self._switched_ns + self._interval_ns - self._now_ns
        if left_ns > 0:
            return f"{self.target} goes {_word(self._wanted)} in {left_ns / 1e9:.1f} s"
        closed = [other.target for other in self._excluded if self._wanted and not other._open()]
        return f"{self.target} goes on when {closed[0]} has gone off" if closed else ""

    def _open(self) -> bool:
        return not self._driven and not self._fault and self._now_ns - self._switched_ns >= SETTLED_NS

    def _compare(self) -> None:
        fault, told = self._fault, ""
        try:
            closed = self._line.get() if self._feedback is None else self._feedback.get()
        except DeviceError as error:
            fault, told = "unknown", str(error)
        else:
            if closed == self._driven:
                fault, self._agreed_ns = "", self._now_ns
            elif self._now_ns - self._agreed_ns > SETTLED_NS:
                fault, told = "stuck", f"it is driven {_word(self._driven)}, but its contact says {_word(closed)}"
        if fault and fault != self._fault:
            log.error("%s is %s: %s", self.target, fault, told)
        elif self._fault and not fault:
            log.warning("%s is no longer %s", self.target, self._fault)
        self._fault = fault


def _word(lit: bool) -> OnOff:
    return "on" if lit else "off"
