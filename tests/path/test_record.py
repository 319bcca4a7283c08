"""A recording gives the very numbers of the live run: same laser, same climate, same calibration, same blocks."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from drivers.recorder import ROOM_FOR_INPUTS, Recorder
from drivers.recording import Change, Recording, inputs_text
from gateway import build, capture, configured, design, replay
from gateway.__main__ import main
from gateway.errors import RecordingError
from gateway.service import light
from gateway.types import Climate, Command, Result, SampleBlock, Tick
from tests.support.clock import FakeClock
from tests.support.sound import stereo, tone

CONFIG = """
board: sim
acquisition: {block_ms: 70}
cell: {ppm: 400, seed: 9}
laser: {frequency_hz: 2012.5, warm_up_s: 0.3}
"""
CALIBRATION = """
schema = 1
created = 2026-01-01
node = "co2_concentration"
phase_deg = 1.0
background = {re = 1e-6, im = 2e-6}
curve = {type = "line", slope = 2.4e-5, covariance = [[1e-16, 0], [0, 1e-16]], max_ppm = 5000}
"""


def written(directory: Path) -> Path:
    (directory / "cal.toml").write_text(CALIBRATION)
    nodes = """
processing:
  default_graph:
    id: default
    nodes:
      - {id: differential, type: differential}
      - {id: co2_lock_in, type: lock_in, parameters: {integration_s: 0.5}}
      - {id: co2_peak_finder, type: peak_finder, parameters: {frequency_min: 1800, frequency_max: 2200}}
      - {id: co2_concentration, type: concentration, parameters: {source: co2_lock_in, calibration: CAL}}
""".replace("CAL", str(directory / "cal.toml"))
    file = directory / "box.yaml"
    file.write_text(CONFIG + nodes)
    return file


async def live(config_file: Path, out: Path, blocks: int) -> list[Result]:
    """What a live run gives in which the laser goes dark and is retuned, and records itself into `out`."""
    checked = configured.prepare(config_file)
    parts = build.parts(*configured.accepted(checked), FakeClock())
    light(parts.outputs, *configured.accepted(checked))
    results: list[Result] = []
    with Recorder(out, 48_000, 2, metadata=capture.recomputable(checked)) as recorder:
        index = 0
        async for block in parts.inputs.blocks():
            recorder.write(block)
            results += parts.path.tick(block, ()).results
            told = {20: ("off", {}), 26: ("on", {}), 40: ("tune", {"frequency_hz": 2013.25})}.get(index)
            if told:
                parts.outputs.apply([Command("laser", told[0], told[1])], 0)
            index += 1
            if index == blocks:
                break
    return results


async def again(out: Path) -> list[Result]:
    made = replay.prepare(out, None)
    ticks: list[Tick] = [tick async for tick in made.ticks()]
    return [result for tick in ticks for result in tick.results]


def said(results: list[Result]) -> list[Any]:
    """Everything in them, with NaN comparable to itself."""
    return [json.dumps(dataclasses.asdict(result), default=str) for result in results]


@pytest.mark.parametrize("name", ["run.wav", "run.flac"])
def test_a_replay_is_the_live_run_bit_for_bit(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    first = asyncio.run(live(written(tmp_path), out, 60))
    (tmp_path / "cal.toml").unlink()
    (tmp_path / "box.yaml").unlink()
    assert said(asyncio.run(again(out))) == said(first)
    flags = {flag for result in first for flag in result.flags}
    assert {"laser_off", "warm_up"} <= flags
    assert {result.frequency_hz for result in first if type(result).__name__ == "LockInResult"} == {2012.5, 2013.25}


def test_the_configuration_is_kept_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "hunter22")
    file = tmp_path / "box.yaml"
    file.write_text(CONFIG + 'mqtt: {host: broker.local, username: box, password: "${BROKER_PASSWORD}"}\n')
    written = capture.recomputable(configured.prepare(file))
    assert "hunter22" not in json.dumps(written)
    assert "broker.local" not in json.dumps(written)
    assert "seed: 9" in written["configuration"]


def test_action_nodes_leave_their_alerts_and_nothing_else(tmp_path: Path) -> None:
    """What they deliver to, and the scripts that they run, need not be on the machine that replays."""
    (tmp_path / "mine.py").write_text("class Mine(CustomPythonAction):\n    def on_update(self, data): pass\n")
    told = {"monitored_nodes": ["co2"], "concentration_threshold": 5}
    redis = {"type": "redis", "config": {"connection_string": "redis://u:hunter22@cache.local"}}
    script = {"python_script_path": str(tmp_path / "mine.py"), "python_class_name": "Mine"}
    nodes = [
        {"id": "input", "type": "input"},
        {"id": "lock", "type": "lock_in"},
        {"id": "co2", "type": "concentration", "parameters": {"source": "lock", "polynomial_coefficients": [0, 1]}},
        {"id": "cache", "node_type": "action_universal", "parameters": {**told, "driver": redis}},
        {"id": "mine", "type": "python_action", "parameters": {**told, **script}},
    ]
    file = tmp_path / "box.yaml"
    file.write_text(yaml.safe_dump({"board": "sim", "processing": {"default_graph": {"nodes": nodes}}}))
    written = capture.recomputable(configured.prepare(file, {}))["configuration"]
    assert "cache.local" not in written
    (tmp_path / "mine.py").unlink()
    file.write_text(written)
    config, _ = configured.accepted(configured.prepare(file, {}))
    assert [alarm.rule for alarm in design.action_alarms(config)] == [
        "cache/concentration/co2",
        "mine/concentration/co2",
    ]


def test_more_changes_than_there_is_room_for(tmp_path: Path) -> None:
    out = tmp_path / "long.flac"
    samples = stereo(tone(2012.5, 0.01, 0.1, 48_000))
    with Recorder(out, 48_000, 2) as recorder:
        for index in range(4800):
            climate = Climate(20.0 + index * 0.01, 40.0 + math.sin(index), 101_325.0 + index)
            recorder.write(SampleBlock(index, index, 48_000, samples[index : index + 1], climate=climate))
    changes = Recording(out).changes
    assert ROOM_FOR_INPUTS / 120 < len(changes) < 4800
    assert [change.frame for change in changes] == list(range(len(changes)))


def test_changes_that_cannot_be_read_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "odd.flac"
    with Recorder(out, 48_000, 2, metadata={"inputs": "x"}) as recorder:
        recorder.write(SampleBlock(0, 0, 48_000, stereo(tone(2012.5, 0.01, 0.1, 48_000)), climate=Climate(20.0)))
    data = out.read_bytes()
    text = json.dumps(inputs_text([Change(0, climate=Climate(20.0))]))[1:-1].encode()
    assert text in data
    out.write_bytes(data.replace(text, b"[[0,[3],1,2]]".ljust(len(text))))
    with pytest.raises(RecordingError, match="beside the sound cannot be understood"):
        Recording(out)
    assert main(["replay", str(out)]) == 2
    assert "Traceback" not in capsys.readouterr().err
