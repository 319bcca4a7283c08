"""The kernel's own PWM core and sysfs under drivers/pwm.py: udev's moment, order and refusals as they really are, and a
wave that goes on after its process has died.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.hil.guest import PINS, VENV, Guest, Running

CHIP = "/sys/class/pwm/pwmchip0"
PWM = f"{CHIP}/pwm0"
LINE = 12
AS_USER = ("setpriv", "--reuid=spectrophone", "--regid=spectrophone", "--init-groups")
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
OPEN = "from fractions import Fraction; from pathlib import Path; import sys, time; from drivers.pwm import *\n"
STAY = "\nprint('ready', flush=True); time.sleep(1000)"


@pytest.fixture
def channel(guest: Guest) -> Iterator[Guest]:
    """The guest; the channel is dark, upright and gone again afterwards."""
    yield guest
    tidy = f"[ ! -d {PWM} ] || [ $(cat {PWM}/period) = 0 ] || {{ echo 0 >{PWM}/enable; echo normal >{PWM}/polarity; }}"
    guest.shell(f"{tidy}; [ ! -d {PWM} ] || echo 0 >{CHIP}/unexport")


def python(guest: Guest, program: str, who: tuple[str, ...] = AS_USER) -> tuple[int, str, str]:
    """A program with the installed gateway's drivers, to its end."""
    ran = guest.run(*who, f"{VENV}/bin/python", "-c", OPEN + program, check=False)
    return ran.code, ran.out, ran.err


def staying(guest: Guest, program: str) -> Running:
    """A program that drives the channel until it is killed; it has got as far as its last line."""
    running = guest.start(*AS_USER, f"{VENV}/bin/python", "-c", OPEN + program + "\nopen('/tmp/pwm-is','w')" + STAY)
    guest.shell("timeout 20 sh -c 'until [ -e /tmp/pwm-is ]; do sleep 0.02; done'; rm /tmp/pwm-is")
    return running


def high(guest: Guest, reads: int = 1000) -> float:
    """How often the line is found high."""
    script = f"for _ in range({reads}): f.seek(0); n += int(f.read(1))"
    program = f"n = 0\nwith open('{PINS}/sim_gpio{LINE}/value') as f:\n {script}\nprint(n / {reads})"
    return float(guest.run("python3", "-c", program).out)


def test_a_service_opens_it_without_root_and_the_wave_outlives_it_until_the_next_in_line(channel: Guest) -> None:
    program = "pwm = KernelPwm(0, 0, 50_000_000); pwm.drive(pwm.ticks(Fraction('2012.5')), 24_845 * 3 // 10)"
    owner = staying(channel, program)
    assert [channel.read(f"{PWM}/{name}") for name in ("enable", "period", "duty_cycle")] == ["1", "496900", "149060"]
    assert abs(high(channel) - 0.3) < 0.1
    owner.signal(signal.SIGKILL)
    owner.wait()
    assert channel.read(f"{PWM}/enable") == "1"
    assert abs(high(channel) - 0.3) < 0.1
    assert python(channel, f"switch_off(Path('{PWM}'))") == (0, "", "")
    assert [channel.read(f"{PWM}/{name}") for name in ("enable", "duty_cycle")] == ["0", "0"]
    assert high(channel) == 0.0


def test_an_active_low_laser_is_dark_on_a_high_level_and_stays_enabled(channel: Guest) -> None:
    program = "pwm = KernelPwm(0, 0, 50_000_000, active_high=False)"
    owner = staying(channel, program)
    assert [channel.read(f"{PWM}/{name}") for name in ("enable", "polarity")] == ["1", "inversed"]
    assert high(channel) == 1.0
    owner.signal(signal.SIGKILL)
    owner.wait()
    owner = staying(channel, program + "; pwm.drive(50_000, 10_000)")
    assert abs(high(channel) - 0.8) < 0.1
    owner.signal(signal.SIGKILL)
    owner.wait()
    assert python(channel, f"switch_off(Path('{PWM}'))") == (0, "", "")
    assert (channel.read(f"{PWM}/enable"), high(channel)) == ("1", 1.0)


def test_a_second_gateway_is_kept_out_while_the_first_lives(channel: Guest) -> None:
    program = "pwm = KernelPwm(0, 0, 50_000_000); pwm.drive(50_000, 10_000)"
    owner = staying(channel, program)
    code, _, err = python(channel, program)
    assert code == 1
    assert "pwm0 is driven by another process" in err
    assert channel.read(f"{PWM}/enable") == "1"
    owner.signal(signal.SIGKILL)
    owner.wait()
    assert python(channel, program + "; print(pwm.read().lit); pwm.close()") == (0, "True\n", "")
    assert channel.read(f"{PWM}/enable") == "0"


def test_period_and_duty_come_in_an_order_that_the_kernel_takes(channel: Guest) -> None:
    waves = "(50_000, 45_000), (500, 450), (25_000, 24_000), (25_000, 100), (1000, 999), (100_000, 1)"
    program = f"pwm = KernelPwm(0, 0, 50_000_000)\nfor wave in ({waves}): pwm.drive(*wave); print(pwm.read().period_ns)"
    code, out, err = python(channel, program + "\npwm.close()")
    assert (code, err) == (0, "")
    assert out.split() == ["1000000", "10000", "500000", "500000", "20000", "2000000"]


@pytest.mark.parametrize(
    ("program", "who", "words"),
    [
        ("KernelPwm(0, 7, 50_000_000)", AS_USER, "'7' cannot be written to PATH/export: no such device"),
        ("KernelPwm(9, 0, 50_000_000)", AS_USER, "there is no PWM chip 9: "),
        ("KernelPwm('1f00098000.pwm', 0, 50_000_000)", AS_USER, "there is no PWM '1f00098000.pwm' in /sys/class/pwm"),
        ("KernelPwm(0, 0, 50_000_000)", AS_NOBODY, "'0' cannot be written to PATH/export: permission denied"),
    ],
)
def test_what_the_kernel_refuses_is_told_in_words(
    channel: Guest, program: str, who: tuple[str, ...], words: str
) -> None:
    told = f"\ntry: {program}\nexcept DeviceError as error: print(error)"
    code, out, err = python(channel, "from gateway.errors import DeviceError" + told, who)
    assert (code, err) == (0, "")
    assert words.replace("PATH", CHIP) in out
