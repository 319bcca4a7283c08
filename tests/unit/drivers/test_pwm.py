"""The kernel's PWM on a sysfs tree with the kernel's own refusals: order of writes, exact ticks, errnos in words."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.pwm import KernelPwm, find_chip, switch_off
from gateway.errors import DeviceError
from tests.support.pwm import DRIVERS, FakeKernel, channel

CLOCKS = [10_000_000, 50_000_000, 100_000_000]
ODD_CLOCKS = [*CLOCKS, 1_920_000, 19_200_000, 54_000_000, 107_142_857, 187_500_000, 500_000_000]
"""Also those of which a tick is no whole number of nanoseconds."""


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    return FakeKernel(tmp_path)


def test_the_order_of_a_first_start(kernel: FakeKernel) -> None:
    pwm = channel(kernel)
    assert kernel.written == ["export 0"]
    pwm.drive(25_000, 10_000)
    assert kernel.written[1:] == ["period 500000", "duty_cycle 200000", "enable 1"]
    assert (pwm.read().enabled, pwm.read().period_ns, pwm.read().duty_ns) == (True, 500_000, 200_000)
    assert pwm.read().lit
    pwm.off()
    assert kernel.written[-2:] == ["duty_cycle 0", "enable 0"]
    assert not pwm.read().lit


def test_a_period_grows_before_its_duty_and_shrinks_after_it(kernel: FakeKernel) -> None:
    pwm = channel(kernel)
    pwm.drive(1000, 900)
    kernel.written.clear()
    pwm.drive(2000, 1800)
    pwm.drive(500, 450)
    assert kernel.written == [
        *("period 40000", "duty_cycle 36000", "enable 1"),
        *("duty_cycle 9000", "period 10000", "enable 1"),
    ]


def test_what_a_dead_process_left_running_is_dark_first(kernel: FakeKernel) -> None:
    kernel.set(period="500000", duty_cycle="250000", enable="1")
    pwm = channel(kernel)
    assert kernel.written == ["duty_cycle 0", "enable 0"]
    assert not pwm.read().lit


def test_an_active_low_channel_is_dark_while_it_runs_at_duty_0(kernel: FakeKernel) -> None:
    pwm = channel(kernel, active_high=False)
    assert kernel.written[1:] == ["period 1000000", "enable 0", "polarity inversed", "duty_cycle 0", "enable 1"]
    pwm.drive(25_000, 10_000)
    pwm.off()
    pwm.close()
    assert kernel.written[-1] == "duty_cycle 0"
    assert kernel.waves[-1] == (True, 500_000, 0)
    again = channel(kernel, active_high=False)
    assert kernel.value("polarity") == "inversed"
    assert again.read().enabled
    again.close()
    channel(kernel)
    assert (kernel.value("polarity"), kernel.value("enable")) == ("normal", "0")


@pytest.mark.parametrize("driver", DRIVERS)
def test_at_50_mhz_the_pin_counts_what_was_meant(tmp_path: Path, driver: str) -> None:
    kernel = FakeKernel(tmp_path, driver)
    pwm = channel(kernel)
    ticks = pwm.ticks(Fraction("2012.5"))
    pwm.drive(ticks, 9938)
    assert kernel.pin == (24_845, 9938)
    assert pwm.frequency(ticks) == Fraction(50_000_000, 24_845)


@given(
    st.sampled_from(sorted(DRIVERS)),
    st.data(),
    st.fractions(1, 100_000, max_denominator=1000),
    st.floats(0.0, 0.99),
)
def test_the_achieved_frequency_is_the_pins_and_the_nearest_there_is(
    driver: str, data: st.DataObject, frequency: Fraction, duty: float
) -> None:
    clock_hz = data.draw(st.sampled_from(CLOCKS if driver == "rpi-pwm" else ODD_CLOCKS))
    with tempfile.TemporaryDirectory() as root:
        kernel = FakeKernel(Path(root), driver, clock_hz)
        pwm = channel(kernel)
        ticks = pwm.ticks(frequency)
        lit = int(duty * (ticks - 2))
        pwm.drive(ticks, lit)
        pin = kernel.pin
        pwm.close()
    achieved = pwm.frequency(ticks)
    assert pin == (ticks, lit)
    assert achieved == Fraction(clock_hz, pin[0])
    assert abs(float(achieved) / (clock_hz / pin[0]) - 1.0) < 1e-9
    for other in (ticks - 1, ticks + 1):
        assert abs(achieved - frequency) <= abs(Fraction(clock_hz, other) - frequency)


@given(st.lists(st.tuples(st.integers(100, 10**6), st.floats(0.0, 0.95)), min_size=2, max_size=6))
def test_on_the_way_the_lit_part_is_never_larger_than_before_or_after(steps: list[tuple[int, float]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        kernel = FakeKernel(Path(root))
        pwm = channel(kernel)
        before = Fraction(0)
        for ticks, duty in steps:
            kernel.waves.clear()
            lit = int(duty * ticks)
            pwm.drive(ticks, lit)
            after = Fraction(lit, ticks)
            assert all(Fraction(wave[2], wave[1]) <= max(before, after) for wave in kernel.waves)
            before = after
        pwm.close()


@pytest.mark.parametrize(("ticks", "lit"), [(1000, 1000), (1000, -1), (2**32, 5), (0, 0)])
def test_full_on_and_what_the_counter_cannot_hold_are_refused(kernel: FakeKernel, ticks: int, lit: int) -> None:
    pwm = channel(kernel)
    with pytest.raises(DeviceError, match=f"{lit} of {ticks} ticks cannot be"):
        pwm.drive(ticks, lit)
    assert kernel.written == ["export 0"]


def test_udev_is_waited_for_but_not_for_ever(kernel: FakeKernel) -> None:
    kernel.udev_looks = 20
    waits: list[float] = []
    pwm = KernelPwm(0, 0, kernel.clock_hz, True, kernel.root, kernel, waits.append)
    assert 0.0 < sum(waits) < 1.0
    pwm.close()
    kernel.udev_looks = 10**6
    with pytest.raises(DeviceError, match=r"pwm0/period is out of reach: permission denied. .*group gpio.*udev rule"):
        KernelPwm(0, 0, kernel.clock_hz, True, kernel.root, kernel, waits.append)
    assert 1.9 < sum(waits) < 2.3


def test_no_such_chip(kernel: FakeKernel) -> None:
    with pytest.raises(DeviceError, match=r"there is no PWM chip 3: .*pwmchip3 is missing. .*dtoverlay=pwm"):
        KernelPwm(3, 0, kernel.clock_hz, root=kernel.root, sysfs=kernel)


def test_no_such_channel(kernel: FakeKernel) -> None:
    with pytest.raises(DeviceError, match=r"'2' cannot be written to .*/export: no such device. .*dtoverlay=pwm"):
        channel(kernel, 2)


def test_export_without_permission(kernel: FakeKernel) -> None:
    kernel.shut = {"export"}
    with pytest.raises(DeviceError, match=r"'0' cannot be written to .*/export: permission denied. .*group gpio"):
        channel(kernel)


def test_a_channel_that_a_driver_of_the_kernel_holds(kernel: FakeKernel) -> None:
    kernel.held = True
    with pytest.raises(DeviceError, match=r"'0' cannot be written to .*/export: device or resource busy. .*audio"):
        channel(kernel)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("period", errno.EINVAL, "'500000' cannot be written to .*/period: invalid argument. .*another frequency"),
        ("duty_cycle", errno.EINVAL, "'200000' cannot be written to .*/duty_cycle: invalid argument. .*duty"),
        ("enable", errno.ENODEV, "'1' cannot be written to .*/enable: no such device. .*overlay"),
        ("enable", errno.EPERM, "'1' cannot be written to .*/enable: permission denied. .*group gpio"),
        ("period", errno.EIO, "'500000' cannot be written to .*/period: input/output error. .*dmesg"),
    ],
)
def test_every_errno_names_file_value_and_remedy(kernel: FakeKernel, name: str, code: int, words: str) -> None:
    pwm = channel(kernel)
    kernel.refuse = {name: code}
    with pytest.raises(DeviceError, match=words):
        pwm.drive(25_000, 10_000)


def test_a_driver_without_polarity_refuses_an_active_low_laser(kernel: FakeKernel) -> None:
    kernel.refuse = {"polarity": errno.EINVAL}
    with pytest.raises(DeviceError, match=r"'inversed' cannot be written to .*/polarity: invalid argument"):
        channel(kernel, active_high=False)


def test_switching_off_goes_on_after_a_refusal(kernel: FakeKernel) -> None:
    pwm = channel(kernel)
    pwm.drive(1000, 500)
    kernel.refuse = {"duty_cycle": errno.EIO}
    with pytest.raises(DeviceError, match=r"'0' cannot be written to .*/duty_cycle"):
        pwm.off()
    assert kernel.value("enable") == "0"
    with pytest.raises(DeviceError, match="duty_cycle"):
        switch_off(pwm.path, kernel)
    assert kernel.value("enable") == "0"


def test_another_process_is_kept_out_until_this_one_is_done(kernel: FakeKernel) -> None:
    pwm = channel(kernel)
    other = (
        "import sys; from pathlib import Path; from drivers.pwm import KernelPwm\n"
        f"KernelPwm(0, 0, {kernel.clock_hz}, root=Path({str(kernel.root)!r}))"
    )
    refused = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
    assert "pwm0 is driven by another process. End the other spectrophone" in refused.stderr
    pwm.close()
    assert subprocess.run([sys.executable, "-c", other], check=False).returncode == 0


def test_the_next_in_line_switches_off_what_is_lit(kernel: FakeKernel) -> None:
    for active_high in (True, False):
        pwm = channel(kernel, active_high=active_high)
        pwm.drive(25_000, 10_000)
        switch_off(pwm.path, kernel)
        assert not pwm.read().lit
        assert pwm.read().enabled is not active_high
        pwm.close()


def test_the_next_in_line_leaves_alone_what_never_ran(kernel: FakeKernel) -> None:
    switch_off(kernel.chip / "pwm0", kernel)
    channel(kernel).close()
    switch_off(kernel.chip / "pwm0", kernel)
    assert kernel.written == ["export 0"]


def test_a_closed_channel_is_dark_and_says_so(kernel: FakeKernel) -> None:
    pwm = channel(kernel)
    pwm.drive(1000, 500)
    pwm.close()
    pwm.close()
    assert kernel.value("enable") == "0"
    with pytest.raises(DeviceError, match="pwm0 is closed"):
        pwm.read()


def test_a_clock_that_is_not_the_board_files_is_refused(kernel: FakeKernel) -> None:
    words = "counts 50000000 Hz, and the board file says clock_hz = 100000000. Write clock=100000000"
    with pytest.raises(DeviceError, match=words):
        KernelPwm(0, 0, 100_000_000, root=kernel.root, sysfs=kernel)


def test_without_a_device_tree_the_board_file_is_believed(kernel: FakeKernel) -> None:
    (kernel.chip / "device" / "of_node" / "assigned-clock-rates").unlink()
    (kernel.chip / "device" / "driver").unlink()
    pwm = KernelPwm(0, 0, 100_000_000, root=kernel.root, sysfs=kernel)
    assert pwm.frequency(pwm.ticks(Fraction(2000))) == 2000


def test_a_chip_is_found_by_its_device(kernel: FakeKernel) -> None:
    assert find_chip("fe20c000.pwm", kernel.root) == 0
    by_name = KernelPwm("fe20c000.pwm", 1, kernel.clock_hz, root=kernel.root, sysfs=kernel)
    assert by_name.path == kernel.chip / "pwm1"
    with pytest.raises(DeviceError, match=r"there is no PWM '1f00098000.pwm' in .*; there are: fe20c000.pwm"):
        find_chip("1f00098000.pwm", kernel.root)
    with pytest.raises(DeviceError, match="there are: none"):
        find_chip("fe20c000.pwm", kernel.root / "nowhere")
