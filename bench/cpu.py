"""CPU for one second of 48 kHz stereo: demodulator, default graph, whole loop, at three block lengths, in one run;
then each node of the default graph, within it.

Prints microseconds of process CPU per second of sound, the least of several repeats, and each as a multiple of the
floor, which is a copy of the same sound from int16 to float32 with numpy.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from gateway import configured, design, loop
from gateway.clock import RealClock, cpu_ns
from gateway.dsp.demodulator import Demodulator, exact
from gateway.graph import Fitted, Graph, commuted, fit
from gateway.inbox import CommandInbox
from gateway.inputs import Inputs
from gateway.nodes.place import start
from gateway.outputs import Outputs
from gateway.readings import JsonReadings
from gateway.simulation import simulated_cell
from gateway.types import SampleBlock
from gateway.watch import Watch

RATE, SECONDS, REPEATS = 48_000, 20, 5


class Silent:
    """Takes lines and forgets them."""

    def put(self, line: str) -> None:
        """Forget it."""


class Ready:
    """A microphone with all its blocks ready."""

    rate_hz, channels = RATE, 2

    def __init__(self, blocks: list[SampleBlock]) -> None:
        self._blocks = blocks

    async def blocks(self) -> AsyncGenerator[SampleBlock]:
        """All blocks, at once."""
        for block in self._blocks:
            yield block

    def close(self) -> None:
        """Nothing to close."""


class Timed:
    """A node that adds up the CPU time of its calls."""

    def __init__(self, node: Any) -> None:
        self._node, self.spent_ns = node, 0

    @property
    def due(self) -> int:
        """As the node says."""
        return int(self._node.due)

    def process(self, *arguments: Any) -> Any:
        """What the node makes of it."""
        begin = cpu_ns()
        made = self._node.process(*arguments)
        self.spent_ns += cpu_ns() - begin
        return made


def nodes(fitted: Callable[[], list[Fitted]], blocks: list[SampleBlock]) -> dict[str, float]:
    """Microseconds of CPU per second of sound of each node by its id: the least of REPEATS."""
    best: dict[str, float] = {}
    for _ in range(REPEATS):
        timed = [replace(each, node=Timed(each.node)) for each in fitted()]
        graph = Graph(timed)
        for block in blocks:
            graph.process(block)
        for each in timed:
            best[each.step.id] = min(best.get(each.step.id, float("inf")), each.node.spent_ns / 1000 / SECONDS)
    return best


def show(rows: dict[str, list[float]], floor: list[float]) -> None:
    """A line for each row."""
    for name, figures in rows.items():
        ratios = [figure / base for figure, base in zip(figures, floor, strict=True)]
        cells = "".join(f"{figure:9.0f} ({ratio:5.1f}) " for figure, ratio in zip(figures, ratios, strict=True))
        print(f"{name:22}{cells}")


def per_second(run: Callable[[], object]) -> float:
    """Microseconds of CPU per second of sound: the least of REPEATS."""
    best = float("inf")
    for _ in range(REPEATS):
        begin = cpu_ns()
        run()
        best = min(best, (cpu_ns() - begin) / 1000 / SECONDS)
    return best


def main() -> None:
    """Measure and print."""
    config, board = configured.accepted(configured.prepare(None))
    heard = design.sound(config, board)
    samples = simulated_cell(config, heard.rate_hz, heard.channels).sound(0, RATE * SECONDS)
    raw = (samples * 32767).astype(np.int16)
    print(f"microseconds of CPU per second of {RATE} Hz stereo (times the floor)")
    print(f"{'':22}" + "".join(f"{ms:>8} ms blocks " for ms in (10, 100, 1000)))
    rows: dict[str, list[float]] = {}
    by_node: dict[str, list[float]] = {}

    def fitted() -> list[Fitted]:
        place = start(RATE, 2, exact(config.laser.frequency_hz))
        return [each for each in fit(commuted(design.steps(config)), place) if isinstance(each, Fitted)]

    for ms in (10, 100, 1000):
        size = RATE * ms // 1000
        blocks = [
            SampleBlock(i, at, RATE, samples[at : at + size]) for i, at in enumerate(range(0, len(samples), size))
        ]
        parts = [raw[at : at + size] for at in range(0, len(raw), size)]

        def floor(parts: list[np.ndarray] = parts) -> None:
            for part in parts:
                part.astype(np.float32)

        def demodulator(blocks: list[SampleBlock] = blocks) -> None:
            one = Demodulator([exact(2012.5)], RATE, 2)
            for block in blocks:
                one.push(block.frame, block.samples)

        def graph(blocks: list[SampleBlock] = blocks) -> None:
            path = design.path(config, board, heard)
            for block in blocks:
                path.tick(block, ())

        def whole(blocks: list[SampleBlock] = blocks) -> None:
            outputs = Outputs([])
            watch = Watch(RealClock(), outputs.lose, outputs.restore)
            path = design.path(config, board, heard)
            sinks = [JsonReadings(Silent())]  # type: ignore[arg-type]
            asyncio.run(loop.run(Inputs(Ready(blocks), outputs), path, outputs, sinks, CommandInbox(), watch))

        for run in (floor, demodulator, graph, whole):
            rows.setdefault(run.__name__, []).append(per_second(run))
        for name, figure in nodes(fitted, blocks).items():
            by_node.setdefault(name, []).append(figure)
    show(rows, rows["floor"])
    hundred = rows["whole"][1]
    share = rows["graph"][1] / hundred
    print(f"whole loop at 100 ms blocks: {hundred / 1e4:.2f} % of one core; default graph is {share:.0%} of it")
    print("the default graph, node by node")
    show(by_node, rows["floor"])


if __name__ == "__main__":
    main()
