"""`spectrophone safe`: what a gateway that died has left, else what the board says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import safe
from gateway.safety import SUFFIX, Plan, SafeLine, SafePwm
from tests.unit.cli.test_config_commands import parsed
from tests.unit.test_safety import channel


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))


def test_on_a_simulated_board_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("board: sim\n")
    assert safe.run(parsed(safe, "safe", "--config", str(file))) == 0
    assert capsys.readouterr().out == "safe: nothing to do on a simulated board\n"


def test_what_a_dead_gateway_left_is_made_safe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pwm = channel(tmp_path)
    plan = Plan((SafePwm("laser", str(pwm)),))
    (tmp_path / "run" / f"lab{SUFFIX}").write_text(plan.text())
    assert safe.run(parsed(safe, "safe")) == 0
    assert capsys.readouterr().out == "safe: laser\n"
    assert (pwm / "enable").read_text()[0] == "0"


def test_what_could_not_be_made_safe_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pwm = channel(tmp_path)
    plan = Plan((SafePwm("laser", str(pwm)),), (SafeLine("relay/fan", "no-such-chip", 17, False),))
    (tmp_path / "run" / f"lab{SUFFIX}").write_text(plan.text())
    assert safe.run(parsed(safe, "safe")) == 1
    out, err = capsys.readouterr()
    assert out == "NOT safe\n"
    assert err.startswith("spectrophone: relay/fan: there is no GPIO chip")
    assert (pwm / "enable").read_text()[0] == "0"


def test_a_configuration_with_faults_still_names_its_board(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("board: rpi4-usb\ngass: {}\nlaser: {duty: 7}\n")
    assert safe.run(parsed(safe, "safe", "--config", str(file))) == 1
    assert "relay/fan: there is no GPIO chip" in capsys.readouterr().err
