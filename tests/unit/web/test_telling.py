"""What an output may be told over the API: its own verbs with what belongs to them, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import CommandRefused
from gateway.mqtt.face import OutputFace, Span
from gateway.web.telling import CommandWish, wished

CELL = OutputFace("cell", ("set",), Span(0.0, 1e6, 0.1, "ppm"))
RELAY = OutputFace("relay/fan", ("on", "off"))
GAS = OutputFace("calibration", ("zero", "span", "cancel"))
ACTIONS = OutputFace("actions", ("reset", "pause", "resume", "reload"))


@pytest.mark.parametrize(
    ("face", "verb", "args"),
    [
        (CELL, "set", {"value": 400.0}),
        (RELAY, "on", {}),
        (GAS, "span", {"ppm": 1000.0, "new": True, "node": "co2"}),
        (GAS, "zero", {}),
        (ACTIONS, "pause", {"node": "redis"}),
    ],
)
def test_what_is_known_goes_on_as_it_is(face: OutputFace, verb: str, args: dict[str, Any]) -> None:
    assert wished(face, verb, args) == (verb, args)


@pytest.mark.parametrize(
    ("face", "verb", "args", "said"),
    [
        (CELL, "set", {}, 'exactly "value"'),
        (CELL, "set", {"value": True}, "no number"),
        (CELL, "set", {"value": "400"}, "no number"),
        (CELL, "set", {"value": 1.0, "x": 1.0}, 'exactly "value"'),
        (CELL, "tune", {"value": 1.0}, "It knows: set"),
        (RELAY, "on", {"for_s": 1.0}, "takes nothing"),
        (GAS, "configure", {}, "It knows: zero, span, cancel"),
        (GAS, "span", {"ppm": True}, "not a number"),
        (GAS, "span", {"lines": 1.0}, "does not take"),
        (ACTIONS, "configure", {"settings": "x"}, "It knows"),
    ],
)
def test_what_is_not_is_refused_with_what_would_be_right(
    face: OutputFace, verb: str, args: dict[str, Any], said: str
) -> None:
    with pytest.raises(CommandRefused, match=said):
        wished(face, verb, args)


def test_numbers_are_numbers_and_truths_are_truths() -> None:
    wish = CommandWish.model_validate_json('{"verb": "x", "args": {"a": 1, "b": true, "c": "1", "d": 1.5}}')
    assert {name: type(value) for name, value in wish.args.items()} == {"a": float, "b": bool, "c": str, "d": float}
    for broken in ('{"verb": "x", "args": {"a": NaN}}', '{"verb": "x", "args": {"a": [1]}}', '{"verb": "x", "y": 1}'):
        with pytest.raises(ValueError, match="validation error"):
            CommandWish.model_validate_json(broken)
