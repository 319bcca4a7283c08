"""Sound for the tests, made without the gateway and without its libraries: tones, noise, and WAV files byte
by byte.

Nothing here is shared with drivers/ or gateway/: what both would get wrong alike, no test would find.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

WORDS = {"PCM_16": (1, 16), "PCM_24": (1, 24), "PCM_32": (1, 32), "FLOAT": (3, 32)}
"""WAV format tag and bits per sample, by soundfile's name of the format."""


def tone(
    frequency_hz: float,
    amplitude: float,
    rate_hz: int = 48_000,
    seconds: float = 1.0,
    channels: int = 2,
    phase_rad: float = 0.0,
    noise_rms: float = 0.0,
    seed: int = 0,
    antiphase: bool = True,
) -> np.ndarray:
    """amplitude * cos(2 pi f t + phase), float64 [frames, channels], with white noise of its own in each
    channel.

    With `antiphase` the second channel is the first one upside down.
    """
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = amplitude * np.cos(2.0 * np.pi * np.remainder(frequency_hz * t, 1.0) + phase_rad)
    signs = np.array([1.0, -1.0 if antiphase else 1.0])[:channels]
    noise = np.random.default_rng(seed).standard_normal((len(t), channels))
    return wave[:, None] * signs + noise_rms * noise


def words(samples: np.ndarray, subtype: str) -> bytes:
    """`samples` (full scale +-1) as interleaved little-endian words of `subtype`, rounded to the nearest."""
    if subtype == "FLOAT":
        return samples.astype("<f4").tobytes()
    bits = WORDS[subtype][1]
    top = 2.0 ** (bits - 1)
    whole = np.clip(np.rint(samples * top), -top, top - 1.0).astype("<i8")
    return whole.reshape(-1, 1).view(np.uint8)[:, : bits // 8].tobytes()


def wav(samples: np.ndarray, rate_hz: int, subtype: str) -> bytes:
    """A WAV file of `samples` [frames, channels], as bytes."""
    tag, bits = WORDS[subtype]
    channels = samples.shape[1]
    frame = channels * bits // 8
    data = words(samples, subtype)
    head = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * frame, frame, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    body += b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = 48_000, subtype: str = "PCM_24") -> Path:
    """`wav` in a file; returns the path."""
    path.write_bytes(wav(samples, rate_hz, subtype))
    return path
