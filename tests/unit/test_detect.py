"""Which board a machine is, from files as the kernel of a Raspberry Pi has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import board as boards
from gateway import detect
from gateway.detect import Card

PI4 = "Raspberry Pi 4 Model B Rev 1.4"
PI5 = "Raspberry Pi 5 Model B Rev 1.0"
HDMI = ("vc4hdmi0", "vc4-hdmi", "vc4-hdmi-0", "")
ZERO = ("Zero", "RPi_Codec_Zero", "RPi Codec Zero", "")
PRO = ("sndrpihifiberry", "HifiberryDacpAd", "snd_rpi_hifiberry_dacplusadcpro", "")
DAC = ("sndrpihifiberry", "HifiberryDacp", "snd_rpi_hifiberry_dacplus", "")
WM8960 = ("wm8960soundcard", "wm8960-soundcard", "wm8960-soundcard", "")
MEMS = ("sndrpigooglevoi", "RPi-simple", "snd_rpi_googlevoicehat_soundcard", "")
UMIK = ("UMIK1", "USB-Audio", "UMIK-1", "2752:0007")
OLD_UMIK = ("U18dB", "USB-Audio", "Umik-1  Gain: 18dB", "2752:0007")
CMEDIA = ("Device", "USB-Audio", "USB PnP Sound Device", "0d8c:013c")
OTHER = ("ICUSBAUDIO7D", "USB-Audio", "ICUSBAUDIO7D", "0d8c:0102")


def machine(root: Path, model: str = "", *cards: tuple[str, str, str, str], product: str = "") -> Path:
    """The files of a machine below `root`, which is given back; of each card id, driver, name and USB id."""
    tree, asound = root / "proc/device-tree", root / "proc/asound"
    if model:
        tree.mkdir(parents=True)
        (tree / "model").write_bytes(model.encode() + b"\0")
    if product:
        (tree / "hat").mkdir()
        (tree / "hat/product").write_bytes(product.encode() + b"\0")
        (tree / "hat/vendor").write_bytes(b"Somebody\0")
    lines = []
    for index, (name, driver, long_name, usb) in enumerate(cards):
        lines += [f"{index:2} [{name:<15}]: {driver} - {long_name}\n", f"{'':22}{long_name} at somewhere\n"]
        if usb:
            (asound / f"card{index}").mkdir(parents=True)
            (asound / f"card{index}/usbid").write_text(f"{usb}\n")
    asound.mkdir(parents=True, exist_ok=True)
    (asound / "cards").write_text("".join(lines) or "--- no soundcards ---\n")
    return root


@pytest.mark.parametrize(
    ("model", "cards", "board"),
    [
        (PI4, (HDMI, ZERO), "rpi4-codec-zero"),
        (PI4, (HDMI, PRO), "rpi4-hifiberry-dacplusadcpro"),
        (PI4, (WM8960,), "rpi4-wm8960"),
        (PI4, (MEMS,), "rpi4-i2s-mems"),
        (PI4, (UMIK,), "rpi4-umik1"),
        (PI4, (OLD_UMIK,), "rpi4-umik1"),
        (PI4, (CMEDIA,), "rpi4-usb"),
        (PI4, (ZERO, CMEDIA), "rpi4-codec-zero"),
        (PI4, (ZERO, UMIK), "rpi4-umik1"),
        (PI5, (HDMI, ZERO), "rpi5-codec-zero"),
        (PI5, (PRO,), "rpi5-hifiberry-dacplusadcpro"),
        (PI5, (OTHER,), "rpi5-usb"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", (ZERO,), "rpi3-codec-zero"),
        ("Raspberry Pi 3 Model B Rev 1.2", (CMEDIA,), "rpi3-usb"),
        ("Raspberry Pi Zero 2 W Rev 1.0", (MEMS,), "rpizero2w-i2s-mems"),
        ("Raspberry Pi Zero 2 W Rev 1.0", (WM8960,), "rpizero2w-wm8960"),
    ],
)
def test_a_machine_is_known_by_its_model_and_its_card(
    tmp_path: Path, model: str, cards: tuple[tuple[str, str, str, str], ...], board: str
) -> None:
    detected = detect.detect(machine(tmp_path, model, *cards))
    assert detected.board == board == detected.likely[0]
    assert detected.reason.startswith(f"{model}, and there is the sound card '")


@pytest.mark.parametrize("name", [name for name in boards.names() if name != "sim"])
def test_every_board_is_found_where_its_own_card_is(tmp_path: Path, name: str) -> None:
    board = boards.load(name)
    microphone = board.microphone
    usb = {"any": "0d8c:0014"}.get(microphone.usb[0], microphone.usb[0]) if microphone.usb else ""
    card = (microphone.card or "", "driver", microphone.card_name or "A name", usb)
    detected = detect.detect(machine(tmp_path, f"{board.models[0]} Rev 9", card))
    assert (detected.board, detected.remedy) == (name, "")


def test_a_hat_is_known_by_its_eeprom_before_its_card_is_there(tmp_path: Path) -> None:
    detected = detect.detect(machine(tmp_path, PI4, HDMI, product="DAC+ ADC Pro"))
    assert detected.board == "rpi4-hifiberry-dacplusadcpro"
    assert detected.reason == f"{PI4}, and its HAT says 'DAC+ ADC Pro'"
    assert detected.remedy == (
        "Its sound card is not there yet: put the lines of `spectrophone board config-txt rpi4-hifiberry-dacplusadcpro`"
        " into config.txt and restart the Pi"
    )
    assert (detected.found.product, detected.found.vendor) == ("DAC+ ADC Pro", "Somebody")


def test_a_card_with_another_id_is_told_to_the_configuration(tmp_path: Path) -> None:
    detected = detect.detect(machine(tmp_path, PI4, OTHER))
    assert detected.remedy == 'Write `acquisition: {device: "hw:CARD=ICUSBAUDIO7D,DEV=0"}` into the configuration'
    assert detected.found.cards == (Card(0, "ICUSBAUDIO7D", "USB-Audio", "ICUSBAUDIO7D", "0d8c:0102"),)


@pytest.mark.parametrize(
    ("cards", "product", "told"),
    [
        ((), "", "but no sound card was found"),
        ((HDMI,), "", "but none of its sound cards ('vc4hdmi0') is a board's"),
        ((DAC,), "", "but none of its sound cards ('sndrpihifiberry') is a board's"),
        ((), "Sense HAT", "but no sound card was found, and its HAT 'Sense HAT' is no board's"),
    ],
)
def test_a_pi_without_a_card_of_ours_is_no_board_and_certainly_not_simulated(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cards: tuple[tuple[str, str, str, str], ...],
    product: str,
    told: str,
) -> None:
    detected = detect.detect(machine(tmp_path, PI4, *cards, product=product))
    assert detected.board is None
    assert detected.reason == f"this is a {PI4}, {told}"
    assert "rpi4-usb has any USB card; rpi4-wm8960 has card 'wm8960soundcard'" in detected.remedy
    monkeypatch.setattr(detect, "ROOT", tmp_path)
    assert detect.default() == "rpi4-codec-zero" == detected.likely[0]


def test_a_model_that_no_board_is_for(tmp_path: Path) -> None:
    detected = detect.detect(machine(tmp_path, "Raspberry Pi Model B Rev 2", ZERO))
    assert (detected.board, detected.likely) == (None, ())
    assert detected.reason.startswith(
        "no board file is for a Raspberry Pi Model B Rev 2, only for Raspberry Pi 3 Model B,"
    )
    assert detected.remedy == "Write a board file for it (docs/boards.md)"


def test_a_machine_that_is_no_raspberry_pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detected = detect.detect(machine(tmp_path, "", UMIK))
    assert (detected.board, detected.likely) == (None, ())
    assert detected.reason == "this machine has no device tree with a model, so it is no Raspberry Pi"
    monkeypatch.setattr(detect, "ROOT", tmp_path)
    assert detect.default() == "sim"


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    assert detect.look(tmp_path) == detect.Found("", "", "", ())


BOX = """\
title = "A box"
models = ["Raspberry Pi 4 Model B"]
gpiochip = "pinctrl-bcm2711"

[microphone]
card = "Zero"
device = "hw:CARD=Zero,DEV=0"
formats = ["S32_LE"]
"""


def test_two_boards_that_fit_equally_are_a_question(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(BOX)
    (tmp_path / "two.toml").write_text(BOX)
    detected = detect.detect(machine(tmp_path / "pi", PI4, ZERO), tmp_path)
    assert (detected.board, detected.likely) == (None, ("one", "two"))
    assert detected.reason == f"one, two fit this {PI4} equally (there is the sound card 'Zero' (RPi Codec Zero))"
    assert detected.remedy == "Write one of them into the configuration: `board: one`"


def test_the_longer_model_is_the_nearer_one(tmp_path: Path) -> None:
    (tmp_path / "any.toml").write_text(BOX.replace(" Model B", ""))
    (tmp_path / "near.toml").write_text(BOX)
    assert detect.detect(machine(tmp_path / "pi", PI4, ZERO), tmp_path).board == "near"
    assert detect.detect(machine(tmp_path / "400", "Raspberry Pi 400 Rev 1.0", ZERO), tmp_path).board == "any"
