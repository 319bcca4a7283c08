"""The gateway sweeps while it measures: what it finds, what it says meanwhile, and the laser afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from drivers.air import Air
from drivers.cell import Cell
from gateway import build, configured, loop, service
from gateway.carried import swept
from gateway.types import Command, CommandResult, Flag, Measurement, Outcome, Tick
from tests.path.test_compensated import CURVE, HEADER, LIGHT, RESONANCE
from tests.support.clock import FakeClock

AIR = Air(temperature_c=23.0, humidity_percent=60.0)
CONFIG = """
box: {{id: lab}}
board: {board}
laser: {{track: feed_forward}}
acquisition: {{block_ms: {block_ms}}}
cell: {{ppm: {ppm}, seed: 3, temperature_c: 23, humidity_percent: 60, background_re: 0.02, background_im: -0.03}}
processing:
  default_graph:
    nodes:
      - {{id: differential, type: differential}}
      - {{id: lock, type: lock_in, parameters: {{integration_s: 0.2}}}}
      - {{id: co2, type: concentration, parameters: {{source: lock, calibration: {file}}}}}
rules: []
"""
LOOPBACK = """
box: {{id: lab}}
board: {board}
laser: {{reference: loopback}}
acquisition: {{block_ms: {block_ms}}}
cell: {{ppm: {ppm}, seed: 4, temperature_c: 21, humidity_percent: 60, loopback_amplitude: 0.3, clock_offset_ppm: 80}}
processing:
  default_graph:
    nodes:
      - {{id: sound, type: channel_selector, parameters: {{channel: A}}}}
      - {{id: lock, type: lock_in, parameters: {{integration_s: 0.2}}}}
      - {{id: co2, type: concentration, parameters: {{source: lock, polynomial_coefficients: [0, 41000]}}}}
