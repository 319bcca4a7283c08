"""What keeps the running gateway from sweeping, and what ends a sweep; tests/path/test_sweeping.py carries one out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from drivers.cell import Cell
from drivers.laser import SimulatedLaser
from gateway import build, configured
from gateway.errors import CommandRefused
from gateway.outputs import Outputs
from gateway.sweeping import Sweeper
from gateway.types import NO_FLAGS, Command, Flag, Flags, SampleBlock
from tests.support.clock import FakeClock

SWEEP, CANCEL = Command("sweep", "sweep"), Command("sweep", "cancel")


class Bench:
    """A laser, its door, and blocks of silence."""

    def __init__(self, directory: Path, hindrance: str = "") -> None:
        self.laser = SimulatedLaser(Cell(ppm=400.0, seed=1), 2012.5, 0.5, 0.02)
        self.sweeper = Sweeper(self.laser, 48_000, None, hindrance, directory / "lab.sweep.json", dict)
        self.outputs = Outputs([self.laser, self.sweeper])
        self.outputs.apply([Command("laser", "on")], 0)
        self.frame = 0

    def block(self, flags: Flags = NO_FLAGS, frames: int = 4800) -> Flags:
        """A block later: what is to be doubted of it."""
        block = SampleBlock(0, self.frame, 48_000, np.zeros((frames, 2), np.float32), flags=flags)
        self.frame += frames
        return self.sweeper.take(self.outputs, block)

    async def begun(self) -> None:
        """Told, and away from its frequency."""
        self.sweeper.apply(SWEEP)
        assert self.block() == NO_FLAGS, "not before what a fit needs is loaded"
        assert self.sweeper._loading is not None
        await self.sweeper._loading
        assert self.block() == {Flag.SWEEPING}
        assert self.sweeper.read() == "sweeping 0 %"
        assert self.laser.light.frequency != 2012.5


def test_without_a_sweep_nothing_is_doubted(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert (bench.block(), bench.sweeper.read()) == (NO_FLAGS, "idle")
    with pytest.raises(CommandRefused, match="there is no sweep to cancel"):
        bench.sweeper.apply(CANCEL)


def test_a_box_that_cannot_says_why(tmp_path: Path) -> None:
    with pytest.raises(CommandRefused, match="nobody knows at which frame"):
        Bench(tmp_path, "nobody knows at which frame").sweeper.apply(SWEEP)


def test_it_does_not_light_the_laser(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.outputs.apply([Command("laser", "off")], 0)
    with pytest.raises(CommandRefused, match="the laser is off, and a sweep does not light it"):
        bench.sweeper.apply(SWEEP)


@pytest.mark.parametrize(
    ("flag", "frames", "words"),
    [
        (Flag.OVERLOAD, 4800, "failed: the sound was not whole (overload), and its phase is not known"),
        (Flag.LASER_OFF, 4800, "failed: the laser went dark during the sweep: told to be off"),
        (Flag.LOW_SIGNAL, 0, "failed: the microphone is silent"),
    ],
)
def test_what_it_cannot_hear_ends_it_and_the_laser_comes_back(
    tmp_path: Path, flag: Flag, frames: int, words: str
) -> None:
    async def scene() -> None:
        bench = Bench(tmp_path)
        await bench.begun()
        assert bench.block(frozenset({flag}), frames) == {Flag.SWEEPING}
        assert bench.sweeper.read().startswith(words)
        assert bench.laser.light.frequency == 2012.5
        assert bench.block() == NO_FLAGS
        await bench.begun()

    asyncio.run(scene())


def test_a_fault_of_its_own_stops_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        bench = Bench(tmp_path)
        await bench.begun()
        monkeypatch.setattr(bench.outputs, "safety", None)
        assert bench.block(frozenset({Flag.LASER_OFF})) == {Flag.SWEEPING}
        assert bench.sweeper.read().startswith("failed: a fault of the software")
        assert bench.block() == NO_FLAGS

    asyncio.run(scene())
    assert "the sweep failed" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("box: {id: lab}", ""),
        ("acquisition: {device: default}", "microphone 'default' does not hear the simulated laser"),
    ],
)
def test_which_boxes_can(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(text + "\n")
    config, board = configured.accepted(configured.prepare(file, {}, board="sim"))
    sweeper = build._sweeper(config, board, 48_000, [Bench(tmp_path).laser], FakeClock())
    assert sweeper is not None
    assert words in sweeper._hindrance
    assert bool(words) == bool(sweeper._hindrance)
