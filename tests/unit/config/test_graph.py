"""Order, cycles and reach of graphs."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.graph import cycle, feeders, order, unreached


def test_without_connections_the_order_is_that_written() -> None:
    assert order(["c", "a", "b"], []) == ("c", "a", "b")
    assert feeders(["c", "a", "b"], []) == {"c": None, "a": "c", "b": "a"}
    assert order([], []) == ()


def test_a_node_stands_behind_the_one_that_feeds_it() -> None:
    connections = [("a", "b"), ("c", "a"), ("c", "d")]
    assert order(["a", "b", "c", "d"], connections) == ("c", "a", "b", "d")
    assert feeders(["a", "b", "c", "d"], connections) == {"a": "c", "b": "a", "c": None, "d": "c"}


def test_a_connection_given_twice_is_one() -> None:
    assert order(["b", "a"], [("a", "b"), ("a", "b")]) == ("a", "b")


@pytest.mark.parametrize(
    ("connections", "part"),
    [
        ([("a", "b"), ("b", "a")], "a -> b -> a"),
        ([("c", "c")], "c -> c"),
        ([("a", "c"), ("b", "c")], "c is fed by two nodes: a and b"),
        ([("a", "x")], "unknown node: a -> x"),
    ],
)
def test_what_has_no_order_is_refused(connections: list[tuple[str, str]], part: str) -> None:
    with pytest.raises(ValueError, match=part):
        order(["a", "b", "c"], connections)


def test_a_cycle_is_found_behind_its_entrance() -> None:
    assert cycle(["in", "a", "b"], [("in", "a"), ("a", "b"), ("b", "a")]) == ("a", "b", "a")
    assert cycle(["in", "a", "b"], [("in", "a"), ("in", "b"), ("a", "b")]) == ()


def test_nodes_that_no_connection_reaches() -> None:
    connections = [("in", "a"), ("b", "c")]
    assert unreached(["in", "a", "b", "c"], connections, ["in"]) == ("b", "c")
    assert unreached(["in", "a"], [], ["in"]) == ()


nodes = st.integers(0, 6).map(lambda number: f"n{number}")


@given(st.lists(nodes, unique=True, min_size=1), st.lists(st.tuples(nodes, nodes), max_size=12))
def test_a_graph_has_an_order_or_a_reason(names: list[str], pairs: list[tuple[str, str]]) -> None:
    connections = [(source, target) for source, target in pairs if source in names and target in names]
    loop = cycle(names, connections)
    assert all(step in connections for step in pairwise(loop))
    try:
        ordered = order(names, connections)
    except ValueError:
        targets = [target for _, target in set(connections)]
        assert loop or len(targets) > len(set(targets))
        return
    assert loop == ()
    assert sorted(ordered) == sorted(names)
    assert all(ordered.index(source) < ordered.index(target) for source, target in connections)
