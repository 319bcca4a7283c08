"""The whole configuration as one model, composed from the sections and the kinds of nodes that exist.

The kinds are an argument: the configuration knows their Settings, not the nodes. Names from the Rust original
are turned into ours before anything is checked, and what a file leaves out comes from default.yaml beside
this module.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from gateway.config.document import Document, parse
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
    Name,
    Rule,
    ScriptsSection,
    TecSection,
    WebSection,
)
from gateway.config.settings import Settings
from gateway.config.syntax import text_of
from gateway.errors import Fault

DEFAULT = Path(__file__).with_name("default.yaml")
"""The configuration of a gateway that has none."""

ALIASES: Mapping[str, str] = {
    "computing_peak_finder": "peak_finder",
    "computing_concentration": "concentration",
    "action_universal": "universal_action",
    "photoacoustic_output": "output",
}
"""Node types of the Rust original with another name; its channel_mixer and channel_selector are ours too."""

_NODES = ("processing", "default_graph", "nodes")


class Connection(Settings):
    """The sound of one node goes to another."""

    from_: Name = Field(alias="from", description="the node that feeds")
    to: Name = Field(description="the node that is fed")


class Node(Settings):
    """One node of the graph."""

    id: Name = Field(description="the node's name in results, rules and topics; unique in the graph")
    type: str = Field(description="what the node does")
    parameters: Settings = Field(description="the options of this kind of node")


class Graph(Settings):
    """Nodes, and what feeds what."""

    id: Name = Field("default", description="the graph's name")
    nodes: tuple[Node, ...] = Field(description="the nodes; without connections each feeds the next")
    connections: tuple[Connection, ...] = Field(
        (), description="empty: a chain in the order written; otherwise a list of {from: a, to: b}"
    )


class Processing(Settings):
    """What is computed from the sound."""

    default_graph: Graph = Field(description="the graph that runs")


class Config(Settings):
    """A configuration of Spectrophone."""

    box: Box = Field(default_factory=Box, description="which box this is")
    board: Name | None = Field(None, description='a name in boards/, or "sim"; found out from the hardware if absent')
    gas: Gas = Field(default_factory=Gas, description="what is measured")
    acquisition: Acquisition = Field(default_factory=Acquisition, description="the microphone")
    laser: Laser = Field(default_factory=Laser, description="the laser's modulation")
    climate: ClimateSection = Field(
        default_factory=ClimateSection, description="temperature, humidity and pressure of the gas"
    )
    tec: TecSection | None = Field(None, description="the laser's temperature; nobody regulates it if absent")
    cell: Cell = Field(default_factory=Cell, description="the simulated cell (board sim)")
    processing: Processing = Field(description="the graph; the built-in one if absent")
    rules: tuple[Rule, ...] = Field((), description="alarms, and what to do about them")
    mqtt: Mqtt | None = Field(None, description="the MQTT broker; no MQTT if absent")
    homeassistant: HomeAssistantSection = Field(
        default_factory=HomeAssistantSection, description="Home Assistant, behind the broker"
    )
    journal: JournalSection = Field(default_factory=JournalSection, description="what is kept on the box itself")
    modbus: ModbusSection | None = Field(None, description="the Modbus TCP server; none if absent")
    web: WebSection | None = Field(None, description="the page and its API; neither if absent")
    scripts: ScriptsSection = Field(default_factory=ScriptsSection, description="the walls around customers' scripts")


def config_model(kinds: Mapping[str, type[Settings]]) -> type[Config]:
    """The model of a whole configuration in which a node's `type` is one of `kinds`."""
    return _config_model(tuple(kinds.items()))


@functools.cache
def _config_model(kinds: tuple[tuple[str, type[Settings]], ...]) -> type[Config]:
    nodes = tuple(_node_model(kind, settings) for kind, settings in kinds)
    union: Any = functools.reduce(operator.or_, nodes)
    if len(nodes) > 1:
        union = Annotated[union, Field(discriminator="type")]
    fields = Graph.model_fields
    graph = create_model(
        "Graph",
        __base__=Graph,
        __doc__=Graph.__doc__,
        nodes=(tuple[union, ...], Field(description=fields["nodes"].description)),
    )
    processing = create_model(
        "Processing",
        __base__=Processing,
        __doc__=Processing.__doc__,
        default_graph=(graph, Field(description="the graph that runs")),
    )
    return create_model(
        "Config",
        __base__=Config,
        __doc__=Config.__doc__,
        processing=(processing, Field(description=Config.model_fields["processing"].description)),
    )


