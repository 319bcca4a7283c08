"""`calibrate` by itself: the microphone is opened, the gas in the cell is read over the ordinary path, and everything
is closed again. What becomes of the point is in gateway/calibrating.py.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway import build, design
from gateway.board import Board
from gateway.calibrating import Gas, GasLine, Mean, choose, point
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.service import guarded, light, until_told
from gateway.tables import Conditions, Reading
from gateway.types import LockInResult


def line(config: Config, name: str | None) -> GasLine:
    """The gas line to calibrate, of node `name` or the only one. Raises UsageError where that is not clear."""
    return choose(design.gas_lines(config), name)


async def take(
    config: Config,
    board: Board,
    clock: Clock,
    line: GasLine,
    gas: Gas,
    known: Conditions,
    seen: Callable[[float], None],
) -> tuple[Reading, Conditions]:
    """Read the gas that is in the cell; returns the point and its conditions, of which some are `known` beforehand.

    `seen` is called with the part that is done, 0 to 1. Raises DeviceError, RecordingError, and CalibrationError where
    the sound gives no reading.
    """
    parts = build.parts(config.model_copy(update={"mqtt": None}), board, clock)
    mean = Mean()
    try:
        with guarded(parts):
            light(parts.outputs, config, board)
            await until_told(_listen(parts, line, gas, mean, seen))
    finally:
        parts.outputs.close()
        parts.inputs.microphone.close()
    return point(mean, gas, clock), mean.conditions(known)


async def _listen(parts: build.Parts, line: GasLine, gas: Gas, mean: Mean, seen: Callable[[float], None]) -> None:
    """Fill `mean` until it is finished, the sound ends, or too much of it is over."""
    begin_ns: int | None = None
    async for block in parts.inputs.settled():
        begin_ns = block.t_ns if begin_ns is None else begin_ns
        tick = parts.path.tick(block, ())
        for result in tick.results:
            if isinstance(result, LockInResult) and result.node == line.source:
                mean.add(result)
        done = mean.done(gas)
        mean.finished = done >= 1.0
        seen(min(1.0, done))
        if mean.finished or (tick.t_ns - begin_ns) / 1e9 > gas.longest_s(line.integration_s):
            return
