"""What a board file may not say: lines given out twice, pulled the wrong way, or without what they need.

From power-on until the firmware has read config.txt, some seconds later, only the resistors in the Pi hold a line
(gateway/raspberry.py, PULLED_UP). So what must not be on then has to be off on the level that its line is pulled to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.config.document import Document, Loc, nearest
from gateway.errors import Fault
from gateway.raspberry import CHIPS, CLOCK_HZ, EEPROM, I2C, LAST_LINE, PULLED_UP, Chip

if TYPE_CHECKING:
    from gateway.board import Board, InputLine, LaserLine, TecLine

WRITTEN = ("audio=off", "strict_gpiod", "watchdog=on")
"""The dtparam= lines that every board gets: no second sound card on the PWM, lines back to inputs when their owner
has died, and the hardware's watchdog."""
_OVERLAY = re.compile(r"[a-z0-9][a-z0-9_-]*(,[A-Za-z0-9_]+(=[A-Za-z0-9_.:-]+)?)*")
_PARAMETER = re.compile(r"[a-z][a-z0-9_]*(=[a-z0-9_.,-]+)?")
_USB = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}|any")
_STRIPS = re.compile(r"ws28|neopixel|pixel|strip|sk68|apa10|dotstar|addressable", re.IGNORECASE)


def faults(board: Board, document: Document) -> Iterator[Fault]:
    """All faults of a board whose options are right by themselves."""
    checks: tuple[Callable[[Board, Document], Iterator[Fault]], ...]
    checks = (_name, _doubles, _leds, _laser, _relays, _inputs, _microphone, _boot)
    if not board.simulated:
        checks = (*checks, _chip, _reset, _pwm, _sensors)
    for check in checks:
        yield from check(board, document)


def explained(fault: Fault) -> Fault:
    """The fault in the words of TOML, and with more to say where somebody looks for an LED strip."""
    message, remedy = fault.message, re.sub(r"Add `(\w+): \.\.\.`", r"Add `\1 = ...`", fault.remedy)
    key = str(fault.loc[-1]) if fault.loc else ""
    if fault.loc[:1] == ("leds",) and _STRIPS.search(key) and message.startswith("unknown"):
        message = f"'{key}': LEDs that are addressed one by one (WS2812, APA102) are out of scope"
        remedy = "Take an LED of one to three colours: `line`, or `red`, `green` and `blue`"
    if message.startswith("a mapping has characters"):
        message = f"the name '{key}'{message.removeprefix('a mapping')}"
    remedy = remedy.replace(", or - a on lines of its own", "")
    remedy = remedy.replace("{name: value}, or options on lines of their own, indented", "a table: [relays.fan]")
    return replace(fault, message=message, remedy=remedy)


def one_wire(overlay: str) -> int | None:
    """The line of the 1-Wire bus that an overlay makes; None for another overlay."""
    name, _, options = overlay.partition(",")
    if name not in ("w1-gpio", "w1-gpio-pullup"):
        return None
    found = re.search(r"(?:^|,)gpiopin=(\d+)", options)
    return int(found[1]) if found else 4


def _name(board: Board, document: Document) -> Iterator[Fault]:
    written = document.written.get(("name",), board.name).strip("\"'")
    if written != board.name:
        message = f"'{written}' is not the name of the file, which is the board's"
        yield document.fault(("name",), message, "Take the line out")


def _doubles(board: Board, document: Document) -> Iterator[Fault]:
    occupied = _occupied(board)
    claimed: dict[int, str] = {}
    for line, claimant, loc in board.claims():
        if line in occupied:
            message = f"line {line} is claimed by {claimant}, but {occupied[line]} occupies it"
            yield document.fault(loc, message, _free(board, loc))
        elif line in claimed:
            message = f"line {line} is claimed by both {claimed[line]} and {claimant}"
            yield document.fault(loc, message, _free(board, loc))
        claimed.setdefault(line, claimant)
    seen: dict[int, str] = {}
    for index, pin in enumerate(board.pins):
        if pin.line in seen:
            message = f"line {pin.line} stands in `pins` twice, as '{seen[pin.line]}' and as '{pin.use}'"
            yield document.fault(("pins", index, "line"), message, "Keep one of the two")
        seen.setdefault(pin.line, pin.use)


