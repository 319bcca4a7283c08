"""A recording through the very same path as live sound, as fast as it goes."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path as File

from drivers.microphone import FileMicrophone
from drivers.recording import Recording, read_metadata
from gateway import build
from gateway.board import Board
from gateway.check import acquisition
from gateway.clock import RealClock
from gateway.config.config import Config, Graph, Processing
from gateway.path import Path
from gateway.types import Tick


@dataclass(frozen=True, slots=True)
class Replay:
    """A recording and the path it goes through. `notes` is what the user should know, in sentences."""

    microphone: FileMicrophone
    path: Path
    seconds: float
    notes: tuple[str, ...]

    async def ticks(self) -> AsyncIterator[Tick]:
        """One tick per block. Raises RecordingError where the sound ends early."""
        try:
            async for block in self.microphone.blocks():
                yield self.path.tick(block, ())
        finally:
            self.microphone.close()


def prepare(file: File, config_file: File | None) -> Replay:
    """A replay of `file` with the configuration in `config_file`, or else the recording's own, or else the built-in
    one.

    Raises RecordingError for a file that is no recording, ConfigError for a configuration with faults.
    """
    notes: list[str] = []
    config, board = _configuration(file, config_file, notes)
    listening = acquisition(config, board)
    recording = Recording(file)
    seconds = (recording.promised or 0) / recording.rate_hz
    heard = build.Sound(recording.rate_hz, recording.channels)
    recording.close()
    if config_file is None and heard.channels == 1:
        config = _for_one_channel(config, notes)
    path = build.path(config, board, heard)
    frames = max(1, heard.rate_hz * listening.block_ms // 1000)
    return Replay(FileMicrophone(file, frames, realtime=False, clock=RealClock()), path, seconds, tuple(notes))


def _configuration(file: File, config_file: File | None, notes: list[str]) -> tuple[Config, Board]:
    if config_file is not None:
        return build.accepted(build.prepare(config_file))
    text = read_metadata(file).get("configuration")
    if not text:
        return build.accepted(build.prepare(None))
    notes.append(f"{file} brings its own configuration")
    with tempfile.TemporaryDirectory() as directory:
        own = File(directory) / "configuration.yaml"
        own.write_text(text, "utf-8")
        return build.accepted(build.prepare(own))


def _for_one_channel(config: Config, notes: list[str]) -> Config:
    """The configuration without the nodes that need two channels, and without the ppm that would be wrong then."""
    graph = config.processing.default_graph
    left_out = [node.id for node in graph.nodes if node.type in ("differential", "concentration")]
    if not left_out or graph.connections:
        return config
    notes.append(f"the recording is mono: {', '.join(left_out)} left out. Give --config for a graph of your own")
    nodes = tuple(node for node in graph.nodes if node.id not in left_out)
    processing = Processing(default_graph=Graph(id=graph.id, nodes=nodes))
    return config.model_copy(update={"processing": processing, "rules": ()})
