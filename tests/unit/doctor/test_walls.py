"""What a level of isolation means, and control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.doctor import walls
from gateway.scripts.confine.confine import LEVELS
from gateway.scripts.confine.probe import Capabilities, Reached
from tests.unit.doctor.machines import STATUS, UNIT, machine

GROUPS = "sys/fs/cgroup/cgroup.controllers"


def test_the_levels_are_those_there_are() -> None:
    assert tuple(walls._WALLS) == (*LEVELS, "D")


@pytest.mark.parametrize(
    ("reached", "wanted", "least", "state"),
    [
        ("A", "auto", "C", "ok"),
        ("B", "auto", "B", "ok"),
        ("B", "auto", "A", "missing"),
        ("A", "B", "A", "missing"),
        ("A", "C", "C", "warning"),
        ("B", "A", "C", "missing"),
        ("C", "auto", "C", "warning"),
        ("D", "auto", "C", "missing"),
        ("D", "C", "C", "missing"),
    ],
)
def test_levels_against_what_is_configured(reached: Reached, wanted: str, least: str, state: str) -> None:
    said = walls.judged(Capabilities(reached, ("set kernel.x to 1 with sysctl",)), wanted, least)
    assert said.state == state
    assert said.found.startswith(f"level {reached if wanted == 'auto' else wanted} (")
    assert bool(said.remedy) == (state != "ok")


def test_what_is_lacking_is_the_remedy() -> None:
    said = walls.judged(Capabilities("C", ("user namespace: EPERM: set kernel.x to 1 with sysctl",)), "auto", "B")
    assert said.remedy == "user namespace: EPERM: set kernel.x to 1 with sysctl"


def test_this_machine_by_doing(tmp_path: Path) -> None:
    said = walls.isolation(machine(tmp_path))
    assert said.found.startswith("level ")
    assert said.state in ("ok", "warning"), said


@pytest.mark.parametrize(
    ("there", "unit", "state", "words"),
    [
        ("cpu memory pids io", UNIT, "ok", "delegated: cpu memory pids"),
        ("cpu memory pids io", {}, "ok", "without a unit"),
        ("cpu memory pids", {**UNIT, "Delegate": "no"}, "warning", "does not delegate"),
        ("cpu memory pids", {**UNIT, "ProtectControlGroups": "yes"}, "warning", "does not delegate"),
        ("cpu pids", UNIT, "warning", "the kernel has no control of memory by cgroup"),
        ("", UNIT, "warning", "there is no cgroup v2"),
    ],
)
def test_control_groups(tmp_path: Path, there: str, unit: dict[str, str], state: str, words: str) -> None:
    said = walls.control_groups(machine(tmp_path, files={GROUPS: f"{there}\n"}, unit=unit))
    assert said.state == state
    assert words in said.found


def test_a_running_gateway_knows_its_groups(tmp_path: Path) -> None:
    status = {**STATUS, "scripts": {"control_groups": ["cpu", "memory"]}}
    place = machine(tmp_path, files={GROUPS: "cpu memory pids\n"}, unit=UNIT, gateways=(status,))
    assert walls.control_groups(place).found == "the running gateway's scripts have cpu, memory"
