"""The sound card, and what the sound of one says of it; tests/real/test_doctor.py listens to a real device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.doctor import sound
from gateway.doctor.finding import CannotTellError
from gateway.types import Samples
from tests.unit.doctor.machines import STATUS, ZERO, machine, pi4

T = np.arange(48_000) / 48_000


def heard(*amplitudes: float) -> Samples:
    """A second with a tone on each channel."""
    tones = [amplitude * np.sin(2 * np.pi * 1000.0 * T) for amplitude in amplitudes]
    return np.stack(tones, axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("amplitudes", "state", "words"),
    [
        ((0.1, 0.01), "ok", "A -23 dBFS, B -43 dBFS, peak -20 dBFS"),
        ((0.1,), "ok", "A -23 dBFS, peak -20 dBFS"),
        ((0.1, 0.0), "missing", "channel B gives digital silence"),
        ((0.0, 0.0), "missing", "channel A and B gives digital silence"),
        ((0.1, 1e-6), "warning", "hardly anything is heard"),
        ((1.0, 0.1), "warning", "the sound clips"),
    ],
)
def test_what_the_sound_says(amplitudes: tuple[float, ...], state: str, words: str) -> None:
    """A sine has its amplitude less 3.01 dB."""
    said = sound.judged("hw:0", heard(*amplitudes))
    assert said.state == state
    assert words in said.found
    assert bool(said.remedy) == (state != "ok")


def test_an_offset_is_no_sound() -> None:
    assert sound.judged("hw:0", heard(0.0) + np.float32(0.25)).state == "missing"


def test_no_sound_at_all() -> None:
    assert sound.judged("hw:0", np.empty((0, 2), np.float32)).found == "hw:0: no sound comes"


@pytest.mark.parametrize(
    ("device", "state", "words"),
    [
        ("hw:CARD=Zero,DEV=0", "ok", "Zero (RPi Codec Zero)"),
        ("plughw:0,0", "ok", "Zero (RPi Codec Zero)"),
        ("default", "ok", "Zero (RPi Codec Zero)"),
        ("hw:CARD=Device,DEV=0", "missing", "there is no sound card 'Device' for hw:CARD=Device,DEV=0; there are Zero"),
        ("hw:1,0", "missing", "there is no sound card '1' for hw:1,0"),
        ("file:/tmp/x.wav", "not needed", "sound comes from file:/tmp/x.wav"),
    ],
)
def test_the_card_that_a_device_names(tmp_path: Path, device: str, state: str, words: str) -> None:
    text = f"board: rpi4-codec-zero\nacquisition: {{device: '{device}'}}\n"
    said = sound.card(pi4(tmp_path, text))
    assert said.state == state
    assert said.found.startswith(words)


def test_no_card_at_all(tmp_path: Path) -> None:
    said = sound.card(machine(tmp_path, "board: rpi4-codec-zero\n"))
    assert (said.state, said.found.endswith("there is no sound card at all")) == ("missing", True)
    said = sound.card(machine(tmp_path, "board: rpi4-codec-zero\nacquisition: {device: default}\n"))
    assert (said.state, "sound server" in said.found) == ("warning", True)


def test_the_card_that_plays_for_the_laser(tmp_path: Path) -> None:
    text = "board: rpi4-hifiberry-dacplusadcpro\nacquisition: {device: 'hw:CARD=Zero,DEV=0'}\n"
    said = sound.card(pi4(tmp_path, text))
    assert said.state == "missing"
    assert "no sound card 'sndrpihifiberry'" in said.found


def test_a_microphone_whose_card_is_missing_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(CannotTellError, match="its sound card is not there"):
        sound.microphone(machine(tmp_path, "board: rpi4-codec-zero\n"))


def test_recordings_and_the_simulated_cell(tmp_path: Path) -> None:
    assert sound.microphone(machine(tmp_path)).state == "not needed"
    file = tmp_path / "a.wav"
    text = f"board: sim\nacquisition: {{device: 'file:{file}'}}\n"
    assert sound.microphone(machine(tmp_path, text)).state == "missing"
    file.touch()
    assert sound.microphone(machine(tmp_path, text)).state == "ok"


def test_a_gateways_microphone_is_left_alone(tmp_path: Path) -> None:
    said = sound.microphone(pi4(tmp_path, gateways=(STATUS,)))
    assert said.state == "ok"
    assert said.found.endswith("the running gateway (process 4711): 100 blocks, 0 overruns, 0 frames lost")
    said = sound.microphone(pi4(tmp_path, gateways=({**STATUS, "overruns": 3},)))
    assert (said.state, "3 overruns" in said.found) == ("warning", True)
    assert sound.microphone(pi4(tmp_path, unit={"MainPID": "99"})).found.endswith("the running gateway (process 99)")


def test_who_has_a_busy_card(tmp_path: Path) -> None:
    owned = "state: RUNNING\nowner_pid   : 812\ntrigger_time: 1\n"
    files = {"proc/asound/cards": ZERO, "proc/asound/card0/pcm0c/sub0/status": owned, "proc/812/comm": "arecord\n"}
    assert sound._owner(machine(tmp_path, files=files)) == "process 812 (arecord)"
    assert sound._owner(machine(tmp_path / "other", files={"x/y": ""})) == ""
