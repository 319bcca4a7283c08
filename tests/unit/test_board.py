"""The board files that ship, and what a board file may not say."""

# ruff: noqa: E501 (the tables hold whole messages)

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import board as boards
from gateway.errors import ConfigError

GOOD = """\
title = "A box"
models = ["Raspberry Pi 9"]
pins = [{line = 18, use = "I2S clock"}, {line = 24, use = "red LED", free = true}]
hat = "Some HAT"

[microphone]
device = "default"
formats = ["S32_LE"]

[relays.fan]
line = 17
safe = "off"

[leds.status]
red = 24
safe = "off"
"""


def faults(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "box.toml").write_text(text)
    try:
        boards.load("box", tmp_path)
    except ConfigError as error:
        return [str(fault).removeprefix(f"{tmp_path}/") for fault in error.faults]
    return []


@pytest.mark.parametrize("name", boards.names())
def test_every_board_that_ships_is_right(name: str) -> None:
    board = boards.load(name)
    assert board.name == name
    assert board.simulated == (board.laser is None)
    assert {"fan", "valve"} <= set(board.relays)
    assert "status" in board.leds
    assert all(relay.safe == "off" for relay in board.relays.values())


def test_the_boards_that_ship() -> None:
    assert boards.names() == ("rpi4-codec-zero", "sim")
    assert boards.load("sim").simulated
    assert boards.load("sim").microphone.device == "sim"


def test_lines_that_are_held_at_boot_are_those_of_laser_and_relays() -> None:
    board = boards.load("rpi4-codec-zero")
    held = {int(line) for entry in board.boot_gpio for line in entry.split("=")[0].split(",")}
    assert board.laser is not None
    assert held == {board.laser.line, *(relay.line for relay in board.relays.values())}
    assert all(entry.endswith("=op,dl") for entry in board.boot_gpio)


def test_a_good_file(tmp_path: Path) -> None:
    assert faults(tmp_path, GOOD) == []
    board = boards.load("box", tmp_path)
    assert board.relays["fan"].line == 17
    assert board.leds["status"].lines == {"red": 24}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("line = 17", "line = 24", "box.toml:15:1: leds.status.red: line 24 is claimed by both relay 'fan' and LED 'status' (red). Give one of them another line"),
        ("line = 17", "line = 18", "box.toml:11:1: relays.fan.line: line 18 is claimed by relay 'fan', but Some HAT (I2S clock) occupies it. Take another line"),
        ("line = 17", "line = 54", "box.toml:11:1: relays.fan.line: 54 is too high. Give at least 0 and at most 53"),
        ("line = 17", "line = 17\nsave = 1", "box.toml:12:1: relays.fan.save: unknown option 'save'. Did you mean 'safe'? Known: active_high, excludes, feedback, line, min_interval_s, safe"),
        ('red = 24\nsafe = "off"', 'safe = "off"', "box.toml:14:1: leds.status: LED 'status' has no clear lines. Give either `line`, or some of `red`, `green` and `blue`"),
        ("red = 24", "red = 24\nline = 5", "box.toml:14:1: leds.status: LED 'status' has no clear lines. Give either `line`, or some of `red`, `green` and `blue`"),
        ('formats = ["S32_LE"]', 'formats = ["S16_LE"]', "box.toml:6:1: microphone.format: S32_LE is not among the codec's formats. Take one of S16_LE"),
        ('device = "default"', 'device = "default"\nrate_hz = 96000\nrate_max_hz = 48000', "box.toml:8:1: microphone.rate_hz: 96000 Hz is more than the codec does. Give at most 48000 Hz"),
        ('title = "A box"', "title = ", "box.toml:1:9: this is not TOML (invalid value). Mend the line"),
        ('safe = "off"\n\n[leds', "safe = off\n\n[leds", "box.toml:12:8: this is not TOML (invalid value). Mend the line"),
    ],
)  # fmt: skip
def test_a_fault_names_file_line_and_option(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in GOOD
    found = faults(tmp_path, GOOD.replace(old, new, 1))
    assert found == [fault]


def test_an_output_without_a_safe_state_is_refused(tmp_path: Path) -> None:
    found = faults(tmp_path, GOOD.replace('safe = "off"', "", 1))
    assert found == [
        "box.toml:10:1: relays.fan.safe: the option 'safe' is missing. "
        "Add `safe: ...` (its state whenever the gateway does not hold it)"
    ]


def test_a_laser_is_safe_only_when_off(tmp_path: Path) -> None:
    laser = '\n[laser]\nline = 12\npwm_chip = 0\npwm_channel = 0\nclock_hz = 100000000\nsafe = "on"\n'
    assert "laser.safe" in faults(tmp_path, GOOD + laser)[0]
    assert faults(tmp_path, GOOD + laser.replace('"on"', '"off"')) == []
    taken = laser.replace('"on"', '"off"').replace("12", "17")
    assert "line 17 is claimed by both the laser and relay 'fan'" in faults(tmp_path, GOOD + taken)[0]


@pytest.mark.parametrize(
    ("laser", "fault"),
    [
        ('playback = "hw:1"', ""),
        ('playback = "hw:1"\nchannel = "B"\namplitude = 0.5', ""),
        ('playback = "hw:1"\namplitude = 1.5', "laser.amplitude: 1.5 is too high"),
        ('playback = "hw:1"\nchannel = "C"', "laser.channel: "),
        ('playbck = "hw:1"', "laser.playbck: unknown option 'playbck'. Did you mean 'playback'?"),
        ('playback = "hw:1"\npwm_chip = 0', "laser: it is not clear what modulates the laser"),
        ("line = 12\npwm_chip = 0", "laser: it is not clear what modulates the laser"),
        ("", "laser: it is not clear what modulates the laser"),
    ],
)
def test_a_laser_is_modulated_in_one_way(tmp_path: Path, laser: str, fault: str) -> None:
    found = faults(tmp_path, f'{GOOD}\n[laser]\nsafe = "off"\n{laser}\n')
    assert (len(found) == 1 and fault in found[0]) if fault else not found


def test_all_faults_of_a_board_come_together(tmp_path: Path) -> None:
    found = faults(tmp_path, GOOD.replace("line = 17", "line = 99").replace("red = 24", "rde = 24"))
    assert len(found) == 2


@pytest.mark.parametrize("name", ["rpi4-codec-zer", "", "../boards/sim", "/etc/passwd", "sim.toml"])
def test_an_unknown_board(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        boards.load(name)
    assert f"there is no board '{name}'" in str(refused.value)
    assert "sim" in str(refused.value)


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        boards.load("box", tmp_path)


def test_a_board_is_found_by_its_model(tmp_path: Path) -> None:
    assert boards.detect("Raspberry Pi 4 Model B Rev 1.4\0") == "rpi4-codec-zero"
    assert boards.detect("Raspberry Pi 3 Model B Plus Rev 1.3\0") is None
    assert boards.detect("") is None
    (tmp_path / "short.toml").write_text(GOOD)
    (tmp_path / "long.toml").write_text(GOOD.replace("Raspberry Pi 9", "Raspberry Pi 9 Model B"))
    assert boards.detect("Raspberry Pi 9 Model B Rev 1.0", tmp_path) == "long"
    assert boards.detect("Raspberry Pi 9 Model A", tmp_path) == "short"
