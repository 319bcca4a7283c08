"""The rules by which Home Assistant takes or refuses a device message, as far as this gateway uses them.

An unknown key outside a component, or a component without a unique id, costs the whole device; a class with a
unit that is not its own, or a sensor in the category "config", costs the entity; Home Assistant tells nobody
but its log. The tables hold what every Home Assistant since 2024.11 takes, except `msg_exp_int`, which older
ones ignore in a component.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOP = _words("dev o cmps avty avty_mode stat_t cmd_t qos e")
_DEVICE = _words("ids cns name mf mdl mdl_id hw sw sn sa cu")
_ORIGIN = _words("name sw url")
_ANY = _words("p name uniq_id def_ent_id stat_t val_tpl ent_cat ic en avty avty_mode qos json_attr_t")
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
_UNITS: dict[str, tuple[str, ...]] = {
    "carbon_dioxide": ("ppm",),
    "carbon_monoxide": ("ppm",),
    "frequency": ("Hz", "kHz", "MHz", "GHz"),
    "temperature": ("°C", "°F", "K"),
    "humidity": ("%",),
    "atmospheric_pressure": ("hPa", "Pa", "kPa"),
}
_BINARY = _words("gas carbon_monoxide problem connectivity safety")
_CATEGORIES = {"sensor": ("diagnostic",), "binary_sensor": ("diagnostic",), "event": ("diagnostic",)}
_ENTITY = re.compile(r"[a-z_]+\.[a-z0-9]+(_[a-z0-9]+)*")


def lint(payload: Mapping[str, Any]) -> list[str]:
    """What Home Assistant would refuse or complain of in a device message; nothing if it is clean."""
    faults = [f"top: unknown key {key}" for key in payload.keys() - _TOP]
    faults += [f"top: {key} is missing" for key in ("dev", "o", "cmps") if not payload.get(key)]
    device, origin, components = (payload.get(key) or {} for key in ("dev", "o", "cmps"))
    faults += [f"dev: unknown key {key}" for key in device.keys() - _DEVICE]
    faults += [f"o: unknown key {key}" for key in origin.keys() - _ORIGIN]
    if not device.get("ids"):
        faults.append("dev: ids is missing")
    faults += [f"{part}: name is missing" for part, body in (("dev", device), ("o", origin)) if not body.get("name")]
    faults += _availability("top", payload)
    for key, component in components.items():
        faults += [f"{key}: {fault}" for fault in _component(component)]
    ids = [component.get("uniq_id") for component in components.values()]
    return faults + [
        f"unique id {i} is used {ids.count(i)} times" for i in sorted({i for i in ids if i and ids.count(i) > 1})
    ]


def _component(c: Mapping[str, Any]) -> Iterator[str]:
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
    yield from _class(platform, c)


def _class(platform: str, c: Mapping[str, Any]) -> Iterator[str]:
    kind, unit = c.get("dev_cla"), c.get("unit_of_meas")
    if platform in ("sensor", "number") and kind is not None:
        if kind not in _UNITS:
            yield f"{kind} is no class for a {platform}"
        elif unit not in _UNITS[kind]:
            yield f"{kind} in {unit}; only {', '.join(_UNITS[kind])}"
    if platform == "binary_sensor" and kind is not None and kind not in _BINARY:
        yield f"{kind} is no class for a binary_sensor"
    if c.get("stat_cla") not in (None, "measurement", "total", "total_increasing"):
        yield f"{c['stat_cla']} is no state class"


def _availability(place: str, body: Mapping[str, Any]) -> list[str]:
    """The list form only: the other spelling beside it costs the component."""
    listed = body.get("avty", [])
    if not isinstance(listed, list) or not all(isinstance(a, dict) and a.get("t") for a in listed):
        return [f"{place}: avty is not a list of topics"]
    return []
