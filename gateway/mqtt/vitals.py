"""How the box fares, as entities: connection, problem, health, and each action node.

What changes with every message and is for people who look for a fault is disabled at first; Home Assistant offers it on
the device's page.
"""

from __future__ import annotations

from gateway.health import LIVES_S
from gateway.mqtt.component import Component, binary, diagnostic, field, moment, number, on_if_field, text
from gateway.mqtt.face import Face
from gateway.mqtt.topics import Topics
from gateway.reports import LIFE_S

_STATES = ("idle", "ok", "waiting", "stopped")
"""Of an action node."""


def vitals(face: Face, topics: Topics) -> dict[str, Component]:
    """Entities of all that."""
    problem = binary("Problem", topics.problem, "problem", field("state")) | {"json_attr_t": topics.problem}
    online = binary("Connection", topics.status, "connectivity") | {"pl_on": "online", "pl_off": "offline"}
    online["avty"] = []  # it can say "disconnected"
    components = {"problem": diagnostic(problem), "online": diagnostic(online)}
    for node in face.actions:
        components |= _action(node, topics)
    return components | _health(topics)


def _action(node: str, topics: Topics) -> dict[str, Component]:
    place, key = topics.action(node), f"action_{node}"
    state = text(f"Action {node}", place, field("state"), options=_STATES, expire_s=LIFE_S)
    state |= {"json_attr_t": place, "json_attr_tpl": "{{ {'problem': value_json.problem} | tojson }}"}
    slow = number(f"Action {node} duration", place, field("p95_ms"), "ms", device_class="duration", expire_s=LIFE_S)
    age = number(f"Action {node} queue age", place, field("queue_age_s"), "s", device_class="duration", expire_s=LIFE_S)
    errors = number(f"Action {node} errors", place, field("errors"), counts=True, expire_s=LIFE_S)
    return {
        key: diagnostic(state | {"ic": "mdi:send"}),
        f"{key}_p95": diagnostic(slow | {"sug_dsp_prc": 1}, shown=False),
        f"{key}_queue_age": diagnostic(age | {"sug_dsp_prc": 0}, shown=False),
        f"{key}_errors": diagnostic(errors | {"ic": "mdi:alert-circle-outline"}, shown=False),
    }


def _health(topics: Topics) -> dict[str, Component]:
    """The fields of gateway/health.py."""
    numbers = (
        ("memory", "Memory", "memory_percent", "%", None, 0, True),
        ("cpu_temperature", "CPU temperature", "cpu_temperature_c", "°C", "temperature", 1, True),
        ("disk_free", "Disk free", "disk_free_mb", "MB", "data_size", 0, True),
        ("wifi", "Wi-Fi signal", "wifi_dbm", "dBm", "signal_strength", 0, False),
        ("load", "Load", "load", None, None, 2, False),
        ("queue_depth", "Queue", "queue_depth", None, None, 0, True),
        ("queue_age", "Queue age", "queue_age_s", "s", "duration", 0, True),
    )
    counts = (
        ("overruns", "Overruns", "overruns", True),
        ("lost_frames", "Lost frames", "lost_frames", False),
        ("reconnects", "MQTT reconnects", "reconnects", False),
    )
    place, life = topics.health, LIVES_S
    components = {
        key: diagnostic(
            number(name, place, field(name_of), unit, decimals=places, device_class=kind, expire_s=life), shown=shown
        )
        for key, name, name_of, unit, kind, places, shown in numbers
    }
    for key, name, name_of, shown in counts:
        components[key] = diagnostic(number(name, place, field(name_of), counts=True, expire_s=life), shown=shown)
    throttled = binary("Throttled", place, "problem", on_if_field("throttled")) | {"exp_aft": life}
    why = {"json_attr_t": place, "json_attr_tpl": "{{ {'reasons': value_json.throttled} | tojson }}"}
    clock = binary(
        "Clock", place, "problem", on_if_field("clock_synchronised", "not value_json.clock_synchronised")
    ) | {"exp_aft": life}
    worn = binary("Disk read-only", place, "problem", on_if_field("disk_read_only")) | {"exp_aft": life}
    reason = text("Boot reason", place, field("boot_reason"), expire_s=life)
    return components | {
        "throttled": diagnostic(throttled | why),
        "clock": diagnostic(clock),
        "disk_read_only": diagnostic(worn),
        "boot_time": diagnostic(moment("Last boot", place, field("boot_time"), life)),
        "boot_reason": diagnostic(reason, shown=False),
        "last_calibration": diagnostic(moment("Last calibration", place, field("last_calibration"), life)),
    }
