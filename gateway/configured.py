"""All faults of a configuration that only its parts together show. Touches no hardware, network or customer's code."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path as File

from drivers.laser import LEAST_TICKS
from drivers.software_pwm import SECOND_US
from gateway import design, detect, hardware
from gateway.actions import making
from gateway.board import Board
from gateway.check import Checked, Extra, acquisition, check
from gateway.config.config import Config
from gateway.dsp.air import water_fraction
from gateway.errors import ConfigError, Fault
from gateway.graph import Fitted, kinds
from gateway.modbus.faults import modbus_faults
from gateway.mqtt.classes import OLDEST
from gateway.mqtt.classes import version as version_of
from gateway.nodes.calibrated import follows
from gateway.rules import RuleFault, parse
from gateway.thermal import tec_faults

_NODES = ("processing", "default_graph", "nodes")


def prepare(
    path: File | None,
    environ: Mapping[str, str] = os.environ,
    *,
    scripts: bool = False,
    board: str | None = None,
    without: Collection[str] = (),
    text: str | None = None,
) -> Checked:
    """The configuration in `path` (None: the built-in one) and all its faults. Touches no hardware and no network.
    `board` is taken where the configuration names none; the one that this machine is if absent.

    With `scripts`, customers' scripts are read and checked, too, which takes a while; a worker does it in any case.
    The sections `without` are as if they were not written. `text` is checked as if it stood in the file.
    """
    looks: tuple[Extra, ...] = (
        *(graph_faults, rule_faults, action_faults, expiry_faults, home_faults),
        *(track_faults, playback_faults, pwm_faults, climate_faults, tec_faults, modbus_faults),
    )
    if scripts:
        looks = (*looks, script_faults)
    return check(path, design.SETTINGS, environ, looks, board or detect.default(), without, text)


def salvaged(path: File | None, environ: Mapping[str, str] = os.environ, *, board: str | None = None) -> Checked:
    """What can be followed of a configuration with faults: all of it but the sections that have one, or the built-in
    configuration if the file cannot be read at all. Faultless, if the machine's own board is.

    Nobody may light a laser by it: what is left out may have been there to keep somebody safe.
    """
    without: set[str] = set()
    while True:
        checked = prepare(path, environ, board=board, without=without)
        sections = {str(fault.loc[0]) for fault in checked.faults if fault.loc}
        if not checked.faults:
            return checked
        if not sections - without:
            built_in = prepare(None, environ, board=board)
            return replace(built_in, secrets=built_in.secrets | checked.secrets)
        without |= sections


def accepted(checked: Checked) -> tuple[Config, Board]:
    """Configuration and board. Raises ConfigError with all faults."""
    if checked.config is None or checked.board is None:
        raise ConfigError(checked.faults)
    return checked.config, checked.board


def graph_faults(config: Config, board: Board) -> Iterator[Fault]:
    """Settings that are right by themselves and cannot work where their node stands."""
    index = {node.id: i for i, node in enumerate(config.processing.default_graph.nodes)}
    for found in design.fitted(config, board, design.sound(config, board)):
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
            parse(rule, kinds(design.steps(config)), hardware.verbs(config, board), config.laser.frequency_hz)
        except RuleFault as fault:
            yield Fault(("rules", index, fault.option), fault.message, fault.remedy)


def action_faults(config: Config, board: Board) -> Iterator[Fault]:
    """Action nodes whose triggers cannot be, or whose drivers want something installed."""
    index = {node.id: i for i, node in enumerate(config.processing.default_graph.nodes)}
    for name, fault in making.faults(
        design.actions(config), kinds(design.steps(config)), config.laser.frequency_hz, hardware.verbs(config, board)
    ):
        yield replace(fault, loc=(*_NODES, index[name], "parameters", *fault.loc))


def script_faults(config: Config, board: Board) -> Iterator[Fault]:
    """What the static check says of customers' scripts, each fault with the script's own file and line."""
    index = {node.id: i for i, node in enumerate(config.processing.default_graph.nodes)}
    for name, fault in making.read(design.actions(config)):
        yield replace(fault, loc=(*_NODES, index[name], "parameters", *fault.loc))
