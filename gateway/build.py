"""From a configuration and a board to running parts: the only module that knows every part."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.button import Buttons
from drivers.tec import Tec
from gateway import design, hardware, safety
from gateway.actions import making
from gateway.actions.actions import Actions, ActionsOutput
from gateway.board import Board
from gateway.calibrator import CalibrationOutput, Calibrator, SpanGas
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.errors import SpectrophoneError
from gateway.guardian import Process
from gateway.inbox import CommandInbox
from gateway.inputs import Inputs
from gateway.interlock import Condition, Interlock
from gateway.journal.journal import Journal
from gateway.journal.place import journal_file
from gateway.life import Identify, Life
from gateway.mqtt.face import Face
from gateway.mqtt.link import MqttLink
from gateway.mqtt.registry import registry_file
from gateway.outputs import Outputs
from gateway.path import Path
from gateway.places import state_directory
from gateway.ports import ClimateSensor, Inbox, Laser, Output
from gateway.reports import reports
from gateway.safety import Plan
from gateway.scripts.host import Scripts
from gateway.signals import Signals
from gateway.simulation import simulated_cell
from gateway.sweeping import Sweeper
from gateway.systemd import Systemd
from gateway.types import NO_FLAGS, iso_utc
from gateway.watch import Watch

if TYPE_CHECKING:
    from gateway.modbus.server import ModbusServer


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
    modbus: ModbusServer | None


def calibrator(config: Config, clock: Clock) -> Calibrator | None:
    """Who takes zero and span while the gateway runs; None where no lock_in feeds a concentration."""
    lines = design.gas_lines(config)
    return Calibrator(lines, clock) if any(line.kind == "lock_in" for line in lines) else None


def parts(config: Config, board: Board, clock: Clock, secrets: Collection[str] = (), file: File | None = None) -> Parts:
    """Everything, put together. Raises DeviceError, RecordingError or ConfigError.

    `secrets` of the configuration, which scripts may be given, are masked in what these say; `file` is the
    configuration's.
    """
    heard = design.sound(config, board)
    cell = simulated_cell(config, heard.rate_hz, heard.channels) if board.simulated else None
    listening = hardware.microphone(config, board, clock, cell)
    computing = design.path(config, board, design.Sound(listening.rate_hz, listening.channels))
    calibrating = calibrator(config, clock)
    interlock = Interlock(config.laser.max_on_s)
    signals = Signals([line.node for line in design.gas_lines(config)], interlock)
    hands = hardware.hands(board)
    shows = {"status": signals.status, "alert": signals.alert}
    doors = [*hardware.outputs(config, board, cell, shows), *hands.movers]
    if calibrating is not None:
        doors += [bottle := SpanGas(), CalibrationOutput(calibrating, bottle)]
    shown = design.face(config, board)
    inbox = CommandInbox()
    keeping = journal(config, clock)
    workers = Scripts(clock, config.scripts.level, config.scripts.least, secrets)
    told = making.build(design.actions(config), keeping, clock, inbox, shown.box, np.random.default_rng(), workers)
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
        _modbus(config, shown, inbox, clock, air),
    )


def journal(config: Config, clock: Clock) -> Journal:
    """The journal, not yet open."""
    section = config.journal
    file = journal_file(section, design.box_id(config), state_directory(os.environ)) if section.enabled else None
    return Journal(file, section, clock)


def _modbus(config: Config, shown: Face, inbox: Inbox, clock: Clock, air: ClimateSensor | None) -> ModbusServer | None:
    """The Modbus server, if there is to be one; its library is an extra."""
    if config.modbus is None:
        return None
    from gateway.modbus.server import ModbusServer

    return ModbusServer(config.modbus, shown, inbox, clock, lambda: None if air is None else air.newest())


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
    box = design.box_id(config)

    def about() -> dict[str, Any]:
        return {"time": iso_utc(clock.utc_ns()), "box": box, "software": f"spectrophone {design.VERSION}"}

    file = state_directory(os.environ) / f"{box}.sweep.json"
    return Sweeper(laser, rate_hz, loopback, hindrance, file, about)
