"""What the firmware is told: every output held in its safe state, and the overlays that laser and TEC need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import board as boards
from gateway import config_txt
from gateway.errors import UsageError

REAL = [name for name in boards.names() if not boards.load(name).simulated]
TEC = """
[tec]
line = 13
pwm_chip = "fe20c000.pwm"
pwm_channel = 1
clock_hz = 50_000_000
direction = 16
heats = "high"
adc = "ads1015"
adc_channel = 0
supply_v = 3.3
series_ohm = 10000
r25_ohm = 10000
beta_k = 3950
safe = "off"
"""


def held(text: str) -> dict[int, str]:
    """The level of each line that gpio= drives."""
    found = re.findall(r"^gpio=([\d,]+)=op,(dl|dh)$", text, re.MULTILINE)
    return {int(line): level for lines, level in found for line in lines.split(",")}


def test_the_lines_of_a_board() -> None:
    assert config_txt.text(boards.load("rpi4-codec-zero")) == (
        "# spectrophone begin: made by `spectrophone board config-txt rpi4-codec-zero`\n"
        "[all]\n"
        "dtoverlay=\n"
        "dtparam=audio=off\n"
        "dtparam=strict_gpiod\n"
        "dtparam=watchdog=on\n"
        "dtparam=i2c_arm=on\n"
        "dtoverlay=rpi-codeczero\n"
        "dtoverlay=i2c-sensor,bme280\n"
        "dtoverlay=pwm,pin=12,func=4,clock=50000000\n"
        "dtoverlay=\n"
        "gpio=12,17,22,23,24,26=op,dl\n"
        "# spectrophone end\n"
    )


@pytest.mark.parametrize("name", REAL)
def test_every_output_is_held_in_its_safe_state_and_nothing_else_is_driven(name: str) -> None:
    board = boards.load(name)
    levels = {line: "dh" if high else "dl" for line, high, _, _ in board.outputs()}
    text = config_txt.text(board)
    assert held(text) == levels
    assert text.isascii()
    assert max(map(len, text.splitlines())) < 99
    assert board.laser is not None
    assert {board.laser.enable, *(relay.line for relay in board.relays.values())} <= set(levels)


@pytest.mark.parametrize("name", REAL)
def test_the_hardware_pwm_is_brought_to_the_lasers_line(name: str) -> None:
    board = boards.load(name)
    overlays = [line for line in config_txt.text(board).splitlines() if line.startswith("dtoverlay=pwm")]
    assert board.laser is not None
    if board.laser.playback:
        assert overlays == []
    else:
        assert overlays == ["dtoverlay=pwm,pin=12,func=4,clock=50000000"]


def changed(tmp_path: Path, *edits: tuple[str, str], more: str = "") -> str:
    """The lines for rpi4-codec-zero with its file changed."""
    text = (boards.directory() / "rpi4-codec-zero.toml").read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "box.toml").write_text(text + more)
    return config_txt.text(boards.load("box", tmp_path))


def test_laser_and_tec_share_the_overlay_of_two_channels(tmp_path: Path) -> None:
    text = changed(tmp_path, more=TEC)
    assert "\ndtoverlay=pwm-2chan,pin=12,func=4,pin2=13,func2=4,clock=50000000\n" in text
    assert held(text).keys() >= {12, 13, 16}


def test_a_tec_alone_has_the_overlay_of_one_channel(tmp_path: Path) -> None:
    laser = 'line = 12                       # [pwm]; pulled down at reset [pulls]\npwm_chip = "fe20c000.pwm"\n'
    rest = "pwm_channel = 0\nclock_hz = 50_000_000           # [pwm]\nactive_high = true\n"
    text = changed(tmp_path, (laser, 'playback = "hw:CARD=Zero,DEV=0"\n'), (rest, ""), more=TEC)
    assert "\ndtoverlay=pwm,pin=13,func=4,clock=50000000\n" in text


def test_a_pwm_by_software_wants_no_overlay(tmp_path: Path) -> None:
    device = 'pwm_chip = "fe20c000.pwm"\npwm_channel = 0\nclock_hz = 50_000_000           # [pwm]\n'
    assert "=pwm" not in changed(tmp_path, (device, 'by = "gpiozero"\n'))


def test_what_is_safe_on_a_high_level_is_held_high(tmp_path: Path) -> None:
    text = changed(tmp_path, ("line = 22\nactive_high = true", "line = 7\nactive_high = false"))
    assert held(text)[7] == "dh"
    assert held(text)[17] == "dl"


def test_parameters_of_the_board_come_before_its_overlays(tmp_path: Path) -> None:
    lines = changed(tmp_path, ("i2c = 1", 'i2c = 1\nparameters = ["uart0=on"]')).splitlines()
    assert lines.index("dtparam=uart0=on") < lines.index("dtoverlay=rpi-codeczero")


def test_a_simulated_board_has_no_firmware() -> None:
    with pytest.raises(UsageError, match="Board 'sim' is simulated: no firmware reads anything for it"):
        config_txt.text(boards.load("sim"))
