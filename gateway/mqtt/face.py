"""What the box shows of itself over MQTT: its nodes, rules and outputs by name. Plain data, filled in by
build.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.types import Trigger


@dataclass(frozen=True, slots=True)
class GasFace:
    """A concentration node, and the node whose signal it reads."""

    node: str
    source: str
    unit: str = "ppm"
    follows: bool = False
    """Whether it says where the cell's resonance is."""


@dataclass(frozen=True, slots=True)
class SignalFace:
    """A node that finds the tone."""

    node: str
    kind: Literal["lock_in", "peak"]


@dataclass(frozen=True, slots=True)
class RuleFace:
    """An alarm."""

    name: str
    type: Trigger


@dataclass(frozen=True, slots=True)
class Span:
    """Which numbers an output takes: from `least` to `most` in steps of `step`, in `unit`."""

    least: float
    most: float
    step: float
    unit: str


Kind = Literal["reading", "switch", "regulator", "light", "number", "procedure"]
_WISHES = frozenset({"cancel", "reset", "restart", "identify"})


@dataclass(frozen=True, slots=True)
class OutputFace:
    """An output: its target ("laser", "relay/fan", "led/status", "calibration", "actions"), what it can be told, and
    which numbers where it takes numbers."""

    target: str
    verbs: tuple[str, ...]
    span: Span | None = None

    @property
    def kind(self) -> Kind:
        """How it is shown and spoken to: only read where it knows no verb, a number where it takes "set", a light if it
        is an LED, a regulator if it is the TEC, which has more states than a switch, a procedure where it can be told
        more than a state ("cancel", "restart"), else a switch."""
        if not self.verbs:
            return "reading"
        if "set" in self.verbs:
            return "number"
        if self.target.startswith("led/"):
            return "light"
        if self.target == "tec":
            return "regulator"
        return "procedure" if _WISHES & set(self.verbs) else "switch"


@dataclass(frozen=True, slots=True)
class Face:
    """The whole box. `box` is its identifier in topics, `name` what people see, `gas` the configured gas's
    name."""

    box: str
    name: str
    version: str
    gas: str
    gases: tuple[GasFace, ...] = ()
    signals: tuple[SignalFace, ...] = ()
    rules: tuple[RuleFace, ...] = ()
    outputs: tuple[OutputFace, ...] = ()
    actions: tuple[str, ...] = ()
    climate: bool = False
    """Whether the gas's temperature, humidity and pressure may be known."""

    def output(self, target: str) -> OutputFace | None:
        """The output of that name."""
        return next((output for output in self.outputs if output.target == target), None)
