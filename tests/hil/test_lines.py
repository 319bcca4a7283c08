"""Lines on a kernel's own chip: levels seen from the other side, inputs pulled from there, owners that die.

The drivers run in the guest, one script a test; what they see and what is seen from outside is compared here.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hil.guest import PINS, PROJECT, VENV, Guest, Running, wheel

CHIP = "pinctrl-bcm2711"
FAN, BUTTON, LED = 17, 27, (24, 23, 22)
DRIVER = "/sys/bus/platform/drivers/gpio-sim"
PERSISTING = "/sys/module/gpio_sim/parameters/persist_gpio_outputs"
SAID = "/tmp/said"
HEAD = f"""
import select, time
from drivers.gpio import Input, Line, find_chip
from gateway.errors import DeviceError
CHIP, FAN, BUTTON = {CHIP!r}, {FAN}, {BUTTON}
def say(word):
    with open("{SAID}", "w") as file: file.write(str(word))
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with Guest.boot() as booted:
        booted.install(wheel(PROJECT, tmp_path_factory.mktemp("wheel")))
        yield booted


def python(guest: Guest, script: str, *, user: str = "spectrophone") -> str:
    """What a script prints."""
    return guest.run("runuser", "-u", user, "--", f"{VENV}/bin/python", "-I", "-c", HEAD + script).out.strip()


def begun(guest: Guest, script: str) -> Running:
    """A script that has said "ready", and goes on until it ends or is killed."""
    guest.write(SAID, "")
    running = guest.start(f"{VENV}/bin/python", "-I", "-c", HEAD + script)
    heard(guest, "ready")
    return running


def heard(guest: Guest, word: str) -> None:
    """Return when the script that has begun has said that."""
    guest.shell(f'for n in $(seq 400); do [ "$(cat {SAID})" = {word} ] && exit; sleep 0.05; done; exit 1', timeout_s=60)


def info(guest: Guest, line: int) -> Any:
    """What the kernel tells of a line."""
    script = f"""
import gpiod, json
with gpiod.Chip(str(find_chip(CHIP))) as chip:
    line = chip.get_line_info({line})
print(json.dumps([line.used, line.consumer, line.direction.name, line.bias.name, line.active_low, line.debounced]))
"""
    return json.loads(python(guest, script))


def test_a_chip_is_found_by_its_label(guest: Guest) -> None:
    assert python(guest, "print(find_chip(CHIP))").startswith("/dev/gpiochip")
    told = python(guest, "try: find_chip('pinctrl-rp1')\nexcept DeviceError as error: print(error)")
    assert told.startswith("there is no GPIO chip 'pinctrl-rp1'. ")
    assert CHIP in told


def test_a_stranger_is_told_which_group_he_lacks(guest: Guest) -> None:
    told = python(guest, "try: find_chip(CHIP)\nexcept DeviceError as error: print(error)", user="nobody")
    assert told.endswith("may not be opened. Put the gateway's user into the group gpio")


@pytest.mark.parametrize("active_high", [True, False])
@pytest.mark.parametrize("lit", [True, False])
def test_levels_are_seen_from_outside(guest: Guest, active_high: bool, lit: bool) -> None:
    pulled = int(lit != active_high)
    guest.pull(FAN, pulled)
    assert guest.level(FAN) == pulled, "the other level, before"
    seen = python(
        guest,
        f"""
level = lambda: open("{PINS}/sim_gpio{FAN}/value").read().strip()
line = Line(CHIP, FAN, {active_high}, {lit})
print(level(), line.get())
for lit in (True, False, True):
    line.set(lit)
    print(level(), line.get())
line.set({lit})
line.close()
print(level(), line.get())
""",
    )
    driven = [lit, True, False, True]
    expected = [f"{int(state == active_high)} {state}" for state in driven]
    assert seen.splitlines() == [*expected, f"{pulled} False"]


def test_a_line_belongs_to_one(guest: Guest) -> None:
    owner = begun(guest, "line = Line(CHIP, FAN, True, True)\nsay('ready')\ntime.sleep(600)")
    assert info(guest, FAN)[:3] == [True, "spectrophone", "OUTPUT"]
    for part in ("Line(CHIP, FAN, True, False)", "Input(CHIP, FAN, True, 'none')"):
        told = python(guest, f"try: {part}\nexcept DeviceError as error: print(error)")
        assert told == "GPIO line 17 is in use already, by 'spectrophone'. End that, or give this part another line"
    assert guest.level(FAN) == 1
    owner.signal(signal.SIGKILL)
    assert owner.wait().code == -signal.SIGKILL
    assert python(guest, "line = Line(CHIP, FAN, True, False); print(line.get())") == "False"


def test_the_kernels_own_line_is_named(guest: Guest) -> None:
    told = python(guest, "try: Line(CHIP, 42, True, False)\nexcept DeviceError as error: print(error)")
    assert told == "GPIO line 42 is in use already, by 'ACT'. End that, or give this part another line"


def test_a_line_that_there_is_not(guest: Guest) -> None:
    told = python(guest, "try: Line(CHIP, 58, True, False)\nexcept DeviceError as error: print(error)")
    assert told.startswith("GPIO line 58 cannot be opened: ")


