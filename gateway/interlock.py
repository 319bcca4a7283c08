"""Whether the laser may be lit: conditions that must all hold, and a state machine, both as tables.

The laser is lit only in the state `lit`, and that is reached only while every condition holds. A condition that is lost
ends the light at once. Some come back by themselves and the light with them: a box that nobody watches measures again
when its microphone does. Others are somebody's doing or a fault, and the laser stays dark until it is told to be on
again: letting go of a stop button must not start anything (IEC 60204-1 on emergency stops; IEC 60825-1 asks the same of
an interlock of the highest laser class).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from gateway.errors import CommandRefused


class Condition(StrEnum):
    """What must hold while the laser is lit."""

    CONFIGURATION = "configuration"
    INTERLOCK = "interlock"
    STOP = "stop"
    LOOP = "loop"
    SOUND = "sound"
    TEMPERATURE = "temperature"
    GUARDIAN = "guardian"
    FAULT = "fault"
    SAFE_MODE = "safe_mode"


class Relays(StrEnum):
    """What the loss of a condition does to relays."""

    UNTOUCHED = "untouched"
    SAFE = "go to their safe states"  # and do what they are told from then on: a rule may act on missing data
    BARRED = "stay in their safe states"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a condition means in words; whether its loss trips the laser; what it does to relays."""

    holds: str
    trips: bool
    relays: Relays


CONDITIONS: Mapping[Condition, Meaning] = MappingProxyType(
    {
        Condition.CONFIGURATION: Meaning(
            "the configuration file, as it is now, tells how to drive the box", False, Relays.SAFE
        ),
        Condition.INTERLOCK: Meaning("the interlock is closed", True, Relays.BARRED),
        Condition.STOP: Meaning("no stop button is pressed", True, Relays.BARRED),
        Condition.LOOP: Meaning("the loop is alive", False, Relays.SAFE),
        Condition.SOUND: Meaning("the microphone delivers sound", False, Relays.SAFE),
        Condition.TEMPERATURE: Meaning("the laser has its temperature", False, Relays.UNTOUCHED),
        Condition.GUARDIAN: Meaning("the guardian is there, next in line", False, Relays.UNTOUCHED),
        Condition.FAULT: Meaning("no part of the box has a fault", True, Relays.SAFE),
        Condition.SAFE_MODE: Meaning("the gateway is not in safe mode", True, Relays.BARRED),
    }
)


_BY_THEMSELVES = frozenset({Condition.LOOP, Condition.SOUND, Condition.TEMPERATURE, Condition.GUARDIAN})
"""What comes back without anybody's doing, in most cases."""


class State(StrEnum):
    """Of the laser."""

    DARK = "dark"  # nobody wants light
    WAITING = "waiting"  # light is wanted, and comes when a condition holds again
    LIT = "lit"
    TRIPPED = "tripped"  # something happened: dark until told to be on again


class Event(StrEnum):
    """What can happen to it."""

    ON = "on"  # wanted, and every condition holds
    ON_EARLY = "on, early"  # wanted, and a condition is missing that comes back by itself
    ON_BARRED = "on, barred"  # wanted, and a condition is missing that trips: refused
    OFF = "off"
    LOST = "lost"  # a condition that comes back by itself
    TRIP = "trip"  # a condition that trips, or max_on_s is over
    HELD = "held"  # every condition holds again


TABLE: Mapping[State, Mapping[Event, State]] = MappingProxyType(
    {
        State.DARK: MappingProxyType(
            {
                Event.ON: State.LIT,
                Event.ON_EARLY: State.WAITING,
                Event.ON_BARRED: State.DARK,
                Event.OFF: State.DARK,
                Event.LOST: State.DARK,
                Event.TRIP: State.DARK,
                Event.HELD: State.DARK,
            }
        ),
        State.WAITING: MappingProxyType(
            {
                Event.ON: State.LIT,
                Event.ON_EARLY: State.WAITING,
                Event.ON_BARRED: State.TRIPPED,
                Event.OFF: State.DARK,
                Event.LOST: State.WAITING,
                Event.TRIP: State.TRIPPED,
                Event.HELD: State.LIT,
            }
        ),
        State.LIT: MappingProxyType(
            {
                Event.ON: State.LIT,
                Event.ON_EARLY: State.WAITING,
                Event.ON_BARRED: State.TRIPPED,
                Event.OFF: State.DARK,
                Event.LOST: State.WAITING,
                Event.TRIP: State.TRIPPED,
                Event.HELD: State.LIT,
            }
        ),
        State.TRIPPED: MappingProxyType(
            {
                Event.ON: State.LIT,
                Event.ON_EARLY: State.WAITING,
                Event.ON_BARRED: State.TRIPPED,
                Event.OFF: State.DARK,
                Event.LOST: State.TRIPPED,
                Event.TRIP: State.TRIPPED,
                Event.HELD: State.TRIPPED,
            }
        ),
    }
)


