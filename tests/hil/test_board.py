"""The shipped board file on a kernel that has its device tree, GPIO chip, PWM and sound card."""

from __future__ import annotations

import json

from tests.hil.guest import VENV, Guest

SPECTROPHONE = f"{VENV}/bin/spectrophone"
OPEN = """
from gateway import board
from drivers.gpio import find_chip as gpio
from drivers.pwm import find_chip as pwm
box = board.load("rpi4-codec-zero")
print(pwm(box.laser.pwm_chip), gpio(box.gpiochip).name)
"""


def test_the_board_is_detected_by_device_tree_and_sound_card(guest: Guest) -> None:
    told = json.loads(guest.run(SPECTROPHONE, "board", "detect", "--json").out)
    assert told["found"]["model"] == "Raspberry Pi 4 Model B Rev 1.4 (simulated)"
    assert told["found"]["product"] == "RPi Codec Zero"
    assert "Zero" in [card["id"] for card in told["found"]["cards"]]
    assert (told["board"], told["remedy"]) == ("rpi4-codec-zero", "")


def test_pwm_and_gpio_chip_are_found_by_the_names_of_the_board_file(guest: Guest) -> None:
    chip, gpio = guest.run(f"{VENV}/bin/python", "-c", OPEN).out.split()
    assert guest.read(f"/sys/class/pwm/pwmchip{chip}/npwm") == "1"
    assert guest.read(f"/sys/bus/gpio/devices/{gpio}/uevent")
