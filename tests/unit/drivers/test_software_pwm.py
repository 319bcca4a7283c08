"""The second choice, on gpiozero's own mock pins: what it tells them, and what it tells people."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction

import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from drivers.laser import PwmLaser
from drivers.software_pwm import SoftwarePwm
from gateway.errors import CommandRefused, DeviceError
from gateway.types import Command, Light


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    factory = MockFactory(pin_class=MockPWMPin)
    yield factory
    factory.reset()


def test_whole_microseconds_and_whole_percent(pins: MockFactory) -> None:
    laser = PwmLaser(SoftwarePwm(18, pins), Light(Fraction("2012.5"), 0.333, 0.02), 0.5)
    pin = pins.pin(18)
    assert (laser.read(), pin.state) == ("off", 0)
    laser.apply(Command("laser", "on"))
    assert laser.read() == "on"
    assert round(1e6 / pin.frequency) == 497
    assert int(pin.state * 100) == 33  # as gpiozero hands it to lgpio
    assert laser.light == Light(Fraction(1_000_000, 497), 0.33, 0.02)
    laser.apply(Command("laser", "tune", {"frequency_hz": 1000}))
    assert (round(1e6 / pin.frequency), int(pin.state * 100), laser.light.frequency) == (1000, 33, 1000)
    laser.make_safe()
    assert (laser.read(), pin.state) == ("off", 0)


def test_lgpio_reaches_ten_kilohertz(pins: MockFactory) -> None:
    laser = PwmLaser(SoftwarePwm(18, pins), Light(Fraction(2000), 0.5, 0.02), 0.5)
    laser.apply(Command("laser", "tune", {"frequency_hz": 10_000}))
    with pytest.raises(CommandRefused, match="Give 10000 Hz at most"):
        laser.apply(Command("laser", "tune", {"frequency_hz": 10_100}))


def test_its_jitter_is_told_at_the_start(pins: MockFactory, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "spectrophone.laser"):
        SoftwarePwm(18, pins)
    assert "modulated by software: its edges jitter" in caplog.text
    assert "hardware PWM" in caplog.text


def test_closed_it_is_dark_and_may_be_closed_again(pins: MockFactory) -> None:
    pwm = SoftwarePwm(18, pins)
    pwm.drive(1000, 500)
    pwm.close()
    pwm.close()
    pwm.off()
    assert not pwm.read().lit


def test_a_line_in_use_and_a_machine_without_lines(pins: MockFactory) -> None:
    first = SoftwarePwm(18, pins)
    with pytest.raises(DeviceError, match=r"GPIO line 18 makes no PWM: .*in use"):
        SoftwarePwm(18, pins)
    first.close()
    with pytest.raises(DeviceError, match=r"GPIO line 18 makes no PWM: .*lgpio.*hardware PWM"):
        SoftwarePwm(18)
