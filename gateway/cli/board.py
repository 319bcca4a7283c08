"""`spectrophone board list` and `board show B`: the board descriptions."""

from __future__ import annotations

import argparse
import json

from gateway import board as boards
from gateway.board import Board

_EXAMPLE = """\
example:
  spectrophone board list
  spectrophone board show rpi4-codec-zero
  spectrophone board show --json sim
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "board",
        help="list and show the board descriptions",
        description="List and show the boards: which line switches what, which codec listens.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    plain = argparse.RawDescriptionHelpFormatter
    listing = actions.add_parser("list", help="the boards there are", epilog=_EXAMPLE, formatter_class=plain)
    showing = actions.add_parser("show", help="one board", epilog=_EXAMPLE, formatter_class=plain)
    showing.add_argument("board", metavar="B", help="a name from `board list`")
    for each in (listing, showing):
        each.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print; 0. Raises ConfigError (exit status 2) for an unknown board or a faulty file."""
    if args.action == "show":
        board = boards.load(args.board)
        print(json.dumps(as_object(board)) if args.json else described(board))
        return 0
    for name in boards.names():
        title = boards.load(name).title
        print(json.dumps({"kind": "board", "name": name, "title": title}) if args.json else f"{name:<20} {title}")
    return 0


def as_object(board: Board) -> dict[str, object]:
    """A board as a JSON object."""
    return {"kind": "board", **board.model_dump(mode="json")}


def described(board: Board) -> str:
    """A board in words, one fact a line."""
    microphone = board.microphone
    sound = f"{microphone.format}, {microphone.channels} x {microphone.rate_hz} Hz"
    facts = [
        ("board", f"{board.name}: {board.title}"),
        ("models", ", ".join(board.models)),
        ("hat", board.hat or ""),
        ("gpio chip", board.gpiochip or ""),
        ("overlays", "  ".join(board.overlays)),
        ("parameters", "  ".join(board.parameters)),
        ("at boot", "  ".join(f"gpio={lines}" for lines in board.boot_gpio)),
        (
            "microphone",
            f"{microphone.device}, {sound}",
        ),
    ]
    if board.laser:
        laser = board.laser
        place = f"line {laser.line}, pwmchip{laser.pwm_chip} channel {laser.pwm_channel}, clock {laser.clock_hz} Hz"
        if laser.playback:
            place = f"{laser.playback}, channel {laser.channel}, amplitude {laser.amplitude:g}"
        facts.append(("laser", f"{place}, safe {laser.safe}"))
    for name, relay in board.relays.items():
        level = "high" if relay.active_high else "low"
        facts.append((f"relay {name}", f"line {relay.line}, on when {level}, safe {relay.safe}"))
    for name, led in board.leds.items():
        lines = ", ".join(f"{part} {line}" for part, line in led.lines.items())
        level = "high" if led.active_high else "low"
        facts.append((f"led {name}", f"{lines}, lit when {level}, safe {led.safe}"))
    facts += [(f"pin {pin.line}", pin.use + (" (may be driven)" if pin.free else "")) for pin in board.pins]
    return "\n".join(f"{name:<14} {fact}" for name, fact in facts if fact)
