"""The gateway that runs here, and how it fares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.doctor.finding import Said, missing, needless, ok, warning
from gateway.doctor.place import UNIT, Place
from gateway.status import STALE_S


def gateway(place: Place) -> Said:
    """What it tells of itself."""
    if place.gateway is None:
        if place.unit.get("ActiveState") == "failed":
            return missing(f"{UNIT} has failed", f"Read why: journalctl -u {UNIT} -n 50")
        if place.holder:
            return warning(f"{place.holder} does not show its status to this user", "Run doctor as root")
        return needless("none runs here now")
    status = place.gateway
    about = f"{status['box']} on {status['board']}, process {status['pid']}"
    if status["age_s"] > STALE_S:
        return missing(f"{about}, hangs: nothing new for {status['age_s']:.0f} s", f"Run: systemctl restart {UNIT}")
    if troubles := list(_troubles(status)):
        return warning(f"{about}: {'; '.join(troubles)}", "spectrophone status --watch shows more")
    return ok(f"{about}, {status['blocks']} blocks, laser {status['laser']}")


def _troubles(status: Mapping[str, Any]) -> Iterator[str]:
    """What does not go well, each in words."""
    if why := status.get("safe_mode"):
        yield f"in safe mode: {why}"
    if why := status.get("laser_dark_because"):
        yield f"the laser is {status['laser']}: {why}"
    if status.get("mqtt") not in ("connected", "not configured"):
        yield str(status.get("mqtt"))
    if problem := status.get("journal", {}).get("problem"):
        yield f"journal: {problem}"
    if problem := status.get("modbus", {}).get("problem"):
        yield str(problem)
    yield from (f"{each['node']}: {each['problem']}" for each in status.get("actions", ()) if each["problem"])
    for result in status.get("results", ()):
        if result["kind"] == "measurement" and not result["valid"]:
            yield f"{result['node']} is not valid ({', '.join(result['flags'])})"
