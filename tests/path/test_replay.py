"""`replay` of recordings made by an independent generator: amplitude and frequency within stated limits, ppm
whatever the blocks, nothing in noise, and plain words for what is no recording."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.__main__ import main
from tests.recordings import tone, wav

GRAPH = """
acquisition: {{block_ms: {block_ms}}}
processing:
  default_graph:
    nodes:
      - {{id: input, type: input}}
      - {{id: spectrum, type: spectrum, parameters: {{fft_size: {fft_size}}}}}
      - {{id: peak, type: peak_finder, parameters: {{frequency_min: 1800, frequency_max: 2200}}}}
      - {{id: lock, type: lock_in, parameters: {{frequency_hz: 2013.7, integration_s: 1.0}}}}
      - {{id: co2, type: concentration, parameters: {{source: {source}, polynomial_coefficients: [0, 41000]}}}}
"""


def replay(capsys: pytest.CaptureFixture[str], file: Path, config: Path | None = None) -> list[dict[str, Any]]:
    """The objects that `spectrophone replay` prints."""
    arguments = ["replay", str(file), *(["--config", str(config)] if config else [])]
    assert main(arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def configuration(directory: Path, block_ms: int = 100, fft_size: int = 4096, source: str = "lock") -> Path:
    path = directory / f"{block_ms}-{fft_size}-{source}.yaml"
    path.write_text(GRAPH.format(block_ms=block_ms, fft_size=fft_size, source=source))
    return path


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_a_tone_off_every_grid(
    rate_hz: int, channels: int, subtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    amplitude, frequency_hz = 0.0731, 2013.7
    file = tmp_path / "tone.wav"
    file.write_bytes(wav(tone(frequency_hz, amplitude, rate_hz, 3.0, channels, 0.4, 1e-3, seed=7), rate_hz, subtype))
    found = replay(capsys, file, configuration(tmp_path))
    peaks = [fields for fields in found if fields["kind"] == "peak"]
    locks = [fields for fields in found if fields["kind"] == "lock_in"]
    assert len(peaks) == len(locks) == 3
    bound = 1e-3 * math.sqrt(2.0 / rate_hz)
    for peak in peaks:
        assert peak["valid"]
        assert bound / 2 < peak["sigma"] < 2 * bound
        assert abs(peak["amplitude"] - amplitude) < 4.5 * peak["sigma"]
        assert abs(peak["frequency_hz"] - frequency_hz) < 4.5 * peak["sigma_frequency_hz"]
    for lock in locks:
        assert abs(lock["in_phase"] - amplitude * math.cos(0.4)) < 4.5 * lock["sigma"]
        assert abs(lock["quadrature"] - amplitude * math.sin(0.4)) < 4.5 * lock["sigma"]


def test_ppm_knows_neither_block_length_nor_spectrum_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tone.wav"
    file.write_bytes(wav(tone(2013.7, 0.02, 48_000, 4.0, noise_rms=1e-3, seed=3), 48_000, "PCM_24"))
    ppm: dict[str, set[tuple[float, ...]]] = {"lock": set(), "peak": set()}
    for block_ms, fft_size in ((10, 256), (50, 1024), (100, 4096), (730, 4096), (1000, 65536)):
        for source in ppm:
            found = replay(capsys, file, configuration(tmp_path, block_ms, fft_size, source))
            values = tuple(round(o["ppm"], 6) for o in found if o["kind"] == "measurement")
            assert len(values) == 4
            ppm[source].add(values)
    for values in ppm.values():
        spread = np.ptp(np.array(sorted(values)), axis=0).max()
        assert spread < 0.01  # of 820 ppm with a sigma of 0.3: rounding of float32 sums, nothing else


def test_white_noise_yields_no_detection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "noise.wav"
    file.write_bytes(wav(tone(2013.7, 0.0, 48_000, 60.0, noise_rms=0.01, seed=11), 48_000, "PCM_16"))
    found = replay(capsys, file, configuration(tmp_path))
    peaks = [fields for fields in found if fields["kind"] == "peak"]
    assert len(peaks) == 60
    assert not any(peak["valid"] or peak["frequency_hz"] for peak in peaks)
    ppm = [(o["ppm"], o["sigma_ppm"]) for o in found if o["kind"] == "measurement"]
    assert abs(np.mean([value / sigma for value, sigma in ppm])) < 4.5 / math.sqrt(60)


def test_the_built_in_graph_hears_a_mono_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mono.wav"
    file.write_bytes(wav(tone(2012.5, 0.02, 48_000, 2.0, 1), 48_000, "PCM_16"))
    assert main(["replay", str(file)]) == 0
    out, err = capsys.readouterr()
    peaks = [json.loads(line) for line in out.splitlines() if '"peak"' in line and '"valid"' in line]
    assert [peak["valid"] for peak in peaks] == [True, True]
    assert peaks[0]["amplitude"] == pytest.approx(0.02 * 10 ** (12 / 20), rel=1e-3)
    assert "differential" in err
    assert '"measurement"' not in out


def test_nan_is_flagged_and_never_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tone(2013.7, 0.02, 48_000, 3.0)
    samples[60_000] = np.nan
    file = tmp_path / "nan.wav"
    file.write_bytes(wav(samples, 48_000, "FLOAT"))
    measurements = [o for o in replay(capsys, file, configuration(tmp_path)) if o["kind"] == "measurement"]
    assert [m["valid"] for m in measurements] == [True, False, True]
    assert "not_finite" in measurements[1]["flags"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"RIFF\x24\0\0\0WAVE", ""),
        (b"This is a letter, not a sound.", "is not a sound file"),
        (wav(np.zeros((0, 2)), 48_000, "PCM_16"), "holds no sound"),
        (wav(np.zeros((100, 3)), 48_000, "PCM_16"), "has 3 channels"),
        (wav(tone(2000.0, 0.1), 48_000, "PCM_16")[:-1000], "is cut short: 47750 of 48000 frames"),
    ],
)
def test_what_is_no_recording_is_told_in_a_sentence(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.wav"
    if content is not None:
        file.write_bytes(content)
    assert main(["replay", str(file), "--config", str(configuration(tmp_path))]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "bad.wav" in err
    assert "Traceback" not in err


def test_a_graph_that_does_not_fit_the_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, config = tmp_path / "mono.wav", tmp_path / "stereo.yaml"
    file.write_bytes(wav(tone(2012.5, 0.02, 48_000, 1.0, 1), 48_000, "PCM_16"))
    config.write_text("box: {id: lab}\n")
    assert main(["replay", str(file), "--config", str(config)]) == 2
    assert "differential needs two channels" in capsys.readouterr().err