@pytest.mark.parametrize("persisting", [False, True])
def test_a_dead_owners_line_is_the_kernels_business(guest: Guest, persisting: bool) -> None:
    """Mainline leaves it to the board's resistor, a Raspberry Pi's kernel goes on driving it: the next in line acts."""
    guest.write(PERSISTING, "Y" if persisting else "N")
    guest.pull(FAN, 0)
    try:
        owner = begun(guest, "line = Line(CHIP, FAN, True, True)\nsay('ready')\ntime.sleep(600)")
        owner.signal(signal.SIGKILL)
        owner.wait()
        assert guest.level(FAN) == int(persisting)
        python(guest, "Line(CHIP, FAN, True, False).close()")
        assert guest.level(FAN) == 0
    finally:
        guest.write(PERSISTING, "N")


@pytest.mark.parametrize(("bias", "told"), [("pull_up", "PULL_UP"), ("pull_down", "PULL_DOWN"), ("none", "DISABLED")])
def test_an_inputs_resistor(guest: Guest, bias: str, told: str) -> None:
    owner = begun(guest, f"switch = Input(CHIP, BUTTON, False, {bias!r}, 5)\nsay('ready')\ntime.sleep(600)")
    assert info(guest, BUTTON) == [True, "spectrophone", "INPUT", told, True, True]
    owner.signal(signal.SIGKILL)
    owner.wait()


@pytest.mark.parametrize("active_high", [True, False])
@pytest.mark.parametrize("debounce_ms", [0, 20])
def test_changes_of_an_input_wake_who_waits_for_them(guest: Guest, active_high: bool, debounce_ms: int) -> None:
    """Each pull is followed by one wake and the level that it gave; between them the descriptor rests."""
    guest.pull(BUTTON, not active_high)
    owner = begun(
        guest,
        f"""
switch = Input(CHIP, BUTTON, {active_high}, "none", {debounce_ms})
poll = select.poll()
poll.register(switch.fileno(), select.POLLIN)
seen = [switch.get()]
say('ready')
while len(seen) < 7:
    assert poll.poll(20_000), "no wake"
    seen.append(switch.get())
    assert not poll.poll(0), "the changes were not forgotten"
    say(len(seen))
print(*map(int, seen))
""",
    )
    for number, pressed in enumerate((True, False, True, False, True, False), 2):
        guest.pull(BUTTON, pressed == active_high)
        heard(guest, str(number))
    assert owner.wait().out.split() == list("0101010")


def test_bounces_are_not_seen(guest: Guest) -> None:
    guest.pull(BUTTON, 0)
    owner = begun(
        guest,
        """
switch = Input(CHIP, BUTTON, True, "none", 1000)
poll = select.poll()
poll.register(switch.fileno(), select.POLLIN)
switch.get()
say('ready')
wakes = []
while poll.poll(3_000):
    wakes.append(switch.get())
print(wakes)
""",
    )
    for _ in range(10):
        guest.pull(BUTTON, 1)
        guest.pull(BUTTON, 0)
    guest.pull(BUTTON, 1)
    assert owner.wait().out.strip() == "[True]"


def test_relays_leds_and_switches_on_real_lines(guest: Guest) -> None:
    """The parts as the gateway builds them, their contact closed from outside."""
    guest.pull(BUTTON, 0)
    seen = python(
        guest,
        f"""
from drivers.button import SwitchInput
from drivers.led import Led
from drivers.relay import Relay
from gateway.types import Command
tell = lambda output, verb: output.apply(Command(output.target, verb))
second = 1_000_000_000
relay = Relay("fan", Line(CHIP, FAN, False, False), "off", 0.0, Input(CHIP, BUTTON, True, "pull_down"))
relay.step(second)
tell(relay, "on")
relay.step(3 * second)
print(relay.read())
led = Led("status", {{c: Line(CHIP, n, True, False) for c, n in zip(("red", "green", "blue"), {LED})}}, "off")
tell(led, "yellow")
print(led.read())
tell(led, "blink_blue")
led.step(0)
led.step(second)
print(led.read())
switch = SwitchInput(Input(CHIP, 5, True, "pull_down", 5), "the interlock is open")
print(switch.opened())
for part in (relay, led, switch):
    part.close()
""",
    )
    assert seen.splitlines() == ["stuck", "yellow", "blink_blue", "the interlock is open"]


def test_a_chip_that_goes_away_is_told(guest: Guest) -> None:
    """The last test here: the chip that comes back has another number, and is found by its label."""
    owner = begun(
        guest,
        """
switch, line = Input(CHIP, BUTTON, True, "none", 5), Line(CHIP, FAN, True, True)
poll = select.poll()
poll.register(switch.fileno(), select.POLLIN)
switch.get()
say('ready')
poll.poll(20_000)
for act in (switch.get, line.get, lambda: line.set(False)):
    try: act()
    except DeviceError as error: print(error)
switch.close()
line.close()
""",
    )
    guest.write(f"{DRIVER}/unbind", "pins")
    gone = "no such device. Look whether its chip is there: gpioinfo"
    assert owner.wait().out.splitlines() == [
        f"GPIO line {BUTTON} cannot be read: {gone}",
        f"GPIO line {FAN} cannot be read: {gone}",
        f"GPIO line {FAN} cannot be set: {gone}",
    ]
    guest.write(f"{DRIVER}/bind", "pins")
    assert python(guest, "line = Line(CHIP, FAN, True, True); print(line.get())") == "True"
