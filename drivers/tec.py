"""The laser's temperature: a Peltier module (TEC), driven both ways by a PWM, and a thermistor; target "tec".

Once a tick the newest reading is judged (drivers/plausible.py), and only what passes moves the drive. The reading was
asked for at the tick before, so that the answer is there without waiting. Whatever is not as it must be makes the state
`fault`: the drive is off in that same step, a sentence says why, and only a new "on" lifts it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from drivers.pid import Gains, Pid
from drivers.plausible import Follow, Sense
from drivers.thermistor import Thermistor
from gateway.errors import CommandRefused, DeviceError
from gateway.types import Command

log = logging.getLogger("spectrophone.tec")

TELL_NS = 5_000_000_000
"""How often the log tells how far it is while it settles."""
MARGIN_K = 1.0
"""How far the set-point stays within min_c and max_c, so that an overshoot is no fault."""


class State(StrEnum):
    """What the regulation does."""

    OFF = "off"
    SETTLING = "settling"
    STABLE = "stable"
    FAULT = "fault"


class Event(StrEnum):
    """What moves it on."""

    ON = "on"
    OFF = "off"
    NEAR = "near"  # within half the tolerance for settle_s
    AWAY = "away"  # outside the tolerance
    TRIP = "trip"  # something is not as it must be


TABLE: Mapping[tuple[State, Event], State] = {
    (State.OFF, Event.ON): State.SETTLING,
    (State.OFF, Event.TRIP): State.FAULT,
    (State.SETTLING, Event.OFF): State.OFF,
    (State.SETTLING, Event.NEAR): State.STABLE,
    (State.SETTLING, Event.TRIP): State.FAULT,
    (State.STABLE, Event.OFF): State.OFF,
    (State.STABLE, Event.AWAY): State.SETTLING,
    (State.STABLE, Event.TRIP): State.FAULT,
    (State.FAULT, Event.ON): State.SETTLING,
}
"""What is not listed changes nothing."""
DRIVEN = frozenset({State.SETTLING, State.STABLE})


class Bridge(Protocol):
    """What drives the module."""

    def drive(self, level: float) -> None:
        """Drive it with that part of the supply, -1 to 1; positive heats. Raises DeviceError or OSError."""
        ...

    def off(self) -> None:
        """No current. Raises DeviceError or OSError."""
        ...

    def level(self) -> float:
        """What it is driven with, read back; 0 is off. Raises DeviceError or OSError."""
        ...

    def close(self) -> None:
        """Give the hardware back; may be called twice."""
        ...


class Thermometer(Protocol):
    """What reads the thermistor's voltage."""

    def ask(self, t_ns: int) -> None:
        """Begin a reading, without waiting for it."""
        ...

    def newest(self) -> tuple[int, float | DeviceError]:
        """How many readings there were, and the last: volts, infinite beyond the range, or why there is none."""
        ...

    def close(self) -> None:
        """Give the hardware back; may be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class Regulation:
    """What is wanted. The temperature is stable once it was within half of `tolerance_k` of the set-point for
    `settle_s`, and until it is further than `tolerance_k` from it: the laser's own heat must not put it out.
    """

    setpoint_c: float
    tolerance_k: float
    settle_s: float
    min_c: float
    max_c: float
    gains: Gains


class Tec:
    """See gateway.ports.Output: verbs on, off, and set {"value": set-point in degrees Celsius}. Off at first.

    The drive never exceeds `drive_max`, a part of the bridge's supply. `ready` is what the laser waits for, `fault` why
    it may not be lit: "" or a sentence.
    """

    target = "tec"
    verbs: tuple[str, ...] = ("on", "off", "set")

    def __init__(
        self, bridge: Bridge, thermometer: Thermometer, thermistor: Thermistor, wanted: Regulation, drive_max: float
    ) -> None:
        self._bridge, self._thermometer = bridge, thermometer
        self._sense = Sense(thermistor)
        self._follow = Follow(drive_max)
        self._pid = Pid(wanted.gains, drive_max)
        self._wanted = wanted
        self._near_ns: int | None = None
        self._tell_ns = 0
        self._silent = False
        self.state, self.fault = State.OFF, ""
        self.make_safe()

    @property
    def ready(self) -> bool:
        """Whether the laser has its temperature."""
        return self.state is State.STABLE

    @property
    def temperature_c(self) -> float | None:
        """The newest temperature, whether driven or not; None while there is none."""
        return self._sense.temperature_c

    @property
    def setpoint_c(self) -> float:
        """The temperature that is wanted."""
        return self._wanted.setpoint_c

    def apply(self, command: Command) -> None:
        """Raises CommandRefused for another verb, and for a set-point nearer than MARGIN_K to a limit, or beyond it."""
        match command.verb:
            case "on":
                if self.state is State.FAULT:
                    log.info("TEC on again after: %s", self.fault)
                self.fault = ""
                if self.state not in DRIVEN:
                    self._begin()
                self._move(Event.ON)
            case "off":
                self.make_safe()
            case "set":
                self._wanted = replace(self._wanted, setpoint_c=self._checked(command.args.get("value")))
            case verb:
                raise CommandRefused(f"tec cannot {verb}", f"It knows {', '.join(self.verbs)}")

    def step(self, t_ns: int) -> None:
        """Judge the newest reading, drive by it, and ask for the next one."""
        fresh, blame = self._sense.look(*self._thermometer.newest(), t_ns)
        if self.state in DRIVEN:
            try:
                blame = blame or self._regulated(fresh, t_ns)
            except (DeviceError, OSError) as error:
                blame = f"the TEC cannot be driven: {error}"
            if blame:
                self._trip(blame)
        elif not self._silent:
            self._silence()
        self._thermometer.ask(t_ns)

    def read(self) -> str:
        """The state: "off", "settling", "stable", "fault". Raises DeviceError where the hardware does not say so."""
        level = self._bridge.level()
        if self.state not in DRIVEN and level:
            raise DeviceError(f"the TEC is {self.state} and is driven with {level:+.2f}", "Switch its supply off")
        return self.state.value

    def make_safe(self) -> None:
        """No current; a fault stays one."""
        self._move(Event.OFF)
        self._bridge.off()
        self._silent = True

    def close(self) -> None:
        """Off, then give the hardware back; may be called twice."""
        self._move(Event.OFF)
        try:
            self._bridge.off()
        finally:
            self._bridge.close()
            self._thermometer.close()

    def _regulated(self, fresh: bool, t_ns: int) -> str:
        """Move the drive by a fresh reading; gives what forbids that."""
        celsius, wanted = self._sense.temperature_c, self._wanted
        if not fresh or celsius is None:
            return ""
        if not wanted.min_c <= celsius <= wanted.max_c:
            return f"the laser's temperature is {celsius:.1f} C, outside {wanted.min_c:g} to {wanted.max_c:g} C"
        off_k = abs(wanted.setpoint_c - celsius)
        if blame := self._follow.look(self._pid.output, celsius, off_k <= wanted.tolerance_k, t_ns):
            return blame
        self._silent = False
        self._bridge.drive(self._pid.step(wanted.setpoint_c, celsius, t_ns))
        self._judge(off_k, t_ns)
        if self.state is State.SETTLING and t_ns >= self._tell_ns:
            self._tell_ns = t_ns + TELL_NS
            log.info("TEC settling at %.2f C, driven with %+.3f", celsius, self._pid.output)
        return ""

    def _judge(self, off_k: float, t_ns: int) -> None:
        """Whether it is settled, being `off_k` from the set-point."""
        if off_k > self._wanted.tolerance_k / 2.0:
            self._near_ns = None
        elif self._near_ns is None:
            self._near_ns = t_ns
        if off_k > self._wanted.tolerance_k:
            self._move(Event.AWAY)
        elif self._near_ns is not None and t_ns - self._near_ns >= self._wanted.settle_s * 1e9:
            self._move(Event.NEAR)

    def _begin(self) -> None:
        self._near_ns = None
        self._pid.forget()
        self._sense.forget()

    def _trip(self, sentence: str) -> None:
        self.fault = sentence
        self._move(Event.TRIP)
        self._silence()
        log.error("TEC off: %s. Mend it, then send tec on", self.fault)

    def _silence(self) -> None:
        """Off, and again at each step until it is."""
        try:
            self._bridge.off()
            self._silent = True
        except (DeviceError, OSError) as error:
            self._silent = False
            self.fault = self.fault or f"the TEC cannot be switched off: {error}"
            self._move(Event.TRIP)

    def _move(self, event: Event) -> None:
        before, self.state = self.state, TABLE.get((self.state, event), self.state)
        if before is not self.state:
            log.info("TEC %s", self.state)

    def _checked(self, value: object) -> float:
        low, high = self._wanted.min_c + MARGIN_K, self._wanted.max_c - MARGIN_K
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise CommandRefused(f"tec set: {value!r} is not a set-point", f'Send {{"value": {low:g}}} to {high:g}')
        return float(value)
