"""The whole loop on the simulated cell is told zero and span, and then measures right, without being restarted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway import build, configured, loop, service
from gateway.config.redact import Secrets
from gateway.ports import Sink
from gateway.reload import Reloader
from gateway.tuning import Tuning
from gateway.types import Command, CommandResult, Measurement, Outcome, Tick
from tests.support.clock import FakeClock

CONFIG = """
box: {{id: lab}}
board: sim
cell: {{ppm: 0, seed: 3, background_re: 0.01, background_im: -0.005}}
processing:
  default_graph:
    nodes:
      - {{id: input, type: input}}
      - {{id: differential, type: differential}}
      - {{id: lock, type: lock_in, parameters: {{integration_s: {integration_s}}}}}
      - {{id: co2, type: concentration, parameters: {{source: lock, calibration: {file}}}}}
rules: []
"""
WRONG = """\
schema = 1
created = 2026-03-04
node = "co2"
phase_deg = 70
background = {re = 0, im = 0}
[curve]
type = "line"
slope = 1e-6
max_ppm = 5000
covariance = [[0, 0], [0, 0]]
"""


class Ear:
    """A sink that keeps what it hears."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []
        self.answers: list[CommandResult] = []
        self.state = ""

    async def start(self) -> None:
        pass

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        self.measurements += [result for result in tick.results if isinstance(result, Measurement)]
        self.answers += outcome.results
        self.state = outcome.states["calibration"]

    async def close(self) -> None:
        pass


class Box:
    """A gateway with a clock that runs as fast as the machine can compute."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "box.yaml"
        self.calibration = directory / "co2.toml"
        self.calibration.write_text(WRONG)
        self.configure(0.2)
        config, board = configured.accepted(configured.prepare(self.file, {}))
        self.parts = build.parts(config, board, FakeClock())
        tuning = Tuning(config, board, self.parts.inbox)
        self.reloader = Reloader(self.file, tuning, board, self.parts.inbox, Secrets())
        self.ear = Ear()
        service.light(self.parts.outputs, config, board)

    def configure(self, integration_s: float) -> None:
        self.file.write_text(CONFIG.format(integration_s=integration_s, file=self.calibration))

    def play(self, scene: Callable[[Box], Any]) -> None:
        async def playing() -> None:
            parts = self.parts
            assert parts.calibrator is not None
            everybody: list[Sink] = [parts.calibrator, self.ear]
            running = asyncio.create_task(
                loop.run(parts.inputs, parts.path, parts.outputs, everybody, parts.inbox, parts.watch)
            )
            try:
                await scene(self)
            finally:
                running.cancel()
                await parts.calibrator.close()
                await asyncio.wait([running])
                parts.outputs.close()

        asyncio.run(playing())

    async def tell(self, target: str, verb: str, **args: Any) -> CommandResult:
        """The answer to a command."""
        before = len(self.ear.answers)
        self.parts.inbox.put(Command(target, verb, args))
        await self.until(lambda: len(self.ear.answers) > before)
        return self.ear.answers[-1]

    async def until(self, over: Callable[[], bool]) -> None:
        for _ in range(20_000):
            if over():
                return
            await asyncio.sleep(0)
        raise AssertionError(self.ear.state)

    async def read(self, let_in: float, verb: str, **args: Any) -> str:
        """The last word about a gas that is let into the cell."""
        await self.tell("cell", "set", value=let_in)
        assert (await self.tell("calibration", verb, **args)).done
        await self.until(lambda: self.ear.state.startswith(("done", "failed")))
        return self.ear.state

    async def measured(self) -> Measurement:
        """The second measurement from now on: the first began before."""
        before = len(self.ear.measurements)
        await self.until(lambda: len(self.ear.measurements) >= before + 2)
        return self.ear.measurements[before + 1]


def test_zero_and_span_while_it_runs(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        await box.tell("cell", "set", value=700.0)
        wrong = await box.measured()
        assert abs((wrong.value or 0.0) - 700.0) > 300.0
        assert "no new calibration yet" in await box.read(0.0, "zero", seconds=3.0, new=True)
        state = await box.read(1000.0, "span", ppm=1000.0, sigma_ppm=1.0)
        assert state.startswith("done: line, ")
        assert state.endswith(str(box.calibration))
        commands = box.reloader.changed()
        assert [(command.target, command.verb) for command in commands] == [("path", "replace")]
        for command in commands:
            box.parts.inbox.put(command)
        await box.tell("cell", "set", value=700.0)
        right = await box.measured()
        assert right.value is not None
        assert right.sigma is not None
        assert abs(right.value - 700.0) < 4.5 * right.sigma
        assert right.sigma < 2.0

    Box(tmp_path).play(scene)


def test_another_lock_in_ends_the_reading(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        assert (await box.tell("calibration", "zero", seconds=1000.0)).done
        box.configure(0.1)
        for command in box.reloader.changed():
            box.parts.inbox.put(command)
        await box.until(lambda: box.ear.state.startswith("failed: the configuration was changed meanwhile"))
        assert (await box.read(0.0, "zero", seconds=0.1)).startswith("done")

    Box(tmp_path).play(scene)


def test_in_the_dark_nothing_is_read(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        await box.tell("laser", "off")
        state = await box.read(0.0, "zero", seconds=0.4)
        assert "good records: 0; records were flagged laser_off" in state

    Box(tmp_path).play(scene)


def test_rules_may_not_command_it(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.parts.outputs.close()
    told = box.file.read_text()
    box.file.write_text(told.replace("rules: []", "rules: [{when: co2 above 5, do: [calibration zero]}]"))
    (fault,) = configured.prepare(box.file, {}).faults
    assert "there is no output 'calibration'" in fault.message


def test_people_may_not_configure_it(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.parts.outputs.close()
    shown = box.parts.face.output("calibration")
    assert shown is not None
    assert shown.verbs == ("zero", "span", "cancel")
