"""What is told beside the measurement, now and then: the gas's climate, the laser's temperature, how each action node
fares. Plain data for whoever shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.ports import ClimateSensor
from gateway.types import Climate

EVERY_S = 30.0
LIFE_S = 90
"""A report that is older than this is not shown: two of them are missing."""
Reports = Callable[[], Mapping[str, Mapping[str, Any]]]
"""Gives all of them by name."""
_OF_ACTION = ("state", "problem", "queue_age_s", "errors", "delivered", "refused", "dropped", "p95_ms")


def reports(
    climate: ClimateSensor | None,
    temperature_c: Callable[[], float | None] | None,
    actions: Callable[[], Sequence[Mapping[str, Any]]],
) -> Reports:
    """The reports of a box; `temperature_c` is that of the laser, where a TEC measures it."""

    def told() -> Mapping[str, Mapping[str, Any]]:
        made: dict[str, Mapping[str, Any]] = {}
        if climate is not None:
            made["climate"] = _climate(climate.newest() or Climate())
        if temperature_c is not None:
            made["tec_temperature"] = {"temperature_c": temperature_c()}
        for action in actions():
            made[f"action/{action['node']}"] = {name: action[name] for name in _OF_ACTION}
        return made

    return told


def _climate(climate: Climate) -> Mapping[str, Any]:
    return {
        "temperature_c": climate.temperature_c,
        "humidity_percent": climate.humidity_percent,
        "pressure_pa": climate.pressure_pa,
    }