def _occupied(board: Board) -> dict[int, str]:
    """The lines that no part of the file may have, and who has them."""
    if board.simulated:
        return {}
    found = {pin.line: f"{board.hat or 'the HAT'} ({pin.use})" for pin in board.pins if not pin.free}
    if board.i2c is not None:
        found = {**{line: f"the I2C bus ({use})" for line, use in I2C.items()}, **found}
    return {**{line: f"the Pi ({use})" for line, use in EEPROM.items()}, **found}


def _free(board: Board, loc: Loc) -> str:
    """The lines that are still free for what stands at `loc`: with PWM, or pulled to the safe level, where it must."""
    taken = {line for line, _, _ in board.claims()} | set(_occupied(board)) | {pin.line for pin in board.pins}
    free = [line for line in range(LAST_LINE + 1) if line not in {*taken, *I2C, *EEPROM}]
    if loc in (("laser", "line"), ("tec", "line")) and board.gpiochip in CHIPS:
        free = [line for line in free if line in CHIPS[board.gpiochip].pwm]
    elif loc[0] != "leds":
        levels = [high for _, high, _, place in board.outputs() if place == loc]
        free = [line for line in free if not levels or levels[0] == (line in PULLED_UP)]
    return f"Free for it: {', '.join(map(str, free))}" if free else "No line is free for it: give up another part"


def _leds(board: Board, document: Document) -> Iterator[Fault]:
    for name, led in board.leds.items():
        if not led.lines or ("line" in led.lines and len(led.lines) > 1):
            remedy = "Give either `line`, or some of `red`, `green` and `blue`"
            yield document.fault(("leds", name), f"LED '{name}' has no clear lines", remedy)


def _laser(board: Board, document: Document) -> Iterator[Fault]:
    if board.laser and not _one_way(board.laser):
        remedy = "Give either `playback`, or all of `line`, `pwm_chip`, `pwm_channel` and `clock_hz`"
        yield document.fault(("laser",), "it is not clear what modulates the laser", remedy)


def _one_way(laser: LaserLine) -> bool:
    """Whether the laser is modulated in one way, and that is all there."""
    if laser.playback is not None:
        return laser.pwm == (None,) * len(laser.pwm)
    if laser.by == "gpiozero":
        return laser.line is not None
    return None not in laser.pwm


def _relays(board: Board, document: Document) -> Iterator[Fault]:
    for name, relay in board.relays.items():
        loc: Loc = ("relays", name, "excludes")
        for other in relay.excludes:
            if other == name:
                yield document.fault(loc, f"relay '{name}' excludes itself", f"Take '{name}' out")
            elif other not in board.relays:
                message = f"relay '{name}' excludes '{other}', which is no relay of this board"
                yield document.fault(loc, message, nearest(other, set(board.relays) - {name}))
            elif relay.safe == board.relays[other].safe == "on":
                message = f"relay '{name}' excludes '{other}', but both are on in their safe state"
                yield document.fault(loc, message, f"Write `safe = \"off\"` for '{name}' or for '{other}'")


def _inputs(board: Board, document: Document) -> Iterator[Fault]:
    """A broken wire must stop the laser: it reads as the level that the line is pulled to."""
    if board.interlock and _pulled(board.interlock) == board.interlock.closed:
        message = f'closed = "{board.interlock.closed}" is what a broken wire reads with {board.interlock.bias}'
        remedy = 'Wire the loop to ground and write `bias = "pull_up"`, `closed = "low"`'
        yield document.fault(("interlock", "closed"), message, remedy)
    for name, button in board.buttons.items():
        if button.does != "stop":
            continue
        if _pulled(button) not in (None, button.pressed):
            message = f"button '{name}' stops, but with {button.bias} a broken wire reads as not pressed"
            remedy = 'Take a contact that opens, to ground, and write `bias = "pull_up"`, `pressed = "high"`'
            yield document.fault(("buttons", name, "pressed"), message, remedy)
        if button.hold_s:
            message = f"button '{name}' stops, and acts only after {button.hold_s:g} s"
            yield document.fault(("buttons", name, "hold_s"), message, "Take `hold_s` out: stop acts at once")


