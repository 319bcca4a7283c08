"""What a customer's script costs, in one run: a call into a confined worker beside the same function called in this
process and beside one interpreter a call; start from cold and after a kill; memory that a worker has for itself; and
the block time of the measurement with and without eight hostile actions.

A round trip is taken from the event loop: call, worker, answer. Under load two processes of the same priority burn both
processors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway import configured, design
from gateway.clock import RealClock
from gateway.inbox import CommandInbox
from gateway.scripts.host import Scripts
from gateway.scripts.running import Script
from gateway.scripts.work import Failure, Waiting, Work
from gateway.simulation import simulated_cell
from gateway.types import SampleBlock

CALLS, PACED, STARTS = 3000, 500, 30
TRIGGER = {
    "type": "concentration", "value": 1003.1, "threshold": 800.0, "source_node_id": "co2_concentration",
    "timestamp": 1_790_000_000, "severity": "warning", "message": "co2_concentration is 1003.1 ppm, above 800 ppm",
}  # fmt: skip
SOURCE = """
IMPORT
class Bench(CustomPythonAction):
    def on_trigger(self, trigger_type, data):
        worst = 0.0
        for step in range(50):
            worst = max(worst, data["value"] * step / 50)
        return worst > data["threshold"]
    def on_update(self, data):
        HOSTILE
"""
HOSTILE = (
    "while True: pass",
    "sum(range(10**12))",
    "__import__('re').match('(a+)+$', 'a' * 40 + 'b')",
    "x = []\n        while True: x.append('x' * 100000)",
    "__import__('hashlib').pbkdf2_hmac('sha256', b'x', b'y', 10**9)",
    "while True: self.api.log_message('info', 'x' * 1000)",
    "sorted(range(10**8), key=lambda i: -i)",
    "while True: print('x' * 1000)",
)


class NoNews:
    """A Newsroom in which nothing happens."""

    def rows(self, after: int, most: int) -> tuple[list[dict[str, Any]], int]:
        """Nothing."""
        return [], after

    def statistics(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def work(directory: Path, name: str, hostile: str = "pass", imports: Sequence[str] = (), **options: Any) -> Work:
    """A script in a file of its own."""
    file = directory / f"{name}.py"
    lines = "\n".join(f"import {module}" for module in imports)
    file.write_text(SOURCE.replace("IMPORT", lines).replace("HOSTILE", hostile))
    return Work(name, str(file), "class", "Bench", allowed_imports=tuple(imports), hot_reload=False, **options)


def times(label: str, ms: Sequence[float]) -> None:
    """A line of percentiles, in milliseconds."""
    p50, p95, p99 = np.percentile(ms, [50, 95, 99])
    print(f"{label:46} p50 {p50:8.3f}  p95 {p95:8.3f}  p99 {p99:8.3f}  max {max(ms):8.3f} ms")


@contextlib.contextmanager
def burning(count: int) -> Iterator[None]:
    """So many processes that compute for nothing."""
    burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(count)]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


def _burn() -> None:
    while True:
        pass


async def until(done: Callable[[], bool]) -> None:
    """Wait for what no event tells, half a millisecond at a time."""
    while True:
        if done():
            return
        await asyncio.sleep(0.0005)


async def ready(script: Script) -> None:
    """Wait until the script can be called."""
    await until(lambda: script.state in ("ready", "failed", "stopped"))
    assert script.state == "ready", script.problem


async def round_trips(script: Script, calls: int, pace_s: float = 0.0) -> list[float]:
    """Milliseconds of each call."""
    took = []
    for _ in range(calls):
        begin = time.perf_counter_ns()
        await script.call("on_trigger", ["concentration", TRIGGER])
        took.append((time.perf_counter_ns() - begin) / 1e6)
        if pace_s:
            await asyncio.sleep(pace_s)
    return took


def here(directory: Path) -> list[float]:
    """The same function in this process."""
    names: dict[str, Any] = {"CustomPythonAction": object}
    exec(compile((directory / "bench.py").read_text(), "bench.py", "exec"), names)
    action = names["Bench"]()
    took = []
    for _ in range(CALLS):
        begin = time.perf_counter_ns()
        action.on_trigger("concentration", TRIGGER)
        took.append((time.perf_counter_ns() - begin) / 1e6)
    return took


def alone(directory: Path) -> list[float]:
    """One interpreter a call, without any walls."""
    code = "import json, sys; data = json.loads(sys.argv[1]); print(max(data['value'] * i / 50 for i in range(50)))"
    took = []
    for _ in range(20):
        begin = time.perf_counter_ns()
        subprocess.run([sys.executable, "-I", "-c", code, json.dumps(TRIGGER)], stdout=subprocess.DEVNULL, check=True)
        took.append((time.perf_counter_ns() - begin) / 1e6)
    return took


async def starts(scripts: Scripts, directory: Path, clock: RealClock) -> None:
    """From nothing to initialised, and from a kill to the next worker that is."""
    fresh, again = [], []
    for number in range(STARTS):
        script = Script(work(directory, f"start{number}"), scripts, clock, CommandInbox(), NoNews())
        begin = time.perf_counter_ns()
        script.start()
        await ready(script)
        fresh.append((time.perf_counter_ns() - begin) / 1e6)
        assert script._current is not None
        begin = time.perf_counter_ns()
        script._current.kill("for the bench")
        await until(lambda script=script: script._counts["loads"] == 2)
        again.append((time.perf_counter_ns() - begin) / 1e6)
        await script.close()
    times("worker: start to initialised", fresh)
    times("worker: kill to a fresh one initialised", again)


def unique_mb(pid: int) -> float:
    """What a process has for itself alone."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")) / 1024


