"""The signal: spectrum, lock-in and Allan deviation."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pydantic import Field

from gateway.types import iso_utc
from gateway.web import commands
from gateway.web.desk import Desk
from gateway.web.looking import Open
from gateway.web.past import chosen_node
from gateway.web.problem import Problem
from gateway.web.routes import Asked, Told, Wish

_POINT = ("time", "t_s", "in_phase", "quadrature", "sigma", "frequency_hz", "flags")


class SpectrumWish(Wish):
    """Which part of it."""

    low_hz: float = Field(0.0, ge=0)
    high_hz: float | None = Field(None, gt=0, description="the whole if absent")
    points: int = Field(1000, ge=2, le=4000)


class SpectrumTold(Told):
    """The newest spectrum: `power` is the mean square of a sine, full scale squared."""

    node: str
    time: str | None
    bin_hz: float
    frequency_hz: list[float]
    power: list[float | None]


class PointTold(Told):
    """A phasor."""

    time: str | None
    t_s: float
    in_phase: float | None
    quadrature: float | None
    sigma: float | None
    frequency_hz: float | None
    flags: list[str]


class LockInTold(Told):
    """The newest phasors."""

    node: str
    points: list[PointTold]


class AllanTold(Told):
    """As `spectrophone allan --json` prints them."""

    points: list[Open]
    summary: Open


async def spectrum(desk: Desk, asked: Asked) -> dict[str, Any]:
    """GET /spectrum/{node}."""
    node, wish = asked.path["node"], asked.query
    if node not in desk.spectra:
        known = ", ".join(desk.spectra) or "none yet"
        raise Problem(404, f"There is no spectrum of {node[:100]!r}. There are: {known}")
    tick, found = desk.spectra[node]
    first = min(len(found.power), int(np.ceil(wish.low_hz / found.bin_hz)))
    last = len(found.power) if wish.high_hz is None else int(wish.high_hz // found.bin_hz) + 1
    power = found.power[first:last]
    each = max(1, -(-len(power) // wish.points))
    starts = np.arange(0, len(power), each)
    highest = [int(start + np.argmax(power[start : start + each])) for start in starts]
    return {
        "node": node,
        "time": iso_utc(tick.utc_of(found.t_ns)),
        "bin_hz": found.bin_hz,
        "frequency_hz": [(first + index) * found.bin_hz for index in highest],
        "power": [float(power[index]) for index in highest],
    }


async def lock_in(desk: Desk, asked: Asked) -> dict[str, Any]:
    """GET /lock-in/{node}."""
    node = asked.path["node"]
    if node not in desk.points:
        known = ", ".join(desk.points) or "none yet"
        raise Problem(404, f"There is no lock_in {node[:100]!r}. There are: {known}")
    return {"node": node, "points": [{name: point[name] for name in _POINT} for point in desk.points[node]]}


async def allan(desk: Desk, asked: Asked) -> dict[str, Any]:
    """GET /allan: half a minute of work at most, in a process of its own."""
    wish, file = asked.query, desk.view.journal.file
    node = chosen_node(desk, wish.node)
    if file is None or not file.exists():
        raise Problem(409, "This box keeps no journal on its disk. Switch journal.enabled on")
    given = [("--from", wish.since), ("--to", wish.until)]
    span = [f"{option}={value}" for option, value in given if value is not None]
    async with desk.place():
        lines = await commands.run("allan", str(file), "--node", node, "--json", *span)
    *points, summary = [json.loads(line) for line in lines]
    return {"points": points, "summary": summary}
