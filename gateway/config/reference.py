"""docs/configuration.md, made from the declarations of the settings: one row per option."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway.config.config import Config
from gateway.config.fields import bounds, unit, words
from gateway.config.sections import (
    Acquisition,
    Box,
    Cell,
    ClimateSection,
    Gas,
    HomeAssistantSection,
    JournalSection,
    Laser,
    ModbusSection,
    Mqtt,
    Rule,
    ScriptsSection,
    TecSection,
    Tls,
    WebCertificate,
    WebSection,
)
from gateway.config.settings import Settings

_SECTIONS: Mapping[str, type[Settings]] = {
    "box": Box,
    "gas": Gas,
    "acquisition": Acquisition,
    "laser": Laser,
    "climate": ClimateSection,
    "tec": TecSection,
    "cell": Cell,
    "rules (a list)": Rule,
    "mqtt": Mqtt,
    "mqtt.tls": Tls,
    "homeassistant": HomeAssistantSection,
    "journal": JournalSection,
    "modbus": ModbusSection,
    "web": WebSection,
    "web.tls": WebCertificate,
    "scripts": ScriptsSection,
}

_INTRODUCTION = """\
# Configuration

One YAML file; every option may be left out unless it is marked required. `${NAME}` and `${NAME:-default}` take
environment variables, `!secret name` takes the value from secrets.yaml beside the file. `spectrophone check FILE`
names every fault with its line; `spectrophone schema` prints the JSON Schema for editors. A file without
`processing` takes the built-in graph, gateway/config/default.yaml, and with it its rules unless it has its own.
This page is made from the code by `make docs`.
"""


def reference(kinds: Mapping[str, type[Settings]]) -> str:
    """The page; `kinds` are the node types with their settings."""
    parts = [_INTRODUCTION, f"`board`: {Config.model_fields['board'].description}.\n"]
    for name, model in _SECTIONS.items():
        parts += [f"## {name}\n", f"{model.__doc__}\n", *table(model)]
    parts.append("## processing.default_graph.nodes\n")
    parts.append(
        "Each node is `{id: NAME, type: TYPE, parameters: {...}}`; without `connections` each feeds the next.\n"
    )
    for kind, model in kinds.items():
        parts += [f"### {kind}\n", *(table(model) or ["No options.\n"])]
    return "\n".join(parts)


def table(model: type[Settings]) -> list[str]:
    """One row per option; nothing of a group without options."""
    rows = [f"| {' | '.join(cells)} |" for cells in _rows(model)]
    return ["| option | default | unit | bounds | meaning |\n|---|---|---|---|---|", *rows, ""] if rows else []


def _rows(model: type[Settings]) -> Iterator[tuple[str, ...]]:
    for name, info in model.model_fields.items():
        shown = info.alias or name
        limits = ", ".join(words(info)) or _limits(bounds(info))
        yield shown, _default(info), unit(shown), limits, (info.description or "").replace("|", "\\|")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or isinstance(value, SecretStr):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _limits(found: Mapping[str, Any]) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "min_length": "length ≥", "max_length": "length ≤"}
    return ", ".join(f"{signs[name]} {found[name]:g}" for name in signs if name in found)
