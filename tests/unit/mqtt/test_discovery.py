"""The device message obeys Home Assistant's rules, and the lint that says so knows a breach when it sees
one."""

from __future__ import annotations

import copy
import json

import pytest

from gateway.mqtt import discovery
from gateway.mqtt.face import Face, GasFace, RuleFace, SignalFace
from gateway.mqtt.lint import lint
from gateway.mqtt.topics import Topics
from tests.unit.mqtt.samples import FACE

TOPICS = Topics("spectrophone", "box1")
PAYLOAD = discovery.payload(FACE, TOPICS, 30)


def test_every_part_of_the_box_has_its_entity():
    kinds = {key: component["p"] for key, component in PAYLOAD["cmps"].items()}
    assert kinds == {
        "gas_co2": "sensor",
        "gas_co2_sigma": "sensor",
        "signal_tone": "sensor",
        "signal_tone_snr": "sensor",
        "signal_peak": "sensor",
        "signal_peak_snr": "sensor",
        "signal_peak_frequency": "sensor",
        "laser": "switch",
        "relay_fan": "switch",
        "relay_stuck": "sensor",
        "led_status": "light",
        "cell": "number",
        "calibration": "sensor",
        "calibration_zero_co2": "button",
        "calibration_cancel": "button",
        "alarm_co2_high": "binary_sensor",
        "alarm_quiet": "binary_sensor",
        "alarm": "event",
        "problem": "binary_sensor",
        "online": "binary_sensor",
    }


def test_co2_has_its_class_and_expires():
    co2 = PAYLOAD["cmps"]["gas_co2"]
    assert (co2["dev_cla"], co2["unit_of_meas"], co2["stat_cla"]) == ("carbon_dioxide", "ppm", "measurement")
    assert (co2["exp_aft"], co2["sug_dsp_prc"]) == (30, 0)
    assert co2["def_ent_id"] == "sensor.gas_box_co2"


def test_alarms_of_a_concentration_are_of_class_gas():
    assert PAYLOAD["cmps"]["alarm_co2_high"]["dev_cla"] == "gas"
    assert PAYLOAD["cmps"]["alarm_quiet"]["dev_cla"] == "problem"


def test_the_calibration_has_a_state_that_fits_and_buttons_for_what_needs_no_number():
    parts = PAYLOAD["cmps"]
    assert (parts["calibration"]["stat_t"], parts["calibration"]["ent_cat"]) == (
        "spectrophone/box1/calibration",
        "diagnostic",
    )
    assert parts["calibration"]["val_tpl"] == "{{ value[:255] }}"
    zero, cancel = parts["calibration_zero_co2"], parts["calibration_cancel"]
    assert (zero["name"], zero["pl_prs"]) == ("Calibrate zero", "zero")
    assert (cancel["name"], cancel["pl_prs"]) == ("Cancel calibration", "cancel")
    assert zero["cmd_t"] == cancel["cmd_t"] == "spectrophone/box1/calibration/set"
    assert "stat_t" not in zero


def test_every_gas_of_a_lock_in_has_its_zero():
    two = (GasFace("co2", "tone"), GasFace("ch4", "tone"), GasFace("nh3", "peak"))
    face = Face("box1", "Gas box", "1", "co2", two, FACE.signals, (), FACE.outputs)
    message = discovery.payload(face, TOPICS, 30)
    pressed = {c["name"]: c["pl_prs"] for c in message["cmps"].values() if c["p"] == "button"}
    assert pressed.pop("Cancel calibration") == "cancel"
    assert {name: json.loads(told) for name, told in pressed.items()} == {
        "Calibrate zero co2": {"do": "zero", "node": "co2"},
        "Calibrate zero ch4": {"do": "zero", "node": "ch4"},
    }
    assert lint(message) == []


GASES = ["co2", "co", "ch4", "nh3", "h2o", "n2o", "no", "no2", "o3", "so2", "c2h2", "x-1"]


@pytest.mark.parametrize("gas", GASES)
@pytest.mark.parametrize("unit", ["ppm", "ppb"])
def test_whatever_is_measured_the_message_is_clean(gas, unit):
    two = (GasFace("a", "s", unit), GasFace("B-2", "s", unit))
    face = Face("box1", "Gräser & Söhne", "1", gas, two, (SignalFace("s", "peak"),), FACE.rules, FACE.outputs)
    assert lint(discovery.payload(face, TOPICS, 30)) == []


def test_a_box_with_nothing_is_clean():
    assert lint(discovery.payload(Face("b", "!", "1", "co2"), TOPICS, 30)) == []


def test_sixty_entities_stay_small():
    rules = tuple(RuleFace(f"rule{i}", "concentration") for i in range(44))
    face = Face("box1", "Gas box", "1", "co2", FACE.gases, FACE.signals, rules, FACE.outputs)
    message = json.dumps(discovery.payload(face, TOPICS, 30), separators=(",", ":"))
    assert len(message) < 16_000


def breach(**paths):
    """The payload with entries changed or (None) removed, at paths like cmps__gas_co2__dev_cla."""
    broken = copy.deepcopy(PAYLOAD)
    for path, value in paths.items():
        *way, last = path.split("__")
        place = broken
        for part in way:
            place = place[part]
        place.pop(last, None)
        if value is not None:
            place[last] = value
    return broken


@pytest.mark.parametrize(
    ("paths", "fault"),
    [
        ({"avty_t": "x"}, "unknown key avty_t"),
        ({"child_devices": []}, "unknown key"),
        ({"o": None}, "o is missing"),
        ({"dev__foo": "x"}, "dev: unknown key foo"),
        ({"dev__ids": None}, "ids is missing"),
        ({"o__foo": "x"}, "o: unknown key foo"),
        ({"avty": "topic"}, "not a list"),
        ({"cmps__laser__uniq_id": None}, "uniq_id is missing"),
        ({"cmps__laser__name": None}, "name is missing"),
        ({"cmps__laser__p": "lasers"}, "platform lasers"),
        ({"cmps__laser__object_id": "x"}, "unknown key object_id"),
        ({"cmps__laser__cmd_t": "a/#"}, "wildcard"),
        ({"cmps__laser__uniq_id": "spectrophone_box1_cell"}, "used 2 times"),
        ({"cmps__gas_co2__unit_of_meas": "ppb"}, "carbon_dioxide in ppb"),
        ({"cmps__gas_co2__dev_cla": "methane"}, "methane is no class"),
        ({"cmps__gas_co2__ent_cat": "config"}, "category of a sensor"),
        ({"cmps__gas_co2__def_ent_id": "co2"}, "not an entity id"),
        ({"cmps__gas_co2__stat_cla": "mean"}, "no state class"),
        ({"cmps__calibration_cancel__stat_t": "a/b"}, "unknown key stat_t"),
        ({"cmps__calibration_cancel__cmd_t": None}, "cmd_t is missing"),
        ({"cmps__problem__dev_cla": "methane"}, "no class for a binary_sensor"),
        ({"cmps__problem__avty": [{}]}, "not a list"),
    ],
)
def test_the_lint_sees(paths, fault):
    assert any(fault in said for said in lint(breach(**paths)))
    assert lint(PAYLOAD) == []
