"""What action nodes cost the measurement: CPU of a block through path, journal and sinks, with none, one, ten and fifty
of them, in one run; and whether a day of blocks holds memory flat.

Each node watches the concentration, has two thresholds and a data timeout, and a durable driver whose target takes
everything at once. The journal is a real file. Times are of one block of 100 ms, the least of several rounds.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.journal import one
from gateway import build, configured, design
from gateway.actions.action import Action
from gateway.actions.actions import Actions
from gateway.actions.history import History
from gateway.actions.statistics import Statistics
from gateway.clock import RealClock
from gateway.config.config import DEFAULT
from gateway.config.sections import JournalSection
from gateway.journal.entry import Entry
from gateway.journal.journal import Journal
from gateway.simulation import simulated_cell
from gateway.types import Outcome, SampleBlock, Snapshot, Tick
from tests.support.clock import FakeClock

RATE, BLOCK, BLOCKS, ROUNDS = 48_000, 4_800, 200, 5
NODES = (0, 1, 10, 50)
DAY_S, BLOCKS_A_SECOND = 86_400, 10
TURNS = 20
"""Of the event loop in an accelerated second, so that the action nodes keep up as they do in a real one."""


class Swallow:
    """A driver whose target takes everything."""

    async def start(self) -> None:
        """Nothing to do."""

    async def deliver(self, batch: Sequence[Entry]) -> None:
        """Taken."""

    def status(self) -> Mapping[str, Any]:
        """Nothing to tell."""
        return {}

    async def close(self) -> None:
        """Nothing to do."""


def written(directory: Path, count: int) -> build.Config:
    """The built-in configuration with `count` action nodes behind it."""
    data = yaml.safe_load(DEFAULT.read_text())
    watching = {"monitored_nodes": ["co2_concentration"], "concentration_threshold": 1000, "data_timeout_s": 10}
    for index in range(count):
        node = {"id": f"a{index}", "type": "universal_action", "parameters": watching}
        data["processing"]["default_graph"]["nodes"].append(node)
    file = directory / "box.yaml"
    file.write_text(yaml.safe_dump(data))
    return configured.accepted(configured.prepare(file))[0]


def parts(config: build.Config, journal: Journal, clock: Any) -> Actions:
    """Its action nodes, each with a driver that swallows."""
    rng = np.random.default_rng(1)

    def make(name: str, settings: Any, history: Any) -> Action:
        return Action(
            name, settings, Swallow(), durable=True, journal=journal, clock=clock, rng=rng,
            history=History(settings.capacity), statistics=Statistics(),
        )  # fmt: skip

    return Actions(design.actions(config), journal, make)


async def block_us(directory: Path, count: int, samples: np.ndarray) -> tuple[float, float]:
    """Microseconds of a block in path and sinks, median and 99th percentile; the best of the rounds."""
    config, board = configured.accepted(configured.prepare(None))
    config = written(directory, count)
    best = (np.inf, np.inf)
    for number in range(ROUNDS):
        path, clock = design.path(config, board, design.sound(config, board)), RealClock()
        journal = Journal(directory / f"{count}-{number}.journal", JournalSection(), clock)
        actions = parts(config, journal, clock)
        await journal.start()
        await actions.start()
        took = []
        for index in range(BLOCKS):
            block = SampleBlock(index, index * BLOCK, RATE, samples[index * BLOCK : (index + 1) * BLOCK])
            begin = time.perf_counter_ns()
            tick = path.tick(block, ())
            journal.offer(tick, Outcome())
            actions.offer(tick, Outcome())
            took.append((time.perf_counter_ns() - begin) / 1e3)
            await asyncio.sleep(0)
        await actions.close()
        await journal.close()
        best = min(best, (float(np.mean(took)), float(np.percentile(took, 99))))
    return best


def resident_mb() -> float:
    """What this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


async def a_day(directory: Path) -> None:
    """A day of ticks, ten a second, through journal and ten action nodes."""
    clock = FakeClock()
    journal = Journal(directory / "day.journal", JournalSection(), clock)
    actions = parts(written(directory, 10), journal, clock)
    await journal.start()
    await actions.start()
    for second in range(DAY_S):
        measured = one(clock.monotonic_ns(), second)
        for part in range(BLOCKS_A_SECOND):
            tick = measured if part == 0 else Tick(second, measured.t_ns, measured.utc_ns, (), (), (), Snapshot())
            journal.offer(tick, Outcome())
            actions.offer(tick, Outcome())
        for _ in range(TURNS):
            await asyncio.sleep(0)
        clock.advance(1.0)
        if second % (4 * 3600) == 3600:
            print(f"after {second // 3600:2} h  {resident_mb():7.1f} MB, {journal.newest} the newest entry")
    await actions.close()
    await journal.close()


def main() -> None:
    """Measure and print."""
    config, board = configured.accepted(configured.prepare(None))
    heard = design.sound(config, board)
    samples = simulated_cell(config, heard.rate_hz, heard.channels).sound(0, BLOCK * BLOCKS)
    with tempfile.TemporaryDirectory() as directory:
        print("a block of 100 ms through path, journal and action nodes, mean and 99th percentile")
        base = 0.0
        for count in NODES:
            mean, p99 = asyncio.run(block_us(Path(directory), count, samples))
            base = base or mean
            print(f"{count:3} nodes  {mean:7.1f} µs ({mean / base:.3f} times), p99 {p99:7.1f} µs")
        print(f"a day of {BLOCKS_A_SECOND} blocks and one measurement a second, ten action nodes")
        asyncio.run(a_day(Path(directory)))


if __name__ == "__main__":
    main()
