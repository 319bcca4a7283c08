"""What `script check` and `script try` know of an action's node: its parameters, as in a configuration.

They come from a file, `--parameters`, which holds the mapping that stands under `parameters:` of a node, or the node
itself, alone or as it stands in a list of nodes; without one from the node that the script's docstring shows, as those
of `script new` and user_scripts/ do; without either the script is taken as it looks, and is allowed nothing. What is
left out and the script itself tells is filled in: where it is, the name of its class, the style. The settings are those
of the gateway, and faults have the line at which they stand, in the script if they stand there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.actions import making, python
from gateway.actions.drivers import DRIVERS, SETTINGS
from gateway.actions.settings import ActionSettings, with_drivers
from gateway.config.config import ALIASES
from gateway.config.document import Document, Loc, parse, read
from gateway.config.redact import redact, secrets_in
from gateway.config.settings import Settings
from gateway.config.syntax import text_of
from gateway.config.validate import validate
from gateway.errors import ConfigError, Fault, UsageError
from gateway.scripts.messages import LONGEST_SOURCE
from gateway.scripts.work import Work

WATCHED = "co2_concentration"
"""The node that a script watches whose parameters name none."""
_KINDS: Mapping[str, type[Settings]] = {**SETTINGS, "universal_action": with_drivers({"python": DRIVERS["python"]})}
_NODE = frozenset({"id", "type", "node_type", "parameters"})
_HEAD = re.compile(r"\A(?:[ \t]*(?:#[^\n]*)?\n)*[rRuU]?(\"\"\"|''')", re.MULTILINE)
_ITEM = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*[ ]*-(?= +(?:id|type|node_type|parameters):)")
_BEGIN = re.compile(r"^( *)- (?:id|type|node_type): ", re.MULTILINE)
_DERIVED = re.compile(r"^class[ \t]+([A-Za-z_]\w*)[ \t]*\([^()\n]*\bCustomPythonAction\b", re.MULTILINE | re.ASCII)
_CLASS = re.compile(r"^class[ \t]+([A-Za-z_]\w*)", re.MULTILINE | re.ASCII)
_FUNCTION = re.compile(r"^(?:async[ \t]+)?def[ \t]+(?:on_measurement|on_alert|initialize|get_status)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Node:
    """An action node with a script of its own: `driven` are the settings that belong to the script, which are those of
    the node in class style and of its driver in module style.
    """

    id: str
    settings: ActionSettings
    driven: python.Given
    secrets: frozenset[str]
    document: Document

    @property
    def parameters(self) -> dict[str, Any]:
        """The node's own parameters, as the script is told them."""
        return making.parameters_of(self.settings)

    @property
    def work(self) -> Work:
        """What is to be run."""
        return self.driven.work(self.id, self.parameters)

    def lacking(self) -> tuple[Fault, ...]:
        """What the parameters name and this machine does not have; nothing is said of the board's outputs."""
        inside: Loc = () if self.driven is self.settings else ("driver", "config")
        verbs: dict[str, tuple[str, ...]] = dict.fromkeys(self.driven.outputs, ())
        found = python.missing(self.driven, verbs)
        return tuple(self.document.fault((*inside, option), message, remedy) for option, message, remedy in found)


def node(script: Path, parameters: Path | None, environ: Mapping[str, str] | None) -> Node:
    """The node of a script. `environ` fills in ${NAME}; without it that stays, and secrets are not looked up.

    Raises UsageError where there is no script, ConfigError with all faults of the parameters.
    """
    text = _text(script)
    if parameters is None:
        document = _of_docstring(text, script, environ)
    elif not parameters.is_file():
        raise UsageError(f"--parameters {parameters}: there is no such file", "Correct the path")
    else:
        document = _of_file(parameters, {} if environ is None else environ)
    return _node(document, script, text)


def _of_file(file: Path, environ: Mapping[str, str]) -> Document:
    """The parameters in a file; of a node that stands there as in a list of nodes, the node."""
    text = text_of(file)
    if isinstance(text, Fault) or not (item := _ITEM.match(text)):
        return read(file, environ)
    node = f"{text[: item.end() - 1]} {text[item.end() :]}"
    return parse(node, str(file), environ, file.with_name("secrets.yaml"))


