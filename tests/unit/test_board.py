"""The board files that ship: what each has, and that they are wired alike. What a file may not say: test_wiring.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import board as boards
from gateway.board import Board
from gateway.errors import ConfigError

REAL = tuple(name for name in boards.names() if name != "sim")
WIRING = {"enable": 26, "fan": 17, "valve": 22, "red": 24, "green": 23, "blue": 25, "interlock": 5, "stop": 6}


def wired(board: Board) -> dict[str, int]:
    """The lines that the box is wired with, by part; a codec's own are not among them."""
    found = {name: relay.line for name, relay in board.relays.items()} | board.leds["status"].lines
    if board.laser and board.laser.enable is not None:
        found["enable"] = board.laser.enable
    assert board.interlock is not None
    return found | {"interlock": board.interlock.line, "stop": board.buttons["stop"].line}


def test_the_boards_that_ship() -> None:
    assert REAL == (
        "rpi3-codec-zero", "rpi3-usb", "rpi4-codec-zero", "rpi4-hifiberry-dacplusadcpro", "rpi4-i2s-mems",
        "rpi4-umik1", "rpi4-usb", "rpi4-wm8960", "rpi5-codec-zero", "rpi5-hifiberry-dacplusadcpro", "rpi5-i2s-mems",
        "rpi5-umik1", "rpi5-usb", "rpi5-wm8960", "rpizero2w-codec-zero", "rpizero2w-i2s-mems", "rpizero2w-usb",
        "rpizero2w-wm8960",
    )  # fmt: skip
    assert boards.load("sim").simulated
    assert boards.load("sim").microphone.device == "sim"


@pytest.mark.parametrize("name", boards.names())
def test_every_board_that_ships_is_right(name: str) -> None:
    board = boards.load(name)
    assert board.name == name
    assert board.simulated == (board.laser is None) == (name == "sim")
    assert {"fan", "valve"} == set(board.relays)
    assert all(relay.safe == "off" for relay in board.relays.values())
    assert board.leds["status"].shows == "status"
    assert board.buttons["stop"].does == "stop"
    assert [sensor.name for sensor in board.climate] == ["bme280"]


@pytest.mark.parametrize("name", boards.names())
def test_the_boards_are_wired_alike_as_far_as_their_hats_allow(name: str) -> None:
    board = boards.load(name)
    expected = dict(WIRING)
    if name == "sim":
        del expected["enable"]
    if "codec-zero" in name:
        del expected["blue"]
    if "wm8960" in name:
        expected["fan"] = 27
    assert wired(board) == expected


@pytest.mark.parametrize("name", REAL)
def test_a_real_board_leaves_what_the_page_keeps_free(name: str) -> None:
    board = boards.load(name)
    taken = {line for line, _, _ in board.claims()} | {pin.line for pin in board.pins}
    assert not taken & {4, 13}
    assert board.i2c == 1
    if "i2s-mems" not in name:
        assert 16 not in taken


@pytest.mark.parametrize("name", REAL)
def test_a_real_board_tells_its_sources(name: str) -> None:
    text = (boards.directory() / f"{name}.toml").read_text()
    listed = {line.split("]")[0].split("[")[1] for line in text.splitlines() if line.startswith("#   [")}
    assert "pulls" in listed
    assert listed == {tag for tag in listed if text.count(f"[{tag}]") > 1}


def test_claims_name_every_line_once_and_outputs_their_safe_level() -> None:
    board = boards.load("rpi4-codec-zero")
    assert {line: claimant for line, claimant, _ in board.claims()} == {
        12: "the laser", 26: "the laser's enable", 17: "relay 'fan'", 22: "relay 'valve'", 24: "LED 'status' (red)",
        23: "LED 'status' (green)", 5: "the interlock", 6: "button 'stop'",
    }  # fmt: skip
    assert {line: high for line, high, _, _ in board.outputs()} == dict.fromkeys((12, 26, 17, 22, 24, 23), False)


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


def test_an_owners_file_is_found_beside_ours_and_takes_the_place_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "OWN", tmp_path)
    text = (boards.directory() / "rpi4-usb.toml").read_text("utf-8")
    (tmp_path / "mine.toml").write_text(text.replace("Raspberry Pi 4 with USB sound card", "My box"))
    (tmp_path / "rpi4-usb.toml").write_text(text.replace("Raspberry Pi 4 with USB sound card", "My card"))
    assert {"mine", "sim"} <= set(boards.names())
    assert (boards.load("mine").title, boards.load("rpi4-usb").title) == ("My box", "My card")
