"""Sound that is played into a real kernel's card comes out as the ppm that it stands for."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest

from tests.hil.guest import VENV, Guest

BOX = "/etc/spectrophone/sound.yaml"
AMPLITUDE = 9000.0 / 32768.0
GAIN = 10.0 ** (12.0 / 20.0)  # the built-in graph's preamp
PPM = 41_000.0 * 2.0 * AMPLITUDE * GAIN
"""Of the built-in graph: the difference of two microphones that hear the tone in antiphase, 41 000 ppm a full scale."""
CONFIG = """\
board: rpi4-codec-zero
box: {id: sound}
acquisition: {format: S16_LE}
climate: {sensor: "off"}
laser: {reference: free, frequency_hz: 2012.5}
"""
TONE = """
import alsaaudio, numpy as np
tone = np.round(9000 * np.sin(2 * np.pi * 2012.5 / 48000 * np.arange(96000))).astype("<i2")
data = np.stack([tone, -tone], axis=1).tobytes()
card = alsaaudio.PCM(type=alsaaudio.PCM_PLAYBACK, device="hw:Zero,1", rate=48000, channels=2,
                     format=alsaaudio.PCM_FORMAT_S16_LE, periodsize=4800)
while True:
    for n in range(0, len(data), 19200):
        card.write(data[n : n + 19200])
"""


def peaks_and_values(guest: Guest) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What was heard so far: tones, and concentrations."""
    whole = guest.shell("cat /run/sound.jsonl 2> /dev/null", check=False).out.rpartition("\n")[0]
    objects = [json.loads(line) for line in whole.splitlines()]
    peaks = [each for each in objects if each["kind"] == "peak" and each["frequency_hz"] is not None]
    return peaks, [each for each in objects if each["kind"] == "measurement" and each["ppm"] is not None]


def test_what_is_played_into_the_card_is_measured_as_ppm(guest: Guest) -> None:
    """The laser may be dark (nobody closes the interlock here): amplitude and frequency are what is looked at."""
    guest.put(CONFIG.encode(), BOX)
    guest.put(TONE.encode(), "/opt/sound.py")
    tone = guest.start(f"{VENV}/bin/python", "/opt/sound.py")
    gateway = guest.start("sh", "-c", f"exec {VENV}/bin/spectrophone run --json --config {BOX} > /run/sound.jsonl")
    try:
        end = time.monotonic() + 60.0
        while len(found := peaks_and_values(guest)[1]) < 5:
            assert time.monotonic() < end, found
            time.sleep(0.5)
    finally:
        gateway.signal(15)
        gateway.wait()
        tone.signal(15)
    peaks, values = peaks_and_values(guest)
    # The card's clock is the guest's own: what a late tick costs is frames, which are counted, not hertz.
    assert peaks[-1]["frequency_hz"] == pytest.approx(2012.5, abs=0.05)
    assert values[-1]["ppm"] == pytest.approx(PPM, rel=2e-4 + 1.0 / 32768.0 / AMPLITUDE)
    print(f"\nplayed {PPM:.1f} ppm, measured {values[-1]['ppm']:.1f} +- {values[-1]['sigma_ppm']:.2f}")
    assert not math.isnan(values[-1]["sigma_ppm"])
