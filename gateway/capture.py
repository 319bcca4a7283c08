"""`record`: the configured microphone to a file, with the laser lit, until the time is over or somebody ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from drivers.recorder import Recorder
from gateway import build
from gateway.board import Board
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.service import light, until_told


async def record(
    out: Path,
    seconds: float,
    config: Config,
    board: Board,
    clock: Clock,
    *,
    text: str,
    overwrite: bool,
    seen: Callable[[float], None],
) -> dict[str, Any]:
    """Record `seconds` of sound into `out`, and tell about it. `text` is the configuration as written.

    `seen` is called with the seconds that are done. SIGINT and SIGTERM end the recording early; what is there is kept.
    Raises DeviceError, and RecordingError with what could be saved.
    """
    parts = build.parts(config.model_copy(update={"mqtt": None}), board, clock)
    metadata = {"software": f"spectrophone {build.VERSION}", "box": parts.face.box, "configuration": text}
    microphone = parts.microphone
    recorder = Recorder(out, microphone.rate_hz, microphone.channels, metadata=metadata, overwrite=overwrite)
    light(parts.outputs, config, board)

    async def take() -> None:
        frames = round(seconds * microphone.rate_hz)
        async for block in microphone.blocks():
            recorder.write(block.first_frames(frames - recorder.frames))
            seen(recorder.seconds)
            if recorder.frames >= frames:
                return

    try:
        await until_told(take())
    finally:
        parts.outputs.close()
        microphone.close()
        recorder.close()
    return {
        "kind": "recording",
        "file": str(out),
        "seconds": recorder.seconds,
        "rate_hz": microphone.rate_hz,
        "channels": microphone.channels,
        "lost_frames": recorder.lost_frames,
    }
