"""From a configuration and a board to running parts: the only module that knows every part."""

from __future__ import annotations

import hashlib
import math
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path as File
from types import MappingProxyType

import numpy as np

from drivers.alsa import Playback
from drivers.cell import Cell, SimulatedCellOutput
from drivers.climate import FixedClimate, SimulatedClimate
from drivers.gpio import Input, Line, SimulatedLine
from drivers.laser import SimulatedLaser
from drivers.led import Led, Shown, led_verbs
from drivers.microphone import AlsaMicrophone, FileMicrophone, SimulatedMicrophone
from drivers.playback import PlaybackLaser, buffer_frames, period_frames
from drivers.pwm import ROOT as PWM
from drivers.relay import OnOff, Relay
from gateway import board as boards
from gateway.actions import making
from gateway.actions.actions import ACTIONS, Actions, ActionsOutput
from gateway.actions.actions import ASKED as TOLD
from gateway.actions.drivers import SETTINGS as DRIVEN
from gateway.actions.settings import ActionSettings
from gateway.alarms import Alarm
from gateway.board import Board, LaserLine
from gateway.calibrating import GasLine
from gateway.calibrator import ASKED, CALIBRATION, CalibrationOutput, Calibrator
from gateway.check import Checked, acquisition, check
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.config.graph import feeders, order
from gateway.config.settings import Settings
from gateway.dsp.demodulator import exact
from gateway.errors import ConfigError, Fault
from gateway.graph import Fitted, Graph, Step, commuted, fit, kinds
from gateway.guardian import Process
from gateway.inbox import CommandInbox
from gateway.inputs import Inputs
from gateway.interlock import Interlock
from gateway.journal.journal import Journal
from gateway.journal.place import journal_file
from gateway.mqtt.face import Face, GasFace, OutputFace, RuleFace, SignalFace
from gateway.mqtt.link import MqttLink
from gateway.nodes import COMPUTING
from gateway.nodes import SETTINGS as NODES
from gateway.nodes.calibrated import follows
from gateway.nodes.curve import ConcentrationSettings
from gateway.nodes.place import LaserPhase, NodeFault, start
from gateway.outputs import Outputs
from gateway.path import Path
from gateway.places import state_directory
from gateway.ports import ClimateSensor, Microphone, Output
from gateway.rules import ParsedRule, RuleFault, parse
from gateway.safety import Plan, SafeLine, SafePwm
from gateway.scripts.host import Scripts
from gateway.simulation import simulated_cell
from gateway.systemd import Systemd
from gateway.types import Climate, Light
from gateway.watch import Watch

VERSION = version("spectrophone")
SETTINGS: Mapping[str, type[Settings]] = {**NODES, **DRIVEN}
"""Every kind of node, with its settings."""
_NODES = ("processing", "default_graph", "nodes")
_MODEL = File("/proc/device-tree/model")


