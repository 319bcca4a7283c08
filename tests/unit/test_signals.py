"""What LEDs show, row by row of the table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from drivers.gpio import SimulatedLine
from drivers.led import MIXTURES, PATTERNS, Led
from gateway.signals import ALERT, STATUS, Laser, Signals, Situation, reference, situation, worst
from gateway.types import Alert, Flag, LockInResult, Measurement, Outcome, Severity, Snapshot, Tick


@dataclass(frozen=True)
class Told:
    """The laser as gateway.interlock has it."""

    state: str = "lit"
    missing: Collection[str] = ()


def alert(severity: Severity) -> Alert:
    return Alert(severity, "concentration", severity, "raised", 1.0, 0.5, "co2", 0)


def snapshot(valid: bool | None = True, *severities: Severity) -> Snapshot:
    """`valid` None: no value yet."""
    source = LockInResult("lock_in", 0, 2013.7, 1e-3, 0.0, 1e-6, 9, 1.0)
    flags = frozenset[Flag]() if valid else frozenset({Flag.LASER_OFF})
    value = Measurement("co2", 0, 400.0, 1.0, 2.0, 9, 3.0, bool(valid), flags, source)
    results: Mapping[str, LockInResult | Measurement] = {"lock_in": source} | ({} if valid is None else {"co2": value})
    alerts: Mapping[str, Alert] = {severity: alert(severity) for severity in severities}
    return Snapshot(MappingProxyType(results), MappingProxyType(alerts))


@pytest.mark.parametrize(
    ("laser", "state", "expected"),
    [
        (Told(), snapshot(), Situation.MEASURING),
        (Told(), snapshot(True, "info"), Situation.MEASURING),
        (Told("dark"), snapshot(False), Situation.DOUBTFUL),
        (Told(), snapshot(None), Situation.STARTING),
        (Told("waiting", ("temperature",)), snapshot(False), Situation.STARTING),
        (Told("waiting", ("guardian",)), snapshot(None), Situation.STARTING),
        (Told("waiting", ("guardian", "interlock")), snapshot(None), Situation.SAFE),
        (Told(), snapshot(False, "info", "warning"), Situation.WARNING),
        (Told("waiting", ("temperature",)), snapshot(None, "warning"), Situation.WARNING),
        (Told(), snapshot(True, "critical", "warning"), Situation.CRITICAL),
        (Told("waiting", ("sound",)), snapshot(True, "critical"), Situation.SAFE),
        (Told("waiting", ("temperature", "guardian")), snapshot(), Situation.SAFE),
        (Told("tripped"), snapshot(), Situation.SAFE),
    ],
)
def test_the_most_urgent_situation_wins(laser: Laser, state: Snapshot, expected: Situation) -> None:
    assert situation(laser, state, ["co2"]) is expected


def test_a_box_that_only_looks_for_peaks_needs_no_value() -> None:
    assert situation(Told(), Snapshot(), []) is Situation.MEASURING


def test_the_worst_alert() -> None:
    assert worst([]) is None
    assert worst([alert("warning"), alert("critical"), alert("info")]) == "critical"
    assert worst([alert("info"), alert("warning")]) == "warning"


def test_situations_differ_in_colour_and_pattern_and_can_all_be_shown() -> None:
    assert set(STATUS) == set(Situation)
    assert len({meaning.signal for meaning in STATUS.values()}) == len(STATUS)
    for colour, pattern in [*(meaning.signal for meaning in STATUS.values()), *ALERT.values()]:
        assert colour in {*MIXTURES, "off"}
        assert pattern in PATTERNS
        assert pattern != "identify", "nothing else flashes like that"


def test_an_led_shows_the_newest_tick() -> None:
    signals = Signals(["co2"], Told())
    status = Led("status", {c: SimulatedLine(False) for c in ("red", "green")}, "off", signals.status)
    warns = Led("warns", {"line": SimulatedLine(False)}, "off", signals.alert)
    for led in (status, warns):
        led.step(0)
    assert (status.read(), warns.read()) == ("slow_green", "off")
    signals.offer(Tick(0, 1, None, (), (), (), snapshot(True, "warning")), Outcome())
    for led in (status, warns):
        led.step(1)
    assert (status.read(), warns.read()) == ("blink_yellow", "blink")


def test_the_page_is_that_of_the_code() -> None:
    assert Path("docs/leds.md").read_text("utf-8") == reference(), "run make docs"
