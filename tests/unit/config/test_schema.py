"""The JSON Schema, used as an editor would use it: by a small validator of the words that it is made of."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from gateway.config.config import built_in
from gateway.config.schema import DIALECT, schema
from gateway.config.settings import Settings

Kinds = dict[str, type[Settings]]
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
WORDS = """
    $schema $defs $ref title description default x-unit type properties required additionalProperties items
    minItems maxItems
    minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength pattern enum const anyOf
    oneOf format writeOnly
"""
KNOWN = frozenset(WORDS.split())


def fits(value: Any, part: dict[str, Any], root: dict[str, Any]) -> bool:
    assert set(part) <= KNOWN, f"the test's validator does not know {set(part) - KNOWN}"
    if "$ref" in part and not fits(value, root["$defs"][part["$ref"].removeprefix("#/$defs/")], root):
        return False
    if "type" in part and not has_type(value, part["type"]):
        return False
    if "anyOf" in part and not any(fits(value, choice, root) for choice in part["anyOf"]):
        return False
    if "oneOf" in part and sum(fits(value, choice, root) for choice in part["oneOf"]) != 1:
        return False
    if ("const" in part and value != part["const"]) or ("enum" in part and value not in part["enum"]):
        return False
    if isinstance(value, dict):
        return fits_object(value, part, root)
    if isinstance(value, list):
        few = len(value) < part.get("minItems", 0) or len(value) > part.get("maxItems", len(value))
        return not few and all(fits(item, part.get("items", {}), root) for item in value)
    if isinstance(value, str):
        return "pattern" not in part or re.search(part["pattern"], value) is not None
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = part.get("minimum", value), part.get("maximum", value)
        above = value > part.get("exclusiveMinimum", value - 1)
        return bool(low <= value <= high and above and value < part.get("exclusiveMaximum", value + 1))
    return True


def has_type(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        return isinstance(value, int if name == "integer" else int | float) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def fits_object(value: dict[str, Any], part: dict[str, Any], root: dict[str, Any]) -> bool:
    if any(name not in value for name in part.get("required", [])):
        return False
    options = part.get("properties", {})
    rest = part.get("additionalProperties", True)
    for name, inner in value.items():
        if name in options:
            if not fits(inner, options[name], root):
                return False
        elif rest is False or (isinstance(rest, dict) and not fits(inner, rest, root)):
            return False
    return True


@pytest.fixture(scope="module")
def made(kinds: Kinds) -> dict[str, Any]:
    return schema(kinds)


def test_the_built_in_configuration_fits(made: dict[str, Any]) -> None:
    assert made["$schema"] == DIALECT
    assert fits(built_in().data, made, made)
    assert fits({}, made, made)


NODES = ("processing", "default_graph", "nodes")


@pytest.mark.parametrize(
    ("path", "value", "right"),
    [
        (("lasr",), {}, False),
        (("laser", "duty"), 1, False),
        (("laser", "duty"), "half", False),
        (("laser", "duty"), "${DUTY:-0.5}", True),
        (("acquisition", "rate_hz"), 7999, False),
        (("acquisition", "rate_hz"), 96000, True),
        (("acquisition", "format"), "S24_LE", False),
        (("acquisition", "format"), "${FORMAT}", True),
        (("box", "id"), "my box", False),
        (("box", "id"), "box-${N}", True),
        (("board",), None, True),
        (("mqtt",), {}, False),
        (("mqtt",), {"host": "broker.local", "port": "${PORT}", "tls": {}, "password": "x"}, True),
        ((*NODES, 4, "parameters", "gain_db"), "loud", False),
        ((*NODES, 4, "parameters", "gain_db"), -3.5, True),
        ((*NODES, 4, "parameters", "gain"), 3, False),
        ((*NODES, 2), {"id": "a", "type": "gain"}, False),
        ((*NODES, 2), {"id": "a", "type": "gian", "parameters": {"gain_db": 1}}, False),
        ((*NODES, 2), {"id": "a", "node_type": "gain", "parameters": {"gain_db": 1}}, True),
        ((*NODES, 2), {"id": "a", "type": "gain", "node_type": "gain", "parameters": {"gain_db": 1}}, False),
        ((*NODES, 9), {"id": "a", "node_type": "photoacoustic_output"}, True),
        ((*NODES, 9), {"id": "a", "type": "input"}, True),
        ((*NODES, 8, "parameters", "polynomial_coefficients"), [0, "${A}"], True),
        ((*NODES, 8, "parameters", "polynomial_coefficients"), [0, "a"], False),
        (("processing", "default_graph", "connections"), [{"from": "a", "to": "b"}], True),
        (("processing", "default_graph", "connections"), [{"from_": "a", "to": "b"}], False),
        (("rules", 0, "severity"), "bad", False),
        (("rules", 0), {"when": "x above 1", "do": []}, True),
    ],
)
def test_right_and_wrong_options(made: dict[str, Any], path: tuple[str | int, ...], value: Any, right: bool) -> None:
    data = copy.deepcopy(built_in().data)
    inner: Any = data
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert fits(data, made, made) is right


def test_units_and_descriptions(made: dict[str, Any]) -> None:
    rate = made["$defs"]["Acquisition"]["properties"]["rate_hz"]
    assert rate["x-unit"] == "Hz"
    assert rate["default"] == 48000
    assert rate["description"] == "samples per second and channel"
    assert made["title"] == "Spectrophone configuration"
    assert "discriminator" not in str(made)
