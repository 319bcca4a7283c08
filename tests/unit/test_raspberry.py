"""The facts of the Raspberry Pis fit together, and into the header."""

from __future__ import annotations

import pytest

from gateway.raspberry import CHIPS, CLOCK_HZ, EEPROM, I2C, LAST_LINE, PULLED_UP


@pytest.mark.parametrize("label", CHIPS)
def test_a_line_with_pwm_is_on_the_header_and_pulled_down(label: str) -> None:
    chip = CHIPS[label]
    assert chip.label == label
    assert set(chip.pwm) == {12, 13, 18, 19}
    assert not set(chip.pwm) & set(PULLED_UP)
    assert chip.pll_hz is None or chip.pll_hz % CLOCK_HZ == 0
    assert {chip.pwm[12].channel, chip.pwm[13].channel} == {0, 1}


def test_two_lines_share_a_channel_on_all_but_the_pi_5() -> None:
    shared = {label: len({at.channel for at in chip.pwm.values()}) for label, chip in CHIPS.items()}
    assert shared == {"pinctrl-bcm2835": 2, "pinctrl-bcm2711": 2, "pinctrl-rp1": 4}


def test_no_model_belongs_to_two_chips() -> None:
    models = [model for chip in CHIPS.values() for model in chip.models]
    assert not [(a, b) for a in models for b in models if a != b and a.startswith(b)]
    assert LAST_LINE == 27
    assert not set(EEPROM) & set(I2C)
