"""What can be salvaged of a configuration with faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.config import built_in
from gateway.configured import accepted, prepare, salvaged

GOOD = "box: {id: lab}\nmqtt: {host: broker}\n"


def written(directory: Path, text: str) -> Path:
    file = directory / "box.yaml"
    file.write_text(text)
    return file


def test_nothing_is_left_out_of_a_configuration_without_fault(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    assert salvaged(file, {}, board="sim").config == prepare(file, {}, board="sim").config


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ("laser: {colour: green}", "laser"),
        ("rules: [{when: nonsense above 5}]", "rules"),
        ("laser: {frequency_hz: 30000}", "laser"),
        ("lasr: {duty: 0.4}", ""),
        ("gas: {name: !secret gas}", "gas"),
        ("gas: {name: '${NO_SUCH_NAME}'}", "gas"),
        ("board: no-such-board", "board"),
    ],
)
def test_a_section_with_a_fault_is_left_out_and_the_others_stay(fault: str, left: str, tmp_path: Path) -> None:
    file = written(tmp_path, f"{GOOD}{fault}\n")
    assert prepare(file, {}, board="sim").faults
    config, board = accepted(salvaged(file, {}, board="sim"))
    expected, _ = accepted(prepare(written(tmp_path, GOOD), {}, board="sim"))
    assert config == expected
    assert board.name == "sim"


def test_what_a_section_left_out_was_needed_for_is_left_out_too(tmp_path: Path) -> None:
    nodes = "processing: {default_graph: {nodes: [{id: input, type: input}, {id: mine, type: nothing_known}]}}"
    file = written(tmp_path, f"{GOOD}{nodes}\nrules: [{{when: mine above 5}}]\n")
    config, _ = accepted(salvaged(file, {}, board="sim"))
    assert "co2_concentration" in [node.id for node in config.processing.default_graph.nodes]
    assert config.mqtt is not None
    assert all("mine" not in rule.when for rule in config.rules)


@pytest.mark.parametrize("text", ["box: [", "- a\n- list\n", "\0", "just words"])
def test_of_a_file_that_is_no_configuration_nothing_is_left(text: str, tmp_path: Path) -> None:
    config, _ = accepted(salvaged(written(tmp_path, text), {}, board="sim"))
    assert config == accepted(prepare(None, {}, board="sim"))[0]
    assert built_in().data["processing"]


def test_a_file_that_is_not_there_leaves_the_built_in_configuration(tmp_path: Path) -> None:
    assert salvaged(tmp_path / "none.yaml", {}, board="sim").config == prepare(None, {}, board="sim").config


def test_secrets_stay_secrets(tmp_path: Path) -> None:
    (tmp_path / "secrets.yaml").write_text("pass: opensesame\n")
    file = written(tmp_path, "mqtt: {host: broker, username: u, password: !secret pass, colour: red}\n")
    checked = salvaged(file, {}, board="sim")
    assert accepted(checked)[0].mqtt is None
    assert "opensesame" in checked.secrets
