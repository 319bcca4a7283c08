"""What is told beside the measurement is what its sources say now."""

from __future__ import annotations

from drivers.climate import FixedClimate
from gateway.reports import reports
from gateway.types import Climate

STATUS = {
    "node": "webhook",
    "state": "waiting",
    "problem": "nobody listens",
    "queue_age_s": 3.5,
    "errors": 2,
    "delivered": 7,
    "refused": 0,
    "dropped": 1,
    "p95_ms": None,
    "driver": {"url": "https://example.org"},
}


def test_all_of_it():
    warmth = [24.5]
    told = reports(FixedClimate(Climate(20.0, None, 101_325.0), None), lambda: warmth[0], lambda: [STATUS])
    assert told() == {
        "climate": {"temperature_c": 20.0, "humidity_percent": None, "pressure_pa": 101_325.0},
        "tec_temperature": {"temperature_c": 24.5},
        "action/webhook": {key: value for key, value in STATUS.items() if key not in ("node", "driver")},
    }
    warmth[0] = 25.0
    assert told()["tec_temperature"] == {"temperature_c": 25.0}


def test_a_box_with_nothing_beside_tells_nothing():
    assert reports(None, None, list)() == {}


def test_a_climate_that_nobody_knows_is_null():
    class Silent(FixedClimate):
        """Sensors that have said nothing yet."""

        def newest(self) -> Climate | None:
            """See ClimateSensor."""
            return None

    assert reports(Silent(Climate(), None), None, list)()["climate"] == {
        "temperature_c": None,
        "humidity_percent": None,
        "pressure_pa": None,
    }
