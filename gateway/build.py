"""From a configuration and a board to running parts: the only module that knows every part."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path as File
from typing import Any

import numpy as np

from drivers.button import Buttons
from drivers.laser import LEAST_TICKS
from drivers.software_pwm import SECOND_US
from drivers.tec import Tec
from gateway import detect, hardware, safety
from gateway.actions import making
from gateway.actions.actions import ACTIONS, Actions, ActionsOutput
from gateway.actions.actions import ASKED as TOLD
from gateway.actions.drivers import SETTINGS as DRIVEN
from gateway.actions.settings import ActionSettings
from gateway.alarms import Alarm
from gateway.board import Board
from gateway.calibrating import GasLine
from gateway.calibrator import ASKED, CALIBRATION, SPAN_GAS, CalibrationOutput, Calibrator, SpanGas
from gateway.check import Checked, acquisition, check
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.config.graph import feeders, order
from gateway.config.settings import Settings
from gateway.dials import Dial, DialOutput, dials
from gateway.dsp.air import water_fraction
from gateway.dsp.demodulator import exact
from gateway.errors import ConfigError, Fault, SpectrophoneError
from gateway.graph import Fitted, Graph, Step, commuted, fit, kinds
from gateway.guardian import Process
from gateway.inbox import CommandInbox
from gateway.inputs import Inputs
from gateway.interlock import Condition, Interlock
from gateway.journal.journal import Journal
from gateway.journal.place import journal_file
from gateway.life import ASKED as LIVED
from gateway.life import GATEWAY, IDENTIFY, Identify, Life
from gateway.mqtt.classes import OLDEST
from gateway.mqtt.classes import version as version_of
from gateway.mqtt.face import Face, GasFace, OutputFace, RuleFace, SignalFace, Span
from gateway.mqtt.link import MqttLink
from gateway.mqtt.registry import registry_file
from gateway.nodes import COMPUTING
from gateway.nodes import SETTINGS as NODES
from gateway.nodes.calibrated import follows
from gateway.nodes.curve import ConcentrationSettings
from gateway.nodes.place import LaserPhase, NodeFault, start
from gateway.outputs import LASER, Outputs
from gateway.path import Path
from gateway.places import state_directory
from gateway.ports import Laser, Output
from gateway.reports import reports
from gateway.rules import ParsedRule, RuleFault, parse
from gateway.safety import Plan
from gateway.scripts.host import Scripts
from gateway.signals import Signals
from gateway.simulation import simulated_cell
from gateway.sweeping import ASKED as SWEPT
from gateway.sweeping import SWEEP, Sweeper
from gateway.systemd import Systemd
from gateway.thermal import tec_faults
from gateway.types import NO_FLAGS, iso_utc
from gateway.watch import Watch

VERSION = version("spectrophone")
SETTINGS: Mapping[str, type[Settings]] = {**NODES, **DRIVEN}
"""Every kind of node, with its settings."""
_NODES = ("processing", "default_graph", "nodes")
_CELL = Span(0.0, 1_000_000.0, 0.1, "ppm")
_STEP = 0.001
"""In which Home Assistant lets people set other numbers."""


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
    signals: Signals
    buttons: Buttons
    life: Life


def prepare(
    path: File | None, environ: Mapping[str, str] = os.environ, *, scripts: bool = False, board: str | None = None
) -> Checked:
    """The configuration in `path` (None: the built-in one) and all its faults. Touches no hardware and no network.
    `board` is taken where the configuration names none; the one that this machine is if absent.

    With `scripts`, customers' scripts are read and checked, too, which takes a while; a worker does it in any case.
    """
    looks = (
        *(graph_faults, rule_faults, action_faults, expiry_faults, home_faults),
        *(track_faults, playback_faults, pwm_faults, climate_faults, tec_faults),
    )
    return check(path, SETTINGS, environ, (*looks, script_faults) if scripts else looks, board or detect.default())


def accepted(checked: Checked) -> tuple[Config, Board]:
    """Configuration and board. Raises ConfigError with all faults."""
    if checked.config is None or checked.board is None:
        raise ConfigError(checked.faults)
    return checked.config, checked.board


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


def climate_faults(config: Config, board: Board) -> Iterator[Fault]:
    """Sensors whose values are too old before the next come, and air that cannot be."""
    section = config.climate
    if section.stale_s < 2 * section.every_s:
        message = f"{section.stale_s:g} s are too short for sensors that are asked every {section.every_s:g} s"
        yield Fault(("climate", "stale_s"), message, f"Give at least {2 * section.every_s:g}, or a shorter every_s")
    t, h, p = section.temperature_c, section.humidity_percent, section.pressure_pa
    if t is not None and h is not None and p is not None and (water := water_fraction(t, h, p)) >= 1.0:
        message = f"at {t:g} degrees Celsius and {p:g} Pa this much humidity would be {water:.1f} times all of the gas"
        yield Fault(("climate", "humidity_percent"), message, f"Give less than {h / water:.1f}")


def pwm_faults(config: Config, board: Board) -> Iterator[Fault]:
    """A laser that the board's PWM cannot modulate so, or that would not bear it."""
    laser, line = config.laser, board.laser
    if line is None or line.playback:
        return
    if laser.duty > line.duty_max:
        message = f"{laser.duty:g} is more than the laser of board '{board.name}' bears"
        yield Fault(("laser", "duty"), message, f"Give at most {line.duty_max:g}")
    clock_hz = SECOND_US if line.by == "gpiozero" else line.clock_hz or 0
    if laser.frequency_hz * LEAST_TICKS > clock_hz:
        message = f"{laser.frequency_hz:g} Hz is too fast for the PWM of board '{board.name}': it counts {clock_hz} Hz"
        yield Fault(("laser", "frequency_hz"), message, f"Give at most {clock_hz / LEAST_TICKS:g} Hz")
    if line.by == "gpiozero" and not line.active_high:
        message = f"the laser of board '{board.name}' is lit on a low level, and gpiozero's PWM is low when it ends"
        yield Fault(("board",), message, "Take a line with a hardware PWM, or a driver that is lit on a high level")


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