def _pulled(line: InputLine) -> str | None:
    """What the line reads while nothing drives it: "high", "low", or None where that is not known."""
    return {"pull_up": "high", "pull_down": "low"}.get(line.bias)


def _microphone(board: Board, document: Document) -> Iterator[Fault]:
    microphone = board.microphone
    if microphone.format not in microphone.formats:
        message = f"{microphone.format} is not among the codec's formats"
        remedy = f"Take one of {', '.join(microphone.formats)}"
        yield document.fault(("microphone", "format"), message, remedy)
    if microphone.rate_hz > microphone.rate_max_hz:
        message = f"{microphone.rate_hz} Hz is more than the codec does"
        remedy = f"Give at most {microphone.rate_max_hz} Hz"
        yield document.fault(("microphone", "rate_hz"), message, remedy)
    if (microphone.device == "sim") != board.simulated:
        message = "this board is simulated, and its microphone is not" if board.simulated else '"sim" is no ALSA device'
        remedy = 'Write `device = "sim"`' if board.simulated else 'Write an ALSA device: "hw:CARD=NAME,DEV=0"'
        yield document.fault(("microphone", "device"), message, remedy)
    for index, usb in enumerate(microphone.usb):
        if not _USB.fullmatch(usb):
            remedy = 'Write "2752:0007" as lsusb prints it, or "any"'
            yield document.fault(("microphone", "usb", index), f"{usb!r} is no USB id", remedy)
    named = re.search(r"CARD=([^,]+)", microphone.device)
    if named and microphone.card and named[1] != microphone.card:
        message = f"device is on card '{named[1]}', and card is '{microphone.card}'"
        yield document.fault(("microphone", "device"), message, f"Write `CARD={microphone.card}`, or the other card")


def _boot(board: Board, document: Document) -> Iterator[Fault]:
    for index, overlay in enumerate(board.overlays):
        loc: Loc = ("overlays", index)
        name = overlay.partition(",")[0]
        if not _OVERLAY.fullmatch(overlay):
            yield document.fault(loc, f"{overlay!r} is no overlay", 'Write "NAME" or "NAME,option=value,option"')
        elif name in ("pwm", "pwm-2chan"):
            yield document.fault(loc, f"{overlay!r} follows from the lines of laser and TEC", "Take it out")
        elif (one_wire(overlay) or 0) > LAST_LINE:
            yield document.fault(loc, f"{overlay!r}: the header has no line {one_wire(overlay)}", "Take line 4")
        elif name == "i2c-sensor" and board.i2c is None:
            yield document.fault(loc, f"{overlay!r} hangs on the I2C bus, and this board has none", "Add `i2c = 1`")
    for index, parameter in enumerate(board.parameters):
        name = parameter.partition("=")[0]
        if not _PARAMETER.fullmatch(parameter):
            message = f"{parameter!r} is no parameter"
            yield document.fault(("parameters", index), message, 'Write "NAME" or "NAME=value"')
        elif name in {"i2c", "i2c_arm", *(each.partition("=")[0] for each in WRITTEN)}:
            message = f"{parameter!r} is not for a board file: `board config-txt` sees to `{name}` by itself"
            yield document.fault(("parameters", index), message, "Take it out")


def _chip(board: Board, document: Document) -> Iterator[Fault]:
    """Lines need a Raspberry Pi; a board without any may be another computer."""
    lines = any(True for _ in board.claims())
    if not board.models and lines:
        message = "lines are claimed, and no model of a Raspberry Pi is named"
        yield document.fault(("models",), message, 'Add `models = ["Raspberry Pi 4 Model B"]`')
    if board.gpiochip is None and lines:
        message = "lines are claimed, and the label of their GPIO chip is missing"
        yield document.fault(("gpiochip",), message, f"Add `gpiochip = ...`. Known: {', '.join(CHIPS)}")
    elif board.gpiochip is None:
        return
    elif board.gpiochip not in CHIPS:
        yield document.fault(("gpiochip",), f"'{board.gpiochip}' is no GPIO chip", nearest(board.gpiochip, CHIPS))
    else:
        for index, model in enumerate(board.models):
            right = [chip.label for chip in CHIPS.values() if model.startswith(chip.models)]
            if right and right != [board.gpiochip]:
                message = f"{model} has the GPIO chip {right[0]}, not {board.gpiochip}"
                yield document.fault(("models", index), message, f'Write `gpiochip = "{right[0]}"`, or another model')


