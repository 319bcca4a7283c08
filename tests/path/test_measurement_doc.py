"""docs/measurement.md does what it says: every fence in it is written, run, and compared with what it shows.

A fence's first line tells its language and, for a file, its name. In a console fence a line that begins with "$ " is a
command; of what it prints, the lines below it must come in this order, "..." standing for anything and numbers agreeing
to the digits that are shown. The simulated cell runs as fast as it can.
"""

from __future__ import annotations

import json
import math
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest

from drivers.cell import Cell
from drivers.microphone import SimulatedMicrophone
from gateway import hardware
from gateway.__main__ import main
from gateway.clock import Clock

PAGE = Path(__file__).parents[2] / "docs" / "measurement.md"
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\d.]*\w)")
TRUE_PPM = 350.0


@pytest.fixture(scope="module")
def fences() -> list[tuple[str, str, str]]:
    return [match.groups() for match in FENCE.finditer(PAGE.read_text("utf-8"))]


def unhurried(cell: Cell, frames: int, realtime: bool, clock: Clock) -> SimulatedMicrophone:
    return SimulatedMicrophone(cell, frames, realtime=False, clock=clock)


def digit(number: str) -> float:
    """One unit of the last digit that is shown."""
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def shows(expected: str, line: str) -> bool:
    """Whether `line` is what the page shows."""
    numbers = NUMBER.findall(expected)
    words = [".*".join(map(re.escape, text.split("..."))) for text in NUMBER.split(expected)]
    found = re.fullmatch(r"([-+]?[\d.]+(?:e[-+]?\d+)?)".join(words), line)
    return found is not None and all(
        abs(float(told) - float(number)) <= 1.001 * digit(number)
        for told, number in zip(found.groups(), numbers, strict=True)
    )


def commands(console: str) -> list[tuple[list[str], list[str]]]:
    """Arguments and expected lines of each command."""
    parts = [part.splitlines() for part in re.split(r"^\$ ", console, flags=re.MULTILINE) if part]
    return [(shlex.split(first), shown) for first, *shown in parts]


def check(told: str, shown: list[str]) -> None:
    lines = iter(told.splitlines())
    for expected in shown:
        assert any(shows(expected, line) for line in lines), f"not told: {expected}\nbut:\n{told}"


def test_the_page_is_true(
    fences: list[tuple[str, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hardware, "SimulatedMicrophone", unhurried)
    ran = []
    for language, name, body in fences:
        if language != "console":
            Path(name).write_text(body, "utf-8")
            continue
        for (program, *arguments), shown in commands(body):
            if program == "python":
                runpy.run_path(arguments[0])
                continue
            assert program == "spectrophone"
            assert main(arguments) == 0
            told = capsys.readouterr().out
            check(told, shown)
            ran.append((arguments, told))
    assert len(ran) == 8
    holds(ran[-1][1])


def holds(told: str) -> None:
    """The hand-made sound reads what it was made of, within what the page says."""
    measured: list[dict[str, Any]] = [fields for line in told.splitlines() if "ppm" in (fields := json.loads(line))]
    assert len(measured) in (19, 20)
    for fields in measured:
        assert fields["valid"]
        assert fields["flags"] == []
        assert abs(fields["ppm"] - TRUE_PPM) < fields["u95_ppm"]
    sigma = math.sqrt(sum(fields["sigma_ppm"] ** 2 for fields in measured) / len(measured))
    assert sigma == pytest.approx(0.76, abs=0.015)
    mean = sum(fields["ppm"] for fields in measured) / len(measured)
    assert abs(mean - TRUE_PPM) < 3 * 0.3 / math.sqrt(len(measured))


def test_the_comparison_sees_a_difference() -> None:
    line = '{"node": "co2", "t_s": 1.2, "ppm": 400.0649, "sigma": 4.6018e-07}'
    assert shows('{... "ppm": 400.06, "sigma": 4.60e-07}', line)
    assert not shows('{... "ppm": 400.03, "sigma": 4.60e-07}', line)
    assert not shows('{... "ppm": 400.06, "sigma": 4.58e-07}', line)
    assert not shows('{... "ppm": 400.06}', line)
