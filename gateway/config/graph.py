"""The order of a graph: which node feeds which, and in which order they are computed. Pure functions of
names.

A node is fed by one other at most; it may feed several. No connections at all mean a chain in the order
written.
"""

from __future__ import annotations

from collections.abc import Sequence

Pairs = Sequence[tuple[str, str]]
"""Connections: (from, to)."""


def feeders(nodes: Sequence[str], connections: Pairs) -> dict[str, str | None]:
    """For every node the one that feeds it, None at the beginning. Raises ValueError as `order` does."""
    if not connections:
        return {node: (nodes[index - 1] if index else None) for index, node in enumerate(nodes)}
    fed: dict[str, str | None] = dict.fromkeys(nodes)
    for source, target in connections:
        if source not in fed or target not in fed:
            raise ValueError(f"a connection names an unknown node: {source} -> {target}")
        if fed[target] not in (None, source):
            raise ValueError(f"{target} is fed by two nodes: {fed[target]} and {source}")
        fed[target] = source
    return fed


def order(nodes: Sequence[str], connections: Pairs) -> tuple[str, ...]:
    """The nodes in an order in which each stands behind the one that feeds it; otherwise as written.

    Raises ValueError for a cycle, an unknown node or a node fed by two.
    """
    if loop := cycle(nodes, connections):
        raise ValueError(f"the graph has a cycle: {' -> '.join(loop)}")
    fed = feeders(nodes, connections)
    done: dict[str, None] = {}
    for node in nodes:
        way: list[str] = []
        at: str | None = node
        while at is not None and at not in done:
            way.append(at)
            at = fed[at]
        done.update(dict.fromkeys(reversed(way)))
    return tuple(done)


def cycle(nodes: Sequence[str], connections: Pairs) -> tuple[str, ...]:
    """A cycle as it runs, its first node repeated at the end (a, b, a); empty where there is none.

    The last step is the connection that closes it when the graph is walked in the order written.
    """
    following: dict[str, list[str]] = {}
    for source, target in connections:
        following.setdefault(source, []).append(target)
    done: set[str] = set()
    for start in nodes:
        way = {start: iter(following.get(start, ()))}
        while way and start not in done:
            node = next(reversed(way))
            step = next((target for target in way[node] if target not in done), None)
            if step is None:
                done.add(node)
                del way[node]
            elif step in way:
                names = list(way)
                return (*names[names.index(step) :], step)
            else:
                way[step] = iter(following.get(step, ()))
    return ()


def unreached(nodes: Sequence[str], connections: Pairs, roots: Sequence[str]) -> tuple[str, ...]:
    """The nodes to which no connection leads from any of the roots; none where there are no connections."""
    if not connections:
        return ()
    reached = set(roots)
    growing = True
    while growing:
        new = {target for source, target in connections if source in reached} - reached
        reached |= new
        growing = bool(new)
    return tuple(node for node in nodes if node not in reached)
