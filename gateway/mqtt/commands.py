"""What comes in on TARGET/set becomes a command, or a refusal with its reason; never an exception.

A switch takes ON or OFF, an LED the light JSON of Home Assistant or a plain word (red, off), a number a
number, calibration and actions a plain word (zero, cancel, reset) or JSON with what they need to know:
{"do": "span", "ppm": 1000}.
Words are the output's own verbs, in any case. A retained command is refused whatever it says: it may
be days old, and it would act again at every reconnect.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

from gateway.errors import CommandRefused
from gateway.mqtt.face import Face, OutputFace
from gateway.mqtt.topics import Topics
from gateway.types import Command, CommandResult

MAX_BYTES = 4096
ORIGIN = "mqtt"
_COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "orange": (255, 128, 0),
    "amber": (255, 191, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "white": (255, 255, 255),
}


_TAKES: dict[str, dict[str, type]] = {
    "zero": {"sigma_ppm": float, "seconds": float, "node": str, "new": bool},
    "span": {"ppm": float, "sigma_ppm": float, "seconds": float, "node": str, "new": bool},
    "cancel": {},
    "reset": {"node": str},
    "pause": {"node": str},
    "resume": {"node": str},
    "reload": {"node": str},
}
"""What may stand beside "do", and of which kind it is."""
_KINDS = {float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as it came: MQTT 5 may name a topic for the answer, and data to send back with it."""

    topic: str
    payload: bytes
    retained: bool = False
    answer_to: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """Where an answer goes besides the result topic."""

    topic: str
    correlation: bytes | None


def decode(arrival: Arrival, face: Face, topics: Topics) -> Command | CommandResult | None:
    """The command that `arrival` asks for, a refusal, or None where nothing is asked: a foreign topic, or a
    retained message being deleted."""
    target = topics.parse_set(arrival.topic)
    if target is None or (arrival.retained and not arrival.payload):
        return None
    reply = None
    if arrival.answer_to is not None and topics.may_answer(arrival.answer_to):
        reply = ReplyTo(arrival.answer_to, arrival.correlation)
    try:
        verb, args = _wish(arrival, _output(target, face, topics))
    except CommandRefused as refused:
        return CommandResult(Command(target, "", origin=ORIGIN, reply_to=reply), False, str(refused))
    return Command(target, verb, MappingProxyType(args), ORIGIN, reply)


def _output(target: str, face: Face, topics: Topics) -> OutputFace:
    output = face.output(target)
    if output is not None and output.kind != "reading":
        return output
    if output is not None or topics.is_shown(target):
        raise CommandRefused(f"{target} can only be read")
    known = ", ".join(output.target for output in face.outputs if output.kind != "reading") or "none"
    raise CommandRefused(f"there is no {target}", f"Outputs of this box: {known}")


def _wish(arrival: Arrival, output: OutputFace) -> tuple[str, dict[str, Any]]:
    if arrival.retained:
        raise CommandRefused("a retained command never acts", "Publish it without the retain flag")
    if len(arrival.payload) > MAX_BYTES:
        raise CommandRefused(f"{len(arrival.payload)} bytes are too long for a command; {MAX_BYTES} is the most")
    try:
        text = arrival.payload.decode().strip()
    except UnicodeDecodeError:
        raise CommandRefused("the command is not UTF-8 text") from None
    if output.kind == "number":
        return "set", {"value": _number(text)}
    if output.kind == "procedure":
        return procedure(_json(text) if text.startswith("{") else {"do": text}, output)
    if text.startswith("{"):
        return _light(_json(text), output), {}
    return _verb(text.lower(), output), {}


def _verb(word: str, output: OutputFace) -> str:
    if word in output.verbs:
        return word
    raise CommandRefused(f"{output.target} does not know {_shown(word)}", f"It knows: {', '.join(output.verbs)}")


def _shown(word: str) -> str:
    return repr(word) if len(word) <= 40 else repr(word[:40]) + "..."


def procedure(wish: dict[str, Any], output: OutputFace) -> tuple[str, dict[str, Any]]:
    """The verb for {"do": "span", "ppm": 1000, "node": "co2"}, and what it is told beside. Raises CommandRefused."""
    said = wish.get("do")
    if not isinstance(said, str):
        raise CommandRefused('"do" is missing, or no word', f"It may be: {', '.join(output.verbs)}")
    verb = _verb(said.strip().lower(), output)
    takes = _TAKES.get(verb, {})
    args = {name: value for name, value in wish.items() if name != "do"}
    for name, value in args.items():
        if name not in takes:
            known = ", ".join(takes) or "nothing"
            raise CommandRefused(f"{verb} does not take {_shown(name)}", f"It takes: {known}")
        if not isinstance(value, takes[name]) or (isinstance(value, float) and not math.isfinite(value)):
            raise CommandRefused(f'"{name}" is not {_KINDS[takes[name]]}')
    return verb, args


def _number(text: str) -> float:
    value = _json(text)
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise CommandRefused("the command is not a number")


def _json(text: str) -> Any:
    """Numbers all become float, so that no length of digits costs anything; NaN and Infinity are not JSON."""
    try:
        return json.loads(text, parse_int=float, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise CommandRefused("the command is not JSON") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _light(wish: Any, output: OutputFace) -> str:
    """The verb for {"state": "ON", "effect": "red"} or {"state": "ON", "color": {"r": 255, "g": 0, "b":
    0}}."""
    if not isinstance(wish, dict) or output.kind != "light":
        raise CommandRefused(f"{output.target} takes one word: {', '.join(output.verbs)}")
    state = wish.get("state", "ON")
    if state == "OFF":
        return _verb("off", output)
    if state != "ON":
        raise CommandRefused('"state" is neither "ON" nor "OFF"')
    if "effect" in wish:
        return _verb(str(wish["effect"]).lower(), output)
    if "color" in wish:
        return _nearest(wish["color"], output)
    return "on" if "on" in output.verbs else next((v for v in output.verbs if v != "off"), output.verbs[0])


def _nearest(color: Any, output: OutputFace) -> str:
    """The verb whose colour is nearest to an {"r", "g", "b"}."""
    parts = [color.get(name) for name in "rgb"] if isinstance(color, dict) else []
    rgb = [part for part in parts if isinstance(part, float) and 0 <= part <= 255]
    if len(rgb) != 3:
        raise CommandRefused('"color" needs "r", "g" and "b" from 0 to 255')
    named = [verb for verb in output.verbs if verb in _COLOURS]
    if not named:
        raise CommandRefused(f"{output.target} has no colours")
    return min(named, key=lambda verb: math.dist(_COLOURS[verb], rgb))
