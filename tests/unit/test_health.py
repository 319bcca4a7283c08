"""How the box fares: what is told, when, and what a fault in one look does not do."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway import machine
from gateway.calibration import text_of
from gateway.health import EVERY_S, LIVES_S, Health, LastCalibration, described, look
from tests.support.clock import FakeClock
from tests.unit.test_calibration import calibration
from tests.unit.test_machine import WIRELESS, put

UTC_NS = 1_795_000_000_000_000_000


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Pi's files."""
    monkeypatch.setattr(machine, "kernel_synchronised", lambda: False)
    put(tmp_path, "proc/meminfo", "MemTotal:        4000000 kB\nMemAvailable:    3000000 kB\n")
    put(tmp_path, "proc/net/wireless", WIRELESS)
    put(tmp_path, "proc/loadavg", "0.42 0.58 0.59 1/123 4567\n")
    put(tmp_path, "proc/uptime", "1234.56 4000.00\n")
    put(tmp_path, "proc/stat", "btime 1794990000\n")
    put(tmp_path, "sys/class/thermal/thermal_zone0/type", "cpu-thermal")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "51540")
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "50000")
    put(tmp_path, "proc/device-tree/chosen/bootloader/rsts", (0x1000).to_bytes(4, "big"))
    put(tmp_path, "run/systemd/timesync/synchronized", "")
    return tmp_path


def test_everything_that_a_pi_tells(pi: Path) -> None:
    found = look(pi, pi, UTC_NS)
    assert found.pop("disk_free_mb") == machine.disk(pi).free_bytes // 1_000_000
    assert found == {
        "time": "2026-11-18T11:06:40.000Z",
        "memory_percent": 25.0,
        "cpu_temperature_c": 51.5,
        "throttled": ["the voltage was too low", "the processor was slowed down much"],
        "disk_read_only": False,
        "wifi_dbm": -56.0,
        "clock_synchronised": True,
        "load": 0.42,
        "uptime_s": 1235,
        "boot_time": "2026-11-18T08:20:00.000Z",
        "boot_reason": "power-on reset",
    }


def test_the_guide_has_every_field_of_the_machine(pi: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/mqtt.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in guide.splitlines() if line.startswith("| ")]
    told = {name.strip() for row in rows for name in row.split(",")}
    assert look(pi, pi, UTC_NS).keys() <= told


def test_no_time_is_told_by_a_clock_that_is_not_right(pi: Path) -> None:
    (pi / "run/systemd/timesync/synchronized").unlink()
    found = look(pi, pi, 1_000_000_000)
    assert (found["clock_synchronised"], found["time"], found["boot_time"]) == (False, None, None)


def test_what_is_not_told_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "kernel_synchronised", lambda: None)

    def broken(path: Path) -> machine.Disk:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(machine, "disk", broken)
    found = look(tmp_path, tmp_path, UTC_NS)
    assert found.pop("time") is not None
    assert set(found.values()) == {None}
    assert described(found) == ""


def test_a_value_outlives_a_look_that_comes_late() -> None:
    assert LIVES_S > 2 * EVERY_S


def watched(root: Path, counted: Mapping[str, Any] | Exception) -> tuple[Health, list[tuple[float, Mapping[str, Any]]]]:
    """Three looks: what was told, and when."""
    clock, told, counts = FakeClock(), [], iter(range(3))

    def count() -> Mapping[str, Any]:
        if next(counts, None) is None:
            raise asyncio.CancelledError
        if isinstance(counted, Exception):
            raise counted
        return counted

    box = Health(clock, root, count, lambda facts: told.append((clock.monotonic_ns() / 1e9, facts)), root)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(box.watch())
    return box, told


def test_it_looks_at_once_and_then_every_minute(pi: Path) -> None:
    box, told = watched(pi, {"overruns": 3})
    assert [at for at, _ in told] == [1.0, 61.0, 121.0]
    assert told[0][1]["overruns"] == 3
    assert told[0][1]["memory_percent"] == 25.0
    assert box.newest == told[-1][1]


def test_a_fault_is_logged_and_the_next_look_comes(pi: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    box, told = watched(pi, RuntimeError("odd"))
    assert (box.newest, told) == ({}, [])
    assert len(caplog.records) == 3


def test_the_newest_calibration_counts_and_a_file_is_read_once(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.toml", "b.toml", "missing.toml")]
    for file, hour in zip(files, (12, 10), strict=False):
        file.write_text(text_of(calibration(created=datetime(2026, 11, 18, hour, tzinfo=UTC))))
    made = LastCalibration()
    assert made.of(files) == "2026-11-18T12:00:00.000Z"
    was_ns = files[0].stat().st_mtime_ns
    files[0].write_text("no calibration")
    os.utime(files[0], ns=(was_ns, was_ns))
    assert made.of(files) == "2026-11-18T12:00:00.000Z"
    os.utime(files[0], ns=(was_ns, was_ns + 1))
    assert made.of(files) == "2026-11-18T10:00:00.000Z"
    assert made.of([]) is None


def test_it_is_said_in_a_line() -> None:
    told = {
        "cpu_temperature_c": 51.5, "memory_percent": 25.0, "disk_free_mb": 900, "disk_read_only": True, "load": 0.42,
        "wifi_dbm": -56.0, "clock_synchronised": False, "throttled": ["the voltage was too low"],
    }  # fmt: skip
    assert described(told) == (
        "processor 51.5 °C, 25 % of memory used, 900 MB of disk free, Wi-Fi -56 dBm, load 0.42, "
        "the disk is READ-ONLY, clock NOT synchronised, the voltage was too low"
    )
    assert described({}) == ""