def home_faults(config: Config, board: Board) -> Iterator[Fault]:
    """A Home Assistant that knows no devices in one message."""
    if version_of(oldest := config.homeassistant.min_version) < OLDEST:
        message = f"Home Assistant {oldest} does not take a whole device in one message"
        yield Fault(("homeassistant", "min_version"), message, 'Give "{}.{}" or a later one'.format(*OLDEST))


def rule_faults(config: Config, board: Board) -> Iterator[Fault]:
    """Rules that name what is not there, or do not say what they mean."""
    for index, rule in enumerate(config.rules):
        try:
            parse(rule, kinds(steps(config)), hardware.verbs(config, board), config.laser.frequency_hz)
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
    for name, fault in making.faults(
        actions(config), kinds(steps(config)), config.laser.frequency_hz, hardware.verbs(config, board)
    ):
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
    return tuple(parse(rule, named, hardware.verbs(config, board), config.laser.frequency_hz) for rule in config.rules)


def numbers(config: Config, board: Board) -> tuple[Dial, ...]:
    """The numbers that may be set while the gateway runs."""
    return dials(config, [*(rule.alarm for rule in rules(config, board)), *action_alarms(config)])


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


def parts(config: Config, board: Board, clock: Clock, secrets: Collection[str] = (), file: File | None = None) -> Parts:
    """Everything, put together. Raises DeviceError, RecordingError or ConfigError.

    `secrets` of the configuration, which scripts may be given, are masked in what these say; `file` is the
    configuration's.
    """
    heard = sound(config, board)
    cell = simulated_cell(config, heard.rate_hz, heard.channels) if board.simulated else None
    listening = hardware.microphone(config, board, clock, cell)
    computing = path(config, board, Sound(listening.rate_hz, listening.channels))
    calibrating = calibrator(config, clock)
    interlock = Interlock(config.laser.max_on_s)
    signals = Signals([line.node for line in gas_lines(config)], interlock)
    hands = hardware.hands(board)
    shows = {"status": signals.status, "alert": signals.alert}
    doors = [*hardware.outputs(config, board, cell, shows), *hands.movers]
    if calibrating is not None:
        doors += [bottle := SpanGas(), CalibrationOutput(calibrating, bottle)]
    shown = face(config, board)
    inbox = CommandInbox()
    keeping = journal(config, clock)
    workers = Scripts(clock, config.scripts.level, config.scripts.least, secrets)
    told = making.build(actions(config), keeping, clock, inbox, shown.box, np.random.default_rng(), workers)
    doors.append(ActionsOutput(told))
    sweeper = _sweeper(config, board, listening.rate_hz, doors, clock)
    doors += [] if sweeper is None else [sweeper]
    systemd = Systemd(os.environ, clock)
    life = Life(systemd.there, lambda: os.kill(os.getpid(), signal.SIGTERM), told.restrain)
    doors += [life, *([Identify(leds)] if (leds := [each for each in doors if each.target.startswith("led/")]) else [])]
    door = Outputs(doors, interlock)
    air = hardware.climate(config, hardware.climate_sensor(config, board, clock, cell))
    link = None
    if config.mqtt is not None:
        tec = next((output for output in doors if isinstance(output, Tec)), None)
        told_too = reports(air, None if tec is None else lambda: tec.temperature_c, told.status)
        known = registry_file(state_directory(os.environ), shown.box, file)
        rng = np.random.default_rng()
        link = MqttLink(
            config.mqtt,
            shown,
            inbox,
            clock,
            rng,
            secrets,
            keeping,
            home=config.homeassistant,
            reports=told_too,
            known=known,
        )
    plan = None if board.simulated else safety.safe_plan(board)
    guardian = None if plan is None else Process(plan, clock)
    switches = (*hands.switches, (Condition.SAFE_MODE, life))
    watch = Watch(clock, door.lose, door.restore, switches=switches, guardian=guardian, alive=systemd.alive)
    warm_s = config.laser.ramp_s + config.laser.warm_up_s
    hearing = (lambda block: NO_FLAGS) if sweeper is None else partial(sweeper.take, door)
    inputs = Inputs(listening, door, air, hardware.light(config), watch.heard, warm_s, hearing)
    return Parts(
        inputs,
        computing,
        door,
        inbox,
        watch,
        link,
        shown,
        calibrating,
        keeping,
        told,
        systemd,
        plan,
        signals,
        Buttons(hands.buttons, inbox, clock),
        life,
    )


def journal(config: Config, clock: Clock) -> Journal:
    """The journal, not yet open."""
    section = config.journal
    file = journal_file(section, box_id(config), state_directory(os.environ)) if section.enabled else None
    return Journal(file, section, clock)


def _sweeper(config: Config, board: Board, rate_hz: int, doors: Sequence[Output], clock: Clock) -> Sweeper | None:
    """Who sweeps while the gateway runs; None where there is no laser."""
    laser = next((door for door in doors if isinstance(door, Laser)), None)
    if laser is None:
        return None
    loopback, hindrance = None, ""
    try:
        loopback = hardware.loopback(config, board)
    except SpectrophoneError as error:
        hindrance = str(error)
    box = box_id(config)

    def about() -> dict[str, Any]:
        return {"time": iso_utc(clock.utc_ns()), "box": box, "software": f"spectrophone {VERSION}"}

    file = state_directory(os.environ) / f"{box}.sweep.json"
    return Sweeper(laser, rate_hz, loopback, hindrance, file, about)


def _fitted(config: Config, board: Board, heard: Sound) -> Iterator[Fitted | tuple[Step, NodeFault]]:
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
