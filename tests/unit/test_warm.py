"""What was learnt outlasts a restart; what is damaged, old or of something else does not."""

from __future__ import annotations

import asyncio
import json
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.cell import Cell
from drivers.laser import SimulatedLaser
from gateway import configured, design
from gateway.path import Path as Computation
from gateway.state import lasting
from gateway.types import Climate, Command, Light, LockInResult, Measurement, Outcome, SampleBlock, Tick
from gateway.warm import WarmFile
from tests.support.clock import FakeClock

CONFIG = """
board: sim
laser: {{track: feed_forward}}
processing:
  default_graph:
    nodes:
      - {{id: differential, type: differential}}
      - {{id: lock, type: lock_in, parameters: {{integration_s: 0.1}}}}
      - {{id: co2, type: concentration, parameters: {{source: lock, calibration: {file}}}}}
"""
CALIBRATION = """\
schema = 1
created = 2026-03-04
node = "co2"
phase_deg = 0
background = {re = 0, im = 0, a_re = 0, a_im = 0, b_re = 0, b_im = 0}
curve = {type = "line", slope = 6e-6, max_ppm = 5000, covariance = [[0, 0], [0, 0]]}
resonance = {f0_hz = 2012.5, q = 50, temperature_c = 20}
steering = {re = -1, sigma = 0}
"""
RECORDS = 40


def computation(directory: Path) -> Computation:
    file, curve = directory / "box.yaml", directory / "co2.toml"
    curve.write_text(CALIBRATION)
    file.write_text(CONFIG.format(file=curve))
    config, board = configured.accepted(configured.prepare(file, {}))
    return design.path(config, board, design.sound(config, board))


def ticks(path: Computation, records: int, seed: int) -> list[Tick]:
    """A stream from frame 0 on, with ten times as much noise in common as the microphones have by themselves."""
    cell = Cell(ppm=500.0, seed=seed, noise_density=1e-6)
    SimulatedLaser(cell, 2012.5, 0.5, 0.02).apply(Command("laser", "on"))
    noise = np.random.default_rng(seed).standard_normal(records * 4800) * 1e-5 * np.sqrt(24_000)
    made = []
    for index in range(records):
        samples = cell.sound(index * 4800, 4800)
        samples = samples + noise[index * 4800 : (index + 1) * 4800, None] * np.array([1.0, 0.9])
        light = Light(Fraction(4025, 2), 0.5, 0.02)
        block = SampleBlock(
            index, index * 4800, 48_000, samples.astype(np.float32), light=light, climate=Climate(21.0, 40.0, 101_325.0)
        )
        made.append(path.tick(block, ()))
    return made


def told(found: list[Tick], kind: type) -> list[Any]:
    return [result for tick in found for result in tick.results if isinstance(result, kind)]


def values(path: Computation) -> dict[str, str]:
    """Everything that lasts, but for the times."""
    parts = lasting(path._graph.parts())
    return {f"{n}.{k}": repr(getattr(p, k)) for n, p in parts.items() for k in p.STATE if k != "t_s"}


def run(warm: WarmFile, found: list[Tick]) -> None:
    """The sink's life."""

    async def life() -> None:
        await warm.start()
        for tick in found:
            warm.offer(tick, Outcome())
            await asyncio.sleep(0)
        await warm.close()

    asyncio.run(life())


@pytest.fixture
def learnt(tmp_path: Path) -> tuple[Path, FakeClock, Computation]:
    """A file that a gateway has left."""
    path, clock = computation(tmp_path), FakeClock()
    file = tmp_path / "state" / "lab.warm"
    run(WarmFile(file, clock, path, "about"), ticks(path, RECORDS, 1))
    return file, clock, path


def test_what_lasts_is_taken_up_and_nothing_else(learnt: tuple[Path, FakeClock, Computation], tmp_path: Path) -> None:
    file, clock, old = learnt
    clock.advance(100.0)
    new, cold = computation(tmp_path), computation(tmp_path)
    assert values(new) != values(old)
    run(WarmFile(file, clock, new, "about"), [])
    assert values(new) == values(old)
    assert {name.rpartition(".")[2] for name in lasting(new._graph.parts())} == {"_combiner", "_follower", "_smoother"}
    times = {n: p.t_s for n, p in lasting(new._graph.parts()).items() if "t_s" in p.STATE}
    assert set(times.values()) == {-100.0}
    first, unlearnt = ticks(new, 3, 2), ticks(cold, 3, 2)
    assert [t.t_ns for t in told(first, LockInResult)] == [t.t_ns for t in told(unlearnt, LockInResult)]
    assert told(first, Measurement)[0].smoothed != told(first, Measurement)[0].value
    assert told(unlearnt, Measurement)[0].smoothed == told(unlearnt, Measurement)[0].value


