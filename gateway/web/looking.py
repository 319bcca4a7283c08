"""Looking: the box, its state, its live stream."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import ConfigDict, Field

from gateway.metrics import exposition
from gateway.mqtt.face import OutputFace
from gateway.web.desk import Desk
from gateway.web.problem import Problem
from gateway.web.routes import Asked, Told
from gateway.web.stream import MOST


class GasTold(Told):
    """A concentration node."""

    node: str
    name: str = Field(description="the gas")
    unit: str
    source: str = Field(description="the node whose signal it reads")
    follows: bool = Field(description="whether it says where the resonance is, as NODE_resonance")


class SignalTold(Told):
    """A node that finds the tone, or that has shown a spectrum."""

    node: str
    kind: str = Field(description="lock_in, peak or spectrum")


class OutputTold(Told):
    """What can be told. low, high, step and unit are there where it takes a number."""

    target: str
    kind: str = Field(description="switch, light, number, procedure, regulator or reading")
    verbs: list[str]
    low: float | None
    high: float | None
    step: float | None
    unit: str | None


class RuleTold(Told):
    """An alarm."""

    rule: str
    type: str


class BoxTold(Told):
    """What the box is and has."""

    box: str
    name: str
    version: str
    board: str
    simulated: bool
    gases: list[GasTold]
    signals: list[SignalTold]
    outputs: list[OutputTold]
    rules: list[RuleTold]
    actions: list[str]
    climate: bool = Field(description="whether temperature, humidity and pressure may be known")


class Open(Told):
    """An object of which more may become known: see docs/json-lines.md."""

    model_config = ConfigDict(extra="allow")


class OutputState(Told):
    """How an output is, read back: on, off, stuck, a number, or how far a procedure is."""

    state: str


class LaserTold(Told):
    """The interlock's word for the laser."""

    state: str = Field(description="dark, waiting, lit or tripped; empty before the first block")
    dark_because: str = Field(description="why it is dark although it is wanted; empty if it is not")
    barred: str = Field(description="why it would stay dark whatever it is told; empty if it would not")


class StateTold(Told):
    """How everything is now."""

    status: Open = Field(description="as `spectrophone status --json`")
    results: dict[str, Open] = Field(description="the newest result of each node, by node: docs/json-lines.md")
    outputs: dict[str, OutputState]
    alerts: list[Open] = Field(description="the alerts that are raised")
    laser: LaserTold


async def box(desk: Desk, asked: Asked) -> dict[str, Any]:
    """GET /box."""
    face, view = desk.view.face(), desk.view
    return {
        "box": face.box,
        "name": face.name,
        "version": face.version,
        "board": view.board,
        "simulated": view.simulated,
        "gases": [
            {"node": gas.node, "name": face.gas, "unit": gas.unit, "source": gas.source, "follows": gas.follows}
            for gas in face.gases
        ],
        "signals": [
            *({"node": signal.node, "kind": signal.kind} for signal in face.signals),
            *({"node": node, "kind": "spectrum"} for node in desk.spectra),
        ],
        "outputs": [_output(output) for output in face.outputs],
        "rules": [{"rule": rule.name, "type": rule.type} for rule in face.rules],
        "actions": list(face.actions),
        "climate": face.climate,
    }


def _output(output: OutputFace) -> dict[str, Any]:
    span = output.span
    return {
        "target": output.target,
        "kind": output.kind,
        "verbs": list(output.verbs),
        "low": None if span is None else span.least,
        "high": None if span is None else span.most,
        "step": None if span is None else span.step,
        "unit": None if span is None else span.unit,
    }


async def state(desk: Desk, asked: Asked) -> dict[str, Any]:
    """GET /state."""
    return desk.state()


async def metrics(desk: Desk, asked: Asked) -> web.Response:
    """GET /metrics."""
    body, content_type = exposition(desk.state()["status"], asked.request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


async def stream(desk: Desk, asked: Asked) -> web.StreamResponse:
    """GET /stream."""
    if len(desk.stream) >= MOST:
        raise Problem(429, f"{MOST} streams are open already. Close one", headers={"Retry-After": "30"})
    first = {} if desk.seen is None else {"state": desk.state()}
    return await desk.stream.serve(asked.request, first)
