"""Calibrating: zero, span and sweep as jobs, and what came of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from gateway import calibration
from gateway.calibrating import GasLine, session
from gateway.dsp.resonance import Resonance
from gateway.errors import SpectrophoneError
from gateway.web.desk import Desk
from gateway.web.looking import Open
from gateway.web.problem import Problem
from gateway.web.routes import Asked, Told, Wish
from gateway.web.telling import told

_CURVE = 121


class CalibrationWish(Wish):
    """Which gas is in the cell, and over which line."""

    kind: Literal["zero", "span"]
    ppm: float | None = Field(None, gt=0, le=1_000_000, description="of span gas; that of span_gas if absent")
    sigma_ppm: float | None = Field(None, ge=0, le=1_000_000, description="its standard uncertainty")
    seconds: float | None = Field(None, gt=0, le=86_400, description="how long, in place of until it suffices")
    node: str | None = Field(None, max_length=200, description="the concentration node; the only one if absent")
    new: bool = Field(False, description="begin a new session: earlier points no longer count")


class SweepWish(Wish):
    """Nothing is to be said of a sweep."""


class JobTold(Told):
    """A procedure, and how far it is."""

    name: str = Field(description="calibration or sweep")
    state: Literal["idle", "running", "done", "failed"]
    progress: float = Field(description="0 to 1")
    text: str


class SweepTold(Open):
    """The last sweep that found a resonance: docs/api.md."""

    f0_hz: float
    q: float
    good: bool
    points: list[Open]
    fit: Open | None


class CalibrationsTold(Told):
    """The calibrations of a node."""

    node: str
    file: str
    current: Open | None
    versions: list[str]
    points: list[Open]
    problem: str = Field(description="what is wrong with the files; empty if nothing")


async def calibrate(desk: Desk, asked: Asked) -> dict[str, Any]:
    """POST /calibrations."""
    wish = asked.body
    given = {name: value for name, value in wish.model_dump(exclude={"kind"}).items() if value not in (None, False)}
    if wish.kind == "zero" and "ppm" in given:
        raise Problem(422, "Zero gas has no ppm. Leave it out, or take a span")
    return await _tell(desk, asked, "calibration", wish.kind, given)


async def sweep(desk: Desk, asked: Asked) -> dict[str, Any]:
    """POST /sweeps."""
    return await _tell(desk, asked, "sweep", "sweep", {})


async def jobs(desk: Desk, asked: Asked) -> list[dict[str, Any]]:
    """GET /jobs."""
    desk.state()
    return [asdict(each) for each in desk.jobs()]


async def cancel(desk: Desk, asked: Asked) -> dict[str, Any]:
    """DELETE /jobs/{name}."""
    return await _tell(desk, asked, asked.path["name"], "cancel", {})


async def _tell(desk: Desk, asked: Asked, target: str, verb: str, args: dict[str, Any]) -> dict[str, Any]:
    face = desk.view.face().output(target)
    if face is None or verb not in face.verbs:
        raise Problem(404, f"This box has no {target[:100]!r} that could be told so. GET /box lists what it has")
    return await told(desk, asked, face, verb, args)


async def swept(desk: Desk, asked: Asked) -> dict[str, Any]:
    """GET /sweep."""
    file = desk.view.state / f"{desk.view.face().box}.sweep.json"
    return await desk.aside(_swept, file)


def _swept(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise Problem(404, "No sweep has found a resonance yet. Begin one with POST /sweeps") from None
    except (OSError, ValueError) as error:
        raise SpectrophoneError(f"{file} cannot be read ({type(error).__name__})", "Sweep again") from None
    return {**found, "fit": _fit(found) if "peak" in found else None}


def _fit(found: dict[str, Any]) -> dict[str, Any]:
    """The fitted curve, for a chart."""
    background = found["background"]
    curve = Resonance(
        f0_hz=found["f0_hz"],
        sigma_f0_hz=found["sigma_f0_hz"],
        q=found["q"],
        sigma_q=found["sigma_q"],
        peak=complex(*found["peak"]),
        background=complex(*background) if background else None,
        sigma_background=found["sigma_background"] or 0.0,
        chi2=found["chi2"],
        dof=found["dof"],
        p_value=found["p_value"],
        scale=1.0,
    )
    hertz = [point["frequency_hz"] for point in found["points"]]
    grid = np.linspace(min(hertz), max(hertz), _CURVE)
    phasors = curve.at(grid)
    return {
        "frequency_hz": grid.tolist(),
        "amplitude": np.abs(phasors).tolist(),
        "phase_deg": np.degrees(np.angle(phasors)).tolist(),
    }


async def calibrations(desk: Desk, asked: Asked) -> list[dict[str, Any]]:
    """GET /calibrations."""
    return await desk.aside(lambda: [_of(line) for line in desk.view.gas_lines()])


def _of(line: GasLine) -> dict[str, Any]:
    directory = Path("calibration") if line.file is None else line.file.parent
    file = line.file or calibration.current(directory, line.node)
    current, points, problem = None, [], ""
    try:
        if file.exists():
            current = calibration.load(file).model_dump(mode="json", by_alias=True)
        points = [reading.model_dump(mode="json") for reading in session(directory, line.node).readings]
    except (SpectrophoneError, OSError) as error:
        problem = str(error)
    versions = [version.name for version in calibration.history(directory, line.node)]
    return {
        "node": line.node,
        "file": str(file),
        "current": current,
        "versions": versions,
        "points": points,
        "problem": problem,
    }
