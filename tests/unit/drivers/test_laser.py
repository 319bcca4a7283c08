"""Lasers: tuning keeps phase and light and refuses what is out of reach; ramps; the order of PWM and enable."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.cell import Cell
from drivers.course import Courses, Ramp
from drivers.gpio import SimulatedLine
from drivers.laser import FIRST, PwmLaser, SimulatedLaser
from drivers.laser import Ramp as Rise
from drivers.modulation import fundamental_w
from drivers.pwm import switch_off
from gateway.errors import CommandRefused, DeviceError
from gateway.outputs import Outputs
from gateway.types import Command, Light
from tests.support.pwm import FakeKernel, channel

ON, OFF = Command("laser", "on"), Command("laser", "off")
LIGHT = Light(Fraction("2012.5"), 0.4, 0.02)


def tune(value: object) -> Command:
    return Command("laser", "tune", {"frequency_hz": value})


def laser() -> SimulatedLaser:
    return SimulatedLaser(Cell(), 2012.5, 0.5, 0.02)


@pytest.mark.parametrize("value", [1, 1.0, 2013.7, 100_000])
def test_it_is_tuned_to_the_decimal_number(value: float) -> None:
    tuned = laser()
    tuned.apply(tune(value))
    assert tuned.light.frequency == Fraction(str(value))
    assert tuned.read() == "off"
    tuned.apply(Command("laser", "on"))
    tuned.apply(tune(2000))
    assert tuned.read() == "on"


@pytest.mark.parametrize("value", [0.5, 100_001, -2012.5, float("nan"), float("inf"), 10**400, True, "2012.5", None])
def test_frequencies_out_of_reach_are_refused(value: object) -> None:
    tuned = laser()
    with pytest.raises(CommandRefused, match="laser tune"):
        tuned.apply(tune(value))
    assert tuned.light.frequency == Fraction(4025, 2)


def test_an_unknown_verb_is_refused() -> None:
    with pytest.raises(CommandRefused, match="It knows on, off and tune"):
        laser().apply(Command("laser", "explode"))


def test_the_light_drifts_and_is_seen() -> None:
    cell = Cell(8000, courses=Courses(power=(Ramp(0.0, 10.0, -0.2),)))
    drifting = SimulatedLaser(cell, 2012.5, 0.5, 0.02)
    assert drifting.light == Light(Fraction(4025, 2), 0.5, 0.02)
    cell.sound(0, 40_000)
    assert drifting.light.power_w == pytest.approx(0.018, rel=1e-12)
    drifting.apply(tune(2020))
    assert drifting.light.frequency == 2020


@given(st.lists(st.integers(0, 4_000_000_000), min_size=1), st.floats(0.01, 60.0))
def test_a_rise_only_rises_and_is_over_after_its_time(steps: list[int], ramp_s: float) -> None:
    rise, start_ns = Rise(ramp_s), 5_000_000_000
    rise.begin()
    rise.step(start_ns)
    assert rise.reached == FIRST
    t_ns, before = start_ns, FIRST
    for more_ns in steps:
        t_ns += more_ns
        assert rise.step(t_ns) == (rise.reached != before)
        assert rise.reached >= before
        assert rise.reached == pytest.approx(min(max((t_ns - start_ns) / round(ramp_s * 1e9), FIRST), 1.0))
        before = rise.reached
    rise.end()
    assert rise.reached == 1.0


def test_the_simulated_laser_rises_with_the_blocks() -> None:
    cell = Cell(noise_density=0.0, bits=None)
    lit = SimulatedLaser(cell, 2000, 0.5, 0.02, ramp_s=1.0)
    assert lit.light.duty == 0.5
    lit.apply(ON)
    duties = []
    for t_ns in range(0, 1_300_000_000, 100_000_000):
        lit.step(t_ns)
        duties.append(lit.light.duty)
    lit.apply(ON)
    assert duties == [0.005, *(pytest.approx(0.05 * step) for step in range(1, 10)), 0.5, 0.5, 0.5]
    assert lit.light.duty == 0.5
    lit.apply(OFF)
    assert (lit.read(), lit.light.duty) == ("off", 0.5)


def test_the_sound_of_a_rising_laser_is_that_of_its_duty() -> None:
    def amplitude(steps: list[int]) -> float:
        cell = Cell(noise_density=0.0, bits=None)
        lit = SimulatedLaser(cell, 2000, 0.5, 0.02, ramp_s=1.0 if steps else 0.0)
        lit.apply(ON)
        for t_ns in steps:
            lit.step(t_ns)
        heard = cell.sound(48_000, 48_000)[:, 0].astype(np.float64)
        return float(abs(2.0 * np.mean(heard * np.exp(-2j * np.pi * 2000 * np.arange(48_000) / 48_000))))

    part = fundamental_w(1.0, 0.25 * 0.5) / fundamental_w(1.0, 0.5)
    assert amplitude([0, 250_000_000]) == pytest.approx(part * amplitude([]), rel=1e-5)


class EnableLine(SimulatedLine):
    """Writes into the kernel's own account, so that one order is told."""

    def __init__(self, kernel: FakeKernel) -> None:
        super().__init__(False)
        self._kernel = kernel
        self.broken = False

    def set(self, lit: bool) -> None:
        """See Line."""
        self._kernel.written.append(f"line {'on' if lit else 'off'}")
        if self.broken:
            raise DeviceError("line 25 cannot be set", "Look at it")
        super().set(lit)


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    return FakeKernel(tmp_path)


