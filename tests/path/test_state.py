"""A state saved anywhere in a stream and restored elsewhere changes nothing in what comes after."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.cell import Cell
from drivers.laser import SimulatedLaser
from gateway import configured, design
from gateway.state import StateError
from gateway.types import Climate, Command, Light, SampleBlock, Tick

CONFIG = """
board: sim
laser: {frequency_hz: 2012.5}
processing:
  default_graph:
    id: default
    nodes:
      - {id: band, type: filter, parameters: {type: bandpass, center_frequency: 2012.5, bandwidth: 200}}
      - {id: differential, type: differential}
      - {id: lock, type: lock_in, parameters: {integration_s: 0.2}}
      - {id: peak, type: peak_finder, parameters: {frequency_min: 1800, frequency_max: 2200, integration_s: 0.25}}
      - {id: level, type: level, parameters: {window_s: 0.3}}
      - {id: spectrum, type: spectrum, parameters: {fft_size: 1024, averages: 3}}
      - {id: ppm, type: concentration, parameters: {source: lock, polynomial_coefficients: [0, 10000]}}
rules:
  - {when: ppm above 1 for 0.5s, do: [relay fan on]}
"""
BLOCK, BLOCKS = 3000, 20


@pytest.fixture(scope="module")
def blocks() -> list[SampleBlock]:
    """Sound of the simulated cell in which the laser is retuned and frames are lost."""
    cell = Cell(ppm=500.0, seed=4)
    laser = SimulatedLaser(cell, 2012.5, 0.5, 0.02)
    laser.apply(Command("laser", "on"))
    made, frame = [], 0
    for index in range(BLOCKS):
        if index == 9:
            laser.apply(Command("laser", "tune", {"frequency_hz": 2014.0}))
        lost = 777 if index == 14 else 0
        frame += lost
        light, climate = laser.light, Climate(20.0 + index)
        samples = cell.sound(frame, BLOCK)
        made.append(SampleBlock(index, frame, 48_000, samples, lost, light=light, climate=climate))
        frame += BLOCK
    return made


def fresh(directory: Path, text: str = CONFIG) -> Any:
    file = directory / "box.yaml"
    file.write_text(text)
    config, board = configured.accepted(configured.prepare(file))
    return design.path(config, board, design.sound(config, board))


def said(ticks: list[Tick]) -> list[str]:
    """Everything in them; repr() shows every digit of a number."""
    fields = [field.name for field in dataclasses.fields(Tick)]
    with np.printoptions(threshold=10**9, floatmode="unique"):
        return [repr([getattr(tick, name) for name in fields]) for tick in ticks]


@given(st.integers(0, BLOCKS))
@settings(max_examples=BLOCKS + 1)
def test_saved_and_restored_anywhere(
    blocks: list[SampleBlock], tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    directory = tmp_path_factory.mktemp("state")
    straight = fresh(directory)
    whole = [straight.tick(block, ()) for block in blocks]
    first, second = fresh(directory), fresh(directory)
    parts = [first.tick(block, ()) for block in blocks[:cut]]
    second.restore(first.save())
    parts += [second.tick(block, ()) for block in blocks[cut:]]
    assert said(parts) == said(whole)
    assert second.save() == straight.save()


def test_the_stream_has_something_to_forget(blocks: list[SampleBlock], tmp_path: Path) -> None:
    """The test above would see it if nothing were restored."""
    straight, late = fresh(tmp_path), fresh(tmp_path)
    whole = [straight.tick(block, ()) for block in blocks]
    assert said([late.tick(block, ()) for block in blocks[7:]]) != said(whole[7:])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fingerprint": "x", "parts": {}}', "null"])
def test_what_is_no_state_is_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(StateError):
        fresh(tmp_path).restore(text)


def test_the_state_of_another_graph_is_refused(blocks: list[SampleBlock], tmp_path: Path) -> None:
    other = fresh(tmp_path, CONFIG.replace("0.25", "0.5"))
    path = fresh(tmp_path)
    before = path.save()
    with pytest.raises(StateError, match="another configuration"):
        path.restore(other.save())
    damaged = json.loads(before)
    del damaged["parts"]["node lock"]["state"]["_records"]
    with pytest.raises(StateError, match="cannot be read"):
        path.restore(json.dumps(damaged))
    assert path.save() == before


def test_a_light_is_kept_exactly(tmp_path: Path) -> None:
    path, other = fresh(tmp_path), fresh(tmp_path)
    light = Light(Fraction(54_000_000, 26_833), 0.5, 0.02)
    path.tick(SampleBlock(0, 0, 48_000, np.zeros((4800, 2), np.float32), light=light), ())
    other.restore(path.save())
    assert other.save() == path.save()
    assert "54000000/26833" in path.save()
