"""What is wrong with a graph as a whole: names, connections, and nodes that take another's result.

The document is looked at as it is, with whatever faults its options have, so that these come out together. A
kind's settings may declare `sources: ClassVar[dict[str, tuple[str, ...]]]`: options that name another node,
each with the node types it may name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.config.document import Document, Loc, nearest
from gateway.config.graph import cycle, order, unreached
from gateway.config.settings import Settings
from gateway.errors import Fault

Kinds = Mapping[str, type[Settings]]
"""Node types by name, with the settings of each."""

_GRAPH: Loc = ("processing", "default_graph")


class _Node(NamedTuple):
    loc: Loc
    id: str
    type: str
    parameters: dict[str, Any]


class _Connection(NamedTuple):
    loc: Loc
    source: str
    target: str


def wiring_faults(document: Document, kinds: Kinds) -> tuple[Fault, ...]:
    """All faults of the graph that no single option shows."""
    listed = document.get(*_GRAPH, "nodes")
    if listed == []:
        remedy = "Begin with {id: input, type: input}, or leave `processing` out for the built-in graph"
        return (document.fault((*_GRAPH, "nodes"), "the graph has no nodes", remedy),)
    nodes = _nodes(document)
    connections = _connections(document)
    double = tuple(_double_names(document, nodes))
    unknown = tuple(_unknown_ends(document, nodes, connections))
    wrong = (*double, *unknown)
    if not wrong:
        wrong = tuple(_wrong_ways(document, nodes, connections))
    ordered: tuple[str, ...] = ()
    if not wrong:
        pairs = [(connection.source, connection.target) for connection in connections]
        ordered = order([node.id for node in nodes], pairs)
        wrong = tuple(_without_signal(document, nodes, pairs))
    return (*wrong, *_sources(document, nodes, ordered, kinds))


def _nodes(document: Document) -> list[_Node]:
    listed = document.get(*_GRAPH, "nodes")
    nodes = []
    for index, node in enumerate(listed if isinstance(listed, list) else []):
        loc = (*_GRAPH, "nodes", index)
        if isinstance(node, dict) and isinstance(node.get("id"), str):
            parameters = node.get("parameters")
            parameters = parameters if isinstance(parameters, dict) else {}
            nodes.append(_Node(loc, node["id"], str(node.get("type")), parameters))
    return nodes


def _connections(document: Document) -> list[_Connection]:
    listed = document.get(*_GRAPH, "connections")
    return [
        _Connection((*_GRAPH, "connections", index), pair["from"], pair["to"])
        for index, pair in enumerate(listed if isinstance(listed, list) else [])
        if isinstance(pair, dict) and isinstance(pair.get("from"), str) and isinstance(pair.get("to"), str)
    ]


def _double_names(document: Document, nodes: Sequence[_Node]) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for node in nodes:
        line = document.place((*node.loc, "id"))[1]
        if node.id in seen:
            message = f"two nodes are called '{node.id}', on lines {seen[node.id]} and {line}"
            yield document.fault((*node.loc, "id"), message, "Give each node an id of its own")
        seen.setdefault(node.id, line)


def _unknown_ends(document: Document, nodes: Sequence[_Node], connections: Sequence[_Connection]) -> Iterator[Fault]:
    known = {node.id for node in nodes}
    for connection in connections:
        for option, name in (("from", connection.source), ("to", connection.target)):
            if name not in known:
                yield document.fault((*connection.loc, option), f"no node is called '{name}'", nearest(name, known))


def _wrong_ways(document: Document, nodes: Sequence[_Node], connections: Sequence[_Connection]) -> Iterator[Fault]:
    """Cycles, and nodes that are fed by two. All names are known here."""
    names = [node.id for node in nodes]
    left = {(connection.source, connection.target): connection.loc for connection in reversed(connections)}
    while loop := cycle(names, list(reversed(left))):
        loc = left.pop((loop[-2], loop[-1]))
        message = f"the graph has a cycle: {' -> '.join(loop)}"
        yield document.fault(loc, message, "Take one of these connections out")
    first: dict[str, _Connection] = {}
    for connection in connections:
        if (connection.source, connection.target) not in left:
            continue
        earlier = first.setdefault(connection.target, connection)
        if earlier is connection:
            continue
        line = document.place(earlier.loc)[1]
        message = f"'{connection.target}' is fed by '{earlier.source}' (line {line}) and by '{connection.source}'"
        yield document.fault(connection.loc, message, "A node takes one signal: keep one of the two connections")


def _without_signal(document: Document, nodes: Sequence[_Node], pairs: Sequence[tuple[str, str]]) -> Iterator[Fault]:
    names = [node.id for node in nodes]
    targets = {target for _, target in pairs}
    roots = [node.id for node in nodes if node.type == "input"]
    lost = unreached(names, pairs, roots or [name for name in names if name not in targets][:1])
    for node in nodes:
        if node.id in lost:
            message = f"'{node.id}' gets no signal: no connection leads to it from the input"
            remedy = f"Add {{from: ..., to: {node.id}}}, or take it out"
            yield document.fault((*node.loc, "id"), message, remedy)


def _sources(document: Document, nodes: Sequence[_Node], ordered: Sequence[str], kinds: Kinds) -> Iterator[Fault]:
    types = {node.id: node.type for node in nodes}
    places = {name: index for index, name in enumerate(ordered)}
    for node in nodes:
        settings = kinds.get(node.type)
        for option, allowed in getattr(settings, "sources", {}).items():
            loc = (*node.loc, "parameters", option)
            value = node.parameters.get(option, _default(settings, option))
            for name in value if isinstance(value, (list, tuple)) else [value]:
                if not isinstance(name, str) or document.is_broken(loc):
                    continue
                fits = [known for known, kind in types.items() if kind in allowed]
                if name not in types:
                    yield document.fault(loc, f"no node is called '{name}'", nearest(name, fits))
                elif types[name] not in allowed:
                    message = f"'{name}' is a {types[name]} node, which gives nothing that '{node.id}' can use"
                    yield document.fault(
                        loc, message, f"Name a node of type {' or '.join(allowed)}. {nearest(name, fits)}"
                    )
                elif places and places[name] > places[node.id]:
                    message = f"'{name}' stands behind '{node.id}', so its result comes too late"
                    yield document.fault(loc, message, f"Move '{name}' before '{node.id}'")


def _default(settings: type[Settings] | None, option: str) -> Any:
    info = settings.model_fields.get(option) if settings else None
    return info.default if info is not None and not info.is_required() else None
