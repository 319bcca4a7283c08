"""The rules by which Home Assistant takes or refuses a device message, as far as this gateway uses them.

An unknown key outside a component, or a component without a unique id, costs the whole device; a class with a unit that
is not its own, or a sensor in the category "config", costs the entity; Home Assistant tells nobody but its log. So the
message is looked at before it is sent, with the rules of the oldest version that is to take it: what would cost the
device is taken out, and so is a component that would be refused.

The tables hold what every Home Assistant since 2024.11 takes, except `msg_exp_int` and `def_ent_id`, which older ones
ignore in a component.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.mqtt.classes import BINARY, BUTTON, OLDEST, UNITLESS, UNITS, Version, takes


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOP = _words("dev o cmps avty avty_mode stat_t cmd_t qos e")
_PARTS = {"dev": _words("ids cns name mf mdl mdl_id hw sw sn sa cu"), "o": _words("name sw url")}
_ANY = _words("p name uniq_id def_ent_id stat_t val_tpl ent_cat ic en avty avty_mode qos json_attr_t json_attr_tpl")
_COMMAND = _words("cmd_t msg_exp_int ret opt")
_KEYS = {
    "sensor": _ANY | _words("dev_cla unit_of_meas stat_cla sug_dsp_prc exp_aft ops"),
    "binary_sensor": _ANY | _words("dev_cla pl_on pl_off exp_aft"),
    "switch": _ANY | _COMMAND | _words("dev_cla pl_on pl_off"),
    "light": _ANY | _COMMAND | _words("schema sup_clrm effect fx_list flsh trns brightness"),
    "number": _ANY | _COMMAND | _words("dev_cla min max step mode unit_of_meas"),
    "event": _ANY | _words("dev_cla evt_typ"),
    "button": _ANY - _words("stat_t val_tpl") | _COMMAND | _words("dev_cla pl_prs"),
}
_NEEDS = {
    "sensor": ("stat_t",),
    "binary_sensor": ("stat_t",),
    "switch": ("cmd_t", "stat_t"),
    "light": ("cmd_t", "stat_t"),
    "number": ("cmd_t", "stat_t", "min", "max"),
    "event": ("stat_t", "evt_typ"),
    "button": ("cmd_t",),
}
_CATEGORIES = {"sensor": ("diagnostic",), "binary_sensor": ("diagnostic",), "event": ("diagnostic",)}
_ENTITY = re.compile(r"[a-z_]+\.[a-z0-9]+(_[a-z0-9]+)*")
_SMALLEST_STEP = 1e-3


def lint(payload: Mapping[str, Any], oldest: Version = OLDEST) -> list[str]:
    """What a Home Assistant of the version `oldest` would refuse or complain of in a device message; nothing if it is
    clean.
    """
    faults = [*_device(payload)]
    for key, component in payload.get("cmps", {}).items():
        faults += [f"{key}: {fault}" for fault in _component(component, oldest)]
    return faults + [f"unique id {name} is used twice" for name in _twice(payload.get("cmps", {}))]


def mend(payload: Mapping[str, Any], oldest: Version = OLDEST) -> tuple[dict[str, Any], list[str]]:
    """The message without what would be refused, and what that was, in words."""
    faults = lint(payload, oldest)
    if not faults:
        return {**payload}, []
    mended = {key: value for key, value in payload.items() if key in _TOP}
    for part, known in _PARTS.items():
        mended[part] = {key: value for key, value in payload.get(part, {}).items() if key in known}
    seen: set[str] = set()
    mended["cmps"] = {}
    for key, component in payload.get("cmps", {}).items():
        if not [*_component(component, oldest)] and component["uniq_id"] not in seen:
            seen.add(component["uniq_id"])
            mended["cmps"][key] = component
    return mended, faults


def _device(payload: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong outside the components."""
    yield from (f"top: unknown key {key}" for key in sorted(payload.keys() - _TOP))
    yield from (f"top: {key} is missing" for key in ("dev", "o", "cmps") if not payload.get(key))
    for part, known in _PARTS.items():
        body = payload.get(part) or {}
        yield from (f"{part}: unknown key {key}" for key in sorted(body.keys() - known))
        if not body.get("name"):
            yield f"{part}: name is missing"
    if not (payload.get("dev") or {}).get("ids"):
        yield "dev: ids is missing"
    yield from _availability("top", payload)


def _twice(components: Mapping[str, Mapping[str, Any]]) -> list[str]:
    ids = [component["uniq_id"] for component in components.values() if component.get("uniq_id")]
    return sorted({name for name in ids if ids.count(name) > 1})


def _component(c: Mapping[str, Any], oldest: Version) -> Iterator[str]:
    platform = c.get("p")
    if platform not in _KEYS:
        yield f"platform {platform} is not one of {', '.join(_KEYS)}"
        return
    yield from (f"unknown key {key}" for key in sorted(c.keys() - _KEYS[platform]))
    yield from (
        f"{key} is missing" for key in ("uniq_id", "name", "def_ent_id", *_NEEDS[platform]) if c.get(key) in (None, "")
    )
    entity = str(c.get("def_ent_id", ""))
    if not _ENTITY.fullmatch(entity) or not entity.startswith(f"{platform}."):
        yield f"{entity} is not an entity id of the domain {platform}"
    category = c.get("ent_cat")
    if category is not None and category not in _CATEGORIES.get(platform, ("diagnostic", "config")):
        yield f"the category of a {platform} cannot be {category}"
    yield from (f"{key}: topic with a wildcard" for key in ("stat_t", "cmd_t") if set("+#") & set(str(c.get(key, ""))))
    yield from _availability("component", c)
    yield from _class(platform, c, oldest)
    yield from _number(c)


def _class(platform: str, c: Mapping[str, Any], oldest: Version) -> Iterator[str]:
    kind, unit = str(c.get("dev_cla", "")), c.get("unit_of_meas")
    if platform in ("sensor", "number") and kind in UNITS and not takes(kind, unit, oldest):
        known = [known for known in UNITS[kind] if takes(kind, known, oldest)]
        yield f"{kind} in {unit}; only {', '.join(known) or 'later versions take it'}"
    elif platform == "sensor" and kind in UNITLESS:
        yield from (f"{kind} has no {key}" for key in ("unit_of_meas", "stat_cla", "sug_dsp_prc") if key in c)
        if (kind == "enum") != bool(c.get("ops")):
            yield "ops go with an enum"
    elif platform in ("sensor", "number") and kind and kind not in UNITS:
        yield f"{kind} is no class for a {platform}"
    if platform == "binary_sensor" and kind and kind not in BINARY:
        yield f"{kind} is no class for a binary_sensor"
    if platform == "button" and kind and kind not in BUTTON:
        yield f"{kind} is no class for a button"
    if c.get("stat_cla") not in (None, "measurement", "total", "total_increasing"):
        yield f"{c['stat_cla']} is no state class"


def _number(c: Mapping[str, Any]) -> Iterator[str]:
    if "min" in c and "max" in c and not c["min"] < c["max"]:
        yield f"min {c['min']} is not below max {c['max']}"
    if c.get("step", 1.0) < _SMALLEST_STEP:
        yield f"a step of {c['step']} is too small"


def _availability(place: str, body: Mapping[str, Any]) -> list[str]:
    """The list form only: the other spelling beside it costs the component."""
    listed = body.get("avty", [])
    if not isinstance(listed, list) or not all(isinstance(a, dict) and a.get("t") for a in listed):
        return [f"{place}: avty is not a list of topics"]
    return []
