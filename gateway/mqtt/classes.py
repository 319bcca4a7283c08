"""Which classes and units Home Assistant takes, and since when.

A class with a unit that is not its own costs the entity, and so does a class that an older Home Assistant does not
know. Each unit stands with the first version whose sensors take it with that class, as its released packages have it;
everything that was there before device discovery is of 2024.11, the oldest version that this gateway speaks to.
"""

from __future__ import annotations

from collections.abc import Mapping

Version = tuple[int, int]
"""Year and month: Home Assistant 2024.11 is (2024, 11)."""
OLDEST: Version = (2024, 11)
"""The first that takes a whole device in one message."""
_PPB: Version = (2026, 2)
_PPM: Version = (2026, 3)


def _since(version: Version, *units: str) -> dict[str, Version]:
    return dict.fromkeys(units, version)


UNITS: Mapping[str, Mapping[str, Version]] = {
    "carbon_dioxide": _since(OLDEST, "ppm"),
    "carbon_monoxide": _since(OLDEST, "ppm") | _since(_PPB, "ppb"),
    "nitrogen_monoxide": _since(_PPB, "ppb"),
    "nitrogen_dioxide": _since(_PPB, "ppb") | _since(_PPM, "ppm"),
    "ozone": _since(_PPB, "ppb") | _since(_PPM, "ppm"),
    "sulphur_dioxide": _since(_PPB, "ppb"),
    "frequency": _since(OLDEST, "Hz", "kHz", "MHz", "GHz"),
    "temperature": _since(OLDEST, "°C", "°F", "K"),
    "humidity": _since(OLDEST, "%"),
    "atmospheric_pressure": _since(OLDEST, "hPa", "Pa", "kPa"),
    "duration": _since(OLDEST, "ms", "s", "min", "h", "d"),
    "data_size": _since(OLDEST, "B", "kB", "MB", "GB"),
    "signal_strength": _since(OLDEST, "dB", "dBm"),
}
"""Of sensors and numbers, by class."""
UNITLESS = frozenset({"timestamp", "enum"})
"""Classes of sensors that have no unit."""
BINARY = frozenset({"gas", "carbon_monoxide", "problem", "connectivity", "safety"})
BUTTON = frozenset({"restart", "identify", "update"})


def version(text: str) -> Version:
    """The version that "2024.11" or "2026.2.3" names. Raises ValueError for anything else."""
    year, month, *_ = (int(part) for part in f"{text}.".rstrip(".").split("."))
    return year, month


def takes(device_class: str, unit: str | None, oldest: Version) -> bool:
    """Whether every Home Assistant since `oldest` takes a sensor of that class in that unit."""
    since = UNITS.get(device_class, {}).get(unit or "")
    return since is not None and since <= oldest
