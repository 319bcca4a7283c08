"""What the box can be told, as entities: switches, lights, numbers, buttons, each with the state that is read back.

The laser's switch is available only while the interlock would light it; a switch whose hardware does not say "on" or
"off" is unknown, and a problem beside it says so.
"""

from __future__ import annotations

import json

from gateway.mqtt.component import (
    Component,
    binary,
    button,
    commanded,
    diagnostic,
    field,
    number,
    on_if,
    text,
)
from gateway.mqtt.face import Face, OutputFace, Span
from gateway.mqtt.topics import Topics
from gateway.reports import LIFE_S

_SWITCHED = "{{ value if value in ('ON', 'OFF') else 'None' }}"
_REGULATED = on_if("value in ('settling', 'stable')")
_SAFE_MODE = "{{ 'safe_mode' if value == 'safe mode' else 'normal' }}"
_ANYTHING = Span(-1_000_000.0, 1_000_000.0, 0.001, "")
_NAMES = {"cell": "Simulated gas", "span_gas": "Span gas"}
_BUTTONS = (
    ("actions", "reset", "Reset actions", None),
    ("calibration", "cancel", "Cancel calibration", None),
    ("sweep", "sweep", "Sweep", None),
    ("sweep", "cancel", "Cancel sweep", None),
    ("gateway", "restart", "Restart", "restart"),
    ("identify", "identify", "Identify", "identify"),
)
"""Target, what it is told, and the button's name and class."""
_ICONS = {"calibration": "mdi:tune-vertical", "sweep": "mdi:sine-wave", "actions": "mdi:send"}


def told(face: Face, topics: Topics) -> dict[str, Component]:
    """Entities of all outputs."""
    components: dict[str, Component] = {}
    for output in face.outputs:
        match output.kind:
            case "procedure":
                components |= _procedure(face, output, topics)
            case "number":
                components |= _number(output, topics)
            case "light":
                components |= _light(output, topics)
            case "regulator":
                components |= _regulator(output, topics)
            case "switch":
                components |= _switch(output, topics)
            case "reading":
                components[_key(output)] = diagnostic(text(_label(output), topics.state(output.target)))
    return components


def _key(output: OutputFace) -> str:
    return output.target.replace("/", "_")


def _label(output: OutputFace) -> str:
    return output.target.replace("/", " ").capitalize()


def _switch(output: OutputFace, topics: Topics) -> dict[str, Component]:
    key, label, state = _key(output), _label(output), topics.state(output.target)
    switch: Component = {"p": "switch", "name": label, "stat_t": state, "val_tpl": _SWITCHED}
    switch |= commanded(topics.command(output.target))
    if output.target == "laser":
        ready = [{"t": topics.status}, {"t": topics.laser_ready}]
        switch |= {"ic": "mdi:laser-pointer", "avty": ready, "avty_mode": "all"}
        words = text("Laser state", topics.laser_state, field("state"), options=["dark", "waiting", "lit", "tripped"])
        why = {"json_attr_t": topics.laser_state, "json_attr_tpl": "{{ {'why': value_json.why} | tojson }}"}
        return {key: switch, "laser_state": diagnostic(words | why)}
    switch["ic"] = "mdi:electric-switch"
    if not output.target.startswith("relay/"):
        return {key: switch}
    return {
        key: switch,
        f"{key}_fault": diagnostic(binary(f"{label} fault", state, "problem", on_if("value not in ('ON', 'OFF')"))),
    }


def _regulator(output: OutputFace, topics: Topics) -> dict[str, Component]:
    """The TEC: switched on and off, and with four states of its own."""
    state = topics.state(output.target)
    switch: Component = {
        "p": "switch",
        "name": "Laser TEC",
        "stat_t": state,
        "val_tpl": _REGULATED,
        "ic": "mdi:snowflake",
    }
    words = text("Laser TEC state", state, "{{ value }}", options=["off", "settling", "stable", "fault"])
    place = topics.tec_temperature
    warmth = number("Laser temperature", place, field("temperature_c"), "°C", decimals=2, expire_s=LIFE_S)
    return {
        "tec": switch | commanded(topics.command(output.target)),
        "tec_state": diagnostic(words),
        "tec_temperature": diagnostic(warmth | {"dev_cla": "temperature"}),
    }


def _number(output: OutputFace, topics: Topics) -> dict[str, Component]:
    place, _, name = output.target.partition("/")
    label = {"threshold": f"Threshold {name}", "integration": f"Integration time {name}"}.get(place, _label(output))
    span = output.span or _ANYTHING
    component: Component = {"p": "number", "name": _NAMES.get(place, label), "stat_t": topics.state(output.target)}
    component |= {"min": span.least, "max": span.most, "step": span.step, "mode": "box", "ent_cat": "config"}
    component |= {"unit_of_meas": span.unit} if span.unit else {}
    return {_key(output): component | commanded(topics.command(output.target))}


def _light(output: OutputFace, topics: Topics) -> dict[str, Component]:
    effects = [verb for verb in output.verbs if verb not in ("on", "off")]
    light: Component = {"p": "light", "name": f"LED {output.target.removeprefix('led/')}", "schema": "json"}
    light |= {"stat_t": topics.state(output.target), "sup_clrm": ["onoff"], "flsh": False, "trns": False}
    light |= {"effect": bool(effects), "fx_list": effects}
    return {_key(output): light | commanded(topics.command(output.target))}


def _procedure(face: Face, output: OutputFace, topics: Topics) -> dict[str, Component]:
    """Calibration, sweep, actions and the gateway itself: how they are, and buttons for what needs no number."""
    key, place = output.target, topics.command(output.target)
    components: dict[str, Component] = {}
    if key in _ICONS:
        components[key] = diagnostic(text(key.capitalize(), topics.state(key)) | {"ic": _ICONS[key]})
    for target, verb, name, kind in _BUTTONS:
        if target == key and verb in output.verbs:
            components[f"{key}_{verb}"] = button(name, place, verb, kind)
    for verb in ("zero", "span"):
        if verb in output.verbs and (verb == "zero" or face.output("span_gas") is not None):
            components |= _gas_buttons(face, verb, key, place)
    if "safe_mode" in output.verbs:
        switch = {"p": "switch", "name": "Safe mode", "stat_t": topics.state(key), "val_tpl": _SAFE_MODE}
        switch |= {"pl_on": "safe_mode", "pl_off": "normal", "ent_cat": "config", "ic": "mdi:shield-half-full"}
        components["safe_mode"] = switch | commanded(place)
    return components


def _gas_buttons(face: Face, verb: str, key: str, place: str) -> dict[str, Component]:
    """A button for each gas that can be calibrated: those of a lock_in."""
    locked = {signal.node for signal in face.signals if signal.kind == "lock_in"}
    alone = len(face.gases) == 1
    return {
        f"{key}_{verb}_{node}": button(
            f"Calibrate {verb}" if alone else f"Calibrate {verb} {node}",
            place,
            verb if alone else json.dumps({"do": verb, "node": node}),
        )
        for node in [gas.node for gas in face.gases if gas.source in locked]
    }
