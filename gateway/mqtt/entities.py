"""What the box measures, as entities: concentrations, signals, resonance, climate, alarms.

A class is given only with a unit that Home Assistant takes with it (classes.py): CO2 and CO in ppm have one, methane,
ammonia and the others have none in any version, and are named instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.mqtt.classes import Version, takes
from gateway.mqtt.component import Component, binary, diagnostic, field, number, text
from gateway.mqtt.face import Face, GasFace, SignalFace
from gateway.mqtt.topics import Topics
from gateway.reports import LIFE_S


@dataclass(frozen=True, slots=True)
class Species:
    """How a gas is shown: its name, its class in Home Assistant if it has one, and decimals of a ppm value whose
    uncertainty nobody knows yet.
    """

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
    "no": Species("NO", "nitrogen_monoxide", 2),
    "no2": Species("NO2", "nitrogen_dioxide", 2),
    "o3": Species("Ozone", "ozone", 3),
    "so2": Species("SO2", "sulphur_dioxide", 2),
}
_QUALITY = "{{ ((value_json.flags or ['ok' if value_json.valid else 'not valid']) | join(', '))[:255] }}"
_HPA = "{{ value_json.pressure_pa / 100 if value_json.pressure_pa is number else none }}"


def decimals_without(gas: str, unit: str) -> int:
    """Decimals of the gas of that name as long as nobody knows its uncertainty."""
    known = _SPECIES.get(gas)
    if unit == "ppb":
        return 0
    return known.decimals if known and unit == "ppm" else 2


def measured(
    face: Face, topics: Topics, expire_s: int, oldest: Version, decimals: Mapping[str, int]
) -> dict[str, Component]:
    """Entities of all that is measured; `decimals` of the gases whose uncertainty is known."""
    components: dict[str, Component] = {}
    for gas in face.gases:
        places = decimals.get(gas.node, decimals_without(face.gas, gas.unit))
        components |= _gas(face, gas, topics, expire_s, oldest, places)
    for signal in face.signals:
        components |= _signal(face, signal, topics, expire_s)
    return components | (_climate(topics) if face.climate else {}) | _alarms(face, topics)


def _gas(face: Face, gas: GasFace, topics: Topics, expire_s: int, oldest: Version, places: int) -> dict[str, Component]:
    species = _SPECIES.get(face.gas, Species(face.gas.upper(), None, 2))
    label = species.label if len(face.gases) == 1 else f"{species.label} {gas.node}"
    topic, key, unit = topics.measurement(gas.node), f"gas_{gas.node}", gas.unit
    value = number(label, topic, field("value"), unit, decimals=places, expire_s=expire_s)
    known = species.device_class is not None and takes(species.device_class, unit, oldest)
    value |= {"dev_cla": species.device_class} if known else {"ic": "mdi:molecule"}
    sigma = number(f"{label} uncertainty", topic, field("sigma"), unit, decimals=places + 2, expire_s=expire_s)
    quality = text(f"{label} quality", topic, _QUALITY, expire_s=expire_s) | {"ic": "mdi:check-decagram-outline"}
    components = {key: value, f"{key}_sigma": diagnostic(sigma), f"{key}_quality": diagnostic(quality)}
    if gas.follows:
        place = topics.resonance(f"{gas.node}_resonance")
        head = "" if len(face.gases) == 1 else f" {gas.node}"
        tone = number(f"Resonance{head}", place, field("f0_hz"), "Hz", decimals=2, expire_s=expire_s)
        off = number(f"Detuning{head}", place, field("detuning"), decimals=3, expire_s=expire_s)
        components[f"{key}_resonance"] = diagnostic(tone | {"dev_cla": "frequency"})
        components[f"{key}_detuning"] = diagnostic(off, shown=False)
    return components


def _signal(face: Face, signal: SignalFace, topics: Topics, expire_s: int) -> dict[str, Component]:
    place, key = topics.signal(signal.node), f"signal_{signal.node}"
    head = "" if len(face.signals) == 1 else f" {signal.node}"
    amplitude = number(f"Signal{head}", place, field("amplitude"), "FS", decimals=6, expire_s=expire_s)
    snr = number(f"Signal-to-noise ratio{head}", place, field("snr_db"), "dB", decimals=1, expire_s=expire_s)
    tone = number(f"Frequency{head}", place, field("frequency_hz"), "Hz", decimals=2, expire_s=expire_s)
    components = {key: amplitude, f"{key}_snr": diagnostic(snr)}
    components[f"{key}_frequency"] = diagnostic(tone | {"dev_cla": "frequency"}, shown=signal.kind == "peak")
    return components


def _climate(topics: Topics) -> dict[str, Component]:
    """Temperature, humidity and pressure of the gas."""
    told = (
        ("temperature", "Gas temperature", field("temperature_c"), "°C", "temperature", 2),
        ("humidity", "Gas humidity", field("humidity_percent"), "%", "humidity", 1),
        ("pressure", "Gas pressure", _HPA, "hPa", "atmospheric_pressure", 1),
    )
    return {
        f"climate_{key}": diagnostic(
            number(name, topics.climate, template, unit, decimals=places, device_class=kind, expire_s=LIFE_S)
        )
        for key, name, template, unit, kind, places in told
    }


def _alarms(face: Face, topics: Topics) -> dict[str, Component]:
    """Each alarm as a state, and all of them as one event, which Home Assistant never takes from before its start."""
    components = {
        f"alarm_{rule.name}": binary(
            f"Alarm {rule.name}", topics.alarm_state(rule.name), "gas" if rule.type == "concentration" else "problem"
        )
        for rule in face.rules
    }
    if face.rules or face.actions:
        components["alarm"] = {
            "p": "event",
            "name": "Alarm",
            "evt_typ": ["raised", "cleared", "told"],
            "stat_t": topics.alarm,
            "ic": "mdi:alarm-light",
        }
    return components
