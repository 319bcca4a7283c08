"""Putting parts together: every board with the built-in configuration, and what the check finds in nodes and rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import board as boards
from gateway import build
from gateway.errors import ConfigError
from gateway.mqtt.face import OutputFace
from gateway.types import Command
from tests.support.clock import FakeClock


@pytest.mark.parametrize("name", boards.names())
def test_every_board_takes_the_built_in_configuration(name: str, tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(f"board: {name}\n")
    config, board = build.accepted(build.prepare(file, {}))
    path = build.path(config, board, build.sound(config, board))
    assert path.state.results == {}
    told = build.verbs(board)
    assert all(f"relay/{relay}" in told for relay in board.relays)
    face = build.face(config, board)
    assert {output.target for output in face.outputs} == set(told)


def test_the_verbs_that_are_checked_are_those_that_the_outputs_have(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("box: {id: lab}\nlaser: {max_on_s: 5}\n")
    config, board = build.accepted(build.prepare(file, {}))
    parts = build.parts(config, board, FakeClock())
    assert build.verbs(board)["laser"] == ("on", "off")  # tune is for procedures: neither rules nor MQTT may
    assert parts.face.output("laser") == OutputFace("laser", ("on", "off"))
    assert parts.outputs.apply([Command("laser", "tune", {"frequency_hz": 2000.0})], 0).results[0].done
    outcome = parts.outputs.apply([Command("cell", "set", {"value": 7.0})], 0)
    assert outcome.results[0].done
    assert outcome.states["cell"] == "7.0"
    assert set(outcome.states) == set(build.verbs(board))
    parts.outputs.close()


@pytest.mark.parametrize(
    ("text", "option", "message"),
    [
        (
            "rules: [{when: co3 above 5}]\n",
            "rules[0].when",
            "there is no node 'co3'",
        ),
        (
            "rules: [{when: co2_concentration above 5, do: [relay fna on]}]\n",
            "rules[0].do",
            "there is no output 'relay fna'",
        ),
        (
            "rules: [{when: co2_concentration above 5, do: [laser tune]}]\n",
            "rules[0].do",
            "laser cannot be told 'tune'",
        ),
        (
            "mqtt: {host: broker, expire_s: 5}\nprocessing: {default_graph: {nodes: [{id: slow, type: lock_in, "
            "parameters: {integration_s: 10}}]}}\n",
            "mqtt.expire_s",
            "5 s are too short for slow, which gives a value every 10 s",
        ),
        (
            "acquisition: {channels: 1}\n",
            "processing.default_graph.nodes[3].type",
            "differential needs two channels",
        ),
        (
            "acquisition: {rate_hz: 8000, block_ms: 100}\nlaser: {frequency_hz: 1000}\n"
            "processing: {default_graph: {nodes: [{id: p, type: peak_finder, "
            "parameters: {frequency_min: 3000, frequency_max: 4500}}]}}\n",
            "processing.default_graph.nodes[0].parameters.frequency_max",
            "4500 Hz is not below half the sample rate",
        ),
    ],
)
def test_faults_of_nodes_and_rules_have_a_place(text: str, option: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(text)
    checked = build.prepare(file, {})
    assert checked.config is None
    fault = next(fault for fault in checked.faults if fault.option == option)
    assert message in fault.message
    assert fault.remedy
    assert fault.line > 0
    with pytest.raises(ConfigError):
        build.accepted(checked)
