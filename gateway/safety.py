"""What "safe" is, as plain data that outlives the gateway: PWMs that stop, and lines with a level.

The kernel's PWM goes on when its process has died, and Raspberry Pi kernels keep a line as its owner left it; so
somebody else makes them safe: the guardian, which sees the gateway die, and `spectrophone safe`, which systemd runs
afterwards. Both need no configuration, no board file and no numpy for it, only a Plan: nothing heavy is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.gpio import Line
from drivers.pwm import ROOT, find_chip, switch_off
from gateway.errors import DeviceError, SpectrophoneError

if TYPE_CHECKING:
    from gateway.board import Board

SUFFIX = ".safe"


@dataclass(frozen=True, slots=True)
class SafePwm:
    """A channel of the kernel's PWM that is to stop: `path`, its directory in sysfs."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class SafeLine:
    """A line, by its chip's label, that is to have a level: `high`."""

    name: str
    chip: str
    line: int
    high: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a box, the laser first."""

    pwms: tuple[SafePwm, ...] = ()
    lines: tuple[SafeLine, ...] = ()

    def text(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


def read(text: str) -> Plan:
    """The plan that was written so. Raises ValueError for anything else."""
    try:
        data = json.loads(text)
        return Plan(
            tuple(SafePwm(**fields) for fields in data["pwms"]), tuple(SafeLine(**fields) for fields in data["lines"])
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a plan: {error}") from None


def safe_plan(board: Board) -> Plan:
    """What of a board goes on when the gateway has died, and how it is safe."""
    chip, laser, tec = board.gpiochip or "", board.laser, board.tec
    pwms, lines = [], []
    if laser and laser.pwm_chip is not None:
        pwms += _safe_pwm("laser", laser.pwm_chip, laser.pwm_channel)
    if laser and laser.by == "gpiozero" and laser.line is not None:
        lines.append(SafeLine("laser", chip, laser.line, not laser.active_high))
    if laser and laser.enable is not None:
        lines.append(SafeLine("laser enable", chip, laser.enable, not laser.enable_high))
    if tec:
        pwms += _safe_pwm("tec", tec.pwm_chip, tec.pwm_channel)
    for name, relay in sorted(board.relays.items(), key=lambda item: item[1].safe):  # "off" first: some exclude others
        lines.append(SafeLine(f"relay/{name}", chip, relay.line, (relay.safe == "on") == relay.active_high))
    for name, led in board.leds.items():
        high = (led.safe == "on") == led.active_high
        lines += [SafeLine(f"led/{name}", chip, line, high) for line in led.lines.values()]
    return Plan(tuple(pwms), tuple(lines))


def _safe_pwm(name: str, chip: int | str, channel: int | None) -> list[SafePwm]:
    """The channel where it is now; none where this kernel has no such PWM, which then drives nothing."""
    try:
        number = chip if isinstance(chip, int) else find_chip(chip)
    except DeviceError:
        return []
    return [SafePwm(name, f"{ROOT}/pwmchip{number}/pwm{channel}")]


def written(directory: Path) -> list[Plan]:
    """The plans that gateways have left in a directory; what cannot be read is none."""
    plans = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            plans.append(read(path.read_text("utf-8")))
        except (OSError, ValueError):
            continue
    return plans


def stop_pwms(pwms: Iterable[SafePwm]) -> list[str]:
    """Stop them all, whoever drives them; what went wrong, one sentence each."""
    troubles = []
    for pwm in pwms:
        try:
            switch_off(Path(pwm.path))
        except SpectrophoneError as error:
            troubles.append(f"{pwm.name}: {error}")
    return troubles


def set_lines(lines: Iterable[SafeLine]) -> list[str]:
    """Drive them all to their levels and let them go; what went wrong, one sentence each. A line that its dead owner's
    kernel has kept stays at that level; elsewhere it becomes an input, and the board's resistor holds it.
    """
    troubles = []
    for line in lines:
        try:
            Line(line.chip, line.line, True, line.high).close()
        except SpectrophoneError as error:
            troubles.append(f"{line.name}: {error}")
    return troubles
