"""From a board file to open hardware: microphone, laser, relays, LEDs, sensors, switches, buttons, or their simulated
twins where the board is simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from drivers.alsa import Playback
from drivers.button import PushButton, SimulatedSwitch, SwitchInput
from drivers.cell import Cell, SimulatedCellOutput
from drivers.climate import FixedClimate, SensorClimate, SimulatedClimate
from drivers.gpio import Input, Line, SimulatedInput, SimulatedLine
from drivers.laser import PwmLaser, SimulatedLaser
from drivers.led import Led, Shown, led_verbs
from drivers.microphone import AlsaMicrophone, FileMicrophone, SimulatedMicrophone
from drivers.playback import PlaybackLaser, buffer_frames, period_frames
from drivers.pwm import KernelPwm
from drivers.relay import OnOff, Relay
from drivers.sensor import KernelSensor
from drivers.software_pwm import SoftwarePwm
from gateway.board import Board, ButtonLine, InputLine, LaserLine
from gateway.check import acquisition
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.config.sections import ClimateSection
from gateway.dsp.demodulator import exact
from gateway.errors import DeviceError, SpectrophoneError
from gateway.interlock import Condition
from gateway.ports import ClimateSensor, Microphone, Output, Switch
from gateway.thermal import TOLD as TEC_TOLD
from gateway.thermal import open_tec
from gateway.types import Climate, Command, Light


def verbs(config: Config, board: Board) -> dict[str, tuple[str, ...]]:
    """What each output of the box can be told by rules and over MQTT, without opening any. The laser's "tune" is for
    sweeps and for following the resonance, and is not among it.
    """
    told: dict[str, tuple[str, ...]] = {}
    if board.simulated or board.laser:
        told["laser"] = tuple(verb for verb in SimulatedLaser.verbs if verb != "tune")
    if board.simulated:
        told["cell"] = SimulatedCellOutput.verbs
        told |= {f"switch/{name}": SimulatedSwitch.verbs for name in moved(board)}
    if config.tec is not None:
        told["tec"] = TEC_TOLD
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
        return FileMicrophone(Path(device.removeprefix("file:")), frames, realtime=True, clock=clock)
    return AlsaMicrophone(device, listening.rate_hz, listening.format, listening.channels, frames, clock)


def climate_sensor(config: Config, board: Board, clock: Clock, cell: Cell | None) -> ClimateSensor | None:
    """What measures the gas's temperature, humidity and pressure: the simulated cell, or the board's sensors."""
    section = config.climate
    if section.sensor == "off":
        return None
    if cell is not None:
        return SimulatedClimate(cell)
    sensors = [KernelSensor(sensor.kind, sensor.name) for sensor in board.climate]
    return SensorClimate(sensors, clock, section.every_s, section.stale_s) if sensors else None


def climate(config: Config, sensor: ClimateSensor | None) -> ClimateSensor | None:
    """What tells them: the configuration's fixed values and, for what it does not give, `sensor`."""
    given = _given(config.climate)
    if given == Climate():
        return sensor
    known = None not in (given.temperature_c, given.humidity_percent, given.pressure_pa)
    return FixedClimate(given, None if known else sensor)


def _given(section: ClimateSection) -> Climate:
    return Climate(section.temperature_c, section.humidity_percent, section.pressure_pa)


def light(config: Config) -> Light:
    """How the laser is modulated, as the configuration says."""
    laser = config.laser
    return Light(exact(laser.frequency_hz), laser.duty, laser.power_w)


def loopback(config: Config, board: Board) -> int | None:
    """The channel that the laser's modulation comes in on, None where its phase is counted. Raises SpectrophoneError
    where sound and laser do not belong together, or nothing tells the laser's phase.
    """
    if "laser" not in verbs(config, board):
        raise SpectrophoneError(
            f"board '{board.name}' has no laser to sweep", "Give it a table [laser] (docs/boards.md)"
        )
    heard, laser = acquisition(config, board), config.laser
    device = heard.device or "default"
    if (device == "sim") != board.simulated or device.startswith("file:"):
        other = "the simulated laser" if board.simulated else f"the laser of board '{board.name}'"
        raise SpectrophoneError(f"microphone '{device}' does not hear {other}", "Leave the device out")
    if laser.reference != "loopback":
        if board.simulated:
            return None
        message = f"nobody knows at which frame the laser of board '{board.name}' begins a new frequency"
        raise SpectrophoneError(message, "Lead its modulation to a channel, and write laser.reference: loopback")
    channel = "AB".index(laser.reference_channel)
    if heard.channels < 2:
        message = f"the laser's modulation should come in on channel {laser.reference_channel}, but the sound is mono"
        raise SpectrophoneError(message, "Set acquisition.channels: 2")
    return channel