def lamp(kernel: FakeKernel, line: EnableLine | None = None, ramp_s: float = 0.0) -> PwmLaser:
    return PwmLaser(channel(kernel), LIGHT, 0.5, ramp_s, line)


def test_pwm_then_enable_and_back_the_other_way(kernel: FakeKernel) -> None:
    lit = lamp(kernel, EnableLine(kernel))
    kernel.written.clear()
    assert lit.read() == "off"
    lit.apply(ON)
    assert kernel.written == ["period 496900", "duty_cycle 198760", "enable 1", "line on"]
    assert lit.read() == "on"
    kernel.written.clear()
    lit.apply(OFF)
    assert kernel.written == ["line off", "duty_cycle 0", "enable 0"]
    assert lit.read() == "off"


def test_it_is_dark_when_it_is_made_and_when_it_is_closed(kernel: FakeKernel) -> None:
    kernel.set(period="500000", duty_cycle="250000", enable="1")
    line = EnableLine(kernel)
    line.set(True)
    lit = lamp(kernel, line)
    assert (kernel.value("enable"), kernel.value("duty_cycle"), line.get()) == ("0", "0", False)
    lit.apply(ON)
    lit.close()
    lit.close()
    lit.make_safe()
    assert (kernel.value("enable"), kernel.value("duty_cycle")) == ("0", "0")


def test_its_light_is_what_the_pin_shows(kernel: FakeKernel) -> None:
    lit = lamp(kernel)
    lit.apply(ON)
    ticks, lit_ticks = kernel.pin
    assert lit.light == Light(Fraction(50_000_000, ticks), lit_ticks / ticks, 0.02)
    assert lit.light == Light(Fraction(50_000_000, 24_845), 9938 / 24_845, 0.02)


def test_tuning_keeps_duty_and_state(kernel: FakeKernel) -> None:
    lit = lamp(kernel, EnableLine(kernel))
    kernel.written.clear()
    lit.apply(tune(4000))
    assert (lit.light.frequency, kernel.written) == (4000, [])
    lit.apply(ON)
    kernel.waves.clear()
    lit.apply(tune(1000.1))
    assert lit.read() == "on"
    assert lit.light.frequency == Fraction(50_000_000, 49_995)
    assert lit.light.duty == pytest.approx(0.4, abs=1 / 49_995)
    assert all(enabled and 10 * duty_ns <= 4 * period_ns for enabled, period_ns, duty_ns in kernel.waves)


@given(st.lists(st.one_of(st.sampled_from(["on", "off", "step"]), st.integers(1, 100_000)), max_size=12))
def test_whatever_it_is_told_the_lit_part_stays_within_its_duty(
    tmp_path_factory: pytest.TempPathFactory, told: list[str | int]
) -> None:
    kernel = FakeKernel(tmp_path_factory.mktemp("pwm"))
    lit, t_ns = lamp(kernel, EnableLine(kernel), ramp_s=0.5), 0
    wanted = False
    for word in told:
        if word == "step":
            t_ns += 100_000_000
            lit.step(t_ns)
        else:
            lit.apply(tune(word) if isinstance(word, int) else Command("laser", word))
            wanted = word == "on" if isinstance(word, str) else wanted
        assert lit.read() == ("on" if wanted else "off")
        assert kernel.value("enable") == ("1" if wanted else "0") if kernel.waves else True
    assert all(10 * duty_ns <= 4 * period_ns for _, period_ns, duty_ns in kernel.waves)
    lit.close()


