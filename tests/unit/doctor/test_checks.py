"""Going through the table: bounded in time, never a traceback, no secret told."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from gateway.doctor import checks
from gateway.doctor.checks import CHECKS, Check
from gateway.doctor.finding import CannotTellError, Finding, Said, ok
from gateway.doctor.place import Place
from gateway.errors import DeviceError
from tests.unit.doctor.machines import machine, pi4

PAGE = Path(__file__).parents[3] / "docs" / "doctor.md"


def one(place: Place, look: object, *, hardware: bool = False, patience_s: float = 10.0) -> Finding:
    """What comes of one check."""
    found = list(checks.findings(place, [Check("group", "name", "", look, hardware)], patience_s))  # type: ignore[arg-type]
    assert len(found) == 1
    return found[0]


def raising(error: Exception) -> object:
    def look(place: Place) -> Said:
        raise error

    return look


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DeviceError("no chip", "Plug it in"), Finding("group", "name", "missing", "no chip", "Plug it in")),
        (CannotTellError("nobody knows"), Finding("group", "name", "unknown", "nobody knows")),
        (
            ZeroDivisionError("x\ny"),
            Finding("group", "name", "unknown", "the check failed: ZeroDivisionError: x y", "Please report this"),
        ),
    ],
)
def test_a_check_that_raises_is_a_finding(tmp_path: Path, error: Exception, expected: Finding) -> None:
    assert one(machine(tmp_path), raising(error)) == expected


def test_a_check_that_hangs_is_left_behind(tmp_path: Path) -> None:
    let_go = threading.Event()

    def look(place: Place) -> Said:
        let_go.wait()
        return ok("too late")

    try:
        said = one(machine(tmp_path), look, patience_s=0.05)
        assert (said.state, said.found) == ("unknown", "no answer within 0.05 s")
    finally:
        let_go.set()


def test_hardware_of_a_simulated_board_is_not_needed(tmp_path: Path) -> None:
    never = raising(AssertionError("looked at"))
    assert one(machine(tmp_path), never, hardware=True).state == "not needed"
    assert one(pi4(tmp_path), lambda place: ok("there"), hardware=True).state == "ok"


def test_secrets_are_blacked_out(tmp_path: Path) -> None:
    place = machine(tmp_path, "board: sim\nmqtt: {host: b, username: u, password: sesame-open}\n")
    said = one(place, raising(DeviceError("sesame-open is wrong", "Not sesame-open")))
    assert "sesame" not in f"{said.found} {said.remedy}"


@pytest.mark.parametrize(
    "text", ["board: sim\n", "board: nothing\n", "laser: [\n", "board: rpi4-codec-zero\nlaser: {duty: 3}\n"]
)
def test_the_whole_table_on_a_machine_without_anything(tmp_path: Path, text: str) -> None:
    """No check fails whatever the configuration, and every one of them is told."""
    found = list(checks.findings(machine(tmp_path, text)))
    assert [(finding.group, finding.name) for finding in found] == [(check.group, check.name) for check in CHECKS]
    assert [finding for finding in found if finding.found.startswith("the check failed")] == []
    assert [finding for finding in found if finding.state in ("missing", "warning") and not finding.remedy] == []
    assert (text == "board: sim\n") == all(finding.state != "missing" for finding in found)


def test_names_are_told_apart() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    groups = [check.group for check in CHECKS]
    assert sorted(set(groups), key=groups.index) == [group for i, group in enumerate(groups) if group not in groups[:i]]
    changes = sum(a != b for a, b in itertools.pairwise(groups))
    assert changes == len(set(groups)) - 1, "the checks of a group stand together"


def test_the_page_has_the_table() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert rows[1:] == [[check.group, check.name, check.about] for check in CHECKS]
