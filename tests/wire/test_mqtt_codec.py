"""What goes out: JSON that any reader takes, with null for every number that is not there."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt import codec
from gateway.mqtt.face import OutputFace
from gateway.types import NO_FLAGS, Command, CommandResult, Flag
from tests.unit.mqtt.samples import FACE, OVERLOAD, UTC_NS, S, alert, lock_in, peak, ppm, tick


def strict(payload: bytes) -> dict[str, Any]:
    """JSON as the standard has it: no NaN, no Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(payload, parse_constant=refuse)


def test_a_measurement_says_value_uncertainty_time_and_place():
    body = strict(codec.result_payload(ppm(412.7), "box1", tick(ppm(412.7))))
    assert body == {
        "value": 412.7,
        "unit": "ppm",
        "sigma": 1.5,
        "u95": 3.1,
        "smoothed": None,
        "sigma_smoothed": None,
        "lod": 4.5,
        "valid": True,
        "flags": [],
        "time": "2026-11-18T11:06:40.123Z",
        "t_s": 1.0,
        "box": "box1",
        "node": "co2",
    }
    assert datetime.fromisoformat(body["time"]) == datetime.fromtimestamp(UTC_NS / 1e9, UTC)


def test_the_time_is_that_of_the_record_not_of_the_tick():
    early = ppm(t_ns=S // 2)
    assert strict(codec.result_payload(early, "box1", tick(early)))["time"].endswith(":39.623Z")
    assert strict(codec.result_payload(early, "box1", tick(early, utc_ns=None)))["time"] is None


@pytest.mark.parametrize("flag", [Flag.OVERLOAD, Flag.UNLOCKED, Flag.LASER_OFF, Flag.STALE, Flag.NOT_FINITE])
def test_an_invalid_measurement_has_a_reason_and_no_number(flag):
    body = strict(codec.result_payload(ppm(412.7, flags=frozenset({flag})), "box1", tick()))
    assert (body["value"], body["sigma"], body["u95"], body["valid"]) == (None, None, None, False)
    assert body["flags"] == [flag.value]


@given(st.floats(), st.floats(), st.sets(st.sampled_from(Flag)))
def test_no_result_ever_becomes_anything_but_strict_json(value, sigma, flags):
    made = ppm(value, flags=frozenset(flags), sigma=sigma, u95=sigma, lod=sigma, valid=True)
    body = strict(codec.result_payload(made, "box1", tick()))
    assert (body["value"] is None) == (not math.isfinite(value)) == (not body["valid"])
    tone = lock_in(flags=frozenset(flags), in_phase=value, quadrature=sigma, sigma=sigma)
    strict(codec.result_payload(tone, "box1", tick()))
    strict(codec.result_payload(peak(frequency_hz=value, amplitude=sigma), "box1", tick()))


def test_signals():
    body = strict(codec.result_payload(lock_in(), "box1", tick()))
    assert (body["kind"], body["amplitude"], body["snr_db"], body["valid"]) == ("lock_in", 0.01, 60.0, True)
    body = strict(codec.result_payload(lock_in(flags=OVERLOAD), "box1", tick()))
    assert (body["amplitude"], body["in_phase"], body["valid"]) == (None, None, False)
    assert body["flags"] == ["overload"]
    body = strict(codec.result_payload(peak(), "box1", tick()))
    assert (body["kind"], body["frequency_hz"], body["sigma_frequency_hz"]) == ("peak", 2012.5, 0.01)
    none = peak(valid=False, frequency_hz=None, amplitude=None, sigma_frequency_hz=None)
    body = strict(codec.result_payload(none, "box1", tick()))
    assert (body["frequency_hz"], body["amplitude"], body["snr_db"], body["valid"]) == (
        None,
        None,
        None,
        False,
    )


def test_an_alert_is_an_event_of_home_assistant():
    body = strict(codec.alert_payload(alert(), "box1", tick()))
    assert body["event_type"] == "raised"
    assert (body["rule"], body["value"], body["threshold"], body["source"]) == ("co2_high", 1200, 1000, "co2")


@pytest.mark.parametrize(
    ("target", "state", "shown"),
    [
        ("laser", "on", b"ON"),
        ("relay/fan", "off", b"OFF"),
        ("relay/fan", "stuck", b"stuck"),
        ("cell", "unknown", b"None"),
        ("cell", "nan", b"None"),
        ("relay/stuck", "off", b"off"),
        ("led/status", "off", b'{"state":"OFF"}'),
        ("led/status", "red", b'{"state":"ON","effect":"red"}'),
        ("led/status", "on", b'{"state":"ON"}'),
        ("cell", "400.0", b"400.0"),
        ("calibration", "span 1000 ppm 13 %", b"span 1000 ppm 13 %"),
        ("something/else", "7", b"7"),
    ],
)
def test_states(target, state, shown):
    assert codec.state_payload(FACE.output(target), state) == shown


def test_an_answer():
    command = Command("relay/fan", "on", origin="mqtt")
    assert strict(codec.answer_payload(CommandResult(command, False, "the lid is open", "off"))) == {
        "target": "relay/fan",
        "verb": "on",
        "done": False,
        "reason": "the lid is open",
        "state": "off",
        "origin": "mqtt",
    }


def test_problem_and_info():
    assert strict(codec.problem_payload(("co2: stale",))) == {"state": "ON", "reasons": ["co2: stale"]}
    assert strict(codec.problem_payload(()))["state"] == "OFF"
    body = strict(codec.info_payload(FACE))
    assert body["concentrations"] == [{"node": "co2", "source": "tone", "unit": "ppm"}]
    assert {"target": "cell", "verbs": ["set"]} in body["outputs"]


def test_kinds_of_outputs():
    kinds = {o.target: o.kind for o in FACE.outputs}
    assert kinds["cell"] == "number"
    assert kinds["led/status"] == "light"
    assert kinds["calibration"] == "procedure"
    assert OutputFace("valve", ("on", "off")).kind == "switch"
    assert frozenset() == NO_FLAGS
