"""What a machine says of itself, from files as a kernel has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import machine

# As Linux writes it for a Pi's Wi-Fi; before it an interface without a signal.
WIRELESS = """\
Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
  mon0: 0000    0   -256  -256        0      0      0      0      0        0
 wlan0: 0000   54.  -56.  -256        0      0      0      0    112        0
"""


def put(root: Path, path: str, content: str | bytes) -> None:
    """A file below `root`."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    silent = [machine.memory, machine.cpu_temperature_c, machine.throttled, machine.wifi_dbm, machine.load]
    for fact in [*silent, machine.uptime_s, machine.booted_s, machine.boot_reason]:
        assert fact(tmp_path) is None, fact


def test_this_machine_is_asked_without_harm() -> None:
    root = Path("/")
    memory = machine.memory(root)
    assert memory is not None
    assert 0 < memory.free_bytes < memory.all_bytes
    assert machine.uptime_s(root)
    assert (machine.booted_s(root) or 0) > 1_600_000_000
    assert machine.load(root) is not None
    assert machine.clock_synchronised(root) in (True, False, None)


def test_memory(tmp_path: Path) -> None:
    put(tmp_path, "proc/meminfo", "MemTotal:        3884360 kB\nMemFree: 1 kB\nMemAvailable:    1942180 kB\n")
    assert machine.memory(tmp_path) == machine.Memory(1942180 * 1024, 3884360 * 1024)


def test_a_disk_that_is_not_there_yet_is_the_one_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.disk(tmp_path / "a/b").free_bytes > 0
    read_only = os.statvfs_result((4096, 4000, 8_000, 1000, 900, 10, 9, 9, os.ST_RDONLY, 255, 0))
    monkeypatch.setattr(os, "statvfs", lambda path: read_only)
    assert machine.disk(tmp_path) == machine.Disk(900 * 4000, True)


def test_the_processors_own_zone_comes_first(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/thermal/thermal_zone0/type", "acpitz\n")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "27800\n")
    assert machine.cpu_temperature_c(tmp_path) == 27.8
    put(tmp_path, "sys/class/hwmon/hwmon3/name", "cpu_thermal\n")
    put(tmp_path, "sys/class/hwmon/hwmon3/temp1_input", "51000\n")
    assert machine.cpu_temperature_c(tmp_path) == 51.0
    put(tmp_path, "sys/class/thermal/thermal_zone1/type", "cpu-thermal\n")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "-1500\n")
    assert machine.cpu_temperature_c(tmp_path) == -1.5


def test_a_zone_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "40000\n")
    assert machine.cpu_temperature_c(tmp_path) == 40.0


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("0\n", ()),
        ("50005\n", ("the voltage is too low", "the processor is slowed down much")),
        ("junk", None),
    ],
)
def test_throttling(tmp_path: Path, word: str, words: tuple[str, ...] | None) -> None:
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", word)
    said = machine.throttled(tmp_path)
    assert (None if said is None else said[: len(words or ())]) == words
    assert machine.troubles("0x50000") == ("the voltage was too low", "the processor was slowed down much")


def test_wifi(tmp_path: Path) -> None:
    put(tmp_path, "proc/net/wireless", WIRELESS)
    assert machine.wifi_dbm(tmp_path) == -56.0
    put(tmp_path, "proc/net/wireless", WIRELESS.replace("-56.", "200 "))  # a driver that counts otherwise
    assert machine.wifi_dbm(tmp_path) is None


def test_the_clock_by_timesyncd_else_by_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "kernel_synchronised", lambda: False)
    assert machine.clock_synchronised(tmp_path) is False
    put(tmp_path, "run/systemd/timesync/synchronized", "")
    assert machine.clock_synchronised(tmp_path) is True


def test_load_uptime_and_start(tmp_path: Path) -> None:
    put(tmp_path, "proc/loadavg", "0.42 0.58 0.59 1/123 4567\n")
    put(tmp_path, "proc/uptime", "1234.56 4000.00\n")
    put(tmp_path, "proc/stat", "cpu  1 2 3\nbtime 1795000000\nprocesses 5\n")
    assert (machine.load(tmp_path), machine.uptime_s(tmp_path)) == (0.42, 1234.56)
    assert machine.booted_s(tmp_path) == 1_795_000_000


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0x1000, "power-on reset"),
        (0x1020, "power-on reset and watchdog reset"),
        (0x60, "watchdog reset"),
        (0, None),
    ],
)
def test_why_a_pi_started(tmp_path: Path, bits: int, words: str | None) -> None:
    put(tmp_path, "proc/device-tree/chosen/bootloader/rsts", bits.to_bytes(4, "big"))
    assert machine.boot_reason(tmp_path) == words
