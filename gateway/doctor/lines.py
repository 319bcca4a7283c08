"""GPIO lines and PWM: there, allowed, free or held by whom. Nothing is driven; inputs are opened only if nobody has
them.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from drivers.gpio import CONSUMER, Input, find_chip
from drivers.pwm import find_chip as find_pwm
from gateway.board import Board, InputLine, LaserLine, TecLine
from gateway.doctor.finding import CannotTellError, Said, missing, needless, ok, warning
from gateway.doctor.place import Place
from gateway.errors import DeviceError

_LOCK = "hhqqi"
"""struct flock: type, whence, start, length, process."""
_GROUP = "Put the gateway's user into group gpio, which a udev rule gives /dev/gpiochip* and /sys/class/pwm"


def chip(place: Place) -> Said:
    """The GPIO chip, by its label, and whether we may use it. Raises DeviceError where it is not there."""
    path = find_chip(place.board.gpiochip, place.root / "dev")
    if not os.access(path, os.R_OK | os.W_OK):
        return missing(f"{path} may not be written", _GROUP)
    return ok(f"{place.board.gpiochip} is {path}")


def lines(place: Place) -> Said:
    """Whether the board's lines are free, or the gateway's."""
    claims = dict(claimed(place.board))
    return judged(claims, _taken(place, claims), place.holder) if claims else needless("the board file names no line")


def claimed(board: Board) -> Iterator[tuple[int, str]]:
    """The lines that the gateway opens, and for what: not those of a hardware PWM, nor of the 1-Wire bus."""
    software = board.laser is not None and board.laser.by == "gpiozero"
    for line, claimant, loc in board.claims():
        if loc[0] != "overlays" and loc != ("tec", "line") and (loc != ("laser", "line") or software):
            yield line, claimant


def judged(claims: Mapping[int, str], taken: Mapping[int, str], holder: str) -> Said:
    """What it means that the lines `taken` are used by those consumers; `holder` is the gateway that runs."""
    ours = [line for line in claims if taken.get(line) == CONSUMER]
    others = [line for line in claims if line in taken and line not in ours]
    if others:
        told = ", ".join(f"{line} ({claims[line]}) by {taken[line] or 'the kernel'}" for line in others)
        return missing(f"in use by others: {told}", "Take that out of config.txt or end it, or wire the part elsewhere")
    if ours and not holder:
        told = ", ".join(f"{line} ({claims[line]})" for line in ours)
        found = f"held by a spectrophone whose status cannot be read: {told}"
        return warning(found, "Run doctor as root or as the gateway's user; if none runs: spectrophone safe")
    if ours:
        return ok(f"{len(ours)} lines are held by {holder}, {len(claims) - len(ours)} are free")
    return ok(
        f"all {len(claims)} lines are free: {', '.join(f'{line} {what}' for line, what in sorted(claims.items()))}"
    )


def _taken(place: Place, claims: Mapping[int, str]) -> dict[int, str]:
    """Who uses which line, as the kernel tells."""
    import gpiod

    path = _chip(place)
    with gpiod.Chip(str(path)) as opened:
        infos = {line: opened.get_line_info(line) for line in claims}
    return {line: info.consumer for line, info in infos.items() if info.used}


def _chip(place: Place) -> Path:
    """Where the chip is, for those who have nothing to say without one."""
    try:
        return find_chip(place.board.gpiochip, place.root / "dev")
    except DeviceError:
        raise CannotTellError("not looked at, because its GPIO chip is out of reach") from None


def pwm(place: Place) -> Said:
    """The PWM channels of laser and TEC."""
    board = place.board
    wanted: list[tuple[str, LaserLine | TecLine]] = []
    if board.laser and board.laser.pwm_chip is not None:
        wanted.append(("laser", board.laser))
    if board.tec:
        wanted.append(("TEC", board.tec))
    if not wanted:
        by = board.laser.by if board.laser and not board.laser.playback else ""
        if by == "gpiozero":
            remedy = "Take a line with a hardware PWM (12, 13, 18 or 19)"
            return warning("the laser's modulation is made by software, and jitters", remedy)
        return needless("no part of this board hangs on a PWM")
    told = []
    for name, part in wanted:
        said = _channel(place, name, part.pwm_chip or 0, part.pwm_channel or 0, part.clock_hz or 0)
        if said.state != "ok":
            return said
        told.append(said.found)
    return ok("; ".join(told))


def _channel(place: Place, name: str, device: int | str, channel: int, clock_hz: int) -> Said:
    pwms = place.root / "sys/class/pwm"
    number = device if isinstance(device, int) else find_pwm(device, pwms)
    chip_path = pwms / f"pwmchip{number}"
    about = f"{name}: channel {channel} of {chip_path.name} ({device})"
    overlay = f"Put the lines of `spectrophone board config-txt {place.board.name}` into config.txt, and restart the Pi"
    if not chip_path.is_dir():
        return missing(f"{about}: {chip_path} is missing", overlay)
    count = _file(chip_path / "npwm")
    if count.isdecimal() and channel >= int(count):
        return missing(f"{about} is not there: it has {count}", "Correct pwm_channel in the board file")
    said = _clock_hz(chip_path)
    if said not in (None, clock_hz):
        return missing(f"{about} counts {said} Hz, and the board file says clock_hz = {clock_hz}", overlay)
    path = chip_path / f"pwm{channel}"
    needed = path / "enable" if path.is_dir() else chip_path / "export"
    if not os.access(needed, os.W_OK):
        return missing(f"{about}: {needed} may not be written", _GROUP)
    if path.is_dir() and (pid := locked_by(path / "enable")):
        if pid == place.pid:
            return ok(f"{about} is held by {place.holder}")
        found = f"{about} is driven by process {pid} ({place.text(f'proc/{pid}/comm')})"
        return warning(found, "End it before the gateway starts, unless it is the gateway")
    if path.is_dir() and _file(path / "enable") == "1" and _file(path / "duty_cycle") not in ("0", ""):
        return missing(f"{about} GIVES LIGHT OR CURRENT, and nobody holds it", "Run: spectrophone safe")
    return ok(f"{about} is free, {said or clock_hz} Hz")


def locked_by(file: Path) -> int:
    """The process that has the lock on a PWM's file (drivers/pwm.py), 0 where nobody has."""
    with file.open("rb") as opened:
        asked = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_LOCK, fcntl.fcntl(opened, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _clock_hz(chip_path: Path) -> int | None:
    """What the device tree says the PWM counts; None where it does not."""
    try:
        word = (chip_path / "device/of_node/assigned-clock-rates").read_bytes()[:4]
    except OSError:
        return None
    return int.from_bytes(word, "big")


def switches(place: Place) -> Said:
    """Whether interlock and stop buttons let the laser be lit now."""
    board = place.board
    wanted: list[tuple[str, InputLine, bool]] = []
    if board.interlock:
        wanted.append(("the interlock is open", board.interlock, board.interlock.closed == "high"))
    stops = [(name, button) for name, button in board.buttons.items() if button.does == "stop"]
    wanted += [(f"button {name} is pressed", button, button.pressed == "low") for name, button in stops]
    if not wanted:
        return needless("the board has neither interlock nor stop button")
    if place.holder:
        if place.gateway is None:
            raise CannotTellError(f"held by {place.holder}, whose status may not be read")
        laser, why = place.gateway["laser"], place.gateway["laser_dark_because"]
        found = f"held by {place.holder}; the laser is {laser}" + (f": {why}" if why else "")
        return warning(found, "Mend that; spectrophone status shows it") if why else ok(found)
    _chip(place)
    open_ones = [f"{what} (line {line.line})" for what, line, high in wanted if not _active(place, line, high)]
    if open_ones:
        remedy = "Close the lid and let go of the button; without such parts bridge their lines to ground"
        return warning(f"{' and '.join(open_ones)}: the laser stays dark", remedy)
    return ok(f"closed and let go: {', '.join(f'line {line.line}' for _, line, _ in wanted)}")


def _active(place: Place, line: InputLine, high: bool) -> bool:
    """The level of an input of nobody's, which stays one."""
    opened = Input(place.board.gpiochip, line.line, high, line.bias, chips=place.root / "dev")
    try:
        return opened.get()
    finally:
        opened.close()


def _file(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""
