"""A sysfs tree of PWM chips in a directory, with the kernel's refusals and its arithmetic behind the files.

The core's rules are those of drivers/pwm/core.c (period 0, duty > period: EINVAL) and of the older drivers/pwm/sysfs.c
(polarity while enabled: EBUSY); the drivers' rounding is written down once more, in the kernel's own integer steps.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from drivers.pwm import KernelPwm, Sysfs

Registers = tuple[int, int]
"""Period and duty in ticks, as the pin shows them."""
U32 = 2**32 - 1


def div_round_closest(x: int, divisor: int) -> int:
    """include/linux/math.h, for x >= 0."""
    return (x + divisor // 2) // divisor


def bcm2835(period_ns: int, duty_ns: int, clock_hz: int) -> Registers:
    """pwm-bcm2835.c: RNG and DAT; M/S mode counts RNG ticks."""
    period = div_round_closest(period_ns * clock_hz, 10**9)
    if not 2 <= period <= U32:
        raise OSError(errno.EINVAL, "period")
    return period, div_round_closest(duty_ns * clock_hz, 10**9)


def rpi_pwm(period_ns: int, duty_ns: int, clock_hz: int) -> Registers:
    """raspberrypi/linux, pwm-rp1.c: RANGE and DUTY; RP1 counts RANGE + 1 ticks."""
    tick_ns = div_round_closest(10**9, clock_hz)
    return div_round_closest(period_ns, tick_ns) + 1, div_round_closest(duty_ns, tick_ns)


def rp1_pwm(period_ns: int, duty_ns: int, clock_hz: int) -> Registers:
    """linux-pwm, pwm-rp1.c of July 2026: rounds down, and writes RANGE = ticks - 1."""
    return max(period_ns * clock_hz // 10**9, 2), duty_ns * clock_hz // 10**9


DRIVERS: dict[str, Callable[[int, int, int], Registers]] = {
    "bcm2835-pwm": bcm2835,
    "rpi-pwm": rpi_pwm,
    "rp1-pwm": rp1_pwm,
}


class FakeKernel(Sysfs):
    """Chip 0 with two channels under `root`. `written` is every value in order, as "name value"; `waves` what came out
    after each, (enabled, period_ns, duty_ns). `refuse` maps a name to an errno that every write to it gives, `shut` are
    files that may not be opened; udev gives access after `udev_looks` looks; `held`: a driver of the kernel has it.
    """

    def __init__(self, root: Path, driver: str = "bcm2835-pwm", clock_hz: int = 50_000_000) -> None:
        self.root, self.driver, self.clock_hz = root, driver, clock_hz
        self.chip = root / "pwmchip0"
        self.written: list[str] = []
        self.waves: list[tuple[bool, int, int]] = []
        self.refuse: dict[str, int] = {}
        self.held = False
        self.udev_looks = 0
        self.shut: set[str] = set()
        self._paths: dict[int, Path] = {}
        device = root / "devices" / "fe20c000.pwm"
        (device / "of_node").mkdir(parents=True)
        (device / "of_node" / "assigned-clock-rates").write_bytes(clock_hz.to_bytes(4, "big"))
        (device / "driver").symlink_to(f"../../../bus/platform/drivers/{driver}")
        self.chip.mkdir()
        (self.chip / "device").symlink_to(device)
        for name in ("export", "unexport"):
            (self.chip / name).write_text("")

    @property
    def pin(self) -> Registers:
        """The ticks of a period and those lit, at the pin."""
        _, period_ns, duty_ns = self.waves[-1]
        return DRIVERS[self.driver](period_ns, duty_ns, self.clock_hz)

    def value(self, name: str, channel: int = 0) -> str:
        """What a file says."""
        return (self.chip / f"pwm{channel}" / name).read_text().strip()

    def set(self, channel: int = 0, **values: str) -> None:
        """Export a channel as somebody else left it."""
        path = self.chip / f"pwm{channel}"
        path.mkdir(exist_ok=True)
        defaults = {"period": "0", "duty_cycle": "0", "polarity": "normal", "enable": "0"}
        for name, value in {**defaults, **values}.items():
            (path / name).write_text(f"{value}\n")

    def allowed(self, path: Path) -> bool:
        """See Sysfs."""
        self.udev_looks -= 1
        return self.udev_looks < 0

    def open(self, path: Path, flags: int) -> int:
        """See Sysfs."""
        if path.name in self.shut or (path.parent != self.chip and self.udev_looks > 0):
            raise OSError(errno.EACCES, "udev")
        file = super().open(path, flags)
        self._paths[file] = path
        return file

    def write(self, file: int, value: str) -> None:
        """See Sysfs."""
        path = self._paths[file]
        self.written.append(f"{path.name} {value}")
        if path.name in self.refuse:
            raise OSError(self.refuse[path.name], "refused")
        if path.name == "export":
            self._export(int(value))
            return
        self._apply(path.parent, path.name, value)
        path.write_text(f"{value}\n")
        said = {name: (path.parent / name).read_text().strip() for name in ("enable", "period", "duty_cycle")}
        self.waves.append((said["enable"] == "1", int(said["period"]), int(said["duty_cycle"])))

    def _export(self, channel: int) -> None:
        if channel > 1:
            raise OSError(errno.ENODEV, "channel")
        if self.held or (self.chip / f"pwm{channel}").is_dir():
            raise OSError(errno.EBUSY, "held")
        self.set(channel)

    def _apply(self, path: Path, name: str, value: str) -> None:
        said = {file: (path / file).read_text().strip() for file in ("period", "duty_cycle", "enable", "polarity")}
        if name == "polarity" and said["enable"] == "1":
            raise OSError(errno.EBUSY, "polarity while enabled")
        said[name] = value
        period_ns, duty_ns = int(said["period"]), int(said["duty_cycle"])
        if period_ns == 0 or duty_ns > period_ns or said["enable"] not in ("0", "1"):
            raise OSError(errno.EINVAL, "state")
        DRIVERS[self.driver](period_ns, duty_ns, self.clock_hz)


def channel(kernel: FakeKernel, number: int = 0, active_high: bool = True) -> KernelPwm:
    """A channel of that kernel; it never waits for udev."""
    return KernelPwm(0, number, kernel.clock_hz, active_high, kernel.root, kernel, lambda _: None)