@dataclass(frozen=True, slots=True)
class Sound:
    """What the graph will hear."""

    rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that runs, put together but not started."""

    inputs: Inputs
    path: Path
    outputs: Outputs
    inbox: CommandInbox
    watch: Watch
    link: MqttLink | None
    face: Face
    calibrator: Calibrator | None
    journal: Journal
    actions: Actions
    systemd: Systemd
    plan: Plan | None
    """What is safe, for who comes after the gateway; None on a simulated board."""


def prepare(path: File | None, environ: Mapping[str, str] = os.environ, *, scripts: bool = False) -> Checked:
    """The configuration in `path` (None: the built-in one) and all its faults. Touches no hardware and no network.

    With `scripts`, customers' scripts are read and checked, too, which takes a while; a worker does it in any case.
    """
    looks = (graph_faults, rule_faults, action_faults, expiry_faults, track_faults, playback_faults)
    return check(path, SETTINGS, environ, (*looks, script_faults) if scripts else looks, default_board())


def accepted(checked: Checked) -> tuple[Config, Board]:
    """Configuration and board. Raises ConfigError with all faults."""
    if checked.config is None or checked.board is None:
        raise ConfigError(checked.faults)
    return checked.config, checked.board


def default_board() -> str:
    """The board that this machine is, or the simulated one."""
    try:
        return boards.detect(_MODEL.read_text("utf-8")) or "sim"
    except OSError:
        return "sim"


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


def calibrator(config: Config, clock: Clock) -> Calibrator | None:
    """Who takes zero and span while the gateway runs; None where no lock_in feeds a concentration."""
    lines = gas_lines(config)
    return Calibrator(lines, clock) if any(line.kind == "lock_in" for line in lines) else None


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


def graph_faults(config: Config, board: Board) -> Iterator[Fault]:
    """Settings that are right by themselves and cannot work where their node stands."""
    index = {node.id: i for i, node in enumerate(config.processing.default_graph.nodes)}
    for found in _fitted(config, board, sound(config, board)):
        if isinstance(found, Fitted):
            continue
        step, fault = found
        inside = ("parameters", fault.option) if fault.option != "type" else ("type",)
        yield Fault((*_NODES, index[step.id], *inside), fault.message, fault.remedy)


def track_faults(config: Config, board: Board) -> Iterator[Fault]:
    """A laser that is to follow a resonance of which nobody, or more than one, could tell it."""
    track = config.laser.track
    if track == "off":
        return
    nodes = config.processing.default_graph.nodes
    telling = [node.id for node in nodes if node.type == "concentration" and follows(node.parameters)]
    if not telling:
        message = f"'{track}' needs a concentration whose calibration has a table [resonance], and there is none"
        yield Fault(("laser", "track"), message, "Write `off`, or calibrate with a sweep (docs/calibration.md)")
    if len(telling) > 1:
        message = f"{', '.join(telling)} would each send the laser to its own resonance"
        remedy = "Leave the table [resonance] in the calibration of one of them"
        yield Fault(("laser", "track"), message, remedy)


def playback_faults(config: Config, board: Board) -> Iterator[Fault]:
    """A laser on channel B of a codec's output that plays mono, as its input does."""
    laser = board.laser
    if laser and laser.playback and laser.channel == "B" and acquisition(config, board).channels == 1:
        message = "the board's laser hangs on channel B of the codec, and mono has none"
        yield Fault(("acquisition", "channels"), message, "Write 2")


def expiry_faults(config: Config, board: Board) -> Iterator[Fault]:
    """Values over MQTT that would expire before the next one comes."""
    if config.mqtt is None:
        return
    for node in config.processing.default_graph.nodes:
        integration_s = getattr(node.parameters, "integration_s", 0.0)
        if config.mqtt.expire_s < 2 * integration_s:
            message = (
                f"{config.mqtt.expire_s} s are too short for {node.id}, which gives a value every {integration_s:g} s"
            )
            yield Fault(("mqtt", "expire_s"), message, f"Give at least {math.ceil(2 * integration_s)}")


def rule_faults(config: Config, board: Board) -> Iterator[Fault]:
    """Rules that name what is not there, or do not say what they mean."""
    for index, rule in enumerate(config.rules):
        try:
            parse(rule, kinds(steps(config)), verbs(board), config.laser.frequency_hz)
        except RuleFault as fault:
            yield Fault(("rules", index, fault.option), fault.message, fault.remedy)


def actions(config: Config) -> dict[str, ActionSettings]:
    """The settings of the action nodes, by name."""
    nodes = config.processing.default_graph.nodes
    return {node.id: node.parameters for node in nodes if isinstance(node.parameters, ActionSettings)}


def action_alarms(config: Config) -> tuple[Alarm, ...]:
    """What the action nodes raise alerts for."""
    return making.all_alarms(actions(config), kinds(steps(config)), config.laser.frequency_hz)


def action_faults(config: Config, board: Board) -> Iterator[Fault]:
    """Action nodes whose triggers cannot be, or whose drivers want something installed."""
    index = {node.id: i for i, node in enumerate(config.processing.default_graph.nodes)}
    for name, fault in making.faults(actions(config), kinds(steps(config)), config.laser.frequency_hz, verbs(board)):
        yield replace(fault, loc=(*_NODES, index[name], "parameters", *fault.loc))


def script_faults(config: Config, board: Board) -> Iterator[Fault]:
    """What the static check says of customers' scripts, each fault with the script's own file and line."""
    index = {node.id: i for i, node in enumerate(config.processing.default_graph.nodes)}
    for name, fault in making.read(actions(config)):
        yield replace(fault, loc=(*_NODES, index[name], "parameters", *fault.loc))


def path(config: Config, board: Board, heard: Sound) -> Path:
    """The computation of a checked configuration for that sound. Raises ConfigError where a node cannot hear it."""
    fitted = []
    for found in _fitted(config, board, heard):
        if not isinstance(found, Fitted):
            step, fault = found
            raise ConfigError((Fault((step.id, fault.option), fault.message, fault.remedy),))
        fitted.append(found)
    return Path(Graph(fitted), rules(config, board), action_alarms(config))


