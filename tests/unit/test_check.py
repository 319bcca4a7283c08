"""The check of a whole configuration. Most rules are shown in tests/broken; here is what these do not show."""

# ruff: noqa: E501 (the tables hold whole messages)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.board import Board, load
from gateway.check import Checked, acquisition, check
from gateway.config.config import Config, built_in
from gateway.config.settings import Settings
from gateway.errors import Fault

Kinds = dict[str, type[Settings]]


@pytest.fixture
def checked(tmp_path: Path, kinds: Kinds) -> Any:
    def run(text: str, **environ: str) -> Checked:
        (tmp_path / "box.yaml").write_text(text)
        return check(tmp_path / "box.yaml", kinds, environ)

    return run


def test_no_file_is_the_built_in_configuration(kinds: Kinds) -> None:
    found = check(None, kinds, {})
    assert found.faults == ()
    assert found.config is not None
    assert found.board == load("sim")


def test_a_text_is_checked_as_if_it_stood_in_the_file(tmp_path: Path, kinds: Kinds) -> None:
    file = tmp_path / "box.yaml"
    (tmp_path / "secrets.yaml").write_text("pass: from-beside\n")
    text = "mqtt: {host: broker, password: !secret pass}\nlaser: {duty: 2}\n"
    found = check(file, kinds, {}, text=text)
    (fault,) = found.faults
    assert (fault.file, fault.line, fault.option) == (str(file), 2, "laser.duty")
    assert "from-beside" in found.secrets
    assert not file.exists()


def test_the_default_board_is_the_callers(kinds: Kinds) -> None:
    found = check(None, kinds, {}, default_board="rpi4-codec-zero")
    assert found.board is not None
    assert found.board.name == "rpi4-codec-zero"


def test_the_example_of_the_rust_original_with_connections(checked: Any) -> None:
    found = checked(
        "processing:\n  default_graph:\n    nodes:\n"
        "      - {id: ppm, type: concentration, parameters: {source: co2}}\n"
        "      - {id: co2, type: lock_in}\n"
        "      - {id: input, type: input}\n"
        "    connections: [{from: input, to: co2}, {from: co2, to: ppm}]\n"
    )
    assert found.faults == ()


def test_further_checks_come_when_all_is_right_and_get_their_place(tmp_path: Path, kinds: Kinds) -> None:
    def edge(config: Config, board: Board) -> list[Fault]:
        assert (config.laser.duty, board.name) == (0.25, "sim")
        loc = ("laser", "duty")
        return [Fault(loc, "the password is hunter2", "Mend it"), Fault((), "nothing", file="other.toml")]

    file = tmp_path / "box.yaml"
    file.write_text("box: {name: '${P}'}\nlaser: {duty: 0.25}\n")
    found = check(file, kinds, {"P": "hunter2"}, [edge])
    assert found.config is None
    assert str(found.faults[0]) == f"{file}:2:9: laser.duty: the password is ********. Mend it"
    assert str(found.faults[1]) == "other.toml: nothing"
    file.write_text("laser: {duty: 0.25}\nlasr: 1\n")
    assert len(check(file, kinds, {}, [edge]).faults) == 1


def test_secrets_are_collected_from_everywhere(checked: Any, tmp_path: Path) -> None:
    (tmp_path / "secrets.yaml").write_text("user: boxuser\n")
    found = checked("mqtt: {host: '${H}', username: !secret user, password: literal-one}\n", H="broker")
    assert found.faults == ()
    assert found.secrets == {"boxuser", "literal-one", "broker"}


