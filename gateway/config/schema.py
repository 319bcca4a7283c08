"""The configuration's JSON Schema (draft 2020-12), from which editors complete and check.

Pydantic makes it from the models; here it learns what a configuration file may hold beyond them: ${NAME} in
the place of any single value, `node_type` for `type`, and the node names of the Rust original. Units stand in
`x-unit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.config.config import ALIASES, Config, config_model
from gateway.config.fields import unit
from gateway.config.settings import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{", "description": "${NAME} or ${NAME:-default}"}
_REFERENCE = {"$ref": "#/$defs/Variable"}
_OUTSIDE = ("title", "description", "default", "x-unit")
_LIMITED = ("enum", "pattern", "minLength", "maxLength")


def schema(kinds: Mapping[str, type[Settings]]) -> dict[str, Any]:
    """The schema of a whole configuration in which a node's type is one of `kinds`."""
    made = config_model(kinds).model_json_schema(by_alias=True)
    definitions: dict[str, Any] = made.pop("$defs")
    for definition in definitions.values():
        _open(definition)
    _open(made)
    for name, definition in definitions.items():
        options = definition.get("properties", {})
        if "parameters" in options and "const" in options.get("type", {}):
            definitions[name] = _either_name(definition)
    _undiscriminated(definitions)
    definitions["Variable"] = _VARIABLE
    made["required"] = []
    about = {"title": "Spectrophone configuration", "description": Config.__doc__}
    return {"$schema": DIALECT, **made, **about, "$defs": definitions}


def _open(group: dict[str, Any]) -> None:
    """Give every option of a group its unit, and let ${NAME} stand for a single value."""
    for name, option in group.get("properties", {}).items():
        if measure := unit(name):
            option["x-unit"] = measure
        if "const" not in option:
            group["properties"][name] = _or_variable(option)


def _or_variable(option: dict[str, Any]) -> dict[str, Any]:
    if "items" in option and isinstance(option["items"], dict):
        option["items"] = _or_variable(option["items"])
    if "anyOf" in option:
        option["anyOf"] = [_or_variable(choice) if "items" in choice else choice for choice in option["anyOf"]]
        if any(_is_limited(choice) for choice in option["anyOf"]):
            option["anyOf"] = [*option["anyOf"], _REFERENCE]
        return option
    if not _is_limited(option):
        return option
    outside = {name: value for name, value in option.items() if name in _OUTSIDE}
    inside = {name: value for name, value in option.items() if name not in outside}
    return {**outside, "anyOf": [inside, _REFERENCE]}


def _is_limited(option: dict[str, Any]) -> bool:
    """Whether it is a single value that would refuse the text ${NAME}."""
    if option.get("type") in ("integer", "number", "boolean"):
        return True
    return option.get("type") == "string" and any(word in option for word in _LIMITED)


def _either_name(node: dict[str, Any]) -> dict[str, Any]:
    """A node's definition with its kind under `type` or `node_type`, by our name or the Rust original's."""
    kind = node["properties"]["type"]["const"]
    known = [kind, *(alias for alias, ours in ALIASES.items() if ours == kind)]
    word: dict[str, Any] = {"title": "Type", "description": "what the node does"}
    word |= {"const": kind} if len(known) == 1 else {"enum": known}
    return {
        **node,
        "properties": {**node["properties"], "type": word, "node_type": word},
        "required": [name for name in node["required"] if name != "type"],
        "oneOf": [{"required": ["type"]}, {"required": ["node_type"]}],
    }


def _undiscriminated(part: Any) -> None:
    """Take out OpenAPI's `discriminator`, which JSON Schema does not know; `const` tells the kinds apart."""
    if isinstance(part, dict):
        part.pop("discriminator", None)
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            _undiscriminated(inner)
