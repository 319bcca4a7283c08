"""The running gateway, from what it tells of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.doctor import running
from tests.unit.doctor.machines import STATUS, machine

INVALID = {"kind": "measurement", "node": "co2", "valid": False, "flags": ["laser_off"]}
PAUSED = {"node": "mail", "problem": "paused after 5 errors"}


def test_none_runs(tmp_path: Path) -> None:
    assert running.gateway(machine(tmp_path)).state == "not needed"


def test_one_that_has_failed(tmp_path: Path) -> None:
    said = running.gateway(machine(tmp_path, unit={"ActiveState": "failed", "MainPID": "0"}))
    assert (said.state, "journalctl" in said.remedy) == ("missing", True)


def test_one_whose_status_is_not_for_us(tmp_path: Path) -> None:
    said = running.gateway(machine(tmp_path, unit={"ActiveState": "active", "MainPID": "99"}))
    assert (said.state, "process 99" in said.found) == ("warning", True)


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "ok", "lab-42 on rpi4-codec-zero, process 4711, 100 blocks, laser lit"),
        ({"age_s": 9.6}, "missing", "lab-42 on rpi4-codec-zero, process 4711, hangs: nothing new for 10 s"),
        ({"mqtt": "no MQTT broker listens"}, "warning", "no MQTT broker listens"),
        ({"journal": {"problem": "the disk is full"}}, "warning", "journal: the disk is full"),
        ({"modbus": {"problem": "Modbus cannot listen"}}, "warning", "Modbus cannot listen"),
        ({"laser": "dark", "laser_dark_because": "stop"}, "warning", "the laser is dark: stop"),
        ({"safe_mode": "it has crashed 3 times"}, "warning", "in safe mode: it has crashed 3 times"),
        ({"results": [INVALID]}, "warning", "co2 is not valid (laser_off)"),
        ({"actions": [PAUSED]}, "warning", "mail: paused after 5 errors"),
    ],
)
def test_one_that_runs(tmp_path: Path, changes: dict[str, object], state: str, words: str) -> None:
    said = running.gateway(machine(tmp_path, gateways=({**STATUS, **changes},)))
    assert said.state == state
    assert said.found.endswith(words)
