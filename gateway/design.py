"""What a configuration asks for: nodes, gas lines, rules, numbers, and what the box shows. Touches no hardware."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path as File

from gateway import hardware
from gateway.actions import making
from gateway.actions.actions import ACTIONS
from gateway.actions.actions import ASKED as TOLD
from gateway.actions.drivers import SETTINGS as DRIVEN
from gateway.actions.settings import ActionSettings
from gateway.alarms import Alarm
from gateway.board import Board
from gateway.calibrating import GasLine
from gateway.calibrator import ASKED, CALIBRATION, SPAN_GAS, SpanGas
from gateway.check import acquisition
from gateway.config.config import Config
from gateway.config.graph import feeders, order
from gateway.config.settings import Settings
from gateway.dials import Dial, DialOutput, dials
from gateway.dsp.demodulator import exact
from gateway.errors import ConfigError, Fault
from gateway.graph import Fitted, Graph, Step, commuted, fit, kinds
from gateway.life import ASKED as LIVED
from gateway.life import GATEWAY, IDENTIFY
from gateway.mqtt.face import Face, GasFace, OutputFace, RuleFace, SignalFace, Span
from gateway.nodes import COMPUTING
from gateway.nodes import SETTINGS as NODES
from gateway.nodes.calibrated import follows
from gateway.nodes.curve import ConcentrationSettings
from gateway.nodes.place import LaserPhase, NodeFault, start
from gateway.outputs import LASER
from gateway.path import Path
from gateway.rules import ParsedRule, parse
from gateway.sweeping import ASKED as SWEPT
from gateway.sweeping import SWEEP

VERSION = version("spectrophone")
SETTINGS: Mapping[str, type[Settings]] = {**NODES, **DRIVEN}
"""Every kind of node, with its settings."""
_CELL = Span(0.0, 1_000_000.0, 0.1, "ppm")
_STEP = 0.001
"""In which Home Assistant lets people set other numbers."""


@dataclass(frozen=True, slots=True)
class Sound:
    """What the graph will hear."""

    rate_hz: int
    channels: int


def sound(config: Config, board: Board) -> Sound:
    """What the configured microphone delivers."""
    listening = acquisition(config, board)
    return Sound(listening.rate_hz, listening.channels)


def steps(config: Config) -> tuple[Step, ...]:
    """The configured nodes that sound goes through, each behind the one that feeds it. Action nodes are none of them:
    they pass it on as it is, and what they do happens behind the path (gateway/actions).
    """
    graph = config.processing.default_graph
    nodes = {node.id: node for node in graph.nodes}
    pairs = [(connection.from_, connection.to) for connection in graph.connections]
    fed = feeders(list(nodes), pairs)
    told = actions(config)
    found = []
    for name in order(list(nodes), pairs):
        feeder = fed[name]
        while feeder in told:
            feeder = fed[feeder]
        if name not in told:
            node = nodes[name]
            found.append(Step(name, node.type, node.parameters, feeder, _digest(node.parameters)))
    return tuple(found)


def calibration_files(config: Config) -> dict[str, File]:
    """The calibration files that the configuration names, by node."""
    found = {node.id: _calibration(node.parameters) for node in config.processing.default_graph.nodes}
    return {name: file for name, file in found.items() if file is not None}


def _calibration(parameters: Settings) -> File | None:
    """The calibration file that a node's settings name."""
    return parameters.calibration if isinstance(parameters, ConcentrationSettings) else None


def gas_lines(config: Config) -> tuple[GasLine, ...]:
    """The gas lines, of which those that a lock_in feeds can be calibrated."""
    placed = {step.id: step for step in steps(config)}
    found = []
    for step in placed.values():
        if isinstance(step.settings, ConcentrationSettings):
            source = placed[step.settings.source]
            integration_s = float(getattr(source.settings, "integration_s", 1.0))
            chain = [before for before in _before(placed, source) if before.kind not in COMPUTING]
            words = repr([source, *chain])
            found.append(GasLine(step.id, source.id, source.kind, integration_s, step.settings.calibration, words))
    return tuple(found)


def _before(placed: Mapping[str, Step], step: Step) -> Iterator[Step]:
    """All steps that the sound goes through before that one."""
    while step.feeder is not None:
        step = placed[step.feeder]
        yield step


def _digest(parameters: Settings) -> str:
    """A digest of the calibration file that a node's settings name, "" where there is none."""
    file = _calibration(parameters)
    try:
        return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def shape(config: Config) -> tuple[tuple[str, str, str | None], ...]:
    """Which nodes there are and what feeds them, whatever their settings."""
    return tuple((step.id, step.kind, step.feeder) for step in steps(config))


def actions(config: Config) -> dict[str, ActionSettings]:
    """The settings of the action nodes, by name."""
    nodes = config.processing.default_graph.nodes
    return {node.id: node.parameters for node in nodes if isinstance(node.parameters, ActionSettings)}


