"""The alerts of action nodes, from the sound on: once for a noisy value at the threshold; a data timeout whatever the
cause, and for the monitored node only; nothing changes what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from drivers.laser import SimulatedLaser
from gateway import build, configured, design
from gateway.simulation import simulated_cell
from gateway.types import NO_FLAGS, Alert, Command, Flag, Flags, Measurement, SampleBlock, Tick

CONFIGURATION = """
laser: {frequency_hz: 2012.5}
cell: {seed: 3, noise_density: 1.0e-5}
processing:
  default_graph:
    nodes:
      - {id: input, type: input}
      - {id: differential, type: differential}
      - {id: lock, type: lock_in, parameters: {integration_s: 0.2}}
      - {id: peak, type: peak_finder, parameters: {frequency_min: 1800, frequency_max: 2200, integration_s: 0.2}}
      - {id: co2, type: concentration, parameters: {source: lock, polynomial_coefficients: [0, 41000]}}
NODES
"""
RATE, BLOCK = 48_000, 4_800
Sound = Callable[[int], tuple[bool, Flags]]
"""Of the number of a block: whether there is sound in it, and its flags."""


def heard(
    directory: Path, nodes: Sequence[str], seconds: int, sound: Sound = lambda index: (True, NO_FLAGS)
) -> list[Tick]:
    """The ticks of so many seconds of 1000 ppm, with these action nodes behind the others."""
    file = directory / "box.yaml"
    file.write_text(CONFIGURATION.replace("NODES", "\n".join(f"      - {node}" for node in nodes)))
    config, board = configured.accepted(configured.prepare(file, {}))
    cell = simulated_cell(config, RATE, 2)
    cell.set_ppm(1000.0)
    SimulatedLaser(cell, 2012.5, 0.5, 0.02).apply(Command("laser", "on"))
    path, ticks = design.path(config, board, design.sound(config, board)), []
    for index in range(10 * seconds):
        there, flags = sound(index)
        samples = cell.sound(index * BLOCK, BLOCK) if there else np.zeros((0, 2), np.float32)
        ticks.append(path.tick(SampleBlock(index, index * BLOCK, RATE, samples, flags=flags), ()))
    return ticks


def _checked(directory: Path) -> tuple[build.Config, build.Board]:
    file = directory / "box.yaml"
    file.write_text(CONFIGURATION.replace("NODES", ""))
    return configured.accepted(configured.prepare(file, {}))


def action(name: str, *options: str, monitored: str = "co2") -> str:
    return (
        f"{{id: {name}, type: universal_action, parameters: {{monitored_nodes: [{monitored}], {', '.join(options)}}}}}"
    )


def alerts(ticks: Sequence[Tick]) -> list[Alert]:
    return [alert for tick in ticks for alert in tick.alerts]


def test_a_noisy_value_at_the_threshold_raises_once(tmp_path: Path) -> None:
    """The mean of a minute is the threshold: half of all values lie above."""
    measured = [r for tick in heard(tmp_path, [], 60) for r in tick.results if isinstance(r, Measurement)]
    mean = np.mean([m.value for m in measured if m.value is not None])
    ticks = heard(tmp_path, [action("tell", f"concentration_threshold: {mean:.3f}")], 60)
    crossings = np.sum(np.diff(np.sign([(m.value or 0.0) - mean for m in measured])) != 0)
    assert crossings > 50
    assert [(alert.rule, alert.state) for alert in alerts(ticks)] == [("tell/concentration/co2", "raised")]


@pytest.mark.parametrize(
    "sound",
    [
        lambda index: (not 30 <= index < 80, NO_FLAGS),
        lambda index: (True, frozenset({Flag.LASER_OFF}) if 30 <= index < 80 else NO_FLAGS),
        lambda index: (True, frozenset({Flag.OVERLOAD}) if 30 <= index < 80 else NO_FLAGS),
    ],
    ids=["lost sound", "laser off", "invalid values"],
)
def test_a_data_timeout_whatever_the_cause(sound: Sound, tmp_path: Path) -> None:
    ticks = heard(tmp_path, [action("watch", "data_timeout_s: 2")], 12, sound)
    raised, cleared = alerts(ticks)
    assert (raised.rule, raised.type, raised.state, cleared.state) == (
        "watch/data_timeout/co2",
        "data_timeout",
        "raised",
        "cleared",
    )
    assert raised.t_ns == pytest.approx(5.0e9, abs=0.2e9), "two seconds after the last valid value"
    assert cleared.t_ns == pytest.approx(8.3e9, abs=0.3e9)


def test_only_the_monitored_node_counts(tmp_path: Path) -> None:
    """A peak_finder that hears a tone in a band without one is silent; who watches the concentration is not told."""
    nodes = [
        "{id: elsewhere, type: peak_finder, parameters: {frequency_min: 900, frequency_max: 1000, integration_s: 0.2}}",
        action("gas", "data_timeout_s: 2"),
        action("tone", "data_timeout_s: 2", monitored="elsewhere"),
    ]
    assert [alert.rule for alert in alerts(heard(tmp_path, nodes, 6))] == ["tone/data_timeout/elsewhere"]


def test_amplitude_frequency_and_conditions_of_ones_own(tmp_path: Path) -> None:
    nodes = [
        action("loud", "amplitude_threshold: 0.005", "amplitude_hysteresis: 0", monitored="peak"),
        action("off", "frequency_deviation_hz: 5", monitored="peak"),
        action("own", "triggers: [{name: some, when: co2 above 100 for 1s, severity: critical}]"),
    ]
    found = alerts(heard(tmp_path, nodes, 4))
    assert [(alert.rule, alert.type, alert.severity) for alert in found] == [
        ("loud/amplitude/peak", "amplitude", "warning"),
        ("own/some", "custom", "critical"),
    ]


def test_what_a_script_tells_is_an_alert_that_stays_nowhere(tmp_path: Path) -> None:
    path = design.path(*_checked(tmp_path), design.Sound(RATE, 2))
    said = Command("tell", "notify", {"message": "filter is full", "severity": "warning"}, origin="script:mail")
    tick = path.tick(SampleBlock(0, 0, RATE, np.zeros((BLOCK, 2), np.float32)), [said])
    (alert,) = tick.alerts
    assert (alert.rule, alert.state, alert.message, alert.source) == ("mail/told", "told", "filter is full", "mail")
    assert (tick.commands, dict(tick.state.alerts)) == ((), {})


def test_action_nodes_change_nothing_of_what_is_measured(tmp_path: Path) -> None:
    without = heard(tmp_path, [], 3)
    with_nodes = heard(tmp_path, [action(f"a{i}", "concentration_threshold: 5") for i in range(5)], 3)
    assert [tick.results for tick in with_nodes] == [tick.results for tick in without]
