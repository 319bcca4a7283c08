"""On the emulated Pi, as root: drivers and gateway against the Pi's own kernel drivers, one step after the other.

Each line on standard output begins with "pi3: ". A step that fails says why, and the next one is taken. `reset` is the
last: the emulated watchdog resets the machine at the moment in which systemd arms it, since its model has no timer.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import time
import wave
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import pi, sin
from pathlib import Path

from drivers.gpio import Line
from drivers.pwm import KernelPwm, find_chip, switch_off
from gateway import safety
from gateway.errors import DeviceError
from gateway.safety import SafeLine

DEVICE, CHIP = "3f20c000.pwm", "pinctrl-bcm2835"
CLOCK_HZ = 50_000_000
PWM_BASE = 0x3F20C000
CONTROL, PERIOD, DUTY = 0x00, 0x10, 0x14
RUNS, INVERTED, MARK_SPACE = 0x01, 0x10, 0x80
"""BCM2835 ARM Peripherals, chapter 9: PWEN1, POLA1 and MSEN1 of CTL, RNG1, DAT1."""
ENABLE, FAN, VALVE = 26, 17, 22
AS_USER = ("setpriv", "--reuid=spectrophone", "--regid=spectrophone", "--init-groups")
DEBUG = Path("/sys/kernel/debug")
BOX = """\
board: rpi3-usb
box: {id: pi3}
acquisition: {device: "file:/run/tone.wav", block_ms: 500}
climate: {sensor: "off"}
laser: {reference: free, frequency_hz: 2012.5}
rules: [{when: co2_concentration above -1000000, do: [relay fan on, relay valve on]}]
"""
OPEN = f"pwm = KernelPwm({DEVICE!r}, 0, {CLOCK_HZ}"
HIGH = "function gpio_out in hi"
PATIENCE_S = 400.0
PLACES = {**os.environ, "RUNTIME_DIRECTORY": "/run/spectrophone", "STATE_DIRECTORY": "/var/lib/spectrophone"}
WATCHDOG = Path("/sys/class/watchdog/watchdog0/identity")
PATH = Path(f"/sys/class/pwm/pwmchip{find_chip(DEVICE)}/pwm0")
with open("/dev/mem", "rb") as memory:
    MEMORY = mmap.mmap(memory.fileno(), mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ, offset=PWM_BASE)


def say(words: str) -> None:
    print(f"pi3: {words}", flush=True)


def registers() -> tuple[int, int, int]:
    """CTL, RNG1 and DAT1 as the driver has left them: where qemu has no PWM there is memory."""
    return tuple(struct.unpack_from("<I", MEMORY, offset)[0] for offset in (CONTROL, PERIOD, DUTY))


def wave_form() -> str:
    control, period, duty = registers()
    words = [word for bit, word in ((RUNS, "runs"), (INVERTED, "inverted"), (MARK_SPACE, "M/S")) if control & bit]
    return f"CTL {control:#x} ({', '.join(words)}), RNG {period}, DAT {duty}"


def lit() -> bool:
    control, _, duty = registers()
    return bool(control & RUNS) and duty > 0


def pin(line: int) -> str:
    """What pinctrl-bcm2835 says of a pin: "function gpio_out in hi"."""
    (file,) = DEBUG.glob("pinctrl/*.gpio*/pins")
    found = re.search(rf"^pin {line} \(.*?(function .*?);", file.read_text(), re.MULTILINE)
    return found[1] if found else "nothing"


def until(holds: Callable[[], object], what: str, patience_s: float, every_s: float = 0.001) -> float:
    """Wait for it; for how many milliseconds that was."""
    start = time.monotonic()
    while not holds():
        if time.monotonic() - start > patience_s:
            raise AssertionError(f"not {what} within {patience_s:g} s")
        time.sleep(every_s)
    return (time.monotonic() - start) * 1e3


@contextmanager
def owner(program: str) -> Iterator[subprocess.Popen[str]]:
    """A process of the gateway's user that has done `program`, and is killed afterwards."""
    preamble = "from fractions import Fraction; from drivers.pwm import *; from drivers.gpio import *\n"
    code = f"{preamble}{program}\nprint('ready', flush=True)\nimport time; time.sleep(1000)"
    process = subprocess.Popen([*AS_USER, "python3", "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", "the owner has failed"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def written(name: str, value: object) -> str:
    """Write to the channel's file as anybody may: "ok", or the error's name."""
    file = os.open(PATH / name, os.O_WRONLY)
    try:
        os.write(file, str(value).encode())
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    finally:
        os.close(file)
    return "ok"


# The steps


def machine() -> None:
    ran = subprocess.run(["python3", "-m", "gateway", "board", "detect"], capture_output=True, text=True)
    say(f"board detect ({ran.returncode}): {' '.join(ran.stdout.split())}")
    say(f"{Path('/proc/uptime').read_text().split()[0]} s after the kernel's start; {os.uname().release}")
    say(f"gpiochip {pin(12)!r} on 12; watchdog {WATCHDOG.read_text().strip()!r}")
    clocks = [" ".join(line.split()[:5]) for line in (DEBUG / "clk/clk_summary").read_text().splitlines()]
    say("clocks: " + "; ".join(line for line in clocks if line.startswith(("plld_per ", "pwm "))))
    assert "Raspberry Pi 3 Model B" in ran.stdout
    assert "alt0" in pin(12)
    assert any(line.startswith("pwm ") and line.endswith(f" {CLOCK_HZ}") for line in clocks)


def frequency() -> None:
    """The ticks that were meant are in the registers, at 2012.5 Hz and at five hundred other periods and duties."""
    pwm = KernelPwm(DEVICE, 0, CLOCK_HZ)
    ticks = pwm.ticks(Fraction("2012.5"))
    pwm.drive(ticks, ticks // 2)
    say(f"2012.5 Hz: {float(pwm.frequency(ticks)):.6f} Hz, {pwm.read()}; {wave_form()}")
    say(" ".join(next(line for line in (DEBUG / "pwm").read_text().splitlines() if "sysfs" in line).split()))
    assert registers() == (RUNS | MARK_SPACE, 24_845, 12_422)
    numbers = random.Random(0)
    wrong = 0
    for _ in range(500):
        ticks = round(10 ** numbers.uniform(2, 9))
        bright = numbers.randrange(ticks)
        pwm.drive(ticks, bright)
        wrong += registers() != (RUNS | MARK_SPACE, ticks, bright)
    pwm.close()
    say(f"500 periods of 100 to 1e9 ticks: {wrong} not as meant; closed: {wave_form()}")
    assert wrong == 0
    assert not lit()


def refusals() -> None:
    """What sysfs and driver take, disabled and enabled; the last value is put in before each."""
    told = []
    for enabled in (0, 1):
        for name, value in (
            ("period", 0),
            ("period", 29),
            ("period", 30),
            ("period", 85_899_345_900),
            ("period", 85_899_345_920),
            ("duty_cycle", 496_901),
            ("polarity", "inversed"),
        ):
            for before in (("enable", 0), ("polarity", "normal"), ("duty_cycle", 0), ("period", 496_900)):
                assert written(*before) == "ok", before
            assert written("enable", enabled) == "ok"
            told.append((enabled, name, value, written(name, value)))
    for state in (0, 1):
        say(f"enable {state}: " + ", ".join(f"{name} {value}: {how}" for on, name, value, how in told if on == state))
    for before in (("enable", 0), ("polarity", "normal"), ("duty_cycle", 0), ("period", 496_900)):
        assert written(*before) == "ok", before
    pwm = KernelPwm(DEVICE, 0, CLOCK_HZ)
    for make in (
        lambda: KernelPwm(DEVICE, 2, CLOCK_HZ),
        lambda: KernelPwm(DEVICE, 1, 10_000_000),
        lambda: pwm.drive(1, 0),
    ):
        try:
            make()
        except DeviceError as error:
            say(f"refused: {error}")
        else:
            raise AssertionError("not refused")
    pwm.close()


def outlived() -> None:
    """A wave goes on when its process has died; a second owner is kept out before; switch_off ends it."""
    with owner(f"{OPEN}); pwm.drive(pwm.ticks(Fraction('2012.5')), 12_422)") as process:
        try:
            KernelPwm(DEVICE, 0, CLOCK_HZ)
            raise AssertionError("a second owner was let in")
        except DeviceError as error:
            say(f"second owner: {error}")
        process.kill()
        process.wait()
        say(f"owner killed: {wave_form()}")
        assert lit()
    switch_off(PATH)
    say(f"switch_off: {wave_form()}")
    assert registers() == (MARK_SPACE, 24_845, 0)


def active_low() -> None:
    """Dark is a duty of 0 on a PWM that runs inverted."""
    with owner(f"{OPEN}, active_high=False); pwm.drive(50_000, 10_000)"):
        say(f"active low, lit: {wave_form()}")
        assert registers() == (RUNS | INVERTED | MARK_SPACE, 50_000, 10_000)
    switch_off(PATH)
    say(f"active low, switch_off: {wave_form()}")
    assert registers() == (RUNS | INVERTED | MARK_SPACE, 50_000, 0)
    KernelPwm(DEVICE, 0, CLOCK_HZ).close()
    say(f"upright again: {wave_form()}")
    assert registers()[0] == MARK_SPACE


def lines() -> None:
    """What becomes of a line whose owner was killed, on this kernel, and that it can be driven again."""
    persist = Path("/sys/module/pinctrl_bcm2835/parameters/persist_gpio_outputs").read_text().strip()
    with owner(f"line = Line({CHIP!r}, {ENABLE}, True, True)") as process:
        before = pin(ENABLE)
        try:
            Line(CHIP, ENABLE, True, False)
            raise AssertionError("a second owner was let in")
        except DeviceError as error:
            say(f"second owner: {error}")
        process.kill()
        process.wait()
        after = pin(ENABLE)
    troubles = safety.set_lines([SafeLine("enable", CHIP, ENABLE, False)])
    say(
        f"persist_gpio_outputs {persist}: held {before!r}, owner killed {after!r}, set_lines {pin(ENABLE)!r} {troubles}"
    )
    assert before == HIGH
    assert after == (HIGH if persist == "Y" else "function gpio_in in hi"), after
    assert (troubles, pin(ENABLE)[-2:]) == ([], "lo")


def guarded() -> None:
    """SIGKILL of the gateway: the guardian makes it dark."""
    with running() as gateway:
        gateway.kill()
        dark_ms = until(lambda: not lit(), "dark", 20.0)
        safe_ms = dark_ms + until(lambda: levels() == ["lo"] * 3, "safe", 20.0)
        say(f"gateway killed, dark {dark_ms:.0f} ms later, lines low {safe_ms:.0f} ms: {wave_form()}; {outputs()}")


def made_safe() -> None:
    """SIGKILL of gateway and guardian: nobody is left, and `spectrophone safe` makes it dark."""
    with running() as gateway:
        children = [
            pid for file in Path(f"/proc/{gateway.pid}/task").glob("*/children") for pid in file.read_text().split()
        ]
        assert children, "it has no guardian"
        for process in (*children, gateway.pid):
            os.kill(int(process), signal.SIGKILL)
        gateway.wait()
        time.sleep(1.0)
        say(f"gateway and its {len(children)} child killed, 1 s later: {wave_form()}; {outputs()}")
        assert lit(), "nobody is there who could have switched it off"
        start = time.monotonic()
        safe = subprocess.run(["python3", "-m", "gateway", "safe"], capture_output=True, text=True, env=PLACES)
        say(f"safe ({safe.returncode}), {time.monotonic() - start:.1f} s: {safe.stdout}{safe.stderr}".strip())
        say(f"afterwards: {wave_form()}; {outputs()}")
        assert (safe.returncode, lit(), levels()) == (0, False, ["lo"] * 3)


def levels() -> list[str]:
    """Of enable and relays; nothing pulls a line here, so a released one keeps its level until somebody drives it."""
    return [pin(line)[-2:] for line in (ENABLE, FAN, VALVE)]


def outputs() -> str:
    return ", ".join(f"{name} {pin(line)!r}" for name, line in (("enable", ENABLE), ("fan", FAN), ("valve", VALVE)))


@contextmanager
def running() -> Iterator[subprocess.Popen[bytes]]:
    """The gateway, lit, with its relays on."""
    log = Path("/run/gateway.log")
    start = time.monotonic()
    with log.open("wb") as output:
        command = [*AS_USER, "python3", "-m", "gateway", "run", "--config", "/run/box.yaml"]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=PLACES)
    try:
        until(lambda: process.poll() is not None or (lit() and levels() == ["hi"] * 3), "lit", PATIENCE_S, 0.5)
        assert process.poll() is None
        say(f"gateway lit, relays on after {time.monotonic() - start:.0f} s: {wave_form()}; {outputs()}")
        yield process
    except AssertionError:
        say("the gateway said: " + " | ".join(log.read_text().splitlines()[-20:]))
        raise
    finally:
        process.kill()
        process.wait()
        say("the gateway said: " + " | ".join(log.read_text().splitlines()[-5:]))


def box() -> None:
    """A configuration, and ten minutes of 2012.5 Hz, sixteen thousand times a second: 161 periods are 1280 frames."""
    Path("/run/box.yaml").write_text(BOX)
    for directory in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY"):
        shutil.chown(PLACES[directory], "spectrophone", "spectrophone")
    frames = array("h", (round(9000 * sin(2 * pi * 2012.5 / 16_000 * n)) for n in range(1280)))
    with wave.open("/run/tone.wav", "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(frames.tobytes() * 7500)


def reset() -> None:
    """systemd feeds the watchdog once it is told to; see above for what follows."""
    say("arming the watchdog")
    place = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    subprocess.run(["busctl", "set-property", *place, "RuntimeWatchdogUSec", "t", "15000000"], check=True)
    time.sleep(20.0)
    say(f"the watchdog is {WATCHDOG.with_name('state').read_text().strip()}")


def main() -> None:
    box()
    steps = (machine, frequency, refusals, outlived, active_low, lines, guarded, made_safe)
    done = 0
    for step in steps:
        start = time.monotonic()
        try:
            step()
            done += 1
            say(f"{step.__name__}: ok, {time.monotonic() - start:.0f} s")
        except Exception as error:
            say(f"{step.__name__}: FAILED: {type(error).__name__}: {error}")
    say("all is well" if done == len(steps) else f"{done} of {len(steps)} steps are well")
    reset()


if __name__ == "__main__":
    main()