rules: []
"""


class Box:
    """A gateway with a clock that runs as fast as the machine can compute; a sink that keeps what it hears."""

    def __init__(
        self,
        directory: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        ppm: float = 400,
        block_ms: int = 100,
        text: str = CONFIG,
    ) -> None:
        monkeypatch.setenv("STATE_DIRECTORY", str(directory / "state"))
        self.written = directory / "state" / "lab.sweep.json"
        calibration, file = directory / "co2.toml", directory / "box.yaml"
        calibration.write_text(HEADER + CURVE + LIGHT + RESONANCE)
        file.write_text(text.format(board="sim", file=calibration, ppm=ppm, block_ms=block_ms))
        config, board = configured.accepted(configured.prepare(file, {}))
        self.parts = build.parts(config, board, FakeClock())
        self.measurements: list[Measurement] = []
        self.answers: list[CommandResult] = []
        self.states: dict[str, str] = {}
        self.lit: list[str] = []
        self.tuned: list[Command] = []
        service.light(self.parts.outputs, config, board)

    async def start(self) -> None:
        pass

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        self.measurements += [result for result in tick.results if isinstance(result, Measurement)]
        self.answers += outcome.results
        self.tuned += [command for command in tick.commands if command.origin == "track"]
        self.states = dict(outcome.states)
        self.lit.append(self.states["laser"])

    async def close(self) -> None:
        pass

    def play(self, scene: Callable[[Box], Awaitable[None]]) -> None:
        async def playing() -> None:
            parts = self.parts
            running = asyncio.create_task(
                loop.run(parts.inputs, parts.path, parts.outputs, [self], parts.inbox, parts.watch)
            )
            try:
                await scene(self)
            finally:
                running.cancel()
                await asyncio.wait([running])
                parts.outputs.close()

        asyncio.run(playing())

    async def tell(self, target: str, verb: str) -> CommandResult:
        before = len(self.answers)
        self.parts.inbox.put(Command(target, verb))
        await self.until(
            lambda: any((a.command.target, a.command.verb) == (target, verb) for a in self.answers[before:])
        )
        return next(a for a in self.answers[before:] if a.command.target == target)

    async def until(self, over: Callable[[], bool]) -> None:
        for _ in range(20_000):
            if over():
                return
            await asyncio.sleep(0)
        raise AssertionError(self.states)

    async def settled(self) -> None:
        """Measuring, at the frequency that the temperature says."""
        await self.until(lambda: len(self.tuned) > 0 and len([m for m in self.measurements if m.valid]) > 4)

    async def sees(self, words: str) -> str:
        await self.until(lambda: self.states["sweep"].startswith(words))
        return self.states["sweep"]

    @property
    def laser_hz(self) -> float:
        laser = self.parts.outputs.light()
        assert laser is not None
        return float(laser.frequency)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    return Box(tmp_path, monkeypatch)


def right(found: list[Measurement], ppm: float = 400.0) -> None:
    for m in found:
        assert m.value is not None
        assert m.sigma is not None
        assert abs(m.value - ppm) < 4.5 * m.sigma


def test_it_finds_the_resonance_and_nothing_wrong_is_said_meanwhile(box: Box) -> None:
    async def scene(box: Box) -> None:
        await box.settled()
        home_hz, measured, tuned = box.laser_hz, len(box.measurements), len(box.tuned)
        answer = await box.tell("sweep", "sweep")
        assert (answer.done, answer.state) == (True, "sweeping 0 %")
        await box.sees("sweeping 2")
        assert box.laser_hz != home_hz
        assert "a sweep is going on already" in (await box.tell("sweep", "sweep")).reason
        await box.until(lambda: not box.states["sweep"].startswith("sweeping"))
        flagged = [Flag.SWEEPING in m.flags for m in box.measurements]
        first, last = flagged.index(True), len(flagged) - flagged[::-1].index(True)
        assert first >= measured
        assert last - first > 20
        assert all(Flag.SWEEPING in m.flags and not m.valid for m in box.measurements[first:last])
        assert (box.laser_hz, len(box.tuned)) == (home_hz, tuned), "it has come back, and nothing else has moved it"
        state = await box.sees("done: f0 ")
        found = swept(box.written)
        true_hz = Cell(air=AIR).resonance_hz
        print(f"{state}; off by {(found['f0_hz'] - true_hz) / found['sigma_f0_hz']:.2f} sigma")
        assert abs(found["f0_hz"] - true_hz) < 4.5 * found["sigma_f0_hz"]
        assert abs(found["q"] - 50.0) < 4.5 * found["sigma_q"]
        after = len(box.measurements)
        await box.until(lambda: len(box.measurements) > after + 10)
        later = box.measurements[after + 2 :]
        assert all(m.valid for m in later)
        right([m for m in box.measurements if m.valid])

    box.play(scene)


def test_it_hears_the_modulation_of_a_laser_with_a_clock_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(box: Box) -> None:
        await box.until(lambda: len([m for m in box.measurements if m.valid]) > 4)
        await box.tell("sweep", "sweep")
        await box.sees("done: f0 ")
        found, true_hz = swept(box.written), Cell(air=Air(temperature_c=21.0, humidity_percent=60.0)).resonance_hz
        true_hz /= 1.0 + 80e-6  # as the laser's clock, which runs fast, has it
        print(f"off by {(found['f0_hz'] - true_hz) / found['sigma_f0_hz']:.2f} sigma")
        assert abs(found["f0_hz"] - true_hz) < 4.5 * found["sigma_f0_hz"]

    Box(tmp_path, monkeypatch, text=LOOPBACK).play(scene)


def test_cancelled_it_leaves_nothing_behind(box: Box) -> None:
    async def scene(box: Box) -> None:
        await box.settled()
        home_hz = box.laser_hz
        assert (await box.tell("sweep", "cancel")).reason == "there is no sweep to cancel"
        await box.tell("sweep", "sweep")
        await box.sees("sweeping 2")
        assert (await box.tell("sweep", "cancel")).state == "idle"
        assert box.laser_hz == home_hz
        after = len(box.measurements)
        await box.until(lambda: len(box.measurements) > after + 6)
        assert all(m.valid for m in box.measurements[after + 2 :])
        right([m for m in box.measurements if m.valid])
        assert not box.written.exists()
        await box.tell("sweep", "sweep")
        await box.sees("done: f0 ")

    box.play(scene)


@pytest.mark.parametrize("block_ms", [100, 1000])
def test_it_never_lights_the_laser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_ms: int) -> None:
    """With blocks of a second each one brings a point of the sweep, which tunes the laser again."""

    async def scene(box: Box) -> None:
        await box.settled()
        home_hz = box.laser_hz
        await box.tell("sweep", "sweep")
        await box.sees("sweeping 9")
        await box.tell("laser", "off")
        dark = len(box.lit)
        assert await box.sees("failed") == "failed: the laser went dark during the sweep: told to be off"
        assert (await box.tell("sweep", "sweep")).reason == (
            "the laser is off, and a sweep does not light it. Tell it to be on first"
        )
        await box.until(lambda: len(box.lit) > dark + 20)
        assert set(box.lit[dark:]) == {"off"}
        assert box.laser_hz == home_hz

    Box(tmp_path, monkeypatch, block_ms=block_ms).play(scene)


def test_without_gas_there_is_no_resonance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(box: Box) -> None:
        await box.settled()
        await box.tell("sweep", "sweep")
        assert "no resonance: " in await box.sees("failed")
        assert not box.written.exists()

    Box(tmp_path, monkeypatch, ppm=0).play(scene)


def test_a_file_that_cannot_be_written_is_told_with_what_was_found(box: Box, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")

    async def scene(box: Box) -> None:
        await box.settled()
        await box.tell("sweep", "sweep")
        state = await box.sees("done: f0 ")
        assert "File exists" in state or "Not a directory" in state

    box.play(scene)


def test_the_gateway_ends_in_the_middle_of_it(box: Box) -> None:
    async def scene(box: Box) -> None:
        await box.settled()
        await box.tell("sweep", "sweep")
        await box.sees("sweeping 1")

    box.play(scene)
    assert set(box.parts.outputs.apply((), 0).states) == set(), "closed, and nothing is left running"
