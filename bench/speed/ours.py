"""The gateway's own parts, each fed with blocks: the demodulator, the lock_in node, the whole default graph."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import yaml

from bench.speed.sound import FREQUENCY_HZ, RATE, SECOND_HZ
from gateway import build, configured, design
from gateway.dsp.demodulator import Demodulator, Phasors, exact
from gateway.graph import Graph, Step, fit
from gateway.nodes import SETTINGS
from gateway.nodes.place import start
from gateway.path import Path as Computation
from gateway.types import LockInResult, Result, SampleBlock

_DEFAULT = Path(build.__file__).parent / "config" / "default.yaml"
_GAIN = 10 ** (12 / 20)
"""The `preamp` of the default graph."""


class FrontEnd:
    """gateway.dsp.demodulator on both channels, fed as the graph feeds it: what a record takes at a time."""

    signal = "A"

    def __init__(self) -> None:
        self._demodulator = Demodulator([exact(FREQUENCY_HZ)], RATE, 2)
        self._phasors: list[Phasors] = []
        self._held: list[SampleBlock] = []

    def push(self, block: SampleBlock) -> None:
        """Take a block."""
        self._held.append(block)
        if (block.frame + len(block.samples)) % RATE == 0:
            sound = self._held[0].samples if len(self._held) == 1 else np.concatenate([b.samples for b in self._held])
            self._phasors.append(self._demodulator.push(self._held[0].frame, sound)[1])
            self._held = []

    def amplitude(self) -> float:
        """The mean phasor's length, channel A."""
        return float(abs(np.concatenate(self._phasors)[:, 0, 0].mean()))


class LockInNode:
    """A graph of one lock_in, which takes channel A."""

    signal = "A"

    def __init__(self) -> None:
        step = Step("lock_in", "lock_in", SETTINGS["lock_in"].model_validate({}), None)
        fitted = list(fit([step], start(RATE, 2, exact(FREQUENCY_HZ))))
        self._graph = Graph(fitted)  # type: ignore[arg-type]
        self._last: tuple[Result, ...] = ()

    def push(self, block: SampleBlock) -> None:
        """Take a block."""
        self._last = self._graph.process(block) or self._last

    def amplitude(self) -> float:
        """Of the last record."""
        (result,) = self._last
        assert isinstance(result, LockInResult)
        return float(np.hypot(result.in_phase, result.quadrature))


class DefaultGraph:
    """Graph, alarms and rules of the built-in configuration."""

    signal = "A-B"

    def __init__(self) -> None:
        self._path = computation(None)

    def push(self, block: SampleBlock) -> None:
        """Take a block."""
        self._path.tick(block, ())

    def amplitude(self) -> float:
        """Of the last record, without the graph's gain."""
        result = self._path.state.results["co2_lock_in"]
        assert isinstance(result, LockInResult)
        return float(np.hypot(result.in_phase, result.quadrature)) / _GAIN


class TwoGases(DefaultGraph):
    """The default graph with a lock_in and a concentration for a second gas line on the same microphones."""

    def __init__(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(two_gases())
            file.flush()
            self._path = computation(Path(file.name))


def computation(configuration: Path | None) -> Computation:
    """The path of a configuration, the built-in one if None, for stereo sound at RATE."""
    config, board = configured.accepted(configured.prepare(configuration))
    return design.path(config, board, design.Sound(RATE, 2))


def two_gases() -> str:
    """The default configuration with a second gas line, YAML."""
    document = yaml.safe_load(_DEFAULT.read_text("utf-8"))
    nodes = document["processing"]["default_graph"]["nodes"]
    line = {"source": "h2o_lock_in", "polynomial_coefficients": [0, 30000]}
    nodes[-1:-1] = [
        {"id": "h2o_lock_in", "type": "lock_in", "parameters": {"frequency_hz": SECOND_HZ}},
        {"id": "h2o_concentration", "type": "concentration", "parameters": line},
    ]
    return yaml.safe_dump(document)
