"""What LEDs show of the box: its status, or its worst alert, as a colour and a pattern.

Each situation has a pattern of its own pace, so that an LED of one colour tells nearly as much. The first situation of
the table that is true is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from gateway.types import Alert, Measurement, Outcome, Severity, Snapshot, Tick


class Signal(NamedTuple):
    """What an LED shows: a colour, and a pattern of drivers/led.py."""

    colour: str
    pattern: str


class Situation(StrEnum):
    """How the box fares, the most urgent first."""

    SAFE = "made safe"
    CRITICAL = "critical alert"
    WARNING = "warning"
    STARTING = "starting"
    DOUBTFUL = "no valid value"
    MEASURING = "measuring"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is shown, and when."""

    signal: Signal
    when: str


STATUS: Mapping[Situation, Meaning] = MappingProxyType(
    {
        Situation.SAFE: Meaning(Signal("red", "double"), "a condition for light is missing, or the laser has tripped"),
        Situation.CRITICAL: Meaning(Signal("red", "blink"), "an alert of severity critical is raised"),
        Situation.WARNING: Meaning(Signal("yellow", "blink"), "an alert of severity warning is raised"),
        Situation.STARTING: Meaning(Signal("green", "slow"), "no value yet, or the laser is coming to its temperature"),
        Situation.DOUBTFUL: Meaning(Signal("yellow", "slow"), "a value is not valid: nobody wants light, for instance"),
        Situation.MEASURING: Meaning(Signal("green", "steady"), "all is well"),
    }
)
ALERT: Mapping[Severity | None, Signal] = MappingProxyType(
    {
        "critical": Signal("red", "blink"),
        "warning": Signal("yellow", "blink"),
        "info": Signal("blue", "steady"),
        None: Signal("off", "steady"),
    }
)
_RISING: tuple[Severity, ...] = ("info", "warning", "critical")
_WARMING, _BEGINNING = frozenset({"temperature"}), frozenset({"temperature", "guardian"})
"""What is missing while all is well: later, and before the first value."""


class Laser(Protocol):
    """What gateway.interlock tells of the laser."""

    @property
    def state(self) -> str:
        """In one word: "lit", "tripped"."""
        ...

    @property
    def missing(self) -> Collection[str]:
        """The conditions for light that do not hold."""
        ...


def worst(alerts: Collection[Alert]) -> Severity | None:
    """The highest severity among alerts; None where there is none."""
    return max((alert.severity for alert in alerts), key=_RISING.index, default=None)


def situation(laser: Laser, state: Snapshot, nodes: Collection[str]) -> Situation:
    """How the box fares; `nodes` are the ids of those that measure."""
    values = [state.results[node] for node in nodes if node in state.results]
    severity, missing = worst(state.alerts.values()), frozenset(laser.missing)
    if missing - (_WARMING if len(values) == len(nodes) else _BEGINNING) or laser.state == "tripped":
        return Situation.SAFE
    if severity == "critical":
        return Situation.CRITICAL
    if severity == "warning":
        return Situation.WARNING
    if missing or len(values) < len(nodes):
        return Situation.STARTING
    if not all(value.valid for value in values if isinstance(value, Measurement)):
        return Situation.DOUBTFUL
    return Situation.MEASURING


class Signals:
    """Knows the newest tick, and says for it what LEDs show; a Sink."""

    def __init__(self, nodes: Collection[str], laser: Laser) -> None:
        """`nodes`: the ids of those that measure."""
        self._nodes, self._laser, self._state = tuple(nodes), laser, Snapshot()

    def status(self) -> Signal:
        """How the box fares."""
        return STATUS[situation(self._laser, self._state, self._nodes)].signal

    def alert(self) -> Signal:
        """The worst alert."""
        return ALERT[worst(self._state.alerts.values())]

    async def start(self) -> None:
        """See Sink."""

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        self._state = tick.state

    async def close(self) -> None:
        """See Sink."""


def reference() -> str:
    """docs/leds.md."""
    lines = [_INTRODUCTION, "| situation | when | colour | pattern |", "|---|---|---|---|"]
    for name, meaning in STATUS.items():
        lines.append(f"| {name} | {meaning.when} | {meaning.signal.colour} | {_PATTERNS[meaning.signal.pattern]} |")
    lines += [_ALERT, "| worst alert | colour | pattern |", "|---|---|---|"]
    for severity, signal in ALERT.items():
        pattern = _PATTERNS[signal.pattern] if severity else ""
        lines.append(f"| {severity or 'none'} | {signal.colour if severity else 'dark'} | {pattern} |")
    return "\n".join(lines) + _END


_PATTERNS = {
    "steady": "steady",
    "slow": "slow: a second lit, a second dark",
    "blink": "blinks: 0.4 s lit, 0.4 s dark",
    "double": "twice, then a pause",
}
_INTRODUCTION = """\
# LEDs

An LED of the board file has one line (`line`), or one for each of the parts `red`, `green` and `blue` that it has. What
it shows while nobody commands it is said there by `shows`: `status`, `alert`, or `commands`, which is nothing: its safe
state. Strips whose LEDs have addresses (WS2812 and the like) are out of scope: their bits have to be timed by hardware
that laser and sound need.

## What it can be told

In a rule (`do: [led status red]`), over MQTT, from Home Assistant or a script:

- `on`, `off`, and the colours that its parts make: `red`, `green`, `blue`, `yellow`, `magenta`, `cyan`, `white`.
- `blink`, `blink_red` and so on: the same, blinking.
- `identify`: for ten seconds five flashes a second, as nothing else flashes; then what was there before.
- `auto`: again what it shows by itself. For LEDs with `shows: status` or `alert` only.

What it is told lasts until it is told something else.

## `shows: status`

The first that is true is shown. An LED without a part of a colour shows it with the parts that it has.
"""
_ALERT = "\n## `shows: alert`\n"
_END = """

Patterns go on with the blocks of sound. While none comes the box ticks once a second, and every pattern blinks at that
pace.
"""
