"""`record`: the configured microphone to a file, with the laser lit, until the time is over or somebody ends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from drivers.recorder import Recorder
from gateway import build, configured, design
from gateway.actions.settings import ActionSettings
from gateway.board import Board
from gateway.check import Checked
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.config.redact import redact
from gateway.service import guarded, light, until_told


def recomputable(checked: Checked) -> dict[str, str]:
    """What a replay needs beside the sound: the configuration without its secrets, and without MQTT and journal, and
    the calibration files that it names, by node. Of action nodes it has what raises their alerts: what they deliver to,
    or run, need not be where it is replayed.
    """
    config, board = configured.accepted(checked)
    data = {name: section for name, section in checked.document.data.items() if name not in ("mqtt", "journal")}
    if "processing" in data:
        graph = data["processing"]["default_graph"]
        told = design.actions(config)
        nodes = [_alerting(node) if node["id"] in told else node for node in graph["nodes"]]
        data["processing"] = {**data["processing"], "default_graph": {**graph, "nodes": nodes}}
    text = yaml.safe_dump({**data, "board": board.name}, sort_keys=False, allow_unicode=True)
    files = {name: file.read_text("utf-8") for name, file in design.calibration_files(config).items()}
    return {"configuration": redact(text, checked.secrets), "calibrations": json.dumps(files)}


def _alerting(node: dict[str, Any]) -> dict[str, Any]:
    """An action node with what all of them have, and nothing behind it."""
    parameters = {name: value for name, value in node["parameters"].items() if name in ActionSettings.model_fields}
    return {"id": node["id"], "type": "universal_action", "parameters": parameters}


async def record(
    out: Path,
    seconds: float,
    config: Config,
    board: Board,
    clock: Clock,
    *,
    written: Mapping[str, str],
    overwrite: bool,
    seen: Callable[[float], None],
) -> dict[str, Any]:
    """Record `seconds` of sound into `out`, and tell about it. `written` is what is to stand in the file.

    `seen` is called with the seconds that are done. SIGINT and SIGTERM end the recording early; what is there is kept.
    Raises DeviceError, and RecordingError with what could be saved.
    """
    parts = build.parts(config.model_copy(update={"mqtt": None}), board, clock)
    metadata = {"software": f"spectrophone {design.VERSION}", "box": parts.face.box, **written}
    microphone = parts.inputs.microphone
    recorder = Recorder(out, microphone.rate_hz, microphone.channels, metadata=metadata, overwrite=overwrite)

    async def take() -> None:
        frames = round(seconds * microphone.rate_hz)
        async for block in parts.inputs.settled():
            recorder.write(block.first_frames(frames - recorder.frames))
            seen(recorder.seconds)
            if recorder.frames >= frames:
                return

    try:
        with guarded(parts):
            light(parts.outputs, config, board)
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
