"""Entries as a customer's script gets them: the measurement and the alert of docs/actions.md.

A script's functions take plain dicts. Whatever has no field of its own in them stands in `metadata` of a measurement,
`data` of an alert, under its name in the JSON lines.
"""

from __future__ import annotations

from typing import Any

from gateway.actions.payload import payload
from gateway.journal.entry import Entry
from gateway.types import INVALIDATING

RESULTS = frozenset({"measurement", "peak", "lock_in", "level"})
"""Kinds of entry that are given to a script as a measurement."""
UNITS = {"concentration": " ppm", "frequency_deviation": " Hz", "data_timeout": " s"}
"""What stands behind the value of an alert, by its type; nothing for parts of full scale, and for custom ones."""

_MOVED = frozenset({"node", "ppm", "sigma_ppm", "valid", "frequency_hz", "amplitude", "peak"})
_MOVED_OF_ALERT = frozenset({"type", "severity", "source"})


def measurement(entry: Entry, box: str) -> dict[str, Any]:
    """The measurement of an entry whose kind is in RESULTS.

    `concentration_ppm` and `uncertainty_ppm` (one standard deviation) are None for what measures none;
    `peak_amplitude` is in full scale, `peak_frequency` in hertz, `timestamp` in whole seconds since 1970.
    """
    fields = entry.fields
    return {
        "concentration_ppm": fields.get("ppm"),
        "source_node_id": entry.subject,
        "timestamp": entry.time_ns // 1_000_000_000,
        "peak_amplitude": fields.get("amplitude", fields.get("peak")),
        "peak_frequency": fields.get("frequency_hz"),
        "uncertainty_ppm": fields.get("sigma_ppm"),
        "valid": valid(entry),
        "metadata": {name: value for name, value in payload(entry, box).items() if name not in _MOVED},
    }


def alert(entry: Entry, box: str) -> dict[str, Any]:
    """The alert of an entry of that kind. `data` has its state, raised or cleared, with value and threshold."""
    fields = entry.fields
    rest = {name: value for name, value in payload(entry, box).items() if name not in _MOVED_OF_ALERT}
    return {
        "alert_type": fields["type"],
        "severity": fields["severity"],
        "message": message(entry),
        "data": {"source_node_id": fields["source"], **rest},
        "timestamp": entry.time_ns // 1_000_000_000,
    }


def valid(entry: Entry) -> bool:
    """Whether the value of a result may be used."""
    said = entry.fields.get("valid")
    return not INVALIDATING & set(entry.fields["flags"]) if said is None else bool(said)


def message(entry: Entry) -> str:
    """What an alert says, as a sentence."""
    fields = entry.fields
    source, value, threshold = fields["source"], fields["value"], fields["threshold"]
    raised = fields["state"] == "raised"
    if value is None:
        return f"no valid value of {source} for {threshold:g} s" if raised else f"{source} has valid values again"
    unit = UNITS.get(fields["type"], "")
    limit = f"{threshold:g}{unit}"
    subject = {
        "amplitude": f"the amplitude of {source}",
        "frequency_deviation": f"the distance of {source} from the laser's frequency",
    }.get(fields["type"], source)
    side = "above" if value > threshold else "below" if value < threshold else "at"
    return f"{subject} is {value:.6g}{unit}, {side} {limit}" if raised else f"{subject} is back {side} {limit}"
