"""The device message obeys Home Assistant's rules, and the lint that says so knows a breach when it sees
one."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest

from drivers.tec import State as TecState
from gateway.interlock import State
from gateway.mqtt import discovery
from gateway.mqtt.classes import version
from gateway.mqtt.face import Face, GasFace, RuleFace, SignalFace
from gateway.mqtt.lint import lint, mend
from gateway.mqtt.topics import Topics
from tests.unit.mqtt.samples import EVERYTHING, FACE

TOPICS = Topics("spectrophone", "box1")
PAYLOAD = discovery.payload(FACE, TOPICS, 30)


def kinds(payload):
    """Every component's platform."""
    return {key: component["p"] for key, component in payload["cmps"].items()}


VITALS = {
    **dict.fromkeys(("problem", "online", "throttled", "clock", "disk_read_only"), "binary_sensor"),
    **dict.fromkeys(("memory", "cpu_temperature", "disk_free", "wifi", "load", "queue_depth", "queue_age"), "sensor"),
    **dict.fromkeys(("overruns", "lost_frames", "reconnects"), "sensor"),
    **dict.fromkeys(("boot_time", "boot_reason", "last_calibration"), "sensor"),
}
SMALL = {
    **dict.fromkeys(("gas_co2", "gas_co2_sigma", "gas_co2_quality"), "sensor"),
    **dict.fromkeys(("signal_tone", "signal_tone_snr", "signal_tone_frequency"), "sensor"),
    **dict.fromkeys(("signal_peak", "signal_peak_snr", "signal_peak_frequency"), "sensor"),
    "laser": "switch",
    "laser_state": "sensor",
    "relay_fan": "switch",
    "relay_fan_fault": "binary_sensor",
    "relay_stuck": "sensor",
    "led_status": "light",
    "cell": "number",
    "calibration": "sensor",
    "calibration_zero_co2": "button",
    "calibration_cancel": "button",
    "alarm_co2_high": "binary_sensor",
    "alarm_quiet": "binary_sensor",
    "alarm": "event",
    **VITALS,
}
MORE = {
    **dict.fromkeys(("gas_co2_resonance", "gas_co2_detuning"), "sensor"),
    **dict.fromkeys(("climate_temperature", "climate_humidity", "climate_pressure"), "sensor"),
    **dict.fromkeys(("tec_state", "tec_temperature", "sweep", "actions"), "sensor"),
    **dict.fromkeys(("action_webhook", "action_webhook_p95"), "sensor"),
    **dict.fromkeys(("action_webhook_queue_age", "action_webhook_errors"), "sensor"),
    **dict.fromkeys(("tec", "switch_interlock", "safe_mode"), "switch"),
    **dict.fromkeys(("span_gas", "threshold_co2_high", "integration_tone"), "number"),
    **dict.fromkeys(("calibration_span_co2", "sweep_sweep", "sweep_cancel"), "button"),
    **dict.fromkeys(("gateway_restart", "identify_identify", "actions_reset"), "button"),
}


def test_every_part_of_the_box_has_its_entity():
    assert kinds(PAYLOAD) == SMALL
    assert kinds(discovery.payload(EVERYTHING, TOPICS, 30)) == SMALL | MORE


@pytest.mark.parametrize("oldest", ["2024.11", "2025.10", "2026.2", "2026.11"])
@pytest.mark.parametrize("gas", ["co2", "no2", "so2", "ch4"])
@pytest.mark.parametrize("unit", ["ppm", "ppb"])
def test_the_message_is_clean_for_every_home_assistant(oldest, gas, unit):
    face = replace(EVERYTHING, gas=gas, gases=(GasFace("co2", "tone", unit, follows=True),))
    assert lint(discovery.payload(face, TOPICS, 30, version(oldest)), version(oldest)) == []


@pytest.mark.parametrize(
    ("gas", "unit", "oldest", "device_class"),
    [
        ("co2", "ppm", "2024.11", "carbon_dioxide"),
        ("co2", "ppb", "2026.11", None),
        ("co", "ppb", "2025.10", None),
        ("co", "ppb", "2026.2.3", "carbon_monoxide"),
        ("no2", "ppm", "2026.2", None),
        ("no2", "ppm", "2026.3", "nitrogen_dioxide"),
        ("ch4", "ppm", "2026.11", None),
    ],
)
def test_a_class_only_where_the_oldest_takes_it(gas, unit, oldest, device_class):
    face = replace(FACE, gas=gas, gases=(GasFace("co2", "tone", unit),))
    shown = discovery.payload(face, TOPICS, 30, version(oldest))["cmps"]["gas_co2"]
    assert shown.get("dev_cla") == device_class
    assert ("ic" in shown) == (device_class is None)


