"""What is safe, as data, and the hands that make it so."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.safety import SUFFIX, Plan, SafeLine, SafePwm, read, set_lines, stop_pwms, written


def channel(root: Path) -> Path:
    """The files of a PWM that runs, as the kernel shows them."""
    path = root / "pwm0"
    path.mkdir(parents=True)
    for name, value in {"period": "500000", "duty_cycle": "250000", "polarity": "normal", "enable": "1"}.items():
        (path / name).write_text(value)
    return path


def test_a_plan_is_a_line_of_text_and_comes_back_from_it() -> None:
    plan = Plan((SafePwm("laser", "/sys/class/pwm/pwmchip0/pwm0"),), (SafeLine("relay/fan", "pinctrl", 17, False),))
    assert "\n" not in plan.text()
    assert read(plan.text()) == plan


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"pwms": [{"name": "laser"}], "lines": []}', '{"pwms": 1, "lines": 2}']
)
def test_what_is_no_plan_is_none(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # json's own error is one, too
        read(text)


def test_plans_that_were_left_are_found_and_rubbish_is_passed_over(tmp_path: Path) -> None:
    plan = Plan(lines=(SafeLine("relay/fan", "pinctrl", 17, False),))
    (tmp_path / f"lab{SUFFIX}").write_text(plan.text())
    (tmp_path / f"half{SUFFIX}").write_text(plan.text()[:20])
    (tmp_path / "lab.json").write_text("{}")
    assert written(tmp_path) == [plan]
    assert written(tmp_path / "none") == []


def test_a_pwm_is_stopped_through_its_files(tmp_path: Path) -> None:
    path = channel(tmp_path)
    assert stop_pwms([SafePwm("laser", str(path))]) == []
    assert (path / "duty_cycle").read_text()[0] == "0"
    assert (path / "enable").read_text()[0] == "0"


def test_all_are_tried_and_each_trouble_names_its_part(tmp_path: Path) -> None:
    broken, good = channel(tmp_path / "a"), channel(tmp_path / "b")
    (broken / "duty_cycle").unlink()
    (broken / "duty_cycle").mkdir()
    (trouble,) = stop_pwms([SafePwm("laser", str(broken)), SafePwm("tec", str(good))])
    assert trouble.startswith("laser: ")
    assert (good / "enable").read_text()[0] == "0"


def test_a_line_that_is_not_there_is_told() -> None:
    (trouble,) = set_lines([SafeLine("relay/fan", "no-such-chip", 17, False)])
    assert trouble.startswith("relay/fan: there is no GPIO chip")
