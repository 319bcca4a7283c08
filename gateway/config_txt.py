"""The lines of config.txt that a board needs: what the firmware reads from the boot partition before Linux runs.

Everything follows from the board file. Parameters come before overlays, because a dtparam= behind a dtoverlay= is that
overlay's; the empty dtoverlay= ends such a reach (raspberrypi/documentation, "Device Trees, overlays, and parameters").
The gpio= lines hold every output in its safe state from the firmware's start until the gateway opens the line.
The firmware reads the first 98 characters of a line (config_txt.adoc there).
"""

from __future__ import annotations

from gateway.board import Board, LaserLine, TecLine
from gateway.errors import UsageError
from gateway.raspberry import CHIPS
from gateway.wiring import WRITTEN

BEGIN = "# spectrophone begin"
END = "# spectrophone end"


def text(board: Board) -> str:
    """The lines between their two markers, with a line feed behind each. Raises UsageError for a simulated board."""
    if board.simulated:
        raise UsageError(f"Board '{board.name}' is simulated: no firmware reads anything for it", "Name another board")
    lines = [
        f"{BEGIN}: made by `spectrophone board config-txt {board.name}`",
        "[all]",
        "dtoverlay=",
        *(f"dtparam={parameter}" for parameter in _parameters(board)),
        *(f"dtoverlay={overlay}" for overlay in (*board.overlays, *_pwm(board))),
        "dtoverlay=",
        *(f"gpio={held}" for held in _held(board)),
        END,
    ]
    return "\n".join(lines) + "\n"


def _parameters(board: Board) -> list[str]:
    bus = [] if board.i2c is None else ["i2c_arm=on"]
    return [*WRITTEN, *bus, *board.parameters]


def _pwm(board: Board) -> list[str]:
    """The overlay that brings the hardware PWM onto the lines of laser and TEC."""
    parts: tuple[LaserLine | TecLine | None, ...] = (board.laser, board.tec)
    chip = CHIPS[board.gpiochip or ""]
    driven = [
        part
        for part in parts
        if part is not None and part.line is not None and getattr(part, "by", "kernel") == "kernel"
    ]
    if not driven:
        return []
    pins = []
    for suffix, part in zip(("", "2"), driven, strict=False):
        pins += [f"pin{suffix}={part.line}", f"func{suffix}={chip.pwm[part.line or 0].function}"]
    return [",".join(("pwm" if len(driven) == 1 else "pwm-2chan", *pins, f"clock={driven[0].clock_hz}"))]


def _held(board: Board) -> list[str]:
    """Pin sets of gpio=, those that are held low and those that are held high."""
    levels = {line: high for line, high, _, _ in board.outputs()}
    sets = []
    for high, word in ((False, "dl"), (True, "dh")):
        lines = sorted(line for line, level in levels.items() if level is high)
        if lines:
            sets.append(f"{','.join(map(str, lines))}=op,{word}")
    return sets
