"""The hardware's watchdog and the unit, from what systemd says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.doctor import guards
from gateway.doctor.finding import CannotTellError
from tests.unit.doctor.machines import UNIT, pi4

DEVICE = {"sys/class/watchdog/watchdog0/identity": "Broadcom BCM2835 Watchdog timer\n"}


def test_no_watchdog(tmp_path: Path) -> None:
    said = guards.watchdog(pi4(tmp_path, ask=lambda _: "15s\n"))
    assert (said.state, "dtparam=watchdog=on" in said.remedy) == ("missing", True)


@pytest.mark.parametrize(
    ("fed", "state", "words"),
    [
        ("15s\n", "ok", "Broadcom BCM2835 Watchdog timer, fed by systemd: a machine that hangs restarts after 15s"),
        (
            "0\n",
            "missing",
            "Broadcom BCM2835 Watchdog timer is there, and nobody feeds it: a machine that hangs stays hung",
        ),
        ("infinity\n", "missing", None),
    ],
)
def test_a_watchdog(tmp_path: Path, fed: str, state: str, words: str | None) -> None:
    said = guards.watchdog(pi4(tmp_path, files=DEVICE, ask=lambda _: fed))
    assert said.state == state
    assert words in (None, said.found)


def test_a_watchdog_without_systemd(tmp_path: Path) -> None:
    with pytest.raises(CannotTellError, match="whether it feeds it"):
        guards.watchdog(pi4(tmp_path, files=DEVICE))


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "ok", "spectrophone.service is active, with watchdog (5s) and spectrophone safe behind it"),
        ({"ExecStopPost": ""}, "missing", "spectrophone.service lacks ExecStopPost=+spectrophone safe"),
        ({"WatchdogUSec": "infinity"}, "missing", "spectrophone.service lacks WatchdogSec=5"),
        ({"WatchdogUSec": "0", "Type": "simple"}, "missing", "spectrophone.service lacks Type=notify, WatchdogSec=5"),
        (
            {"UnitFileState": "disabled"},
            "warning",
            "spectrophone.service is not enabled: a restart leaves the box without",
        ),
        ({"LoadState": "not-found"}, "missing", None),
    ],
)
def test_the_unit(tmp_path: Path, changes: dict[str, str], state: str, words: str | None) -> None:
    said = guards.unit(pi4(tmp_path, unit={**UNIT, **changes}))
    assert said.state == state
    assert words in (None, said.found)
    assert bool(said.remedy) == (state != "ok")


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("[Service]\nWatchdogSec=5\n", "ok"),
        ("[Service]\nWatchdogSec=5\n# drop-in\n[Service]\nWatchdogSec=0\n", "missing"),
        ("[Service]\n#WatchdogSec=5\n", "missing"),
    ],
)
def test_a_unit_that_was_never_started(tmp_path: Path, text: str, state: str) -> None:
    place = pi4(tmp_path, unit={**UNIT, "WatchdogUSec": "infinity", "ActiveState": "inactive"}, ask=lambda _: text)
    assert guards.unit(place).state == state


def test_a_machine_without_systemd(tmp_path: Path) -> None:
    assert guards.unit(pi4(tmp_path)).state == "warning"