def outputs(
    config: Config, board: Board, cell: Cell | None, shows: Mapping[str, Callable[[], Shown]] = MappingProxyType({})
) -> list[Output]:
    """Every output of the board, opened, in its safe state; `shows`: what LEDs may show by themselves. Raises
    DeviceError.
    """
    made: list[Output] = []
    if board.simulated and cell is not None:
        laser = config.laser
        made.append(SimulatedLaser(cell, laser.frequency_hz, laser.duty, laser.power_w, laser.ramp_s))
        made.append(SimulatedCellOutput(cell))
    elif board.laser and board.laser.playback:
        made.append(_playback_laser(config, board, board.laser, board.laser.playback))
    elif board.laser:
        made.append(_pwm_laser(config, board, board.laser))
    tec = open_tec(config, board, lambda: any(output.target == "laser" and output.read() == "on" for output in made))
    return [*made, *([] if tec is None else [tec]), *relays(board), *leds(board, shows)]


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


def leds(board: Board, shows: Mapping[str, Callable[[], Shown]]) -> list[Output]:
    """The board's LEDs, opened, in their safe states; what `shows` in the board file may name. Raises DeviceError."""
    made: list[Output] = []
    for name, led in board.leds.items():
        lines = {part: _line(board, line, led.active_high, led.safe) for part, line in led.lines.items()}
        made.append(Led(name, lines, led.safe, shows.get(led.shows)))
    return made


def _line(board: Board, line: int, active_high: bool, safe: OnOff) -> Line | SimulatedLine:
    lit = safe == "on"
    return SimulatedLine(lit) if board.simulated else Line(board.gpiochip, line, active_high, lit)


@dataclass(frozen=True, slots=True)
class Hands:
    """What people's hands reach: switches that forbid light, push buttons; `movers`, outputs that move the simulated
    ones.
    """

    switches: tuple[tuple[Condition, Switch], ...]
    buttons: tuple[PushButton, ...]
    movers: tuple[Output, ...]


def hands(board: Board) -> Hands:
    """The board's interlock and buttons, opened. Raises DeviceError."""
    switches: list[tuple[Condition, Switch]] = []
    buttons, movers = [], []

    def open_input(name: str, line: InputLine, level: str, active: bool) -> Input | SimulatedInput:
        if not board.simulated:
            return Input(board.gpiochip, line.line, level == "high", line.bias, line.debounce_ms)
        simulated = SimulatedInput(active)
        movers.append(SimulatedSwitch(f"switch/{name}", simulated, active=moved(board)[name]))
        return simulated

    if board.interlock:
        line = open_input("interlock", board.interlock, board.interlock.closed, True)
        switches.append((Condition.INTERLOCK, SwitchInput(line, "the interlock is open")))
    for name, button in board.buttons.items():
        if button.does == "stop":
            released = "low" if button.pressed == "high" else "high"
            line = open_input(name, button, released, True)
            switches.append((Condition.STOP, SwitchInput(line, f"button {name} is pressed")))
        else:
            line = open_input(name, button, button.pressed, False)
            buttons.append(PushButton(name, line, _asked(board, name, button), button.hold_s))
    return Hands(tuple(switches), tuple(buttons), tuple(movers))


def moved(board: Board) -> dict[str, bool]:
    """The simulated switches and buttons of a board by name; whether the input is active while they are on."""
    stops = {name: button.does != "stop" for name, button in board.buttons.items()}
    return {"interlock": True, **stops} if board.interlock else stops


def _asked(board: Board, name: str, button: ButtonLine) -> tuple[Command, ...]:
    """What a push button asks for."""
    if button.does == "zero":
        return (Command("calibration", "zero", origin=f"button:{name}"),)
    return tuple(Command(f"led/{led}", "identify", origin=f"button:{name}") for led in board.leds)


def _playback_laser(config: Config, board: Board, line: LaserLine, device: str) -> PlaybackLaser:
    """The laser on the codec's output, which has one frame clock, format and number of channels with its input."""
    heard = acquisition(config, board)
    rate_hz, channels = heard.rate_hz, heard.channels
    gains = [line.amplitude if channel == line.channel else 0.0 for channel in "AB"[:channels]]
    player = Playback(device, rate_hz, heard.format, channels, period_frames(rate_hz), buffer_frames(rate_hz))
    return PlaybackLaser(player, rate_hz, gains, light(config), 2e-3 * heard.block_ms, config.laser.ramp_s)


def _pwm_laser(config: Config, board: Board, line: LaserLine) -> PwmLaser:
    """The laser on a PWM, the kernel's or gpiozero's, with its driver's enable, which is dark first."""
    enable = None
    if line.enable is not None:
        enable = Line(board.gpiochip, line.enable, line.enable_high, False)
    return PwmLaser(_pwm(board, line), light(config), line.duty_max, config.laser.ramp_s, enable)


def _pwm(board: Board, line: LaserLine) -> KernelPwm | SoftwarePwm:
    if line.by == "gpiozero" and line.line is not None:
        return SoftwarePwm(line.line)
    if line.pwm_chip is None or line.pwm_channel is None or line.clock_hz is None:
        raise DeviceError(f"the laser of board '{board.name}' has no complete PWM", "Mend the board file")
    return KernelPwm(line.pwm_chip, line.pwm_channel, line.clock_hz, line.active_high)
