"""What the machine says of itself: memory, heat, voltage, disk, Wi-Fi, clock, load, and why it started. None is what it
does not tell. Nothing here judges; `spectrophone doctor` and the box's health do.

Sources:
  meminfo, loadavg, uptime, stat   proc(5)
  thermal_zone, hwmon              Documentation/driver-api/thermal and Documentation/hwmon/sysfs-interface of Linux
  get_throttled                    raspberrypi/documentation, os/using-it/vcgencmd.adoc
  net/wireless                     Linux net/wireless/wext-proc.c: status, link, level, noise; dBm are negative
  adjtimex                         adjtimex(2), STA_UNSYNC
  PM_RSTS                          Linux include/linux/mfd/bcm2835-pm.h; the Pi's bootloader puts the register's value
                                   into the device tree
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

THROTTLED = {
    0: "the voltage is too low",
    1: "the processor is slowed down",
    2: "the processor is slowed down much",
    3: "the processor is hot",
    16: "the voltage was too low",
    17: "the processor was slowed down",
    18: "the processor was slowed down much",
    19: "the processor was hot",
}
"""Bits of the firmware's get_throttled; from 16 on: once since the start."""
RESET = {12: "power-on reset", 10: "software reset", 9: "software reset", 8: "software reset", 6: "watchdog reset"}
RESET |= {5: "watchdog reset", 4: "watchdog reset", 2: "debugger reset", 1: "debugger reset", 0: "debugger reset"}
"""Bits of the Pi's register PM_RSTS. A reboot is a watchdog reset, too: Linux has no other way to make one."""
_BOOTLOADER = "proc/device-tree/chosen/bootloader"
_UNSYNCHRONISED = 0x40
_NO_SIGNAL_DBM = -150.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of memory that a new process could have, and of all."""

    free_bytes: int
    all_bytes: int


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes that may still be written to a file system, and whether any may."""

    free_bytes: int
    read_only: bool


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is read, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def text(root: Path, path: str) -> str:
    """What a small file below `root` says, without white space and zeros around it; "" where it cannot be read."""
    try:
        return (root / path).read_bytes().decode("utf-8", "replace").strip(" \n\t\0")
    except OSError:
        return ""


def memory(root: Path) -> Memory | None:
    """What is left of it."""
    lines = dict(line.split(":", 1) for line in text(root, "proc/meminfo").splitlines() if ":" in line)
    if "MemAvailable" not in lines or "MemTotal" not in lines:
        return None
    free, whole = (int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    return Memory(free, whole)


def disk(path: Path) -> Disk:
    """The file system that `path`, or what there is above it, lies on."""
    there = next(each for each in (path, *path.parents) if each.is_dir())
    numbers = os.statvfs(there)
    return Disk(numbers.f_bavail * numbers.f_frsize, bool(numbers.f_flag & os.ST_RDONLY))


def cpu_temperature_c(root: Path) -> float | None:
    """The processor's temperature in degrees Celsius: of the thermal zone or hardware monitor that bears its name, else
    of the first zone.
    """
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    named = [zone for zone in zones if text(zone, "type").replace("-", "_").startswith(("cpu", "x86_pkg", "soc"))]
    monitors = sorted((root / "sys/class/hwmon").glob("hwmon*"))
    watched = [monitor for monitor in monitors if text(monitor, "name") in ("cpu_thermal", "coretemp", "k10temp")]
    files = [zone / "temp" for zone in named] + [monitor / "temp1_input" for monitor in watched]
    for file in files + [zone / "temp" for zone in zones]:
        said = text(file.parent, file.name)
        if said.removeprefix("-").isdecimal():
            return int(said) / 1000
    return None


def throttled(root: Path) -> tuple[str, ...] | None:
    """What the Pi's firmware says of voltage and speed, now and since the start, in words."""
    return troubles(text(root, "sys/devices/platform/soc/soc:firmware/get_throttled"))


def troubles(word: str) -> tuple[str, ...] | None:
    """The hexadecimal word of get_throttled, in words; None if it is none."""
    try:
        bits = int(word, 16)
    except ValueError:
        return None
    return tuple(words for bit, words in THROTTLED.items() if bits >> bit & 1)


def wifi_dbm(root: Path) -> float | None:
    """The signal of the first Wi-Fi interface that has one, in dBm."""
    for line in text(root, "proc/net/wireless").splitlines()[2:]:
        numbers = line.partition(":")[2].split()
        dbm = float(numbers[2]) if len(numbers) > 2 else 0.0
        if _NO_SIGNAL_DBM < dbm < 0.0:
            return dbm
    return None


def clock_synchronised(root: Path) -> bool | None:
    """Whether the time of day is known to be right."""
    if (root / "run/systemd/timesync/synchronized").exists():
        return True
    return kernel_synchronised()


def kernel_synchronised() -> bool | None:
    """The same by adjtimex(2), reading only; None where it is forbidden."""
    told = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(told)) < 0:
        return None
    return not told.status & _UNSYNCHRONISED


def load(root: Path) -> float | None:
    """How many processes wanted to run, as a mean over the last minute."""
    words = text(root, "proc/loadavg").split()
    return float(words[0]) if words else None


def uptime_s(root: Path) -> float | None:
    """Seconds since the machine started."""
    words = text(root, "proc/uptime").split()
    return float(words[0]) if words else None


def booted_s(root: Path) -> int | None:
    """When the machine started, in seconds since 1970, by its clock as it is set now."""
    lines = text(root, "proc/stat").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("btime ")), None)


def boot_reason(root: Path) -> str | None:
    """What reset the Pi before it started, as its bootloader found it."""
    for name in ("pm_rsts", "rsts"):
        try:
            bits = int.from_bytes((root / _BOOTLOADER / name).read_bytes(), "big")
        except OSError:
            continue
        found = dict.fromkeys(words for bit, words in RESET.items() if bits >> bit & 1)
        return " and ".join(found) or None
    return None
