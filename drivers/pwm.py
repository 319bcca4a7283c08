"""The kernel's PWM, through sysfs: a period of whole ticks of a clock that nobody needs to feed.

The files take nanoseconds, the hardware counts ticks, so the frequency is exactly clock_hz / ticks if the nanoseconds
become the ticks that were meant. The drivers round a time t to

    bcm2835-pwm   floor(t clock / 1e9 + 1/2)       Pi 0 to 4: drivers/pwm/pwm-bcm2835.c of Linux
    rp1-pwm       floor(t clock / 1e9)             Pi 5: [PATCH v6 2/3] pwm: rp1, linux-pwm, July 2026
    rpi-pwm       floor(t / round(1e9 / clock) + 1/2)    Pi 5: drivers/pwm/pwm-rp1.c of raspberrypi/linux

and t = ceil(ticks 1e9 / clock) gives `ticks` in the first two for any clock up to 500 MHz, in the third where a tick is
a whole number of nanoseconds (it is 20). RP1 counts one tick more than its register says; rp1-pwm knows that, rpi-pwm
does not, so behind rpi-pwm the register is meant to be one less.

The core (drivers/pwm/core.c) refuses whatever has period 0 or duty > period, so a period that grows is written before
the duty and one that shrinks after it: what is between has a smaller lit part than one of the two, never a larger one.

A disabled PWM has no sure level (Documentation/driver-api/pwm.rst: "duty_cycle=0, enabled=true" is the inactive one);
bcm2835 drives low. So dark is duty 0 first; then, on an active-high channel, enable 0 as well, and an active-low one
stays enabled. It goes on when its process has died. It is never unexported, so that whoever is next in line finds it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from gateway.errors import DeviceError

ROOT = Path("/sys/class/pwm")
SECOND_NS = 1_000_000_000
MOST_TICKS = 2**32 - 1
"""Both kinds of hardware count in 32 bits."""
EXTRA_TICKS = {"rpi-pwm": 1}
"""By driver: how many ticks a period has more than were asked for."""
EXPORT_S, LOOK_S = 2.0, 0.01
"""How long udev may take to give access to an exported channel, and how often that is looked at."""
_FILES = ("period", "duty_cycle", "polarity", "enable")
_OVERLAY = (
    "Name it in the board file as it is in /sys/class/pwm, and put its overlay (dtoverlay=pwm...) into config.txt"
)
_REMEDIES = {
    errno.ENOENT: _OVERLAY,
    errno.ENODEV: _OVERLAY,
    errno.EACCES: "Put the user into group gpio, and give that group /sys/class/pwm by a udev rule",
    errno.EBUSY: "Take what else uses that PWM (analogue audio, a fan) out of config.txt",
    errno.EINVAL: "The PWM's driver cannot do that: choose another frequency, duty or polarity",
}


class Sysfs:
    """The system calls on files that hold one value each, from their beginning."""

    def allowed(self, path: Path) -> bool:
        """Whether this process may read and write the file."""
        return os.access(path, os.R_OK | os.W_OK)

    def open(self, path: Path, flags: int) -> int:
        """A descriptor."""
        return os.open(path, flags | os.O_CLOEXEC)

    def read(self, file: int) -> str:
        """The value now."""
        return os.pread(file, 64, 0).decode().strip()

    def write(self, file: int, value: str) -> None:
        """Set the value, in one piece."""
        os.pwrite(file, value.encode(), 0)


@dataclass(frozen=True, slots=True)
class Wave:
    """What the kernel says a channel does; times in nanoseconds."""

    enabled: bool
    period_ns: int
    duty_ns: int

    @property
    def lit(self) -> bool:
        """Whether anything comes out."""
        return self.enabled and self.duty_ns > 0


class KernelPwm:
    """A channel, its own from now on, dark, with its polarity set. Its files stay open: to switch it off needs no new
    descriptor, and a lock on `enable` keeps other processes from opening it as this one did.

    Raises DeviceError, here and everywhere, that names the file, the value and what to do.
    """

    def __init__(
        self,
        chip: int | str,
        channel: int,
        clock_hz: int,
        active_high: bool = True,
        root: Path = ROOT,
        sysfs: Sysfs | None = None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        """Channel `channel` of a chip, by number or by its device's name, which counts `clock_hz`; `active_high` False
        turns its level round.
        """
        self._sysfs = sysfs or Sysfs()
        self._clock_hz = clock_hz
        self._files: dict[str, int] = {}
        chip_path = root / f"pwmchip{chip if isinstance(chip, int) else find_chip(chip, root)}"
        self.path = chip_path / f"pwm{channel}"
        if not chip_path.is_dir():
            raise DeviceError(f"there is no PWM chip {chip}: {chip_path} is missing", _OVERLAY)
        _check_clock(chip_path, clock_hz)
        self._extra = EXTRA_TICKS.get(_link(chip_path / "device" / "driver"), 0)
        try:
            self._export(chip_path, channel)
            self._open(pause or threading.Event().wait)
            self.off()
            self._orient("normal" if active_high else "inversed")
        except BaseException:
            self._release()
            raise

    def ticks(self, frequency: Fraction) -> int:
        """The period whose frequency is nearest to that many hertz, in ticks."""
        below = max(int(self._clock_hz / frequency), 1)
        return min(below, below + 1, key=lambda ticks: abs(self.frequency(ticks) - frequency))

    def frequency(self, ticks: int) -> Fraction:
        """The frequency of a period of that many ticks, in hertz, exactly."""
        return Fraction(self._clock_hz, ticks)

    def duty(self, ticks: int, lit: int) -> float:
        """The lit part of such a period."""
        return lit / ticks

    def drive(self, ticks: int, lit: int) -> None:
        """Run with a period of `ticks`, of which `lit` are lit; on the way the lit part is never larger than before or
        after.
        """
        if not 0 <= lit < ticks - self._extra or ticks > MOST_TICKS:
            raise DeviceError(f"PWM {self.path}: {lit} of {ticks} ticks cannot be", "Choose another frequency or duty")
        period_ns, duty_ns = self._nanoseconds(ticks - self._extra), self._nanoseconds(lit)
        first, second = ("period", period_ns), ("duty_cycle", duty_ns)
        if period_ns < int(self._read("period")):
            first, second = second, first
        for name, value in (first, second, ("enable", 1)):
            self._write(name, str(value))

    def off(self) -> None:
        """Dark, whatever it does now; does not wait. A closed channel is."""
        if not self._files or int(self._read("period")) == 0:
            return
        try:
            self._write("duty_cycle", "0")
        finally:
            if self._read("polarity") == "normal":
                self._write("enable", "0")

    def read(self) -> Wave:
        """What the kernel says."""
        return Wave(self._read("enable") == "1", int(self._read("period")), int(self._read("duty_cycle")))

    def close(self) -> None:
        """Dark, and given back; may be called twice."""
        try:
            self.off()
        finally:
            self._release()

    def _nanoseconds(self, ticks: int) -> int:
        return -(-ticks * SECOND_NS // self._clock_hz)

    def _export(self, chip: Path, channel: int) -> None:
        if self.path.is_dir():
            return
        path = chip / "export"
        try:
            file = self._sysfs.open(path, os.O_WRONLY)
            try:
                self._sysfs.write(file, str(channel))
            finally:
                os.close(file)
        except OSError as error:
            if error.errno != errno.EBUSY or not self.path.is_dir():
                raise _fault(path, str(channel), error) from None

    def _open(self, pause: Callable[[float], object]) -> None:
        """Open the channel's files as soon as udev has given access to them all, and lock it."""
        looks = round(EXPORT_S / LOOK_S)
        while not all(self._sysfs.allowed(self.path / name) for name in _FILES) and looks > 0:
            looks -= 1
            pause(LOOK_S)
        for name in _FILES:
            try:
                self._files[name] = self._sysfs.open(self.path / name, os.O_RDWR)
            except OSError as error:
                raise _fault(self.path / name, "", error) from None
        try:
            fcntl.lockf(self._files["enable"], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            message = f"PWM {self.path} is driven by another process"
            raise DeviceError(message, "End the other spectrophone, or give each output its own channel") from None

    def _orient(self, polarity: str) -> None:
        """Set the polarity, which must be while it is disabled, and wants a period; an active-low one runs on, dark."""
        if self._read("polarity") != polarity:
            if int(self._read("period")) == 0:
                self._write("period", str(SECOND_NS // 1000))
            self._write("enable", "0")
            self._write("polarity", polarity)
        if polarity == "inversed":
            self._write("duty_cycle", "0")
            self._write("enable", "1")

    def _read(self, name: str) -> str:
        try:
            return self._sysfs.read(self._file(name))
        except OSError as error:
            raise _fault(self.path / name, "", error) from None

    def _write(self, name: str, value: str) -> None:
        try:
            self._sysfs.write(self._file(name), value)
        except OSError as error:
            raise _fault(self.path / name, value, error) from None

    def _file(self, name: str) -> int:
        if name not in self._files:
            raise DeviceError(f"PWM {self.path} is closed", "Open it anew")
        return self._files[name]

    def _release(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files = {}


def switch_off(channel: Path, sysfs: Sysfs | None = None) -> None:
    """Dark, from another process: `channel` is a KernelPwm's path. Nothing to do where it is not exported. Raises
    DeviceError after everything has been tried.
    """
    calls, faults = sysfs or Sysfs(), []

    def put(name: str, value: str) -> None:
        try:
            file = calls.open(channel / name, os.O_WRONLY)
            try:
                calls.write(file, value)
            finally:
                os.close(file)
        except OSError as error:
            faults.append(_fault(channel / name, value, error))

    if not channel.is_dir() or _text(channel / "period") == "0":
        return
    put("duty_cycle", "0")
    if _text(channel / "polarity") != "inversed":
        put("enable", "0")
    if faults:
        raise faults[0]


def find_chip(device: str, root: Path = ROOT) -> int:
    """The N of the pwmchipN that belongs to the device of that name ("fe20c000.pwm"), whatever its number is on this
    kernel. Raises DeviceError that names those there are.
    """
    chips = {_link(path / "device"): path.name.removeprefix("pwmchip") for path in sorted(root.glob("pwmchip*"))}
    if device not in chips:
        there = ", ".join(chips) or "none"
        raise DeviceError(f"there is no PWM '{device}' in {root}; there are: {there}", _OVERLAY)
    return int(chips[device])


def _check_clock(chip: Path, clock_hz: int) -> None:
    """The device tree says how fast the clock was set, in a big-endian word; where it does not, nobody knows better."""
    try:
        said_hz = int.from_bytes((chip / "device" / "of_node" / "assigned-clock-rates").read_bytes()[:4], "big")
    except OSError:
        return
    if said_hz != clock_hz:
        message = f"the PWM of {chip} counts {said_hz} Hz, and the board file says clock_hz = {clock_hz}"
        raise DeviceError(message, f"Write clock={clock_hz} behind its overlay in config.txt, or change clock_hz")


def _link(path: Path) -> str:
    """The name of what a link leads to; "" where there is none."""
    try:
        return path.readlink().name
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""


def _fault(path: Path, value: str, error: OSError) -> DeviceError:
    code = errno.EACCES if error.errno == errno.EPERM else error.errno or 0
    did = f"'{value}' cannot be written to {path}" if value else f"{path} is out of reach"
    remedy = _REMEDIES.get(code, "The kernel's log (dmesg) may tell why")
    return DeviceError(f"PWM: {did}: {os.strerror(code).lower()}", remedy)
