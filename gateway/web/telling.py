"""Telling the box to do something: all of it goes through the inbox, and the answer is the door's."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway.errors import CommandRefused
from gateway.mqtt.commands import procedure
from gateway.mqtt.face import OutputFace
from gateway.web.desk import Desk
from gateway.web.problem import Problem
from gateway.web.routes import Asked, Told, Wish


class CommandWish(Wish):
    """What an output is told: one of its verbs, and what belongs to it."""

    verb: str = Field(min_length=1, max_length=64)
    args: dict[str, bool | float | str] = Field(
        default_factory=dict,
        max_length=8,
        description='"value" for a number; node, ppm, sigma_ppm, seconds, new for zero and span; node for reset',
    )


class AnswerTold(Told):
    """What became of it."""

    done: bool
    reason: str = Field(description="what is still to come; or why not, and what to do")
    state: str = Field(description="the output's state afterwards")


async def output(desk: Desk, asked: Asked) -> dict[str, Any]:
    """POST /outputs/{target}."""
    target = asked.path["target"]
    face = desk.view.face().output(target)
    if face is None:
        raise Problem(404, f"There is no output {target[:100]!r}. GET /box lists them")
    return await told(desk, asked, face, asked.body.verb, asked.body.args)


async def told(desk: Desk, asked: Asked, face: OutputFace, verb: str, args: dict[str, Any]) -> dict[str, Any]:
    """Tell an output something, and wait for its answer. Raises Problem."""
    try:
        verb, args = wished(face, verb, args)
    except CommandRefused as refused:
        raise Problem(422, str(refused)) from None
    result = await desk.tell(face.target, verb, args, asked.person.user)
    return {"done": result.done, "reason": result.reason, "state": result.state}


def wished(face: OutputFace, verb: str, args: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What an output is told, if it may be told that. Raises CommandRefused."""
    if verb not in face.verbs:
        known = ", ".join(face.verbs) or "nothing"
        raise CommandRefused(f"{face.target} does not know {verb!r}", f"It knows: {known}")
    if face.kind == "procedure":
        return procedure({**args, "do": verb}, face)
    wanted = {"value"} if face.kind == "number" else set()
    if set(args) != wanted:
        takes = 'exactly "value"' if wanted else "nothing"
        raise CommandRefused(
            f"{face.target} was given {', '.join(sorted(args)) or 'nothing'} with {verb}", f"It takes {takes}"
        )
    if wanted and (isinstance(args["value"], bool) or not isinstance(args["value"], float)):
        raise CommandRefused(f"the value for {face.target} is no number", "Give one")
    return verb, args
