"""What a customer's script is given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.actions import records
from gateway.journal.entry import Entry
from gateway.jsonlines import FIELDS

TIME_NS = 1_790_000_000_900_000_000
TIMES = {"time": "2026-09-21T14:13:20.900Z", "t_s": 7.5}


def measured(**changed: Any) -> Entry:
    fields = {
        "kind": "measurement", **TIMES, "node": "co2", "ppm": 412.31, "sigma_ppm": 0.42, "u95_ppm": 0.9, "dof": 12,
        "lod_ppm": 1.2, "smoothed_ppm": 412.1, "sigma_smoothed_ppm": 0.1, "valid": True, "flags": ["extrapolated"],
        "source": "lock", "frequency_hz": 2012.5, "amplitude": 0.0123, **changed,
    }  # fmt: skip
    return Entry(41, TIME_NS, "measurement", "co2", fields)


def alerted(**changed: Any) -> Entry:
    fields = {
        "kind": "alert", **TIMES, "rule": "mail/concentration/co2", "type": "concentration", "severity": "warning",
        "state": "raised", "value": 1010.2, "threshold": 1000.0, "source": "co2", **changed,
    }  # fmt: skip
    return Entry(42, TIME_NS, "alert", fields["source"], fields)


def test_a_measurement_has_the_fields_of_the_contract_and_nothing_is_lost() -> None:
    given = records.measurement(measured(), "lab")
    metadata = given.pop("metadata")
    assert given == {
        "concentration_ppm": 412.31,
        "source_node_id": "co2",
        "timestamp": 1_790_000_000,
        "peak_amplitude": 0.0123,
        "peak_frequency": 2012.5,
        "uncertainty_ppm": 0.42,
        "valid": True,
    }
    moved = {"node", "ppm", "sigma_ppm", "valid", "frequency_hz", "amplitude"}
    assert metadata.keys() == (FIELDS["measurement"].keys() - moved) | {"kind", "time", "t_s", "schema", "box", "key"}
    assert metadata["flags"] == ["extrapolated"]
    assert (metadata["key"], metadata["box"]) == ("lab-41", "lab")


def test_what_measures_no_gas_has_no_concentration() -> None:
    peak = {"kind": "peak", **TIMES, "node": "tone", "frequency_hz": None, "sigma_frequency_hz": None,
            "amplitude": None, "sigma": 1e-6, "snr_db": None, "valid": False, "flags": []}  # fmt: skip
    given = records.measurement(Entry(1, TIME_NS, "peak", "tone", peak), "lab")
    assert (given["concentration_ppm"], given["peak_frequency"], given["valid"]) == (None, None, False)
    level = {"kind": "level", **TIMES, "node": "loud", "rms": 0.1, "peak": 0.3, "flags": []}
    given = records.measurement(Entry(2, TIME_NS, "level", "loud", level), "lab")
    assert (given["peak_amplitude"], given["metadata"]["rms"], given["valid"]) == (0.3, 0.1, True)


@pytest.mark.parametrize(("flag", "valid"), [("laser_off", False), ("impulse", True)])
def test_a_result_that_does_not_say_so_is_as_valid_as_its_flags(flag: str, valid: bool) -> None:
    fields = {"kind": "lock_in", **TIMES, "node": "lock", "amplitude": 0.1, "frequency_hz": 2000.0, "flags": [flag]}
    assert records.measurement(Entry(1, TIME_NS, "lock_in", "lock", fields), "lab")["valid"] is valid


def test_an_alert_has_the_fields_of_the_contract() -> None:
    given = records.alert(alerted(), "lab")
    assert given.keys() == {"alert_type", "severity", "message", "data", "timestamp"}
    assert (given["alert_type"], given["severity"], given["timestamp"]) == ("concentration", "warning", 1_790_000_000)
    assert given["data"] == {
        "source_node_id": "co2", "kind": "alert", **TIMES, "rule": "mail/concentration/co2", "state": "raised",
        "value": 1010.2, "threshold": 1000.0, "schema": "spectrophone/1", "box": "lab", "key": "lab-42",
    }  # fmt: skip
    json.dumps(given, allow_nan=False)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "co2 is 1010.2 ppm, above 1000 ppm"),
        ({"value": 990.0, "state": "cleared"}, "co2 is back below 1000 ppm"),
        ({"value": 1000.0, "state": "cleared"}, "co2 is back at 1000 ppm"),
        ({"value": 4.0, "threshold": 5.0}, "co2 is 4 ppm, below 5 ppm"),
        ({"type": "amplitude", "value": 0.2, "threshold": 0.1}, "the amplitude of co2 is 0.2, above 0.1"),
        (
            {"type": "frequency_deviation", "value": 25.5, "threshold": 20.0},
            "the distance of co2 from the laser's frequency is 25.5 Hz, above 20 Hz",
        ),
        ({"type": "data_timeout", "value": None, "threshold": 30.0}, "no valid value of co2 for 30 s"),
        ({"type": "data_timeout", "value": None, "state": "cleared"}, "co2 has valid values again"),
        ({"type": "custom", "value": 7.0, "threshold": 5.0}, "co2 is 7, above 5"),
    ],
)
def test_an_alert_says_in_a_sentence_what_is_the_matter(changed: dict[str, Any], message: str) -> None:
    assert records.message(alerted(**changed)) == message
