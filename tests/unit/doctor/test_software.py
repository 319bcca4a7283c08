"""Libraries, configuration and secrets."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from gateway.doctor import software
from tests.unit.doctor.machines import UNIT, machine, pi4

REQUIRED = ["numpy>=2.0", "redis>=6; extra == 'redis'", "gpiod>=2.2; extra == 'pi'", "lgpio>=0.2.2; extra == 'pi'"]


def lacking(there: dict[str, str], extras: set[str], spared: set[str]) -> list[str]:
    return list(software.lacking_of(REQUIRED, extras, spared, there.get))


def test_this_interpreter_will_do(tmp_path: Path) -> None:
    assert software.python(machine(tmp_path)).state == "ok"


def test_rights_are_those_of_the_gateways_user(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert software.user(machine(tmp_path)).found == me
    assert software.user(machine(tmp_path, unit={**UNIT, "User": me})).found == f"{me}, as the gateway"
    assert software.user(machine(tmp_path, unit={**UNIT, "User": str(os.geteuid())})).state == "ok"
    said = software.user(machine(tmp_path, unit={**UNIT, "User": "somebody"}))
    assert (said.state, said.remedy) == ("warning", "Run: sudo -u somebody spectrophone doctor")


def test_libraries_of_this_environment(tmp_path: Path) -> None:
    said = software.libraries(machine(tmp_path))
    assert said.state == "ok"
    assert "numpy 2" in said.found
    assert software.libraries(pi4(tmp_path)).found.endswith("with extra pi")


def test_requirements_are_compared_by_their_numbers() -> None:
    assert lacking({"numpy": "2.0"}, set(), set()) == []
    assert lacking({"numpy": "10.1.dev0"}, set(), set()) == []
    assert lacking({"numpy": "1.26.4"}, set(), set()) == ["numpy is 1.26.4, and 2.0 or newer is needed"]
    assert lacking({}, set(), set()) == ["numpy is not installed"]


def test_extras_count_where_they_are_needed() -> None:
    there = {"numpy": "2.1"}
    assert lacking(there, {"pi"}, {"lgpio"}) == ["gpiod is not installed"]
    assert lacking(there, {"pi"}, set()) == ["gpiod is not installed", "lgpio is not installed"]
    assert lacking({**there, "gpiod": "2.3.0"}, {"pi"}, {"lgpio"}) == []


def test_every_requirement_of_ours_is_understood() -> None:
    required = software.metadata.requires("spectrophone") or []
    assert len(required) >= 10
    extras = set(software.metadata.metadata("spectrophone").get_all("Provides-Extra") or [])
    told = list(software.lacking_of(required, extras, set(), lambda name: None))
    assert len(told) == len(required)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("board: sim\n", "no faults"),
        ("board: simm\n", "1 fault: "),
        ("board: sim\nlaser: {duty: 2, power_w: -1}\n", "2 faults, of which the first: "),
    ],
)
def test_configuration(tmp_path: Path, text: str, found: str) -> None:
    said = software.configuration(machine(tmp_path, text))
    assert found in said.found
    assert (said.state, bool(said.remedy)) == (("ok", False) if found == "no faults" else ("missing", True))
    assert str(tmp_path / "gateway.yaml") in (said.found if said.state == "ok" else said.remedy)


def test_secrets(tmp_path: Path) -> None:
    place = machine(tmp_path)
    assert software.secrets(place).state == "not needed"
    file = tmp_path / "secrets.yaml"
    file.write_text("mqtt: hush\n")
    file.chmod(0o644)
    said = software.secrets(place)
    assert (said.state, said.remedy) == ("warning", f"Run: chmod 640 {file}")
    file.chmod(0o640)
    assert software.secrets(place).state == "ok"


def test_the_key_of_tls_is_a_secret(tmp_path: Path) -> None:
    key = tmp_path / "box.key"
    key.write_text("")
    key.chmod(0o604)
    place = machine(tmp_path, f"board: sim\nmqtt: {{host: b, tls: {{certificate: {key}, key: {key}}}}}\n")
    assert str(key) in software.secrets(place).remedy