def rules(config: Config, board: Board) -> tuple[ParsedRule, ...]:
    """The configured rules, ready to run."""
    named = kinds(steps(config))
    return tuple(parse(rule, named, verbs(board), config.laser.frequency_hz) for rule in config.rules)


def verbs(board: Board) -> dict[str, tuple[str, ...]]:
    """What each output of the board can be told by rules and over MQTT, without opening any. The laser's "tune" is for
    sweeps and for following the resonance, and is not among it.
    """
    told: dict[str, tuple[str, ...]] = {}
    if board.simulated or (board.laser and board.laser.playback):
        told["laser"] = tuple(verb for verb in SimulatedLaser.verbs if verb != "tune")
    if board.simulated:
        told["cell"] = SimulatedCellOutput.verbs
    told.update({f"relay/{name}": Relay.verbs for name in board.relays})
    told.update({f"led/{name}": led_verbs(led.lines, led.shows != "commands") for name, led in board.leds.items()})
    return told


def microphone(config: Config, board: Board, clock: Clock, cell: Cell | None) -> Microphone:
    """The configured microphone, opened. Raises DeviceError or RecordingError."""
    listening = acquisition(config, board)
    frames = listening.rate_hz * listening.block_ms // 1000
    device = listening.device or "default"
    if device == "sim" and cell is not None:
        return SimulatedMicrophone(cell, frames, realtime=True, clock=clock)
    if device.startswith("file:"):
        return FileMicrophone(File(device.removeprefix("file:")), frames, realtime=True, clock=clock)
    return AlsaMicrophone(device, listening.rate_hz, listening.format, listening.channels, frames, clock)


def climate(config: Config, cell: Cell | None) -> ClimateSensor | None:
    """What tells the gas's temperature, humidity and pressure: the configuration's fixed values, else the simulated
    cell, else nothing.
    """
    given = config.climate
    if given.model_fields_set:
        return FixedClimate(Climate(given.temperature_c, given.humidity_percent, given.pressure_pa))
    return None if cell is None else SimulatedClimate(cell)


def light(config: Config) -> Light:
    """How the laser is modulated, as the configuration says."""
    laser = config.laser
    return Light(exact(laser.frequency_hz), laser.duty, laser.power_w)


def outputs(config: Config, board: Board, cell: Cell | None) -> list[Output]:
    """Every output of the board, opened, in its safe state. Raises DeviceError."""
    made: list[Output] = []
    if board.simulated and cell is not None:
        laser = config.laser
        made += [SimulatedLaser(cell, laser.frequency_hz, laser.duty, laser.power_w), SimulatedCellOutput(cell)]
    elif board.laser and board.laser.playback:
        made.append(_playback_laser(config, board, board.laser, board.laser.playback))
    return made + relays(board) + leds(board)


def relays(board: Board) -> list[Output]:
    """The board's relays, opened, in their safe states. Raises DeviceError."""
    made: dict[str, Relay] = {}
    for name, relay in board.relays.items():
        line = _line(board, relay.line, relay.active_high, relay.safe)
        contact = None
        if relay.feedback is not None and not board.simulated:
            contact = Input(board.gpiochip, relay.feedback, True, "pull_down")
        made[name] = Relay(name, line, relay.safe, relay.min_interval_s, contact)
    for name, relay in board.relays.items():
        for other in relay.excludes:
            made[name].exclude(made[other])
    return list(made.values())


def leds(board: Board, shows: Mapping[str, Callable[[], Shown]] = MappingProxyType({})) -> list[Output]:
    """The board's LEDs, opened, in their safe states; what `shows` in the board file may name. Raises DeviceError."""
    made: list[Output] = []
    for name, led in board.leds.items():
        lines = {part: _line(board, line, led.active_high, led.safe) for part, line in led.lines.items()}
        made.append(Led(name, lines, led.safe, shows.get(led.shows)))
    return made


def _line(board: Board, line: int, active_high: bool, safe: OnOff) -> Line | SimulatedLine:
    lit = safe == "on"
    return SimulatedLine(lit) if board.simulated else Line(board.gpiochip, line, active_high, lit)