def test_decimals_are_those_of_the_noise():
    parts = discovery.payload(FACE, TOPICS, 30, decimals={"co2": 3})["cmps"]
    assert parts["gas_co2"]["sug_dsp_prc"] == 3
    assert parts["gas_co2_sigma"]["sug_dsp_prc"] == 5


def test_the_laser_is_available_only_while_it_is_ready():
    laser = PAYLOAD["cmps"]["laser"]
    root = "spectrophone/box1"
    assert laser["avty"] == [{"t": f"{root}/status"}, {"t": f"{root}/laser_ready"}]
    assert laser["avty_mode"] == "all"
    assert PAYLOAD["cmps"]["laser_state"]["ops"] == [str(state) for state in State]


def test_the_tec_has_all_its_states():
    parts = discovery.payload(EVERYTHING, TOPICS, 30)["cmps"]
    assert parts["tec_state"]["ops"] == [str(state) for state in TecState]


def test_numbers_have_their_bounds():
    parts = discovery.payload(EVERYTHING, TOPICS, 30)["cmps"]
    shown = {key: [c[name] for name in ("min", "max", "step", "unit_of_meas")] for key, c in parts.items() if "min" in c
             and "unit_of_meas" in c}  # fmt: skip
    assert shown == {
        "span_gas": [1.0, 1_000_000.0, 0.1, "ppm"],
        "threshold_co2_high": [0.0, 1_000_000.0, 0.001, "ppm"],
        "integration_tone": [0.1, 15.0, 0.1, "s"],
    }


def test_what_is_noisy_or_for_experts_is_disabled_at_first():
    parts = discovery.payload(EVERYTHING, TOPICS, 30)["cmps"]
    hidden = {key for key, component in parts.items() if not component.get("en", True)}
    assert hidden >= {"wifi", "load", "action_webhook_p95", "gas_co2_detuning", "signal_tone_frequency"}
    assert not hidden & {"gas_co2", "laser", "problem", "action_webhook", "signal_peak_frequency"}


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


def test_the_message_stays_small():
    def size(face):
        message = discovery.payload(face, TOPICS, 30)
        return len(message["cmps"]), len(json.dumps(message, separators=(",", ":")))

    entities, typical = size(FACE)
    assert entities > 30
    assert typical < 16_000
    rules = tuple(RuleFace(f"rule{i}", "concentration") for i in range(20))
    entities, large = size(replace(EVERYTHING, rules=rules))
    assert entities > 80
    assert large < 60_000


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
        ({"cmps__laser__uniq_id": "spectrophone_box1_cell"}, "is used twice"),
        ({"cmps__gas_co2__unit_of_meas": "ppb"}, "carbon_dioxide in ppb"),
        ({"cmps__gas_co2__dev_cla": "methane"}, "methane is no class"),
        ({"cmps__gas_co2__ent_cat": "config"}, "category of a sensor"),
        ({"cmps__gas_co2__def_ent_id": "co2"}, "not an entity id"),
        ({"cmps__gas_co2__stat_cla": "mean"}, "no state class"),
        ({"cmps__calibration_cancel__stat_t": "a/b"}, "unknown key stat_t"),
        ({"cmps__calibration_cancel__cmd_t": None}, "cmd_t is missing"),
        ({"cmps__problem__dev_cla": "methane"}, "no class for a binary_sensor"),
        ({"cmps__problem__avty": [{}]}, "not a list"),
        ({"cmps__laser_state__ops": None}, "ops go with an enum"),
        ({"cmps__laser_state__stat_cla": "measurement"}, "enum has no stat_cla"),
        ({"cmps__calibration_cancel__dev_cla": "gas"}, "no class for a button"),
        ({"cmps__cell__min": 2e6}, "not below max"),
        ({"cmps__cell__step": 1e-4}, "too small"),
        ({"cmps__cell__dev_cla": "carbon_monoxide", "cmps__cell__unit_of_meas": "ppb"}, "carbon_monoxide in ppb"),
    ],
)
def test_the_lint_sees(paths, fault):
    assert any(fault in said for said in lint(breach(**paths)))
    assert lint(PAYLOAD) == []


def test_what_would_be_refused_is_taken_out_and_nothing_else():
    broken = breach(foo=1, dev__foo="x", cmps__gas_co2__unit_of_meas="ppb", cmps__laser__uniq_id=None)
    mended, faults = mend(broken)
    assert len(faults) == 4
    assert lint(mended) == []
    assert mended["cmps"].keys() == PAYLOAD["cmps"].keys() - {"gas_co2", "laser"}
    assert mended["dev"] == PAYLOAD["dev"]
    assert mend(PAYLOAD) == (PAYLOAD, [])


def test_of_two_with_one_id_the_first_stays():
    mended, _ = mend(breach(cmps__laser__uniq_id="spectrophone_box1_gas_co2"))
    assert "gas_co2" in mended["cmps"]
    assert "laser" not in mended["cmps"]