async def memory(scripts: Scripts, directory: Path, clock: RealClock) -> None:
    """Of workers after some calls."""
    for label, imports in (("bare", ()), ("with numpy imported", ("numpy",))):
        found = []
        for number in range(4):
            given = work(directory, f"memory{label[:4]}{number}", imports=imports)
            script = Script(given, scripts, clock, CommandInbox(), NoNews())
            script.start()
            await ready(script)
            await round_trips(script, 50)
            assert script._current is not None
            found.append(unique_mb(script._current.pid))
            await script.close()
        print(f"{'memory of a worker alone, ' + label:46} {statistics.median(found):8.2f} MB")


async def blocks(samples: np.ndarray, seconds: float) -> list[float]:
    """Milliseconds of each block of 100 ms through the default graph, at its own pace."""
    config, board = configured.accepted(configured.prepare(None))
    path, took = design.path(config, board, design.sound(config, board)), []
    begin = time.monotonic()
    for index in range(int(seconds * 10)):
        at = (index % 200) * 4800
        block = SampleBlock(index, index * 4800, 48_000, samples[at : at + 4800])
        since = time.perf_counter_ns()
        path.tick(block, ())
        took.append((time.perf_counter_ns() - since) / 1e6)
        await asyncio.sleep(max(0.0, begin + (index + 1) * 0.1 - time.monotonic()))
    return took


async def attacked(scripts: Scripts, directory: Path, clock: RealClock, samples: np.ndarray) -> None:
    """The measurement's blocks beside eight actions that do their worst."""
    quiet = await blocks(samples, 20.0)
    hostile = []
    for number, line in enumerate(HOSTILE):
        given = work(directory, f"hostile{number}", line, timeout_s=2.0, checks=False)
        script = Script(given, scripts, clock, CommandInbox(), NoNews())
        script.start()
        await ready(script)
        hostile.append(script)

    async def torment(script: Script) -> None:
        while True:
            try:
                await script.call("on_update", [{}])
            except Failure:
                pass
            except Waiting:
                script.reset()
                await asyncio.sleep(0.2)

    tasks = [asyncio.create_task(torment(script)) for script in hostile]
    await asyncio.sleep(1.0)
    loud = await blocks(samples, 20.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(script.close() for script in hostile))
    times("block of 100 ms, no actions", quiet)
    times("block of 100 ms, eight hostile actions", loud)
    ratios = np.percentile(loud, [50, 99]) / np.percentile(quiet, [50, 99])
    print(f"{'':46} {ratios[0]:.2f} times at p50, {ratios[1]:.2f} times at p99")


async def measure(directory: Path) -> None:
    """Everything, one after the other."""
    clock = RealClock()
    scripts = Scripts(clock)
    script = Script(work(directory, "bench"), scripts, clock, CommandInbox(), NoNews())
    script.start()
    await ready(script)
    print(f"isolation {await scripts.level()}")
    times("on_trigger: in this process, no walls", here(directory))
    times("on_trigger: worker, back to back", await round_trips(script, CALLS))
    times("on_trigger: worker, 50 a second", await round_trips(script, PACED, 0.02))
    with burning(2):
        times("on_trigger: worker, 50 a second, under load", await round_trips(script, PACED, 0.02))
    times("the same: an interpreter a call, no walls", alone(directory))
    await script.close()
    await starts(scripts, directory, clock)
    await memory(scripts, directory, clock)
    config, board = configured.accepted(configured.prepare(None))
    heard = design.sound(config, board)
    samples = simulated_cell(config, heard.rate_hz, heard.channels).sound(0, 200 * 4800)
    await attacked(scripts, directory, clock, samples)
    await scripts.close()


def main() -> None:
    """Measure and print."""
    logging.disable()  # what the hostile ones make the gateway say
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(Path(directory)))


if __name__ == "__main__":
    main()
