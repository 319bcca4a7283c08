"""`spectrophone board`: the board descriptions, which of them this machine is, and what they want of the firmware."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.board import Board, InputLine, LaserLine
    from gateway.detect import Detected

_EXAMPLE = """\
example:
  spectrophone board list
  spectrophone board show rpi4-codec-zero
  spectrophone board detect
  spectrophone board config-txt rpi4-codec-zero | sudo tee -a /boot/firmware/config.txt
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "board",
        help="list, show and detect the board descriptions",
        description="The boards: which line switches what, which codec listens, what config.txt needs.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    plain = argparse.RawDescriptionHelpFormatter
    listing = actions.add_parser("list", help="the boards there are", epilog=_EXAMPLE, formatter_class=plain)
    showing = actions.add_parser("show", help="one board", epilog=_EXAMPLE, formatter_class=plain)
    finding = actions.add_parser("detect", help="which board this is", epilog=_EXAMPLE, formatter_class=plain)
    booting = actions.add_parser("config-txt", help="its lines of config.txt", epilog=_EXAMPLE, formatter_class=plain)
    for each in (showing, booting):
        each.add_argument("board", metavar="B", help="a name from `board list`")
    for each in (listing, showing, finding):
        each.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print; 0, and 1 where `detect` finds none. Raises ConfigError (exit status 2) for an unknown board or a faulty
    file, UsageError where config.txt is asked of a simulated board.
    """
    from gateway import board as boards
    from gateway import config_txt

    if args.action == "detect":
        return _detect(args.json)
    if args.action == "config-txt":
        print(config_txt.text(boards.load(args.board)), end="")
        return 0
    if args.action == "show":
        board = boards.load(args.board)
        print(json.dumps(as_object(board)) if args.json else described(board))
        return 0
    for name in boards.names():
        title = boards.load(name).title
        print(json.dumps({"kind": "board", "name": name, "title": title}) if args.json else f"{name:<28} {title}")
    return 0


def _detect(as_json: bool) -> int:
    from gateway.detect import detect

    detected = detect()
    if as_json:
        print(json.dumps({"kind": "detected", **dataclasses.asdict(detected)}))
    else:
        print(_told(detected))
        if detected.remedy:
            print(f"spectrophone: {detected.remedy}.", file=sys.stderr)
    return 0 if detected.board else 1


def _told(detected: Detected) -> str:
    """What was found and what follows, one fact a line."""
    found = detected.found
    facts = [("model", found.model or "none"), ("HAT", " by ".join(filter(None, (found.product, found.vendor))))]
    facts += [
        ("sound card", f"{card.id}: {card.name}" + (f", USB {card.usb}" * bool(card.usb))) for card in found.cards
    ]
    facts += [("board", detected.board or "none"), ("because", detected.reason)]
    return _listed(facts)


def as_object(board: Board) -> dict[str, object]:
    """A board as a JSON object."""
    return {"kind": "board", **board.model_dump(mode="json")}


def described(board: Board) -> str:
    """A board in words, one fact a line."""
    return _listed([*_machine(board), *_driven(board), *_read(board), *_pins(board)])


def _listed(facts: list[tuple[str, str]]) -> str:
    return "\n".join(f"{name:<16} {fact}" for name, fact in facts if fact)


def _machine(board: Board) -> Iterator[tuple[str, str]]:
    microphone = board.microphone
    yield "board", f"{board.name}: {board.title}"
    yield "models", ", ".join(board.models)
    yield "hat", board.hat or ""
    yield "gpio chip", board.gpiochip or ""
    yield "i2c", "bus 1, lines 2 and 3" if board.i2c else ""
    yield "overlays", "  ".join(board.overlays)
    yield "parameters", "  ".join(board.parameters)
    yield "microphone", f"{microphone.device}, {microphone.format}, {microphone.channels} x {microphone.rate_hz} Hz"
    yield "codec", f"{', '.join(microphone.formats)}, up to {microphone.rate_max_hz} Hz"


def _driven(board: Board) -> Iterator[tuple[str, str]]:
    if board.laser:
        yield "laser", _laser(board.laser)
    if board.tec:
        tec = board.tec
        yield (
            "TEC",
            f"line {tec.line}, direction {tec.direction} (heats when {tec.heats}), ADC {tec.adc}, safe {tec.safe}",
        )
    for name, relay in board.relays.items():
        facts = [f"line {relay.line}, on when {_level(relay.active_high)}, safe {relay.safe}"]
        facts += [f"at least {relay.min_interval_s:g} s between two switchings"] * (relay.min_interval_s > 0)
        facts += [f"never with {', '.join(relay.excludes)}"] * bool(relay.excludes)
        facts += [f"read back on line {relay.feedback}"] * (relay.feedback is not None)
        yield f"relay {name}", ", ".join(facts)
    for name, led in board.leds.items():
        lines = ", ".join(f"{part} {line}" for part, line in led.lines.items())
        yield f"led {name}", f"{lines}, lit when {_level(led.active_high)}, safe {led.safe}, shows {led.shows}"


def _laser(laser: LaserLine) -> str:
    if laser.playback:
        way = f"{laser.playback}, channel {laser.channel}, amplitude {laser.amplitude:g}"
    elif laser.by == "gpiozero":
        way = f"line {laser.line}, PWM by software (gpiozero)"
    else:
        chip = laser.pwm_chip if isinstance(laser.pwm_chip, str) else f"pwmchip{laser.pwm_chip}"
        way = f"line {laser.line}, {chip} channel {laser.pwm_channel}, clock {laser.clock_hz} Hz"
    if laser.line is not None:
        way += f", lit when {_level(laser.active_high)}"
    if laser.enable is not None:
        way += f", enabled by line {laser.enable} when {_level(laser.enable_high)}"
    return f"{way}, duty up to {laser.duty_max:g}, safe {laser.safe}"


def _read(board: Board) -> Iterator[tuple[str, str]]:
    if board.interlock:
        yield "interlock", f"{_input(board.interlock)}, closed when {board.interlock.closed}"
    for name, button in board.buttons.items():
        held = f" for {button.hold_s:g} s" * bool(button.hold_s)
        yield f"button {name}", f"{_input(button)}, pressed when {button.pressed}{held}, asks for {button.does}"
    for sensor in board.climate:
        yield "climate", f"{sensor.name} ({sensor.kind})"


def _input(line: InputLine) -> str:
    return f"line {line.line}, {line.bias.replace('_', ' ')}, {line.debounce_ms} ms"


def _pins(board: Board) -> Iterator[tuple[str, str]]:
    for pin in board.pins:
        yield f"pin {pin.line}", pin.use + (" (may be driven)" if pin.free else "")


def _level(high: bool) -> str:
    return "high" if high else "low"
