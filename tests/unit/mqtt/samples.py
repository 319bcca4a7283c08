"""A box as the tests see it: its face, and ticks made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from gateway.config.sections import Mqtt
from gateway.errors import CommandRefused
from gateway.mqtt.face import Face, GasFace, OutputFace, RuleFace, SignalFace, Span
from gateway.types import (
    NO_FLAGS,
    Alert,
    Command,
    Flag,
    Flags,
    LockInResult,
    Measurement,
    Outcome,
    PeakResult,
    Result,
    Snapshot,
    Tick,
)

S = 1_000_000_000
UTC_NS = 1_795_000_000_123_000_000  # 2026-11-18T12:26:40.123Z

FACE = Face(
    box="box1",
    name="Gas box",
    version="0.1.0",
    gas="co2",
    gases=(GasFace("co2", "tone"),),
    signals=(SignalFace("tone", "lock_in"), SignalFace("peak", "peak")),
    rules=(RuleFace("co2_high", "concentration"), RuleFace("quiet", "data_timeout")),
    outputs=(
        OutputFace("laser", ("on", "off")),
        OutputFace("relay/fan", ("on", "off")),
        OutputFace("relay/stuck", ()),
        OutputFace("led/status", ("off", "red", "green", "yellow")),
        OutputFace("cell", ("set",)),
        OutputFace("calibration", ("zero", "span", "cancel")),
    ),
)
STATES = {"laser": "on", "relay/fan": "off", "led/status": "green", "cell": "400.0"}


def settings(**options: Any) -> Mqtt:
    """The mqtt section with these options."""
    return Mqtt.model_validate({"host": "127.0.0.1"} | options)


def lock_in(t_ns: int = S, flags: Flags = NO_FLAGS, **changes: Any) -> LockInResult:
    """A tone of 0.01 with a noise of 1e-5."""
    values = {"frequency_hz": 2012.5, "in_phase": 0.01, "quadrature": 0.0, "sigma": 1e-5, "dof": 20}
    return LockInResult("tone", t_ns, integration_s=1.0, flags=flags, **(values | changes))


def peak(t_ns: int = S, **changes: Any) -> PeakResult:
    """The same tone as the peak finder sees it."""
    values: dict[str, Any] = {"frequency_hz": 2012.5, "sigma_frequency_hz": 0.01, "amplitude": 0.01}
    values |= {"sigma": 1e-5, "dof": 20, "integration_s": 1.0, "valid": True}
    return PeakResult("peak", t_ns, **(values | changes))


def ppm(value: float | None = 412.7, t_ns: int = S, flags: Flags = NO_FLAGS, **changes: Any) -> Measurement:
    """A concentration of node co2."""
    values = {"sigma": 1.5, "u95": 3.1, "dof": 20, "lod": 4.5, "valid": not flags, "flags": flags}
    return Measurement("co2", t_ns, value, source=lock_in(t_ns), **(values | changes))


def alert(state: Literal["raised", "cleared"] = "raised", t_ns: int = S) -> Alert:
    """The rule co2_high."""
    return Alert("co2_high", "concentration", "warning", state, 1200.0, 1000.0, "co2", t_ns)


def tick(*results: Result, alerts: tuple[Alert, ...] = (), t_ns: int = S, utc_ns: int | None = UTC_NS) -> Tick:
    """A tick whose snapshot holds just its own results and raised alerts."""
    newest = MappingProxyType({r.node: r for r in results})
    raised = MappingProxyType({a.rule: a for a in alerts if a.state == "raised"})
    return Tick(t_ns // S, t_ns, utc_ns, results, alerts, (), Snapshot(newest, raised))


def full_tick(value: float | None = 412.7, t_ns: int = S) -> Tick:
    """One of everything."""
    return tick(ppm(value, t_ns), lock_in(t_ns), peak(t_ns), t_ns=t_ns)


EVERYTHING = replace(
    FACE,
    gases=(GasFace("co2", "tone", follows=True),),
    outputs=(
        *FACE.outputs,
        OutputFace("tec", ("on", "off")),
        OutputFace("switch/interlock", ("on", "off")),
        OutputFace("span_gas", ("set",), Span(1.0, 1_000_000.0, 0.1, "ppm")),
        OutputFace("sweep", ("sweep", "cancel")),
        OutputFace("gateway", ("restart", "safe_mode", "normal")),
        OutputFace("identify", ("identify",)),
        OutputFace("threshold/co2_high", ("set",), Span(0.0, 1_000_000.0, 0.001, "ppm")),
        OutputFace("integration/tone", ("set",), Span(0.1, 15.0, 0.1, "s")),
        OutputFace("actions", ("reset",)),
    ),
    actions=("webhook",),
    climate=True,
)
"""A box that has all there is."""
OUTCOME = Outcome(states=MappingProxyType(STATES))
OVERLOAD: Flags = frozenset({Flag.OVERLOAD})


@dataclass
class Tray:
    """An inbox that keeps what it gets, or refuses all."""

    full: bool = False
    commands: list[Command] = field(default_factory=list)

    def put(self, command: Command) -> None:
        """See Inbox."""
        if self.full:
            raise CommandRefused("too many commands wait")
        self.commands.append(command)

    def drain(self) -> tuple[Command, ...]:
        """See Inbox."""
        taken, self.commands = tuple(self.commands), []
        return taken