def _reset(board: Board, document: Document) -> Iterator[Fault]:
    """Outputs that would leave their safe state between power-on and the firmware; LEDs may."""
    enabled = board.laser is not None and board.laser.enable is not None
    for line, high, claimant, loc in board.outputs():
        held = loc == ("laser", "line") and enabled
        if loc[0] == "leds" or loc == ("tec", "direction") or held or high == (line in PULLED_UP):
            continue
        now = "up" if line in PULLED_UP else "down"
        state = "off" if loc[0] == "relays" and board.relays[str(loc[1])].safe == "on" else "on"
        message = f"line {line} is pulled {now} from power-on until the firmware runs, when {claimant} would be {state}"
        remedy = _free(board, loc)
        if loc == ("laser", "line"):
            remedy = "Take a driver that is on with a high level, or one with `enable`"
        yield document.fault(loc, message, remedy)


def _pwm(board: Board, document: Document) -> Iterator[Fault]:
    chip = CHIPS.get(board.gpiochip or "")
    laser = board.laser if board.laser and _one_way(board.laser) else None
    parts: Mapping[str, LaserLine | TecLine | None] = {"laser": laser, "tec": board.tec}
    if chip is None:
        return
    channels: dict[int, str] = {}
    for name, part in parts.items():
        if part is None or part.line is None or getattr(part, "by", "kernel") != "kernel":
            continue
        if part.line not in chip.pwm:
            message = f"line {part.line} has no hardware PWM"
            yield document.fault((name, "line"), message, _free(board, (name, "line")))
            continue
        channel = chip.pwm[part.line].channel
        if channel in channels:
            message = f"line {part.line} is on the same channel {channel} of the PWM as the {channels[channel]}"
            others = [line for line, at in chip.pwm.items() if at.channel not in channels]
            yield document.fault((name, "line"), message, f"Take one of {', '.join(map(str, others))}")
        channels.setdefault(channel, name)
        yield from _channel(document, chip, name, part, channel)
    if laser and board.tec and laser.clock_hz not in (None, board.tec.clock_hz):
        message = (
            f"laser and TEC share one PWM block, and their clocks are {laser.clock_hz} and {board.tec.clock_hz} Hz"
        )
        yield document.fault(("tec", "clock_hz"), message, f"Write `clock_hz = {laser.clock_hz}`")


def _channel(document: Document, chip: Chip, name: str, part: LaserLine | TecLine, channel: int) -> Iterator[Fault]:
    if part.pwm_channel != channel:
        message = f"line {part.line} is on channel {channel} of the PWM, not {part.pwm_channel}"
        yield document.fault((name, "pwm_channel"), message, f"Write `pwm_channel = {channel}`")
    if isinstance(part.pwm_chip, str) and part.pwm_chip != chip.pwm_device:
        message = f"the PWM behind {chip.label} is {chip.pwm_device}, not {part.pwm_chip}"
        yield document.fault((name, "pwm_chip"), message, f'Write `pwm_chip = "{chip.pwm_device}"`')
    if part.clock_hz != CLOCK_HZ and (chip.pll_hz is None or chip.pll_hz % (part.clock_hz or 1)):
        exact = f"{CLOCK_HZ} Hz" if chip.pll_hz is None else f"a whole part of {chip.pll_hz} Hz"
        message = f"the PWM behind {chip.label} cannot count {part.clock_hz} Hz exactly, only {exact}"
        yield document.fault((name, "clock_hz"), message, f"Write `clock_hz = {CLOCK_HZ}`")


def _sensors(board: Board, document: Document) -> Iterator[Fault]:
    if any(sensor.kind == "w1" for sensor in board.climate) and not any(map(_is_one_wire, board.overlays)):
        message = "a sensor on the 1-Wire bus, and no overlay that makes the bus"
        yield document.fault(("climate",), message, 'Add "w1-gpio,gpiopin=4" to `overlays`')


def _is_one_wire(overlay: str) -> bool:
    return one_wire(overlay) is not None
