"""When a machine's wall clock is believed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway import machine
from gateway.clock import RealClock, utc_of
from tests.support.clock import FakeClock

UNSYNCHRONISED, SYNCHRONISED, FORBIDDEN = False, True, None


def pi(root: Path) -> Path:
    """A Raspberry Pi's files."""
    model = root / "proc/device-tree/model"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"Raspberry Pi Zero 2 W Rev 1.0\0")
    return root


def chip(root: Path, hctosys: str, since_epoch: str) -> None:
    """A clock chip: whether it set the clock at the start, and its seconds since 1970."""
    place = root / "sys/class/rtc/rtc0"
    place.mkdir(parents=True)
    (place / "hctosys").write_text(f"{hctosys}\n")
    (place / "since_epoch").write_text(f"{since_epoch}\n")


def said(monkeypatch: pytest.MonkeyPatch, state: bool | None) -> None:
    """What the kernel says."""
    monkeypatch.setattr(machine, "kernel_synchronised", lambda: state)


def test_another_machine_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said(monkeypatch, UNSYNCHRONISED)
    assert RealClock(tmp_path).is_set()


@pytest.mark.parametrize(("state", "believed"), [(UNSYNCHRONISED, False), (FORBIDDEN, False), (SYNCHRONISED, True)])
def test_a_pi_is_believed_when_the_kernel_says_so(tmp_path, monkeypatch, state, believed):
    said(monkeypatch, state)
    assert RealClock(pi(tmp_path)).is_set() is believed


def test_what_was_believed_once_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RealClock(pi(tmp_path))
    said(monkeypatch, UNSYNCHRONISED)
    assert not clock.is_set()
    said(monkeypatch, SYNCHRONISED)
    assert clock.is_set()
    said(monkeypatch, UNSYNCHRONISED)
    assert clock.is_set()


def test_the_time_service_leaves_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said(monkeypatch, UNSYNCHRONISED)
    file = pi(tmp_path) / "run/systemd/timesync/synchronized"
    file.parent.mkdir(parents=True)
    file.touch()
    assert RealClock(tmp_path).is_set()


@pytest.mark.parametrize(
    ("hctosys", "since_epoch", "believed"),
    [("1", "1795000000", True), ("1", "3600", False), ("0", "1795000000", False), ("", "", False)],
)
def test_a_clock_chip_that_kept_the_time_is_believed(tmp_path, monkeypatch, hctosys, since_epoch, believed):
    said(monkeypatch, UNSYNCHRONISED)
    chip(pi(tmp_path), hctosys, since_epoch)
    assert RealClock(tmp_path).is_set() is believed


def test_the_boot_has_a_name():
    assert len(RealClock().boot()) == 36


def test_a_moment_has_no_time_until_the_clock_is_set():
    clock = FakeClock()
    clock.believed = False
    assert utc_of(clock, 5) is None
    clock.set(1_790_000_000_000_000_000)
    assert utc_of(clock, clock.monotonic_ns() - 7) == 1_790_000_000_000_000_000 - 7
    real = RealClock()
    assert utc_of(real, real.monotonic_ns()) == pytest.approx(time.time_ns(), abs=5e9)