def test_a_value_from_the_environment_is_in_no_fault(checked: Any) -> None:
    found = checked(
        "board: '${V}'\nbox: {id: '${V}', name: !secret '${V}'}\n"
        "processing:\n  default_graph:\n    nodes:\n"
        "      - {id: '${V}', type: lock_in}\n      - {id: '${V}', type: '${V}'}\n"
        "      - {id: c, type: concentration, parameters: {source: '${V}x'}}\n"
        "    connections: [{from: '${V}y', to: '${V}'}]\n"
        "rules: [{when: '${V}'}, {when: '${V}', severity: '${V}'}]\n",
        V="hunter2",
    )
    told = "".join(json.dumps([fault.message, fault.remedy]) for fault in found.faults)
    assert len(found.faults) >= 6
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("board: rpi4-codec-zero\nacquisition: {format: S24_3LE}", "2:15: acquisition.format: the codec of board 'rpi4-codec-zero' has no S24_3LE. Take one of S16_LE, S32_LE"),
        ("board: rpi4-codec-zero\nacquisition: {rate_hz: 192000}", "2:15: acquisition.rate_hz: the codec of board 'rpi4-codec-zero' does not reach 192000 Hz. Give at most 96000 Hz"),
        ("mqtt: {host: x, tls: {key: k}}", "1:23: mqtt.tls.key: 'key' is given without 'certificate'. Add `certificate: ...`, or take 'key' out"),
        ("board: ../boards/sim", "1:1: board: ../boards/sim has characters that are not allowed here. Use letters, digits, - and _, between 1 and 64 of them"),
        ("acquisition: {rate_hz: 8000}\nlaser: {frequency_hz: 4000}", "2:9: laser.frequency_hz: 4000 Hz cannot be heard at 8000 samples per second. Give less than half the rate, 4000 Hz, or raise acquisition.rate_hz"),
    ],
)  # fmt: skip
def test_rules_between_sections(checked: Any, text: str, fault: str) -> None:
    assert [str(found).split("box.yaml:")[1] for found in checked(text).faults] == [fault]


@pytest.mark.parametrize(
    "text",
    [
        "mqtt: {host: broker.local, username: box}",
        "mqtt: {host: broker.local, tls: {certificate: a, key: b}}",
        "mqtt: {host: broker.local, tls: {}}",
        "board: rpi4-codec-zero\nacquisition: {device: 'hw:1,0', rate_hz: 192000, format: S24_3LE}",
        "acquisition: {rate_hz: 44100, block_ms: 10}",
        "laser:\nacquisition:\nmqtt:\n",
    ],
)
def test_what_is_allowed(checked: Any, text: str) -> None:
    assert checked(text).faults == ()


def test_the_microphone_is_the_boards_where_nothing_is_said(checked: Any) -> None:
    found = checked("board: rpi4-codec-zero\nacquisition: {channels: 1}")
    heard = acquisition(found.config, found.board)
    assert (heard.device, heard.format, heard.channels, heard.rate_hz) == (
        "hw:CARD=Zero,DEV=0",
        "S32_LE",
        1,
        48000,
    )
    assert acquisition(checked("acquisition: {device: default}").config, load("sim")).device == "default"


words = st.sampled_from(
    [
        "id",
        "type",
        "input",
        "lock_in",
        "concentration",
        "source",
        "a",
        "b",
        "",
        "on",
        "${X}",
        "${NO}",
        "$${",
        "!",
        "<<",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


def places(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [here, *(place for key, value in inner for place in places(value, (*here, key)))]


WHOLE = {
    **built_in().data,
    "board": "sim",
    "cell": {"ppm": 5},
    "mqtt": {"host": "x", "tls": {"key": "k", "certificate": "c"}, "password": "p"},
}
WHOLE["processing"] = json.loads(json.dumps(WHOLE["processing"]))
WHOLE["processing"]["default_graph"]["connections"] = [{"from": "input", "to": "bandpass"}]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(places(WHOLE)[1:]), value=values, leave_out=st.booleans())
def test_no_value_anywhere_is_a_traceback(
    tmp_path: Path, kinds: Kinds, place: tuple[Any, ...], value: Any, leave_out: bool
) -> None:
    data = json.loads(json.dumps(WHOLE))
    inner = data
    for step in place[:-1]:
        inner = inner[step]
    if leave_out:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    file = tmp_path / "box.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    found = check(file, kinds, {"X": "hunter2"})
    assert (found.config is None) == bool(found.faults)
    assert all(fault.line >= 1 and fault.message and fault.remedy for fault in found.faults), found.faults
    assert "hunter2" not in "".join(str(fault) for fault in found.faults)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=values)
def test_no_data_at_all_is_a_traceback(tmp_path: Path, kinds: Kinds, data: Any) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(yaml.safe_dump(data))
    found = check(file, kinds, {})
    assert (found.config is None) == bool(found.faults)
