"""Numbers that people may set: which there are, in which bounds, and what of the configuration they change."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import configured, design
from gateway.board import Board
from gateway.config.config import Config
from gateway.dials import Dial, DialOutput, turned
from gateway.errors import CommandRefused
from gateway.types import Command

CONFIG = """\
box: {id: lab}
mqtt: {host: broker.lan, expire_s: 30}
rules:
  - {when: co2_concentration above 1000 for 3s, do: [relay fan on]}
  - {name: gone, when: co2_concentration silent for 30 s}
  - {name: off, when: co2_peak_finder frequency off by 20}
  - {name: quiet, when: level below 1e-6}
"""
ABOVE = "threshold/co2_concentration_above_1000_for_3s"


@pytest.fixture
def made(tmp_path: Path) -> tuple[Config, Board]:
    file = tmp_path / "box.yaml"
    file.write_text(CONFIG)
    return configured.accepted(configured.prepare(file, {}, board="sim"))


def known(config: Config, board: Board) -> dict[str, Dial]:
    return {dial.target: dial for dial in design.numbers(config, board)}


def test_every_threshold_and_integration_time_is_there_with_its_bounds(made: tuple[Config, Board]) -> None:
    found = {name: (dial.low, dial.high, dial.unit, dial.configured) for name, dial in known(*made).items()}
    assert found == {
        ABOVE: (0.0, 1e6, "ppm", 1000.0),
        "threshold/gone": (0.1, 86_400.0, "s", 30.0),
        "threshold/off": (0.001, 1e5, "Hz", 20.0),
        "threshold/quiet": (0.0, 1.0, "full scale", 1e-6),
        "integration/co2_lock_in": (0.1, 15.0, "s", 1.0),  # twice as long a value would have expired
        "integration/co2_peak_finder": (0.1, 10.0, "s", 1.0),
    }


def test_a_narrow_band_wants_a_long_record(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    nodes = "{id: peak, type: peak_finder, parameters: {frequency_min: 2000, frequency_max: 2017}}"
    file.write_text(f"processing: {{default_graph: {{nodes: [{{id: input, type: input}}, {nodes}]}}}}\nrules: []\n")
    config, board = configured.accepted(configured.prepare(file, {}, board="sim"))
    dial = known(config, board)["integration/peak"]
    assert dial.low == 0.589  # ten bins of 17 Hz are 0.5882 s
    design.path(turned(config, {dial.target: dial.low}), board, design.sound(config, board))


def test_what_is_set_is_in_the_configuration_and_nothing_else(made: tuple[Config, Board]) -> None:
    config, board = made
    told = {ABOVE: 900.0, "threshold/gone": 12.5, "threshold/off": 5.0, "threshold/quiet": 2e-5}
    told["integration/co2_lock_in"] = 4.0
    after = {name: dial.configured for name, dial in known(turned(config, told), board).items()}
    assert after == {**told, "integration/co2_peak_finder": 1.0}
    silent = next(rule.alarm for rule in design.rules(turned(config, told), board) if rule.alarm.rule == "gone")
    assert silent.duration_ns == 12_500_000_000
    above = next(rule for rule in design.rules(turned(config, told), board) if rule.alarm.rule in ABOVE)
    assert (above.alarm.duration_ns, above.raised[0].target) == (3_000_000_000, "relay/fan")
    assert turned(turned(config, told), {name: dial.configured for name, dial in known(*made).items()}) == turned(
        config, {name: dial.configured for name, dial in known(*made).items()}
    )
    assert turned(config, {}) == turned(config, {"threshold/none": 1.0, "integration/none": 1.0}) == config


ACTION = """\
processing:
  default_graph:
    nodes:
      - {id: lock, type: lock_in}
      - {id: co2, type: concentration, parameters: {source: lock, polynomial_coefficients: [0, 1]}}
      - {id: ch4, type: concentration, parameters: {source: lock, polynomial_coefficients: [0, 2]}}
      - id: mail
        type: universal_action
        parameters: {monitored_nodes: [co2, ch4], concentration_threshold: 500, data_timeout_s: 60,
                     triggers: [{when: co2 below 1}]}
rules:
  - {name: mail_data_timeout, when: co2 above 7}
"""


def test_an_action_nodes_threshold_is_one_for_all_its_sources_and_a_rule_has_the_name_first(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(ACTION)
    config, board = configured.accepted(configured.prepare(file, {}, board="sim"))
    found = {name: (dial.alarm, dial.configured) for name, dial in known(config, board).items()}
    assert found == {
        "threshold/mail_data_timeout": ("mail_data_timeout", 7.0),
        "threshold/mail_concentration": ("mail/concentration/co2", 500.0),
        "integration/lock": ("", 1.0),
    }
    after = turned(config, {"threshold/mail_concentration": 300.0, "threshold/mail_data_timeout": 8.0})
    assert {alarm.rule: alarm.threshold for alarm in design.action_alarms(after)} == {
        "mail/concentration/co2": 300.0,
        "mail/concentration/ch4": 300.0,
        "mail/data_timeout/co2": 60.0,
        "mail/data_timeout/ch4": 60.0,
        "mail/co2_below_1": 1.0,
    }
    assert design.rules(after, board)[0].alarm.threshold == 8.0


@pytest.mark.parametrize("value", [True, "3", None, float("nan"), float("inf")])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(CommandRefused, match="integration/lock is a number"):
        Dial("integration/lock", 0.1, 600.0, "s", 1.0).checked(value)


@pytest.mark.parametrize("value", [0.09, 600.1, -1])
def test_what_is_out_of_bounds_is_refused_with_them(value: float) -> None:
    with pytest.raises(CommandRefused, match=r"cannot be .* s\. It may be 0\.1 to 600 s"):
        Dial("integration/lock", 0.1, 600.0, "s", 1.0).checked(value)


def test_its_state_is_what_holds_not_what_was_asked_for() -> None:
    asked: list[tuple[str, float, str]] = []
    held: list[float | None] = [1.0]
    dial = Dial("integration/lock", 0.1, 600.0, "s", 1.0)
    output = DialOutput(dial, lambda dial, value, origin: asked.append((dial.target, value, origin)), lambda: held[0])
    assert "from the next record on" in output.apply(Command("integration/lock", "set", {"value": 5}, "mqtt"))
    assert asked == [("integration/lock", 5.0, "mqtt")]
    assert output.read() == "1"
    held[0] = 5.0
    assert output.read() == "5"
    held[0] = None
    assert output.read() == "unknown"
