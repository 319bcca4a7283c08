"""`spectrophone safe`: every output in its safe state, and nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.safety import Plan

_EXAMPLE = """\
example:
  spectrophone safe
  ExecStopPost=+spectrophone safe      (in a systemd unit)
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "safe",
        help="put every output in its safe state; systemd runs it after a crash",
        description="Stop the laser, then put every output in its safe state. It needs no gateway, and takes what is "
        "safe from what a gateway that died has left, else from the board.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="F", help="the configuration, for the board that it names")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make safe; 1 where an output could not be."""
    import os
    import sys

    from gateway import safety
    from gateway.places import directory

    plans = safety.written(directory(os.environ)) or [_of_board(args.config)]
    troubles = [trouble for plan in plans for trouble in safety.stop_pwms(plan.pwms)]
    troubles += [trouble for plan in plans for trouble in safety.set_lines(plan.lines)]
    for trouble in troubles:
        print(f"spectrophone: {trouble}", file=sys.stderr)
    names = [pwm.name for plan in plans for pwm in plan.pwms] + [line.name for plan in plans for line in plan.lines]
    print(
        f"safe: {', '.join(dict.fromkeys(names)) or 'nothing to do on a simulated board'}"
        if not troubles
        else "NOT safe"
    )
    return 1 if troubles else 0


def _of_board(config: Path | None) -> Plan:
    """What is safe on the board that a configuration names, whatever else is wrong with it, or on this machine's."""
    import os

    from gateway import board as boards
    from gateway import detect, safety
    from gateway.config import document
    from gateway.errors import ConfigError

    name = None if config is None else document.read(config, os.environ).get("board")
    try:
        board = boards.load(name if isinstance(name, str) else detect.default())
    except ConfigError:
        board = boards.load(detect.default())
    return safety.Plan() if board.simulated else safety.safe_plan(board)
