"""The only door to the hardware: commands in, answers and the states read back out, and the way to safety.

The laser is lit only while `interlock` says so, and relays go to their safe states when a condition is lost that they
hang on. Who sees a condition lost (the watch, from a thread of its own; the reloader) says so with lose() and
restore(), so every entry takes the lock.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import MappingProxyType

from gateway.errors import CommandRefused, SpectrophoneError
from gateway.interlock import CONDITIONS, Condition, Interlock, State
from gateway.ports import Laser, Output, Regulator
from gateway.types import Command, CommandResult, Light, Outcome

log = logging.getLogger("spectrophone.outputs")

LASER, RELAY = "laser", "relay/"
START = "start"
"""The origin of what is told before the first sound, when it is no news that there is none."""
PASSING = frozenset(
    ("tune", "set", "zero", "span", "cancel", "configure", "reset", "pause", "resume", "reload", "notify", "identify")
)
"""What an output is told to do once; everything else is what it is told to be."""


class Outputs:
    """Every output of the box."""

    def __init__(self, outputs: Sequence[Output], interlock: Interlock | None = None) -> None:
        """`interlock` decides about the light; one without a limit if absent."""
        self._outputs = {output.target: output for output in outputs}
        self._regulators = [output for output in outputs if isinstance(output, Regulator)]
        self._interlock = interlock or Interlock()
        self._wanted: dict[str, Command] = {}
        self._lit = False
        self._relays_safe = False
        self._ended = False
        self._felt: set[Condition] = set()
        self._lock = threading.RLock()

    def add(self, outputs: Sequence[Output]) -> None:
        """More of them, that lead to no hardware; before the first sound."""
        with self._lock:
            self._outputs.update({output.target: output for output in outputs})

    def apply(self, commands: Sequence[Command], t_ns: int) -> Outcome:
        """Carry the commands out, at stream time `t_ns`. A fault of one output refuses its command and touches no
        other.
        """
        with self._lock:
            if self._interlock.overdue(t_ns):
                log.error("the laser is off: %s. Tell it to be on again to go on", self._interlock.why)
                self._trip()
            results = tuple(self._carry_out(command, t_ns) for command in commands)
            self._ended = self._ended and not commands
            if not self._ended:
                self._heed([fault for output in self._outputs.values() if (fault := _step(output, t_ns))])
            states = {target: _state(output) for target, output in self._outputs.items()}
            if not self._lit and states.get(LASER) == "on":
                log.error("the laser was lit by somebody else; it is made safe")
                self._darken()
                states[LASER] = _state(self._outputs[LASER])
            laser = (self._interlock.state, self._interlock.why)
            return Outcome(results, MappingProxyType(states), laser, self._interlock.refuses)

    def lit(self) -> bool | None:
        """Whether the laser is lit, read back; None where there is no laser."""
        laser = self._outputs.get(LASER)
        return None if laser is None else _state(laser) == "on"

    def light(self) -> Light | None:
        """How the laser is modulated, None where there is none."""
        laser = self._outputs.get(LASER)
        return laser.light if isinstance(laser, Laser) else None

    def safety(self) -> tuple[State, str]:
        """The laser's state, and why it is dark although it is wanted."""
        with self._lock:
            return self._interlock.state, self._interlock.why

    def missing(self, condition: Condition) -> str:
        """Why a condition does not hold; "" if it does."""
        with self._lock:
            return self._interlock.missing.get(condition, "")

    def lose(self, condition: Condition, reason: str) -> None:
        """A condition does not hold. At once the laser is dark, and relays are in their safe states if they depend on
        it; when the loop hangs, which else looks after them, all outputs are.
        """
        with self._lock:
            felt = self._lit or condition is Condition.LOOP or any(map(_is_relay, self._wanted))
            news = self._interlock.lose(condition, reason)
            if news and CONDITIONS[condition].trips:
                self._trip()
            self._follow()
            if news and condition is Condition.LOOP:
                self._all_safe()
        if news and felt:
            self._felt.add(condition)
        if news:
            log.log(logging.ERROR if felt else logging.DEBUG, "made safe: %s", reason)

    def restore(self, condition: Condition) -> None:
        """A condition holds again. What waited for it goes back to what it was last told."""
        with self._lock:
            news = self._interlock.restore(condition)
            self._follow()
            if news and condition is Condition.LOOP:
                self._resume([target for target in self._wanted if target != LASER and not _is_relay(target)])
        if news:
            log.log(logging.WARNING if condition in self._felt else logging.DEBUG, "%s: all is well again", condition)
            self._felt.discard(condition)

    def make_safe(self) -> None:
        """Put every output in its safe state, the laser first, whatever any of them says; nothing goes on by itself
        before somebody is told to do something.
        """
        with self._lock:
            self._ended = True
            self._interlock.off()
            self._all_safe()

    def close(self) -> None:
        """Make everything safe and give the hardware back."""
        with self._lock:
            self.make_safe()
            for output in self._outputs.values():
                output.close()
            self._outputs = {}

    def _all_safe(self) -> None:
        self._darken()
        for target, output in self._outputs.items():
            if target != LASER:
                _safe(output)

    def _heed(self, faults: Sequence[str]) -> None:
        """The laser waits for its temperature. A fault trips it, and what a regulator was told before is void."""
        for regulator in self._regulators:
            if regulator.fault:
                self._wanted.pop(regulator.target, None)
        faults = [*faults, *(regulator.fault for regulator in self._regulators if regulator.fault)]
        if faults:
            self.lose(Condition.FAULT, faults[0])
        else:
            self.restore(Condition.FAULT)
        if all(regulator.ready for regulator in self._regulators):
            self.restore(Condition.TEMPERATURE)
        else:
            self.lose(Condition.TEMPERATURE, "the laser does not have its temperature")

    def _follow(self) -> None:
        """Make the hardware what the interlock says."""
        if self._lit and not self._interlock.lit:
            self._darken()
        was, self._relays_safe = self._relays_safe, self._interlock.relays_safe
        if self._relays_safe and not was:
            self._relays_go_safe()
        elif was and not self._relays_safe:
            self._resume([target for target in self._wanted if _is_relay(target)])
        if self._interlock.lit and not self._lit:
            self._relight()

    def _trip(self) -> None:
        """Something happened that somebody has to look at: what relays were told before is void."""
        self._darken()
        self._wanted = {target: told for target, told in self._wanted.items() if not _is_relay(target)}
        self._relays_go_safe()

    def _relays_go_safe(self) -> None:
        for target, output in self._outputs.items():
            if _is_relay(target):
                _safe(output)

    def _darken(self) -> None:
        self._lit = False
        if laser := self._outputs.get(LASER):
            _safe(laser)

    def _relight(self) -> None:
        """The light that was waited for."""
        command = self._wanted.get(LASER)
        if command is None or LASER not in self._outputs:
            self._interlock.off()
            return
        try:
            self._outputs[LASER].apply(command)
            self._lit = True
        except (SpectrophoneError, OSError) as error:
            self._interlock.off()
            self._darken()
            log.error("the laser stays dark: %s", error)

    def _resume(self, targets: Sequence[str]) -> None:
        for target in targets:
            try:
                self._outputs[target].apply(self._wanted[target])
            except (SpectrophoneError, OSError) as error:
                log.warning("%s does not go back to '%s': %s", target, self._wanted[target].verb, error)

    def _carry_out(self, command: Command, t_ns: int) -> CommandResult:
        output, note = self._outputs.get(command.target), None
        try:
            if output is None:
                raise CommandRefused(f"there is no output '{command.target}'", f"There are: {', '.join(self._outputs)}")
            if command.verb not in output.verbs:
                raise CommandRefused(
                    f"{command.target} cannot be told '{command.verb}'",
                    f"It knows: {', '.join(output.verbs)}",
                )
            barred = self._interlock.barred
            if _is_relay(command.target) and barred and command.verb != _state(output):
                raise CommandRefused(f"{command.target} stays safe: {barred}", "Mend that, then tell it again")
            before = self._wanted.get(command.target)
            if command.verb not in PASSING:
                self._wanted[command.target] = command
            if command.target == LASER and command.verb not in PASSING:
                self._switch(output, command, t_ns)
            else:
                note = self._tell(output, command, before)
        except (SpectrophoneError, OSError) as error:
            level = logging.DEBUG if command.origin == START else logging.WARNING
            log.log(level, "%s %s refused: %s", command.target, command.verb, error)
            return CommandResult(command, False, str(error), _state(output) if output else "")
        return CommandResult(command, True, note or "", _state(output))

    def _tell(self, output: Output, command: Command, before: Command | None) -> str | None:
        """What an output refuses is not what it comes back to; that is what it was told before."""
        try:
            return output.apply(command)
        except CommandRefused:
            self._wanted.pop(command.target, None)
            if before is not None:
                self._wanted[command.target] = before
            raise

    def _switch(self, laser: Output, command: Command, t_ns: int) -> None:
        """Light or darken the laser, if the interlock lets it."""
        if command.verb == "on":
            self._interlock.on(t_ns)
        else:
            self._interlock.off()
            self._lit = False
        try:
            laser.apply(command)
        except (SpectrophoneError, OSError):
            self._interlock.off()
            self._darken()
            raise
        self._lit = command.verb == "on"


def _is_relay(target: str) -> bool:
    return target.startswith(RELAY)


def _step(output: Output, t_ns: int) -> str:
    """Let an output go on by itself; what is wrong, if that is the laser."""
    try:
        output.step(t_ns)
    except (SpectrophoneError, OSError) as error:
        log.error("%s: %s", output.target, error)
        return str(error) if output.target == LASER else ""
    return ""


def _safe(output: Output) -> None:
    try:
        output.make_safe()
    except Exception:
        log.exception("output %s could not be made safe", output.target)


def _state(output: Output) -> str:
    try:
        return output.read()
    except (SpectrophoneError, OSError) as error:
        log.warning("%s cannot be read back: %s", output.target, error)
        return "unknown"
