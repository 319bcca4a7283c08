"""Board and firmware, from the files of a Raspberry Pi."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import board as boards
from gateway import config_txt
from gateway.doctor import firmware
from tests.unit.doctor.machines import PI4, machine, pi4

LINES = config_txt.text(boards.load("rpi4-codec-zero"))


def test_a_simulated_board_on_a_machine_that_is_no_pi(tmp_path: Path) -> None:
    said = firmware.board(machine(tmp_path))
    assert (said.state, said.found) == ("ok", "sim: everything is simulated, as the configuration says")


def test_simulated_values_on_a_pi_that_could_measure(tmp_path: Path) -> None:
    said = firmware.board(pi4(tmp_path, "board: sim\n"))
    assert (said.state, said.found) == ("warning", f"sim: values are simulated, although this is a {PI4}")
    assert said.remedy == "Write `board: rpi4-codec-zero` into the configuration"


def test_the_board_that_this_is(tmp_path: Path) -> None:
    said = firmware.board(pi4(tmp_path))
    assert said.state == "ok"
    assert "there is the sound card 'Zero'" in said.found


def test_another_board_fits_better(tmp_path: Path) -> None:
    said = firmware.board(pi4(tmp_path, "board: rpi4-usb\n"))
    assert said.state == "warning"
    assert "but rpi4-codec-zero fits" in said.found


@pytest.mark.parametrize(
    ("model", "words"), [("Raspberry Pi 5 Model B", "a Raspberry Pi 5 Model B"), ("", "no Raspberry Pi")]
)
def test_a_board_of_another_machine(tmp_path: Path, model: str, words: str) -> None:
    said = firmware.board(machine(tmp_path, "board: rpi4-codec-zero\n", {"proc/device-tree/model": model}))
    assert (said.state, said.found) == (
        "missing",
        f"rpi4-codec-zero is for a Raspberry Pi 4 Model B, and this is {words}",
    )


@pytest.mark.parametrize("file", firmware.FILES)
def test_config_txt_with_all_lines(tmp_path: Path, file: str) -> None:
    said = firmware.config_file(pi4(tmp_path, files={file: f"# mine\narm_64bit=1\n{LINES}"}))
    assert said.state == "ok"
    assert f"/{file}" in said.found


def test_config_txt_without_one(tmp_path: Path) -> None:
    held = next(line for line in LINES.splitlines() if line.startswith("gpio="))
    said = firmware.config_file(pi4(tmp_path, files={firmware.FILES[0]: LINES.replace(held, f"# {held}")}))
    assert (said.state, said.found) == ("missing", f"/{firmware.FILES[0]} lacks {held}")
    assert "spectrophone board config-txt rpi4-codec-zero | sudo tee -a /boot/firmware/config.txt" in said.remedy


def test_no_config_txt(tmp_path: Path) -> None:
    assert firmware.config_file(pi4(tmp_path)).state == "warning"


@pytest.mark.parametrize(("said", "state"), [("Y", "warning"), ("N", "ok"), (None, "ok")])
def test_lines_of_dead_processes(tmp_path: Path, said: str | None, state: str) -> None:
    files = {} if said is None else {"sys/module/pinctrl_bcm2835/parameters/persist_gpio_outputs": f"{said}\n"}
    found = firmware.lines_of_the_dead(pi4(tmp_path, files=files))
    assert found.state == state
    assert ("strict_gpiod" in found.remedy) == (state == "warning")