def _text(script: Path) -> str:
    """The script's text, as far as a script may be long. Raises UsageError."""
    try:
        with script.open("rb") as file:
            return file.read(LONGEST_SOURCE).decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise UsageError(f"{script} cannot be read: {error.strerror}", "Give the path of a script") from None


def _of_docstring(text: str, script: Path, environ: Mapping[str, str] | None) -> Document:
    """The node that the docstring shows, every option at its own line of the script; an empty document without one."""
    head = _HEAD.match(text)
    docstring = text[head.end() : max(head.end(), text.find(head[1], head.end()))] if head else ""
    begin = _BEGIN.search(docstring)
    shown = ""
    if head and begin:
        first, *rest = docstring[begin.start() :].split("\n")
        inside = " " * (len(begin[1]) + 1)
        more = itertools.takewhile(lambda line: line.startswith(inside) or not line.strip(), rest)
        above = text.count("\n", 0, head.end() + begin.start())
        shown = "\n".join([*[""] * above, first.replace("-", " ", 1), *more])
    if environ is not None:
        return parse(shown, str(script), environ, script.with_name("secrets.yaml"))
    document = parse(shown, str(script), None)
    return replace(document, faults=tuple(f for f in document.faults if not f.loc or f.loc not in document.broken))


def _node(document: Document, script: Path, text: str) -> Node:
    if () in document.broken:
        raise ConfigError(document.faults)
    name, kind = script.stem, ""
    if isinstance(document.data.get("parameters"), dict) and set(document.data) <= _NODE:
        name = str(document.data.get("id", name))
        option = "type" if "type" in document.data else "node_type"
        kind = str(document.data.get(option, ""))
        kind = ALIASES.get(kind, kind)
        if kind not in ("", "python_action", "universal_action"):
            remedy = "Write python_action, or universal_action"
            raise ConfigError((document.fault((option,), f"a node {kind} runs no script", remedy),))
        document = _within(document, "parameters")
    kind = kind or _kind(document.data, text)
    completed = replace(document, data=_completed(dict(document.data), kind, script, text))
    settings, faults = validate(completed, _KINDS[kind])
    secrets = document.secrets | secrets_in(settings)
    if settings is None:
        raise ConfigError(
            tuple(replace(f, message=redact(f.message, secrets), remedy=redact(f.remedy, secrets)) for f in faults)
        )
    assert isinstance(settings, ActionSettings)
    driven = None if settings.driven is None else settings.driven.config
    assert isinstance(driven, python.PythonSettings | python.PythonActionSettings)
    return Node(name, settings, driven, secrets, document)


def _kind(data: Mapping[str, Any], text: str) -> str:
    """The kind of node that these parameters are of; where they do not say, that for which the script is written."""
    if "driver" in data:
        return "universal_action"
    return "python_action" if "python_class_name" in data or class_in(text) else "universal_action"


def class_in(text: str) -> str:
    """The class that makes a script one of class style; "" for one of module style."""
    found = _DERIVED.search(text) or (None if _FUNCTION.search(text) else _CLASS.search(text))
    return found[1] if found else ""


def _completed(data: dict[str, Any], kind: str, script: Path, text: str) -> dict[str, Any]:
    """The parameters with what the script itself tells."""
    data.setdefault("monitored_nodes", [WATCHED])
    if kind == "python_action":
        data["python_script_path"] = str(script)
        data.setdefault("python_class_name", class_in(text))
        return data
    driver = data.get("driver", {"type": "python"})
    if isinstance(driver, dict) and isinstance(driver.get("config", {}), dict):
        data["driver"] = {**driver, "config": {**driver.get("config", {}), "script_path": str(script)}}
    return data


def _within(document: Document, name: str) -> Document:
    """The part of a document under a name, as a document."""

    def inner(places: Mapping[Loc, Any]) -> dict[Loc, Any]:
        return {loc[1:]: place for loc, place in places.items() if loc[:1] == (name,)}

    return replace(
        document,
        data=document.data[name],
        marks=inner(document.marks),
        written=inner(document.written),
        texts=inner(document.texts),
        broken=frozenset(loc[1:] for loc in document.broken if loc[:1] == (name,)),
        faults=tuple(replace(f, loc=f.loc[1:]) if f.loc[:1] == (name,) else f for f in document.faults),
    )
