"""The box, announced to Home Assistant: one retained message that describes the device and all its entities.

Home Assistant refuses the whole device for one unknown key outside a component, and a component for a unit that does
not belong to its class; lint.py holds those rules. Keys are Home Assistant's abbreviations (the message of a box with
sixty entities stays under 20 kB). Unique ids never change; names are always set.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.mqtt.classes import OLDEST, Version
from gateway.mqtt.controls import told
from gateway.mqtt.entities import measured
from gateway.mqtt.face import Face
from gateway.mqtt.topics import Topics
from gateway.mqtt.vitals import vitals


def topic(prefix: str, face: Face) -> str:
    """Where the message goes."""
    return f"{prefix}/device/{device_id(face)}/config"


def device_id(face: Face) -> str:
    """The identifier of the box in Home Assistant, and the head of every unique id."""
    return f"spectrophone_{face.box}"


def payload(
    face: Face,
    topics: Topics,
    expire_s: int,
    oldest: Version = OLDEST,
    decimals: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Any]:
    """The message, for Home Assistants since the version `oldest`; values expire after `expire_s`, and `decimals` are
    those of the gases whose uncertainty is known, by node.
    """
    components = measured(face, topics, expire_s, oldest, decimals) | told(face, topics) | vitals(face, topics)
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


def _slug(text: str) -> str:
    """Lower case letters, digits and single underscores, as Home Assistant's entity ids are."""
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split()
    return "_".join(words) or "spectrophone"
