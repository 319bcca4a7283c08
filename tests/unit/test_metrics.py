"""Metrics: every number that is known, none that is not valid, and a dashboard that asks for nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from gateway import metrics, status
from gateway.metrics import FAMILIES, exposition
from gateway.timing import Histogram
from gateway.types import (
    Alert,
    Flag,
    LockInResult,
    Measurement,
    Outcome,
    PeakResult,
    ResonanceResult,
    Result,
    Snapshot,
    Tick,
)

S = 1_000_000_000
LOCK = LockInResult("lock", 9 * S, 2012.5, 0.1, 0.0, 1e-4, 32, 1.0)
PEAK = PeakResult("peak", 9 * S, None, None, None, 1e-4, 8, 1.0, False)
CO2 = Measurement("co2", 9 * S, 412.0, 1.0, 2.04, 32, 3.0, True, frozenset({Flag.IMPULSE}), LOCK, smoothed=411.5)
RESONANCE = ResonanceResult("co2_resonance", 9 * S, 2013.0, 0.02, 50.0, 0.01)
ALERT = Alert("high", "concentration", "warning", "raised", 1001.0, 1000.0, "co2", 8 * S)
ACTION = {
    "node": "post",
    "problem": None,
    "calls": 7,
    "errors": 1,
    "delivered": 6,
    "refused": 2,
    "dropped": 3,
    "p95_ms": 12.5,
    "queue_age_s": 4.0,
}
HEALTH = {
    "cpu_temperature_c": 51.5,
    "memory_percent": 40.0,
    "load": 0.5,
    "throttled": ["the voltage is too low"],
    "disk_free_mb": 900,
    "clock_synchronised": True,
    "wifi_dbm": -60.0,
    "last_calibration": "2026-01-02T03:04:05.000Z",
}
JOURNAL = {
    "file": "/var/lib/spectrophone/lab.journal",
    "entries": 20,
    "lost": 0,
    "waiting": 3,
    "size_bytes": 4096,
    "committed_s_ago": 1.5,
    "problem": "",
}


def about(**changed: Any) -> dict[str, Any]:
    """What the service tells beside the results."""
    took = Histogram()
    for seconds in (0.0005, 0.004, 0.004, 7.0):
        took.add(seconds)
    return {
        "box": "lab",
        "board": "sim",
        "version": "1",
        "laser": "lit",
        "safe_mode": "",
        "mqtt": "connected",
        "blocks": 90,
        "overruns": 1,
        "lost_frames": 480,
        "block_seconds": took.as_object(),
        "late_seconds": Histogram().as_object(),
        "rules": ["high", "low"],
        "link": {"connected": True, "reconnects": 2, "sent": 30, "waiting": 1, "dropped": 0},
        "modbus": {"listen": "127.0.0.1", "port": 5020, "problem": "", "clients": 2, "requests": 50, "refused": 4},
        "configuration_faults": ["lab.yaml:3:1: ..."],
        "history": {"queue_depth": 5, "queue_age_s": 2.5, "problem": ""},
        "health": HEALTH,
        "climate": {
            "temperature_c": {"value": 21.5},
            "humidity_percent": {"value": 40.0},
            "pressure_pa": {"value": 9e4},
        },
        "journal": JOURNAL,
        "actions": [ACTION],
        "scripts": {"isolation": "B", "lacking": []},
        **changed,
    }


def samples(*results: Result, now_s: float = 9.5, **changed: Any) -> dict[tuple[str, ...], float]:
    """The samples of a box with these newest results: by name and the values of the labels, sorted by label."""
    state = Snapshot({result.node: result for result in results}, {"high": ALERT})
    tick = Tick(0, round(now_s * S), None, (), (), (), state)
    outcome = Outcome((), {"laser": "on", "relay/fan": "off", "cell": "400", "led/status": "green"})
    body, content_type = exposition(status.told(about(**changed), tick, outcome, 0))
    assert content_type.startswith("text/plain; version=0.0.4")
    found: dict[tuple[str, ...], float] = {}
    for family in parsed(body.decode()):
        for sample in family.samples:
            key = (sample.name, *(sample.labels[name] for name in sorted(sample.labels)))
            assert key not in found
            found[key] = sample.value
    return found


def test_every_family_is_told_with_its_number() -> None:
    found = samples(LOCK, CO2, RESONANCE)
    assert found["spectrophone_concentration_ppm", "co2"] == 412.0
    assert found["spectrophone_concentration_u95_ppm", "co2"] == 2.04
    assert found["spectrophone_concentration_age_seconds", "co2"] == 0.5
    assert found["spectrophone_flag", "impulse", "co2"] == 1.0
    assert found["spectrophone_flag", "overload", "co2"] == 0.0
    assert found["spectrophone_climate_humidity_ratio",] == 0.4
    assert found["spectrophone_alert_raised", "high"] == 1.0
    assert found["spectrophone_alert_raised", "low"] == 0.0
    assert found["spectrophone_output_on", "relay/fan"] == 0.0
    assert ("spectrophone_output_on", "cell") not in found
    assert [found["spectrophone_laser_state", each] for each in ("dark", "waiting", "lit", "tripped")] == [0, 0, 1, 0]
    assert found["spectrophone_action_duration_p95_seconds", "post"] == 0.0125
    assert found["spectrophone_disk_free_bytes",] == 9e8
    assert found["spectrophone_last_calibration_timestamp_seconds",] == 1767323045.0
    assert found["process_resident_memory_bytes",] > 1e6
    for family in FAMILIES:
        name = family.full_name + ("_count" if family.kind == "histogram" else "")
        assert [
            key
            for key in found
            if key[0] == name and (family.kind == "histogram" or len(key[1:]) == len(family.labels))
        ]


def test_a_histogram_counts_up_to_each_bound() -> None:
    found = samples()
    name = "spectrophone_block_duration_seconds"
    bounds = {bound: found[f"{name}_bucket", bound] for bound in ("0.001", "0.0025", "0.005", "2.5", "+Inf")}
    assert bounds == {"0.001": 1, "0.0025": 1, "0.005": 3, "2.5": 3, "+Inf": 4}
    assert found[f"{name}_count",] == 4
    assert found[f"{name}_sum",] == pytest.approx(7.0085)


NUMBERS = {f"spectrophone_concentration_{name}" for name in ("ppm", "sigma_ppm", "u95_ppm", "smoothed_ppm", "lod_ppm")}


@pytest.mark.parametrize(
    ("result", "now_s"),
    [
        (replace(CO2, valid=False, flags=frozenset({Flag.LASER_OFF})), 9.5),
        (replace(CO2, value=None, sigma=None, u95=None, lod=None, smoothed=None, valid=False), 9.5),
        (CO2, 12.0),  # three records of a second after its end
    ],
)
def test_a_number_that_is_not_valid_is_not_there(result: Measurement, now_s: float) -> None:
    assert {key[0] for key in samples(CO2)} >= NUMBERS
    found = samples(result, now_s=now_s)
    assert not {key[0] for key in found} & NUMBERS
    assert found["spectrophone_concentration_valid", "co2"] == 0.0
    assert found["spectrophone_flag", "stale", "co2"] == float(now_s > 10)


def test_signals_and_resonance_end_with_their_records() -> None:
    names = {"spectrophone_signal_amplitude_ratio", "spectrophone_resonance_frequency_hertz"}
    assert {key[0] for key in samples(LOCK, RESONANCE)} >= names
    assert not {key[0] for key in samples(LOCK, RESONANCE, now_s=12.0)} & names
    assert ("spectrophone_signal_amplitude_ratio", "peak") not in samples(PEAK)


def test_what_a_box_does_not_have_is_not_there() -> None:
    bare = {"health": {}, "climate": {}, "actions": [], "link": {}, "history": {}, "scripts": {}, "modbus": {}}
    found = samples(**bare, journal={"file": None, "entries": 2, "newest": 2})
    told = {key[0].removeprefix("spectrophone_") for key in found}
    assert not {name for name in told if name.startswith(("cpu", "climate", "action", "mqtt", "scripts", "modbus"))}
    assert {name for name in told if name.startswith("journal")} == {"journal_entries_total"}


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    told = status.told(about(), Tick(0, S, None, (), (), (), Snapshot()), Outcome(), 0)
    body, content_type = exposition(told, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_names_are_of_prometheus_kind() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.help.endswith(".")
        assert not {"ms", "percent", "mb", "hz", "db"} & set(family.name.split("_"))


def test_the_page_is_that_of_the_code() -> None:
    assert Path("docs/metrics.md").read_text("utf-8") == metrics.reference()


def test_the_dashboard_asks_for_what_there_is() -> None:
    board = json.loads(Path("docs/grafana.json").read_text("utf-8"))
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    known = {key[0] for key in samples(LOCK, CO2, RESONANCE)}
    asked: set[str] = set()
    for panel in panels:
        for target in panel.get("targets", ()):
            names = set(re.findall(r"\b(?:spectrophone|process)_\w+", target["expr"]))
            assert names
            assert names <= known, panel["title"]
            assert 'instance=~"$instance"' in target["expr"]
            asked |= names
    for what in ("concentration_ppm", "concentration_valid", "flag", "block_duration_seconds_bucket", "alert_raised"):
        assert f"spectrophone_{what}" in asked
    areas = [panel["gridPos"] for panel in panels]
    places = [(x, y) for area in areas for x in _span(area, "x", "w") for y in _span(area, "y", "h")]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24


def _span(area: dict[str, int], begin: str, length: str) -> range:
    return range(area[begin], area[begin] + area[length])
