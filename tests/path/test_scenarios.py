"""Scenarios: a configuration, what happens in the cell, and the alerts and commands that must come of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.cell import Cell
from drivers.laser import SimulatedLaser
from gateway import configured, design
from gateway.simulation import simulated_cell
from gateway.types import Command, Measurement, SampleBlock, Tick

RULES = """
laser: {{frequency_hz: 2012.5}}
cell: {{seed: 3}}
rules:
{rules}
"""

Script = dict[int, Callable[[Cell, SimulatedLaser], None]]


def ppm(value: float) -> Callable[[Cell, SimulatedLaser], None]:
    return lambda cell, laser: cell.set_ppm(value)


def dark(cell: Cell, laser: SimulatedLaser) -> None:
    laser.make_safe()


def run(directory: Path, rules: str, start_ppm: float, script: Script, seconds: int) -> list[Tick]:
    """Ticks of `seconds` of sound; `script` says what happens at the beginning of a second."""
    file = directory / "scenario.yaml"
    file.write_text(RULES.format(rules=rules))
    config, board = configured.accepted(configured.prepare(file, {}))
    heard = design.sound(config, board)
    cell = simulated_cell(config, heard.rate_hz, heard.channels)
    cell.set_ppm(start_ppm)
    laser = SimulatedLaser(cell, 2012.5, 0.5, 0.02)
    laser.apply(Command("laser", "on"))
    path, ticks = design.path(config, board, heard), []
    for index in range(seconds * 10):
        if index % 10 == 0 and index // 10 in script:
            script[index // 10](cell, laser)
        samples = cell.sound(index * 4800, 4800)
        ticks.append(path.tick(SampleBlock(index, index * 4800, heard.rate_hz, samples), ()))
    return ticks


def story(ticks: list[Tick]) -> list[str]:
    """Alerts with their second, and the commands that came with them."""
    lines = []
    for tick in ticks:
        lines += [f"{alert.t_ns // 10**9} {alert.rule} {alert.state}" for alert in tick.alerts]
        lines += [f"  {command.target} {command.verb} by {command.origin}" for command in tick.commands]
    return lines


def test_a_fan_goes_on_and_off_with_the_gas(tmp_path: Path) -> None:
    when = "co2_concentration above 1000 for 2s"
    rules = f"  - {{name: high, when: {when}, hysteresis: 50, do: [relay fan on, led status red]}}"
    ticks = run(tmp_path, rules, 400.0, {3: ppm(1200.0), 8: ppm(980.0), 11: ppm(900.0)}, 15)
    assert story(ticks) == [
        "6 high raised",
        "  relay/fan on by rule:high",
        "  led/status red by rule:high",
        "12 high cleared",
        "  relay/fan off by rule:high",
        "  led/status auto by rule:high",
    ]


def test_a_lost_tone_is_silence_of_the_peak_finder(tmp_path: Path) -> None:
    rules = "  - {name: gone, when: co2_peak_finder silent for 3s, severity: critical, do: [relay valve on]}"
    ticks = run(tmp_path, rules, 400.0, {4: dark}, 12)
    assert story(ticks) == ["7 gone raised", "  relay/valve on by rule:gone"]


def test_a_low_alarm_and_a_rule_without_commands(tmp_path: Path) -> None:
    rules = "  - {name: low, when: co2_concentration below 50, hold_off_s: 4, on_clear: [led status green]}"
    ticks = run(tmp_path, rules, 400.0, {2: ppm(0.0), 4: ppm(100.0), 6: ppm(0.0)}, 12)
    assert story(ticks) == ["3 low raised", "5 low cleared", "  led/status green by rule:low", "9 low raised"]


@pytest.mark.parametrize("true_ppm", [0.0, 5.0, 400.0, 1000.0, 20_000.0])
def test_the_simulated_cell_is_measured_within_its_uncertainty(true_ppm: float, tmp_path: Path) -> None:
    ticks = run(tmp_path, "  []", true_ppm, {}, 12)
    found = [r for tick in ticks for r in tick.results if isinstance(r, Measurement)]
    assert len(found) == 12
    for measurement in found:
        assert measurement.valid
        assert measurement.value is not None
        assert measurement.sigma is not None
        assert abs(measurement.value - true_ppm) < 4.5 * measurement.sigma
    mean = sum(m.value or 0.0 for m in found) / len(found)
    assert abs(mean - true_ppm) < 4.5 * (found[0].sigma or 0.0) / len(found) ** 0.5


def test_the_same_recording_gives_the_same_ticks(tmp_path: Path) -> None:
    rules = "  - {name: high, when: co2_concentration above 1000, do: [relay fan on]}"
    one, other = (run(tmp_path, rules, 400.0, {3: ppm(1200.0)}, 6) for _ in range(2))
    assert [tick.alerts for tick in one] == [tick.alerts for tick in other]
    assert [tick.commands for tick in one] == [tick.commands for tick in other]
    assert [[r.t_ns for r in tick.results] for tick in one] == [[r.t_ns for r in tick.results] for tick in other]
    values = [[r for tick in ticks for r in tick.results if isinstance(r, Measurement)] for ticks in (one, other)]
    assert values[0] == values[1]
