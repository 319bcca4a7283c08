"""Action nodes: how they fare, and the buttons to reload, pause and resume them; the doctor."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from gateway.web import commands
from gateway.web.desk import Desk
from gateway.web.looking import Open
from gateway.web.problem import Problem
from gateway.web.routes import Asked, Told
from gateway.web.telling import told


class ActionTold(Open):
    """An action node: docs/api.md."""

    node: str
    state: str
    problem: str | None


class SaidTold(Told):
    """A line that a script said."""

    time: str | None
    level: str
    text: str


class FindingTold(Told):
    """What the doctor found."""

    group: str
    name: str
    state: str = Field(description="ok, warning, missing, unknown or not needed")
    found: str
    remedy: str


async def actions(desk: Desk, asked: Asked) -> list[dict[str, Any]]:
    """GET /actions."""
    found: list[dict[str, Any]] = desk.view.about()["actions"]
    return found


async def action(desk: Desk, asked: Asked) -> dict[str, Any]:
    """GET /actions/{name}."""
    name = asked.path["name"]
    for each in await actions(desk, asked):
        if each["node"] == name:
            return each
    raise Problem(404, f"There is no action {name[:100]!r}. GET /actions lists them")


async def said(desk: Desk, asked: Asked) -> list[dict[str, Any]]:
    """GET /actions/{name}/log: what its script said; of other drivers, what the gateway's log says of them."""
    found = await action(desk, asked)
    lines: list[dict[str, Any]] | None = found.get("driver", {}).get("log")
    if lines is not None:
        return lines
    begin = f"{found['node']}: "
    mine = [line.as_object() for line in desk.lines.newest(500, 0) if line.message.startswith(begin)]
    return [
        {"time": line["time"], "level": line["level"], "text": line["message"].removeprefix(begin)} for line in mine
    ]


async def reload(desk: Desk, asked: Asked) -> dict[str, Any]:
    """POST /actions/{name}/reload."""
    return await _tell(desk, asked, "reload")


async def pause(desk: Desk, asked: Asked) -> dict[str, Any]:
    """POST /actions/{name}/pause."""
    return await _tell(desk, asked, "pause")


async def resume(desk: Desk, asked: Asked) -> dict[str, Any]:
    """POST /actions/{name}/resume."""
    return await _tell(desk, asked, "resume")


async def _tell(desk: Desk, asked: Asked, verb: str) -> dict[str, Any]:
    found = await action(desk, asked)
    face = desk.view.face().output("actions")
    if face is None:
        raise Problem(409, "The action came with a changed configuration. Begin the gateway anew to tell it something")
    return await told(desk, asked, face, verb, {"node": found["node"]})


async def doctor(desk: Desk, asked: Asked) -> list[dict[str, Any]]:
    """GET /doctor: some seconds of work, in a process of its own."""
    file = desk.view.file
    given = () if file is None else ("--config", str(file))
    async with desk.place():
        lines = await commands.run("doctor", "--json", *given, good=(0, 1))
    found = [json.loads(line) for line in lines]
    names = ("group", "name", "state", "found", "remedy")
    return [{name: each[name] for name in names} for each in found if each["kind"] != "summary"]