def safe_plan(board: Board) -> Plan:
    """What of a board goes on when the gateway has died, and how it is safe."""
    chip, laser, tec = board.gpiochip or "", board.laser, board.tec
    pwms, lines = [], []
    if laser and laser.pwm_chip is not None:
        pwms.append(SafePwm("laser", f"{PWM}/pwmchip{laser.pwm_chip}/pwm{laser.pwm_channel}"))
    if laser and laser.enable is not None:
        lines.append(SafeLine("laser enable", chip, laser.enable, not laser.enable_high))
    if tec:
        pwms.append(SafePwm("tec", f"{PWM}/pwmchip{tec.pwm_chip}/pwm{tec.pwm_channel}"))
    for name, relay in board.relays.items():
        lines.append(SafeLine(f"relay/{name}", chip, relay.line, (relay.safe == "on") == relay.active_high))
    for name, led in board.leds.items():
        high = (led.safe == "on") == led.active_high
        lines += [SafeLine(f"led/{name}", chip, line, high) for line in led.lines.values()]
    return Plan(tuple(pwms), tuple(lines))


def _playback_laser(config: Config, board: Board, line: LaserLine, device: str) -> PlaybackLaser:
    """The laser on the codec's output, which has one frame clock, format and number of channels with its input."""
    heard = acquisition(config, board)
    rate_hz, channels = heard.rate_hz, heard.channels
    gains = [line.amplitude if channel == line.channel else 0.0 for channel in "AB"[:channels]]
    player = Playback(device, rate_hz, heard.format, channels, period_frames(rate_hz), buffer_frames(rate_hz))
    return PlaybackLaser(player, rate_hz, gains, light(config), 2e-3 * heard.block_ms)


def face(config: Config, board: Board) -> Face:
    """What the box shows over MQTT."""
    box = box_id(config)
    placed = steps(config)
    lines = gas_lines(config)
    signals: Iterable[SignalFace] = [
        SignalFace(step.id, "lock_in" if step.kind == "lock_in" else "peak")
        for step in placed
        if step.kind in ("lock_in", "peak_finder")
    ]
    told = {**verbs(board), **({CALIBRATION: ASKED} if any(line.kind == "lock_in" for line in lines) else {})}
    told |= {ACTIONS: TOLD} if actions(config) else {}
    return Face(
        box,
        config.box.name or box,
        VERSION,
        config.gas.name,
        tuple(GasFace(line.node, line.source) for line in lines),
        tuple(signals),
        tuple(RuleFace(rule.alarm.rule, rule.alarm.type) for rule in rules(config, board)),
        tuple(OutputFace(target, known) for target, known in told.items()),
    )


def box_id(config: Config) -> str:
    """The box's identifier: configured, or the host's name."""
    host = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in socket.gethostname())
    return config.box.id or host.strip("-")[:64] or "box"


def parts(config: Config, board: Board, clock: Clock, secrets: frozenset[str] = frozenset()) -> Parts:
    """Everything, put together. Raises DeviceError, RecordingError or ConfigError.

    `secrets` of the configuration, which scripts may be given, are masked in what these say.
    """
    heard = sound(config, board)
    cell = simulated_cell(config, heard.rate_hz, heard.channels) if board.simulated else None
    listening = microphone(config, board, clock, cell)
    computing = path(config, board, Sound(listening.rate_hz, listening.channels))
    calibrating = calibrator(config, clock)
    doors = outputs(config, board, cell)
    if calibrating is not None:
        doors.append(CalibrationOutput(calibrating))
    shown = face(config, board)
    inbox = CommandInbox()
    keeping = journal(config, clock)
    workers = Scripts(clock, config.scripts.level, config.scripts.min_isolation, secrets)
    told = making.build(actions(config), keeping, clock, inbox, shown.box, np.random.default_rng(), workers)
    doors.append(ActionsOutput(told))
    door = Outputs(doors, Interlock(config.laser.max_on_s))
    link = None
    if config.mqtt is not None:
        link = MqttLink(config.mqtt, shown, inbox, clock, np.random.default_rng())
    plan = None if board.simulated else safe_plan(board)
    systemd = Systemd(os.environ, clock)
    watch = Watch(
        clock, door.lose, door.restore, guardian=None if plan is None else Process(plan, clock), alive=systemd.alive
    )
    inputs = Inputs(listening, door, climate(config, cell), light(config), watch.heard)
    return Parts(inputs, computing, door, inbox, watch, link, shown, calibrating, keeping, told, systemd, plan)


def journal(config: Config, clock: Clock) -> Journal:
    """The journal, not yet open."""
    section = config.journal
    file = journal_file(section, box_id(config), state_directory(os.environ)) if section.enabled else None
    return Journal(file, section, clock)


def _fitted(config: Config, board: Board, heard: Sound) -> Iterator[Fitted | tuple[Step, NodeFault]]:
    laser = config.laser
    known = laser.reference
    if known == "same_codec" and board.laser and board.laser.playback:
        known = "free"  # one clock, but another phase each time the laser is lit: docs/decisions/0007-playback.md
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