class Interlock:
    """The state of the laser, and which conditions are missing. Pure: it switches nothing, and knows no time but what
    it is handed. Not for two threads at once; gateway.outputs has the lock.
    """

    def __init__(self, max_on_s: float | None = None) -> None:
        """`max_on_s`: the longest time the laser may be lit without a new command."""
        self.state = State.DARK
        self.missing: dict[Condition, str] = {}
        """The conditions that do not hold, each with the reason, in the order in which they were lost."""
        self.tripped_by = ""
        self._max_on_ns = None if max_on_s is None else round(max_on_s * 1e9)
        self._on_ns = 0

    @property
    def lit(self) -> bool:
        """Whether the laser is to be lit."""
        return self.state is State.LIT

    @property
    def barred(self) -> str:
        """Why relays stay in their safe states; nothing if they need not."""
        barring = [reason for condition, reason in self.missing.items() if _relays(condition) is Relays.BARRED]
        return "; ".join(barring)

    @property
    def refuses(self) -> str:
        """Why a wish for light is of no use until somebody has done something; nothing where it is of use."""
        return "; ".join(reason for condition, reason in self.missing.items() if condition not in _BY_THEMSELVES)

    @property
    def relays_safe(self) -> bool:
        """Whether a condition is missing that sends relays to their safe states."""
        return any(_relays(condition) is not Relays.UNTOUCHED for condition in self.missing)

    @property
    def why(self) -> str:
        """Why the laser is dark although it was told to be on; nothing where it was not, or is lit."""
        if self.state in (State.LIT, State.DARK):
            return ""
        return "; ".join(self.missing.values()) or self.tripped_by

    def on(self, t_ns: int) -> None:
        """Somebody wants light, at stream time `t_ns`. Raises CommandRefused where it does not come at once: with a
        condition that comes back by itself the wish is kept, with one that trips it is not.
        """
        barring = [reason for condition, reason in self.missing.items() if CONDITIONS[condition].trips]
        self._on_ns = t_ns
        if barring:
            self._happens(Event.ON_BARRED)
            self.tripped_by = barring[0]
            raise CommandRefused(f"the laser stays off: {'; '.join(barring)}", "Mend that, then tell it to be on again")
        self.tripped_by = ""
        if self.missing:
            self._happens(Event.ON_EARLY)
            raise CommandRefused(f"the laser stays off: {self.why}", "It is lit when that is over")
        self._happens(Event.ON)

    def off(self) -> None:
        """Nobody wants light any more."""
        self._happens(Event.OFF)
        self.tripped_by = ""

    def lose(self, condition: Condition, reason: str) -> bool:
        """A condition does not hold, for that reason; whether that is news, and not only a new reason."""
        news = condition not in self.missing
        self.missing[condition] = reason
        if news and CONDITIONS[condition].trips:
            self._trip(reason)
        elif news:
            self._happens(Event.LOST)
        return news

    def restore(self, condition: Condition) -> bool:
        """A condition holds again; whether that is news."""
        news = self.missing.pop(condition, None) is not None
        if news and not self.missing:
            self._happens(Event.HELD)
        return news

    def overdue(self, t_ns: int) -> bool:
        """Whether the laser has just tripped because it was lit for max_on_s."""
        if not self.lit or self._max_on_ns is None or t_ns - self._on_ns < self._max_on_ns:
            return False
        self._trip(f"it was lit for max_on_s, {self._max_on_ns / 1e9:g} s")
        return True

    def _trip(self, reason: str) -> None:
        was = self.state
        self._happens(Event.TRIP)
        if was in (State.LIT, State.WAITING):
            self.tripped_by = reason

    def _happens(self, event: Event) -> None:
        self.state = TABLE[self.state][event]


def _relays(condition: Condition) -> Relays:
    return CONDITIONS[condition].relays


def reference() -> str:
    """docs/interlock.md."""
    lines = [_INTRODUCTION, "| condition | holds while | its loss | relays |", "|---|---|---|---|"]
    for condition, meaning in CONDITIONS.items():
        loss = "trips: dark until told to be on again" if meaning.trips else "dark until it holds again"
        lines.append(f"| `{condition}` | {meaning.holds} | {loss} | {meaning.relays} |")
    lines += ["", "## The laser", "", "```mermaid", "stateDiagram-v2", "    [*] --> dark"]
    for state, row in TABLE.items():
        for after in State:
            events = [event for event, then in row.items() if then is after and then is not state]
            lines += [f"    {state} --> {after}: {' / '.join(events)}"] if events else []
    lines += ["```", "", "| state | " + " | ".join(Event) + " |", "|---|" + "---|" * len(Event)]
    lines += [f"| {state} | {' | '.join(row[event] for event in Event)} |" for state, row in TABLE.items()]
    return "\n".join([*lines, _END])


_INTRODUCTION = """\
# The interlock

The laser is lit while every one of these conditions holds, and not otherwise. A command that cannot be followed is
refused with the condition that is missing; `spectrophone status` names it as well. How a loss is seen, how fast, and
who acts if the gateway cannot: [safety.md](safety.md).
"""
_END = """
`on` is a command while all holds; `on, early` one while a condition is missing that comes back by itself, and then the
light comes with it; `on, barred` one while a condition is missing that trips, and it is refused. `trip` is also that
the laser was lit for max_on_s without a new command. After a trip relays have forgotten what they were told.
"""
