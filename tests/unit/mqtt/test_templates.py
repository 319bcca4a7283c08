"""What the box publishes and what the device message makes of it agree: every entity has a topic that is written, and
every template gives its entity something that it takes. Home Assistant's templates are Jinja's.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import jinja2
import pytest

from gateway.health import look
from gateway.mqtt import discovery
from gateway.mqtt.component import LONGEST_STATE
from gateway.mqtt.picture import Picture
from gateway.mqtt.topics import Topics
from gateway.types import Flag, Outcome, ResonanceResult
from tests.unit.mqtt.samples import EVERYTHING, S, alert, lock_in, peak, ppm, tick
from tests.unit.test_reports import STATUS

TOPICS = Topics("spectrophone", "box1")
PARTS = discovery.payload(EVERYTHING, TOPICS, 30)["cmps"]
REPORTS = {
    "climate": {"temperature_c": 20.0, "humidity_percent": 40.0, "pressure_pa": 101_325.0},
    "tec_temperature": {"temperature_c": 25.0},
    "action/webhook": {key: value for key, value in STATUS.items() if key not in ("node", "driver")},
}
HEALTH = {
    "overruns": 3,
    "lost_frames": 0,
    "last_calibration": "2026-11-18T12:26:40.123Z",
    "reconnects": 1,
    "queue_depth": 0,
    "queue_age_s": 0.0,
}
STATES = {
    "laser": "on",
    "relay/fan": "stuck",
    "relay/stuck": "off",
    "led/status": "green",
    "cell": "400.0",
    "calibration": "span 1000 ppm 13 %",
    "tec": "settling",
    "switch/interlock": "on",
    "span_gas": "unknown",
    "sweep": "idle",
    "gateway": "safe mode",
    "identify": "idle",
    "threshold/co2_high": "1000",
    "integration/tone": "1",
    "actions": "webhook: " + 300 * "x",
}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def published(measured, reports=REPORTS, health=None):
    """The newest payload of every topic, of a box that measures this."""
    picture = Picture(EVERYTHING, TOPICS, 30, lambda: reports)
    outcome = Outcome(states=STATES, laser=("waiting", "no sound"), barred="")
    changed, events = picture.take(0, tick(*measured, alerts=(alert(),)), outcome)
    facts = health or look(Path("/"), Path("/"), 1_795_000_000 * S)
    messages = [*changed, *events, picture.health(0, {**facts, **HEALTH})]
    return {message.topic: message.payload.decode() for message in messages} | {TOPICS.status: "online"}


RESONANCE = ResonanceResult("co2_resonance", S, 2012.5, 0.1, 30.0, 0.25)
GOOD = published((ppm(), lock_in(), peak(), RESONANCE))
DARK = frozenset({Flag.LASER_OFF, Flag.WARM_UP})
BAD = published(
    (ppm(None, flags=DARK), lock_in(flags=DARK), peak(flags=DARK, valid=False), replace(RESONANCE, flags=DARK)),
    {name: dict.fromkeys(body) | ({"state": "stopped"} if "state" in body else {}) for name, body in REPORTS.items()},
    dict.fromkeys(look(Path("/"), Path("/"), 0)),
)


def shown(key, at):
    """The text that Home Assistant makes of an entity's topic."""
    component = PARTS[key]
    payload = at[component["stat_t"]]
    values = {"value": payload}
    if payload.startswith("{"):
        values["value_json"] = json.loads(payload)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    return environment.from_string(component.get("val_tpl", "{{ value }}")).render(values)


STATEFUL = [key for key, component in PARTS.items() if "stat_t" in component]


@pytest.mark.parametrize("at", [GOOD, BAD], ids=["good", "bad"])
@pytest.mark.parametrize("key", STATEFUL)
def test_every_entity_is_given_what_it_takes(key, at):
    component, text = PARTS[key], shown(key, at)
    match component["p"], component.get("dev_cla"):
        case "sensor", "enum":
            assert text in component["ops"]
        case "sensor", "timestamp":
            assert text == "None" or MOMENT.fullmatch(text)
        case "sensor", _ if "stat_cla" in component:
            assert text == "None" or float(text) == float(text)
        case "sensor", _:
            assert 0 < len(text) <= LONGEST_STATE
        case "binary_sensor", _:
            assert text in (component.get("pl_on", "ON"), component.get("pl_off", "OFF"), "None")
        case "switch", _:
            assert text in (component.get("pl_on", "ON"), component.get("pl_off", "OFF"), "None")
        case "number", _:
            assert text == "None" or component["min"] <= float(text) <= component["max"]
        case "event", _:
            assert json.loads(text)["event_type"] in component["evt_typ"]
        case platform, _:
            assert platform == "light"
            assert json.loads(text)["state"] in ("ON", "OFF")


@pytest.mark.parametrize("key", [key for key in STATEFUL if "json_attr_t" in PARTS[key]])
def test_attributes_are_an_object(key):
    component = PARTS[key]
    template = component.get("json_attr_tpl", "{{ value }}")
    for at in (GOOD, BAD):
        payload = at[component["json_attr_t"]]
        text = jinja2.Template(template).render(value=payload, value_json=json.loads(payload))
        assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("gas_co2", "412.7", "None"),
        ("gas_co2_quality", "ok", "laser_off, warm_up"),
        ("gas_co2_resonance", "2012.5", "None"),
        ("climate_pressure", "1013.25", "None"),
        ("action_webhook", "waiting", "stopped"),
        ("memory", None, "None"),
        ("disk_read_only", None, "None"),
    ],
)
def test_what_is_not_valid_is_unknown_and_says_why(key, good, bad):
    assert good in (None, shown(key, GOOD))
    assert shown(key, BAD) == bad


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("laser", "ON"),
        ("relay_fan", "None"),
        ("relay_fan_fault", "ON"),
        ("tec", "ON"),
        ("tec_state", "settling"),
        ("safe_mode", "safe_mode"),
        ("span_gas", "None"),
        ("laser_state", "waiting"),
    ],
)
def test_states_are_those_read_back(key, text):
    assert shown(key, GOOD) == text


def test_the_memory_that_is_told_is_a_part():
    assert 0.0 < float(shown("memory", GOOD)) < 100.0
