"""What systemd is told, on a real datagram socket."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway.systemd import StatusText, Systemd, described
from gateway.types import Outcome
from tests.support.clock import FakeClock
from tests.unit.mqtt.samples import OVERLOAD, S, alert, lock_in, ppm, tick


@pytest.fixture
def ear(tmp_path: Path) -> socket.socket:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        yield ear


def heard(ear: socket.socket) -> list[str]:
    told = []
    while True:
        try:
            told.append(ear.recv(4096).decode())
        except BlockingIOError:
            return told


def test_ready_status_and_the_end_are_told(ear: socket.socket) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": ear.getsockname()}, FakeClock())
    systemd.ready()
    systemd.status("400.1 ppm")
    systemd.stopping()
    assert heard(ear) == ["READY=1", "STATUS=400.1 ppm", "STOPPING=1"]


def test_that_it_lives_is_told_four_times_in_the_watchdogs_time(ear: socket.socket) -> None:
    clock = FakeClock()
    systemd = Systemd({"NOTIFY_SOCKET": ear.getsockname(), "WATCHDOG_USEC": "2000000"}, clock)
    for _ in range(40):
        systemd.alive()
        clock.advance(0.1)
    assert heard(ear) == ["WATCHDOG=1"] * 8


def test_without_a_watchdog_nobody_is_told_that_it_lives(ear: socket.socket) -> None:
    Systemd({"NOTIFY_SOCKET": ear.getsockname()}, FakeClock()).alive()
    assert heard(ear) == []


def test_an_abstract_address_is_one(ear: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
        abstract.bind("\0spectrophone-test-notify")
        Systemd({"NOTIFY_SOCKET": "@spectrophone-test-notify"}, FakeClock()).ready()
        assert abstract.recv(64) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/there/is/none"])
def test_without_systemd_nothing_happens(address: str) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100"}, FakeClock())
    systemd.ready()
    systemd.alive()


LIT = Outcome(laser=("lit", ""))


def test_what_it_shows_is_in_a_line() -> None:
    assert described(tick(ppm()), LIT) == "co2 412.70 ± 1.50 ppm; laser lit"
    assert described(tick(lock_in()), LIT) == "no value yet; laser lit"
    assert described(tick(ppm(None, valid=False)), LIT) == "co2 no valid value (not valid); laser lit"
    dark = Outcome(laser=("dark", ""), barred="the configuration has a fault:\nbox.yaml:3")
    flagged = tick(ppm(flags=OVERLOAD), alerts=(alert(),))
    expected = "co2 no valid value (overload); laser dark, the configuration has a fault: box.yaml:3; alerts: co2_high"
    assert described(flagged, dark) == expected


def test_it_is_told_every_five_seconds(ear: socket.socket) -> None:
    text = StatusText(Systemd({"NOTIFY_SOCKET": ear.getsockname()}, FakeClock()))
    for n in range(20):
        text.offer(tick(ppm(t_ns=n * S), t_ns=n * S), LIT)
    assert heard(ear) == ["STATUS=co2 412.70 ± 1.50 ppm; laser lit"] * 4
