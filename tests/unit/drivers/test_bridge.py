"""The bridge on a PWM of a kernel that refuses what the real one refuses."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from drivers.bridge import PwmBridge
from drivers.gpio import SimulatedLine
from gateway.errors import DeviceError
from tests.support.pwm import FakeKernel, channel


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    return FakeKernel(tmp_path)


def test_strength_and_direction_are_driven_and_read_back(kernel: FakeKernel) -> None:
    direction = SimulatedLine(False)
    bridge = PwmBridge(channel(kernel), direction)
    assert bridge.level() == 0.0
    for level in (0.25, 0.5, -0.5, -0.001, 0.3):
        bridge.drive(level)
        assert direction.get() is (level > 0.0)
        # half a tick of 1667, and what a nanosecond is of it
        assert bridge.level() == pytest.approx(level, abs=0.5 / 1667 + 1 / 33_333)
    assert kernel.pin[0] == 1667  # 29 994 Hz of 50 MHz, the nearest to 30 kHz
    bridge.off()
    assert bridge.level() == 0.0
    assert not kernel.waves[-1][0]


def test_there_is_no_current_while_the_direction_changes(kernel: FakeKernel) -> None:
    class Direction(SimulatedLine):
        def set(self, lit: bool) -> None:
            enabled, _, duty_ns = kernel.waves[-1]
            assert not enabled
            assert duty_ns == 0
            super().set(lit)

    bridge = PwmBridge(channel(kernel), Direction(False))
    bridge.drive(-0.4)
    bridge.drive(0.4)
    assert bridge.level() == pytest.approx(0.4, abs=1e-3)


def test_nothing_is_driven_by_nothing(kernel: FakeKernel) -> None:
    bridge = PwmBridge(channel(kernel), SimulatedLine(False))
    bridge.drive(0.0)
    assert bridge.level() == 0.0


def test_closing_switches_it_off_and_keeps_it_off(kernel: FakeKernel) -> None:
    bridge = PwmBridge(channel(kernel), SimulatedLine(False))
    bridge.drive(0.4)
    bridge.close()
    bridge.close()
    bridge.off()
    assert bridge.level() == 0.0
    assert not kernel.waves[-1][0]
    with pytest.raises(DeviceError, match="is closed"):
        bridge.drive(0.4)


def test_a_refusal_of_the_kernel_is_told(kernel: FakeKernel) -> None:
    bridge = PwmBridge(channel(kernel), SimulatedLine(False))
    kernel.refuse["duty_cycle"] = errno.EIO
    with pytest.raises(DeviceError, match="duty_cycle"):
        bridge.drive(0.4)
    assert bridge.level() == 0.0
