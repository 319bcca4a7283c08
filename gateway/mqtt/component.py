"""Pieces of which entities are made. Keys are Home Assistant's abbreviations, which keep the message small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

COMMAND_EXPIRY_S = 10
"""How long a broker may keep a command of Home Assistant (2026.6 and later) for a box that is away."""
LONGEST_STATE = 255
"""Characters that Home Assistant takes as a state; a longer one is "unknown" there."""
Component = dict[str, Any]


def field(name: str) -> str:
    """The template that takes a field out of a JSON message; null and what is missing there is unknown here."""
    return f"{{{{ value_json.{name} }}}}"


def on_if(condition: str) -> str:
    """The template of a binary sensor that is on under that condition."""
    return f"{{{{ 'ON' if {condition} else 'OFF' }}}}"


def on_if_field(name: str, condition: str = "") -> str:
    """The same for a field of a JSON message, which is true where there is no condition; unknown where it is null."""
    told = condition or f"value_json.{name}"
    return f"{{{{ none if value_json.get('{name}') is none else 'ON' if {told} else 'OFF' }}}}"


def number(
    name: str,
    topic: str,
    template: str,
    unit: str | None = None,
    *,
    decimals: int | None = None,
    device_class: str | None = None,
    expire_s: int | None = None,
    counts: bool = False,
) -> Component:
    """A sensor that shows a number; `counts`: one that only rises, until a restart."""
    component: Component = {
        "p": "sensor",
        "name": name,
        "stat_t": topic,
        "val_tpl": template,
        "stat_cla": "total_increasing" if counts else "measurement",
    }
    extra = {"unit_of_meas": unit, "sug_dsp_prc": decimals, "dev_cla": device_class, "exp_aft": expire_s}
    return component | {key: value for key, value in extra.items() if value is not None}


def text(
    name: str, topic: str, template: str | None = None, *, options: Sequence[str] = (), expire_s: int | None = None
) -> Component:
    """A sensor that shows words, one of `options` if there are any."""
    component: Component = {"p": "sensor", "name": name, "stat_t": topic}
    component |= {"val_tpl": template or f"{{{{ value[:{LONGEST_STATE}] }}}}"}
    component |= {"dev_cla": "enum", "ops": list(options)} if options else {}
    return component | ({"exp_aft": expire_s} if expire_s else {})


def moment(name: str, topic: str, template: str, expire_s: int) -> Component:
    """A sensor that shows a point in time."""
    return {
        "p": "sensor",
        "name": name,
        "stat_t": topic,
        "val_tpl": template,
        "dev_cla": "timestamp",
        "exp_aft": expire_s,
    }


def binary(name: str, topic: str, device_class: str, template: str | None = None) -> Component:
    """A sensor that is on or off."""
    component: Component = {"p": "binary_sensor", "name": name, "stat_t": topic, "dev_cla": device_class}
    return component | ({"val_tpl": template} if template else {})


def commanded(topic: str) -> Component:
    """What every entity has that can be told something."""
    return {"cmd_t": topic, "msg_exp_int": COMMAND_EXPIRY_S}


def button(name: str, topic: str, told: str, device_class: str | None = None) -> Component:
    """A button that tells the box something."""
    component = {"p": "button", "name": name, "pl_prs": told, "ent_cat": "config"} | commanded(topic)
    return component | ({"dev_cla": device_class} if device_class else {})


def diagnostic(component: Component, *, shown: bool = True) -> Component:
    """The same, about the box and not about what it measures; not `shown`: somebody has to ask for it first."""
    return component | {"ent_cat": "diagnostic"} | ({} if shown else {"en": False})
