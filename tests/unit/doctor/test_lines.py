"""Lines and PWM from what a kernel tells; tests/hil/test_doctor.py asks a real one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway import board as boards
from gateway.doctor import lines
from gateway.doctor.finding import CannotTellError
from gateway.doctor.place import Place
from gateway.errors import DeviceError
from tests.unit.doctor.machines import STATUS, pi4

CLAIMS = {17: "relay 'fan'", 5: "the interlock"}
HOLDER = "the running gateway (process 4711)"
BOARD = boards.load("rpi4-codec-zero")
CLOCK_HZ = 0 if BOARD.laser is None else BOARD.laser.clock_hz or 0
LOCK = (
    "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); input()"
)


@contextmanager
def locked(file: Path) -> Iterator[int]:
    """The process that has a lock on the file, as drivers/pwm.py takes it."""
    command = [sys.executable, "-c", LOCK, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        yield owner.pid
        owner.communicate(b"\n")


def with_pwm(
    root: Path, number: int = 2, device: str = "fe20c000.pwm", clock_hz: int = CLOCK_HZ, **files: str
) -> Place:
    """A Pi 4 whose PWM is there; `files` are those of channel 0, which is exported if there are any."""
    chip = root / f"sys/class/pwm/pwmchip{number}"
    chip.mkdir(parents=True)
    target = root / "sys/devices" / device
    (target / "of_node").mkdir(parents=True)
    (target / "of_node/assigned-clock-rates").write_bytes(clock_hz.to_bytes(4, "big"))
    (chip / "device").symlink_to(target)
    (chip / "npwm").write_text("2\n")
    (chip / "export").write_text("")
    for name, value in files.items():
        (chip / "pwm0").mkdir(exist_ok=True)
        (chip / "pwm0" / name).write_text(f"{value}\n")
    return pi4(root)


def test_the_lines_that_the_gateway_opens() -> None:
    claims = dict(lines.claimed(BOARD))
    assert claims[17] == "relay 'fan'"
    assert claims[26] == "the laser's enable"
    assert (claims[5], claims[6]) == ("the interlock", "button 'stop'")
    assert 12 not in claims, "the PWM's line is the hardware's"


@pytest.mark.parametrize(
    ("taken", "holder", "state", "words"),
    [
        ({}, "", "ok", "all 2 lines are free: 5 the interlock, 17 relay 'fan'"),
        ({17: "spectrophone", 5: "spectrophone"}, HOLDER, "ok", f"2 lines are held by {HOLDER}, 0 are free"),
        ({17: "spectrophone"}, "", "warning", "held by a spectrophone whose status cannot be read: 17 (relay 'fan')"),
        ({17: "onewire@0"}, HOLDER, "missing", "in use by others: 17 (relay 'fan') by onewire@0"),
        ({5: ""}, "", "missing", "in use by others: 5 (the interlock) by the kernel"),
        ({4: "led0"}, "", "ok", "all 2 lines are free: 5 the interlock, 17 relay 'fan'"),
    ],
)
def test_who_uses_them(taken: dict[int, str], holder: str, state: str, words: str) -> None:
    said = lines.judged(CLAIMS, taken, holder)
    assert (said.state, said.found) == (state, words)
    assert bool(said.remedy) == (state != "ok")


def test_no_chip_is_told_once(tmp_path: Path) -> None:
    place = pi4(tmp_path)
    with pytest.raises(DeviceError, match="there is no GPIO chip on this machine"):
        lines.chip(place)
    for look in (lines.lines, lines.switches):
        with pytest.raises(CannotTellError, match="its GPIO chip is out of reach"):
            look(place)


def test_a_pwm_that_nobody_has_exported(tmp_path: Path) -> None:
    said = lines.pwm(with_pwm(tmp_path))
    assert (said.state, said.found) == ("ok", f"laser: channel 0 of pwmchip2 (fe20c000.pwm) is free, {CLOCK_HZ} Hz")


def test_a_pwm_that_rests(tmp_path: Path) -> None:
    said = lines.pwm(with_pwm(tmp_path, enable="0", duty_cycle="100", period="1000"))
    assert (said.state, said.found.endswith(f"is free, {CLOCK_HZ} Hz")) == ("ok", True)


def test_a_pwm_that_goes_on_without_anybody(tmp_path: Path) -> None:
    said = lines.pwm(with_pwm(tmp_path, enable="1", duty_cycle="100", period="1000"))
    assert (said.state, said.remedy) == ("missing", "Run: spectrophone safe")


def test_a_pwm_that_somebody_drives(tmp_path: Path) -> None:
    place = with_pwm(tmp_path, enable="1", duty_cycle="100", period="1000")
    with locked(tmp_path / "sys/class/pwm/pwmchip2/pwm0/enable") as pid:
        said = lines.pwm(place)
        assert (said.state, f"is driven by process {pid}" in said.found) == ("warning", True)
    with locked(tmp_path / "sys/class/pwm/pwmchip2/pwm0/enable") as pid:
        place = pi4(tmp_path, gateways=({**STATUS, "pid": pid},))
        assert lines.pwm(place).found.endswith(f"is held by the running gateway (process {pid})")
        assert lines.pwm(pi4(tmp_path, gateways=(STATUS,))).state == "warning", "another one has it"


def test_a_pwm_of_another_clock(tmp_path: Path) -> None:
    said = lines.pwm(with_pwm(tmp_path, clock_hz=19_200_000))
    assert (said.state, "counts 19200000 Hz" in said.found, "config-txt" in said.remedy) == ("missing", True, True)


def test_a_pwm_without_its_channel(tmp_path: Path) -> None:
    place = with_pwm(tmp_path)
    (tmp_path / "sys/class/pwm/pwmchip2/npwm").write_text("0\n")
    assert lines.pwm(place).found.endswith("is not there: it has 0")


def test_no_pwm_at_all(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no PWM 'fe20c000.pwm' in .*; there are: 1f00098000.pwm"):
        lines.pwm(with_pwm(tmp_path, device="1f00098000.pwm"))


def test_a_laser_that_hangs_on_the_codec_needs_none(tmp_path: Path) -> None:
    place = pi4(tmp_path, "board: rpi4-hifiberry-dacplusadcpro\nacquisition: {channels: 2}\n")
    assert lines.pwm(place).state == "not needed"


def test_switches_of_a_running_gateway_are_left_alone(tmp_path: Path) -> None:
    said = lines.switches(pi4(tmp_path, gateways=(STATUS,)))
    assert (said.state, said.found) == ("ok", f"held by {HOLDER}; the laser is lit")
    dark = {**STATUS, "laser": "dark", "laser_dark_because": "the interlock is open"}
    said = lines.switches(pi4(tmp_path, gateways=(dark,)))
    assert (said.state, said.found.endswith("the laser is dark: the interlock is open")) == ("warning", True)
    with pytest.raises(CannotTellError, match="process 99"):
        lines.switches(pi4(tmp_path, unit={"MainPID": "99"}))