def _node_model(kind: str, settings: type[Settings]) -> type[Node]:
    complete = not any(info.is_required() for info in settings.model_fields.values())
    about = Node.model_fields["parameters"].description
    parameters = Field(default_factory=settings, description=about) if complete else Field(description=about)
    word: Any = Literal[kind]
    name = "".join(word.capitalize() for word in kind.split("_")) + "Node"
    return create_model(
        name,
        __base__=Node,
        __doc__=settings.__doc__ or Node.__doc__,
        type=(word, Field(description="what the node does")),
        parameters=(settings, parameters),
    )


def complete(document: Document, mono: bool = False, outputs: Collection[str] | None = None) -> Document:
    """The document with the Rust original's names turned into ours, and with what it leaves out filled in.

    Without `processing` the built-in graph comes in, and with it, if there is no `rules` either, its rules: fitted to a
    box that hears on one channel, and whose relays and LEDs are `outputs` ("relay fan"; None: all that it names).
    """
    document = _renamed(document)
    if not isinstance(document.data, dict) or "processing" in document.data or () in document.broken:
        return document
    taken = ["processing"] if "rules" in document.data else ["processing", "rules"]
    builtin = built_in()
    fitted = {"processing": _heard(builtin.data["processing"], mono), "rules": _obeyed(builtin.data["rules"], outputs)}
    return replace(
        document,
        data={**document.data, **{name: fitted[name] for name in taken}},
        marks={
            **{loc: mark for loc, mark in builtin.marks.items() if loc and loc[0] in taken},
            **document.marks,
        },
        written={
            **{loc: text for loc, text in builtin.written.items() if loc[0] in taken},
            **document.written,
        },
    )


def _heard(processing: Any, mono: bool) -> Any:
    """The built-in graph, without what takes two channels where there is one."""
    graph = processing["default_graph"]
    nodes = [node for node in graph["nodes"] if not (mono and node["type"] == "differential")]
    return {**processing, "default_graph": {**graph, "nodes": nodes}}


def _obeyed(rules: Any, outputs: Collection[str] | None) -> Any:
    """The built-in rules, without commands for what the box does not have."""
    if outputs is None:
        return rules
    return [{**rule, "do": [told for told in rule["do"] if told.rpartition(" ")[0] in outputs]} for rule in rules]


@functools.cache
def built_in() -> Document:
    """The document in default.yaml."""
    text = text_of(DEFAULT)
    assert not isinstance(text, Fault), text
    return parse(text, str(DEFAULT), {})


def _renamed(document: Document) -> Document:
    nodes = document.get(*_NODES)
    if not isinstance(nodes, list):
        return document
    marks, written = dict(document.marks), dict(document.written)
    data = [_renamed_node(node, (*_NODES, index), marks, written) for index, node in enumerate(nodes)]
    graph = {**document.get("processing", "default_graph"), "nodes": data}
    processing = {**document.get("processing"), "default_graph": graph}
    return replace(document, data={**document.data, "processing": processing}, marks=marks, written=written)


def _renamed_node(node: Any, loc: tuple[str | int, ...], marks: dict[Any, Any], written: dict[Any, str]) -> Any:
    if not isinstance(node, dict):
        return node
    renamed = {"parameters": {}, **node}
    if "node_type" in renamed and "type" not in renamed:
        renamed["type"] = renamed.pop("node_type")
        for places in (marks, written):
            if (*loc, "node_type") in places:
                places[(*loc, "type")] = places[(*loc, "node_type")]
    if isinstance(renamed.get("type"), str):
        renamed["type"] = ALIASES.get(renamed["type"], renamed["type"])
    return renamed