def action_alarms(config: Config) -> tuple[Alarm, ...]:
    """What the action nodes raise alerts for."""
    return making.all_alarms(actions(config), kinds(steps(config)), config.laser.frequency_hz)


def rules(config: Config, board: Board) -> tuple[ParsedRule, ...]:
    """The configured rules, ready to run."""
    named = kinds(steps(config))
    return tuple(parse(rule, named, hardware.verbs(config, board), config.laser.frequency_hz) for rule in config.rules)


def numbers(config: Config, board: Board) -> tuple[Dial, ...]:
    """The numbers that may be set while the gateway runs."""
    return dials(config, [*(rule.alarm for rule in rules(config, board)), *action_alarms(config)])


def path(config: Config, board: Board, heard: Sound) -> Path:
    """The computation of a checked configuration for that sound. Raises ConfigError where a node cannot hear it."""
    placed = []
    for found in fitted(config, board, heard):
        if not isinstance(found, Fitted):
            step, fault = found
            raise ConfigError((Fault((step.id, fault.option), fault.message, fault.remedy),))
        placed.append(found)
    return Path(Graph(placed), rules(config, board), action_alarms(config))


def fitted(config: Config, board: Board, heard: Sound) -> Iterator[Fitted | tuple[Step, NodeFault]]:
    """Each node where it stands, or why it cannot stand there."""
    laser = config.laser
    known = laser.reference
    if known == "same_codec" and board.laser:
        known = "free"  # playback: another phase each time it is lit (decision 0007); PWM: another clock, too (0019)
    phase = LaserPhase(known, laser.reference_channel, laser.track)
    place = start(heard.rate_hz, heard.channels, exact(laser.frequency_hz), phase)
    placed = steps(config)
    named = kinds(placed)
    for found in fit(commuted(placed), place):
        fault = _without_phase(found.step.settings, named) if isinstance(found, Fitted) else None
        yield (found.step, fault) if isinstance(found, Fitted) and fault else found


def _without_phase(settings: Settings, named: Mapping[str, str]) -> NodeFault | None:
    """A calibration file behind a node that has no phase."""
    if not isinstance(settings, ConcentrationSettings) or settings.calibration is None:
        return None
    kind = named[settings.source]
    if kind == "lock_in":
        return None
    message = f"'{settings.source}' is a {kind}, which has no phase, and a calibration file needs one"
    return NodeFault("source", message, "Name a lock_in, or give polynomial_coefficients")


def face(config: Config, board: Board) -> Face:
    """What the box shows over MQTT."""
    box = box_id(config)
    placed = steps(config)
    signals: Iterable[SignalFace] = [
        SignalFace(step.id, "lock_in" if step.kind == "lock_in" else "peak")
        for step in placed
        if step.kind in ("lock_in", "peak_finder")
    ]
    climate = config.climate
    known = (climate.temperature_c, climate.humidity_percent, climate.pressure_pa) != (None, None, None)
    senses = climate.sensor != "off" and (board.simulated or bool(board.climate))
    return Face(
        box,
        config.box.name or box,
        VERSION,
        config.gas.name,
        tuple(GasFace(line.node, line.source, follows=_follows(placed, line.node)) for line in gas_lines(config)),
        tuple(signals),
        tuple(RuleFace(rule.alarm.rule, rule.alarm.type) for rule in rules(config, board)),
        tuple(_told(config, board)),
        tuple(actions(config)),
        known or senses,
    )


def _told(config: Config, board: Board) -> Iterator[OutputFace]:
    """What people may tell the box, hardware first."""
    told = hardware.verbs(config, board)
    if any(line.kind == "lock_in" for line in gas_lines(config)):
        told |= {CALIBRATION: ASKED, SPAN_GAS: SpanGas.verbs}
    told |= {ACTIONS: TOLD} if actions(config) else {}
    told |= {SWEEP: SWEPT} if LASER in told else {}
    told |= {GATEWAY: LIVED} | ({IDENTIFY: (IDENTIFY,)} if board.leds else {})
    spans = {"cell": _CELL, SPAN_GAS: Span(*SpanGas.bounds, _STEP, "ppm")}
    yield from (OutputFace(target, verbs, spans.get(target)) for target, verbs in told.items())
    for dial in numbers(config, board):
        if dial.low < dial.high:
            span = Span(dial.low, dial.high, _STEP, "FS" if dial.unit == "full scale" else dial.unit)
            yield OutputFace(dial.target, DialOutput.verbs, span)


def _follows(placed: Iterable[Step], node: str) -> bool:
    return any(follows(step.settings) for step in placed if step.id == node)


def box_id(config: Config) -> str:
    """The box's identifier: configured, or the host's name."""
    host = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in socket.gethostname())
    return config.box.id or host.strip("-")[:64] or "box"