def test_it_rises_step_by_step_from_a_hundredth(kernel: FakeKernel) -> None:
    lit = lamp(kernel, ramp_s=0.4)
    lit.apply(ON)
    duties = []
    for t_ns in range(0, 600_000_000, 100_000_000):
        lit.step(t_ns)
        duties.append(lit.light.duty)
        assert kernel.pin[1] / kernel.pin[0] == lit.light.duty
        assert lit.read() == "on"
    assert duties == pytest.approx([0.004, 0.1, 0.2, 0.3, 0.4, 0.4], abs=1 / 24_845)
    lit.apply(OFF)
    lit.apply(ON)
    assert lit.light.duty == pytest.approx(0.004, abs=1 / 24_845)
    lit.apply(OFF)
    assert lit.light.duty == pytest.approx(0.4, abs=1 / 24_845)


def test_who_was_darkened_from_outside_stays_dark_until_lit_again(kernel: FakeKernel) -> None:
    lit = lamp(kernel, ramp_s=0.4)
    lit.apply(ON)
    lit.step(0)
    switch_off(kernel.chip / "pwm0", kernel)
    lit.step(200_000_000)
    lit.apply(tune(1000))
    assert (lit.read(), kernel.value("enable")) == ("off", "0")
    lit.apply(ON)
    assert lit.read() == "on"
    assert lit.light.duty == pytest.approx(0.004, abs=1e-4)


def test_what_the_hardware_refuses_leaves_it_dark(kernel: FakeKernel) -> None:
    line = EnableLine(kernel)
    lit = lamp(kernel, line)
    kernel.refuse = {"period": errno.EINVAL}
    with pytest.raises(DeviceError, match="period"):
        lit.apply(ON)
    kernel.refuse = {}
    assert (lit.read(), kernel.written[-1]) == ("off", "line off")
    line.broken = True
    with pytest.raises(DeviceError, match="line 25 cannot be set"):
        lit.apply(ON)
    assert kernel.value("enable") == "0"
    assert lit.read() == "off"


def test_each_is_switched_off_whatever_becomes_of_the_other(kernel: FakeKernel) -> None:
    line = EnableLine(kernel)
    lit = lamp(kernel, line)
    lit.apply(ON)
    kernel.refuse = {"duty_cycle": errno.EIO}
    with pytest.raises(DeviceError, match="duty_cycle"):
        lit.make_safe()
    assert (line.get(), kernel.value("enable")) == (False, "0")
    kernel.refuse = {}
    lit.apply(ON)
    line.broken = True
    with pytest.raises(DeviceError, match="line 25"):
        lit.make_safe()
    assert (kernel.value("duty_cycle"), kernel.value("enable")) == ("0", "0")


def test_without_its_enable_it_is_off_and_unknown_is_not_lit(kernel: FakeKernel) -> None:
    line = EnableLine(kernel)
    lit = lamp(kernel, line)
    outputs = Outputs([lit])
    outputs.apply([ON], 0)
    assert outputs.lit()
    line.set(False)
    assert outputs.lit() is False
    line.set(True)
    lit.close()
    assert outputs.apply((), 0).states["laser"] == "unknown"
    assert outputs.lit() is False


def test_a_duty_that_it_does_not_bear_is_refused_not_clamped(kernel: FakeKernel) -> None:
    with pytest.raises(DeviceError, match=r"duty, 0.4, is more than laser and driver bear, 0.3. Lower laser.duty"):
        PwmLaser(channel(kernel), LIGHT, 0.3)


def test_a_period_of_too_few_ticks_is_refused(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path, clock_hz=1_000_000)
    lit = lamp(kernel)
    with pytest.raises(CommandRefused, match=r"makes 20000 Hz of 50 ticks, too few. Give 10000 Hz at most"):
        lit.apply(tune(20_000))
    assert lit.light.frequency == Fraction(1_000_000, 497)
    with pytest.raises(CommandRefused, match="It knows on, off and tune"):
        lit.apply(Command("laser", "explode"))
