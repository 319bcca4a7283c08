"""The command board: what it lists, shows, finds and prints for the firmware."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from gateway import board as boards
from gateway import config_txt, detect
from gateway.cli import board
from gateway.errors import ConfigError, UsageError


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="spectrophone")
    board.register(parser.add_subparsers())
    return board.run(parser.parse_args(["board", *arguments]))


@pytest.mark.parametrize("action", [(), ("list",), ("show",), ("detect",), ("config-txt",)])
def test_help_has_an_example(action: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(*action, "--help")
    assert left.value.code == 0
    assert "example:\n  spectrophone board list" in capsys.readouterr().out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(boards.names())
    assert len({line.index(boards.load(line.split()[0]).title) for line in lines}) == 1
    assert run("list", "--json") == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert listed[-1] == {"kind": "board", "name": "sim", "title": "Simulated box"}


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "rpi4-codec-zero") == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {line[:16].strip(): line[17:] for line in lines}
    assert shown["relay fan"] == "line 17, on when high, safe off, at least 0.2 s between two switchings"
    assert shown["laser"] == (
        "line 12, fe20c000.pwm channel 0, clock 50000000 Hz, lit when high, enabled by line 26 when high, "
        "duty up to 0.5, safe off"
    )
    assert shown["led status"] == "red 24, green 23, lit when high, safe off, shows status"
    assert shown["interlock"] == "line 5, pull up, 5 ms, closed when low"
    assert shown["button stop"] == "line 6, pull up, 5 ms, pressed when high, asks for stop"
    assert shown["climate"] == "bme280 (iio)"
    assert shown["pin 18"] == "I2S bit clock"
    assert shown["pin 24"] == "red LED (may be driven)"
    assert all(len(line) > 17 for line in lines)


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "sim", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["name"], shown["simulated"]) == ("board", "sim", True)
    assert shown["relays"]["valve"]["line"] == 22
    assert shown["buttons"]["zero"]["hold_s"] == 3.0


EVERYTHING = """\
title = "A box"
models = ["Raspberry Pi 4 Model B"]
gpiochip = "pinctrl-bcm2711"
parameters = ["uart0=on"]

[microphone]
device = "default"
formats = ["S32_LE"]

[laser]
safe = "off"
%s

[relays.fan]
line = 17
excludes = ["valve"]
feedback = 4
safe = "off"

[relays.valve]
line = 7
active_high = false
safe = "off"

[buttons.zero]
line = 8
bias = "none"
pressed = "low"
does = "zero"
hold_s = 1.5

[tec]
line = 13
pwm_chip = "fe20c000.pwm"
pwm_channel = 1
clock_hz = 50_000_000
direction = 16
heats = "low"
adc = "ads1015"
adc_channel = 0
supply_v = 3.3
series_ohm = 10000
r25_ohm = 10000
beta_k = 3950
safe = "off"
"""


@pytest.mark.parametrize(
    ("laser", "shown"),
    [
        ('playback = "hw:1"\nchannel = "B"', "hw:1, channel B, amplitude 1, duty up to 0.5, safe off"),
        ('line = 26\nby = "gpiozero"', "line 26, PWM by software (gpiozero), lit when high, duty up to 0.5, safe off"),
        (
            "line = 12\npwm_chip = 2\npwm_channel = 0\nclock_hz = 50_000_000\nduty_max = 0.25",
            "line 12, pwmchip2 channel 0, clock 50000000 Hz, lit when high, duty up to 0.25, safe off",
        ),
    ],
)
def test_everything_that_a_board_can_have_is_shown(tmp_path: Path, laser: str, shown: str) -> None:
    (tmp_path / "box.toml").write_text(EVERYTHING % laser)
    told = board.described(boards.load("box", tmp_path))
    assert f"laser            {shown}\n" in told
    assert "\nparameters       uart0=on\n" in told
    assert "\nrelay fan        line 17, on when high, safe off, never with valve, read back on line 4\n" in told
    assert "\nrelay valve      line 7, on when low, safe off\n" in told
    assert "\nTEC              line 13, direction 16 (heats when low), ADC ads1015, safe off\n" in told
    assert told.endswith("\nbutton zero      line 8, none, 5 ms, pressed when low for 1.5 s, asks for zero")


def test_show_of_an_unknown_board() -> None:
    with pytest.raises(ConfigError) as refused:
        run("show", "rpi4")
    assert refused.value.exit_status == 2
    assert "there is no board 'rpi4'" in str(refused.value)


def test_config_txt(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config-txt", "rpi5-usb") == 0
    assert capsys.readouterr().out == config_txt.text(boards.load("rpi5-usb"))
    with pytest.raises(UsageError):
        run("config-txt", "sim")


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a Raspberry Pi 4, without a sound card yet."""
    (tmp_path / "proc/device-tree/hat").mkdir(parents=True)
    (tmp_path / "proc/asound").mkdir()
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    monkeypatch.setattr(detect, "ROOT", tmp_path)
    return tmp_path


def test_detect(pi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pi / "proc/asound/cards").write_text(" 0 [Zero           ]: RPi_Codec_Zero - RPi Codec Zero\n")
    assert run("detect") == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "model            Raspberry Pi 4 Model B Rev 1.4",
        "sound card       Zero: RPi Codec Zero",
        "board            rpi4-codec-zero",
        "because          Raspberry Pi 4 Model B Rev 1.4, and there is the sound card 'Zero' (RPi Codec Zero)",
    ]
    assert told.err == ""
    assert run("detect", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["board"], found["found"]["cards"][0]["id"]) == ("detected", "rpi4-codec-zero", "Zero")


def test_detect_without_a_card_says_what_to_do(pi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pi / "proc/device-tree/hat/product").write_bytes(b"Sense HAT\0")
    (pi / "proc/device-tree/hat/vendor").write_bytes(b"Raspberry Pi\0")
    assert run("detect") == 1
    told = capsys.readouterr()
    assert "HAT              Sense HAT by Raspberry Pi\n" in told.out
    assert "board            none\n" in told.out
    assert told.err.startswith("spectrophone: Put the lines of `spectrophone board config-txt NAME` into config.txt")
    assert run("detect", "--json") == 1
    assert json.loads(capsys.readouterr().out)["board"] is None
