"""Clock, disk, journal, memory, heat and power, from files as the kernel has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import machine as facts
from gateway.doctor import machine as checks
from gateway.doctor.finding import CannotTellError
from gateway.doctor.place import Place
from tests.unit.doctor.machines import STATUS, UNIT, machine

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


def test_a_synchronised_clock(tmp_path: Path) -> None:
    said = checks.clock(machine(tmp_path, files={"run/systemd/timesync/synchronized": ""}))
    assert said.found == "synchronised"


@pytest.mark.parametrize(("kernel", "state"), [(True, "ok"), (False, "warning"), (None, None)])
def test_the_kernels_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool | None, state: str | None
) -> None:
    monkeypatch.setattr(facts, "kernel_synchronised", lambda: kernel)
    place = machine(tmp_path)
    if state is None:
        with pytest.raises(CannotTellError):
            checks.clock(place)
    else:
        assert checks.clock(place).state == state


def test_room_on_a_disk(tmp_path: Path) -> None:
    said = checks.disk(machine(tmp_path, "board: sim\njournal: {max_mb: 1}\n"))
    assert (said.state, said.found.startswith(f"{tmp_path}/state: ")) == ("ok", True)
    said = checks.disk(machine(tmp_path, "board: sim\njournal: {max_mb: 1000000}\n"))
    assert (said.state, "the journal may grow by" in said.found) == ("warning", True)


def test_the_state_directory_is_the_units(tmp_path: Path) -> None:
    place = machine(tmp_path, environ={}, unit={**UNIT, "StateDirectory": "spectrophone"})
    assert place.state == tmp_path / "var/lib/spectrophone"
    assert machine(tmp_path, environ={"STATE_DIRECTORY": "/x"}, unit=place.unit).state == Path("/x")


def numbers(free_mb: int, flags: int = 0) -> os.statvfs_result:
    """Of a file system of 32 GB."""
    blocks = free_mb * 250
    return os.statvfs_result((4096, 4000, 8_000_000, blocks, blocks, 1000, 900, 900, flags, 255, 0))


def test_a_full_disk_and_one_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = machine(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda path: numbers(10))
    assert (checks.disk(place).state, checks.disk(place).remedy[:9]) == ("missing", "Make room")
    monkeypatch.setattr(os, "statvfs", lambda path: numbers(20_000, os.ST_RDONLY))
    assert "read-only" in checks.disk(place).found
    monkeypatch.setattr(os, "statvfs", lambda path: numbers(20_000))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "may not be written by this user" in checks.disk(place).found


@pytest.mark.parametrize(
    ("files", "state", "words"),
    [
        ({"sys/fs/ext4/mmcblk0p2/lifetime_write_kbytes": "12000000"}, "ok", "12.0 GB written to it in its life"),
        ({"sys/fs/ext4/mmcblk0p2/errors_count": "0"}, "ok", "free"),
        ({"sys/fs/ext4/mmcblk0p2/errors_count": "3"}, "warning", "its file system has had 3 errors"),
        ({"sys/block/mmcblk0/device/life_time": "0x01 0x02"}, "ok", "free"),
        ({"sys/block/mmcblk0/device/life_time": "0x01 0x09"}, "warning", "80 % or more of the card's life is used"),
    ],
)
def test_a_worn_card(tmp_path: Path, files: dict[str, str], state: str, words: str) -> None:
    place = machine(tmp_path, "board: sim\njournal: {max_mb: 1}\n", files)
    device = (tmp_path / "state").stat().st_dev
    (tmp_path / "sys/block/mmcblk0/mmcblk0p2").mkdir(parents=True)
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    link = tmp_path / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    link.symlink_to(tmp_path / "sys/block/mmcblk0/mmcblk0p2")
    said = checks.disk(place)
    assert said.state == state
    assert said.found.endswith(words)


def journalled(root: Path, options: str = "") -> tuple[Place, Path]:
    """A machine whose journal is this file."""
    file = root / "box.journal"
    return machine(root, f"board: sim\njournal: {{path: '{file}'{options}}}\n"), file


def test_a_journal(tmp_path: Path) -> None:
    place, file = journalled(tmp_path)
    assert checks.journal(place).found == f"none yet: {file} comes with the first measurement"
    file.write_text("no journal of ours, but rather long so that it might be one, if one did not look at its beginning")
    assert checks.journal(place).state == "missing"
    off = machine(tmp_path, "board: sim\njournal: {enabled: false}\n")
    assert checks.journal(off).state == "not needed"


@pytest.mark.parametrize(
    ("free_kb", "gateways", "state"), [(3_000_000, (), "ok"), (90_000, (), "warning"), (90_000, (STATUS,), "ok")]
)
def test_memory(tmp_path: Path, free_kb: int, gateways: tuple[object, ...], state: str) -> None:
    files = {"proc/meminfo": f"MemTotal:        3884360 kB\nMemFree: 1 kB\nMemAvailable:    {free_kb} kB\n"}
    assert checks.memory(machine(tmp_path, files=files, gateways=gateways)).state == state


def test_memory_of_nobody(tmp_path: Path) -> None:
    with pytest.raises(CannotTellError, match="meminfo"):
        checks.memory(machine(tmp_path))


@pytest.mark.parametrize(("text", "state"), [("52100", "ok"), ("81200", "warning"), ("", "not needed")])
def test_heat(tmp_path: Path, text: str, state: str) -> None:
    files = {"sys/class/thermal/thermal_zone0/temp": f"{text}\n"}
    assert checks.heat(machine(tmp_path, files=files)).state == state


@pytest.mark.parametrize(
    ("bits", "state", "words", "remedy"),
    [
        ("0", "ok", "the voltage has been good since the start", ""),
        ("50000", "warning", "the voltage was too low, the processor was slowed down much", "power supply"),
        ("50005", "warning", "the voltage is too low, the processor is slowed down much", "power supply"),
        ("80008", "warning", "the processor is hot, the processor was hot", "heat sink"),
        ("", "not needed", "no Raspberry Pi firmware", ""),
    ],
)
def test_power(tmp_path: Path, bits: str, state: str, words: str, remedy: str) -> None:
    said = checks.power(machine(tmp_path, files={THROTTLED: f"{bits}\n"}))
    assert (said.state, said.found.startswith(words)) == (state, True)
    assert remedy in said.remedy


def test_power_by_the_firmwares_program(tmp_path: Path) -> None:
    assert checks.power(machine(tmp_path, ask=lambda _: "throttled=0x50000\n")).state == "warning"
    assert checks.power(machine(tmp_path, ask=lambda _: "error\n")).state == "not needed"
