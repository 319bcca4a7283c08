"""What a board is: boards/NAME.toml, checked, with every line handed out once.

A board file is data only: which line switches which relay, which codec listens, which overlays make the
kernel see them. What it may not say is in gateway/wiring.py. No output is without `safe`, the state it takes
whenever the gateway does not hold it; what the firmware does before Linux runs follows from it (config_txt.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway import wiring
from gateway.config import toml
from gateway.config.document import Loc, by_place, nearest
from gateway.config.sections import Name
from gateway.config.settings import Settings
from gateway.config.validate import validate
from gateway.errors import ConfigError, Fault
from gateway.raspberry import LAST_LINE

Line = Annotated[int, Field(ge=0, le=LAST_LINE)]
"""A line of the 40-pin header by its GPIO number, which is its offset on the GPIO chip."""
Text = Annotated[str, Field(min_length=1)]
PwmChip = Annotated[int, Field(ge=0)] | Text
PWM_CHIP = 'name of the PWM\'s device ("fe20c000.pwm"), or N of pwmchipN, which differs between kernels'
Format = Literal["S16_LE", "S24_3LE", "S32_LE", "FLOAT_LE"]
OnOff = Literal["on", "off"]


class MicrophoneLine(Settings):
    """The codec that listens, and what is asked of it where the configuration says nothing."""

    device: str = Field(min_length=1, description='ALSA device, or "sim"')
    card: str | None = Field(None, min_length=1, description="id of the ALSA card, of which several cards may have one")
    card_name: str | None = Field(None, min_length=1, description="the card's name, where its id does not tell it")
    usb: tuple[Text, ...] = Field((), description='USB ids (vendor:product) of the card; "any" for every USB card')
    format: Format = Field("S32_LE", description="ALSA sample format")
    formats: tuple[Format, ...] = Field(min_length=1, description="the formats that the codec has")
    channels: int = Field(2, ge=1, le=2, description="channels: 1 or 2")
    rate_hz: int = Field(48000, ge=8000, le=384000, description="samples per second and channel")
    rate_max_hz: int = Field(384000, ge=8000, le=384000, description="the most that the codec does")


class LaserLine(Settings):
    """What modulates the laser: an output of the codec that listens (`playback`), or a hardware PWM."""

    playback: str | None = Field(None, min_length=1, description="ALSA device that plays the modulation")
    channel: Literal["A", "B"] = Field("A", description="playback: the channel that the laser hangs on")
    amplitude: float = Field(1.0, gt=0, le=1, description="playback: amplitude of the sine, full scale 1")
    line: Line | None = Field(None, description="the line that carries the PWM")
    pwm_chip: PwmChip | None = Field(None, description=PWM_CHIP)
    pwm_channel: int | None = Field(None, ge=0, description="channel on it")
    clock_hz: int | None = Field(
        None, gt=0, description="clock of the PWM, of which the period is a whole number of ticks"
    )
    active_high: bool = Field(True, description="PWM: true: lit on a high level")
    by: Literal["kernel", "gpiozero"] = Field(
        "kernel", description="who makes the PWM: the kernel's hardware, or gpiozero's software, which jitters"
    )
    enable: Line | None = Field(None, description="a line without which the laser's driver gives no light")
    enable_high: bool = Field(True, description="true: the driver gives light while `enable` is high")
    duty_max: float = Field(0.5, gt=0, lt=1, description="the largest duty that laser and driver bear")
    safe: Literal["off"] = Field(description="the laser's safe state: off")

    @property
    def pwm(self) -> tuple[int | str | None, ...]:
        """What a PWM needs: line, chip, channel and clock."""
        return self.line, self.pwm_chip, self.pwm_channel, self.clock_hz


class RelayLine(Settings):
    """A relay."""

    line: Line = Field(description="the line that drives it")
    active_high: bool = Field(True, description="true: on with a high level")
    safe: OnOff = Field(description="its state whenever the gateway does not hold it")
    min_interval_s: float = Field(0.0, ge=0, le=3600, description="shortest time between two switchings")
    excludes: tuple[Name, ...] = Field((), description="relays that may never be on together with this one")
    feedback: Line | None = Field(None, description="a line that is high while the relay's own contact is closed")


class InputLine(Settings):
    """A switch that the gateway reads."""

    line: Line = Field(description="the line that it is read from")
    bias: Literal["pull_up", "pull_down", "none"] = Field(description="the resistor that the Pi puts to the line")
    debounce_ms: int = Field(5, ge=0, le=1000, description="shorter changes are bounces of the contact")


class InterlockLine(InputLine):
    """The interlock: a loop through lid, key switch and door. Broken wire must mean open."""

    closed: Literal["high", "low"] = Field(description="the line's level while all is closed")


class ButtonLine(InputLine):
    """A push button."""

    pressed: Literal["high", "low"] = Field(description="the line's level while it is pressed")
    does: Literal["stop", "zero", "identify"] = Field(description="what pressing it asks for")
    hold_s: float = Field(0.0, ge=0, le=30, description="how long it must be pressed; stop acts at once")


class LedLine(Settings):
    """A single LED (`line`), or one of two or three colours."""

    line: Line | None = Field(None, description="the line of a LED of one colour")
    red: Line | None = Field(None, description="the line of the red part")
    green: Line | None = Field(None, description="the line of the green part")
    blue: Line | None = Field(None, description="the line of the blue part")
    active_high: bool = Field(True, description="true: lit on a high level")
    safe: OnOff = Field(description="its state whenever the gateway does not hold it")
    shows: Literal["commands", "status", "alert"] = Field(
        "commands", description="what it shows when nobody commands it: nothing, how the box fares, the worst alert"
    )

    @property
    def lines(self) -> dict[str, int]:
        """The lines it has, by colour; "line" for a LED of one colour."""
        parts = {"line": self.line, "red": self.red, "green": self.green, "blue": self.blue}
        return {name: line for name, line in parts.items() if line is not None}


class Sensor(Settings):
    """A sensor of the gas that a driver of the kernel reads."""

    kind: Literal["iio", "hwmon", "w1"] = Field(description="the kernel's class that it appears in")
    name: str = Field(min_length=1, description='its name there: "bme280", "sht4x"; for w1 the family, "28"')


class TecLine(Settings):
    """What cools and heats the laser: a PWM for the strength, a line for the direction, an ADC for the thermistor."""

    line: Line = Field(description="the line that carries the PWM")
    pwm_chip: PwmChip = Field(description=PWM_CHIP)
    pwm_channel: int = Field(ge=0, description="channel on it")
    clock_hz: int = Field(gt=0, description="clock of the PWM")
    direction: Line = Field(description="the line that turns the current round")
    heats: Literal["high", "low"] = Field(description="the direction line's level that heats")
    adc: str = Field(min_length=1, description='name of the ADC in the kernel\'s iio class: "ads1015"')
    adc_channel: int = Field(ge=0, le=7, description="its input that the thermistor's divider hangs on")
    supply_v: float = Field(gt=0, le=10, description="voltage of the divider")
    series_ohm: float = Field(gt=0, description="the divider's resistor, between the supply and the thermistor")
    r25_ohm: float = Field(gt=0, description="the thermistor at 25 degrees Celsius")
    beta_k: float = Field(gt=1000, lt=10_000, description="the thermistor's B")
    duty_max: float = Field(0.5, gt=0, lt=1, description="the largest part of the bridge's supply that the TEC bears")
    safe: Literal["off"] = Field(description="its safe state: off")


class Pin(Settings):
    """A line that the HAT uses. `free`: it only leads to a part of the HAT that this board file may drive."""

    line: Line = Field(description="the line")
    use: str = Field(min_length=1, description="what the HAT does with it")
    free: bool = Field(False, description="true: an output of this file may drive it")


class Board(Settings):
    """A board: a Raspberry Pi with what is plugged onto it."""

    name: Name = Field(description="the file's name")
    title: str = Field(min_length=1, max_length=80, description="what people call it")
    simulated: bool = Field(False, description="true: there is no hardware behind it")
    models: tuple[Text, ...] = Field((), description="how the device tree's model may begin")
    gpiochip: str | None = Field(None, description="label of the GPIO chip; its number differs between kernels")
    hat: str | None = Field(None, description="what is plugged on")
    hat_products: tuple[Text, ...] = Field((), description="how the product in the HAT's EEPROM may begin")
    i2c: Literal[1] | None = Field(None, description="the I2C bus that sensors hang on: 1, on lines 2 and 3")
    overlays: tuple[str, ...] = Field((), description="dtoverlay= lines of config.txt, but those of the PWM")
    parameters: tuple[str, ...] = Field((), description="further dtparam= lines of config.txt")
    pins: tuple[Pin, ...] = Field((), description="what the HAT occupies")
    microphone: MicrophoneLine = Field(description="the codec that listens")
    laser: LaserLine | None = Field(None, description="what modulates the laser; none on a simulated board")
    relays: dict[Name, RelayLine] = Field(default_factory=dict, description="relays by name")
    leds: dict[Name, LedLine] = Field(default_factory=dict, description="LEDs by name")
    interlock: InterlockLine | None = Field(None, description="the interlock; without one the lid is nobody's business")
    buttons: dict[Name, ButtonLine] = Field(default_factory=dict, description="push buttons by name")
    climate: tuple[Sensor, ...] = Field((), description="sensors of the gas, the best first")
    tec: TecLine | None = Field(None, description="what keeps the laser's temperature")

    def claims(self) -> Iterator[tuple[int, str, Loc]]:
        """Every line that a part claims: its number, the claimant in words, and where the file says so."""
        for line, _, claimant, loc in self.outputs():
            yield line, claimant, loc
        for name, relay in self.relays.items():
            if relay.feedback is not None:
                yield relay.feedback, f"relay '{name}' (feedback)", ("relays", name, "feedback")
        if self.interlock:
            yield self.interlock.line, "the interlock", ("interlock", "line")
        for name, button in self.buttons.items():
            yield button.line, f"button '{name}'", ("buttons", name, "line")
        for index, overlay in enumerate(self.overlays):
            if (bus := wiring.one_wire(overlay)) is not None:
                yield bus, "the 1-Wire bus", ("overlays", index)

    def outputs(self) -> Iterator[tuple[int, bool, str, Loc]]:
        """Every line that is driven: its number, its level in the safe state (True: high), claimant and place."""
        laser = self.laser
        if laser and laser.line is not None:
            yield laser.line, not laser.active_high, "the laser", ("laser", "line")
        if laser and laser.enable is not None:
            yield laser.enable, not laser.enable_high, "the laser's enable", ("laser", "enable")
        if self.tec:
            yield self.tec.line, False, "the TEC", ("tec", "line")
            yield self.tec.direction, False, "the TEC's direction", ("tec", "direction")
        for name, relay in self.relays.items():
            level = (relay.safe == "on") == relay.active_high
            yield relay.line, level, f"relay '{name}'", ("relays", name, "line")
        for name, led in self.leds.items():
            for part, line in led.lines.items():
                colour = "" if part == "line" else f" ({part})"
                level = (led.safe == "on") == led.active_high
                yield line, level, f"LED '{name}'{colour}", ("leds", name, part)


def directory() -> Path:
    """Where the board files are: boards/ beside the package, or inside it if installed from a wheel."""
    package = Path(__file__).resolve().parent
    installed = package / "boards"
    return installed if installed.is_dir() else package.parent / "boards"


OWN = Path("/etc/spectrophone/boards")
"""Where an owner's own board files are; one that is called like one of ours takes its place."""


def names(root: Path | None = None) -> tuple[str, ...]:
    """The boards there are, by name."""
    return tuple(sorted(_files(root)))


def _files(root: Path | None) -> dict[str, Path]:
    """The board files by name: those in `root`, or ours and the owner's."""
    places = [directory(), OWN] if root is None else [root]
    return {path.stem: path for place in places for path in place.glob("*.toml")}


def load(name: str, root: Path | None = None) -> Board:
    """The board of that name. Raises ConfigError with all faults of its file, or for an unknown name."""
    files = _files(root)
    if name not in files:
        raise ConfigError((Fault(("board",), f"there is no board '{name}'", nearest(name, sorted(files))),))
    document = toml.read(files[name])
    document = replace(document, data={**document.data, "name": name})
    board, faults = validate(document, Board)
    if board is not None:
        faults = by_place(wiring.faults(board, document))
    if board is None or faults:
        raise ConfigError(tuple(wiring.explained(fault) for fault in faults))
    return board
