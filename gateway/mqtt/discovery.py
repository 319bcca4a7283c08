"""The box, announced to Home Assistant: one retained message that describes the device and all its entities.

Home Assistant refuses the whole device for one unknown key outside a component, and a component for a unit
that does not belong to its class; lint.py holds those rules. Keys are Home Assistant's abbreviations (the
message of a box with sixty entities stays under 16 kB). Unique ids never change; names are always set. A class
is given only with a unit that every Home Assistant since 2024.11 takes with it: CO2 and CO in ppm; methane,
ammonia and the others have none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gateway.mqtt.face import Face, GasFace, OutputFace, SignalFace
from gateway.mqtt.topics import Topics

COMMAND_EXPIRY_S = 10
"""How long a broker may keep a command of Home Assistant (2026.6 and later) for a box that is away."""
LONGEST_STATE = 255
"""Characters that Home Assistant takes as a state; a longer one is "unknown" there."""
Component = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Species:
    """How a gas is shown: its name, its class where Home Assistant has one for ppm, and decimals of a ppm
    value."""

    label: str
    device_class: str | None
    decimals: int


_SPECIES = {
    "co2": Species("CO2", "carbon_dioxide", 0),
    "co": Species("CO", "carbon_monoxide", 1),
    "ch4": Species("Methane", None, 2),
    "nh3": Species("Ammonia", None, 2),
    "h2o": Species("Water vapour", None, 0),
    "n2o": Species("N2O", None, 2),
    "no": Species("NO", None, 2),
    "no2": Species("NO2", None, 2),
    "o3": Species("Ozone", None, 3),
    "so2": Species("SO2", None, 2),
}


def topic(prefix: str, face: Face) -> str:
    """Where the message goes."""
    return f"{prefix}/device/{device_id(face)}/config"


def device_id(face: Face) -> str:
    """The identifier of the box in Home Assistant, and the head of every unique id."""
    return f"spectrophone_{face.box}"


def payload(face: Face, topics: Topics, expire_s: int) -> dict[str, Any]:
    """The message."""
    components: dict[str, Component] = {}
    for gas in face.gases:
        components |= _gas(face, gas, topics, expire_s)
    for signal in face.signals:
        components |= _signal(face, signal, topics, expire_s)
    for output in face.outputs:
        components |= _procedure(face, output, topics) if output.kind == "procedure" else _output(output, topics)
    components |= _alarms(face, topics) | _health(topics)
    for key, component in components.items():
        component["uniq_id"] = f"{device_id(face)}_{key}"
        entity = _slug(f"{face.name} {component['name']}")
        component["def_ent_id"] = f"{component['p']}.{entity}"
    return {
        "dev": {
            "ids": [device_id(face)],
            "name": face.name,
            "mf": "Spectrophone",
            "mdl": "Photoacoustic gas sensor",
            "sn": face.box,
            "sw": face.version,
        },
        "o": {"name": "spectrophone", "sw": face.version},
        "avty": [{"t": topics.status}],
        "qos": 1,
        "cmps": components,
    }


def _gas(face: Face, gas: GasFace, topics: Topics, expire_s: int) -> dict[str, Component]:
    species = _SPECIES.get(face.gas, Species(face.gas.upper(), None, 2))
    label = species.label if len(face.gases) == 1 else f"{species.label} {gas.node}"
    decimals = species.decimals if gas.unit == "ppm" else 2
    value = _sensor(label, topics.measurement(gas.node), "value", expire_s, gas.unit, decimals)
    value["ic"] = "mdi:molecule"
    if species.device_class and gas.unit == "ppm":
        del value["ic"]
        value["dev_cla"] = species.device_class
    sigma = _sensor(f"{label} uncertainty", topics.measurement(gas.node), "sigma", expire_s, gas.unit, decimals + 2)
    return {f"gas_{gas.node}": value, f"gas_{gas.node}_sigma": _diagnostic(sigma)}


def _signal(face: Face, signal: SignalFace, topics: Topics, expire_s: int) -> dict[str, Component]:
    place = topics.signal(signal.node)
    head = "" if len(face.signals) == 1 else f" {signal.node}"
    key = f"signal_{signal.node}"
    amplitude = _sensor(f"Signal{head}", place, "amplitude", expire_s, "FS", 6)
    snr = _sensor(f"Signal-to-noise ratio{head}", place, "snr_db", expire_s, "dB", 1)
    components = {key: amplitude, f"{key}_snr": _diagnostic(snr)}
    if signal.kind == "peak":
        frequency = _sensor(f"Frequency{head}", place, "frequency_hz", expire_s, "Hz", 2)
        components[f"{key}_frequency"] = _diagnostic(frequency | {"dev_cla": "frequency"})
    return components


def _sensor(name: str, place: str, field: str, expire_s: int, unit: str, decimals: int) -> Component:
    return {
        "p": "sensor",
        "name": name,
        "stat_t": place,
        "val_tpl": f"{{{{ value_json.{field} }}}}",
        "unit_of_meas": unit,
        "stat_cla": "measurement",
        "sug_dsp_prc": decimals,
        "exp_aft": expire_s,
    }


def _diagnostic(component: Component) -> Component:
    return component | {"ent_cat": "diagnostic"}


def _output(output: OutputFace, topics: Topics) -> dict[str, Component]:
    place, _, name = output.target.partition("/")
    key = f"{place}_{name}" if name else place
    label = f"{place} {name}".strip().capitalize()
    base: Component = {"stat_t": topics.state(output.target), "name": label}
    if output.kind == "reading":
        return {key: base | {"p": "sensor", "ent_cat": "diagnostic"}}
    base |= {"cmd_t": topics.command(output.target), "msg_exp_int": COMMAND_EXPIRY_S}
    if output.kind == "number":
        base |= {"min": 0, "max": 1_000_000, "step": 0.1, "mode": "box", "unit_of_meas": "ppm"}
        return {key: base | {"p": "number", "name": "Simulated gas", "ent_cat": "config"}}
    if output.kind == "light":
        effects = [verb for verb in output.verbs if verb not in ("on", "off")]
        base |= {"schema": "json", "sup_clrm": ["onoff"], "flsh": False, "trns": False}
        return {key: base | {"p": "light", "name": f"LED {name}", "effect": bool(effects), "fx_list": effects}}
    icon = "mdi:laser-pointer" if place == "laser" else "mdi:electric-switch"
    return {key: base | {"p": "switch", "ic": icon}}


def _procedure(face: Face, output: OutputFace, topics: Topics) -> dict[str, Component]:
    """Calibration and actions: how they are, and buttons for what needs no number."""
    key, place = output.target, topics.command(output.target)
    state: Component = {"p": "sensor", "name": key.capitalize(), "stat_t": topics.state(key)}
    state |= {"val_tpl": f"{{{{ value[:{LONGEST_STATE}] }}}}"}
    button: Component = {"p": "button", "cmd_t": place, "msg_exp_int": COMMAND_EXPIRY_S, "ent_cat": "config"}
    components = {key: _diagnostic(state | {"ic": "mdi:tune-vertical" if "zero" in output.verbs else "mdi:send"})}
    if "reset" in output.verbs:
        components[f"{key}_reset"] = button | {"name": f"Reset {key}", "pl_prs": "reset"}
    if "zero" not in output.verbs:
        return components
    locked = {signal.node for signal in face.signals if signal.kind == "lock_in"}
    for node in [gas.node for gas in face.gases if gas.source in locked]:
        alone = len(face.gases) == 1
        told = "zero" if alone else json.dumps({"do": "zero", "node": node})
        name = "Calibrate zero" if alone else f"Calibrate zero {node}"
        components[f"{key}_zero_{node}"] = button | {"name": name, "pl_prs": told}
    components[f"{key}_cancel"] = button | {"name": "Cancel calibration", "pl_prs": "cancel"}
    return components


def _alarms(face: Face, topics: Topics) -> dict[str, Component]:
    components: dict[str, Component] = {
        f"alarm_{rule.name}": {
            "p": "binary_sensor",
            "name": f"Alarm {rule.name}",
            "dev_cla": "gas" if rule.type == "concentration" else "problem",
            "stat_t": topics.alarm_state(rule.name),
        }
        for rule in face.rules
    }
    if face.rules:
        event = {
            "p": "event",
            "name": "Alarm",
            "evt_typ": ["raised", "cleared", "told"],
            "stat_t": topics.alarm,
            "ic": "mdi:alarm-light",
        }
        components["alarm"] = event
    return components


def _health(topics: Topics) -> dict[str, Component]:
    """Two diagnostics; connectivity has no availability of its own, so that it can say "disconnected"."""
    problem = {"p": "binary_sensor", "name": "Problem", "dev_cla": "problem", "stat_t": topics.problem}
    problem |= {"val_tpl": "{{ value_json.state }}", "json_attr_t": topics.problem}
    online = {"p": "binary_sensor", "name": "Connection", "dev_cla": "connectivity", "stat_t": topics.status}
    online |= {"pl_on": "online", "pl_off": "offline"}
    return {"problem": _diagnostic(problem), "online": _diagnostic(online) | {"avty": []}}


def _slug(text: str) -> str:
    """Lower case letters, digits and single underscores, as Home Assistant's entity ids are."""
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split()
    return "_".join(words) or "spectrophone"