def test_the_first_records_have_the_small_loss_of_what_was_learnt(
    learnt: tuple[Path, FakeClock, Computation], tmp_path: Path
) -> None:
    """A record that has to learn from its own K = 6 snapshots has 1 + 1 / (K - 1) = 1.2 times the variance (Reed,
    Mallett and Brennan); one behind 40 others has 1.01 times.
    """
    file, clock, _ = learnt

    def variance(warm: bool) -> float:
        squares = []
        for seed in range(100, 160):
            path = computation(tmp_path)
            if warm:
                run(WarmFile(file, clock, path, "about"), [])
            (ppm,) = told(ticks(path, 1, seed), Measurement)
            squares.append((ppm.lod / 3.0) ** 2)  # without what the resonance adds
        return float(np.mean(squares))

    ratio = variance(True) / variance(False)
    print(f"variance of the first record, warm over cold: {ratio:.3f}; theory 0.84")
    assert ratio < 0.92


def damaged(file: Path, what: str) -> None:
    kept = json.loads(file.read_text())
    match what:
        case "text":
            file.write_text(file.read_text()[:-20])
        case "bits":
            place = kept["state"].index('"array"') + 60
            letter = "A" if kept["state"][place] != "A" else "B"
            file.write_text(json.dumps({**kept, "state": kept["state"][:place] + letter + kept["state"][place + 1 :]}))
        case "list":
            file.write_text("[]")
        case "none":
            file.write_text("null")
        case "bytes":
            file.write_bytes(b"\xff\xfe")
        case "directory":
            file.unlink()
            file.mkdir()


@pytest.mark.parametrize("what", ["text", "bits", "list", "none", "bytes", "directory"])
def test_a_damaged_file_is_ignored(
    what: str, learnt: tuple[Path, FakeClock, Computation], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock, _ = learnt
    damaged(file, what)
    path = computation(tmp_path)
    before = values(path)
    run(WarmFile(file, clock, path, "about"), [])
    assert values(path) == before
    (record,) = caplog.records
    assert "what was learnt before is not taken up" in record.message


@pytest.mark.parametrize(
    ("seconds", "about", "reason"),
    [(3601.0, "about", "it is 3601 s old"), (-1.0, "about", "it is -1 s old"), (1.0, "else", "another configuration")],
)
def test_what_is_old_or_of_something_else_is_ignored(
    seconds: float,
    about: str,
    reason: str,
    learnt: tuple[Path, FakeClock, Computation],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file, clock, _ = learnt
    clock.advance(seconds)
    path = computation(tmp_path)
    before = values(path)
    run(WarmFile(file, clock, path, about), [])
    assert values(path) == before
    assert reason in caplog.text


def test_other_nodes_learn_anew(
    learnt: tuple[Path, FakeClock, Computation], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock, _ = learnt
    (tmp_path / "co2.toml").write_text(CALIBRATION)
    text = CONFIG.format(file=tmp_path / "co2.toml").replace("0.1", "0.2")
    (tmp_path / "box.yaml").write_text(text)
    config, board = configured.accepted(configured.prepare(tmp_path / "box.yaml", {}))
    path = design.path(config, board, design.sound(config, board))
    run(WarmFile(file, clock, path, "about"), [])
    assert "another configuration" in caplog.text


def test_it_is_kept_once_a_minute_and_only_if_there_is_something_new(tmp_path: Path) -> None:
    path, clock, file = computation(tmp_path), FakeClock(), tmp_path / "lab.warm"
    good = next(tick for tick in ticks(path, 3, 1) if told([tick], LockInResult))
    empty = Tick(0, 0, None, (), (), (), path.state)

    async def life() -> None:
        warm = WarmFile(file, clock, path, "about")
        await warm.start()
        written = []
        for tick, seconds in ((good, 59.0), (empty, 1.0), (empty, 60.0), (good, 0.0), (good, 59.0), (empty, 1.0)):
            clock.advance(seconds)
            file.unlink(missing_ok=True)
            warm.offer(tick, Outcome())
            if warm._writing:
                await warm._writing
            written.append(file.exists())
        assert written == [False, True, False, True, False, True]
        file.unlink()
        await warm.close()

    asyncio.run(life())
    assert not file.exists()


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = computation(tmp_path)
    with caplog.at_level(logging.WARNING):
        run(WarmFile(tmp_path / "box.yaml" / "lab.warm", FakeClock(), path, "about"), ticks(path, 3, 1))
    assert "what was learnt cannot be kept" in caplog.text
