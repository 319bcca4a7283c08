"""The gateway on a real, paced ALSA device: a known tone within its sigma, and a stalled reader that is counted."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from tests.real.gateway import command, gateway
from tests.real.paced_alsa import DEVICE, feed, paced_device
from tests.recordings import tone, words

AMPLITUDE, FREQUENCY_HZ = 0.1, 2013.7
CONFIG = f"""
box: {{id: lab}}
acquisition: {{device: {DEVICE}, format: S16_LE, channels: 2, rate_hz: 48000}}
processing:
  default_graph:
    nodes:
      - {{id: peak, type: peak_finder, parameters: {{frequency_min: 1800, frequency_max: 2200}}}}
      - {{id: level, type: level}}
"""


def test_a_known_tone_is_measured_and_a_stalled_reader_is_counted(tmp_path: Path) -> None:
    config = tmp_path / "lab.yaml"
    config.write_text(CONFIG)
    sound = words(tone(FREQUENCY_HZ, AMPLITUDE, 48_000, 10.0, noise_rms=1e-3, seed=1), "PCM_16")
    arguments = ("run", "--json", "--config", str(config))
    with (
        paced_device(tmp_path, sample_format="S16_LE") as device,
        feed(device, sound),
        gateway(tmp_path, *arguments, environ=device.environment) as box,
    ):
        box.wait(lambda: len([p for p in box.objects("peak") if p["valid"]]) >= 4, "four tones")
        box.process.send_signal(signal.SIGSTOP)
        time.sleep(12.0)  # longer than the device keeps sound for us
        box.process.send_signal(signal.SIGCONT)
        seen = len(box.objects("peak"))
        box.wait(lambda: len([p for p in box.objects("peak")[seen:] if p["valid"]]) >= 4, "tones after the stall")
        status = json.loads(command(tmp_path, "status", "--json").stdout)
        assert box.stop() == 0
    assert status["lost_frames"] > 24_000
    peaks = box.objects("peak")
    assert any("lost_samples" in peak["flags"] for peak in peaks)
    for peak in peaks:
        assert peak["valid"] == (not peak["flags"])
        if peak["valid"]:
            assert abs(peak["amplitude"] - AMPLITUDE) < 4.5 * peak["sigma"]
            assert abs(peak["frequency_hz"] - FREQUENCY_HZ) < 4.5 * peak["sigma_frequency_hz"]
    t_s = [peak["t_s"] for peak in peaks]
    assert t_s == sorted(t_s)


def test_a_missing_device_names_those_there_are(tmp_path: Path) -> None:
    with paced_device(tmp_path) as device:
        done = command(tmp_path, "run", "--microphone", "hw:7,3", environ=device.environment)
    assert done.returncode == 1
    assert "hw:7,3" in done.stderr
    assert DEVICE in done.stderr
    assert "Traceback" not in done.stderr
