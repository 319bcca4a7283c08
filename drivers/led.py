"""LEDs: target "led/NAME", verbs on, off, blink, identify, and the colours that the LED's parts can make.

An LED of one colour has a single line; one of two or three parts has a line for each of "red", "green", "blue", and
knows the seven mixtures of those it has ("on" lights all parts), each also blinking: "blink_red". "identify" flashes
for ten seconds, as nothing else does, then shows again what was there before.

An LED that shows something by itself (`shows`) does so until it is told something else, and again when it is told
"auto". What it cannot mix it shows with those parts of the mixture that it has, or with all.

Patterns go on by ticks, without a thread. Where a tick comes late, each part of a pattern lasts until then: a blinking
LED still blinks at one tick a second, which is what there is when the microphone stalls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from drivers.gpio import Line, SimulatedLine
from gateway.errors import CommandRefused, DeviceError
from gateway.types import Command

log = logging.getLogger("spectrophone.led")

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
PATTERNS: Mapping[str, tuple[int, ...]] = {
    "steady": (),
    "slow": (1000, 1000),
    "blink": (400, 400),
    "double": (200, 200, 200, 1000),
    "identify": (100, 100),
}
"""Milliseconds lit, dark, lit, ... and again."""
IDENTIFY_NS = 10_000_000_000

Shown = tuple[str, str]
"""A colour ("on" for all parts, "off") and a pattern."""
STEADY = "steady"


def led_verbs(parts: Iterable[str], shows: bool = False) -> tuple[str, ...]:
    """What an LED of these parts can be told; `shows`: it shows something by itself."""
    return (*_told(parts), "identify", *(("auto",) if shows else ()))


class Led:
    """An LED of open lines, by part: {"line": a}, or up to three of {"red": a, "green": b, "blue": c}; see
    gateway.ports.Output. The lines' level must be that of `safe`. `shows` says what it shows while nobody commands it;
    None: its safe state.
    """

    def __init__(
        self,
        name: str,
        lines: Mapping[str, Line | SimulatedLine],
        safe: OnOff,
        shows: Callable[[], Shown] | None = None,
    ) -> None:
        self.target, self.safe = f"led/{name}", safe
        self.verbs = led_verbs(lines, shows is not None)
        self._lines, self._shows = dict(lines), shows
        self._told = _told(lines)
        self._names = {parts: word for word, parts in _mixtures(lines).items()}
        self._command: Shown | None = None
        self._now_ns = self._since_ns = self._identify_ns = 0
        self._shown: Shown = (safe, STEADY)
        self._at = 0
        self._driven = self._parts(safe)
        self._fault = ""

    def apply(self, command: Command) -> None:
        """Show what it says. Raises CommandRefused for what it cannot show; DeviceError."""
        if command.verb not in self.verbs:
            raise CommandRefused(f"{self.target} cannot {command.verb}", f"It knows {', '.join(self.verbs)}")
        if command.verb == "identify":
            self._identify_ns = self._now_ns + IDENTIFY_NS
        else:
            self._command, self._identify_ns = self._told.get(command.verb), 0
        self._play()

    def step(self, t_ns: int) -> None:
        """Go on with the pattern. A line that fails is told in the log, once."""
        self._now_ns = t_ns
        try:
            self._play()
        except DeviceError as error:
            if str(error) != self._fault:
                log.error("%s: %s", self.target, error)
            self._fault = str(error)

    def read(self) -> str:
        """What it shows: "off", "red", "blink_red"; the mixture alone where the lines say something else than what was
        driven. Raises DeviceError.
        """
        lit = frozenset(part for part, line in self._lines.items() if line.get())
        colour, pattern = self._shown
        if lit != self._driven or pattern == STEADY:
            return self._names[lit]
        name = self._names[self._parts(colour)]
        return pattern if name == "on" or pattern == "identify" else f"{pattern}_{name}"

    def make_safe(self) -> None:
        """Go to the safe state, and forget what was told; an LED that shows something goes on with the next tick."""
        self._command, self._identify_ns = None, 0
        self._shown, self._at = (self.safe, STEADY), 0
        self._drive(self._parts(self.safe))

    def close(self) -> None:
        """Safe state, then give the lines back; may be called twice."""
        self.make_safe()
        for line in self._lines.values():
            line.close()

    def _play(self) -> None:
        wanted = self._wanted()
        durations = PATTERNS[wanted[1]]
        if wanted != self._shown:
            self._shown, self._at, self._since_ns = wanted, 0, self._now_ns
        elif durations and self._now_ns - self._since_ns >= durations[self._at] * 1_000_000:
            self._at, self._since_ns = (self._at + 1) % len(durations), self._now_ns
        parts = self._parts(wanted[0]) if self._at % 2 == 0 else frozenset[str]()
        if parts != self._driven:
            self._drive(parts)

    def _wanted(self) -> Shown:
        if self._now_ns < self._identify_ns:
            return "on", "identify"
        return self._command or (self._shows() if self._shows else (self.safe, STEADY))

    def _parts(self, colour: str) -> frozenset[str]:
        """The parts that show a colour best."""
        own = frozenset(self._lines)
        if colour == "off":
            return frozenset()
        return MIXTURES.get(colour, own) & own or own

    def _drive(self, parts: frozenset[str]) -> None:
        self._driven = parts
        for part, line in self._lines.items():
            line.set(part in parts)


def _mixtures(parts: Iterable[str]) -> dict[str, frozenset[str]]:
    own = frozenset(parts)
    return {"on": own, "off": frozenset(), **{name: mixed for name, mixed in MIXTURES.items() if mixed <= own}}


def _told(parts: Iterable[str]) -> dict[str, Shown]:
    """What each verb that names a colour shows."""
    colours = _mixtures(parts)
    blinking = {"blink" if word == "on" else f"blink_{word}": (word, "blink") for word in colours if word != "off"}
    return {**{word: (word, STEADY) for word in colours}, **blinking}
