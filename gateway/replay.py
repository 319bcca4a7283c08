"""A recording through the very same path as live sound, as fast as it goes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File

import yaml

from drivers.microphone import FileMicrophone
from drivers.recording import Recording, read_metadata
from gateway import configured, design, detect, hardware
from gateway.board import Board
from gateway.calibration import load
from gateway.check import acquisition
from gateway.clock import RealClock
from gateway.config.config import Config, Graph, Processing
from gateway.errors import RecordingError, UsageError
from gateway.inputs import Inputs
from gateway.outputs import Outputs
from gateway.path import Path
from gateway.types import Tick


@dataclass(frozen=True, slots=True)
class Replay:
    """A recording and the path it goes through, which is made of `config`. `notes` is what the user should know, in
    sentences.
    """

    inputs: Inputs
    path: Path
    seconds: float
    notes: tuple[str, ...]
    config: Config

    async def ticks(self) -> AsyncIterator[Tick]:
        """One tick per block. Raises RecordingError where the sound ends early."""
        try:
            async for block in self.inputs.blocks():
                yield self.path.tick(block, ())
        finally:
            self.inputs.microphone.close()


def prepare(file: File, config_file: File | None, calibration_file: File | None = None, board: str = "") -> Replay:
    """A replay of `file` with the configuration in `config_file`, or else the recording's own, or else the built-in
    one, on `board` or else this machine's own; `calibration_file` takes the place of the calibration in it.

    Raises RecordingError for a file that is no recording, ConfigError for a configuration or calibration with faults,
    UsageError where the calibration belongs to no node.
    """
    with tempfile.TemporaryDirectory() as directory:
        return _prepared(file, config_file, calibration_file, board, File(directory))


def _prepared(
    file: File, config_file: File | None, calibration_file: File | None, known: str, directory: File
) -> Replay:
    """See prepare(); `directory` is room for the recording's own files, which are read before it is gone."""
    notes: list[str] = []
    config, board = _configuration(file, config_file, known, directory, notes)
    listening = acquisition(config, board)
    recording = Recording(file)
    seconds = (recording.promised or 0) / recording.rate_hz
    heard = design.Sound(recording.rate_hz, recording.channels)
    recording.close()
    if config_file is None and heard.channels == 1:
        config = _for_one_channel(config, notes)
    if calibration_file is not None:
        config = calibrated(config, calibration_file, notes)
    path = design.path(config, board, heard)
    frames = max(1, heard.rate_hz * listening.block_ms // 1000)
    microphone = FileMicrophone(file, frames, realtime=False, clock=RealClock())
    inputs = Inputs(microphone, Outputs([]), hardware.climate(config, None), hardware.light(config))
    return Replay(inputs, path, seconds, tuple(notes), config)


def _configuration(
    file: File, config_file: File | None, board: str, directory: File, notes: list[str]
) -> tuple[Config, Board]:
    if config_file is not None:
        return configured.accepted(configured.prepare(config_file))
    metadata = read_metadata(file)
    if metadata.get("configuration"):
        notes.append("the recording brings its own configuration")
        return configured.accepted(configured.prepare(unpacked(metadata, directory)))
    built_in = directory / "built-in.yaml"
    built_in.write_text(f"board: {board or detect.default()}\n")
    return configured.accepted(configured.prepare(built_in))


def unpacked(metadata: Mapping[str, str], directory: File) -> File:
    """The configuration that `gateway.capture.recomputable` packed, as a file in `directory`, with the calibrations
    beside it. Raises RecordingError where they cannot be read.
    """
    file = directory / "configuration.yaml"
    file.write_text(_with_files(metadata, directory), "utf-8")
    return file


def _with_files(metadata: Mapping[str, str], directory: File) -> str:
    """The packed configuration, its calibrations written into `directory` and named there."""
    text = metadata["configuration"]
    try:
        calibrations = json.loads(metadata.get("calibrations", "{}"))
        data = yaml.safe_load(text)
        for node in data["processing"]["default_graph"]["nodes"] if calibrations else ():
            if node["id"] in calibrations:
                file = directory / f"{node['id']}.toml"
                file.write_text(calibrations[node["id"]], "utf-8")
                node["parameters"]["calibration"] = str(file)
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise RecordingError(f"the recording's own configuration cannot be read: {error}", "Give --config") from None
    return yaml.safe_dump(data) if calibrations else text


def calibrated(config: Config, file: File, notes: list[str]) -> Config:
    """The configuration with the calibration in `file` for its concentration node; of several, for the one it names.
    What the user should know is added to `notes`.

    Raises ConfigError for a calibration with faults, UsageError where it belongs to no node.
    """
    calibration = load(file)
    graph = config.processing.default_graph
    ids = [node.id for node in graph.nodes if node.type == "concentration"]
    if not ids:
        raise UsageError(f"--calibration {file}: there is no concentration node to calibrate", "Give another --config")
    name = ids[0] if len(ids) == 1 else calibration.node
    if name not in ids:
        message = f"--calibration {file}: it is of node '{name}', and there is none of that name"
        raise UsageError(message, f"The concentration nodes are {', '.join(ids)}")
    notes.append(f"{name} is calibrated by {file} ({calibration.id or 'written by hand'})")
    changes = {"calibration": file, "polynomial_coefficients": None, "temperature_compensation": None}
    nodes = tuple(
        node.model_copy(update={"parameters": node.parameters.model_copy(update=changes)}) if node.id == name else node
        for node in graph.nodes
    )
    changed = graph.model_copy(update={"nodes": nodes})
    return config.model_copy(update={"processing": Processing(default_graph=changed)})


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
